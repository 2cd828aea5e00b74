//! Chat templates: Jinja as transformers renders it.

mod engine;
mod generation;
mod python_text;

use crate::clock::Instant;
use crate::error::DataError;
use crate::row::Message;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::{Map, Value as Json};
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "chat";

/// The names under which a turn's reasoning is found in files; templates read the first, some the
/// second.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// A compiled chat template. Cheap to clone.
///
/// Rendered as transformers does: `trim_blocks` and `lstrip_blocks` on, Python's methods of text,
/// lists and mappings, `raise_exception`, `strftime_now` (in UTC, frozen at the time of creation),
/// Python's `tojson`, `break` and `continue`, and `generation` blocks, which are passed through. A
/// special token that is not set is undefined and renders as nothing; `tools` and `documents` are
/// none unless they are given.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: Arc<str>,
    /// The file that it was read from.
    file: Option<Arc<Path>>,
    environment: Arc<Environment<'static>>,
    tokens: Arc<[(String, String)]>,
    now: Instant,
}

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`DataError::Template`] with the line if it doesn't parse.
    pub fn new(
        source: &str,
        bos_token: Option<&str>,
        eos_token: Option<&str>,
    ) -> Result<Self, DataError> {
        let named = [("bos_token", bos_token), ("eos_token", eos_token)];
        let set = named.into_iter().filter_map(|(k, v)| Some((k, v?)));
        Self::with_tokens(source, set)
    }

    /// Compiles a template that sees these special tokens by these names, such as `bos_token`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_tokens<'a>(
        source: &str,
        tokens: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, DataError> {
        let refused = |e| refused(&e, None);
        let mut environment = engine::environment().map_err(refused)?;
        environment
            .add_template_owned(NAME, generation::without_tags(&one_line_break(source)))
            .map_err(refused)?;
        let tokens = tokens
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()));
        Ok(Self {
            source: source.into(),
            file: None,
            environment: Arc::new(environment),
            tokens: tokens.collect(),
            now: Instant::now(),
        })
    }

    /// The same template on another day: `strftime_now` sees this moment, in seconds since 1970.
    #[must_use]
    pub fn frozen_at(mut self, unix_seconds: u64) -> Self {
        self.now = Instant(unix_seconds);
        self
    }

    /// The same template, whose errors name the file that it was read from.
    pub(crate) fn read_from(mut self, file: &Path) -> Self {
        self.file = Some(file.into());
        self
    }

    /// What errors call it.
    pub(crate) fn name(&self) -> String {
        match &self.file {
            Some(file) => format!("the chat template of {}", file.display()),
            None => "the chat template".to_owned(),
        }
    }

    /// The template as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The text of a conversation; with `add_generation_prompt` an assistant turn is opened at
    /// its end.
    ///
    /// # Errors
    /// [`DataError::Template`] if the template refuses the conversation or does something that
    /// can't be done.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        self.render_with(messages, add_generation_prompt, &Map::new())
    }

    /// [`render`](Self::render) with further variables, such as `enable_thinking`.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        variables: &Map<String, Json>,
    ) -> Result<String, DataError> {
        let messages = Value::from(Serde(messages));
        self.render_values(messages, add_generation_prompt, variables)
    }

    /// [`render_with`](Self::render_with) for turns that hold more than text: tool calls,
    /// reasoning, contents in parts. As in transformers, fields that are null count as absent, and
    /// a turn's reasoning is seen as `reasoning_content` and `thinking` whatever its name.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_turns(
        &self,
        turns: &[Map<String, Json>],
        add_generation_prompt: bool,
        variables: &Map<String, Json>,
    ) -> Result<String, DataError> {
        let turns: Vec<_> = turns.iter().map(as_transformers_sees_it).collect();
        let turns = Value::from(Serde(turns));
        self.render_values(turns, add_generation_prompt, variables)
    }

    fn render_values(
        &self,
        messages: Value,
        add_generation_prompt: bool,
        variables: &Map<String, Json>,
    ) -> Result<String, DataError> {
        let now = self.now;
        let strftime_now = move |format: String| {
            now.strftime(&format)
                .map_err(|e| Error::new(ErrorKind::InvalidOperation, e))
        };
        let tokens = self
            .tokens
            .iter()
            .map(|(k, v)| (k.as_str(), Value::from(v.as_str())));
        let further = variables
            .iter()
            .map(|(k, v)| (k.as_str(), Value::from(Serde(v))));
        // What comes later wins.
        let context: Vec<(&str, Value)> = [
            ("strftime_now", Value::from_function(strftime_now)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
        ]
        .into_iter()
        .chain(tokens)
        .chain([
            ("messages", messages),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ])
        .chain(further)
        .collect();
        let context = Value::from_pairs(context);
        let refused = |e| refused(&e, self.file.as_deref());
        let template = self.environment.get_template(NAME).map_err(refused)?;
        template.render(context).map_err(refused)
    }
}

/// Jinja reads every line break as a line feed.
fn one_line_break(source: &str) -> String {
    source.replace("\r\n", "\n").replace('\r', "\n")
}

fn as_transformers_sees_it(turn: &Map<String, Json>) -> Map<String, Json> {
    let given = |key: &&str| turn.get(*key).filter(|value| !value.is_null());
    let mut seen = Map::new();
    let reasoning = REASONING.iter().find_map(given);
    if let Some(reasoning) = reasoning {
        seen.insert(REASONING[1].into(), reasoning.clone());
    }
    let fields = turn.iter().filter(|(_, value)| !value.is_null());
    seen.extend(fields.map(|(key, value)| (key.clone(), value.clone())));
    if let Some(reasoning) = reasoning {
        seen.insert(REASONING[0].into(), reasoning.clone());
    }
    seen
}

fn refused(error: &Error, file: Option<&Path>) -> DataError {
    let file = file.map(|file| format!("{}: ", file.display()));
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error
        .line()
        .map(|line| format!(" (line {line} of the template)"));
    DataError::Template {
        reason: file.unwrap_or_default() + &what + &line.unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;
