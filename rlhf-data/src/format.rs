//! The forms in which people keep rows.

use serde::Serialize;

/// The form of a file's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Objects with `text`.
    Text,
    /// Plain text, neither JSON nor a table: a row a paragraph.
    PlainText,
    /// Objects with `instruction`, perhaps `input`, and `output` or `response` (Alpaca).
    Instruction,
    /// Objects with `prompt` and `completion`.
    PromptCompletion,
    /// Objects with `messages` that end with an answer.
    Conversation,
    /// Objects with `conversations` of `from` and `value`.
    ShareGpt,
    /// Objects with a prompt, a chosen and a rejected answer.
    Preference,
    /// Objects with two whole transcripts, `chosen` and `rejected` (hh-rlhf).
    HhTranscripts,
    /// Pairs with the rating of each answer, or an instruction with `completions` of which each
    /// has one (UltraFeedback).
    UltraFeedback,
    /// Two responses that several people compared (PandaLM).
    PandaLm,
    /// One answer with a `label` that says whether it is wanted (KTO).
    Kto,
    /// Objects with `prompt`, or `messages` that wait for an answer.
    Prompt,
    /// Objects with a prompt and the `response` that a model generated.
    Response,
    /// Prompts with instructions that a program can check (IFEval).
    IfEval,
    /// Questions with true and false answers (TruthfulQA).
    TruthfulQa,
    /// Questions of several `turns` (MT-Bench).
    MtBench,
    /// An input with choices and which of them is right (hhh_alignment, BIG-bench).
    HhhAlignment,
}

impl Format {
    /// All formats, in the order in which people read about them.
    pub const ALL: [Self; 17] = [
        Self::Text,
        Self::PlainText,
        Self::Instruction,
        Self::PromptCompletion,
        Self::Conversation,
        Self::ShareGpt,
        Self::Preference,
        Self::HhTranscripts,
        Self::UltraFeedback,
        Self::PandaLm,
        Self::Kto,
        Self::Prompt,
        Self::Response,
        Self::IfEval,
        Self::TruthfulQa,
        Self::MtBench,
        Self::HhhAlignment,
    ];

    /// The name, for people and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::PlainText => "plain-text",
            Self::Instruction => "instruction",
            Self::PromptCompletion => "prompt-completion",
            Self::Conversation => "conversation",
            Self::ShareGpt => "sharegpt",
            Self::Preference => "preference",
            Self::HhTranscripts => "hh-rlhf",
            Self::UltraFeedback => "ultrafeedback",
            Self::PandaLm => "pandalm",
            Self::Kto => "kto",
            Self::Prompt => "prompt",
            Self::Response => "response",
            Self::IfEval => "ifeval",
            Self::TruthfulQa => "truthfulqa",
            Self::MtBench => "mt-bench",
            Self::HhhAlignment => "hhh-alignment",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == name)
    }

    /// Whether rows of it are pairs of answers of which the better one is named.
    pub fn is_pairs(self) -> bool {
        matches!(
            self,
            Self::Preference | Self::HhTranscripts | Self::UltraFeedback | Self::PandaLm
        )
    }

    /// Whether rows of it are demonstrations to learn from.
    pub fn is_demonstrations(self) -> bool {
        matches!(
            self,
            Self::Instruction | Self::PromptCompletion | Self::Conversation | Self::ShareGpt
        )
    }

    /// What rows of this format are good for, where no stage takes them as they are.
    pub(crate) fn purpose(self) -> Option<&'static str> {
        match self {
            Self::Kto => Some(
                "single answers labelled good or bad, which KTO trains on and no stage here does",
            ),
            Self::IfEval => Some("prompts to answer and to check by rules"),
            Self::TruthfulQa => Some("questions to measure a model by"),
            Self::MtBench => Some("questions of several turns to measure a model by"),
            Self::HhhAlignment => Some("choices to measure a model by"),
            _ => None,
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
