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
