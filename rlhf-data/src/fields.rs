//! The fields of a row's JSON object, taken out with the reason where one is not usable.

use crate::row::{Message, Role};
use serde_json::{Map, Value};

/// Why a row is not usable: the field and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    pub(crate) field: String,
    pub(crate) reason: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn wrong(field: impl Into<String>, found: &Value, wanted: &str) -> Self {
        Self::new(field, format!("found {}, {wanted} is wanted", kind(found)))
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => format!("the truth value {b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A field that must be there.
pub(crate) fn needed<'a>(
    row: &'a Map<String, Value>,
    field: &str,
) -> Result<&'a Value, FieldError> {
    row.get(field)
        .ok_or_else(|| FieldError::new(field, "is missing"))
}

/// A text that must be there; it may be empty.
pub(crate) fn text<'a>(row: &'a Map<String, Value>, field: &str) -> Result<&'a str, FieldError> {
    let value = needed(row, field)?;
    value
        .as_str()
        .ok_or_else(|| FieldError::wrong(field, value, "text"))
}

/// A text with more than white space in it.
pub(crate) fn filled_text<'a>(
    row: &'a Map<String, Value>,
    field: &str,
) -> Result<&'a str, FieldError> {
    let text = text(row, field)?;
    filled(text, field)
}

/// The text if there is more than white space in it.
pub(crate) fn filled<'a>(text: &'a str, field: &str) -> Result<&'a str, FieldError> {
    if text.trim().is_empty() {
        return Err(FieldError::new(field, "is empty"));
    }
    Ok(text)
}

/// A number, or none where the field is absent or null.
pub(crate) fn optional_number(
    row: &Map<String, Value>,
    field: &str,
) -> Result<Option<f64>, FieldError> {
    match row.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_f64()
            .map(Some)
            .ok_or_else(|| FieldError::wrong(field, value, "a number")),
    }
}

/// An object, empty where the field is absent or null.
pub(crate) fn optional_object(
    row: &Map<String, Value>,
    field: &str,
) -> Result<Map<String, Value>, FieldError> {
    match row.get(field) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(value) => Err(FieldError::wrong(field, value, "an object")),
    }
}

/// Token ids, or none where the field is absent or null.
pub(crate) fn optional_ids(
    row: &Map<String, Value>,
    field: &str,
) -> Result<Option<Vec<u32>>, FieldError> {
    let list = match row.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(value) => return Err(FieldError::wrong(field, value, "a list of token ids")),
    };
    let id = |(i, value): (usize, &Value)| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| FieldError::wrong(format!("{field}[{i}]"), value, "a token id"))
    };
    list.iter()
        .enumerate()
        .map(id)
        .collect::<Result<_, _>>()
        .map(Some)
}

/// A list of texts with more than white space in each.
pub(crate) fn texts(value: &Value, field: &str) -> Result<Vec<String>, FieldError> {
    let Some(list) = value.as_array() else {
        return Err(FieldError::wrong(field, value, "a list of texts"));
    };
    let one = |(i, value): (usize, &Value)| {
        let field = format!("{field}[{i}]");
        let text = value.as_str();
        let text = text.ok_or_else(|| FieldError::wrong(field.as_str(), value, "text"))?;
        filled(text, &field).map(str::to_owned)
    };
    list.iter().enumerate().map(one).collect()
}

/// A list of numbers.
pub(crate) fn numbers(value: &Value, field: &str) -> Result<Vec<f64>, FieldError> {
    let Some(list) = value.as_array() else {
        return Err(FieldError::wrong(field, value, "a list of numbers"));
    };
    let one = |(i, value): (usize, &Value)| {
        let number = value.as_f64();
        number.ok_or_else(|| FieldError::wrong(format!("{field}[{i}]"), value, "a number"))
    };
    list.iter().enumerate().map(one).collect()
}

/// A yes or no: a truth value, 1 or 0, or one of these as text, as tables have it.
pub(crate) fn truth(row: &Map<String, Value>, field: &str) -> Result<bool, FieldError> {
    let value = needed(row, field)?;
    let spelled = match value {
        Value::Bool(b) => return Ok(*b),
        Value::String(text) => text.trim().to_lowercase(),
        other => other.to_string(),
    };
    match spelled.as_str() {
        "true" | "1" | "1.0" => Ok(true),
        "false" | "0" | "0.0" => Ok(false),
        _ => Err(FieldError::wrong(field, value, "true or false")),
    }
}

/// Whether a field holds something: not absent, null, empty, or an empty list or object, these
/// two also spelled out as text.
pub(crate) fn is_filled(row: &Map<String, Value>, field: &str) -> bool {
    match row.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !matches!(text.trim(), "" | "[]" | "{}" | "null"),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(object)) => !object.is_empty(),
        Some(_) => true,
    }
}

/// The input of an instruction. Absent, null, empty and any spelling of "no input" are none.
pub(crate) fn instruction_input(row: &Map<String, Value>) -> Result<Option<String>, FieldError> {
    let text = match row.get("input") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text,
        Some(value) => return Err(FieldError::wrong("input", value, "text")),
    };
    let letters = text
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase);
    let spelled = text.len() < 40 && letters.eq("noinput".chars());
    Ok((!spelled && !text.trim().is_empty()).then(|| text.clone()))
}

/// One turn: `role` and `content`, or `from` and `value`.
pub(crate) fn message(value: &Value, field: &str) -> Result<Message, FieldError> {
    let Some(turn) = value.as_object() else {
        return Err(FieldError::wrong(
            field,
            value,
            "an object with `role` and `content`",
        ));
    };
    let (role_field, content_field) = if turn.contains_key("from") {
        ("from", "value")
    } else {
        ("role", "content")
    };
    let within = |e: FieldError| FieldError::new(format!("{field}.{}", e.field), e.reason);
    let name = text(turn, role_field).map_err(within)?;
    let content = text(turn, content_field).map_err(within)?;
    let role = match name {
        "system" | "developer" => Role::System,
        "user" | "human" => Role::User,
        // A call is what the model says; what comes back is the tool's.
        "assistant" | "gpt" | "chatgpt" | "bot" | "model" | "function_call" => Role::Assistant,
        "tool" | "observation" | "function" | "function_response" | "ipython" => Role::Tool,
        _ => {
            let wanted = "wanted are system, user (human), assistant (gpt, function_call) and \
                          tool (observation)";
            let reason = format!("the role `{name:.40}` is not known; {wanted}");
            return Err(FieldError::new(format!("{field}.{role_field}"), reason));
        }
    };
    Ok(Message::new(role, content))
}

/// A list of at least one turn.
pub(crate) fn messages(value: &Value, field: &str) -> Result<Vec<Message>, FieldError> {
    let Some(list) = value.as_array() else {
        return Err(FieldError::wrong(field, value, "a list of turns"));
    };
    if list.is_empty() {
        return Err(FieldError::new(field, "there are no turns"));
    }
    list.iter()
        .enumerate()
        .map(|(i, turn)| message(turn, &format!("{field}[{i}]")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn every_spelling_of_no_input_is_none() {
        for input in [
            "",
            " \n",
            "noinput",
            "Noinput",
            "< noinput >",
            "`<noinput>`",
            "<No Input>",
        ] {
            let row = object(json!({"input": input}));
            assert_eq!(instruction_input(&row).unwrap(), None, "{input:?}");
        }
        for input in ["3", "no input was given", "noinputs"] {
            let row = object(json!({"input": input}));
            assert_eq!(instruction_input(&row).unwrap().as_deref(), Some(input));
        }
        assert_eq!(
            instruction_input(&object(json!({"input": null}))).unwrap(),
            None
        );
        assert!(instruction_input(&object(json!({"input": 3}))).is_err());
    }

    #[test]
    fn a_wrong_field_says_what_was_found() {
        let row = object(json!({"a": true, "b": null, "ids": [1, -1], "m": [1]}));
        let said = |e: FieldError| format!("{}: {}", e.field, e.reason);
        assert_eq!(
            said(text(&row, "a").unwrap_err()),
            "a: found the truth value true, text is wanted"
        );
        assert_eq!(
            said(text(&row, "b").unwrap_err()),
            "b: found null, text is wanted"
        );
        assert_eq!(said(text(&row, "c").unwrap_err()), "c: is missing");
        let ids = optional_ids(&row, "ids").unwrap_err();
        assert_eq!(
            said(ids),
            "ids[1]: found the number -1, a token id is wanted"
        );
        assert!(optional_object(&row, "m").is_err());
        assert!(optional_number(&row, "a").is_err());
    }

    #[test]
    fn turns_have_either_pair_of_names() {
        let list = json!([{"role": "system", "content": "s"}, {"from": "gpt", "value": "v"}]);
        let turns = messages(&list, "m").unwrap();
        assert_eq!(turns, [Message::system("s"), Message::assistant("v")]);
        let tools =
            json!([{"from": "function_call", "value": "c"}, {"from": "observation", "value": "o"}]);
        let turns = messages(&tools, "m").unwrap();
        assert_eq!(turns, [Message::assistant("c"), Message::tool("o")]);
        let unknown = json!([{"from": "narrator", "value": "v"}]);
        let error = messages(&unknown, "conversations").unwrap_err();
        assert_eq!(error.field, "conversations[0].from");
        assert!(error.reason.contains("narrator"));
        let parts = json!([{"role": "user", "content": [{"type": "text"}]}]);
        assert_eq!(messages(&parts, "m").unwrap_err().field, "m[0].content");
        assert!(messages(&json!([]), "m").is_err());
    }
}
