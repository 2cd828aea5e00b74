//! Whole stages: what they leave, how they are refused, and how they go on after a signal.

use crate::program::{Finished, rlhf, rlhf_with};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The steps of each stage in a folder's `metrics.jsonl`, in order.
fn steps(folder: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut steps: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in fs::read_to_string(folder.join("metrics.jsonl"))
        .unwrap()
        .lines()
    {
        let row: Value = serde_json::from_str(line).unwrap();
        let stage = row["stage"].as_str().unwrap().to_owned();
        steps
            .entry(stage)
            .or_default()
            .push(row["step"].as_u64().unwrap());
    }
    steps
}

fn run_json(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap()
}

#[test]
fn a_run_leaves_its_folder_and_gives_the_same_bytes_at_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: &str| {
        let out = dir.path().join(name);
        let args = [
            "--preset",
            "quick",
            "--json",
            "--quiet",
            "--out",
            out.to_str().unwrap(),
        ];
        let found = rlhf_with(&args, "", &[("RAYON_NUM_THREADS", threads)]).succeeded();
        assert!(found.stderr.is_empty(), "{}", found.stderr);
        (out, found)
    };
    let (one, printed) = run("one", "1");
    let (two, _) = run("two", "2");
    let last: Value = serde_json::from_str(printed.stdout.lines().last().unwrap()).unwrap();
    for model in ["gpt", "sft", "ppo"] {
        for figure in ["truthfulness", "toxicity", "instruction_following"] {
            assert!(
                last["table"][model][figure]["n"].is_u64(),
                "{model} {figure}"
            );
        }
    }
    assert!(last["win_rate"]["ppo_over_sft"]["value"].is_number());
    assert!(last["win_rate"]["ppo_over_gpt"]["value"].is_number());
    assert!(last["reward"]["accuracy"]["value"].is_number());
    assert!(last["reward"]["ceiling"]["value"].is_number());
    let record = run_json(&one);
    assert_eq!((&record["result"], &record["exit"]), (&last, &json!(0)));
    for stage in ["pretrain", "sft", "collect", "reward", "ppo"] {
        assert_eq!(record["stages"][stage]["finished"], true, "{stage}");
    }
    for file in [
        "config.toml",
        "report.html",
        "samples.jsonl",
        "metrics.jsonl",
    ] {
        assert!(one.join(file).is_file(), "{file}");
    }
    for model in ["pretrain/model", "sft/model", "reward/reward", "ppo/model"] {
        let weights = |folder: &Path| fs::read(folder.join(model).join("model.safetensors"));
        assert_eq!(weights(&one).unwrap(), weights(&two).unwrap(), "{model}");
    }
    for file in ["samples.jsonl", "observations.jsonl"] {
        let bytes = |folder: &Path| fs::read(folder.join(file)).unwrap();
        assert_eq!(bytes(&one), bytes(&two), "{file}");
    }
    the_table_is_printed_again_and_pooled(&one, &two, &last);
    a_reward_model_is_measured_and_chosen_by(&one);
    preferences_train_a_model_directly(&one, &dir.path().join("dpo"));
    for (stage, steps) in steps(&one) {
        let all: Vec<u64> = (1..=steps.len() as u64).collect();
        assert_eq!(steps, all, "{stage}");
    }
}

/// `rlhf table` on one run gives its result; on two, whose answers are equal, the same means of
/// twice as many.
fn the_table_is_printed_again_and_pooled(one: &Path, two: &Path, result: &Value) {
    let folder = |path: &Path| path.to_str().unwrap().to_owned();
    let alone = rlhf(&["table", "--json", &folder(one)]).succeeded();
    assert_eq!(alone.json_lines()[0]["pooled"], *result);
    let pooled = rlhf(&["table", "--json", &folder(one), &folder(two)]).succeeded();
    let pooled = pooled.json_lines()[0].clone();
    let toxicity = |of: &Value| of["table"]["ppo"]["toxicity"].clone();
    assert_eq!(
        toxicity(&pooled["pooled"])["value"],
        toxicity(result)["value"]
    );
    assert_eq!(
        toxicity(&pooled["pooled"])["n"].as_u64().unwrap(),
        2 * toxicity(result)["n"].as_u64().unwrap()
    );
    assert_eq!(pooled["runs"].as_array().unwrap().len(), 2);
    let text = rlhf(&["table", &folder(one), &folder(two)]).succeeded();
    assert!(text.stdout.contains("ratio"), "{}", text.stdout);
    let nothing = rlhf(&["table", &folder(&one.join("world"))]);
    assert_eq!(nothing.code, 2, "{}", nothing.stderr);
    assert!(nothing.stderr.contains("observations.jsonl"));
}

/// `rlhf dpo` on the run's preferences starts at ln 2 and leaves a model that can be measured.
fn preferences_train_a_model_directly(run: &Path, out: &Path) {
    let (model, data) = (run.join("sft/model"), run.join("collect/preferences.jsonl"));
    let [model, data, folder] = [&model, &data, out].map(|path| path.to_str().unwrap());
    rlhf(&args_of(folder, model, data)).succeeded();
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    let apart = first["loss"].as_f64().unwrap() - std::f64::consts::LN_2;
    assert!(apart.abs() < 1e-6, "{apart}");
    assert!(first["accuracy"].is_number() && first["margin"].is_number());
    assert_eq!(steps(out)["dpo"], [1, 2, 3, 4]);
    let trained = out.join("model");
    let args = [
        "eval",
        "world",
        "--preset",
        "quick",
        "--model",
        trained.to_str().unwrap(),
    ];
    rlhf(&args).succeeded();
    let card = fs::read_to_string(trained.join("README.md")).unwrap();
    assert!(card.contains("dpo"), "{card}");
    let zero = [&args_of(folder, model, data)[..], &["--set", "dpo.beta=0"]].concat();
    let refused = rlhf(&zero);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("dpo.beta"), "{}", refused.stderr);
}

fn args_of<'a>(folder: &'a str, model: &'a str, data: &'a str) -> [&'a str; 9] {
    [
        "dpo", "--preset", "quick", "--model", model, "--data", data, "--out", folder,
    ]
}

/// `rlhf eval world --reward DIR` adds the reward model's figures, `--best-of` chooses by it.
fn a_reward_model_is_measured_and_chosen_by(run: &Path) {
    let (model, reward) = (run.join("sft/model"), run.join("reward/reward"));
    let mut args = vec![
        "eval".to_owned(),
        "world".into(),
        "--preset".into(),
        "quick".into(),
        "--json".into(),
        "--quiet".into(),
        "--model".into(),
        model.display().to_string(),
        "--reward".into(),
        reward.display().to_string(),
    ];
    let figures = |args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        rlhf(&args).succeeded().json_lines()[0].clone()
    };
    let plain = figures(&args);
    assert!(plain["metrics"]["reward/truth_over_mistake"]["n"].is_u64());
    args.extend(["--best-of".to_owned(), "3".into()]);
    let chosen = figures(&args);
    let prompts = chosen["harness"]["n"].as_u64().unwrap();
    assert_eq!(chosen["metrics"]["toxic"]["n"], prompts);
    let decoding = chosen["harness"]["decoding"].as_str().unwrap();
    assert!(
        decoding.contains("best of 3") && decoding.contains("0.43 nats"),
        "{decoding}"
    );
}

/// A corpus, and the arguments of a pre-training that is small but takes a while.
fn pretraining(dir: &Path) -> Vec<String> {
    let corpus = dir.join("corpus.jsonl");
    let row = |i: usize| {
        format!(
            "{{\"text\": \"the cat number {i} sat on mat {}\"}}\n",
            i % 7
        )
    };
    fs::write(&corpus, (0..50).map(row).collect::<String>()).unwrap();
    let mut args = vec![
        "pretrain".to_owned(),
        "--data".into(),
        corpus.display().to_string(),
    ];
    args.extend(["--preset".to_owned(), "quick".into()]);
    for setting in [
        "model.vocab_size=300",
        "pretrain.steps=300",
        "pretrain.batch_size=2",
    ] {
        args.extend(["--set".to_owned(), setting.into()]);
    }
    args
}

fn pretrain(args: &[String], more: &[&str]) -> Finished {
    let args: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    rlhf(&args)
}

#[cfg(unix)]
#[test]
fn a_stopped_stage_goes_on_and_ends_as_if_it_had_not_been_stopped() {
    use crate::program::started;
    let dir = tempfile::tempdir().unwrap();
    let args = pretraining(dir.path());
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped"));
    pretrain(&args, &["--out", whole.to_str().unwrap()]).succeeded();

    let out = ["--out", stopped.to_str().unwrap()];
    let typed: Vec<&str> = args.iter().map(String::as_str).chain(out).collect();
    let mut child = started(&typed, &[]);
    let lines = || fs::read_to_string(stopped.join("metrics.jsonl")).unwrap_or_default();
    while lines().lines().count() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let found = Finished::from(child.wait_with_output().unwrap());
    assert_eq!(found.code, 130, "{}", found.stderr);
    assert!(
        found
            .stderr
            .contains("interrupted: pretrain stopped after step"),
        "{}",
        found.stderr
    );
    assert_eq!(run_json(&stopped)["exit"], 130);
    assert!(!stopped.join("model").exists());

    let other = pretrain(&args, &[&out[..], &["--seed", "9"]].concat());
    other.refused(&["other settings", "--fresh"]);
    pretrain(&args, &out).succeeded();
    let weights = |folder: &Path| fs::read(folder.join("model/model.safetensors")).unwrap();
    assert_eq!(weights(&whole), weights(&stopped));
    assert_eq!(steps(&stopped)["pretrain"], (1..=300).collect::<Vec<u64>>());
    assert_eq!(run_json(&stopped)["exit"], 0);

    // What is finished is not done again; with --fresh it is, and the old folder stays.
    let again = pretrain(&args, &out).succeeded();
    assert!(again.stderr.contains("already done"), "{}", again.stderr);
    pretrain(
        &args,
        &[&out[..], &["--set", "pretrain.beta2=0.9"]].concat(),
    )
    .refused(&["--fresh"]);
    let fresh = ["--fresh", "--set", "pretrain.steps=1", "--quiet"];
    assert!(
        pretrain(&args, &[&out[..], &fresh].concat())
            .succeeded()
            .stderr
            .is_empty()
    );
    assert_eq!(steps(&stopped)["pretrain"], [1]);
    assert_eq!(weights(&dir.path().join("stopped.old-1")), weights(&whole));
}

#[test]
fn what_a_stage_cannot_use_is_refused_before_it_works() {
    let dir = tempfile::tempdir().unwrap();
    let args = pretraining(dir.path());
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let file = file.to_str().unwrap();
    pretrain(&args, &["--out", file]).refused(&[file]);
    let below = format!("{file}/run");
    pretrain(&args, &["--out", &below]).refused(&[file]);
    let out = dir.path().join("out");
    let out = ["--out", out.to_str().unwrap()];
    pretrain(&args, &[&out[..], &["--data", "gone.jsonl"]].concat()).refused(&["gone.jsonl"]);
    pretrain(&args, &[&out[..], &["--model", "gone"]].concat()).refused(&["gone"]);
    pretrain(&args, &[&out[..], &["--device", "metal"]].concat()).refused(&["--features metal"]);
    pretrain(
        &args,
        &[&out[..], &["--set", "pretrain.sequence_length=999"]].concat(),
    )
    .refused(&["pretrain.sequence_length", "model.context_length"]);
    let bad = dir.path().join("bad.jsonl");
    fs::write(&bad, "{\"text\": \"a\"}\n{\"text\": 3}\n").unwrap();
    let bad = bad.to_str().unwrap();
    let found = pretrain(&args, &[&out[..], &["--data", bad]].concat());
    found.refused(&[&format!("{bad}:2: field `text`"), "data check"]);
    assert_eq!(run_json(&dir.path().join("out"))["exit"], 2);
}
