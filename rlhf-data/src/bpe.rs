//! Byte-pair encoding learnt from texts (Sennrich, Haddow and Birch, 2016) over bytes (the
//! alphabet of GPT-2, Radford et al., 2019).
//!
//! Everything that decides the result is ordered: words by their bytes, pairs of equal count by
//! their ids. The same texts, in any order and on any number of threads, give the same merges.

use crate::byte_alphabet::byte_to_char;
use crate::error::DataError;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};
use std::sync::Mutex;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, SplitDelimiterBehavior,
};

/// How text falls into words that merges never cross: a line break alone, English contractions,
/// letters with the space before them, one digit, other signs with the space before them, and the
/// white space that is left.
const WORDS: &str = concat!(
    r"\n|'(?:[sdmt]|ll|ve|re)(?![\p{L}\p{M}])| ?[\p{L}\p{M}]+|\p{N}",
    r"| ?[^\s\p{L}\p{M}\p{N}]+|[^\S\n]+(?!\S)|[^\S\n]+"
);

/// Words are counted in pieces of at most this many bytes, so that one endless word can't make
/// every merge slow.
const LONGEST_WORD: usize = 256;

/// A pair must occur this often to become a token.
const LEAST_COUNT: u64 = 2;

type Pair = (u32, u32);

/// The `tokenizer.json` of a vocabulary learnt from `texts`: the special tokens first, then the
/// 256 bytes, then merges until there are `vocab_size` tokens or no pair occurs twice.
pub(crate) fn train<'a>(
    texts: impl Iterator<Item = &'a str> + Send,
    vocab_size: usize,
    special: &[&str],
) -> Result<Vec<u8>, DataError> {
    check_request(vocab_size, special)?;
    let split = Split::new(
        SplitPattern::Regex(WORDS.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    )
    .map_err(|e| DataError::Tokenizer {
        reason: e.to_string(),
    })?;
    let words = count_words(texts, &split)?;
    let mut vocabulary = Vocabulary::new(special);
    let merges = Merger::new(&words, special.len()).run(&mut vocabulary, vocab_size);
    let json = tokenizer_json(&vocabulary.tokens, &merges, special);
    serde_json::to_vec(&json).map_err(|e| DataError::Tokenizer {
        reason: e.to_string(),
    })
}

fn check_request(vocab_size: usize, special: &[&str]) -> Result<(), DataError> {
    let refuse = |reason: String| Err(DataError::Tokenizer { reason });
    let least = 256 + special.len();
    if vocab_size < least {
        return refuse(format!(
            "a vocabulary of {vocab_size} is too small: 256 bytes and {} special tokens need \
             {least}",
            special.len()
        ));
    }
    for (i, token) in special.iter().enumerate() {
        if token.chars().count() < 2 {
            return refuse(format!(
                "special token `{token}` must have at least two characters"
            ));
        }
        if special[..i].contains(token) {
            return refuse(format!("special token `{token}` is named twice"));
        }
    }
    Ok(())
}

/// How often each word occurs in all texts together.
fn count_words<'a>(
    texts: impl Iterator<Item = &'a str> + Send,
    split: &Split,
) -> Result<BTreeMap<Vec<u8>, u64>, DataError> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(8));
    let texts = Mutex::new(texts);
    let next = || {
        texts
            .lock()
            .ok()
            .map(|mut t| t.by_ref().take(32).collect::<Vec<_>>())
    };
    let worker = || -> Result<HashMap<Vec<u8>, u64>, DataError> {
        let mut counts = HashMap::new();
        while let Some(batch) = next().filter(|batch| !batch.is_empty()) {
            for text in batch {
                count_text(text, split, &mut counts)?;
            }
        }
        Ok(counts)
    };
    let parts: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        handles
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    let mut all = BTreeMap::new();
    for part in parts {
        let stopped = || DataError::Tokenizer {
            reason: "a counting thread stopped".into(),
        };
        for (word, count) in part.map_err(|_| stopped())?? {
            *all.entry(word).or_insert(0) += count;
        }
    }
    Ok(all)
}

fn count_text(
    text: &str,
    split: &Split,
    counts: &mut HashMap<Vec<u8>, u64>,
) -> Result<(), DataError> {
    let mut pieces = PreTokenizedString::from(text);
    split
        .pre_tokenize(&mut pieces)
        .map_err(|e| DataError::Tokenizer {
            reason: e.to_string(),
        })?;
    for (word, _, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
        for piece in word.as_bytes().chunks(LONGEST_WORD) {
            match counts.get_mut(piece) {
                Some(count) => *count += 1,
                None => drop(counts.insert(piece.to_vec(), 1)),
            }
        }
    }
    Ok(())
}

/// The tokens so far, in the alphabet that stands for bytes.
struct Vocabulary {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
    special: HashSet<String>,
}

impl Vocabulary {
    fn new(special: &[&str]) -> Self {
        let special_tokens = special.iter().map(ToString::to_string);
        let bytes = (0..=255u8).map(|byte| byte_to_char(byte).to_string());
        let tokens: Vec<_> = special_tokens.chain(bytes).collect();
        let ids = tokens.iter().cloned().zip(0..).collect();
        Self {
            tokens,
            ids,
            special: special.iter().map(ToString::to_string).collect(),
        }
    }

    /// The id of the two tokens joined, or none if that spells a special token: text must never
    /// become one.
    fn join(&mut self, pair: Pair) -> Option<u32> {
        let text = format!(
            "{}{}",
            self.tokens[pair.0 as usize], self.tokens[pair.1 as usize]
        );
        if self.special.contains(&text) {
            return None;
        }
        let tokens = &mut self.tokens;
        Some(*self.ids.entry(text).or_insert_with_key(|text| {
            tokens.push(text.clone());
            tokens.len() as u32 - 1
        }))
    }
}

struct Word {
    ids: Vec<u32>,
    count: u64,
}

struct Merger {
    words: Vec<Word>,
    counts: HashMap<Pair, u64>,
    places: HashMap<Pair, Vec<usize>>,
    queue: BinaryHeap<(u64, Reverse<Pair>)>,
}

impl Merger {
    fn new(words: &BTreeMap<Vec<u8>, u64>, first_byte: usize) -> Self {
        let id = |byte: &u8| first_byte as u32 + u32::from(*byte);
        let words: Vec<_> = words
            .iter()
            .map(|(bytes, &count)| Word {
                ids: bytes.iter().map(id).collect(),
                count,
            })
            .collect();
        let mut counts: HashMap<Pair, u64> = HashMap::new();
        let mut places: HashMap<Pair, Vec<usize>> = HashMap::new();
        for (i, word) in words.iter().enumerate() {
            for pair in pairs(&word.ids) {
                *counts.entry(pair).or_insert(0) += word.count;
                places.entry(pair).or_default().push(i);
            }
        }
        let queue = counts
            .iter()
            .map(|(&pair, &count)| (count, Reverse(pair)))
            .collect();
        Self {
            words,
            counts,
            places,
            queue,
        }
    }

    /// Merges the most frequent pair again and again; of equally frequent ones, that with the
    /// smallest ids.
    fn run(mut self, vocabulary: &mut Vocabulary, vocab_size: usize) -> Vec<(String, String)> {
        let mut merges = Vec::new();
        while vocabulary.tokens.len() < vocab_size {
            let Some((count, Reverse(pair))) = self.queue.pop() else {
                break;
            };
            let now = self.counts.get(&pair).copied().unwrap_or(0);
            if now != count {
                if now > 0 {
                    self.queue.push((now, Reverse(pair)));
                }
                continue;
            }
            if count < LEAST_COUNT {
                break;
            }
            let Some(joined) = vocabulary.join(pair) else {
                self.counts.remove(&pair);
                self.places.remove(&pair);
                continue;
            };
            let name = |id: u32| vocabulary.tokens[id as usize].clone();
            merges.push((name(pair.0), name(pair.1)));
            self.merge(pair, joined);
        }
        merges
    }

    fn merge(&mut self, pair: Pair, joined: u32) {
        let mut changed = HashSet::new();
        let mut places = self.places.remove(&pair).unwrap_or_default();
        places.dedup();
        for i in places {
            let word = &mut self.words[i];
            let merged = merged(&word.ids, pair, joined);
            if merged.len() == word.ids.len() {
                continue;
            }
            for old in pairs(&word.ids) {
                if let Some(count) = self.counts.get_mut(&old) {
                    *count = count.saturating_sub(word.count);
                }
            }
            for new in pairs(&merged) {
                *self.counts.entry(new).or_insert(0) += word.count;
                if new.0 == joined || new.1 == joined {
                    self.places.entry(new).or_default().push(i);
                    changed.insert(new);
                }
            }
            word.ids = merged;
        }
        self.counts.remove(&pair);
        for new in changed {
            self.queue.push((self.counts[&new], Reverse(new)));
        }
    }
}

fn pairs(ids: &[u32]) -> impl Iterator<Item = Pair> + '_ {
    ids.windows(2).map(|w| (w[0], w[1]))
}

fn merged(ids: &[u32], pair: Pair, joined: u32) -> Vec<u32> {
    let mut out = Vec::with_capacity(ids.len());
    let mut i = 0;
    while i < ids.len() {
        if i + 1 < ids.len() && (ids[i], ids[i + 1]) == pair {
            out.push(joined);
            i += 2;
        } else {
            out.push(ids[i]);
            i += 1;
        }
    }
    out
}

fn tokenizer_json(tokens: &[String], merges: &[(String, String)], special: &[&str]) -> Value {
    let added: Vec<_> = special
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let vocab: serde_json::Map<_, _> = tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), json!(id)))
        .collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                            "use_regex": false});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Isolated",
             "invert": false},
            byte_level]},
        "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": merges}
    })
}

#[cfg(test)]
#[path = "bpe/tests.rs"]
mod tests;
