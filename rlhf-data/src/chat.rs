//! Conversations to tokens.

use crate::error::DataError;
use crate::row::{Message, Role};
use crate::template::ChatTemplate;
use crate::tokenizer::Tokenizer;
use crate::tokens::{SpanRole, TokenSequence};
use crate::turns::{Loss, Rendering};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// The names of the special tokens that have a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Stands before a text.
    pub bos: Option<String>,
    /// Ends a text, and in most chat models a turn.
    pub eos: Option<String>,
    /// Fills rows up. What is padding is decided by masks, never by this token.
    pub pad: Option<String>,
}

/// A tokenizer with its chat template and special tokens: a Hugging Face tokenizer folder.
///
/// Every conversation is rendered whole, by the template; where its answers are follows from
/// rendering its beginnings. What people typed is encoded as text even where it spells a control
/// token, be it special or a token of its own that the template writes (`<think>`, `<｜User｜>`): only
/// the template and this type write those. Answers may hold the latter, which models generate. An
/// answer is always encoded by itself, so that training, generation and scoring see the same ids.
#[derive(Debug, Clone)]
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    pub(crate) template: Option<ChatTemplate>,
    special: SpecialTokens,
    bos_id: Option<u32>,
    eos_id: Option<u32>,
    pad_id: Option<u32>,
    end_of_turn_id: Option<u32>,
    /// The folder that it was loaded from.
    pub(crate) folder: Option<PathBuf>,
    /// Settings of a loaded `tokenizer_config.json`, written back by `save`.
    pub(crate) config: Map<String, Value>,
    /// Whether the template has a file of its own.
    pub(crate) template_file: bool,
}

impl ChatTokenizer {
    /// Puts a tokenizer together with a template. If there is a `bos` token and the tokenizer has
    /// no post-processor yet, it gets one that puts `bos` first, so that Python's
    /// `tokenizer(text)` gives what the model was pre-trained on.
    ///
    /// # Errors
    /// [`DataError::Template`] if the template doesn't parse, [`DataError::Tokenizer`] if a
    /// special token is not in the vocabulary.
    pub fn new(
        tokenizer: Tokenizer,
        template: &str,
        special: SpecialTokens,
    ) -> Result<Self, DataError> {
        let tokenizer = with_bos_first(tokenizer, &special)?;
        Self::assemble(tokenizer, Some(template), special, &[])
    }

    /// A tokenizer for running text, without a chat template; else as [`new`](Self::new).
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if a special token is not in the vocabulary.
    pub fn without_template(
        tokenizer: Tokenizer,
        special: SpecialTokens,
    ) -> Result<Self, DataError> {
        let tokenizer = with_bos_first(tokenizer, &special)?;
        Self::assemble(tokenizer, None, special, &[])
    }

    /// `further` special tokens are seen by the template alone.
    pub(crate) fn assemble(
        tokenizer: Tokenizer,
        template: Option<&str>,
        special: SpecialTokens,
        further: &[(&str, String)],
    ) -> Result<Self, DataError> {
        let tokenizer = match template {
            Some(source) => tokenizer.for_template(source)?,
            None => tokenizer,
        };
        let named = [
            ("bos_token", &special.bos),
            ("eos_token", &special.eos),
            ("pad_token", &special.pad),
        ];
        let tokens = named
            .into_iter()
            .filter_map(|(k, v)| Some((k, v.as_deref()?)));
        let tokens = tokens.chain(further.iter().map(|(k, v)| (*k, v.as_str())));
        let template = template
            .map(|source| ChatTemplate::with_tokens(source, tokens))
            .transpose()?;
        let id = |name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => special_id(&tokenizer, name).map(Some),
        };
        let mut chat = Self {
            bos_id: id(&special.bos)?,
            eos_id: id(&special.eos)?,
            pad_id: id(&special.pad)?,
            end_of_turn_id: None,
            folder: None,
            config: Map::new(),
            template_file: false,
            tokenizer,
            template,
            special,
        };
        chat.end_of_turn_id = chat
            .encode_answer(&[Message::user("a")], "b")
            .ok()
            .and_then(|answer| answer.ids.last().copied());
        Ok(chat)
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template, if there is one.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// The names of the special tokens.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The id that stands before a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos_id
    }

    /// The id that ends a text.
    pub fn eos_id(&self) -> Option<u32> {
        self.eos_id
    }

    /// The padding id, as the folder says: it may be missing or the same as `eos_id`.
    pub fn pad_id(&self) -> Option<u32> {
        self.pad_id
    }

    /// The id that the template puts after an answer: what a chat model stops at. None without a
    /// template that does so.
    pub fn end_of_turn_id(&self) -> Option<u32> {
        self.end_of_turn_id
    }

    /// A whole conversation. Every assistant turn carries loss, up to and including its
    /// end-of-turn token; a line break after that does not.
    ///
    /// # Errors
    /// [`DataError::Conversation`] without an assistant turn, without anything before the answers,
    /// or if the template is not stable; [`DataError::Template`] if the template refuses.
    pub fn encode_conversation(&self, messages: &[Message]) -> Result<TokenSequence, DataError> {
        if !messages.iter().any(|m| m.role == Role::Assistant) {
            return refuse("there is no assistant turn to learn from");
        }
        let rendering = Rendering::new(self.needed_template()?, &self.tokenizer, messages, false)?;
        trained_in_part(rendering.tokens(Loss::EveryAnswer)?)
    }

    /// The turns before an answer, with the generation prompt that opens it; no loss.
    ///
    /// # Errors
    /// [`DataError::Conversation`] if there is no turn, the last one is the assistant's, or the
    /// template is not stable; [`DataError::Template`] if the template refuses.
    pub fn encode_prompt(&self, messages: &[Message]) -> Result<TokenSequence, DataError> {
        check_prompt(messages)?;
        Rendering::new(self.needed_template()?, &self.tokenizer, messages, true)?.tokens(Loss::None)
    }

    /// A prompt and an answer to it: the ids of [`encode_prompt`](Self::encode_prompt), then the
    /// answer's as the template writes it in a conversation (some templates trim white space or
    /// put a space first), then the end-of-turn token, which is the last. Only this answer
    /// carries loss.
    ///
    /// # Errors
    /// As [`encode_prompt`](Self::encode_prompt).
    pub fn encode_answer(
        &self,
        messages: &[Message],
        response: &str,
    ) -> Result<TokenSequence, DataError> {
        check_prompt(messages)?;
        let mut all = messages.to_vec();
        all.push(Message::assistant(response));
        let rendering = Rendering::new(self.needed_template()?, &self.tokenizer, &all, false)?;
        trained_in_part(rendering.tokens(Loss::LastAnswer)?)
    }

    /// A prompt and an answer that a model generated: its ids as they are, for the same text may be
    /// encoded otherwise. Only the answer carries loss.
    ///
    /// # Errors
    /// As [`encode_prompt`](Self::encode_prompt); [`DataError::Tokenizer`] for an id beyond the
    /// vocabulary.
    pub fn encode_generated(
        &self,
        messages: &[Message],
        ids: &[u32],
    ) -> Result<TokenSequence, DataError> {
        let size = self.tokenizer.vocab_size();
        if let Some(id) = ids.iter().find(|id| **id as usize >= size) {
            return Err(DataError::Tokenizer {
                reason: format!("the generated token {id} is beyond its vocabulary of {size}"),
            });
        }
        let mut tokens = self.encode_prompt(messages)?;
        tokens.push(ids, SpanRole::Assistant, true);
        Ok(tokens)
    }

    /// A document: `bos`, if there is one, the text, and `eos`, if there is one. All but `bos`
    /// carries loss.
    ///
    /// # Errors
    /// [`DataError::Tokenizer`] if the text can't be encoded.
    pub fn encode_text(&self, text: &str) -> Result<TokenSequence, DataError> {
        let mut tokens = TokenSequence::new();
        tokens.push(self.bos_id.as_slice(), SpanRole::Control, false);
        tokens.push(&self.tokenizer.encode(text)?, SpanRole::Text, true);
        tokens.push(self.eos_id.as_slice(), SpanRole::Text, true);
        Ok(tokens)
    }

    fn needed_template(&self) -> Result<&ChatTemplate, DataError> {
        self.template.as_ref().ok_or_else(|| {
            let whose = match &self.folder {
                Some(folder) => format!("the tokenizer of {}", folder.display()),
                None => "this tokenizer".to_owned(),
            };
            DataError::Template {
                reason: format!("{whose} has none; a conversation can't be encoded without one"),
            }
        })
    }
}

/// Refuses a row of which nothing carries loss, or an answer to nothing.
fn trained_in_part(tokens: TokenSequence) -> Result<TokenSequence, DataError> {
    if tokens.trained_tokens() == 0 {
        return refuse("no token of it carries loss: the template writes no answer");
    }
    if tokens.lacks_prompt() {
        return refuse("its first token carries loss: nothing stands before the answer");
    }
    Ok(tokens)
}

fn check_prompt(messages: &[Message]) -> Result<(), DataError> {
    match messages.last().map(|m| m.role) {
        None => refuse("a prompt needs at least one turn"),
        Some(Role::Assistant) => {
            refuse("a prompt must not end with an assistant turn: nobody waits for an answer")
        }
        Some(_) => Ok(()),
    }
}

fn refuse<T>(reason: &str) -> Result<T, DataError> {
    Err(DataError::Conversation {
        reason: reason.to_owned(),
    })
}

fn special_id(tokenizer: &Tokenizer, name: &str) -> Result<u32, DataError> {
    tokenizer
        .token_id(name)
        .ok_or_else(|| DataError::Tokenizer {
            reason: format!("the special token `{name}` is not in its vocabulary"),
        })
}

/// Adds the post-processor that puts `bos` before a text, unless there is one already.
fn with_bos_first(tokenizer: Tokenizer, special: &SpecialTokens) -> Result<Tokenizer, DataError> {
    let Some(bos) = special.bos.as_deref() else {
        return Ok(tokenizer);
    };
    if tokenizer.has_post_processor() {
        return Ok(tokenizer);
    }
    let id = special_id(&tokenizer, bos)?;
    let unreadable = |e: serde_json::Error| DataError::Tokenizer {
        reason: e.to_string(),
    };
    let mut json: Value = serde_json::from_str(&tokenizer.to_json()).map_err(unreadable)?;
    let first = |kind: u32| serde_json::json!({"SpecialToken": {"id": bos, "type_id": kind}});
    let text =
        |name: &str, kind: u32| serde_json::json!({"Sequence": {"id": name, "type_id": kind}});
    json["post_processor"] = serde_json::json!({
        "type": "TemplateProcessing",
        "single": [first(0), text("A", 0)],
        "pair": [first(0), text("A", 0), first(1), text("B", 1)],
        "special_tokens": {bos: {"id": bos, "ids": [id], "tokens": [bos]}},
    });
    Tokenizer::from_bytes(json.to_string().as_bytes())
}

#[cfg(test)]
#[path = "chat/tests.rs"]
mod tests;
