//! Which files are meant, and how much of each.

use crate::error::DataError;
use crate::renames::Renames;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// Files of a folder that are data: by the end of their names, packed or not.
const DATA_ENDS: [&str; 7] = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "txt"];

/// The name of what came from standard input.
const STDIN: &str = "stdin";

/// A file to read rows from.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Where its bytes are.
    pub path: PathBuf,
    /// What messages call it.
    pub name: PathBuf,
    /// How many times each of its rows counts: 2 is twice, 0.5 is a drawn half of them.
    pub weight: f64,
    /// Its fields with other names than the format's.
    pub renames: Renames,
}

impl From<PathBuf> for DataFile {
    fn from(path: PathBuf) -> Self {
        Self {
            name: path.clone(),
            path,
            weight: 1.0,
            renames: Renames::default(),
        }
    }
}

impl From<&Path> for DataFile {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<&PathBuf> for DataFile {
    fn from(path: &PathBuf) -> Self {
        path.clone().into()
    }
}

impl From<&Self> for DataFile {
    fn from(file: &Self) -> Self {
        file.clone()
    }
}

/// The files that a purpose reads, in order.
#[derive(Debug, Clone, Default)]
pub struct DataSet {
    files: Vec<DataFile>,
    /// The seed by which the rows of a file with a broken weight are drawn.
    pub(crate) seed: u64,
    /// The folder of what came from standard input; it goes with the last clone.
    stdin: Option<Arc<TempDir>>,
}

impl DataSet {
    /// Finds the files that are meant by names of files and folders, patterns such as
    /// `data/*.jsonl`, and `-` for standard input, each with `:WEIGHT` behind it or not. A file
    /// whose name is the whole text is always that file.
    ///
    /// A folder stands for the data files that lie in it, not for those in folders within: these
    /// often hold the rows that a model is tested on. Files of folders and patterns come in the
    /// order of their names. Standard input is copied to a temporary file, as some purposes read
    /// rows twice. `maps` are [`Renames::parse`]'s.
    ///
    /// # Errors
    /// [`DataError::Files`] if nothing is meant by a text, [`DataError::Rename`], or
    /// [`DataError::Read`].
    pub fn open<S: AsRef<str>>(
        texts: &[PathBuf],
        maps: &[S],
        seed: u64,
    ) -> Result<Self, DataError> {
        let renames = Renames::parse(maps)?;
        let mut set = Self {
            seed,
            ..Self::default()
        };
        for text in texts {
            let (meant, weight) = weighted(text);
            let refused = |reason: String| DataError::Files {
                text: text.display().to_string(),
                reason,
            };
            if !(weight.is_finite() && weight > 0.0 && weight <= 1000.0) {
                return Err(refused("a weight above 0 and up to 1000 is wanted".into()));
            }
            let paths = if meant == Path::new("-") {
                if set.stdin.is_some() {
                    return Err(refused("standard input can be read only once".into()));
                }
                let folder = copy_stdin(&mut io::stdin().lock())?;
                let path = folder.path().join(STDIN);
                set.stdin = Some(Arc::new(folder));
                vec![path]
            } else {
                expand(&meant).map_err(refused)?
            };
            set.files.extend(paths.into_iter().map(|path| DataFile {
                name: if meant == Path::new("-") {
                    STDIN.into()
                } else {
                    path.clone()
                },
                path,
                weight,
                renames: renames.clone(),
            }));
        }
        Ok(set)
    }

    /// The files.
    pub fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Where the files' bytes are.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// In one line, what the rows depend on beside the contents of the files: weights and renamed
    /// fields; empty where there are none.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        if self.files.iter().any(|file| file.weight != 1.0) {
            let weights = self.files.iter().map(|file| file.weight.to_string());
            text = format!("weights {} ", weights.collect::<Vec<_>>().join(" "));
        }
        if let Some(renames) = self.files.first().map(|f| &f.renames)
            && !renames.is_empty()
        {
            text += &format!("map {}", renames.describe());
        }
        text.trim_end().to_owned()
    }

    /// Refuses weights, for purposes that take every row once.
    ///
    /// # Errors
    /// [`DataError::Files`] naming the first file with a weight.
    pub fn refuse_weights(&self) -> Result<(), DataError> {
        match self.files.iter().find(|file| file.weight != 1.0) {
            None => Ok(()),
            Some(file) => Err(DataError::Files {
                text: format!("{}:{}", file.name.display(), file.weight),
                reason: "every row is taken once here, so a weight has no meaning".into(),
            }),
        }
    }
}

impl From<&[PathBuf]> for DataSet {
    /// These files as they are, each row once.
    fn from(paths: &[PathBuf]) -> Self {
        let files = paths.iter().map(DataFile::from);
        Self {
            files: files.collect(),
            ..Self::default()
        }
    }
}

impl From<&Vec<PathBuf>> for DataSet {
    fn from(paths: &Vec<PathBuf>) -> Self {
        paths.as_slice().into()
    }
}

impl<const N: usize> From<&[PathBuf; N]> for DataSet {
    fn from(paths: &[PathBuf; N]) -> Self {
        paths.as_slice().into()
    }
}

impl From<&DataFile> for DataSet {
    fn from(file: &DataFile) -> Self {
        Self {
            files: vec![file.clone()],
            ..Self::default()
        }
    }
}

impl From<&Self> for DataSet {
    fn from(set: &Self) -> Self {
        set.clone()
    }
}

/// What is meant and its weight.
fn weighted(text: &Path) -> (PathBuf, f64) {
    let plain = || (text.to_owned(), 1.0);
    if text.exists() {
        return plain();
    }
    let Some((meant, weight)) = text.to_str().and_then(|text| text.rsplit_once(':')) else {
        return plain();
    };
    match weight.parse() {
        Ok(weight) if !meant.is_empty() => (meant.into(), weight),
        _ => plain(),
    }
}

/// The files that a name or a pattern means; at least one, which need not exist.
fn expand(meant: &Path) -> Result<Vec<PathBuf>, String> {
    if meant.is_dir() {
        let files = data_files(meant).map_err(|e| format!("can't be read: {e}"))?;
        if files.is_empty() {
            let ends = DATA_ENDS.join(", .");
            return Err(format!(
                "no file in this folder ends in .{ends}; folders within are not searched, \
                 `FOLDER/**/*.jsonl` finds files there"
            ));
        }
        return Ok(files);
    }
    let pattern = meant.to_str().filter(|text| text.contains(['*', '?', '[']));
    let Some(pattern) = pattern.filter(|_| !meant.exists()) else {
        return Ok(vec![meant.to_owned()]);
    };
    let found = glob::glob(pattern).map_err(|e| format!("not a pattern: {e}"))?;
    let files = found.filter_map(Result::ok).filter(|path| path.is_file());
    let files: Vec<PathBuf> = files.collect();
    if files.is_empty() {
        return Err("no file has a name of this pattern".into());
    }
    Ok(files)
}

/// The data files that lie in a folder.
fn data_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_data(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_data(path: &Path) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    let name = name.to_string_lossy().to_lowercase();
    let packed = [".gz", ".zst", ".zstd"];
    let plain = packed.iter().find_map(|end| name.strip_suffix(end));
    let end = plain.unwrap_or(&name).rsplit_once('.');
    !name.starts_with('.') && end.is_some_and(|(_, end)| DATA_ENDS.contains(&end))
}

fn copy_stdin(input: &mut impl io::Read) -> Result<TempDir, DataError> {
    let copied = || {
        let folder = tempfile::tempdir()?;
        let mut file = File::create(folder.path().join(STDIN))?;
        io::copy(input, &mut file)?;
        Ok(folder)
    };
    // In a closure, so that each step's error gets the same name.
    let mut copied = copied;
    copied().map_err(|source| DataError::Read {
        path: STDIN.into(),
        source,
    })
}

#[cfg(test)]
#[path = "data_set/tests.rs"]
mod tests;
