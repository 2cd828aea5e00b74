//! Chat templates: Jinja as transformers renders it.

use crate::clock::Instant;
use crate::error::DataError;
use crate::row::Message;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, Error, ErrorKind};
use std::sync::Arc;

const NAME: &str = "chat";

/// A compiled chat template. Cheap to clone.
///
/// Rendered as transformers does: `trim_blocks` and `lstrip_blocks` on, Python's methods of text,
/// lists and mappings, `raise_exception`, `strftime_now` (in UTC, frozen at the time of creation),
/// a `tojson` that escapes nothing, `break` and `continue`, and `generation` blocks, which are
/// passed through. A special token that is not set is undefined and renders as nothing.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: Arc<str>,
    environment: Arc<Environment<'static>>,
    bos_token: Option<String>,
    eos_token: Option<String>,
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
        Self::at(source, bos_token, eos_token, Instant::now())
    }

    fn at(
        source: &str,
        bos_token: Option<&str>,
        eos_token: Option<&str>,
        now: Instant,
    ) -> Result<Self, DataError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.map_err(|e| refused(&e))?);
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<Value, Error> {
                Err(Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_function("strftime_now", move |format: String| {
            now.strftime(&format)
                .map_err(|e| Error::new(ErrorKind::InvalidOperation, e))
        });
        environment.add_filter("tojson", |value: Value, options: Kwargs| {
            let indent: Option<usize> = options.get("indent")?;
            // Only what Python does by default is offered; the option may be named all the same.
            let _: Option<bool> = options.get("ensure_ascii")?;
            options.assert_all_used()?;
            crate::python_json::to_string(&value, indent)
                .map(Value::from_safe_string)
                .map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))
        });
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|e| refused(&e))?;
        Ok(Self {
            source: source.into(),
            environment: Arc::new(environment),
            bos_token: bos_token.map(str::to_owned),
            eos_token: eos_token.map(str::to_owned),
        })
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
        self.render_with(messages, add_generation_prompt, &serde_json::Map::new())
    }

    /// [`render`](Self::render) with further variables, such as `enable_thinking`.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        variables: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<String, DataError> {
        let set = |token: &Option<String>| token.as_deref().map_or(Value::UNDEFINED, Value::from);
        let further = variables
            .iter()
            .map(|(k, v)| (k.as_str(), Value::from(Serde(v))));
        let context: Vec<(&str, Value)> = [
            ("messages", Value::from(Serde(messages))),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("bos_token", set(&self.bos_token)),
            ("eos_token", set(&self.eos_token)),
        ]
        .into_iter()
        .chain(further)
        .collect();
        let context = Value::from_pairs(context);
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|e| refused(&e))?;
        template.render(context).map_err(|e| refused(&e))
    }
}

fn refused(error: &Error) -> DataError {
    let what = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error
        .line()
        .map(|line| format!(" (line {line} of the template)"));
    DataError::Template {
        reason: what + &line.unwrap_or_default(),
    }
}

/// Transformers marks answers by `{% generation %}` blocks; they render as their contents.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        // Behind the opening: "{%}" opens a tag and doesn't close it.
        let Some(len) = rest[at + 2..].find("%}") else {
            break;
        };
        let end = at + 2 + len;
        let tag = &rest[at + 2..end];
        out.push_str(&rest[..at]);
        let word = tag.trim_matches(['-', '+']).trim();
        match word {
            "generation" => out.push_str(&format!("{{%{}%}}", tag.replace(word, "if true"))),
            "endgeneration" => out.push_str(&format!("{{%{}%}}", tag.replace(word, "endif"))),
            _ => out.push_str(&rest[at..end + 2]),
        }
        rest = &rest[end + 2..];
    }
    out + rest
}

#[cfg(test)]
#[path = "template/tests.rs"]
mod tests;
