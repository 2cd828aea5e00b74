//! The token sequences that a row becomes, cut as the stages cut them.

use rlhf_data::{ChatTokenizer, Conversation, DataError, Message, Row, TokenSequence};
use std::ops::Range;

/// A sequence of a row.
#[derive(Debug)]
pub(super) struct Part {
    /// What it is of the row.
    what: &'static str,
    /// Which piece of how many, where a text is cut into pieces.
    piece: Option<(usize, usize)>,
    /// The tokens before it that were dropped because the row is too long.
    pub(super) cut: TokenSequence,
    /// The tokens that a stage sees.
    pub(super) kept: TokenSequence,
}

impl Part {
    /// What it is, in words that are the same for every row of its kind.
    pub(super) fn name(&self) -> String {
        match self.piece {
            None => self.what.to_owned(),
            Some((i, n)) => format!("{} {i}/{n}", self.what),
        }
    }
}

/// The sequences of a row: an answer's prompt loses its start where the row is longer than
/// `max_length`, the same of both answers of a pair; running text falls into pieces.
///
/// # Errors
/// If the row can't be encoded, or no stage could use it at that length.
pub(super) fn parts(
    tokenizer: &ChatTokenizer,
    row: &Row,
    max_length: Option<usize>,
) -> Result<Vec<Part>, DataError> {
    let learnt_from = |what, messages: &[Message]| {
        let whole = tokenizer.encode_conversation(messages)?;
        let part = cut_start(what, whole, max_length)?;
        trained_in_part(&part.kept)?;
        Ok(vec![part])
    };
    match row {
        Row::Text(row) => Ok(pieces(tokenizer.encode_text(&row.text)?, max_length)),
        Row::Instruction(row) => {
            let conversation = Conversation::from(row.clone());
            learnt_from("instruction", &conversation.messages)
        }
        Row::Conversation(row) => learnt_from("conversation", &row.messages),
        Row::Prompt(row) => {
            let whole = tokenizer.encode_prompt(&row.messages)?;
            Ok(vec![cut_start("prompt", whole, max_length)?])
        }
        Row::Preference(row) => {
            let chosen = tokenizer.encode_answer(&row.prompt, &row.chosen)?;
            let rejected = tokenizer.encode_answer(&row.prompt, &row.rejected)?;
            pair(chosen, rejected, max_length)
        }
        Row::Response(row) => {
            let whole = match &row.tokens {
                Some(ids) => tokenizer.encode_generated(&row.messages, ids)?,
                None => tokenizer.encode_answer(&row.messages, &row.response)?,
            };
            Ok(vec![cut_start("response", whole, max_length)?])
        }
        Row::Feedback(row) => {
            let what = if row.label { "wanted" } else { "unwanted" };
            let whole = tokenizer.encode_answer(&row.prompt, &row.completion)?;
            Ok(vec![cut_start(what, whole, max_length)?])
        }
        _ => Err(DataError::Conversation {
            reason: "no stage turns rows of this format into tokens".to_owned(),
        }),
    }
}

fn cut_start(
    what: &'static str,
    whole: TokenSequence,
    max_length: Option<usize>,
) -> Result<Part, DataError> {
    let mut kept = whole.clone();
    let dropped = kept.truncate_start(max_length.unwrap_or(usize::MAX))?;
    Ok(Part {
        what,
        piece: None,
        cut: slice(&whole, 0..dropped),
        kept,
    })
}

fn pair(
    mut chosen: TokenSequence,
    mut rejected: TokenSequence,
    max_length: Option<usize>,
) -> Result<Vec<Part>, DataError> {
    let max_length = max_length.unwrap_or(usize::MAX);
    let whole = [chosen.clone(), rejected.clone()];
    let dropped = TokenSequence::truncate_together(&mut [&mut chosen, &mut rejected], max_length)?;
    let named = ["chosen", "rejected"].into_iter().zip(whole);
    let parts = named
        .zip([chosen, rejected])
        .map(|((what, whole), kept)| Part {
            what,
            piece: None,
            cut: slice(&whole, 0..dropped),
            kept,
        });
    Ok(parts.collect())
}

fn pieces(whole: TokenSequence, max_length: Option<usize>) -> Vec<Part> {
    let length = max_length.unwrap_or(usize::MAX);
    let count = whole.len().div_ceil(length).max(1);
    let piece = |i: usize| Part {
        what: "text",
        piece: (count > 1).then_some((i + 1, count)),
        cut: TokenSequence::new(),
        kept: slice(
            &whole,
            i * length..whole.len().min((i + 1).saturating_mul(length)),
        ),
    };
    (0..count).map(piece).collect()
}

/// The tokens of a range, with what they are.
fn slice(whole: &TokenSequence, range: Range<usize>) -> TokenSequence {
    let mut part = TokenSequence::new();
    for span in &whole.spans {
        let start = span.range.start.max(range.start);
        let end = span.range.end.min(range.end);
        if start < end {
            part.push(&whole.ids[start..end], span.role, span.loss);
        }
    }
    part
}

/// After cutting, too, a demonstration needs a prompt; fine-tuning refuses it otherwise.
fn trained_in_part(kept: &TokenSequence) -> Result<(), DataError> {
    if !kept.lacks_prompt() {
        return Ok(());
    }
    let reason = format!(
        "its first token carries loss: its answer fills the {} tokens that fit",
        kept.len()
    );
    Err(DataError::Conversation { reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlhf_data::SpanRole::{Assistant, Text, User};

    fn ids(parts: &[Part]) -> Vec<Vec<u32>> {
        parts.iter().map(|part| part.kept.ids.clone()).collect()
    }

    #[test]
    fn text_falls_into_pieces_that_join_to_it() {
        let mut whole = TokenSequence::new();
        whole.push(&[1], User, false);
        whole.push(&[2, 3, 4, 5], Text, true);
        let cut = pieces(whole.clone(), Some(2));
        assert_eq!(ids(&cut), [vec![1, 2], vec![3, 4], vec![5]]);
        assert_eq!(cut[0].kept.loss_mask(), [false, true]);
        assert_eq!(cut[2].name(), "text 3/3");
        let whole = pieces(whole, None);
        assert_eq!((whole.len(), whole[0].name().as_str()), (1, "text"));
        assert_eq!(pieces(TokenSequence::new(), Some(3)).len(), 1);
    }

    #[test]
    fn a_pair_loses_the_same_start_and_an_answer_stays_whole() {
        let answered = |answer: &[u32]| {
            let mut whole = TokenSequence::new();
            whole.push(&[1, 2, 3], User, false);
            whole.push(answer, Assistant, true);
            whole
        };
        let cut = pair(answered(&[4]), answered(&[5, 6]), Some(4)).unwrap();
        assert_eq!(ids(&cut), [vec![2, 3, 4], vec![2, 3, 5, 6]]);
        assert_eq!((cut[0].cut.ids.as_slice(), cut[1].cut.len()), (&[1][..], 1));
        assert!(pair(answered(&[4]), answered(&[5, 6, 7]), Some(2)).is_err());
        let part = cut_start("x", answered(&[4, 5]), Some(2)).unwrap();
        assert_eq!(part.kept.ids, [4, 5]);
        assert!(trained_in_part(&part.kept).is_err());
    }
}
