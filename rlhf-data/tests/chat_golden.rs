//! Tokenizers and chat templates of six model families against the figures that transformers
//! gives (tests/data, parts of the project's reference figures).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use rlhf_data::{ChatTokenizer, DataError, Message, SpanRole, TokenSequence};
use serde_json::Value;
use std::path::{Path, PathBuf};

const CHAT_MODELS: [&str; 5] = [
    "llama-tiny",
    "qwen2-tiny",
    "qwen3-tiny",
    "mistral-tiny",
    "gemma2-tiny",
];

fn folder(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(model)
}

fn golden(model: &str) -> Value {
    let text = std::fs::read_to_string(folder(model).join("golden.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn load(model: &str) -> ChatTokenizer {
    ChatTokenizer::load(&folder(model)).unwrap()
}

fn messages(value: &Value) -> Vec<Message> {
    serde_json::from_value(value.clone()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn tiles(tokens: &TokenSequence) {
    let mut at = 0;
    for span in &tokens.spans {
        assert_eq!(span.range.start, at);
        at = span.range.end;
    }
    assert_eq!(at, tokens.len());
}

#[test]
fn golden_texts_are_encoded_and_decoded() {
    let mut cases = 0;
    for model in CHAT_MODELS.into_iter().chain(["gpt2-tiny"]) {
        let chat = load(model);
        let tokenizer = chat.tokenizer();
        for case in golden(model)["tokenizer"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let spells_special = tokenizer
                .special_tokens()
                .iter()
                .any(|s| text.contains(&s.content));
            if !spells_special {
                assert_eq!(
                    tokenizer.encode(text).unwrap(),
                    ids(&case["ids"]),
                    "{model} {text:?}"
                );
            }
            let with_special = ids(&case["ids_with_special_tokens"]);
            assert_eq!(
                tokenizer.encode_like_transformers(text).unwrap(),
                with_special,
                "{model} {text:?}"
            );
            let decoded = tokenizer.decode(&ids(&case["ids"]), false).unwrap();
            assert_eq!(decoded, case["decoded"].as_str().unwrap(), "{model}");
            cases += 1;
        }
    }
    println!("{cases} cases");
    assert!(cases >= 40);
}

#[test]
fn golden_conversations_are_rendered_and_encoded() {
    for model in CHAT_MODELS {
        let (chat, golden) = (load(model), golden(model)["chat"].clone());
        let all = messages(&golden["messages"]);
        let template = chat.template().unwrap();
        assert_eq!(
            template.render(&all, false).unwrap(),
            golden["rendered"].as_str().unwrap()
        );
        let tokens = chat.encode_conversation(&all).unwrap();
        assert_eq!(tokens.ids, ids(&golden["ids"]), "{model}");
        let mask: Vec<u8> = tokens.loss_mask().into_iter().map(u8::from).collect();
        let expected: Vec<u8> = serde_json::from_value(golden["assistant_mask"].clone()).unwrap();
        assert_eq!(mask, expected, "{model}");
        tiles(&tokens);

        let (answer, before) = all.split_last().unwrap();
        let rendered = template.render(before, true).unwrap();
        assert_eq!(
            rendered,
            golden["prompt_rendered"].as_str().unwrap(),
            "{model}"
        );
        let prompt = chat.encode_prompt(before).unwrap();
        assert_eq!(prompt.ids, ids(&golden["prompt_ids"]), "{model}");
        assert_eq!(prompt.trained_tokens(), 0);
        tiles(&prompt);

        let short = messages(&golden["short_messages"]);
        let rendered = template.render(&short, true).unwrap();
        let expected = golden["short_rendered_with_generation_prompt"]
            .as_str()
            .unwrap();
        assert_eq!(rendered, expected, "{model}");

        answers_continue_prompts(model, &chat, before, &answer.content, &prompt);
    }
}

fn answers_continue_prompts(
    model: &str,
    chat: &ChatTokenizer,
    before: &[Message],
    answer: &str,
    prompt: &TokenSequence,
) {
    let answered = chat.encode_answer(before, answer).unwrap();
    assert_eq!(answered.ids[..prompt.len()], prompt.ids, "{model}");
    assert_eq!(answered.answer_start(), prompt.len());
    assert_eq!(answered.trained_tokens(), answered.len() - prompt.len());
    assert_eq!(
        answered.ids.last().copied(),
        chat.end_of_turn_id(),
        "{model}"
    );
    assert_eq!(
        chat.end_of_turn_id().map(|id| chat.tokenizer().token(id)),
        {
            let name = if model == "gemma2-tiny" {
                Some("<end_of_turn>".into())
            } else {
                None
            };
            Some(name.or_else(|| chat.special_tokens().eos.clone()))
        }
    );
}

#[test]
fn golden_spans_name_the_turns() {
    for model in CHAT_MODELS {
        let (chat, golden) = (load(model), golden(model)["chat"].clone());
        let all = messages(&golden["messages"]);
        let tokens = chat.encode_conversation(&all).unwrap();
        let text = |role: SpanRole| -> Vec<String> {
            let spans = tokens.spans.iter().filter(|span| span.role == role);
            let ids = spans.map(|span| &tokens.ids[span.range.clone()]);
            ids.map(|ids| {
                chat.tokenizer()
                    .decode(ids, true)
                    .unwrap()
                    .trim()
                    .to_owned()
            })
            .collect()
        };
        let contents = |role: rlhf_data::Role| -> Vec<String> {
            all.iter()
                .filter(|m| m.role == role)
                .map(|m| m.content.clone())
                .collect()
        };
        assert_eq!(
            text(SpanRole::User),
            contents(rlhf_data::Role::User),
            "{model}"
        );
        assert_eq!(
            text(SpanRole::System),
            contents(rlhf_data::Role::System),
            "{model}"
        );
        assert_eq!(
            text(SpanRole::Assistant),
            contents(rlhf_data::Role::Assistant),
            "{model}"
        );
    }
}

#[test]
fn golden_refusals_and_thinking() {
    for model in ["mistral-tiny", "gemma2-tiny"] {
        let (chat, golden) = (load(model), golden(model)["chat"].clone());
        let rejected = messages(&golden["messages_the_template_must_reject"]);
        let error = chat.encode_prompt(&rejected).unwrap_err();
        assert!(matches!(error, DataError::Template { .. }), "{error}");
    }
    let (chat, golden) = (load("qwen3-tiny"), golden("qwen3-tiny")["chat"].clone());
    let template = chat.template().unwrap();
    let thinking = messages(&golden["thinking_messages"]);
    let expected = golden["thinking_rendered"].as_str().unwrap();
    let rendered = [false, true].map(|generation| template.render(&thinking, generation).unwrap());
    assert!(rendered.iter().any(|text| text == expected), "{rendered:?}");
    let mut variables = serde_json::Map::new();
    variables.insert("enable_thinking".into(), false.into());
    let short = messages(&golden["short_messages"]);
    assert_eq!(
        template.render_with(&short, true, &variables).unwrap(),
        golden["short_rendered_enable_thinking_false"]
            .as_str()
            .unwrap()
    );
}

#[test]
fn golden_folders_survive_saving() {
    for model in CHAT_MODELS.into_iter().chain(["gpt2-tiny"]) {
        let chat = load(model);
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        chat.save(one.path()).unwrap();
        let again = ChatTokenizer::load(one.path()).unwrap();
        again.save(two.path()).unwrap();
        assert_eq!(chat.special_tokens(), again.special_tokens());
        assert_eq!(
            (
                chat.bos_id(),
                chat.eos_id(),
                chat.pad_id(),
                chat.end_of_turn_id()
            ),
            (
                again.bos_id(),
                again.eos_id(),
                again.pad_id(),
                again.end_of_turn_id()
            )
        );
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
            assert_eq!(read(one.path()), read(two.path()), "{model} {name}");
            let json = |dir: &Path| serde_json::from_slice::<Value>(&read(dir)).unwrap();
            if name == "tokenizer_config.json" {
                assert_eq!(json(one.path()), json(&folder(model)), "{model}");
            }
        }
        let template = one.path().join("chat_template.jinja");
        assert_eq!(template.exists(), model == "qwen3-tiny");
    }
}
