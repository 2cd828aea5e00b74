//! Rows that are there more than once, in a file or in two.

use super::contents::Contents;
use serde::Serialize;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// How many rows of a file were there before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Repeats {
    /// Rows with all texts of an earlier one.
    pub exact: usize,
    /// Rows that differ from an earlier one in case, punctuation and white space at most.
    pub normalised: usize,
    /// Rows that ask what an earlier one asks, so compared, with whatever answer.
    pub prompts: usize,
}

/// What two files share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// The other file.
    pub file: PathBuf,
    /// Different rows that are in both with the same texts.
    pub exact: usize,
    /// As `exact`, but for case, punctuation and white space.
    pub normalised: usize,
    /// Different prompts, so compared, that both ask, with whatever answer.
    pub prompts: usize,
}

/// Hashes of a file's rows.
#[derive(Debug, Default)]
pub(super) struct Fingerprints {
    exact: HashSet<u64>,
    normalised: HashSet<u64>,
    prompts: HashSet<u64>,
    repeats: Repeats,
    /// Room for the text at hand.
    plain: String,
}

impl Fingerprints {
    pub(super) fn add(&mut self, contents: &Contents<'_>) {
        let before = contents.system.len();
        let asked = before..before + contents.asked.len();
        let exact: Vec<u64> = contents.all().map(of_text).collect();
        let normalised: Vec<u64> = contents
            .all()
            .map(|text| self.of_normalised(text))
            .collect();
        let prompt = hash(&normalised[asked]);
        self.repeats.exact += usize::from(!self.exact.insert(hash(&exact)));
        self.repeats.normalised += usize::from(!self.normalised.insert(hash(&normalised)));
        self.repeats.prompts += usize::from(!self.prompts.insert(prompt));
    }

    /// The hash of letters and figures in lower case, with one space for whatever stands between
    /// them. A text without any counts as it is.
    fn of_normalised(&mut self, text: &str) -> u64 {
        let plain = &mut self.plain;
        plain.clear();
        let mut gap = false;
        for c in text.chars() {
            if !c.is_alphanumeric() {
                gap = true;
                continue;
            }
            if gap && !plain.is_empty() {
                plain.push(' ');
            }
            gap = false;
            if c.is_ascii() {
                plain.push(c.to_ascii_lowercase());
            } else {
                plain.extend(c.to_lowercase());
            }
        }
        of_text(if plain.is_empty() { text } else { plain })
    }

    pub(super) fn repeats(&self) -> Repeats {
        self.repeats
    }

    /// What the file shares with another one, if anything.
    pub(super) fn overlap(&self, other: &Self, name: &Path) -> Option<Overlap> {
        let shared = |a: &HashSet<u64>, b: &HashSet<u64>| {
            let (small, large) = if a.len() < b.len() { (a, b) } else { (b, a) };
            small.iter().filter(|hash| large.contains(hash)).count()
        };
        let overlap = Overlap {
            file: name.to_owned(),
            exact: shared(&self.exact, &other.exact),
            normalised: shared(&self.normalised, &other.normalised),
            prompts: shared(&self.prompts, &other.prompts),
        };
        let any = overlap.exact + overlap.normalised + overlap.prompts > 0;
        any.then_some(overlap)
    }
}

// The keys of this hasher are fixed: equal rows of two files have equal hashes.
fn of_text(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn hash(texts: &[u64]) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.hash(&mut hasher);
    hasher.finish()
}
