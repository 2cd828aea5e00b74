//! Which format rows have, told by their fields.

use crate::format::Format;
use serde_json::{Map, Value};

/// The fields that hold the turns before an answer, in the order in which they count.
pub(crate) const PROMPT_FIELDS: [&str; 4] = ["prompt", "instruction", "conversations", "messages"];

/// Pairs of fields that hold the ratings of the chosen and the rejected answer.
pub(crate) const RATING_FIELDS: [[&str; 2]; 3] = [
    ["chosen_rating", "rejected_rating"],
    ["score_chosen", "score_rejected"],
    ["chosen_score", "rejected_score"],
];

/// The format that a row's fields speak of, whatever is in them.
pub(crate) fn of_row(row: &Map<String, Value>) -> Option<Format> {
    let has = |field: &str| row.contains_key(field);
    let has_prompt = || PROMPT_FIELDS.iter().any(|field| has(field));
    // What `generate` writes keeps the fields of the row that held the prompt.
    let pair = has("chosen") || has("rejected");
    let generated = has("tokens") || has("finish") || !(has("instruction") || pair);
    if has("response") && generated && (has_prompt() || pair || is_truthful_qa(row)) {
        return Some(Format::Response);
    }
    if pair || has("chosen_response") || has("rejected_response") {
        return Some(of_pair(row, has_prompt()));
    }
    if has("response1") && has("response2") {
        return Some(Format::PandaLm);
    }
    if has("instruction") && row.get("completions").is_some_and(Value::is_array) {
        return Some(Format::UltraFeedback);
    }
    if has_prompt() && (has("label") || has("kto_tag")) {
        return Some(Format::Kto);
    }
    if has("instruction_id_list") && has("prompt") {
        return Some(Format::IfEval);
    }
    if has("instruction") && (has("output") || has("response")) {
        return Some(Format::Instruction);
    }
    if has("prompt") && has("completion") {
        return Some(Format::PromptCompletion);
    }
    if has("conversations") {
        return Some(Format::ShareGpt);
    }
    if let Some(messages) = row.get("messages") {
        let last = messages.as_array().and_then(|list| list.last());
        let role = last.and_then(|m| m.get("role").or_else(|| m.get("from")));
        let answered = role.is_some_and(|role| role == "assistant" || role == "gpt");
        return Some(if answered {
            Format::Conversation
        } else {
            Format::Prompt
        });
    }
    if is_truthful_qa(row) {
        return Some(Format::TruthfulQa);
    }
    if is_choices(row) {
        return Some(Format::HhhAlignment);
    }
    if has("turns") && (has("question_id") || has("category")) {
        return Some(Format::MtBench);
    }
    if has("prompt") {
        return Some(Format::Prompt);
    }
    has("text").then_some(Format::Text)
}

fn of_pair(row: &Map<String, Value>, has_prompt: bool) -> Format {
    let rated = |[chosen, rejected]: &[&str; 2]| {
        let is_number = |field| row.get(field).is_some_and(Value::is_number);
        is_number(*chosen) && is_number(*rejected)
    };
    if RATING_FIELDS.iter().any(rated) {
        return Format::UltraFeedback;
    }
    let text = |field: &str| row.get(field).is_some_and(Value::is_string);
    if !has_prompt && (text("chosen") || text("rejected")) {
        Format::HhTranscripts
    } else {
        Format::Preference
    }
}

/// The names of TruthfulQA's fields in its table and in the files made from it.
pub(crate) const TRUTHFUL_QA: [[&str; 4]; 2] = [
    [
        "Question",
        "Best Answer",
        "Correct Answers",
        "Incorrect Answers",
    ],
    [
        "question",
        "best_answer",
        "correct_answers",
        "incorrect_answers",
    ],
];

fn is_truthful_qa(row: &Map<String, Value>) -> bool {
    let all = |names: &[&str; 4]| [0, 2, 3].into_iter().all(|i| row.contains_key(names[i]));
    TRUTHFUL_QA.iter().any(all)
}

fn is_choices(row: &Map<String, Value>) -> bool {
    let choices = |targets: &Value| targets.get("choices").is_some();
    let listed = row.get("targets").is_some_and(choices);
    row.contains_key("input") && (listed || row.get("target_scores").is_some_and(Value::is_object))
}

/// The format that most rows speak of; of equally frequent ones, that of the earliest row.
pub(crate) fn of_rows<'a>(rows: impl Iterator<Item = &'a Map<String, Value>>) -> Option<Format> {
    let mut votes: Vec<(Format, usize)> = Vec::new();
    for format in rows.filter_map(of_row) {
        match votes.iter_mut().find(|(f, _)| *f == format) {
            Some((_, n)) => *n += 1,
            None => votes.push((format, 1)),
        }
    }
    let most = votes.iter().map(|(_, n)| *n).max()?;
    votes
        .into_iter()
        .find(|(_, n)| *n == most)
        .map(|(format, _)| format)
}

/// What a row without a known format has, and what the formats need.
pub(crate) fn unknown(row: &Map<String, Value>) -> String {
    let mut names: Vec<_> = row
        .keys()
        .take(8)
        .map(|key| format!("`{key:.40}`"))
        .collect();
    if row.len() > 8 {
        names.push("…".to_owned());
    }
    let found = if names.is_empty() {
        "no fields".into()
    } else {
        names.join(", ")
    };
    format!(
        "the row has {found}; wanted are `text`, `instruction` and `output`, `prompt`, `messages`, \
         `conversations`, a prompt with `completion`, with `chosen` and `rejected`, or with \
         `response`; --map NAME=FIELD reads a field under another name"
    )
}

#[cfg(test)]
#[path = "recognise/tests.rs"]
mod tests;
