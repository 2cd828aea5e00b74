//! `data check`, `data show`, `data world`.

use crate::program::{rlhf, rlhf_with};
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
    let first = format!("{good}: format text, 2 rows\n");
    assert!(found.stdout.starts_with(&first), "{}", found.stdout);
    assert!(found.stderr.is_empty());
    let found = rlhf(&["data", "check", &good, "--json"]).succeeded();
    let [report] = &found.json_lines()[..] else {
        panic!("one object a file: {}", found.stdout)
    };
    let wanted = serde_json::json!({"file": good, "format": "text", "rows": 2, "bad": []});
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(&report[key], value, "{key}");
    }

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
fn data_check_reads_tables_folders_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let table = "question,better,worse\nWhy?,Because.,No.\nWho?,\"She, I think.\",He.\n";
    fs::write(at("pairs.csv"), table).unwrap();
    fs::write(at("test.jsonl"), "{\"prompt\": \"why\"}\n").unwrap();
    fs::write(at("notes.md"), "no data").unwrap();
    let maps = [
        "--map",
        "prompt=question",
        "--map",
        "chosen=better",
        "--map",
        "rejected=worse",
    ];
    let folder = dir.path().to_str().unwrap();

    let found = rlhf(&[&["data", "check", folder, "--max-length", "10"][..], &maps].concat());
    let found = found.succeeded();
    for words in [
        "pairs.csv: format preference, 2 rows",
        "longer than 10: 1 rows lose the start of their prompt, 1 can't be used",
        "test.jsonl: 0 rows as they are, 0 but for case and punctuation, 1 prompts",
        "test.jsonl: format prompt, 1 rows",
        "letters by script: Latin 100.0 %",
    ] {
        assert!(found.stdout.contains(words), "{words}\n{}", found.stdout);
    }
    assert!(!found.stdout.contains("notes.md"), "{}", found.stdout);

    let piped = rlhf_with(
        &[&["data", "check", "-", "--json"][..], &maps].concat(),
        table,
        &[],
    );
    let report = &piped.succeeded().json_lines()[0];
    assert_eq!(
        (&report["file"], &report["rows"]),
        (&"stdin".into(), &2.into())
    );
    assert_eq!(report["lengths"]["unit"], "characters");

    let model = language_model(dir.path());
    let model = model.to_str().unwrap();
    let found = rlhf(&[
        "data",
        "check",
        &at("test.jsonl"),
        "--model",
        model,
        "--json",
    ]);
    assert_eq!(
        found.succeeded().json_lines()[0]["lengths"]["unit"],
        "tokens"
    );

    rlhf(&["data", "check", &at("pairs.csv")]).refused(&["1 of 1 files"]);
    let slips: [(&[&str], &str); 5] = [
        (
            &["--map", "promt=question"],
            "no format has a field `promt`",
        ),
        (
            &["--map", "prompt=questions"],
            "no row has a field `questions`",
        ),
        (&["--map", "prompt"], "NAME=FIELD is wanted"),
        (&[&at("no*.csv")], "no file has a name of this pattern"),
        (
            &[&format!("{}:2", at("test.jsonl"))],
            "a weight has no meaning",
        ),
    ];
    for (slip, words) in slips {
        rlhf(&[&["data", "check", &at("pairs.csv")][..], slip].concat()).refused(&[words]);
    }
}

#[test]
fn every_real_file_is_recognised_without_an_option() {
    let Some(folder) = std::env::var_os("RLHF_REAL_DATA") else {
        println!("skipped: RLHF_REAL_DATA is not set");
        return;
    };
    let found = rlhf(&["data", "check", "--json", folder.to_str().unwrap()]);
    assert_eq!(found.code, 2, "some of them hold bad rows");
    let reports = found.json_lines();
    assert!(reports.len() >= 20);
    for report in reports {
        assert!(report["format"].is_string(), "{}", report["file"]);
    }
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
