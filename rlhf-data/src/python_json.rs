//! JSON as Python's `json.dumps` writes it.

use serde_json::Value;

/// What `tojson` may be asked for, as `json.dumps` names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dumps {
    /// What one level of nesting is indented by; none writes all on one line.
    pub(crate) indent: Option<String>,
    /// What stands between items and between a key and its value; by default `, ` (`,` with an
    /// indent) and `: `.
    pub(crate) separators: Option<(String, String)>,
    /// Whether keys are sorted instead of in the order in which they came.
    pub(crate) sort_keys: bool,
    /// Whether characters beyond ASCII are written as escapes.
    pub(crate) ensure_ascii: bool,
}

impl Dumps {
    /// The value as text.
    pub(crate) fn to_string(&self, value: &Value) -> String {
        let mut out = String::new();
        self.write(value, 0, &mut out);
        out
    }

    fn write(&self, value: &Value, level: usize, out: &mut String) {
        match value {
            Value::Null => out.push_str("null"),
            Value::Bool(true) => out.push_str("true"),
            Value::Bool(false) => out.push_str("false"),
            Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
                Some(number) => out.push_str(&float(number)),
                None => out.push_str(&number.to_string()),
            },
            Value::String(text) => self.write_text(text, out),
            Value::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| (None, item)).collect();
                self.write_items(&items, ['[', ']'], level, out);
            }
            Value::Object(fields) => {
                let mut items: Vec<_> = fields.iter().map(|(key, v)| (Some(key), v)).collect();
                if self.sort_keys {
                    items.sort_by_key(|(key, _)| *key);
                }
                self.write_items(&items, ['{', '}'], level, out);
            }
        }
    }

    fn write_items(
        &self,
        items: &[(Option<&String>, &Value)],
        [open, close]: [char; 2],
        level: usize,
        out: &mut String,
    ) {
        let (between, behind_key) = match (&self.separators, &self.indent) {
            (Some((between, behind_key)), _) => (between.as_str(), behind_key.as_str()),
            (None, Some(_)) => (",", ": "),
            (None, None) => (", ", ": "),
        };
        let line = |level: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                out.push_str(&indent.repeat(level));
            }
        };
        out.push(open);
        for (i, (key, value)) in items.iter().enumerate() {
            if i > 0 {
                out.push_str(between);
            }
            line(level + 1, out);
            if let Some(key) = key {
                self.write_text(key, out);
                out.push_str(behind_key);
            }
            self.write(value, level + 1, out);
        }
        if !items.is_empty() {
            line(level, out);
        }
        out.push(close);
    }

    fn write_text(&self, text: &str, out: &mut String) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !(' '..='~').contains(&c)) => {
                    let mut units = [0; 2];
                    for unit in c.encode_utf16(&mut units) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

/// A number with a fraction as Python's `repr` writes it: the shortest digits that give it back,
/// with an exponent below 1e-4 and from 1e16 on.
fn float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{number:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spaces_are_where_python_puts_them() {
        let value = json!({"b": [1, "é<&>"], "a": null, "c": {}});
        let plain = Dumps::default();
        let text = plain.to_string(&value);
        assert_eq!(text, r#"{"b": [1, "é<&>"], "a": null, "c": {}}"#);
        let indented = Dumps {
            indent: Some("  ".into()),
            ..Dumps::default()
        };
        let text = indented.to_string(&json!({"a": [1, []]}));
        assert_eq!(text, "{\n  \"a\": [\n    1,\n    []\n  ]\n}");
        let tight = Dumps {
            separators: Some((",".into(), ":".into())),
            sort_keys: true,
            ensure_ascii: true,
            ..Dumps::default()
        };
        let text = tight.to_string(&value);
        assert_eq!(text, r#"{"a":null,"b":[1,"\u00e9<&>"],"c":{}}"#);
        assert_eq!(
            tight.to_string(&json!("🙂\u{7f}\u{1}")),
            r#""\ud83d\ude42\u007f\u0001""#
        );
        assert_eq!(
            plain.to_string(&json!("🙂\u{7f}\u{1}\"\\")),
            "\"🙂\u{7f}\\u0001\\\"\\\\\""
        );
    }

    #[test]
    fn fractions_are_written_as_python_does() {
        let text = |number: f64| Dumps::default().to_string(&json!(number));
        let pairs = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (-2.5, "-2.5"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (0.0001, "0.0001"),
            (1e15, "1000000000000000.0"),
            (1e300, "1e+300"),
            (0.0, "0.0"),
        ];
        for (number, wanted) in pairs {
            assert_eq!(text(number), wanted);
        }
        assert_eq!(Dumps::default().to_string(&json!(-3)), "-3");
    }
}
