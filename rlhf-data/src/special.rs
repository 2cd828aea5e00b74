//! Special tokens in text: finding those that a template wrote, hiding those that a person typed.

use crate::error::DataError;
use std::borrow::Cow;

/// A token that steers the model and stands for no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// How it is written.
    pub content: String,
    /// Whether it swallows the white space before it.
    pub lstrip: bool,
    /// Whether it swallows the white space after it.
    pub rstrip: bool,
}

/// The control tokens of a tokenizer: its special tokens and, once a template is known, the other
/// tokens of their own (such as `<think>`) that the template writes.
#[derive(Debug, Clone)]
pub(crate) struct SpecialMatcher {
    /// The special ones first.
    tokens: Vec<SpecialToken>,
    special: usize,
    /// By first byte, the indices of the tokens that start so, the longest first.
    by_first: Vec<Vec<usize>>,
    ids: Vec<bool>,
}

/// A part of a rendered text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Text, starting at this byte.
    Text(usize, &'a str),
    /// A control token, starting at this byte.
    Special(usize, &'a SpecialToken),
}

impl SpecialMatcher {
    pub(crate) fn new(tokens: Vec<SpecialToken>) -> Self {
        let mut by_first = vec![Vec::new(); 256];
        for (i, token) in tokens.iter().enumerate() {
            if let Some(&first) = token.content.as_bytes().first() {
                by_first[usize::from(first)].push(i);
            }
        }
        for list in &mut by_first {
            list.sort_by_key(|&i| std::cmp::Reverse(tokens[i].content.len()));
        }
        let size = tokens.iter().map(|t| t.id as usize + 1).max().unwrap_or(0);
        let mut ids = vec![false; size];
        for token in &tokens {
            ids[token.id as usize] = true;
        }
        Self {
            special: tokens.len(),
            tokens,
            by_first,
            ids,
        }
    }

    /// The same special tokens, and these control tokens besides.
    pub(crate) fn with_control(&self, control: impl IntoIterator<Item = SpecialToken>) -> Self {
        let mut tokens = self.tokens().to_vec();
        tokens.extend(control);
        let mut all = Self::new(tokens);
        all.special = self.special;
        // What may come from text still may.
        for token in self.tokens().iter().filter(|token| !self.forbids(token.id)) {
            all.allow(token.id);
        }
        all
    }

    /// The special tokens.
    pub(crate) fn tokens(&self) -> &[SpecialToken] {
        &self.tokens[..self.special]
    }

    /// Whether a token is special, and not just of its own.
    pub(crate) fn is_special(&self, id: u32) -> bool {
        self.tokens().iter().any(|token| token.id == id)
    }

    /// Whether the id is one of these tokens.
    pub(crate) fn contains(&self, id: u32) -> bool {
        self.tokens.iter().any(|token| token.id == id)
    }

    /// The same tokens, but this one (the unknown token) may come from text.
    pub(crate) fn allow(&mut self, id: u32) {
        if let Some(flag) = self.ids.get_mut(id as usize) {
            *flag = false;
        }
    }

    /// Whether the id must never come from text.
    pub(crate) fn forbids(&self, id: u32) -> bool {
        self.ids.get(id as usize).copied().unwrap_or(false)
    }

    /// The first control token at or after `from`, the longest where several start: its byte
    /// and index.
    fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let bytes = text.as_bytes();
        (from..bytes.len()).find_map(|at| {
            let list = &self.by_first[usize::from(bytes[at])];
            let starts = |i: &&usize| bytes[at..].starts_with(self.tokens[**i].content.as_bytes());
            list.iter().find(starts).map(|&i| (at, i))
        })
    }

    /// The text cut at its control tokens, in order. No piece of text is empty.
    pub(crate) fn split<'a>(&'a self, text: &'a str) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let mut from = 0;
        while let Some((at, i)) = self.find(text, from) {
            if at > from {
                pieces.push(Piece::Text(from, &text[from..at]));
            }
            pieces.push(Piece::Special(at, &self.tokens[i]));
            from = at + self.tokens[i].content.len();
        }
        if from < text.len() {
            pieces.push(Piece::Text(from, &text[from..]));
        }
        pieces
    }
}

/// Stand-ins for the control tokens that people typed: one private-use character each, of those
/// that occur in no text of the conversation.
#[derive(Debug)]
pub(crate) struct Disguise<'a> {
    special: &'a SpecialMatcher,
    /// By token index; none until the token is met.
    stand_ins: Vec<Option<char>>,
}

impl<'a> Disguise<'a> {
    /// Chooses stand-ins for the control tokens that occur in `texts`.
    pub(crate) fn new(special: &'a SpecialMatcher, texts: &[&str]) -> Result<Self, DataError> {
        let mut stand_ins = vec![None; special.tokens.len()];
        let mut free = private_use().filter(|c| !texts.iter().any(|text| text.contains(*c)));
        for text in texts {
            let mut from = 0;
            while let Some((at, i)) = special.find(text, from) {
                if stand_ins[i].is_none() {
                    stand_ins[i] = Some(free.next().ok_or_else(|| DataError::Conversation {
                        reason: "the text uses up all private-use characters of Unicode".into(),
                    })?);
                }
                from = at + special.tokens[i].content.len();
            }
        }
        Ok(Self { special, stand_ins })
    }

    /// The text with its control tokens replaced.
    pub(crate) fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.hide_up_to(self.special.tokens.len(), text)
    }

    /// The text with its special tokens replaced, but not the other control tokens: an answer may
    /// hold the marks of reasoning and tool calls, which templates look for.
    pub(crate) fn hide_special<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.hide_up_to(self.special.special, text)
    }

    fn hide_up_to<'t>(&self, end: usize, text: &'t str) -> Cow<'t, str> {
        let mut out = String::new();
        let mut from = 0;
        while let Some((at, i)) = self.special.find(text, from) {
            let behind = at + self.special.tokens[i].content.len();
            if i < end {
                out.push_str(&text[from..at]);
                out.extend(self.stand_ins[i]);
            } else {
                out.push_str(&text[from..behind]);
            }
            from = behind;
        }
        if from == 0 {
            return Cow::Borrowed(text);
        }
        out.push_str(&text[from..]);
        Cow::Owned(out)
    }

    /// The text with the stand-ins replaced by what they stand for.
    pub(crate) fn reveal<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let hidden = |c: char| self.stand_ins.iter().position(|s| *s == Some(c));
        if self.stand_ins.iter().all(Option::is_none) || !text.chars().any(|c| hidden(c).is_some())
        {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            match hidden(c) {
                Some(i) => out.push_str(&self.special.tokens[i].content),
                None => out.push(c),
            }
        }
        Cow::Owned(out)
    }
}

fn private_use() -> impl Iterator<Item = char> {
    ('\u{f0000}'..='\u{ffffd}')
        .chain('\u{100000}'..='\u{10fffd}')
        .chain('\u{e000}'..='\u{f8ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn special(names: &[&str]) -> SpecialMatcher {
        let token = |(id, content): (usize, &&str)| SpecialToken {
            id: id as u32 + 10,
            content: content.to_string(),
            lstrip: false,
            rstrip: false,
        };
        SpecialMatcher::new(names.iter().enumerate().map(token).collect())
    }

    #[test]
    fn the_longest_token_wins_and_the_pieces_join_to_the_text() {
        let special = special(&["<a", "<a>", "é>"]);
        let pieces = special.split("x<a><aé>");
        let ids: Vec<_> = pieces
            .iter()
            .map(|p| match p {
                Piece::Text(at, text) => (*at, text.len()),
                Piece::Special(at, token) => (*at, token.id as usize * 100),
            })
            .collect();
        assert_eq!(ids, [(0, 1), (1, 1100), (4, 1000), (6, 1200)]);
        assert!(special.split("").is_empty());
        assert!(special.forbids(10) && !special.forbids(9) && !special.forbids(99));
    }

    #[test]
    fn what_is_hidden_is_revealed_again() {
        let special = special(&["<|end|>", "<|x|>"]);
        let text = "a<|end|>\u{f0000}<|end|>b<|x|>";
        let disguise = Disguise::new(&special, &[text]).unwrap();
        let hidden = disguise.hide(text);
        assert!(!hidden.contains("<|"), "{hidden}");
        assert_eq!(disguise.reveal(&hidden), text);
        assert_eq!(
            hidden.matches('\u{f0000}').count(),
            1,
            "a character in use is no stand-in"
        );
        assert_eq!(disguise.hide("<|en"), "<|en");
    }

    #[test]
    fn an_answer_keeps_control_tokens_that_are_not_special() {
        let think = SpecialToken {
            id: 3,
            content: "<think>".into(),
            lstrip: false,
            rstrip: false,
        };
        let control = special(&["<|end|>"]).with_control([think]);
        assert!(control.forbids(3) && control.forbids(10) && !control.is_special(3));
        assert_eq!(control.tokens().len(), 1);
        let text = "a<think>b<|end|>";
        let disguise = Disguise::new(&control, &[text]).unwrap();
        assert_eq!(disguise.hide_special(text), "a<think>b\u{f0001}");
        assert!(!disguise.hide(text).contains('<'));
        assert_eq!(disguise.reveal(&disguise.hide(text)), text);
    }
}
