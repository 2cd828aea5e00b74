//! The forms in which people keep rows, told apart by their fields.

use serde::Serialize;
use serde_json::{Map, Value};

/// The form of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Objects with `text`.
    Text,
    /// Plain text, not JSON: a row a paragraph.
    PlainText,
    /// Objects with `instruction`, perhaps `input`, and `output` or `response` (Alpaca).
    Instruction,
    /// Objects with a prompt, a chosen and a rejected answer.
    Preference,
    /// Objects with two whole transcripts, `chosen` and `rejected` (hh-rlhf).
    HhTranscripts,
    /// Objects with `prompt`, or `messages` that wait for an answer.
    Prompt,
    /// Objects with `messages` that end with an answer.
    Conversation,
    /// Objects with `conversations` of `from` and `value`.
    ShareGpt,
    /// Objects with a prompt and the `response` that a model generated.
    Response,
}

impl Format {
    /// The name, for people and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::PlainText => "plain-text",
            Self::Instruction => "instruction",
            Self::Preference => "preference",
            Self::HhTranscripts => "hh-rlhf",
            Self::Prompt => "prompt",
            Self::Conversation => "conversation",
            Self::ShareGpt => "sharegpt",
            Self::Response => "response",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Format {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The fields that hold the turns before an answer, in the order in which they count.
pub(crate) const PROMPT_FIELDS: [&str; 4] = ["prompt", "instruction", "conversations", "messages"];

/// The format that a row's fields speak of, whatever is in them.
pub(crate) fn of_row(row: &Map<String, Value>) -> Option<Format> {
    let has = |field: &str| row.contains_key(field);
    let has_prompt = || PROMPT_FIELDS.iter().any(|field| has(field));
    // What `generate` writes keeps the fields of the row that held the prompt.
    let pair = has("chosen") || has("rejected");
    let generated = has("tokens") || has("finish") || !(has("instruction") || pair);
    if has("response") && generated && (has_prompt() || pair) {
        return Some(Format::Response);
    }
    if has("chosen_response") || has("rejected_response") {
        return Some(Format::Preference);
    }
    if pair {
        let text = |field: &str| row.get(field).is_some_and(Value::is_string);
        let transcripts = !has_prompt() && (text("chosen") || text("rejected"));
        return Some(if transcripts {
            Format::HhTranscripts
        } else {
            Format::Preference
        });
    }
    if has("instruction") && (has("output") || has("response")) {
        return Some(Format::Instruction);
    }
    if has("conversations") {
        return Some(Format::ShareGpt);
    }
    if let Some(messages) = row.get("messages") {
        let last = messages.as_array().and_then(|list| list.last());
        let answered = last
            .and_then(|m| m.get("role"))
            .is_some_and(|role| role == "assistant");
        return Some(if answered {
            Format::Conversation
        } else {
            Format::Prompt
        });
    }
    if has("prompt") {
        return Some(Format::Prompt);
    }
    has("text").then_some(Format::Text)
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
        "the row has {found}; wanted are `text`, `instruction` and `output`, `prompt`, \
         `messages`, `conversations`, a prompt with `chosen` and `rejected`, or a prompt with \
         `response`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn format(row: Value) -> Option<Format> {
        of_row(row.as_object().unwrap())
    }

    #[test]
    fn fields_tell_the_format() {
        use Format::*;
        assert_eq!(format(json!({"text": "a"})), Some(Text));
        let alpaca = json!({"instruction": "a", "input": "", "output": "b", "text": "c"});
        assert_eq!(format(alpaca), Some(Instruction));
        assert_eq!(
            format(json!({"instruction": "a", "response": "b"})),
            Some(Instruction)
        );
        let generated = json!({"instruction": "a", "response": "b", "tokens": [1]});
        assert_eq!(format(generated), Some(Response));
        assert_eq!(
            format(json!({"prompt": "a", "response": "b"})),
            Some(Response)
        );
        assert_eq!(
            format(json!({"chosen": "a", "rejected": "b"})),
            Some(HhTranscripts)
        );
        assert_eq!(
            format(json!({"prompt": "p", "chosen": "a"})),
            Some(Preference)
        );
        assert_eq!(
            format(json!({"chosen": [], "rejected": []})),
            Some(Preference)
        );
        let pair = json!({"instruction": "p", "chosen_response": 1, "rejected_response": 2});
        assert_eq!(format(pair), Some(Preference));
        assert_eq!(format(json!({"conversations": []})), Some(ShareGpt));
        assert_eq!(format(json!({"prompt": "p", "text": "t"})), Some(Prompt));
        let turn = |role: &str| json!({"messages": [{"role": role, "content": "c"}]});
        assert_eq!(format(turn("user")), Some(Prompt));
        assert_eq!(format(turn("assistant")), Some(Conversation));
        assert_eq!(format(json!({"turns": ["a"]})), None);
    }

    #[test]
    fn the_majority_decides_and_an_odd_row_does_not() {
        let rows = [
            json!({"text": "a"}),
            json!({"prompt": "a"}),
            json!({}),
            json!({"prompt": 1}),
        ];
        let rows: Vec<_> = rows.iter().filter_map(Value::as_object).collect();
        assert_eq!(of_rows(rows.iter().copied()), Some(Format::Prompt));
        assert_eq!(of_rows(rows[..2].iter().copied()), Some(Format::Text));
        assert_eq!(of_rows(std::iter::empty()), None);
    }
}
