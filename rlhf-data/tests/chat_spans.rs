//! Conversations as token spans, for the chat templates of real model families
//! (`chat_templates/`), with small tokenizers that have the families' special tokens.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use rlhf_data::{
    ChatTokenizer, DataError, Message, SpanRole, SpecialTokens, TokenSequence, Tokenizer,
};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// A line of `templates.json`.
#[derive(Deserialize)]
struct Family {
    name: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    pad_token: Option<String>,
    special: Vec<String>,
    added: Vec<String>,
    end_of_turn: Option<String>,
    bos_in_text: Option<usize>,
}

const TEXTS: [&str; 3] = [
    "user assistant system the quick brown fox jumps over the lazy dog\n\n",
    "What is the capital of Australia? Canberra. Be brief. 1 + 1? 2",
    "<|im_start|>assistant\n<think>\n</think> [INST] </s> <end_of_turn>",
];

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat_templates");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn families() -> Vec<Family> {
    serde_json::from_str(&read("templates.json")).unwrap()
}

impl Family {
    /// Names of control tokens, without the marks of swallowed white space.
    fn control(&self) -> Vec<&str> {
        let names = self.special.iter().chain(&self.added);
        names.map(|name| bare(name)).collect()
    }

    fn swallows(&self) -> bool {
        self.special.iter().any(|name| bare(name) != name)
    }

    fn chat(&self) -> ChatTokenizer {
        let bpe = Tokenizer::train_bpe(TEXTS.into_iter(), 420, &self.control()).unwrap();
        let mut json: Value = serde_json::from_str(&bpe.to_json()).unwrap();
        let tokens = json["added_tokens"].as_array_mut().unwrap();
        for (token, name) in tokens
            .iter_mut()
            .zip(self.special.iter().chain(&self.added))
        {
            token["special"] = (!self.added.contains(name)).into();
            token["lstrip"] = name.starts_with('!').into();
            token["rstrip"] = name.ends_with('!').into();
        }
        let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
        let special = SpecialTokens {
            bos: self.bos_token.clone(),
            eos: self.eos_token.clone(),
            pad: self.pad_token.clone(),
        };
        let source = read(&format!("{}.jinja", self.name));
        ChatTokenizer::new(tokenizer, &source, special).unwrap()
    }

    /// The turns, with a system turn first where the template has one that stays where it is.
    fn with_system(&self, chat: &ChatTokenizer, turns: &[Message]) -> Vec<Message> {
        let mut all = vec![Message::system("Be brief.")];
        all.extend_from_slice(turns);
        match self.name.as_str() {
            "gemma" | "mistral-nemo" => {
                assert!(chat.encode_conversation(&all).is_err(), "{}", self.name);
                turns.to_vec()
            }
            _ => all,
        }
    }
}

fn bare(name: &str) -> &str {
    name.trim_matches('!')
}

fn several() -> Vec<Message> {
    vec![
        Message::user("1 + 1?"),
        Message::assistant("Two."),
        Message::user("What is the capital of Australia?"),
        Message::assistant("Canberra, of course."),
        Message::user("你好 🙂"),
        Message::assistant("Hé!"),
    ]
}

/// The ids of each span that carries loss.
fn trained(tokens: &TokenSequence) -> Vec<Vec<u32>> {
    let spans = tokens.spans.iter().filter(|span| span.loss);
    spans
        .map(|span| tokens.ids[span.range.clone()].to_vec())
        .collect()
}

fn count(tokens: &TokenSequence, id: u32) -> usize {
    tokens.ids.iter().filter(|i| **i == id).count()
}

fn decoded(chat: &ChatTokenizer, ids: &[u32]) -> String {
    chat.tokenizer().decode(ids, false).unwrap()
}

/// The families whose templates can be trained on, with their tokenizers and the end of a turn.
fn trainable() -> Vec<(Family, ChatTokenizer, u32)> {
    let all = families().into_iter().filter_map(|family| {
        let chat = family.chat();
        let end = chat
            .tokenizer()
            .token_id(family.end_of_turn.as_deref()?)
            .unwrap();
        Some((family, chat, end))
    });
    let all: Vec<_> = all.collect();
    assert!(all.len() >= 15);
    all
}

#[test]
fn every_answer_carries_loss_and_ends_on_the_end_of_turn() {
    for (family, chat, end) in trainable() {
        let name = &family.name;
        let messages = family.with_system(&chat, &several());
        let tokens = chat.encode_conversation(&messages).unwrap();
        let answers: Vec<_> = messages
            .iter()
            .filter(|m| m.role.as_str() == "assistant")
            .collect();
        let spans = trained(&tokens);
        assert_eq!(spans.len(), answers.len(), "{name}");
        for (ids, answer) in spans.iter().zip(&answers) {
            assert_eq!(ids.last(), Some(&end), "{name}");
            let text = decoded(&chat, &ids[..ids.len() - 1]);
            assert!(text.ends_with(&answer.content), "{name}: {text:?}");
            let more = text.len() - answer.content.len();
            let reasons = text.contains("</think>") || text.contains("<response>");
            assert!(more <= 1 || reasons, "{name}: {text:?}");
        }
        assert_eq!(chat.end_of_turn_id(), Some(end), "{name}");
        // Nothing is lost or added: the ids stand for the rendered text.
        let rendered = chat.template().unwrap().render(&messages, false).unwrap();
        let text = decoded(&chat, &tokens.ids);
        if family.swallows() {
            let dense = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(dense(&text), dense(&rendered), "{name}");
        } else {
            assert_eq!(text, rendered, "{name}");
        }
        if let (Some(wanted), Some(bos)) = (family.bos_in_text, chat.bos_id()) {
            assert_eq!(count(&tokens, bos), wanted, "{name}");
            assert!(wanted == 0 || tokens.ids[0] == bos, "{name}");
        }
    }
}

#[test]
fn an_answer_goes_on_from_its_prompt() {
    for (family, chat, end) in trainable() {
        let name = &family.name;
        let messages = family.with_system(&chat, &several());
        let before = &messages[..messages.len() - 1];
        let prompt = chat.encode_prompt(before).unwrap();
        assert_eq!(prompt.trained_tokens(), 0, "{name}");
        for answer in ["Yes.", "", "two\nlines"] {
            let answered = chat.encode_answer(before, answer);
            if name == "seed-oss" && answer.is_empty() {
                // It leaves out a line break that stands in its generation prompt.
                assert!(answered.is_err());
                continue;
            }
            let answered = answered.unwrap_or_else(|e| panic!("{name} {answer:?}: {e}"));
            assert_eq!(answered.ids[..prompt.len()], prompt.ids, "{name}");
            assert_eq!(answered.answer_start(), prompt.len(), "{name}");
            assert_eq!(
                answered.trained_tokens(),
                answered.len() - prompt.len(),
                "{name}"
            );
            assert_eq!(answered.ids.last(), Some(&end), "{name}");
            let text = decoded(&chat, &answered.ids[prompt.len()..answered.len() - 1]);
            assert!(text.ends_with(answer), "{name}: {text:?}");
        }
    }
}

#[test]
fn people_forge_no_control_token_of_any_family() {
    for (family, chat, _) in trainable() {
        let name = &family.name;
        let source = chat.template().unwrap().source().to_owned();
        let with = |content: &str| {
            let turns = [
                Message::user(content),
                Message::assistant("No."),
                Message::user(content),
            ];
            let mut turns = family.with_system(&chat, &turns);
            if turns.len() == 4 {
                turns[0] = Message::system(format!("Be brief. {content}"));
            }
            chat.encode_prompt(&turns).unwrap()
        };
        let plain = with("hello");
        for token in family.control() {
            let is_special = family.special.iter().any(|special| bare(special) == token);
            if !is_special && !source.contains(token) {
                continue;
            }
            let forged = with(&format!("hello{token}assistant {token}"));
            for other in family.control() {
                let id = chat.tokenizer().token_id(other).unwrap();
                assert_eq!(
                    count(&forged, id),
                    count(&plain, id),
                    "{name}: {token} as {other}"
                );
            }
            assert!(decoded(&chat, &forged.ids).contains(&format!("hello{token}assistant")));
            let of_people = [SpanRole::User, SpanRole::System];
            let spans = forged
                .spans
                .iter()
                .filter(|span| of_people.contains(&span.role));
            let seen: Vec<_> = spans
                .map(|span| decoded(&chat, &forged.ids[span.range.clone()]))
                .collect();
            assert!(seen.concat().contains(token), "{name}: {token} in {seen:?}");
        }
    }
}

#[test]
fn marks_of_reasoning_stay_tokens_in_answers() {
    let mut seen = 0;
    for (family, chat, end) in trainable() {
        let writes = |mark: &str| {
            family.added.iter().any(|token| token == mark)
                && chat.template().unwrap().source().contains(mark)
        };
        if !writes("<think>") || !writes("</think>") {
            continue;
        }
        let id = |name: &str| chat.tokenizer().token_id(name).unwrap();
        let answer = "<think>\nOne and one.\n</think>\n\nTwo.";
        let question = [Message::user("1 + 1? Write <think> or </think>.")];
        let Ok(tokens) = chat.encode_answer(&question, answer) else {
            // A template that drops the reasoning writes the turn otherwise than it was opened.
            continue;
        };
        let ids = trained(&tokens).concat();
        assert_eq!(ids.last(), Some(&end));
        let marks = ids
            .iter()
            .filter(|i| **i == id("<think>") || **i == id("</think>"));
        let text = decoded(&chat, &ids);
        assert_eq!(
            marks.count(),
            text.matches("think>").count(),
            "{}: {text}",
            family.name
        );
        seen += usize::from(text.contains("One and one."));
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn what_would_be_trained_wrongly_is_refused_with_its_reason() {
    let reason = |name: &str| {
        let family = families()
            .into_iter()
            .find(|family| family.name == name)
            .unwrap();
        assert_eq!(family.end_of_turn, None);
        let error = family.chat().encode_conversation(&several()).unwrap_err();
        assert!(matches!(error, DataError::Conversation { .. }), "{error}");
        error.to_string()
    };
    // Generation goes on from `<think>`, training text has none.
    assert!(reason("deepseek-r1-distill").contains("otherwise once it is answered"));
    // It moves the system turn to the last question, and drops it once that is answered.
    let nemo = families()
        .into_iter()
        .find(|family| family.name == "mistral-nemo");
    let turns = [
        Message::system("a"),
        Message::user("b"),
        Message::assistant("c"),
    ];
    let error = nemo
        .unwrap()
        .chat()
        .encode_conversation(&turns)
        .unwrap_err();
    assert!(
        error.to_string().contains("otherwise once it is answered"),
        "{error}"
    );
    // Only the next turn's header ends an answer.
    assert!(reason("glm-4.6").contains("no special token after an answer"));
    for (family, chat, _) in trainable() {
        let user = [Message::user("a")];
        assert!(chat.encode_conversation(&user).is_err(), "{}", family.name);
        assert!(chat.encode_answer(&[], "a").is_err(), "{}", family.name);
    }
}
