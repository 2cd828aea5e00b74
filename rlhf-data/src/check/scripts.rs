//! In which scripts texts are written.

use serde::Serialize;
use std::collections::HashMap;
use unicode_script::{Script, UnicodeScript};

/// A script and its share of the letters.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScriptShare {
    /// The script's name in the Unicode standard: Latin, Han, Cyrillic.
    pub script: String,
    /// The share of all letters, from 0 to 1.
    pub share: f64,
}

/// Letters counted by script. A script is no language: Latin is English and French alike.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    latin: u64,
    others: HashMap<Script, u64>,
}

impl Scripts {
    pub(super) fn add(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_ascii_alphabetic() {
                self.latin += 1;
            } else if !c.is_ascii() && c.is_alphabetic() {
                match c.script() {
                    Script::Common | Script::Inherited | Script::Unknown => {}
                    Script::Latin => self.latin += 1,
                    script => *self.others.entry(script).or_default() += 1,
                }
            }
        }
    }

    /// The shares, the largest first; equal ones by name.
    pub(super) fn shares(&self) -> Vec<ScriptShare> {
        let others = self.others.iter().map(|(script, n)| (*script, *n));
        let mut counts: Vec<_> = others.chain([(Script::Latin, self.latin)]).collect();
        counts.retain(|(_, n)| *n > 0);
        let total: u64 = counts.iter().map(|(_, n)| n).sum();
        counts.sort_by_key(|(script, n)| (std::cmp::Reverse(*n), script.full_name()));
        let share = |(script, n): (Script, u64)| ScriptShare {
            script: script.full_name().to_owned(),
            share: n as f64 / total as f64,
        };
        counts.into_iter().map(share).collect()
    }
}
