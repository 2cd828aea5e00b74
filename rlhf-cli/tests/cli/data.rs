//! `data check`, `data show`, `data world`.

use crate::program::rlhf;
use crate::tiny_model::language_model;
use std::fs;

#[test]
fn data_check_counts_rows_and_names_the_bad_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (good, bad, odd) = (path("good.jsonl"), path("bad.jsonl"), path("odd.jsonl"));
    fs::write(&good, "{\"text\": \"a\"}\n{\"text\": \"b\"}\n").unwrap();
    let pair = "{\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\"}\n";
    fs::write(
        &bad,
        format!("{pair}{{\"prompt\": \"p\", \"chosen\": \"a\"}}\n"),
    )
    .unwrap();
    fs::write(&odd, "{\"colour\": \"red\"}\n").unwrap();

    let found = rlhf(&["data", "check", &good]).succeeded();
    assert_eq!(found.stdout, format!("{good}: format text, 2 rows\n"));
    assert!(found.stderr.is_empty());
    let found = rlhf(&["data", "check", &good, "--json"]).succeeded();
    let wanted = serde_json::json!({"file": good, "format": "text", "rows": 2, "bad": []});
    assert_eq!(found.json_lines(), [wanted]);

    let found = rlhf(&["data", "check", &bad, &good]);
    found.refused(&["1 of 2 files"]);
    assert!(
        found
            .stdout
            .contains(&format!("{bad}:2: field `rejected`: ")),
        "{}",
        found.stdout
    );
    let found = rlhf(&["data", "check", "--json", &bad, &odd, &path("none"), &good]);
    found.refused(&["3 of 4 files"]);
    let lines = found.json_lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        (&lines[0]["rows"], &lines[0]["bad"][0]["line"]),
        (&1.into(), &2.into())
    );
    assert_eq!(lines[0]["bad"][0]["field"], "rejected");
    assert!(lines[1]["format"].is_null() && lines[2]["format"].is_null());
    assert!(
        lines[2]["bad"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("can't be read")
    );
}

#[test]
fn data_show_says_of_every_span_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let file = dir.path().join("a.jsonl");
    fs::write(
        &file,
        "{\"instruction\": \"the \\u001b[31mcat\", \"output\": \"sat\"}\n",
    )
    .unwrap();
    let (model, file) = (model.to_str().unwrap(), file.to_str().unwrap());
    let found = rlhf(&["data", "show", file, "--model", model]).succeeded();
    assert!(
        found.stdout.contains("user  the \\u{1b}[31mcat"),
        "{}",
        found.stdout
    );
    assert!(
        found.stdout.contains("assistant* sat<|end|>"),
        "{}",
        found.stdout
    );
    assert!(
        !found.stdout.contains('\u{1b}'),
        "no colours but on a terminal"
    );
    let found = rlhf(&["data", "show", file, "--model", model, "--json"]).succeeded();
    let row = &found.json_lines()[0];
    let spans = row["spans"].as_array().unwrap();
    assert!(
        spans
            .iter()
            .any(|s| s["role"] == "assistant" && s["loss"] == true),
        "{row}"
    );
    rlhf(&["data", "show", "gone.jsonl", "--model", model]).refused(&["gone.jsonl"]);
    rlhf(&["data", "show", file, "--model", "gone"]).refused(&["gone"]);
}

#[test]
fn data_world_writes_files_that_data_check_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("world");
    let out = out.to_str().unwrap();
    let size = [
        "--set",
        "world.documents=50",
        "--set",
        "world.demonstrations=20",
    ];
    let args = [&["data", "world", "--out", out, "--quiet"][..], &size].concat();
    let found = rlhf(&args).succeeded();
    let rows: Vec<&str> = found
        .stdout
        .lines()
        .filter(|l| l.ends_with(".jsonl"))
        .collect();
    assert!(rows.len() >= 4, "{}", found.stdout);
    let checked = rlhf(&[&["data", "check", "--json"][..], &rows].concat()).succeeded();
    assert!(
        checked
            .json_lines()
            .iter()
            .all(|file| file["rows"].as_u64() > Some(0))
    );
    let bad = [
        &["data", "world", "--out", out][..],
        &["--set", "world.forum_share=2"],
    ]
    .concat();
    rlhf(&bad).refused(&["world.forum_share"]);
    let file = format!("{out}/gold.json/world");
    rlhf(&[&["data", "world", "--out", &file][..], &size].concat()).refused(&["gold.json"]);
}
