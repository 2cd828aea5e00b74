//! Pairs that are made from ratings and votes.

use super::Object;
use super::pairs::{pair, preference, transcripts};
use crate::fields::{FieldError, filled_text, instruction_input, needed, text};
use crate::recognise::PROMPT_FIELDS;
use crate::row::{InstructionRow, Message, Preference};
use serde_json::{Map, Value, json};

/// A pair with ratings, or several rated completions, of which the best and the worst make a pair.
pub(super) fn ultrafeedback(object: &Object) -> Result<Preference, FieldError> {
    let pair_of = |field: &str| object.contains_key(field);
    if !pair_of("completions") || pair_of("chosen") || pair_of("chosen_response") {
        let has_prompt = PROMPT_FIELDS.iter().any(|field| pair_of(field));
        let transcript = !has_prompt && object.get("chosen").is_some_and(Value::is_string);
        return if transcript {
            transcripts(object)
        } else {
            preference(object)
        };
    }
    let found = needed(object, "completions")?;
    let Some(completions) = found.as_array() else {
        return Err(FieldError::wrong("completions", found, "a list"));
    };
    let rated = completions.iter().enumerate().map(|(i, completion)| {
        let field = format!("completions[{i}]");
        let Some(completion) = completion.as_object() else {
            return Err(FieldError::wrong(field, completion, "an object"));
        };
        let within = |e: FieldError| FieldError::new(format!("{field}.{}", e.field), e.reason);
        let answer = text(completion, "response").map_err(within)?;
        match rating(completion) {
            Some(rating) => Ok((rating, answer, format!("{field}.response"))),
            None => Err(FieldError::new(field, "has no rating that is a number")),
        }
    });
    let rated = rated.collect::<Result<Vec<_>, _>>()?;
    // Of equal ratings the earlier completion, so that the pair does not depend on a sort.
    let mut ends = None;
    for one in &rated {
        let (best, worst) = *ends.get_or_insert((one, one));
        let better = if one.0 > best.0 { one } else { best };
        let worse = if one.0 < worst.0 { one } else { worst };
        ends = Some((better, worse));
    }
    let Some((best, worst)) = ends.filter(|(best, worst)| best.0 > worst.0) else {
        let reason = "no completion is rated above another";
        return Err(FieldError::new("completions", reason));
    };
    let row = Preference {
        prompt: vec![Message::user(question(object)?)],
        chosen: best.1.to_owned(),
        rejected: worst.1.to_owned(),
        chosen_rating: Some(best.0),
        rejected_rating: Some(worst.0),
        metadata: Map::new(),
    };
    pair(row, [&best.2, &worst.2])
}

/// The mean over the aspects that were rated, or the rating as a whole.
fn rating(completion: &Object) -> Option<f64> {
    let names = ["fine-grained_score", "overall_score", "score", "rating"];
    names
        .iter()
        .find_map(|name| completion.get(*name)?.as_f64())
}

/// Two responses of which the majority of the annotators prefers one: 1 the first, 2 the second,
/// 0 neither.
pub(super) fn pandalm(object: &Object) -> Result<Preference, FieldError> {
    let question = question(object)?;
    let first = text(object, "response1")?;
    let second = text(object, "response2")?;
    let mut votes = Vec::new();
    for n in 1.. {
        let field = format!("annotator{n}");
        let Some(vote) = object.get(&field) else {
            break;
        };
        let spelled = vote.as_str().and_then(|text| text.trim().parse().ok());
        match vote.as_u64().or(spelled) {
            Some(vote @ 0..=2) => votes.push(vote as usize),
            _ => return Err(FieldError::wrong(field, vote, "0, 1 or 2")),
        }
    }
    if votes.is_empty() {
        return Err(FieldError::new("annotator1", "is missing"));
    }
    let count = |vote: usize| votes.iter().filter(|v| **v == vote).count();
    let [neither, one, two] = [0, 1, 2].map(count);
    let (chosen, rejected, fields) = if one > two.max(neither) {
        (first, second, ["response1", "response2"])
    } else if two > one.max(neither) {
        (second, first, ["response2", "response1"])
    } else {
        let reason = format!(
            "a tie: of {} annotators no majority prefers one",
            votes.len()
        );
        return Err(FieldError::new("annotator1", reason));
    };
    let row = Preference {
        prompt: vec![Message::user(question)],
        chosen: chosen.to_owned(),
        rejected: rejected.to_owned(),
        chosen_rating: None,
        rejected_rating: None,
        metadata: Map::from_iter([("votes".to_owned(), json!(votes))]),
    };
    pair(row, fields)
}

/// The user turn that `instruction` and `input` make.
fn question(object: &Object) -> Result<String, FieldError> {
    let row = InstructionRow {
        instruction: filled_text(object, "instruction")?.to_owned(),
        input: instruction_input(object)?,
        response: String::new(),
    };
    Ok(row.user_text())
}
