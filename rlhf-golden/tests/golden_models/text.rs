//! Tokenizer and chat template.

use crate::reference::{Report, field};
use rlhf_data::{ChatTokenizer, DataError, Message};
use rlhf_golden::{Figure, Figures};
use serde_json::{Map, Value};
use std::path::Path;

/// Runs the tokenizer's texts and the chat figures of a folder.
pub(crate) fn run(dir: &Path, golden: &Map<String, Value>, report: &mut Report) {
    let tokenizer = match ChatTokenizer::load(dir) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return report.fail("tokenizer", error.to_string()),
    };
    let empty = Vec::new();
    let texts = golden
        .get("tokenizer")
        .and_then(Value::as_array)
        .unwrap_or(&empty);
    for case in texts.iter().filter_map(Value::as_object) {
        let text: String = field(case, "text");
        match encode(&tokenizer, &text) {
            Ok(figures) => report.check(&format!("tokenizer {text:?}"), &figures, case, &["text"]),
            Err(error) => report.fail("tokenizer", format!("{text:?}: {error}")),
        }
    }
    if let Some(case) = golden.get("chat").and_then(Value::as_object) {
        match chat(&tokenizer, case) {
            Ok(figures) => report.check("chat", &figures, case, &INPUTS),
            Err(error) => report.fail("chat", error.to_string()),
        }
    }
}

fn list(ids: &[u32]) -> Figure {
    Figure::from(ids.iter().map(|&id| id as usize).collect::<Vec<_>>())
}

fn encode(chat: &ChatTokenizer, text: &str) -> Result<Figures, DataError> {
    let tokenizer = chat.tokenizer();
    let with_special = tokenizer.encode_like_transformers(text)?;
    let plain = tokenizer.encode(text)?;
    // A special token that the text spells out is one token for Python's tokenizer, and text for
    // ours; there the reference ids are the ids without what the post-processor puts first.
    let added =
        usize::from(chat.bos_id().is_some() && with_special.first() == chat.bos_id().as_ref());
    let spelled = tokenizer
        .special_tokens()
        .iter()
        .any(|t| text.contains(&t.content));
    let ids = if spelled {
        with_special[added..].to_vec()
    } else {
        plain
    };
    let mut figures = Figures::default();
    figures.set("decoded", Figure::Text(tokenizer.decode(&ids, false)?));
    figures.set("ids", list(&ids));
    figures.set("ids_with_special_tokens", list(&with_special));
    Ok(figures)
}

const INPUTS: [&str; 4] = [
    "messages",
    "short_messages",
    "thinking_messages",
    "messages_the_template_must_reject",
];

fn chat(chat: &ChatTokenizer, case: &Map<String, Value>) -> Result<Figures, DataError> {
    let mut figures = Figures::default();
    let Some(template) = chat.template() else {
        return Ok(figures);
    };
    let mut text = |name: &str, text: String| figures.set(name, Figure::Text(text));
    let messages: Vec<Message> = field(case, "messages");
    let prompt = &messages[..messages.len() - 1];
    text("rendered", template.render(&messages, false)?);
    text("prompt_rendered", template.render(prompt, true)?);
    let short: Vec<Message> = field(case, "short_messages");
    text(
        "short_rendered_with_generation_prompt",
        template.render(&short, true)?,
    );
    if case.contains_key("short_rendered_enable_thinking_false") {
        let off = Map::from_iter([("enable_thinking".to_owned(), Value::Bool(false))]);
        let rendered = template.render_with(&short, true, &off)?;
        text("short_rendered_enable_thinking_false", rendered);
    }
    if case.contains_key("thinking_messages") {
        let thinking: Vec<Message> = field(case, "thinking_messages");
        text("thinking_rendered", template.render(&thinking, false)?);
    }
    let conversation = chat.encode_conversation(&messages)?;
    let loss: Vec<usize> = conversation
        .loss_mask()
        .into_iter()
        .map(usize::from)
        .collect();
    figures.set("ids", list(&conversation.ids));
    figures.set("assistant_mask", loss);
    figures.set("prompt_ids", list(&chat.encode_prompt(prompt)?.ids));
    if let Some(rejected) = case.get("messages_the_template_must_reject") {
        let rejected: Vec<Message> = serde_json::from_value(rejected.clone()).unwrap_or_default();
        assert!(
            !rejected.is_empty(),
            "messages to be rejected could not be read"
        );
        let accepted = template.render(&rejected, false);
        assert!(
            accepted.is_err(),
            "the template accepted {rejected:?}: {accepted:?}"
        );
    }
    Ok(figures)
}
