//! Where a setting was written.

use toml::de::{DeTable, DeValue};

/// Where a layer came from.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A file or a preset: its name and its text.
    Text { name: String, text: String },
    /// The command line or the environment, as typed.
    Typed(String),
}

impl Origin {
    pub(super) fn text(name: &str, text: &str) -> Self {
        Self::Text {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    /// The place of a key: `file:line` or what was typed.
    pub(super) fn place(&self, path: &[String]) -> String {
        match self {
            Self::Typed(typed) => typed.clone(),
            Self::Text { name, text } => match key_start(text, path) {
                Some(start) => format!("{name}:{}", line_of(text, start)),
                None => name.clone(),
            },
        }
    }
}

/// The line of a byte, from 1.
pub(super) fn line_of(text: &str, byte: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(byte)
        .filter(|&&b| b == b'\n')
        .count()
        + 1
}

/// The byte at which a key is written, the last part of a dotted one.
fn key_start(text: &str, path: &[String]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut start = None;
    for (i, part) in path.iter().enumerate() {
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == part)?;
        start = Some(key.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ if i + 1 < path.len() => return None,
            _ => {}
        }
    }
    start
}
