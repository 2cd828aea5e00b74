//! Files to rows, with every row that is not usable named.

use crate::data_set::DataFile;
use crate::error::DataError;
use crate::format::Format;
use crate::input::{Input, Layout};
use crate::json;
use crate::parquet_rows::ParquetRows;
use crate::parse;
use crate::recognise;
use crate::records::{Body, Elements, Lines, Paragraphs, Record};
use crate::renames::Renames;
use crate::row::{
    ChoiceQuestion, Conversation, Feedback, InstructionRow, Preference, Prompt, Response, TextRow,
    TruthQuestion, TurnsQuestion,
};
use crate::table::Table;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How many rows are looked at before the format is decided.
const LOOKED_AT: usize = 32;

/// Fewer are looked at when they have more bytes than this: they wait in memory.
const MOST_WAITING: usize = 16 << 20;

/// Reading is given up when more rows than this, and more than half of all, are bad.
const MOST_BAD: usize = 10_000;

/// A row of any format.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Row {
    /// Running text.
    Text(TextRow),
    /// An instruction with its demonstration.
    Instruction(InstructionRow),
    /// Two answers, the better one named.
    Preference(Preference),
    /// Turns that wait for an answer.
    Prompt(Prompt),
    /// A conversation to learn from.
    Conversation(Conversation),
    /// An answer that a model generated.
    Response(Response),
    /// An answer and whether it is wanted.
    Feedback(Feedback),
    /// A question with true and false answers.
    Truth(TruthQuestion),
    /// Questions of one conversation.
    Turns(TurnsQuestion),
    /// A text with choices.
    Choice(ChoiceQuestion),
}

/// A row and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// The row.
    pub row: T,
    /// Its file.
    pub file: PathBuf,
    /// The line on which it starts, from 1; in Parquet the row's number.
    pub line: usize,
}

/// A row that is not usable, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// The line on which it starts, from 1; in Parquet the row's number.
    pub line: usize,
    /// The field, such as `messages[2].role`; empty when the row as a whole is meant.
    pub field: String,
    /// What was found and what is wanted.
    pub reason: String,
}

impl BadRow {
    fn whole(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            field: String::new(),
            reason: reason.into(),
        }
    }
}

/// All that a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct FileRows {
    /// The file.
    pub file: PathBuf,
    /// What its rows are; none where their fields match no format.
    pub format: Option<Format>,
    /// The usable rows in order.
    pub rows: Vec<Located<Row>>,
    /// The others in order.
    pub bad: Vec<BadRow>,
}

/// Reads a file: JSON lines, one JSON array of objects, a table (CSV), Parquet, or plain text, each
/// also packed by gzip or zstd; which of them is seen from the contents, and only where these leave
/// it open from the name. A byte-order mark and carriage returns before line feeds are accepted.
///
/// The format is the one that most of the first 32 objects speak of. From then on a row that does
/// not fit it is a bad row, never one of another format. Plain text is cut at blank lines: each
/// paragraph is a row, its lines joined by line feeds.
///
/// Keys that occur twice, numbers that are none, invalid UTF-8, rows above 64 MiB, and data that
/// ends early make bad rows. If more than 10,000 rows are bad, and more bad than good, reading
/// ends with a bad row that says so.
///
/// # Errors
/// [`DataError::Read`] only if the file can't be opened or read at all.
pub fn read_file(file: impl Into<DataFile>) -> Result<FileRows, DataError> {
    let file = file.into();
    let mut rows = Vec::new();
    let scanned = scan(&file, |parsed| {
        rows.push(Located {
            row: parsed.row,
            file: file.name.clone(),
            line: parsed.line,
        });
    })?;
    Ok(FileRows {
        format: scanned.format,
        rows,
        bad: scanned.bad,
        file: file.name,
    })
}

/// A usable row with the object it was read from, which plain text doesn't have.
pub(crate) struct Parsed {
    pub(crate) line: usize,
    pub(crate) row: Row,
    pub(crate) object: Map<String, Value>,
}

/// What is left to say about a file when its rows have been handed out.
pub(crate) struct Scanned {
    pub(crate) format: Option<Format>,
    pub(crate) rows: usize,
    pub(crate) bad: Vec<BadRow>,
    /// Whether reading was given up.
    pub(crate) given_up: bool,
}

/// Walks through a file and hands out its usable rows in order.
pub(crate) fn scan(file: &DataFile, each: impl FnMut(Parsed)) -> Result<Scanned, DataError> {
    let unread = |source| DataError::Read {
        path: file.name.clone(),
        source,
    };
    let mut input = Input::open(&file.path).map_err(unread)?;
    let layout = input.layout(&file.path, &file.renames);
    if !input.is_packed()
        && let Some(source) = input.error()
    {
        return Err(unread(source));
    }
    let mut scan = Scan {
        each,
        renames: &file.renames,
        format: None,
        waiting: Vec::new(),
        waiting_bytes: 0,
        rows: 0,
        bad: Vec::new(),
    };
    let given_up = match layout {
        Layout::Unreadable(reason) => {
            scan.bad.push(BadRow::whole(1, reason));
            false
        }
        Layout::Paragraphs => {
            scan.format = Some(Format::PlainText);
            scan.all(Paragraphs::new(&mut input))
        }
        Layout::Lines => scan.all(Lines::new(&mut input)),
        Layout::Array => scan.all(Elements::new(&mut input)),
        Layout::Table(delimiter) => scan.all(Table::new(&mut input, delimiter)),
        Layout::Columns => {
            let rows = columns(&mut input, &file.path).map_err(unread)?;
            match rows.and_then(ParquetRows::open) {
                Ok(rows) => scan.all(rows),
                Err(reason) => {
                    let reason = format!("not a whole Parquet file: {reason}");
                    scan.bad.push(BadRow::whole(1, reason));
                    false
                }
            }
        }
    };
    let Scan {
        format,
        rows,
        mut bad,
        ..
    } = scan;
    bad.sort_by_key(|row| row.line);
    Ok(Scanned {
        format,
        rows,
        bad,
        given_up,
    })
}

/// The Parquet data as a file that can be read at any place, or why they are none.
fn columns(input: &mut Input, path: &Path) -> io::Result<Result<File, String>> {
    /// Parquet packs its pages, so that what packs it again hardly makes it smaller.
    const MOST_PACKED: u64 = 64;
    if !input.is_packed() {
        return File::open(path).map(Ok);
    }
    let most = path.metadata()?.len().saturating_mul(MOST_PACKED);
    Ok(match input.unpacked(most) {
        Ok(Some(file)) => Ok(file),
        Ok(None) => Err(format!(
            "unpacked it is more than {MOST_PACKED} times as large"
        )),
        Err(e) => Err(format!("the data ends early: {e}")),
    })
}

struct Scan<'a, F> {
    each: F,
    renames: &'a Renames,
    format: Option<Format>,
    /// Objects read before the format was decided.
    waiting: Vec<(usize, Map<String, Value>)>,
    waiting_bytes: usize,
    rows: usize,
    bad: Vec<BadRow>,
}

impl<F: FnMut(Parsed)> Scan<'_, F> {
    /// Takes all records; whether it gave up before the end.
    fn all(&mut self, records: impl Iterator<Item = Record>) -> bool {
        for record in records {
            let line = record.line;
            self.record(record);
            let enough = self.waiting.len() >= LOOKED_AT || self.waiting_bytes > MOST_WAITING;
            if self.format.is_none() && enough {
                if !self.decide() {
                    return false;
                }
            } else if self.bad.len() > MOST_BAD && self.bad.len() > self.rows {
                let reason = format!("reading was given up after {} bad rows", self.bad.len());
                self.bad.push(BadRow::whole(line, reason));
                return true;
            }
        }
        if self.format.is_none() {
            self.decide();
        }
        if self.rows == 0 && self.bad.is_empty() {
            self.bad.push(BadRow::whole(1, "the file has no rows"));
        }
        false
    }

    fn record(&mut self, record: Record) {
        let Record { line, body } = record;
        let object = match body {
            Err(reason) => return self.bad.push(BadRow::whole(line, reason)),
            Ok(Body::Bytes(bytes)) if self.format == Some(Format::PlainText) => {
                return self.plain_text(line, bytes);
            }
            Ok(Body::Bytes(bytes)) => {
                self.waiting_bytes += bytes.len();
                object(&bytes)
            }
            Ok(Body::Object(object)) => {
                let texts = object.values().filter_map(Value::as_str);
                self.waiting_bytes += texts.map(str::len).sum::<usize>();
                Ok(object)
            }
        };
        match object {
            Err(reason) => self.bad.push(BadRow::whole(line, reason)),
            Ok(object) => {
                let object = if self.renames.is_empty() {
                    object
                } else {
                    self.renames.apply(object)
                };
                match self.format {
                    Some(format) => self.object(format, line, object),
                    None => self.waiting.push((line, object)),
                }
            }
        }
    }

    fn plain_text(&mut self, line: usize, bytes: Vec<u8>) {
        match String::from_utf8(bytes) {
            Ok(text) => self.hand_out(line, Row::Text(TextRow { text }), Map::new()),
            Err(e) => {
                let reason = not_utf8(&e.utf8_error());
                self.bad.push(BadRow::whole(line, reason));
            }
        }
    }

    /// Decides the format and takes the rows that waited for it; false if there is none.
    fn decide(&mut self) -> bool {
        let waiting = std::mem::take(&mut self.waiting);
        self.format = recognise::of_rows(waiting.iter().map(|(_, object)| object));
        match self.format {
            Some(format) => {
                for (line, object) in waiting {
                    self.object(format, line, object);
                }
            }
            None => {
                let unknown =
                    |(line, object): &(usize, _)| BadRow::whole(*line, recognise::unknown(object));
                self.bad.extend(waiting.first().map(unknown));
            }
        }
        self.format.is_some()
    }

    fn object(&mut self, format: Format, line: usize, object: Map<String, Value>) {
        match parse::row(format, &object) {
            Ok(row) => self.hand_out(line, row, object),
            Err(e) => self.bad.push(BadRow {
                line,
                field: e.field,
                reason: e.reason,
            }),
        }
    }

    fn hand_out(&mut self, line: usize, row: Row, object: Map<String, Value>) {
        self.rows += 1;
        (self.each)(Parsed { line, row, object });
    }
}

fn not_utf8(error: &std::str::Utf8Error) -> String {
    format!(
        "the row is not UTF-8 at its byte {}",
        error.valid_up_to() + 1
    )
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    std::str::from_utf8(bytes).map_err(|e| not_utf8(&e))?;
    match json::parse(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err("a JSON object is wanted".to_owned()),
        Err(e) => Err(format!("not JSON: {e}")),
    }
}

#[cfg(test)]
#[path = "read/tests.rs"]
mod tests;
