//! Rows for a purpose, from as many files as wanted.

use crate::data_set::{DataFile, DataSet};
use crate::error::DataError;
use crate::mixture;
use crate::parse::before_last_answer;
use crate::read::{Parsed, Row, Scanned, scan};
use crate::row::{Conversation, Message, Preference, Prompt, Response, TextRow};
use serde_json::Map;

/// What to do about a row that is not usable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnBadRow {
    /// Refuse the file, naming the first bad row and their number.
    #[default]
    Fail,
    /// Leave it out and count it.
    Skip,
}

/// The usable rows of all files in order, each as often as its file's weight says.
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
/// up; [`DataError::Rename`] if no row has a field that another name was given to;
/// [`DataError::NoRows`] if nothing is left. So it is with all loaders.
pub fn load_texts(
    data: impl Into<DataSet>,
    on_bad: OnBadRow,
) -> Result<Loaded<TextRow>, DataError> {
    load(
        &data.into(),
        on_bad,
        "text or plain-text",
        |parsed| match parsed.row {
            Row::Text(row) => Some(row),
            _ => None,
        },
    )
}

/// Conversations to learn from: instructions with their responses, and conversations.
///
/// # Errors
/// As [`load_texts`].
pub fn load_conversations(
    data: impl Into<DataSet>,
    on_bad: OnBadRow,
) -> Result<Loaded<Conversation>, DataError> {
    load(
        &data.into(),
        on_bad,
        "instruction, prompt-completion, conversation or sharegpt",
        |parsed| match parsed.row {
            Row::Instruction(row) => Some(row.into()),
            Row::Conversation(row) => Some(row),
            _ => None,
        },
    )
}

/// Prompts: prompt rows, questions, the turns before the (last) answer of rows of the other
/// formats with turns, and the lines of plain text. Each keeps its whole original row.
///
/// # Errors
/// As [`load_texts`].
pub fn load_prompts(
    data: impl Into<DataSet>,
    on_bad: OnBadRow,
) -> Result<Loaded<Prompt>, DataError> {
    let wanted = "prompt, instruction, conversation, sharegpt, preference, hh-rlhf, kto, ifeval, \
                  truthfulqa, response or plain-text";
    let data = data.into();
    let (mut loaded, files) = load_by_file(&data, on_bad, wanted, |parsed, rows| {
        let messages = match parsed.row {
            Row::Prompt(row) => {
                rows.push(row);
                return true;
            }
            Row::Text(text) if parsed.object.is_empty() => {
                rows.extend(text.text.lines().map(line_prompt));
                return true;
            }
            Row::Instruction(row) => vec![Message::user(row.user_text())],
            Row::Conversation(row) => before_last_answer(row.messages),
            Row::Preference(row) => row.prompt,
            Row::Response(row) => row.messages,
            Row::Feedback(row) => row.prompt,
            Row::Truth(row) => vec![Message::user(row.question)],
            Row::Text(_) | Row::Turns(_) | Row::Choice(_) => return false,
        };
        rows.push(Prompt {
            messages,
            row: parsed.object,
        });
        true
    })?;
    loaded.rows = mixture::mix(&data, &files, loaded.rows, |_, _| {});
    Ok(loaded)
}

fn line_prompt(line: &str) -> Prompt {
    Prompt {
        messages: vec![Message::user(line)],
        row: Map::from_iter([("prompt".to_owned(), line.into())]),
    }
}

/// Pairs of answers: preference rows and pairs of transcripts.
///
/// # Errors
/// As [`load_texts`].
pub fn load_preferences(
    data: impl Into<DataSet>,
    on_bad: OnBadRow,
) -> Result<Loaded<Preference>, DataError> {
    let wanted = "preference, hh-rlhf, ultrafeedback or pandalm";
    let data = data.into();
    let pair = |parsed: Parsed| match parsed.row {
        Row::Preference(row) => Some(row),
        _ => None,
    };
    let (mut loaded, files) = load_by_file(&data, on_bad, wanted, one(pair))?;
    // A repeated pair of a ranking is a ranking of its own, else its copies would be one item.
    loaded.rows = mixture::mix(&data, &files, loaded.rows, |row, copy| {
        if let Some(group) = row.group().filter(|_| copy > 0) {
            let group = format!("{group} copy {copy}");
            row.metadata.insert("group".into(), group.into());
        }
    });
    Ok(loaded)
}

/// Answers that a model generated.
///
/// # Errors
/// As [`load_texts`].
pub fn load_responses(
    data: impl Into<DataSet>,
    on_bad: OnBadRow,
) -> Result<Loaded<Response>, DataError> {
    load(&data.into(), on_bad, "response", |parsed| {
        match parsed.row {
            Row::Response(row) => Some(row),
            _ => None,
        }
    })
}

fn load<T: Clone>(
    data: &DataSet,
    on_bad: OnBadRow,
    wanted: &'static str,
    convert: impl Fn(Parsed) -> Option<T>,
) -> Result<Loaded<T>, DataError> {
    let (mut loaded, files) = load_by_file(data, on_bad, wanted, one(convert))?;
    loaded.rows = mixture::mix(data, &files, loaded.rows, |_, _| {});
    Ok(loaded)
}

/// What is read makes one row, or is not wanted.
fn one<T>(convert: impl Fn(Parsed) -> Option<T>) -> impl Fn(Parsed, &mut Vec<T>) -> bool {
    move |parsed, rows| {
        let row = convert(parsed);
        let wanted = row.is_some();
        rows.extend(row);
        wanted
    }
}

/// The rows of all files, each once, and how many each file has. Only they are kept: a file's text
/// goes as it is read. `convert` adds what a row of the file makes, and says whether it is wanted.
fn load_by_file<T>(
    data: &DataSet,
    on_bad: OnBadRow,
    wanted: &'static str,
    convert: impl Fn(Parsed, &mut Vec<T>) -> bool,
) -> Result<(Loaded<T>, Vec<usize>), DataError> {
    let mut rows = Vec::new();
    let mut skipped = 0;
    let mut counts = Vec::new();
    for file in data.files() {
        let mut unwanted = false;
        let before = rows.len();
        let scanned = scan(file, |parsed| unwanted |= !convert(parsed, &mut rows))?;
        if let Some(format) = scanned.format.filter(|_| unwanted) {
            let found = format.as_str();
            return Err(DataError::WrongFormat {
                file: file.name.clone(),
                found,
                wanted,
            });
        }
        skipped += scanned.bad.len();
        check(file, scanned, on_bad)?;
        counts.push(rows.len() - before);
    }
    if let Some(file) = data.files().first() {
        file.renames.refuse_unused()?;
    }
    if rows.is_empty() {
        let names = data
            .files()
            .iter()
            .map(|file| file.name.display().to_string());
        return Err(DataError::NoRows {
            files: names.collect::<Vec<_>>().join(", "),
            skipped,
        });
    }
    Ok((Loaded { rows, skipped }, counts))
}

fn check(file: &DataFile, scanned: Scanned, on_bad: OnBadRow) -> Result<(), DataError> {
    let file = file.name.clone();
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
