//! The rows of a Parquet file.

mod guard;
mod nesting;

use crate::guarded::guarded;
use crate::records::{Body, Record};
use guard::{Guarded, GuardedGroup};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::reader::{ReaderIter, TreeBuilder};
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};
use std::fs::File;

/// Rows that are read ahead of each column.
const AHEAD: usize = 64;

/// The rows of a Parquet file, one after the other; of each column one page is in memory. The
/// line of a row is its number, counted from 1. What can't be read ends the rows with a bad one.
pub(crate) struct ParquetRows {
    reader: SerializedFileReader<Guarded>,
    group: usize,
    rows: Option<ReaderIter>,
    line: usize,
    over: bool,
}

impl ParquetRows {
    /// Opens a file, reading what its end says of it.
    ///
    /// # Errors
    /// Why it is not readable, in words.
    pub(crate) fn open(file: File) -> Result<Self, String> {
        nesting::refuse_deep(&file).map_err(|e| e.to_string())??;
        let open = || SerializedFileReader::new(Guarded::new(file));
        let reader = guarded(open)?;
        Ok(Self {
            reader,
            group: 0,
            rows: None,
            line: 0,
            over: false,
        })
    }

    fn row(&mut self) -> Result<Option<Row>, String> {
        loop {
            if let Some(row) = self.rows.as_mut().and_then(Iterator::next) {
                return row.map(Some).map_err(|e| e.to_string());
            }
            if self.group == self.reader.metadata().num_row_groups() {
                return Ok(None);
            }
            let group = self.reader.get_row_group(self.group);
            let group = GuardedGroup(group.map_err(|e| e.to_string())?);
            let schema = self.reader.metadata().file_metadata().schema_descr_ptr();
            let tree = TreeBuilder::new().with_batch_size(AHEAD);
            self.rows = Some(tree.as_iter(schema, &group).map_err(|e| e.to_string())?);
            self.group += 1;
        }
    }
}

impl Iterator for ParquetRows {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        if self.over {
            return None;
        }
        self.line += 1;
        let found = guarded(|| Ok::<_, String>(self.row()));
        match found.and_then(|row| row) {
            Ok(Some(row)) => Some(Record {
                line: self.line,
                body: Ok(Body::Object(object(&row))),
            }),
            Ok(None) => {
                self.over = true;
                None
            }
            Err(reason) => {
                self.over = true;
                Some(Record::bad(
                    self.line,
                    format!("the Parquet data are broken: {reason}"),
                ))
            }
        }
    }
}

fn object(row: &Row) -> Map<String, Value> {
    row.get_column_iter()
        .map(|(name, field)| (name.clone(), value(field)))
        .collect()
}

/// The JSON value of a field. Numbers that JSON doesn't have are null. Bytes are text if they are
/// UTF-8, and else an object that no format takes for text.
fn value(field: &Field) -> Value {
    let number = |f: f64| Number::from_f64(f).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(b) => (*b).into(),
        Field::Byte(n) => (*n).into(),
        Field::Short(n) => (*n).into(),
        Field::Int(n) | Field::Date(n) | Field::TimeMillis(n) => (*n).into(),
        Field::Long(n)
        | Field::TimeMicros(n)
        | Field::TimestampMillis(n)
        | Field::TimestampMicros(n) => (*n).into(),
        Field::UByte(n) => (*n).into(),
        Field::UShort(n) => (*n).into(),
        Field::UInt(n) => (*n).into(),
        Field::ULong(n) => (*n).into(),
        Field::Float16(f) => number(f64::from(*f)),
        // By its shortest text, so that 0.1 doesn't become 0.10000000149.
        Field::Float(f) => f.to_string().parse().map_or(Value::Null, number),
        Field::Double(f) => number(*f),
        Field::Str(text) => text.as_str().into(),
        Field::Bytes(bytes) => match bytes.as_utf8() {
            Ok(text) => text.into(),
            Err(_) => serde_json::json!({ "bytes": bytes.len() }),
        },
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => {
            let entries = map.entries().iter();
            let named = entries.map(|(key, field)| match value(key) {
                Value::String(name) => (name, value(field)),
                other => (other.to_string(), value(field)),
            });
            Value::Object(named.collect())
        }
        other => other.to_string().into(),
    }
}

#[cfg(test)]
#[path = "parquet_rows/tests.rs"]
mod tests;
