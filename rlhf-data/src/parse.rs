//! A JSON object to a row of its file's format.

mod measuring;
mod pairs;
mod rated;

use crate::fields::{
    FieldError, filled, filled_text, instruction_input, is_filled, messages, needed, optional_ids,
    text, truth,
};
use crate::format::Format;
use crate::read::Row;
use crate::recognise::{PROMPT_FIELDS, TRUTHFUL_QA};
use crate::row::{
    Conversation, Feedback, InstructionRow, Message, Prompt, Response, Role, TextRow,
};
use pairs::{answer, preference, transcripts};
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// The row that an object of a file of this format is.
pub(crate) fn row(format: Format, object: &Object) -> Result<Row, FieldError> {
    match format {
        Format::Text | Format::PlainText => {
            let text = filled_text(object, "text")?.to_owned();
            Ok(Row::Text(TextRow { text }))
        }
        Format::Instruction => instruction(object),
        Format::PromptCompletion => prompt_completion(object).map(Row::Conversation),
        Format::Preference => preference(object).map(Row::Preference),
        Format::HhTranscripts => transcripts(object).map(Row::Preference),
        Format::UltraFeedback => rated::ultrafeedback(object).map(Row::Preference),
        Format::PandaLm => rated::pandalm(object).map(Row::Preference),
        Format::Kto => feedback(object).map(Row::Feedback),
        Format::Prompt => prompt_row(object).map(Row::Prompt),
        Format::IfEval => {
            measuring::check_instructions(object)?;
            prompt_row(object).map(Row::Prompt)
        }
        Format::TruthfulQa => measuring::truth_question(object).map(Row::Truth),
        Format::MtBench => measuring::turns_question(object).map(Row::Turns),
        Format::HhhAlignment => measuring::choice_question(object).map(Row::Choice),
        Format::Conversation => conversation(object, "messages").map(Row::Conversation),
        Format::ShareGpt => conversation(object, "conversations").map(Row::Conversation),
        Format::Response => response(object).map(Row::Response),
    }
}

fn prompt_row(object: &Object) -> Result<Prompt, FieldError> {
    let field = if object.contains_key("messages") {
        "messages"
    } else {
        "prompt"
    };
    let messages = waiting(turns(needed(object, field)?, field)?, field)?;
    Ok(Prompt {
        messages,
        row: object.clone(),
    })
}

/// An instruction; with a `system` text or a `history` of earlier turns it is a conversation.
fn instruction(object: &Object) -> Result<Row, FieldError> {
    let row = demonstration(object)?;
    if !is_filled(object, "system") && !is_filled(object, "history") {
        return Ok(Row::Instruction(row));
    }
    let mut messages = Vec::new();
    if is_filled(object, "system") {
        messages.push(Message::system(text(object, "system")?));
    }
    for (i, turn) in history(object)?.iter().enumerate() {
        let field = format!("history[{i}]");
        match crate::fields::texts(turn, &field)?.as_slice() {
            [asked, answered] => messages.extend([
                Message::user(asked.as_str()),
                Message::assistant(answered.as_str()),
            ]),
            _ => {
                let reason = "a list of two texts is wanted, question and answer";
                return Err(FieldError::new(field, reason));
            }
        }
    }
    messages.extend(Conversation::from(row).messages);
    Ok(Row::Conversation(Conversation { messages }))
}

fn history(object: &Object) -> Result<&[Value], FieldError> {
    match object.get("history") {
        Some(Value::Array(list)) => Ok(list),
        Some(found) if is_filled(object, "history") => Err(FieldError::wrong(
            "history",
            found,
            "a list of pairs of texts",
        )),
        _ => Ok(&[]),
    }
}

fn prompt_completion(object: &Object) -> Result<Conversation, FieldError> {
    let asked = waiting(turns(needed(object, "prompt")?, "prompt")?, "prompt")?;
    let answer = answer(object, "completion")?;
    filled(&answer.text, "completion")?;
    let mut messages = system_of(object, asked)?;
    messages.extend(answer.before);
    messages.push(Message::assistant(answer.text));
    Ok(Conversation { messages })
}

fn feedback(object: &Object) -> Result<Feedback, FieldError> {
    let label = if object.contains_key("label") {
        "label"
    } else {
        "kto_tag"
    };
    let label = truth(object, label)?;
    refuse_tools(object)?;
    let (prompt, completion) = if object.contains_key("completion") {
        let Some((field, asked)) = prompt(object)? else {
            return Err(FieldError::new("prompt", "is missing"));
        };
        let mut asked = waiting(asked, field)?;
        let answer = answer(object, "completion")?;
        asked.extend(answer.before);
        (asked, answer.text)
    } else {
        let field = ["messages", "conversations"]
            .into_iter()
            .find(|field| object.contains_key(*field));
        let Some(field) = field else {
            return Err(FieldError::new("completion", "is missing"));
        };
        let Conversation { mut messages } = conversation(object, field)?;
        match messages.pop() {
            Some(last) if last.role == Role::Assistant => (messages, last.content),
            _ => {
                let reason = "the last turn must be the assistant's: it is what the label is about";
                return Err(FieldError::new(field, reason));
            }
        }
    };
    filled(&completion, "completion")?;
    Ok(Feedback {
        prompt,
        completion,
        label,
    })
}

/// Tools that a row declares would not reach the model: none of the stages writes them into the
/// prompt, and a model that learns calls to tools it was never told of learns to invent them.
fn refuse_tools(object: &Object) -> Result<(), FieldError> {
    if !is_filled(object, "tools") {
        return Ok(());
    }
    let reason = "the row declares tools, and no stage tells the model of them; `--map tools=` \
                  reads the row without them";
    Err(FieldError::new("tools", reason))
}

/// The turns, with the text of a `system` field before them unless they have a system turn.
fn system_of(object: &Object, mut messages: Vec<Message>) -> Result<Vec<Message>, FieldError> {
    let stated = messages.iter().any(|m| m.role == Role::System);
    if is_filled(object, "system") && !stated {
        messages.insert(0, Message::system(text(object, "system")?));
    }
    Ok(messages)
}

fn demonstration(object: &Object) -> Result<InstructionRow, FieldError> {
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
    refuse_tools(object)?;
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
    let messages = system_of(object, messages)?;
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
    let messages = system_of(object, turns(&object[field], field)?)?;
    Ok(Some((field, messages)))
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
        None if TRUTHFUL_QA.iter().any(|n| object.contains_key(n[2])) => {
            vec![Message::user(measuring::truth_question(object)?.question)]
        }
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
