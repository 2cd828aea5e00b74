//! `score`.

use crate::program::rlhf;
use crate::tiny_model::{language_model, reward_model};
use serde_json::Value;
use std::fs;

#[test]
fn what_generate_writes_is_scored_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (model, reward) = (language_model(dir.path()), reward_model(dir.path()));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (prompts, answers, scored) = (path("p.jsonl"), path("a.jsonl"), path("s.jsonl"));
    fs::write(
        &prompts,
        "{\"prompt\": \"the cat\", \"id\": 7}\n{\"prompt\": \"sat\"}\n",
    )
    .unwrap();
    let (model, reward) = (model.to_str().unwrap(), reward.to_str().unwrap());
    let args = [
        "generate",
        "--model",
        model,
        "--prompts",
        &prompts,
        "--out",
        &answers,
    ];
    rlhf(&[&args[..], &["--max-new-tokens", "5"]].concat()).succeeded();
    let args = ["score", "--reward", reward, "--data", &answers];
    let found = rlhf(&[&args[..], &["--out", &scored, "--json", "--quiet"]].concat()).succeeded();
    let summary = &found.json_lines()[0];
    assert_eq!(summary["rows"], 2);
    let rows: Vec<Value> = fs::read_to_string(&scored)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows[0]["id"], 7);
    assert!(rows[0]["tokens"].is_array() && rows[0]["finish"].is_string());
    let mean = (rows[0]["reward"].as_f64().unwrap() + rows[1]["reward"].as_f64().unwrap()) / 2.0;
    assert!((summary["mean_reward"].as_f64().unwrap() - mean).abs() < 1e-9);
    let printed = rlhf(&args).succeeded();
    assert_eq!(printed.json_lines(), rows, "rows alone stand on stdout");
    assert!(
        printed.stderr.contains("2 rows, mean reward"),
        "{}",
        printed.stderr
    );
}

#[test]
fn a_pair_gets_two_rewards_and_the_accuracy_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let reward = reward_model(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (pairs, flipped, out) = (path("p.jsonl"), path("f.jsonl"), path("o.jsonl"));
    let row = |chosen: &str, rejected: &str| {
        format!("{{\"prompt\": \"the\", \"chosen\": \"{chosen}\", \"rejected\": \"{rejected}\"}}\n")
    };
    fs::write(&pairs, row("cat", "sat") + &row("cat cat", "the")).unwrap();
    fs::write(&flipped, row("sat", "cat") + &row("the", "cat cat")).unwrap();
    let score = |file: &str, more: &[&str]| {
        let args = [
            "score",
            "--reward",
            reward.to_str().unwrap(),
            "--quiet",
            "--data",
            file,
        ];
        rlhf(&[&args[..], more].concat())
    };
    let accuracy = |file: &str| {
        let found = score(file, &["--out", &out, "--json"]).succeeded();
        found.json_lines()[0]["accuracy"].clone()
    };
    let (there, back) = (accuracy(&pairs), accuracy(&flipped));
    assert_eq!(there["n"], 2);
    let sum = there["value"].as_f64().unwrap() + back["value"].as_f64().unwrap();
    assert!((sum - 1.0).abs() < 1e-9, "no ties here: {there} {back}");
    let rows = score(&pairs, &[]).succeeded().json_lines();
    assert!(rows[1]["chosen_reward"].is_number() && rows[1]["rejected_reward"].is_number());
    let swapped = score(&flipped, &[]).succeeded().json_lines();
    assert_eq!(rows[0]["chosen_reward"], swapped[0]["rejected_reward"]);
    let text = score(&pairs, &["--out", &out]).succeeded().stdout;
    assert!(text.contains("accuracy"), "{text}");
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (model, reward) = (language_model(dir.path()), reward_model(dir.path()));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (texts, alien, long) = (path("t.jsonl"), path("alien.jsonl"), path("long.jsonl"));
    fs::write(&texts, "{\"text\": \"a\"}\n").unwrap();
    fs::write(
        &alien,
        "{\"prompt\": \"a\", \"response\": \"b\", \"tokens\": [5, 99999]}\n",
    )
    .unwrap();
    let answer = "xyz ".repeat(60);
    fs::write(
        &long,
        format!("{{\"prompt\": \"a\", \"response\": \"{answer}\"}}\n"),
    )
    .unwrap();
    let score = |reward: &str, file: &str| rlhf(&["score", "--reward", reward, "--data", file]);
    let good = reward.to_str().unwrap();
    score(good, &texts).refused(&["t.jsonl", "text"]);
    score(good, &alien).refused(&["alien.jsonl:1", "99999"]);
    score(good, &long).refused(&["long.jsonl:1"]);
    score(good, &path("gone.jsonl")).refused(&["gone.jsonl"]);
    let mixed = path("mixed.jsonl");
    let rows = [
        "{\"prompt\": \"a\", \"response\": \"b\"}\n",
        "{\"prompt\": 1}\n",
    ]
    .concat();
    let all = [
        fs::read_to_string(&alien).unwrap(),
        rows,
        fs::read_to_string(&long).unwrap(),
    ];
    fs::write(&mixed, all.concat()).unwrap();
    let skip = ["--on-bad-row", "skip"];
    let some = ["score", "--reward", good, "--data", &mixed];
    let scored = rlhf(&[&some[..], &skip].concat()).succeeded();
    assert!(
        scored.stderr.contains("3 rows can't be used"),
        "{}",
        scored.stderr
    );
    let scored = scored.json_lines();
    assert_eq!(
        (scored.len(), &scored[0]["response"]),
        (1, &Value::from("b"))
    );
    let none = ["score", "--reward", good, "--data", &alien];
    rlhf(&[&none[..], &skip].concat()).refused(&["alien.jsonl", "skipped"]);
    score(&path("none"), &alien).refused(&["--reward", "none"]);
    let model = model.to_str().unwrap();
    score(model, &texts).refused(&[model]);
}
