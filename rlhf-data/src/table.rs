//! The rows of a table (CSV): cells under the names of the header.

use crate::input::Input;
use crate::json;
use crate::records::{Body, LONGEST_ROW, Record, ended_early, too_long_row};
use csv_core::ReadRecordResult;
use serde_json::Value;
use std::collections::HashSet;

/// A table with more columns than this is none.
const MOST_COLUMNS: usize = 1 << 14;

/// Columns whose cells hold a list, an object, a number or a truth value.
const STRUCTURED: [&str; 12] = [
    "messages",
    "conversations",
    "metadata",
    "tokens",
    "turns",
    "reference",
    "completions",
    "targets",
    "target_scores",
    "instruction_id_list",
    "kwargs",
    "history",
];

/// Columns whose cells hold turns, where they are no plain text.
const TURNS_OR_TEXT: [&str; 4] = ["prompt", "completion", "chosen", "rejected"];

/// The rows below the header, as RFC 4180 has them: cells may be quoted, and a quoted cell may
/// hold line breaks.
pub(crate) struct Table<'a> {
    cells: Cells<'a>,
    header: Option<Vec<String>>,
    over: bool,
}

impl<'a> Table<'a> {
    pub(crate) fn new(input: &'a mut Input, delimiter: u8) -> Self {
        Self {
            cells: Cells::new(input, delimiter),
            header: None,
            over: false,
        }
    }

    fn read_header(&mut self) -> Result<Vec<String>, Record> {
        let (line, cells) = match self.cells.next() {
            None => return Err(Record::bad(1, "the file is empty")),
            Some((line, cells)) => (line, cells.map_err(|reason| Record::bad(line, reason))?),
        };
        let names = texts(cells).map_err(|reason| Record::bad(line, reason))?;
        let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
        let mut seen = HashSet::new();
        let twice = names
            .iter()
            .find(|name| !name.is_empty() && !seen.insert(*name));
        match twice {
            None => Ok(names),
            Some(name) => {
                let reason = format!("the header names the column `{name:.40}` twice");
                Err(Record::bad(line, reason))
            }
        }
    }
}

impl Iterator for Table<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.over {
            return None;
        }
        let header = match self.header.take() {
            Some(header) => header,
            None => match self.read_header() {
                Ok(header) => header,
                Err(record) => {
                    self.over = true;
                    return Some(record);
                }
            },
        };
        let Some((line, cells)) = self.cells.next() else {
            self.over = true;
            return None;
        };
        let body = cells.and_then(|cells| row(&header, cells));
        self.header = Some(header);
        Some(Record { line, body })
    }
}

fn texts(cells: Vec<Vec<u8>>) -> Result<Vec<String>, String> {
    let text = |(i, cell): (usize, Vec<u8>)| {
        String::from_utf8(cell).map_err(|e| {
            let at = e.utf8_error().valid_up_to() + 1;
            format!("cell {} is not UTF-8 at its byte {at}", i + 1)
        })
    };
    cells.into_iter().enumerate().map(text).collect()
}

fn row(header: &[String], cells: Vec<Vec<u8>>) -> Result<Body, String> {
    if cells.len() != header.len() {
        return Err(format!(
            "the row has {} cells and the header {}",
            cells.len(),
            header.len()
        ));
    }
    let named = header.iter().zip(texts(cells)?);
    let object = named
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, text)| (name.clone(), cell(name, text)));
    Ok(Body::Object(object.collect()))
}

/// The value of a cell. Text stays text, numbers and lists included, but in columns that hold
/// something else in every format; there an empty cell is null.
fn cell(column: &str, text: String) -> Value {
    let figures = ["_rating", "_score", "score_", "rating_", "annotator"];
    let structured = STRUCTURED.contains(&column) || figures.iter().any(|f| column.contains(f));
    if structured && text.trim().is_empty() {
        return Value::Null;
    }
    let turns = TURNS_OR_TEXT.contains(&column) && text.trim_start().starts_with(['[', '{']);
    if !structured && !turns {
        return Value::String(text);
    }
    let is_turn = |value: &Value| value.get("role").or_else(|| value.get("from")).is_some();
    match json::parse(text.trim().as_bytes()) {
        Ok(value) if structured => value,
        Ok(Value::Array(list)) if list.iter().all(is_turn) => Value::Array(list),
        Ok(value @ Value::Object(_)) if is_turn(&value) => value,
        _ => Value::String(text),
    }
}

/// The cells of a row, or why there are none.
type Row = Result<Vec<Vec<u8>>, String>;

/// Rows of cells, the header among them.
struct Cells<'a> {
    input: &'a mut Input,
    reader: csv_core::Reader,
    line: usize,
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> Cells<'a> {
    fn new(input: &'a mut Input, delimiter: u8) -> Self {
        Self {
            input,
            reader: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            line: 1,
            text: vec![0; 4096],
            ends: vec![0; 64],
        }
    }

    /// Skips empty lines.
    fn skip_breaks(&mut self) {
        while let Some(byte @ (b'\n' | b'\r')) = self.input.chunk().first() {
            self.line += usize::from(*byte == b'\n');
            self.input.consume(1);
        }
    }

    /// The next row's line and cells, or why there are none.
    fn next(&mut self) -> Option<(usize, Row)> {
        self.skip_breaks();
        let start = self.line;
        let (mut written, mut ended, mut quotes, mut too_long) = (0, 0, 0_usize, false);
        let at_end = loop {
            let chunk = self.input.chunk();
            let at_end = chunk.is_empty();
            let (text, ends) = (&mut self.text[written..], &mut self.ends[ended..]);
            let (result, read, wrote, fields) = self.reader.read_record(chunk, text, ends);
            let taken = &chunk[..read];
            self.line += taken.iter().filter(|b| **b == b'\n').count();
            quotes += taken.iter().filter(|b| **b == b'"').count();
            self.input.consume(read);
            written += wrote;
            ended += fields;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() < LONGEST_ROW => {
                    self.text.resize(2 * self.text.len(), 0);
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < MOST_COLUMNS => {
                    self.ends.resize(2 * self.ends.len(), 0);
                }
                // What doesn't fit is read over what did, and none of it is kept.
                ReadRecordResult::OutputFull => (too_long, written) = (true, 0),
                ReadRecordResult::OutputEndsFull => (too_long, ended) = (true, 0),
                ReadRecordResult::Record => break at_end,
                ReadRecordResult::End => {
                    let error = self.input.error()?;
                    return Some((start, Err(ended_early(&error))));
                }
            }
        };
        if at_end && let Some(error) = self.input.error() {
            return Some((start, Err(ended_early(&error))));
        }
        if too_long {
            return Some((start, Err(too_long_row())));
        }
        if at_end && !quotes.is_multiple_of(2) {
            let reason = "the file ends inside a quoted cell";
            return Some((start, Err(reason.to_owned())));
        }
        let mut from = 0;
        let cells = self.ends[..ended].iter().map(|&to| {
            let cell = self.text[from..to].to_vec();
            from = to;
            cell
        });
        let cells = cells.collect();
        // One long row must not keep its room for all that follow.
        if self.text.len() > 1 << 20 {
            self.text = vec![0; 4096];
        }
        Some((start, Ok(cells)))
    }
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
