//! Rows for a purpose, from as many files as wanted.

use crate::error::DataError;
use crate::parse::before_last_answer;
use crate::read::{Parsed, Row, Scanned, scan};
use crate::row::{Conversation, Message, Preference, Prompt, Response, TextRow};
use std::path::{Path, PathBuf};

/// What to do about a row that is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadRow {
    /// Refuse the file, naming the first bad row and their number.
    #[default]
    Fail,
    /// Leave it out and count it.
    Skip,
}

/// The usable rows of all files in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded<T> {
    /// The rows; at least one.
    pub rows: Vec<T>,
    /// How many bad rows were left out.
    pub skipped: usize,
}

/// Running text: rows with `text`, and plain text files, of which each paragraph is a row.
///
/// # Errors
/// [`DataError::Read`], [`DataError::UnknownFormat`], [`DataError::WrongFormat`] or
/// [`DataError::BadRow`] with file and line; [`DataError::TooManyBadRows`] if reading was given
/// up; [`DataError::NoRows`] if nothing is left. So it is with all loaders.
pub fn load_texts(paths: &[PathBuf], on_bad: OnBadRow) -> Result<Loaded<TextRow>, DataError> {
    load(paths, on_bad, "text or plain-text", |parsed| {
        match parsed.row {
            Row::Text(row) => Some(row),
            _ => None,
        }
    })
}

/// Conversations to learn from: instructions with their responses, and conversations.
///
/// # Errors
/// As [`load_texts`].
pub fn load_conversations(
    paths: &[PathBuf],
    on_bad: OnBadRow,
) -> Result<Loaded<Conversation>, DataError> {
    load(
        paths,
        on_bad,
        "instruction, conversation or sharegpt",
        |parsed| match parsed.row {
            Row::Instruction(row) => Some(row.into()),
            Row::Conversation(row) => Some(row),
            _ => None,
        },
    )
}

/// Prompts: prompt rows, and the turns before the (last) answer of rows of the other formats with
/// turns. Each keeps its whole original row.
///
/// # Errors
/// As [`load_texts`].
pub fn load_prompts(paths: &[PathBuf], on_bad: OnBadRow) -> Result<Loaded<Prompt>, DataError> {
    let wanted = "prompt, instruction, conversation, sharegpt, preference, hh-rlhf or response";
    load(paths, on_bad, wanted, |parsed| {
        let messages = match parsed.row {
            Row::Prompt(row) => return Some(row),
            Row::Instruction(row) => vec![Message::user(row.user_text())],
            Row::Conversation(row) => before_last_answer(row.messages),
            Row::Preference(row) => row.prompt,
            Row::Response(row) => row.messages,
            Row::Text(_) => return None,
        };
        Some(Prompt {
            messages,
            row: parsed.object,
        })
    })
}

/// Pairs of answers: preference rows and pairs of transcripts.
///
/// # Errors
/// As [`load_texts`].
pub fn load_preferences(
    paths: &[PathBuf],
    on_bad: OnBadRow,
) -> Result<Loaded<Preference>, DataError> {
    load(
        paths,
        on_bad,
        "preference or hh-rlhf",
        |parsed| match parsed.row {
            Row::Preference(row) => Some(row),
            _ => None,
        },
    )
}

/// Answers that a model generated.
///
/// # Errors
/// As [`load_texts`].
pub fn load_responses(paths: &[PathBuf], on_bad: OnBadRow) -> Result<Loaded<Response>, DataError> {
    load(paths, on_bad, "response", |parsed| match parsed.row {
        Row::Response(row) => Some(row),
        _ => None,
    })
}

fn load<T>(
    paths: &[PathBuf],
    on_bad: OnBadRow,
    wanted: &'static str,
    convert: impl Fn(Parsed) -> Option<T>,
) -> Result<Loaded<T>, DataError> {
    let mut rows = Vec::new();
    let mut skipped = 0;
    for path in paths {
        let mut unwanted = false;
        let scanned = scan(path, |parsed| match convert(parsed) {
            Some(row) => rows.push(row),
            None => unwanted = true,
        })?;
        if let Some(format) = scanned.format.filter(|_| unwanted) {
            let found = format.as_str();
            return Err(DataError::WrongFormat {
                file: path.clone(),
                found,
                wanted,
            });
        }
        skipped += scanned.bad.len();
        check(path, scanned, on_bad)?;
    }
    if rows.is_empty() {
        let names: Vec<_> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(DataError::NoRows {
            files: names.join(", "),
            skipped,
        });
    }
    Ok(Loaded { rows, skipped })
}

fn check(path: &Path, scanned: Scanned, on_bad: OnBadRow) -> Result<(), DataError> {
    let file = path.to_owned();
    let count = scanned.bad.len();
    let Some(first) = scanned.bad.into_iter().next() else {
        return Ok(());
    };
    if scanned.format.is_none() {
        let reason = format!("line {}: {}", first.line, first.reason);
        return Err(DataError::UnknownFormat { file, reason });
    }
    if on_bad == OnBadRow::Fail {
        let (line, field, reason) = (first.line, first.field, first.reason);
        return Err(DataError::BadRow {
            file,
            line,
            field,
            reason,
            more: count - 1,
        });
    }
    if scanned.given_up {
        return Err(DataError::TooManyBadRows { file, bad: count });
    }
    Ok(())
}

#[cfg(test)]
#[path = "load/tests.rs"]
mod tests;
