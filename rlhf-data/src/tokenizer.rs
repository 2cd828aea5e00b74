//! Text to ids and back.

use crate::byte_alphabet::char_to_byte;
use crate::error::DataError;
use crate::guarded::guarded;
use crate::special::{SpecialMatcher, SpecialToken};
use serde::de::IgnoredAny;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// A tokenizer in the Hugging Face form (`tokenizer.json`). Cheap to clone.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

struct Inner {
    /// Spelled-out special tokens are text to it.
    literal: Arc<tokenizers::Tokenizer>,
    /// All control tokens are text to it, where there are others than the special ones.
    guarded: Option<tokenizers::Tokenizer>,
    /// Recognises them; built when first needed.
    recognising: OnceLock<tokenizers::Tokenizer>,
    special: SpecialMatcher,
    json: String,
    byte_level: bool,
    vocab_size: usize,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Learns a byte-level vocabulary of at most `vocab_size` tokens by byte-pair encoding
    /// (Sennrich et al., 2016). The special tokens get the ids from 0 in the given order, whatever
    /// the texts. Line breaks and digits never merge with anything; no merge spells a special
    /// token. The vocabulary is smaller than asked when no pair of tokens occurs twice any more.
    /// The result depends on the texts as a bag, not on their order nor on threads.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if `vocab_size` is below 256 plus the special tokens, or a special
    /// token is shorter than two characters or named twice.
    pub fn train_bpe<'a>(
        texts: impl Iterator<Item = &'a str> + Send,
        vocab_size: usize,
        special: &[&str],
    ) -> Result<Self, DataError> {
        Self::from_bytes(&crate::bpe::train(texts, vocab_size, special)?)
    }

    /// Reads the contents of a `tokenizer.json`. Truncation and padding that it asks for are
    /// left out: here rows are cut and padded where they are made into batches.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if it is not such a file.
    pub fn from_bytes(json: &[u8]) -> Result<Self, DataError> {
        // The library panics at some places if it isn't JSON at all.
        let valid: Result<IgnoredAny, _> = serde_json::from_slice(json);
        valid.map_err(|e| DataError::Tokenizer {
            reason: format!("not JSON: {e}"),
        })?;
        let mut literal = library(|| tokenizers::Tokenizer::from_bytes(json))?;
        library(|| literal.with_truncation(None).map(drop))?;
        literal.with_padding(None);
        literal.set_encode_special_tokens(true);
        let mut added: Vec<_> = literal.get_added_tokens_decoder().into_iter().collect();
        added.sort_by_key(|(id, _)| *id);
        let special = added.into_iter().filter(|(_, token)| token.special);
        let special = special.filter(|(_, token)| !token.content.is_empty());
        let special = special.map(|(id, token)| SpecialToken {
            id,
            content: token.content,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
        });
        let mut special = SpecialMatcher::new(special.collect());
        let json = library(|| literal.to_string(true))?;
        if let Some(id) = unknown_token(&literal) {
            special.allow(id);
        }
        let last = literal.get_vocab(true).into_values().max();
        let decoder = serde_json::to_value(literal.get_decoder()).unwrap_or(Value::Null);
        let inner = Inner {
            byte_level: decoder.to_string().contains("ByteLevel"),
            vocab_size: last.map_or(0, |id| id as usize + 1),
            recognising: OnceLock::new(),
            json,
            literal: Arc::new(literal),
            guarded: None,
            special,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The same tokenizer for a template: tokens of their own that are not special (such as
    /// `<think>`) but stand in the template are control tokens. White space is none, nor is a
    /// token that only stands for a whole word.
    pub(crate) fn for_template(&self, source: &str) -> Result<Self, DataError> {
        let mut control: Vec<_> = self
            .inner
            .literal
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| !token.special && !token.single_word)
            .filter(|(_, token)| !token.content.trim().is_empty())
            .filter(|(_, token)| source.contains(&token.content))
            .collect();
        if control.is_empty() {
            return Ok(self.clone());
        }
        control.sort_by_key(|(id, _)| *id);
        let mut with_control = (*self.inner.literal).clone();
        let tokens = control.iter().map(|(_, token)| token.clone().special(true));
        library(|| with_control.add_special_tokens(tokens))?;
        let control = control.into_iter().map(|(id, token)| SpecialToken {
            id,
            content: token.content,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
        });
        let inner = Inner {
            literal: Arc::clone(&self.inner.literal),
            guarded: Some(with_control),
            recognising: OnceLock::new(),
            special: self.inner.special.with_control(control),
            json: self.inner.json.clone(),
            byte_level: self.inner.byte_level,
            vocab_size: self.inner.vocab_size,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The contents of a `tokenizer.json` that gives this tokenizer again; the same bytes every
    /// time.
    pub fn to_json(&self) -> String {
        self.inner.json.clone()
    }

    /// The largest id plus one: the rows that an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size
    }

    /// The id of a token as it is written in the vocabulary, special tokens included.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.literal.token_to_id(token)
    }

    /// The token of an id as it is written in the vocabulary.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.literal.id_to_token(id)
    }

    /// The special tokens.
    pub fn special_tokens(&self) -> &[SpecialToken] {
        self.inner.special.tokens()
    }

    /// Whether an id is a control token: a special one, or, in a [`ChatTokenizer`](crate::ChatTokenizer),
    /// a token of its own that the template writes.
    pub fn is_control_token(&self, id: u32) -> bool {
        self.inner.special.contains(id)
    }

    /// The ids of plain text. A special token that the text spells out stays text, and nothing is
    /// added: no special id comes out of this.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the vocabulary lacks a character and has no unknown token, or
    /// if its model itself turns text into a special token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = library(|| self.inner.literal.encode_fast(text, false))?;
        let special = &self.inner.special;
        self.refuse(encoding.get_ids(), |id| {
            special.forbids(id) && special.is_special(id)
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of plain text in a conversation, each with the byte before which its text ends: no
    /// control token comes out of this.
    pub(crate) fn encode_guarded(&self, text: &str) -> Result<Vec<(u32, usize)>, DataError> {
        let literal = self.inner.guarded.as_ref().unwrap_or(&self.inner.literal);
        let encoding = library(|| literal.encode(text, false))?;
        self.refuse(encoding.get_ids(), |id| self.inner.special.forbids(id))?;
        let ends = encoding.get_offsets().iter().map(|(_, end)| *end);
        Ok(encoding.get_ids().iter().copied().zip(ends).collect())
    }

    fn refuse(&self, ids: &[u32], forbidden: impl Fn(u32) -> bool) -> Result<(), DataError> {
        let Some(id) = ids.iter().find(|&&id| forbidden(id)) else {
            return Ok(());
        };
        Err(DataError::Tokenizer {
            reason: format!(
                "its model turns plain text into the special token {id} (`{}`); text that spells \
                 it can't be encoded safely",
                self.token(*id).unwrap_or_default()
            ),
        })
    }

    /// The ids that Python's `tokenizer(text)` gives: spelled-out special tokens are recognised,
    /// and the post-processor adds its own, such as a beginning-of-text token.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the vocabulary lacks a character and has no unknown token.
    pub fn encode_like_transformers(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let recognising = self.inner.recognising.get_or_init(|| {
            let mut recognising = (*self.inner.literal).clone();
            recognising.set_encode_special_tokens(false);
            recognising
        });
        let encoding = library(|| recognising.encode_fast(text, true))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids. Bytes that are not UTF-8 become U+FFFD; ids beyond the vocabulary, which
    /// a model with padded embeddings can sample, give nothing, as in Python.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the decoder refuses the tokens.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, DataError> {
        library(|| self.inner.literal.decode(ids, skip_special_tokens))
    }

    /// The bytes of text that a token stands for; a special token's are its name. None for an id
    /// beyond the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let added = self.inner.literal.get_added_vocabulary();
        if let Some(content) = added.simple_id_to_token(id) {
            return Some(content.into_bytes());
        }
        let token = self.inner.literal.id_to_token(id)?;
        if self.inner.byte_level {
            // A character outside the alphabet stands for itself.
            let mut bytes = Vec::with_capacity(token.len());
            for c in token.chars() {
                match char_to_byte(c) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend(c.to_string().into_bytes()),
                }
            }
            return Some(bytes);
        }
        let hex = token
            .strip_prefix("<0x")
            .and_then(|rest| rest.strip_suffix('>'));
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            return Some(vec![byte]);
        }
        Some(token.replace('\u{2581}', " ").into_bytes())
    }

    /// The special tokens, ready to be found in text.
    pub(crate) fn special(&self) -> &SpecialMatcher {
        &self.inner.special
    }

    /// Whether `encode_like_transformers` adds anything of its own.
    pub(crate) fn has_post_processor(&self) -> bool {
        self.inner.literal.get_post_processor().is_some()
    }
}

/// The id that stands for what the vocabulary lacks: the one special token that text may give.
fn unknown_token(tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    use tokenizers::ModelWrapper;
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) => tokenizer.token_to_id(model.get_unk_token().as_deref()?),
        ModelWrapper::WordPiece(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::WordLevel(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::Unigram(_) => tokenizer.token_to_id("<unk>"),
    }
}

/// A call of the library, which panics at some files that contradict themselves.
fn library<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, DataError> {
    guarded(call).map_err(|reason| DataError::Tokenizer { reason })
}

#[cfg(test)]
#[path = "tokenizer/tests.rs"]
mod tests;
