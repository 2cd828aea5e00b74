//! The rows of a data set, one type a purpose.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who speaks in a turn of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    User,
    /// The model: the only role whose turns are trained on.
    Assistant,
    /// The result of a tool that the model called.
    Tool,
}

impl Role {
    /// The name that chat templates and files use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said, as it stands in the file.
    pub content: String,
}

impl Message {
    /// A turn of the given role.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }

    /// A system turn.
    pub fn system(content: impl Into<String>) -> Self {
        Self::new(Role::System, content)
    }

    /// A turn of the person.
    pub fn user(content: impl Into<String>) -> Self {
        Self::new(Role::User, content)
    }

    /// A turn of the model.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// A tool's result.
    pub fn tool(content: impl Into<String>) -> Self {
        Self::new(Role::Tool, content)
    }
}

/// Running text: a document of pre-training.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextRow {
    /// The document.
    pub text: String,
}

/// An instruction, what it is to be applied to, and the response: the Alpaca form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstructionRow {
    /// What is asked.
    pub instruction: String,
    /// What it is asked about; none where the file's field is absent, empty or spells "no input".
    pub input: Option<String>,
    /// The demonstration.
    pub response: String,
}

impl InstructionRow {
    /// The user turn that the instruction and its input make: a blank line between them.
    pub fn user_text(&self) -> String {
        match &self.input {
            Some(input) => format!("{}\n\n{input}", self.instruction),
            None => self.instruction.clone(),
        }
    }
}

/// A conversation to learn from: at least one assistant turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversation {
    /// The turns in order.
    pub messages: Vec<Message>,
}

impl From<InstructionRow> for Conversation {
    fn from(row: InstructionRow) -> Self {
        let user = Message::user(row.user_text());
        Self {
            messages: vec![user, Message::assistant(row.response)],
        }
    }
}

/// Turns that wait for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// The turns in order; the last one is not the assistant's.
    pub messages: Vec<Message>,
    /// The whole original row, for what scores or writes the answer.
    pub row: Map<String, Value>,
}

/// Two answers to one prompt, the better one named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preference {
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// The preferred answer.
    pub chosen: String,
    /// The other answer.
    pub rejected: String,
    /// The rating of the preferred answer, on the file's own scale.
    pub chosen_rating: Option<f64>,
    /// The rating of the other answer, on the same scale.
    pub rejected_rating: Option<f64>,
    /// The row's `metadata`, kept whole.
    pub metadata: Map<String, Value>,
}

impl Preference {
    /// The name of the ranking that this pair was taken from: `metadata.group`, text or a number.
    pub fn group(&self) -> Option<String> {
        match self.metadata.get("group")? {
            Value::String(name) => Some(name.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

/// An answer that a model generated to a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The turns before the answer.
    pub messages: Vec<Message>,
    /// The text of the answer; may be empty, as a model may end at once.
    pub response: String,
    /// The ids that were generated, the end token included, where the row has them.
    pub tokens: Option<Vec<u32>>,
    /// The whole original row.
    pub row: Map<String, Value>,
}

/// One answer to a prompt and whether it is wanted: what KTO learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feedback {
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// The answer.
    pub completion: String,
    /// Whether the answer is wanted.
    pub label: bool,
}

/// A question with answers that are true and answers that are not (TruthfulQA).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TruthQuestion {
    /// The question.
    pub question: String,
    /// The best of the true answers.
    pub best: Option<String>,
    /// True answers; at least one.
    pub correct: Vec<String>,
    /// Answers that are not true; at least one.
    pub incorrect: Vec<String>,
}

/// Questions that are asked one after the other in one conversation (MT-Bench).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TurnsQuestion {
    /// What the person says in each turn; at least one.
    pub turns: Vec<String>,
    /// The reference answer to each turn, empty where a turn has none; no texts at all where no turn
    /// has one.
    pub reference: Vec<String>,
}

/// A text with ways to go on and how right each is (hhh_alignment, BIG-bench).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChoiceQuestion {
    /// What the choices answer.
    pub input: String,
    /// The choices; at least two.
    pub choices: Vec<String>,
    /// The score of each choice, 1 for the right one and 0 for others in most files.
    pub scores: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_becomes_a_conversation_of_two_turns() {
        let mut row = InstructionRow {
            instruction: "Translate.".into(),
            input: Some("chat".into()),
            response: "cat".into(),
        };
        let conversation = Conversation::from(row.clone());
        assert_eq!(
            conversation.messages,
            [
                Message::user("Translate.\n\nchat"),
                Message::assistant("cat")
            ]
        );
        row.input = None;
        assert_eq!(
            Conversation::from(row).messages[0],
            Message::user("Translate.")
        );
    }

    #[test]
    fn roles_are_lower_case_in_files() {
        let message = Message::tool("3");
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(text, r#"{"role":"tool","content":"3"}"#);
        assert_eq!(serde_json::from_str::<Message>(&text).unwrap(), message);
        assert_eq!(Role::System.to_string(), "system");
    }

    #[test]
    fn a_group_is_text_or_a_number() {
        let with = |metadata: Value| Preference {
            prompt: vec![],
            chosen: "a".into(),
            rejected: "b".into(),
            chosen_rating: None,
            rejected_rating: None,
            metadata: metadata.as_object().cloned().unwrap(),
        };
        assert_eq!(
            with(serde_json::json!({"group": "g"})).group().as_deref(),
            Some("g")
        );
        assert_eq!(
            with(serde_json::json!({"group": 7})).group().as_deref(),
            Some("7")
        );
        assert_eq!(with(serde_json::json!({"group": null})).group(), None);
        assert_eq!(with(serde_json::json!({})).group(), None);
    }
}
