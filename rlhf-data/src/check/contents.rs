//! The texts of a row, whatever its format, and how long they are for a model.

use crate::chat::ChatTokenizer;
use crate::error::DataError;
use crate::parse::before_last_answer;
use crate::read::Row;
use crate::row::{Message, Role};
use crate::tokens::TokenSequence;
use std::borrow::Cow;

/// The texts of a row.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    /// What is asked: the turns before the last answer, without what the system says. Of running
    /// text the text itself, so that it is found where a file asks with it.
    pub(super) asked: Vec<Cow<'a, str>>,
    /// What the system says.
    pub(super) system: Vec<Cow<'a, str>>,
    /// The answers.
    pub(super) answers: Vec<Cow<'a, str>>,
    /// Whether a text is both asked and all there is.
    is_text: bool,
}

/// How long a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// The whole sequence.
    pub(super) whole: usize,
    /// The answer alone: what is never cut. 0 where there is none.
    pub(super) answer: usize,
}

impl<'a> Contents<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        let text = |text: &'a String| Cow::Borrowed(text.as_str());
        let one = |asked: Cow<'a, str>, answers: Vec<&'a String>| Self {
            asked: vec![asked],
            system: Vec::new(),
            answers: answers.into_iter().map(text).collect(),
            is_text: false,
        };
        let turns = |prompt: &'a [Message], answers: Vec<&'a String>| {
            let of = |system: bool| {
                let turns = prompt.iter();
                turns
                    .filter(move |m| (m.role == Role::System) == system)
                    .map(|m| text(&m.content))
            };
            Self {
                asked: of(false).collect(),
                system: of(true).collect(),
                answers: answers.into_iter().map(text).collect(),
                is_text: false,
            }
        };
        match row {
            Row::Text(row) => Self {
                is_text: true,
                ..one(text(&row.text), vec![])
            },
            Row::Instruction(row) => one(row.user_text().into(), vec![&row.response]),
            Row::Conversation(row) => {
                let messages = &row.messages;
                let last = messages.iter().rposition(|m| m.role == Role::Assistant);
                let (before, after) = messages.split_at(last.unwrap_or(messages.len()));
                turns(before, after.iter().map(|m| &m.content).collect())
            }
            Row::Prompt(row) => turns(&row.messages, vec![]),
            Row::Preference(row) => turns(&row.prompt, vec![&row.chosen, &row.rejected]),
            Row::Response(row) => turns(&row.messages, vec![&row.response]),
            Row::Feedback(row) => turns(&row.prompt, vec![&row.completion]),
            Row::Truth(row) => {
                let answers = row.correct.iter().chain(&row.incorrect);
                one(text(&row.question), answers.collect())
            }
            Row::Turns(row) => {
                // Later turns are asked after an answer that is not there yet.
                let first = row.turns.first().map(text).unwrap_or_default();
                one(first, row.turns.iter().skip(1).collect())
            }
            Row::Choice(row) => one(text(&row.input), row.choices.iter().collect()),
        }
    }

    /// All texts.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let parts = self.system.iter().chain(&self.asked).chain(&self.answers);
        parts.map(AsRef::as_ref)
    }

    /// In characters: what is asked with the longest of the answers.
    pub(super) fn size(&self) -> Size {
        let count = |text: &Cow<'_, str>| text.chars().count();
        let answer = self.answers.iter().map(count).max().unwrap_or(0);
        let before: usize = self.system.iter().chain(&self.asked).map(count).sum();
        Size {
            whole: before + answer,
            answer: if self.is_text { 0 } else { answer },
        }
    }
}

/// The size in tokens of the longest sequence that a row gives, as the stages encode it.
pub(super) fn size_in_tokens(
    tokenizer: &ChatTokenizer,
    row: &Row,
    contents: &Contents<'_>,
) -> Result<Size, DataError> {
    if tokenizer.template().is_none() || matches!(row, Row::Text(_)) {
        return plain(tokenizer, row, contents);
    }
    let answered = |prompt: &[Message], answers: &[&String]| {
        let sizes = answers.iter().map(|answer| {
            let sequence = tokenizer.encode_answer(prompt, answer)?;
            Ok(of_sequence(&sequence))
        });
        longest(sizes)
    };
    let asked = |messages: &[Message]| {
        Ok(Size {
            whole: tokenizer.encode_prompt(messages)?.len(),
            answer: 0,
        })
    };
    match row {
        Row::Instruction(row) => answered(&[Message::user(row.user_text())], &[&row.response]),
        Row::Conversation(row) => {
            let sequence = tokenizer.encode_conversation(&row.messages)?;
            let before = before_last_answer(row.messages.clone());
            let prompt = tokenizer.encode_prompt(&before)?.len();
            Ok(Size {
                whole: sequence.len(),
                answer: sequence.len().saturating_sub(prompt),
            })
        }
        Row::Prompt(row) => asked(&row.messages),
        Row::Preference(row) => answered(&row.prompt, &[&row.chosen, &row.rejected]),
        Row::Response(row) => match &row.tokens {
            None => answered(&row.messages, &[&row.response]),
            Some(tokens) => Ok(Size {
                whole: tokenizer.encode_prompt(&row.messages)?.len() + tokens.len(),
                answer: tokens.len(),
            }),
        },
        Row::Feedback(row) => answered(&row.prompt, &[&row.completion]),
        Row::Truth(row) => asked(&[Message::user(row.question.as_str())]),
        Row::Turns(_) => {
            let first = contents.asked.first().map(AsRef::as_ref);
            asked(&[Message::user(first.unwrap_or_default())])
        }
        Row::Choice(row) => {
            let choices: Vec<_> = row.choices.iter().collect();
            answered(&[Message::user(row.input.as_str())], &choices)
        }
        Row::Text(_) => plain(tokenizer, row, contents),
    }
}

fn of_sequence(sequence: &TokenSequence) -> Size {
    Size {
        whole: sequence.len(),
        answer: sequence.trained_tokens(),
    }
}

fn longest(sizes: impl Iterator<Item = Result<Size, DataError>>) -> Result<Size, DataError> {
    let mut longest = Size {
        whole: 0,
        answer: 0,
    };
    for size in sizes {
        let size = size?;
        longest.whole = longest.whole.max(size.whole);
        longest.answer = longest.answer.max(size.answer);
    }
    Ok(longest)
}

/// The tokens of the texts alone.
fn plain(tokenizer: &ChatTokenizer, row: &Row, contents: &Contents<'_>) -> Result<Size, DataError> {
    if let Row::Text(row) = row {
        return Ok(Size {
            whole: tokenizer.encode_text(&row.text)?.len(),
            answer: 0,
        });
    }
    let tokens = |text: &Cow<'_, str>| Ok(tokenizer.tokenizer().encode(text)?.len());
    let mut before = 0;
    for text in contents.system.iter().chain(&contents.asked) {
        before += tokens(text)?;
    }
    let answers = contents.answers.iter().map(|text| {
        let answer = tokens(text)?;
        Ok(Size {
            whole: before + answer,
            answer,
        })
    });
    let longest = longest(answers)?;
    Ok(Size {
        whole: longest.whole.max(before),
        ..longest
    })
}
