//! `data show`: what each token is, in marks, in colours and as JSON.

use crate::program::{Finished, rlhf, rlhf_with};
use crate::tiny_model::language_model;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

struct Place {
    dir: tempfile::TempDir,
    model: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let model = language_model(dir.path()).to_str().unwrap().to_owned();
        Self { dir, model }
    }

    fn file(&self, rows: &[Value]) -> String {
        let path = self.dir.path().join("rows.jsonl");
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(&path, lines).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn show(&self, rows: &[Value], options: &[&str]) -> Finished {
        let file = self.file(rows);
        rlhf(
            &[
                &["data", "show", &file, "--model", &self.model][..],
                options,
            ]
            .concat(),
        )
    }
}

fn instruction(text: &str) -> Value {
    json!({"instruction": text, "output": "sat"})
}

fn pair() -> Value {
    json!({"prompt": "the cat", "chosen": "sat", "rejected": "the cat sat"})
}

/// The ids that a row's spans hold together, which are the row's own.
fn ids(part: &Value) -> Vec<u64> {
    let spans = part["spans"].as_array().unwrap();
    let of = |span: &Value| -> Vec<u64> { serde_json::from_value(span["ids"].clone()).unwrap() };
    let ids: Vec<u64> = spans.iter().flat_map(of).collect();
    assert_eq!(json!(ids), part["ids"]);
    assert_eq!(json!(ids.len()), part["tokens"]);
    ids
}

#[test]
fn marks_say_what_colours_say() {
    let place = Place::new();
    let rows = [instruction("<|end|>ˢ\\"), instruction("the cat the cat")];
    let found = place.show(&rows, &[]).succeeded();
    let lines: Vec<&str> = found.stdout.lines().collect();
    let file = place.file(&rows);
    let heading = |line: usize| format!("{file}:{line} row {line}, instruction: ");
    assert!(lines[0].starts_with(&heading(1)), "{}", found.stdout);
    assert_eq!(lines[1], "    control  <|start|>ˢuser\\n");
    // What is typed is told from the token that it spells.
    assert_eq!(lines[2], "       user  <|end|>\\u{2e2}\\\\");
    assert_eq!(lines[3], "    control  <|end|>ˢ\\n<|start|>ˢassistant\\n");
    assert!(
        found.stdout.contains("  assistant* sat<|end|>ˢ"),
        "{}",
        found.stdout
    );
    assert_eq!(
        found.stdout.matches("    padding  ").count(),
        1,
        "{}",
        found.stdout
    );
    assert!(lines.last().unwrap().starts_with("legend: "));
    assert!(!found.stdout.contains('\u{1b}'));

    let args = ["data", "show", &file, "--model", &place.model];
    let forced = rlhf_with(&args, "", &[("CLICOLOR_FORCE", "1")]).succeeded();
    assert!(
        forced.stdout.contains("\u{1b}[36m<|end|>"),
        "{}",
        forced.stdout
    );
    assert!(
        forced
            .stdout
            .contains("\u{1b}[1;4;32msat\u{1b}[0m\u{1b}[7;1;4;32m<|end|>")
    );
    assert!(!forced.stdout.contains("<|end|>ˢ") && forced.stdout.contains("legend: "));
    let never = [("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")];
    assert_eq!(rlhf_with(&args, "", &never).stdout, found.stdout);
    let quiet = place.show(&rows, &["--quiet"]).succeeded();
    assert!(!quiet.stdout.contains("legend"));
}

#[test]
fn rows_of_every_purpose_are_shown() {
    let place = Place::new();
    let whole = place
        .show(&[pair()], &["--json"])
        .succeeded()
        .json_lines()
        .remove(0);
    let (chosen, rejected) = (&whole["chosen"], &whole["rejected"]);
    let shared = ids(chosen)
        .iter()
        .zip(ids(rejected))
        .take_while(|(a, b)| **a == *b)
        .count();
    assert!(shared >= 8, "{whole}");
    let padding = ids(rejected).len() - ids(chosen).len();
    assert_eq!(
        (&chosen["padding"], &rejected["padding"]),
        (&json!(padding), &json!(0))
    );
    let answer = chosen["spans"].as_array().unwrap().last().unwrap();
    assert_eq!(answer["text"], "sat<|end|>");
    assert_eq!(
        (&answer["loss"], &answer["role"]),
        (&json!(true), &json!("assistant"))
    );
    assert_eq!(answer["special"], json!([ids(chosen).last()]));

    let one = |row: Value| {
        let found = place
            .show(&[row], &["--json"])
            .succeeded()
            .json_lines()
            .remove(0);
        assert_eq!((&found["line"], &found["row"]), (&json!(1), &json!(1)));
        ids(&found);
        found
    };
    let prompt = one(json!({"prompt": "the cat"}));
    assert_eq!(
        (&prompt["part"], &prompt["trained"]),
        (&json!("prompt"), &json!(0))
    );
    let text = one(json!({"text": "the cat"}));
    assert_eq!(text["part"], "text");
    assert_eq!(text["spans"][0]["text"], "<|bos|>");
    // Generated ids stay as they are: letter by letter, as no text is encoded.
    let letters = "the".bytes().map(|b| {
        let found = one(json!({"text": (b as char).to_string()}));
        found["ids"][1].as_u64().unwrap()
    });
    let letters: Vec<u64> = letters.collect();
    let response = one(json!({"prompt": "a", "response": "the", "tokens": letters}));
    assert!(ids(&response).ends_with(&letters), "{response}");
    let turns = json!({"messages": [
        {"role": "user", "content": "the"}, {"role": "assistant", "content": "cat"},
        {"role": "user", "content": "the"}, {"role": "assistant", "content": "sat"},
    ]});
    let spans = one(turns)["spans"].clone();
    let trained = spans
        .as_array()
        .unwrap()
        .iter()
        .filter(|span| span["loss"] == true);
    let trained: Vec<&Value> = trained.map(|span| &span["text"]).collect();
    assert_eq!(trained, ["cat<|end|>", "sat<|end|>"]);
}

#[test]
fn rows_are_cut_as_the_stages_cut_them() {
    let place = Place::new();
    let long = place
        .show(&[pair()], &["--json"])
        .succeeded()
        .json_lines()
        .remove(0);
    let length = ids(&long["rejected"]).len() - 2;
    let options = ["--json", "--max-length", &length.to_string()];
    let cut = place
        .show(&[pair()], &options)
        .succeeded()
        .json_lines()
        .remove(0);
    for answer in ["chosen", "rejected"] {
        // The same start is dropped from both, the answer stays whole.
        assert_eq!(cut[answer]["cut"], 2, "{cut}");
        assert_eq!(ids(&cut[answer]), ids(&long[answer])[2..]);
    }
    let marked = place
        .show(&[pair()], &["--max-length", &length.to_string()])
        .succeeded();
    assert!(
        marked.stdout.contains("2 cut off at the start"),
        "{}",
        marked.stdout
    );
    assert!(
        marked.stdout.contains("    control- <|start|>ˢ"),
        "{}",
        marked.stdout
    );

    let text = json!({"text": "the cat sat the cat sat"});
    let whole = place
        .show(std::slice::from_ref(&text), &["--json"])
        .succeeded()
        .json_lines()
        .remove(0);
    let cut = place
        .show(&[text], &["--json", "--max-length", "4"])
        .succeeded()
        .json_lines();
    let pieces = cut[0]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("text "));
    let joined: Vec<u64> = pieces.flat_map(|(_, piece)| ids(piece)).collect();
    assert_eq!(joined, ids(&whole));
}

#[test]
fn rows_are_chosen_and_unusable_ones_are_named() {
    let place = Place::new();
    let rows = [instruction("a"), instruction("b"), instruction("c")];
    let found = place
        .show(&rows, &["--json", "--from", "2", "--rows", "1"])
        .succeeded();
    let lines = found.json_lines();
    assert_eq!((lines.len(), &lines[0]["row"]), (1, &json!(2)));
    place
        .show(&rows, &["--from", "4"])
        .refused(&["--from 4 of 3 rows"]);
    place
        .show(&rows, &["--from", "0"])
        .refused_by_parser("--from");
    place
        .show(&rows, &["--max-length", "0"])
        .refused_by_parser("--max-length");

    let long = json!({"instruction": "a", "output": "the cat sat the cat sat the cat sat"});
    let rows = [instruction("a"), long, instruction("c")];
    let found = place.show(&rows, &["--max-length", "7"]);
    let file = place.file(&rows);
    found.refused(&["1 of 3 rows", &format!("{file}:2: "), "the answer has"]);
    assert_eq!(
        found.stdout.matches("trained on,").count(),
        2,
        "{}",
        found.stdout
    );
    let found = place.show(&rows, &["--max-length", "4", "--rows", "1"]);
    found.refused(&[":1: ", "its first token carries loss"]);
    let found = place.show(&rows, &["--max-length", "7", "--json"]);
    assert!(
        found.json_lines()[1]["bad"]
            .as_str()
            .unwrap()
            .contains("the answer has")
    );
}

#[test]
fn models_of_many_families_are_shown_as_transformers_encodes_them() {
    let place = Place::new();
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rlhf-golden/reference/models");
    let mut shown = 0;
    for entry in fs::read_dir(models).unwrap() {
        let model: PathBuf = entry.unwrap().path();
        let golden: Value =
            serde_json::from_slice(&fs::read(model.join("golden.json")).unwrap()).unwrap();
        let Some(chat) = golden.get("chat").filter(|chat| chat.is_object()) else {
            continue;
        };
        let file = place.file(&[json!({"messages": chat["messages"]})]);
        let args = [
            "data",
            "show",
            &file,
            "--json",
            "--model",
            model.to_str().unwrap(),
        ];
        let found = rlhf(&args).succeeded().json_lines().remove(0);
        assert_eq!(found["ids"], chat["ids"], "{}", model.display());
        let masked = chat["assistant_mask"].as_array().unwrap().iter();
        let trained = masked.filter(|mask| **mask == 1).count();
        assert_eq!(found["trained"], trained, "{}", model.display());
        shown += 1;
    }
    assert!(shown >= 5, "{shown}");
}
