//! What files hold: how many rows of which format, how long, how often the same, in which script.

mod contents;
mod fingerprints;
mod lengths;
mod scripts;

pub use fingerprints::{Overlap, Repeats};
pub use lengths::Lengths;
pub use scripts::ScriptShare;

use crate::chat::ChatTokenizer;
use crate::data_set::{DataFile, DataSet};
use crate::error::DataError;
use crate::read::{BadRow, Row, scan};
use contents::{Contents, Size, size_in_tokens};
use fingerprints::Fingerprints;
use lengths::Histogram;
use scripts::Scripts;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The summary of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCheck {
    /// The file.
    pub file: PathBuf,
    /// The name of its format; none where it is not recognised.
    pub format: Option<String>,
    /// How many rows are usable.
    pub rows: usize,
    /// The rows that are not.
    pub bad: Vec<BadRow>,
}

impl FileCheck {
    /// Whether the format is recognised and every row is usable.
    pub fn is_usable(&self) -> bool {
        self.format.is_some() && self.bad.is_empty()
    }

    fn unreadable(name: PathBuf, error: &DataError) -> Self {
        // The file's name stands before the reason anyway.
        let reason = error.to_string();
        let prefix = format!("{}: ", name.display());
        let reason = reason.strip_prefix(&prefix).unwrap_or(&reason).to_owned();
        Self {
            file: name,
            format: None,
            rows: 0,
            bad: vec![BadRow {
                line: 1,
                field: String::new(),
                reason,
            }],
        }
    }
}

/// Reads a file as [`read_file`](crate::read_file) does and counts its rows instead of keeping
/// them.
///
/// # Errors
/// [`DataError::Read`] only if the file can't be opened or read at all.
pub fn check_file(file: impl Into<DataFile>) -> Result<FileCheck, DataError> {
    let file = file.into();
    let scanned = scan(&file, drop)?;
    Ok(FileCheck {
        file: file.name,
        format: scanned.format.map(|format| format.as_str().to_owned()),
        rows: scanned.rows,
        bad: scanned.bad,
    })
}

/// By what rows are measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions<'a> {
    /// The tokenizer whose tokens are counted; characters without it.
    pub tokenizer: Option<&'a ChatTokenizer>,
    /// The length beyond which rows are cut.
    pub max_length: Option<usize>,
}

/// All that is said of one file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// Its format, its rows and its bad rows.
    #[serde(flatten)]
    pub check: FileCheck,
    /// How long the rows are; none without rows.
    pub lengths: Option<Lengths>,
    /// Rows that are there more than once.
    pub repeats: Repeats,
    /// The scripts of the letters, the most frequent first.
    pub scripts: Vec<ScriptShare>,
    /// Pairs whose answers have the same rating.
    pub equal_ratings: usize,
    /// Pairs whose rejected answer has the higher rating.
    pub reversed_ratings: usize,
    /// What the file shares with each of the others.
    pub overlaps: Vec<Overlap>,
}

/// Reports on files, in order. Each is read once, row by row; kept are three hashes of eight bytes
/// a row, by which repeated rows and those that files share are found, and the bad rows.
///
/// A file that can't be read has a report that says so. With a tokenizer, a row that the model's
/// template refuses is a bad row.
///
/// # Errors
/// [`DataError::Rename`] if no row has a field that another name was given to.
pub fn check_files(
    data: &DataSet,
    options: CheckOptions<'_>,
) -> Result<Vec<FileReport>, DataError> {
    let (mut reports, mut prints) = (Vec::new(), Vec::new());
    for file in data.files() {
        let (report, fingerprints) = report(file, options);
        reports.push(report);
        prints.push(fingerprints);
    }
    if let Some(file) = data.files().first() {
        file.renames.refuse_unused()?;
    }
    for (i, report) in reports.iter_mut().enumerate() {
        for (j, other) in data.files().iter().enumerate().filter(|(j, _)| *j != i) {
            report
                .overlaps
                .extend(prints[i].overlap(&prints[j], &other.name));
        }
    }
    Ok(reports)
}

fn report(file: &DataFile, options: CheckOptions<'_>) -> (FileReport, Fingerprints) {
    let mut prints = Fingerprints::default();
    let mut histogram = Histogram::new(options.max_length);
    let mut scripts = Scripts::default();
    let (mut equal_ratings, mut reversed_ratings) = (0, 0);
    let mut refused = Vec::new();
    let scanned = scan(file, |parsed| {
        let contents = Contents::of(&parsed.row);
        let size = match options.tokenizer {
            None => Ok(contents.size()),
            Some(tokenizer) => size_in_tokens(tokenizer, &parsed.row, &contents),
        };
        match size {
            Ok(size) => histogram.add(size),
            Err(e) => {
                let (line, field) = (parsed.line, String::new());
                let reason = e.to_string();
                refused.push(BadRow {
                    line,
                    field,
                    reason,
                });
                return;
            }
        }
        prints.add(&contents);
        contents.all().for_each(|text| scripts.add(text));
        if let Row::Preference(row) = &parsed.row
            && let (Some(chosen), Some(rejected)) = (row.chosen_rating, row.rejected_rating)
        {
            equal_ratings += usize::from(chosen == rejected);
            reversed_ratings += usize::from(chosen < rejected);
        }
    });
    let check = match scanned {
        Err(e) => FileCheck::unreadable(file.name.clone(), &e),
        Ok(scanned) => {
            let rows = scanned.rows - refused.len();
            let mut bad = scanned.bad;
            bad.extend(refused);
            bad.sort_by_key(|row| row.line);
            FileCheck {
                file: file.name.clone(),
                format: scanned.format.map(|format| format.as_str().to_owned()),
                rows,
                bad,
            }
        }
    };
    let unit = match options.tokenizer {
        None => "characters",
        Some(tokenizer) if tokenizer.template().is_none() => "tokens without a chat template",
        Some(_) => "tokens",
    };
    let report = FileReport {
        check,
        lengths: histogram.lengths(unit),
        repeats: prints.repeats(),
        scripts: scripts.shares(),
        equal_ratings,
        reversed_ratings,
        overlaps: Vec::new(),
    };
    (report, prints)
}

#[cfg(test)]
#[path = "check/tests.rs"]
mod tests;
