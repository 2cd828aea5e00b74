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
}

impl Fingerprints {
    pub(super) fn add(&mut self, contents: &Contents<'_>) {
        let exact = hash(contents.all(), |text, hasher| text.hash(hasher));
        let normalised = hash(contents.all(), hash_normalised);
        let asked = contents.asked.iter().map(AsRef::as_ref);
        let prompt = hash(asked, hash_normalised);
        self.repeats.exact += usize::from(!self.exact.insert(exact));
        self.repeats.normalised += usize::from(!self.normalised.insert(normalised));
        self.repeats.prompts += usize::from(!self.prompts.insert(prompt));
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

fn hash<'a>(texts: impl Iterator<Item = &'a str>, each: impl Fn(&str, &mut DefaultHasher)) -> u64 {
    // Its keys are fixed: equal rows of two files have equal hashes.
    let mut hasher = DefaultHasher::new();
    for text in texts {
        each(text, &mut hasher);
        hasher.write_u8(0xff);
    }
    hasher.finish()
}

/// Letters and figures in lower case, one space for whatever stands between them. A text without
/// any is hashed as it is.
fn hash_normalised(text: &str, hasher: &mut DefaultHasher) {
    let (mut any, mut gap) = (false, false);
    for c in text.chars() {
        if !c.is_alphanumeric() {
            gap = true;
            continue;
        }
        if gap && any {
            hasher.write_u8(b' ');
        }
        (any, gap) = (true, false);
        for lower in c.to_lowercase() {
            hasher.write_u32(lower.into());
        }
    }
    if !any {
        text.hash(hasher);
    }
}
