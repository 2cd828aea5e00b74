//! A JSON object to a row of its file's format.

use crate::fields::{
    FieldError, filled, filled_text, instruction_input, message, messages, needed, optional_ids,
    optional_number, optional_object, text,
};
use crate::format::{Format, PROMPT_FIELDS};
use crate::read::Row;
use crate::row::{
    Conversation, InstructionRow, Message, Preference, Prompt, Response, Role, TextRow,
};
use crate::transcript;
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// The row that an object of a file of this format is.
pub(crate) fn row(format: Format, object: &Object) -> Result<Row, FieldError> {
    match format {
        Format::Text | Format::PlainText => {
            let text = filled_text(object, "text")?.to_owned();
            Ok(Row::Text(TextRow { text }))
        }
        Format::Instruction => instruction(object).map(Row::Instruction),
        Format::Preference => preference(object).map(Row::Preference),
        Format::HhTranscripts => transcripts(object).map(Row::Preference),
        Format::Prompt => {
            let field = if object.contains_key("messages") {
                "messages"
            } else {
                "prompt"
            };
            let messages = waiting(turns(needed(object, field)?, field)?, field)?;
            Ok(Row::Prompt(Prompt {
                messages,
                row: object.clone(),
            }))
        }
        Format::Conversation => conversation(object, "messages").map(Row::Conversation),
        Format::ShareGpt => conversation(object, "conversations").map(Row::Conversation),
        Format::Response => response(object).map(Row::Response),
    }
}

fn instruction(object: &Object) -> Result<InstructionRow, FieldError> {
    let answer = if object.contains_key("response") && !object.contains_key("output") {
        "response"
    } else {
        "output"
    };
    Ok(InstructionRow {
        instruction: filled_text(object, "instruction")?.to_owned(),
        input: instruction_input(object)?,
        response: filled_text(object, answer)?.to_owned(),
    })
}

fn conversation(object: &Object, field: &str) -> Result<Conversation, FieldError> {
    let messages = messages(needed(object, field)?, field)?;
    let spoken = messages.iter().position(|m| m.role != Role::System);
    if let Some(first) = spoken.filter(|&i| messages[i].role == Role::Assistant) {
        let reason = "the assistant speaks first: there is nothing to answer";
        return Err(FieldError::new(format!("{field}[{first}]"), reason));
    }
    let mut answers = 0;
    for (i, message) in messages.iter().enumerate() {
        if message.role == Role::Assistant {
            filled(&message.content, &format!("{field}[{i}]"))?;
            answers += 1;
        }
    }
    if answers == 0 {
        return Err(FieldError::new(field, "there is no assistant turn"));
    }
    Ok(Conversation { messages })
}

/// A prompt: text, which is one user turn, or turns.
fn turns(value: &Value, field: &str) -> Result<Vec<Message>, FieldError> {
    match value {
        Value::String(text) => Ok(vec![Message::user(filled(text, field)?)]),
        _ => messages(value, field),
    }
}

/// The turns if they wait for an answer.
fn waiting(messages: Vec<Message>, field: &str) -> Result<Vec<Message>, FieldError> {
    match messages.last() {
        Some(last) if last.role == Role::Assistant => {
            let reason = "the last turn is the assistant's: nobody waits for an answer";
            Err(FieldError::new(
                format!("{field}[{}]", messages.len() - 1),
                reason,
            ))
        }
        _ => Ok(messages),
    }
}

/// The turns up to the last answer: those that were answered.
pub(crate) fn before_last_answer(mut messages: Vec<Message>) -> Vec<Message> {
    if let Some(last) = messages.iter().rposition(|m| m.role == Role::Assistant) {
        messages.truncate(last);
    }
    messages
}

/// The turns in a row's prompt field, whichever it has, and the name of that field.
fn prompt(object: &Object) -> Result<Option<(&'static str, Vec<Message>)>, FieldError> {
    let Some(field) = PROMPT_FIELDS
        .into_iter()
        .find(|field| object.contains_key(*field))
    else {
        return Ok(None);
    };
    if field == "instruction" {
        let row = InstructionRow {
            instruction: filled_text(object, field)?.to_owned(),
            input: instruction_input(object)?,
            response: String::new(),
        };
        return Ok(Some((field, vec![Message::user(row.user_text())])));
    }
    turns(&object[field], field).map(|messages| Some((field, messages)))
}

fn preference(object: &Object) -> Result<Preference, FieldError> {
    let named = |short: &'static str, long: &'static str| {
        if object.contains_key(long) {
            long
        } else {
            short
        }
    };
    let chosen_field = named("chosen", "chosen_response");
    let rejected_field = named("rejected", "rejected_response");
    let chosen = answer(object, chosen_field)?;
    let rejected = answer(object, rejected_field)?;
    let prompt = match prompt(object)? {
        Some((field, messages)) => waiting(messages, field)?,
        None => chosen.before.clone(),
    };
    if prompt.is_empty() {
        return Err(FieldError::new("prompt", "is missing"));
    }
    for (answer, field) in [(&chosen, chosen_field), (&rejected, rejected_field)] {
        if !answer.before.is_empty() && answer.before != prompt {
            let reason = "the turns before the answer are not those of the prompt";
            return Err(FieldError::new(field, reason));
        }
    }
    let (chosen, rejected) = (chosen.text, rejected.text);
    pair(Preference {
        prompt,
        chosen,
        rejected,
        chosen_rating: optional_number(object, "chosen_rating")?,
        rejected_rating: optional_number(object, "rejected_rating")?,
        metadata: optional_object(object, "metadata")?,
    })
}

fn transcripts(object: &Object) -> Result<Preference, FieldError> {
    let split = transcript::split(text(object, "chosen")?, text(object, "rejected")?)?;
    pair(Preference {
        prompt: split.prompt,
        chosen: split.chosen,
        rejected: split.rejected,
        chosen_rating: optional_number(object, "chosen_rating")?,
        rejected_rating: optional_number(object, "rejected_rating")?,
        metadata: optional_object(object, "metadata")?,
    })
}

/// The pair if it says anything: two answers that are not empty and not the same.
fn pair(row: Preference) -> Result<Preference, FieldError> {
    for (text, field) in [(&row.chosen, "chosen"), (&row.rejected, "rejected")] {
        if text.trim().is_empty() {
            return Err(FieldError::new(field, "the answer is empty"));
        }
    }
    if row.chosen.trim() == row.rejected.trim() {
        return Err(FieldError::new(
            "rejected",
            "is the same as the chosen answer",
        ));
    }
    Ok(row)
}

struct GivenAnswer {
    /// Turns that stand before the answer in the same field.
    before: Vec<Message>,
    text: String,
}

/// An answer: text, one turn, or turns of which the last is the assistant's.
fn answer(object: &Object, field: &str) -> Result<GivenAnswer, FieldError> {
    let (mut before, last_field) = match needed(object, field)? {
        Value::Array(list) => {
            let last = list.len().saturating_sub(1);
            (messages(&object[field], field)?, format!("{field}[{last}]"))
        }
        value @ Value::Object(_) => (vec![message(value, field)?], field.to_owned()),
        _ => {
            let text = text(object, field)?.to_owned();
            return Ok(GivenAnswer {
                before: Vec::new(),
                text,
            });
        }
    };
    match before.pop() {
        Some(Message {
            role: Role::Assistant,
            content,
        }) => Ok(GivenAnswer {
            before,
            text: content,
        }),
        _ => Err(FieldError::new(
            last_field,
            "the last turn must be the assistant's",
        )),
    }
}

/// A row that `generate` wrote: the fields of the row that held the prompt, and the response.
fn response(object: &Object) -> Result<Response, FieldError> {
    let messages = match prompt(object)? {
        Some((field, messages)) => {
            let answered = messages.last().is_some_and(|m| m.role == Role::Assistant);
            let before = if answered {
                before_last_answer(messages)
            } else {
                messages
            };
            if before.is_empty() {
                return Err(FieldError::new(field, "nothing stands before the answer"));
            }
            before
        }
        None if object.get("chosen").is_some_and(Value::is_string) => transcripts(object)?.prompt,
        None => preference(object)?.prompt,
    };
    Ok(Response {
        messages,
        response: text(object, "response")?.to_owned(),
        tokens: optional_ids(object, "tokens")?,
        row: object.clone(),
    })
}

#[cfg(test)]
#[path = "parse/tests.rs"]
mod tests;
