//! One row after the other, with the line on which each starts.

use crate::input::Input;
use serde_json::{Map, Value};

/// A row of more bytes than this is not read: no row of a text data set is as long, and a
/// malformed or hostile file must not fill the memory.
pub(crate) const LONGEST_ROW: usize = 64 << 20;

/// What a row is before its format is known, or why there is none.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    /// The line on which it starts, from 1.
    pub(crate) line: usize,
    /// What stands there.
    pub(crate) body: Result<Body, String>,
}

/// What a row is before its format is known.
#[derive(Debug, PartialEq)]
pub(crate) enum Body {
    /// Bytes without the line break: JSON, or plain text.
    Bytes(Vec<u8>),
    /// The cells of a table's row under the names of its columns.
    Object(Map<String, Value>),
}

impl Record {
    pub(crate) fn bad(line: usize, reason: impl Into<String>) -> Self {
        Self {
            line,
            body: Err(reason.into()),
        }
    }
}

/// What is said of a row that is longer than [`LONGEST_ROW`].
pub(crate) fn too_long_row() -> String {
    format!("the row is longer than {} MiB", LONGEST_ROW >> 20)
}

/// Bytes collected up to the limit.
#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Collected {
    fn extend(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > LONGEST_ROW {
            self.too_long = true;
            self.bytes = Vec::new();
        }
        if !self.too_long {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.too_long
    }

    fn take(&mut self) -> Result<Body, String> {
        let Self { bytes, too_long } = std::mem::take(self);
        if too_long {
            return Err(too_long_row());
        }
        Ok(Body::Bytes(bytes))
    }
}

/// Lines that are not blank; a carriage return at the end is left out.
pub(crate) struct Lines<'a> {
    input: &'a mut Input,
    line: usize,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(input: &'a mut Input) -> Self {
        Self { input, line: 0 }
    }

    /// The next line, blank or not, and whether the data ends with it.
    fn next_line(&mut self) -> Option<(Collected, bool)> {
        let mut line = Collected::default();
        let mut any = false;
        loop {
            let chunk = self.input.chunk();
            if chunk.is_empty() {
                self.line += usize::from(any);
                return any.then_some((line, true));
            }
            any = true;
            match chunk.iter().position(|b| *b == b'\n') {
                Some(at) => {
                    line.extend(&chunk[..at]);
                    self.input.consume(at + 1);
                    if line.bytes.last() == Some(&b'\r') {
                        line.bytes.pop();
                    }
                    self.line += 1;
                    return Some((line, false));
                }
                None => {
                    let len = chunk.len();
                    line.extend(chunk);
                    self.input.consume(len);
                }
            }
        }
    }

    fn broken(&mut self, line: usize) -> Option<Record> {
        self.input
            .error()
            .map(|e| Record::bad(line.max(1), ended_early(&e)))
    }
}

pub(crate) fn ended_early(error: &std::io::Error) -> String {
    format!("the data ends early: {error}")
}

impl Iterator for Lines<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            let Some((mut line, last)) = self.next_line() else {
                return self.broken(self.line + 1);
            };
            if last && let Some(record) = self.broken(self.line) {
                return Some(record);
            }
            if line.too_long || !line.bytes.trim_ascii().is_empty() {
                return Some(Record {
                    line: self.line,
                    body: line.take(),
                });
            }
        }
    }
}

/// Runs of lines between blank ones, joined by line feeds.
pub(crate) struct Paragraphs<'a> {
    lines: Lines<'a>,
}

impl<'a> Paragraphs<'a> {
    pub(crate) fn new(input: &'a mut Input) -> Self {
        Self {
            lines: Lines::new(input),
        }
    }
}

impl Iterator for Paragraphs<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let mut text = Collected::default();
        let mut start = 0;
        while let Some((line, last)) = self.lines.next_line() {
            if last && let Some(record) = self.lines.broken(self.lines.line) {
                return Some(record);
            }
            let blank = !line.too_long && line.bytes.trim_ascii().is_empty();
            if blank && text.is_empty() {
                continue;
            }
            if blank {
                break;
            }
            if text.is_empty() {
                start = self.lines.line;
            } else {
                text.extend(b"\n");
            }
            text.extend(&line.bytes);
            text.too_long |= line.too_long;
        }
        if text.is_empty() {
            return self.lines.broken(self.lines.line + 1);
        }
        Some(Record {
            line: start,
            body: text.take(),
        })
    }
}

/// The elements of one JSON array.
pub(crate) struct Elements<'a> {
    input: &'a mut Input,
    line: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// After `[` or after a comma; whether there was a comma.
    BeforeElement(bool),
    AfterArray,
    Over,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(input: &'a mut Input) -> Self {
        Self {
            input,
            line: 1,
            state: State::Start,
        }
    }

    /// Skips white space and says which byte comes next.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.input.chunk().first()?;
            if !byte.is_ascii_whitespace() {
                return Some(byte);
            }
            self.line += usize::from(byte == b'\n');
            self.input.consume(1);
        }
    }

    /// Ends the walk, with a record that says why.
    fn stop(&mut self, line: usize, reason: &str) -> Option<Record> {
        self.state = State::Over;
        let reason = self
            .input
            .error()
            .map_or_else(|| reason.to_owned(), |e| ended_early(&e));
        Some(Record::bad(line, reason))
    }

    /// One element: up to the comma or bracket that ends it, which is left.
    fn element(&mut self) -> Option<Record> {
        let start = self.line;
        let mut bytes = Collected::default();
        let mut nesting = Nesting::default();
        loop {
            let chunk = self.input.chunk();
            if chunk.is_empty() {
                return self.stop(start, "the file ends inside this row");
            }
            let end = chunk.iter().position(|b| nesting.ends_before(*b));
            let len = end.unwrap_or(chunk.len());
            self.line += chunk[..len].iter().filter(|b| **b == b'\n').count();
            bytes.extend(&chunk[..len]);
            self.input.consume(len);
            if end.is_some() {
                return Some(Record {
                    line: start,
                    body: bytes.take(),
                });
            }
        }
    }
}

impl Iterator for Elements<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if self.state == State::Over {
                return None;
            }
            let next = self.peek();
            match (self.state, next) {
                (State::AfterArray, None) => {
                    self.state = State::Over;
                    let error = self.input.error()?;
                    return Some(Record::bad(self.line, ended_early(&error)));
                }
                (State::AfterArray, Some(_)) => {
                    return self.stop(self.line, "there is more after the closing `]`");
                }
                (_, None) => return self.stop(self.line, "the file ends before the closing `]`"),
                (State::Start, Some(_)) => {
                    self.input.consume(1);
                    self.state = State::BeforeElement(false);
                }
                (State::BeforeElement(after_comma), Some(b']')) => {
                    self.input.consume(1);
                    self.state = State::AfterArray;
                    if after_comma {
                        return Some(Record::bad(self.line, "a comma stands before the `]`"));
                    }
                }
                (State::BeforeElement(_), Some(b',')) => {
                    self.input.consume(1);
                    self.state = State::BeforeElement(true);
                    return Some(Record::bad(self.line, "a row is missing before the comma"));
                }
                (State::BeforeElement(_), Some(_)) => {
                    let record = self.element();
                    if self.state != State::Over {
                        self.after_element();
                    }
                    return record;
                }
                (State::Over, _) => return None,
            }
        }
    }
}

impl Elements<'_> {
    fn after_element(&mut self) {
        let comma = self.peek() == Some(b',');
        if comma {
            self.input.consume(1);
        }
        self.state = State::BeforeElement(comma);
    }
}

/// Where in a JSON value a byte stands.
#[derive(Default)]
struct Nesting {
    depth: usize,
    in_text: bool,
    escaped: bool,
}

impl Nesting {
    /// Whether the element ended before this byte; else the byte is part of it.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.in_text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_text = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_text = true,
            b'{' | b'[' => self.depth += 1,
            b',' | b']' if self.depth == 0 => return true,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        false
    }
}

#[cfg(test)]
#[path = "records/tests.rs"]
mod tests;
