//! Token ids together with what each of them is and whether it is trained on.

use crate::error::DataError;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// What a run of tokens is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpanRole {
    /// Written by the chat template: special tokens, headers, the line breaks between turns.
    Control,
    /// A system turn's content.
    System,
    /// The person's content.
    User,
    /// The model's answer, its end-of-turn token included.
    Assistant,
    /// A tool's result.
    Tool,
    /// Running text of a document, its end token included.
    Text,
}

/// A run of tokens of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSpan {
    /// Positions in the sequence.
    pub range: Range<usize>,
    /// What they are.
    pub role: SpanRole,
    /// Whether these tokens are targets of the loss.
    pub loss: bool,
}

/// Token ids with spans that tile them in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSequence {
    /// The ids.
    pub ids: Vec<u32>,
    /// The spans: the first starts at 0, each starts where the one before ended, the last ends
    /// at `ids.len()`; none is empty.
    pub spans: Vec<TokenSpan>,
}

impl TokenSequence {
    /// A sequence without tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Appends tokens of one kind; they join the last span if that is of the same kind.
    pub fn push(&mut self, ids: &[u32], role: SpanRole, loss: bool) {
        if ids.is_empty() {
            return;
        }
        let start = self.ids.len();
        self.ids.extend_from_slice(ids);
        let end = self.ids.len();
        match self.spans.last_mut() {
            Some(last) if last.role == role && last.loss == loss => last.range.end = end,
            _ => self.spans.push(TokenSpan {
                range: start..end,
                role,
                loss,
            }),
        }
    }

    /// One flag a token, `[len]`: whether it is a target of the loss.
    pub fn loss_mask(&self) -> Vec<bool> {
        let mut mask = Vec::with_capacity(self.ids.len());
        for span in &self.spans {
            mask.resize(mask.len() + span.range.len(), span.loss);
        }
        mask
    }

    /// How many tokens are targets of the loss.
    pub fn trained_tokens(&self) -> usize {
        self.spans
            .iter()
            .filter(|s| s.loss)
            .map(|s| s.range.len())
            .sum()
    }

    /// Whether its first token is a target of the loss: nothing stands before the answer that it
    /// begins with, which is then learnt as what a model says to nobody.
    pub fn lacks_prompt(&self) -> bool {
        self.spans.first().is_some_and(|span| span.loss)
    }

    /// Where the last answer starts: the beginning of the last run of tokens with loss, or the
    /// length if no token has loss.
    pub fn answer_start(&self) -> usize {
        let last = self.spans.iter().rposition(|s| s.loss);
        let Some(mut i) = last else {
            return self.ids.len();
        };
        while i > 0 && self.spans[i - 1].loss {
            i -= 1;
        }
        self.spans[i].range.start
    }

    /// Drops tokens from the start until at most `max_len` are left, and says how many were
    /// dropped. The last answer stays whole. An earlier answer that is cut keeps its remaining
    /// tokens, but they no longer carry loss, for what they continue is gone.
    ///
    /// # Errors
    /// [`DataError::AnswerTooLong`] if the last answer would lose a token; nothing is dropped then.
    pub fn truncate_start(&mut self, max_len: usize) -> Result<usize, DataError> {
        let drop = self.excess(max_len)?;
        self.drop_start(drop);
        Ok(drop)
    }

    /// [`truncate_start`](Self::truncate_start) for sequences that share a prompt: the same number
    /// of tokens is dropped from each, as many as the longest needs, so that the prompt stays
    /// shared.
    ///
    /// # Errors
    /// [`DataError::AnswerTooLong`] if an answer would lose a token; nothing is dropped then.
    pub fn truncate_together(rows: &mut [&mut Self], max_len: usize) -> Result<usize, DataError> {
        let mut drop = 0;
        for row in rows.iter() {
            drop = drop.max(row.excess(max_len)?);
        }
        for row in rows.iter() {
            if row.trained_tokens() > 0 && drop > row.answer_start() {
                let answer = row.len() - row.answer_start();
                return Err(DataError::AnswerTooLong { answer, max_len });
            }
        }
        for row in rows.iter_mut() {
            row.drop_start(drop);
        }
        Ok(drop)
    }

    fn excess(&self, max_len: usize) -> Result<usize, DataError> {
        let drop = self.ids.len().saturating_sub(max_len);
        let answer = self.ids.len() - self.answer_start();
        if answer > max_len {
            return Err(DataError::AnswerTooLong { answer, max_len });
        }
        Ok(drop)
    }

    fn drop_start(&mut self, drop: usize) {
        let drop = drop.min(self.ids.len());
        if drop == 0 {
            return;
        }
        self.ids.drain(..drop);
        let old = std::mem::take(&mut self.spans);
        let mut cut_answer = false;
        for (i, mut span) in old.iter().cloned().enumerate() {
            if span.range.end <= drop {
                cut_answer = span.loss && old.get(i + 1).is_some_and(|next| next.loss);
                continue;
            }
            if span.range.start < drop {
                cut_answer = span.loss;
            }
            // The rest of an answer that was cut, up to where its loss ends.
            cut_answer &= span.loss;
            span.loss &= !cut_answer;
            span.range = span.range.start.saturating_sub(drop)..span.range.end - drop;
            self.spans.push(span);
        }
    }
}

#[cfg(test)]
#[path = "tokens/tests.rs"]
mod tests;
