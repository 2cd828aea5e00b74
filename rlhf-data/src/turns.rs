//! Where the turns of a rendered conversation are, and the tokens they give.

use crate::error::DataError;
use crate::row::{Message, Role};
use crate::special::{Disguise, Piece};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::tokens::{SpanRole, TokenSequence};
use std::ops::Range;

/// Which answers carry loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// None: a prompt.
    None,
    /// All of them.
    EveryAnswer,
    /// The last one; the sequence ends with it.
    LastAnswer,
}

/// A rendered conversation in which what people typed is in disguise.
pub(crate) struct Rendering<'a> {
    template: &'a ChatTemplate,
    tokenizer: &'a Tokenizer,
    disguise: Disguise<'a>,
    messages: Vec<Message>,
    text: String,
}

/// Bytes of the rendered text that come from one message.
struct Turn {
    role: SpanRole,
    bytes: Range<usize>,
}

impl<'a> Rendering<'a> {
    pub(crate) fn new(
        template: &'a ChatTemplate,
        tokenizer: &'a Tokenizer,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<Self, DataError> {
        let mut texts: Vec<_> = messages.iter().map(|m| m.content.as_str()).collect();
        texts.push(template.source());
        let disguise = Disguise::new(tokenizer.special(), &texts)?;
        let hidden = |m: &Message| match m.role {
            Role::Assistant => Message::new(m.role, disguise.hide_special(&m.content)),
            _ => Message::new(m.role, disguise.hide(&m.content)),
        };
        let messages: Vec<_> = messages.iter().map(hidden).collect();
        let text = template.render(&messages, add_generation_prompt)?;
        Ok(Self {
            template,
            tokenizer,
            disguise,
            messages,
            text,
        })
    }

    /// The tokens of the whole rendering, or up to the end of the last answer.
    pub(crate) fn tokens(&self, loss: Loss) -> Result<TokenSequence, DataError> {
        let pieces = self.tokenizer.special().split(&self.text);
        let answers = self.answers(&pieces)?;
        let others = self.other_turns(&answers);
        let mut out = TokenSequence::new();
        let mut stripped = false;
        for (i, piece) in pieces.iter().enumerate() {
            match *piece {
                Piece::Special(at, token) => {
                    let answer = answers.iter().position(|a| a.bytes.contains(&at));
                    let trained = answer.is_some_and(|a| trains(loss, a, answers.len()));
                    let role = answer.map_or(SpanRole::Control, |_| SpanRole::Assistant);
                    out.push(&[token.id], role, trained);
                    stripped = token.rstrip;
                    let ends = |a: usize| answers[a].bytes.end == at + token.content.len();
                    let last = answer.filter(|a| a + 1 == answers.len());
                    if loss == Loss::LastAnswer && last.is_some_and(ends) {
                        break;
                    }
                }
                Piece::Text(at, text) => {
                    let before =
                        matches!(pieces.get(i + 1), Some(Piece::Special(_, t)) if t.lstrip);
                    let text = if before { text.trim_end() } else { text };
                    let start = at;
                    let end = at + text.len();
                    // A piece holds at most one answer, and none ends within a piece.
                    let answer = answers
                        .iter()
                        .position(|a| a.bytes.start < end && start < a.bytes.end);
                    let cut = answer.map_or(end, |a| answers[a].bytes.start.max(start));
                    // White space that an answer begins with is never swallowed: the model wrote it.
                    let inside = answer.is_some_and(|a| answers[a].bytes.start < start);
                    let first = if inside { start..end } else { start..cut };
                    let skipped = if stripped {
                        blank(&self.text[first])
                    } else {
                        0
                    };
                    if !inside {
                        self.push_control(start + skipped..cut, &others, &mut out)?;
                    }
                    if let Some(a) = answer {
                        let from = if inside { start + skipped } else { cut };
                        let text = self.disguise.reveal(&self.text[from..end]);
                        let ids = self.tokenizer.encode_guarded(&text)?;
                        let ids: Vec<u32> = ids.into_iter().map(|(id, _)| id).collect();
                        out.push(&ids, SpanRole::Assistant, trains(loss, a, answers.len()));
                    }
                    stripped = false;
                }
            }
        }
        Ok(out)
    }

    /// The bytes of every answer, from where its generation prompt ends to the end of the first
    /// special token that the template writes after that.
    fn answers(&self, pieces: &[Piece<'_>]) -> Result<Vec<Turn>, DataError> {
        let special = self.tokenizer.special();
        let mut answers: Vec<Turn> = Vec::new();
        for (i, message) in self.messages.iter().enumerate() {
            if message.role != Role::Assistant {
                continue;
            }
            let opening = self.template.render(&self.messages[..i], true)?;
            if !self.text.starts_with(&opening) {
                return unstable(format!(
                    "{} writes the turns before message {i} otherwise once it is answered, so \
                     that generation and training would differ",
                    self.template.name()
                ));
            }
            let start = opening.len();
            // Tokens that are not special, such as `</think>`, end no answer.
            let end = pieces.iter().find_map(|piece| match piece {
                Piece::Special(at, token) if *at >= start && special.is_special(token.id) => {
                    Some(*at + token.content.len())
                }
                _ => None,
            });
            let Some(end) = end else {
                return unstable(format!(
                    "{} writes no special token after an answer, so that a model could not learn \
                     to stop",
                    self.template.name()
                ));
            };
            let straddles = pieces.iter().any(|piece| {
                matches!(piece, Piece::Special(at, token)
                    if *at < start && start < at + token.content.len())
            });
            let overlaps = answers.last().is_some_and(|last| last.bytes.end > start);
            if straddles || overlaps {
                return unstable(format!(
                    "{} gives message {i} no end-of-turn token of its own",
                    self.template.name()
                ));
            }
            answers.push(Turn {
                role: SpanRole::Assistant,
                bytes: start..end,
            });
        }
        self.check_contents(&answers)?;
        Ok(answers)
    }

    /// A template that leaves an answer out would train on its end token alone.
    fn check_contents(&self, answers: &[Turn]) -> Result<(), DataError> {
        let given = self.messages.iter().filter(|m| m.role == Role::Assistant);
        for (answer, message) in answers.iter().zip(given) {
            let mut rest = &self.text[answer.bytes.clone()];
            if let Some(Piece::Special(at, _)) = self.tokenizer.special().split(rest).last() {
                rest = &rest[..*at];
            }
            if rest.trim().is_empty() && !message.content.trim().is_empty() {
                return unstable(format!("{} leaves an answer out", self.template.name()));
            }
        }
        Ok(())
    }

    /// Where the contents of the other turns are, in order. This is for display alone and never
    /// decides what is trained on: a content that the template changed is not found and counts
    /// as control.
    fn other_turns(&self, answers: &[Turn]) -> Vec<Turn> {
        let mut turns = Vec::new();
        let mut seen = 0;
        let mut group = Vec::new();
        for (i, message) in self.messages.iter().enumerate() {
            if message.role == Role::Assistant {
                let closed = self.template.render(&self.messages[..i], false).ok();
                let closed = closed.filter(|text| self.text.starts_with(text.as_str()));
                let end = closed.map_or(answers[seen].bytes.start, |text| text.len());
                let from = if seen == 0 {
                    0
                } else {
                    answers[seen - 1].bytes.end
                };
                self.find_contents(&group, from..end.max(from), &mut turns);
                group.clear();
                seen += 1;
            } else {
                group.push(message);
            }
        }
        let closed = self.template.render(&self.messages, false).ok();
        let closed = closed.filter(|text| self.text.starts_with(text.as_str()));
        let end = closed.map_or(self.text.len(), |text| text.len());
        let from = answers.last().map_or(0, |a| a.bytes.end);
        self.find_contents(&group, from..end.max(from), &mut turns);
        turns.sort_by_key(|turn| turn.bytes.start);
        turns
    }

    /// Looks for the contents from the last to the first, each before the one found last.
    fn find_contents(&self, group: &[&Message], within: Range<usize>, turns: &mut Vec<Turn>) {
        let mut end = within.end;
        for message in group.iter().rev() {
            let content = message.content.trim();
            let found = self.text[within.start..end].rfind(content);
            let Some(at) = found.filter(|_| !content.is_empty()) else {
                continue;
            };
            let start = within.start + at;
            let role = match message.role {
                Role::System => SpanRole::System,
                Role::User => SpanRole::User,
                Role::Tool => SpanRole::Tool,
                Role::Assistant => SpanRole::Assistant,
            };
            turns.push(Turn {
                role,
                bytes: start..start + content.len(),
            });
            end = start;
        }
    }

    /// Encodes text outside the answers as one chunk and names its tokens by where they end.
    fn push_control(
        &self,
        bytes: Range<usize>,
        turns: &[Turn],
        out: &mut TokenSequence,
    ) -> Result<(), DataError> {
        let text = self.disguise.reveal(&self.text[bytes.clone()]);
        // Byte borders of the turns within the revealed text.
        let revealed = |to: usize| self.disguise.reveal(&self.text[bytes.start..to]).len();
        let parts: Vec<_> = turns
            .iter()
            .filter(|turn| turn.bytes.start < bytes.end && turn.bytes.end > bytes.start)
            .map(|turn| {
                let start = turn.bytes.start.max(bytes.start);
                let end = turn.bytes.end.min(bytes.end);
                (turn.role, revealed(start)..revealed(end))
            })
            .collect();
        for (id, end) in self.tokenizer.encode_guarded(&text)? {
            let part = parts
                .iter()
                .find(|(_, range)| range.contains(&end.saturating_sub(1)));
            out.push(
                &[id],
                part.map_or(SpanRole::Control, |(role, _)| *role),
                false,
            );
        }
        Ok(())
    }
}

fn trains(loss: Loss, answer: usize, answers: usize) -> bool {
    match loss {
        Loss::None => false,
        Loss::EveryAnswer => true,
        Loss::LastAnswer => answer + 1 == answers,
    }
}

fn blank(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn unstable<T>(reason: String) -> Result<T, DataError> {
    Err(DataError::Conversation { reason })
}
