//! The chat templates of real model families against the text that transformers renders
//! (`chat_templates/reference.json`, written by `tools/chat-template-reference`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use rlhf_data::{ChatTemplate, DataError};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A line of `templates.json`.
#[derive(Deserialize)]
struct Family {
    name: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    pad_token: Option<String>,
    unk_token: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    now: u64,
    dates: Vec<Date>,
    t: String,
    d: Value,
    snippets: Vec<Snippet>,
    conversations: BTreeMap<String, Vec<Map<String, Value>>>,
    cases: BTreeMap<String, Vec<Case>>,
}

#[derive(Deserialize)]
struct Date {
    format: String,
    text: String,
}

#[derive(Deserialize)]
struct Snippet {
    source: String,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Deserialize)]
struct Case {
    conversation: String,
    variables: Map<String, Value>,
    generation: bool,
    #[serde(flatten)]
    wanted: Wanted,
}

/// One of the three.
#[derive(Deserialize)]
struct Wanted {
    /// What was rendered.
    text: Option<String>,
    /// What the template said when it refused.
    refused: Option<String>,
    /// The name of any other Python exception.
    error: Option<String>,
}

fn folder() -> PathBuf {
    std::env::var_os("RLHF_CHAT_TEMPLATES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat_templates"),
        PathBuf::from,
    )
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

fn template(family: &Family) -> ChatTemplate {
    let named = [
        ("bos_token", &family.bos_token),
        ("eos_token", &family.eos_token),
        ("pad_token", &family.pad_token),
        ("unk_token", &family.unk_token),
    ];
    let tokens = named.iter().filter_map(|(k, v)| Some((*k, v.as_deref()?)));
    ChatTemplate::with_tokens(&read(&format!("{}.jinja", family.name)), tokens).unwrap()
}

/// What differs, if anything does.
fn difference(wanted: &Wanted, found: Result<String, DataError>) -> Option<String> {
    let found = found.map_err(|e| e.to_string());
    match (&wanted.text, &wanted.refused, &wanted.error, &found) {
        (Some(wanted), _, _, Ok(text)) if text == wanted => None,
        (_, Some(message), _, Err(error)) if error.contains(message.as_str()) => None,
        (_, _, Some(_), Err(_)) => None,
        (text, refused, error, _) => {
            let wanted = text.as_ref().or(refused.as_ref()).or(error.as_ref());
            Some(format!("wanted {wanted:?}\n found {found:?}"))
        }
    }
}

#[test]
fn golden_templates_render_as_transformers_does() {
    let reference: Reference = serde_json::from_str(&read("reference.json")).unwrap();
    let families: Vec<Family> = serde_json::from_str(&read("templates.json")).unwrap();
    let (mut cases, mut wrong) = (0, Vec::new());
    for family in &families {
        let template = template(family).frozen_at(reference.now);
        for case in &reference.cases[&family.name] {
            let turns = &reference.conversations[&case.conversation];
            let found = template.render_turns(turns, case.generation, &case.variables);
            if let Some(difference) = difference(&case.wanted, found) {
                let Case {
                    conversation,
                    variables,
                    generation,
                    ..
                } = case;
                wrong.push(format!(
                    "{} {conversation} {variables:?} generation {generation}: {difference}",
                    family.name
                ));
            }
            cases += 1;
        }
    }
    println!("{cases} cases of {} templates", families.len());
    assert!(cases >= 500 && families.len() >= 8);
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn golden_snippets_behave_as_in_python() {
    let reference: Reference = serde_json::from_str(&read("reference.json")).unwrap();
    let tokens = [
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
    ];
    let mut variables = Map::new();
    variables.insert("t".into(), reference.t.into());
    variables.insert("d".into(), reference.d);
    let (mut cases, mut wrong) = (0, Vec::new());
    for Snippet { source, wanted } in &reference.snippets {
        let found = ChatTemplate::with_tokens(source, tokens).and_then(|template| {
            let turns = &reference.conversations["several"];
            template
                .frozen_at(reference.now)
                .render_turns(turns, false, &variables)
        });
        if let Some(difference) = difference(wanted, found) {
            wrong.push(format!("{source}\n {difference}"));
        }
        cases += 1;
    }
    for Date { format, text } in &reference.dates {
        let template = ChatTemplate::new("{{ strftime_now(f) }}", None, None).unwrap();
        let mut variables = Map::new();
        variables.insert("f".into(), format.as_str().into());
        let found = template
            .frozen_at(reference.now)
            .render_turns(&[], false, &variables)
            .unwrap();
        assert_eq!(&found, text);
        cases += 1;
    }
    println!("{cases} cases");
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
