//! Rows that models are measured by.

use super::Object;
use crate::fields::{FieldError, filled_text, is_filled, needed, numbers, text, texts};
use crate::recognise::TRUTHFUL_QA;
use crate::row::{ChoiceQuestion, TruthQuestion, TurnsQuestion};
use serde_json::Value;

/// IFEval: every instruction has its arguments.
pub(super) fn check_instructions(object: &Object) -> Result<(), FieldError> {
    let names = texts(
        needed(object, "instruction_id_list")?,
        "instruction_id_list",
    )?;
    let found = needed(object, "kwargs")?;
    let Some(arguments) = found.as_array() else {
        return Err(FieldError::wrong("kwargs", found, "a list of objects"));
    };
    if arguments.len() != names.len() {
        let reason = format!(
            "has {} objects for {} instructions",
            arguments.len(),
            names.len()
        );
        return Err(FieldError::new("kwargs", reason));
    }
    Ok(())
}

/// TruthfulQA, whose table joins a list's texts by semicolons.
pub(super) fn truth_question(object: &Object) -> Result<TruthQuestion, FieldError> {
    let names = TRUTHFUL_QA
        .iter()
        .find(|names| object.contains_key(names[0]));
    let [question, best, correct, incorrect] = names.unwrap_or(&TRUTHFUL_QA[0]);
    let list = |field: &str| {
        let found = match needed(object, field)? {
            Value::String(joined) => joined
                .split(';')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect(),
            value => texts(value, field)?,
        };
        if found.is_empty() {
            return Err(FieldError::new(field, "holds no answer"));
        }
        Ok(found)
    };
    Ok(TruthQuestion {
        question: filled_text(object, question)?.to_owned(),
        best: if is_filled(object, best) {
            Some(text(object, best)?.to_owned())
        } else {
            None
        },
        correct: list(correct)?,
        incorrect: list(incorrect)?,
    })
}

/// MT-Bench.
pub(super) fn turns_question(object: &Object) -> Result<TurnsQuestion, FieldError> {
    let turns = texts(needed(object, "turns")?, "turns")?;
    if turns.is_empty() {
        return Err(FieldError::new("turns", "there are no turns"));
    }
    let reference = match object.get("reference") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => {
            let text = |(i, value): (usize, &Value)| {
                let text = value.as_str().map(str::to_owned);
                let field = format!("reference[{i}]");
                text.ok_or_else(|| FieldError::wrong(field, value, "text"))
            };
            list.iter()
                .enumerate()
                .map(text)
                .collect::<Result<_, _>>()?
        }
        Some(value) => return Err(FieldError::wrong("reference", value, "a list of texts")),
    };
    Ok(TurnsQuestion { turns, reference })
}

/// hhh_alignment: `targets` with `choices` and `labels`; BIG-bench: `target_scores`.
pub(super) fn choice_question(object: &Object) -> Result<ChoiceQuestion, FieldError> {
    let input = filled_text(object, "input")?.to_owned();
    let (choices, scores, field) = match object.get("targets").and_then(Value::as_object) {
        Some(targets) => {
            let of = |name: &str| {
                let within = |e: FieldError| FieldError::new(format!("targets.{name}"), e.reason);
                needed(targets, name).map_err(within)
            };
            let choices = texts(of("choices")?, "targets.choices")?;
            let scores = numbers(of("labels")?, "targets.labels")?;
            (choices, scores, "targets.labels")
        }
        None => {
            let found = needed(object, "target_scores")?;
            let Some(scored) = found.as_object() else {
                return Err(FieldError::wrong("target_scores", found, "an object"));
            };
            let values = Value::Array(scored.values().cloned().collect());
            let scores = numbers(&values, "target_scores")?;
            (scored.keys().cloned().collect(), scores, "target_scores")
        }
    };
    if choices.len() < 2 || choices.len() != scores.len() {
        let reason = format!(
            "{} choices with {} scores; at least two are wanted, each with a score",
            choices.len(),
            scores.len()
        );
        return Err(FieldError::new(field, reason));
    }
    let same = |score: &f64| *score == scores[0];
    if scores.iter().all(same) {
        return Err(FieldError::new(field, "no choice is better than another"));
    }
    Ok(ChoiceQuestion {
        input,
        choices,
        scores,
    })
}
