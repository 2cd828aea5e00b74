//! JSON as Python's `json.dumps(ensure_ascii=False)` writes it: a space after commas and colons.

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};
use std::io::{self, Write};

struct Spaced(CompactFormatter);

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { w.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        w.write_all(b": ")
    }

    fn write_null<W: ?Sized + Write>(&mut self, w: &mut W) -> io::Result<()> {
        self.0.write_null(w)
    }
}

/// The value as text, on one line or indented by so many spaces.
pub(crate) fn to_string(
    value: &impl Serialize,
    indent: Option<usize>,
) -> Result<String, serde_json::Error> {
    let mut out = Vec::new();
    match indent {
        None => value.serialize(&mut Serializer::with_formatter(
            &mut out,
            Spaced(CompactFormatter),
        )),
        Some(width) => {
            let spaces = " ".repeat(width.min(80));
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut out, formatter))
        }
    }?;
    String::from_utf8(out).map_err(serde::ser::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_are_where_python_puts_them() {
        let value = serde_json::json!({"a": [1, "é<&>"], "b": null, "c": {}});
        let text = to_string(&value, None).unwrap();
        assert_eq!(text, r#"{"a": [1, "é<&>"], "b": null, "c": {}}"#);
        let text = to_string(&serde_json::json!({"a": [1]}), Some(2)).unwrap();
        assert_eq!(text, "{\n  \"a\": [\n    1\n  ]\n}");
    }
}
