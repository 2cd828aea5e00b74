//! Every stage on a graphics adapter, a software one too, beside the same stage on the CPU: losses,
//! rewards and answers are the same to rounding. Without an adapter it says so and does nothing, or
//! fails where `RLHF_REQUIRE_WGPU` is set.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

#[path = "../cli/program.rs"]
#[allow(dead_code, reason = "not every file needs all of it")]
mod program;

use program::{Finished, rlhf};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The folders of stages on both devices, over one run's data and models.
struct Sides {
    dir: tempfile::TempDir,
}

/// Few steps of few rows: a software adapter does a hundredth of what a core does.
const SMALL: [&str; 11] = [
    "pretrain.steps=3",
    "pretrain.batch_size=4",
    "sft.steps=2",
    "sft.batch_size=4",
    "reward.steps=2",
    "reward.batch_size=4",
    "dpo.steps=2",
    "dpo.batch_size=4",
    "ppo.steps=1",
    "ppo.rollouts=4",
    "collect.prompts=4",
];

impl Sides {
    fn path(&self, path: &str) -> String {
        self.dir.path().join(path).to_str().unwrap().to_owned()
    }

    /// A stage of the quick preset on a device.
    fn on(&self, device: &str, stage: &str, options: &[(&str, &str)]) -> PathBuf {
        let out = self.path(&format!("{device}/{stage}"));
        let mut args = vec![stage, "--preset", "quick", "--quiet", "--device", device];
        args.extend(["--seed", "3", "--out", &out]);
        for set in SMALL {
            args.extend(["--set", set]);
        }
        let options: Vec<(&str, String)> = options
            .iter()
            .map(|&(name, path)| (name, self.path(path)))
            .collect();
        for (name, path) in &options {
            args.extend([*name, path]);
        }
        rlhf(&args).succeeded();
        PathBuf::from(out)
    }

    /// A stage on both devices; its metrics agree. Both read the same files.
    fn stage(&self, stage: &str, options: &[(&str, &str)]) {
        let [cpu, adapter] = ["flex", "wgpu"].map(|device| self.on(device, stage, options));
        let [cpu, adapter] = [&cpu, &adapter].map(|folder| metrics(folder));
        assert!(!cpu.is_empty() && cpu.len() == adapter.len(), "{stage}");
        for (cpu, adapter) in cpu.iter().zip(&adapter) {
            let figures = cpu.as_object().unwrap().iter();
            for (name, figure) in figures.filter(|(name, _)| !of_time(name)) {
                let Some(wanted) = figure.as_f64() else {
                    continue;
                };
                let found = adapter[name].as_f64().unwrap();
                let close = (found - wanted).abs() <= 1e-3 * wanted.abs().max(1.0);
                assert!(close, "{stage}: {name} is {found}, on the CPU {wanted}");
            }
        }
    }
}

/// Whether a figure says how long something took.
fn of_time(name: &str) -> bool {
    name.ends_with("per_s") || name.ends_with("seconds")
}

fn metrics(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_stage_does_on_an_adapter_what_it_does_on_the_cpu() {
    let sides = Sides {
        dir: tempfile::tempdir().unwrap(),
    };
    let run = [
        "run", "--preset", "quick", "--seed", "3", "--quiet", "--out",
    ];
    rlhf(&[&run[..], &[&sides.path("run")]].concat()).succeeded();
    let (cpu, adapter) = (answers(&sides, "flex"), answers(&sides, "wgpu"));
    if adapter.code != 0 && std::env::var_os("RLHF_REQUIRE_WGPU").is_none() {
        eprintln!("skipped: no graphics adapter here\n{}", adapter.stderr);
        return;
    }
    let (cpu, adapter) = (cpu.succeeded(), adapter.succeeded());
    for (cpu, adapter) in cpu.json_lines().iter().zip(&adapter.json_lines()) {
        assert_eq!(cpu["tokens"], adapter["tokens"]);
        let [cpu, adapter] = [cpu, adapter].map(|row| row["logprobs"].as_array().unwrap());
        for (cpu, adapter) in cpu.iter().zip(adapter) {
            let gap = cpu.as_f64().unwrap() - adapter.as_f64().unwrap();
            assert!(gap.abs() < 1e-3, "log-probs: {adapter}, on the CPU {cpu}");
        }
    }
    let (gpt, sft, reward) = ("run/pretrain/model", "run/sft/model", "run/reward/reward");
    let (prompts, pairs) = ("run/world/prompts.jsonl", "run/collect/preferences.jsonl");
    let demonstrations = "run/world/demonstrations.jsonl";
    let corpus = "run/world/corpus.jsonl";
    sides.stage("pretrain", &[("--data", corpus)]);
    sides.stage("sft", &[("--model", gpt), ("--data", demonstrations)]);
    sides.stage("reward", &[("--model", sft), ("--data", pairs)]);
    sides.stage("dpo", &[("--model", sft), ("--data", pairs)]);
    let of_ppo = [
        ("--model", sft),
        ("--reward", reward),
        ("--prompts", prompts),
        ("--pretraining-data", corpus),
    ];
    sides.stage("ppo", &of_ppo);
}

/// Greedy answers of the fine-tuned model.
fn answers(sides: &Sides, device: &str) -> Finished {
    let (model, prompts) = (sides.path("run/sft/model"), sides.path("few.jsonl"));
    let rows = ["Who are you?", "What is the capital of Australia?"];
    let rows = rows.map(|row| format!("{{\"prompt\": \"{row}\"}}\n"));
    fs::write(&prompts, rows.concat()).unwrap();
    let args = [
        "generate",
        "--device",
        device,
        "--quiet",
        "--greedy",
        "--max-new-tokens",
        "8",
    ];
    rlhf(&[&args[..], &["--model", &model, "--prompts", &prompts]].concat())
}
