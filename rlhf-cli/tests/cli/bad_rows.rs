//! Stages on files with rows that can't be used.

use crate::program::rlhf;
use crate::tiny_model::language_model;
use std::fs;

/// Settings that make a stage of a moment.
const BRIEF: [&str; 10] = [
    "--set",
    "sft.steps=2",
    "--set",
    "sft.batch_size=2",
    "--set",
    "sft.evaluate_every=1",
    "--set",
    "sft.max_length=32",
    "--set",
    "sft.warmup_steps=1",
];

#[test]
fn a_bad_row_stops_a_stage_unless_it_may_be_skipped_and_no_text_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let data = path("rows.jsonl");
    let good = "{\"instruction\": \"the cat\", \"output\": \"sat\"}\n".repeat(4);
    let empty = "{\"instruction\": \"the cat\", \"output\": \"\"}\n";
    let long = format!(
        "{{\"instruction\": \"the\", \"output\": \"{}\"}}\n",
        "q".repeat(200)
    );
    fs::write(&data, format!("{good}{empty}{long}")).unwrap();
    let out = path("sft");
    let args = [
        "sft",
        "--model",
        model.to_str().unwrap(),
        "--data",
        &data,
        "--out",
        &out,
    ];

    let stopped = rlhf(&[&args[..], &BRIEF].concat());
    assert_eq!(stopped.code, 2, "{}", stopped.stderr);
    assert!(
        stopped.stderr.contains("rows.jsonl:5"),
        "{}",
        stopped.stderr
    );

    let skipped = rlhf(&[&args[..], &BRIEF, &["--on-bad-row", "skip"]].concat()).succeeded();
    assert!(
        skipped.stderr.contains("2 rows can't be used"),
        "{}",
        skipped.stderr
    );
    assert!(dir.path().join("sft/model/model.safetensors").exists());
}

#[test]
fn files_are_mixed_by_weight_under_the_names_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let model = model.to_str().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let rows = |n: usize, text: &str| -> String {
        let row = |i| format!("{{\"q\": \"the cat {i}\", \"output\": \"{text}\"}}\n");
        (0..n).map(row).collect()
    };
    fs::write(path("a.jsonl"), rows(6, "sat")).unwrap();
    fs::write(path("b.jsonl"), rows(8, "ran")).unwrap();
    let out = path("sft");
    let args = |weighted: &str| -> Vec<String> {
        let (a, b) = (path(weighted), path("b.jsonl:0.5"));
        let args = ["sft", "--model", model, "--data", &a, &b, "--out", &out];
        let map = ["--map", "instruction=q"];
        let all = args.into_iter().chain(map).chain(BRIEF);
        all.map(str::to_owned).collect()
    };
    let run = |args: &[String]| rlhf(&args.iter().map(String::as_str).collect::<Vec<_>>());
    run(&args("a.jsonl:2")).succeeded();
    let again = run(&args("a.jsonl:2")).succeeded();
    assert!(again.stderr.contains("already done"), "{}", again.stderr);
    run(&args("a.jsonl:3")).refused(&["other settings or inputs"]);
    run(&args("a.jsonl:-3")).refused(&["a weight above 0"]);
    let prompts = path("a.jsonl:2");
    rlhf(&["generate", "--model", model, "--prompts", &prompts]).refused(&["no meaning"]);

    // What another stage needs is said, with what the file is good for.
    let labelled = path("kto.jsonl");
    fs::write(
        &labelled,
        "{\"prompt\": \"p\", \"completion\": \"c\", \"label\": true}\n",
    )
    .unwrap();
    let out = path("other");
    let args = ["sft", "--model", model, "--data", &labelled, "--out", &out];
    rlhf(&args).refused(&["format `kto`", "instruction, prompt-completion"]);
}

#[test]
fn rows_that_the_template_or_the_length_rules_out_are_named_or_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let config = fs::read_to_string(model.join("tokenizer_config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let refusing =
        "{% if messages[0].content == 'no' %}{{ raise_exception('not that') }}{% endif %}";
    let template = refusing.to_owned() + config["chat_template"].as_str().unwrap();
    fs::write(model.join("chat_template.jinja"), template).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let data = path("rows.jsonl");
    let row = |prompt: &str, answer: &str| {
        serde_json::json!({"instruction": prompt, "output": answer}).to_string() + "\n"
    };
    // 30 letters, the end token and a line break fill sft.max_length.
    let (good, refused, full) = (
        row("the", "cat"),
        row("no", "cat"),
        row("the", &"q".repeat(30)),
    );
    let train = |rows: &str, out: &str, more: &[&str]| {
        fs::write(&data, rows).unwrap();
        let model = model.to_str().unwrap();
        let out = path(out);
        let args = ["sft", "--model", model, "--data", &data, "--out", &out];
        rlhf(&[&args[..], &BRIEF, more].concat())
    };
    train(&(good.clone() + &refused), "a", &[]).refused(&["demonstration 2: ", "not that"]);
    train(&(good.clone() + &full), "b", &[]).refused(&["demonstration 2: ", "carries loss"]);
    let skip = ["--on-bad-row", "skip"];
    let skipped = train(&(good.repeat(4) + &refused + &full), "c", &skip).succeeded();
    assert!(
        skipped.stderr.contains("2 rows can't be used"),
        "{}",
        skipped.stderr
    );
    train(&refused, "d", &skip).refused(&["demonstration 1: ", "not that"]);
}
