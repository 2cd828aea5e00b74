//! Pairs of answers of which the better one is named.

use super::{Object, prompt, waiting};
use crate::fields::{
    FieldError, message, messages, needed, optional_number, optional_object, text,
};
use crate::recognise::RATING_FIELDS;
use crate::row::{Message, Preference, Role};
use crate::transcript;
use serde_json::Value;

pub(super) fn preference(object: &Object) -> Result<Preference, FieldError> {
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
    let [chosen_rating, rejected_rating] = ratings(object)?;
    let row = Preference {
        prompt,
        chosen: chosen.text,
        rejected: rejected.text,
        chosen_rating,
        rejected_rating,
        metadata: optional_object(object, "metadata")?,
    };
    pair(row, [chosen_field, rejected_field])
}

/// The ratings of the chosen and the rejected answer, under whichever names the row has them.
fn ratings(object: &Object) -> Result<[Option<f64>; 2], FieldError> {
    let has = |[chosen, rejected]: &[&str; 2]| {
        object.contains_key(*chosen) || object.contains_key(*rejected)
    };
    let names = RATING_FIELDS.iter().find(|names| has(names));
    let [chosen, rejected] = names.unwrap_or(&RATING_FIELDS[0]);
    Ok([
        optional_number(object, chosen)?,
        optional_number(object, rejected)?,
    ])
}

pub(super) fn transcripts(object: &Object) -> Result<Preference, FieldError> {
    let split = transcript::split(text(object, "chosen")?, text(object, "rejected")?)?;
    let [chosen_rating, rejected_rating] = ratings(object)?;
    let row = Preference {
        prompt: split.prompt,
        chosen: split.chosen,
        rejected: split.rejected,
        chosen_rating,
        rejected_rating,
        metadata: optional_object(object, "metadata")?,
    };
    pair(row, ["chosen", "rejected"])
}

/// The pair if it says anything: two answers that are not empty and not the same. `fields` are
/// those of the chosen and the rejected answer.
pub(super) fn pair(row: Preference, fields: [&str; 2]) -> Result<Preference, FieldError> {
    for (text, field) in [&row.chosen, &row.rejected].into_iter().zip(fields) {
        if text.trim().is_empty() {
            return Err(FieldError::new(field, "the answer is empty"));
        }
    }
    if row.chosen.trim() == row.rejected.trim() {
        let reason = format!("is the same answer as `{}`", fields[0]);
        return Err(FieldError::new(fields[1], reason));
    }
    Ok(row)
}

pub(super) struct GivenAnswer {
    /// Turns that stand before the answer in the same field.
    pub(super) before: Vec<Message>,
    pub(super) text: String,
}

/// An answer: text, one turn, or turns of which the last is the assistant's.
pub(super) fn answer(object: &Object, field: &str) -> Result<GivenAnswer, FieldError> {
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
