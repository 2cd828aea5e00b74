//! Adapters through every stage: what is written, what goes on from it, merging, and what it costs.

use crate::program::{Finished, rlhf};
use crate::tiny_model::language_model;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with a tiny model and rows for every stage.
struct Bench {
    dir: tempfile::TempDir,
    model: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let lines = |row: &dyn Fn(usize) -> Value| {
            (0..24).map(|i| format!("{}\n", row(i))).collect::<String>()
        };
        let question = |i: usize| format!("cat {i}");
        let demonstration = |i| json!({"instruction": question(i), "output": "sat"});
        let pair = |i| json!({"prompt": question(i), "chosen": "the cat", "rejected": "the"});
        let prompt = |i| json!({ "prompt": question(i) });
        fs::write(dir.path().join("sft.jsonl"), lines(&demonstration)).unwrap();
        fs::write(dir.path().join("pairs.jsonl"), lines(&pair)).unwrap();
        fs::write(dir.path().join("prompts.jsonl"), lines(&prompt)).unwrap();
        let model = language_model(dir.path());
        Self { dir, model }
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Runs a stage for three updates with these models; the folder of what it made.
    fn stage(&self, stage: &str, out: &str, models: &[&str], more: &[&str]) -> PathBuf {
        self.try_stage(stage, out, models, more).succeeded();
        let name = if stage == "reward" { "reward" } else { "model" };
        self.dir.path().join(out).join(name)
    }

    fn try_stage(&self, stage: &str, out: &str, models: &[&str], more: &[&str]) -> Finished {
        let (option, file) = match stage {
            "sft" => ("--data", "sft.jsonl"),
            "ppo" => ("--prompts", "prompts.jsonl"),
            _ => ("--data", "pairs.jsonl"),
        };
        let steps = format!("{stage}.steps=3");
        let (file, out) = (self.path(file), self.path(out));
        let mut args = vec![
            stage, option, &file, "--out", &out, "--quiet", "--set", &steps,
        ];
        let batch = match stage {
            "ppo" => vec![
                "ppo.rollouts=4",
                "ppo.minibatch_size=2",
                "ppo.loss.max_new_tokens=4",
                "ppo.ptx_coef=0",
            ],
            "sft" => vec![
                "sft.max_length=40",
                "sft.learning_rate=0.01",
                "sft.pretraining_share=0",
            ],
            "dpo" => vec!["dpo.max_length=40", "dpo.learning_rate=0.01"],
            _ => vec!["reward.max_length=40", "reward.learning_rate=0.01"],
        };
        args.extend(batch.iter().flat_map(|setting| ["--set", setting]));
        args.extend(models);
        args.extend(more);
        rlhf(&args)
    }

    /// The tokens and log-probs that a model answers with.
    fn answers(&self, model: &Path) -> Vec<(Value, Vec<f64>)> {
        let (prompts, model) = (self.path("prompts.jsonl"), model.display().to_string());
        let args = [
            "generate",
            "--model",
            &model,
            "--prompts",
            &prompts,
            "--greedy",
        ];
        let more = ["--max-new-tokens", "5", "--quiet"];
        let found = rlhf(&[&args[..], &more].concat()).succeeded();
        let logprobs = |row: &Value| {
            let all = row["logprobs"].as_array().unwrap();
            all.iter().map(|x| x.as_f64().unwrap()).collect()
        };
        let rows = found.json_lines();
        rows.iter()
            .map(|row| (row["tokens"].clone(), logprobs(row)))
            .collect()
    }

    fn alike(&self, a: &Path, b: &Path) {
        for (a, b) in self.answers(a).iter().zip(&self.answers(b)) {
            assert_eq!(a.0, b.0);
            assert!(
                a.1.iter().zip(&b.1).all(|(a, b)| (a - b).abs() < 1e-4),
                "{a:?} {b:?}"
            );
        }
    }
}

fn adapter_json(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("adapter_config.json")).unwrap()).unwrap()
}

#[test]
fn each_stage_trains_adapters_and_goes_on_from_them() {
    let bench = Bench::new();
    let base = bench.model.display().to_string();
    let sft = bench.stage("sft", "sft", &["--model", &base], &["--lora", "2"]);
    assert!(!sft.join("model.safetensors").exists());
    assert!(sft.join("tokenizer.json").exists() && sft.join("README.md").exists());
    let written = adapter_json(&sft);
    assert_eq!(
        (&written["r"], &written["task_type"]),
        (&json!(2), &json!("CAUSAL_LM"))
    );
    let named = PathBuf::from(written["base_model_name_or_path"].as_str().unwrap());
    assert_eq!(named, fs::canonicalize(&bench.model).unwrap());
    assert_ne!(bench.answers(&sft), bench.answers(&bench.model));

    // Merged, it answers the same.
    let merged = bench.path("merged");
    let args = ["merge", "--model", sft.to_str().unwrap(), "--out", &merged];
    rlhf(&args).succeeded();
    bench.alike(Path::new(&merged), &sft);
    rlhf(&args).refused(&["is there already"]);
    let whole = ["merge", "--model", &merged, "--out", &bench.path("x")];
    rlhf(&whole).refused(&["holds no adapters"]);

    // Adapters on adapters are saved as one of both ranks, over the first model.
    let sft = sft.display().to_string();
    let dpo = bench.stage("dpo", "dpo", &["--model", &sft], &["--lora", "3"]);
    let written = adapter_json(&dpo);
    assert_eq!(written["r"], 5);
    assert_eq!(
        named,
        Path::new(written["base_model_name_or_path"].as_str().unwrap())
    );
    let metrics = fs::read_to_string(bench.path("dpo/metrics.jsonl")).unwrap();
    let first: Value = serde_json::from_str(metrics.lines().next().unwrap()).unwrap();
    let apart = first["loss"].as_f64().unwrap() - std::f64::consts::LN_2;
    assert!(
        apart.abs() < 1e-6,
        "the reference is the model that it starts from: {apart}"
    );

    // Without --lora, the adapters are merged and all weights are trained.
    let all = bench.stage("sft", "all", &["--model", &sft], &[]);
    assert!(all.join("model.safetensors").exists() && !all.join("adapter_config.json").exists());

    // A reward model's adapters hold its head; it scores, and PPO learns from it.
    let reward = bench.stage("reward", "reward", &["--model", &sft], &["--lora", "2"]);
    assert_eq!(adapter_json(&reward)["task_type"], "SEQ_CLS");
    let reward = reward.display().to_string();
    let scored = [
        "score",
        "--reward",
        &reward,
        "--data",
        &bench.path("pairs.jsonl"),
        "--quiet",
    ];
    rlhf(&scored).succeeded();
    let models = ["--model", &sft, "--reward", &reward];
    let ppo = bench.stage("ppo", "ppo", &models, &["--lora", "2"]);
    assert_eq!(adapter_json(&ppo)["r"], 4);
    assert!(!bench.answers(&ppo).is_empty());
    let shared = ["--lora", "2", "--set", "ppo.shared_trunk=true"];
    let ppo = bench.stage("ppo", "ppo-shared", &models, &shared);
    assert_eq!(adapter_json(&ppo)["r"], 4);
    assert!(!bench.answers(&ppo).is_empty());
    let merged = bench.path("merged-reward");
    rlhf(&["merge", "--model", &reward, "--out", &merged]).succeeded();
    let config = fs::read_to_string(Path::new(&merged).join("config.json")).unwrap();
    assert!(
        config.contains("LlamaForSequenceClassification"),
        "{config}"
    );
    let with_dropout = ["--lora", "2", "--set", "lora.dropout=0.1"];
    bench
        .try_stage("ppo", "no", &models, &with_dropout)
        .refused(&["lora.dropout"]);

    // Each where the other is wanted.
    let swapped = ["--model", &reward, "--reward", &sft];
    bench
        .try_stage("ppo", "no", &swapped, &[])
        .refused(&["adapters of a reward model"]);
    let models = ["--model", &sft, "--reward", &sft];
    bench
        .try_stage("ppo", "no", &models, &[])
        .refused(&["not a reward model"]);
}

#[test]
fn adapters_without_their_model_and_patterns_for_nothing_are_refused() {
    let bench = Bench::new();
    let base = bench.model.display().to_string();
    let nothing = ["--lora", "2", "--set", "lora.target_modules=[\"c_attn\"]"];
    let found = bench.try_stage("sft", "no", &["--model", &base], &nothing);
    found.refused(&["lora.target_modules", "`c_attn`", "q_proj"]);
    let some = [
        "--lora",
        "8",
        "--set",
        "lora.rank=1",
        "--set",
        "lora.target_modules=[\"v_proj\"]",
    ];
    let sft = bench.stage("sft", "sft", &["--model", &base], &some);
    let written = adapter_json(&sft);
    assert_eq!(
        (&written["r"], &written["target_modules"]),
        (&json!(1), &json!(["v_proj"]))
    );
    fs::rename(&bench.model, bench.path("elsewhere")).unwrap();
    let sft = sft.display().to_string();
    let args = [
        "generate",
        "--model",
        &sft,
        "--prompts",
        &bench.path("prompts.jsonl"),
    ];
    rlhf(&args).refused(&["there is no such folder", "base_model_name_or_path"]);
}

#[test]
fn what_it_costs_is_said_before_and_what_cannot_fit_is_refused() {
    let bench = Bench::new();
    let base = bench.model.display().to_string();
    let estimate = |more: &[&str]| {
        let args = ["estimate", "sft", "--model", &base, "--json"];
        rlhf(&[&args[..], more].concat()).succeeded().json_lines()[0].clone()
    };
    let number = |value: &Value| value.as_f64().unwrap();
    let (full, lora) = (estimate(&[]), estimate(&["--lora", "2"]));
    assert_eq!(full["parameters"], full["trained_parameters"]);
    assert!(number(&lora["trained_parameters"]) < number(&full["parameters"]) / 4.0);
    assert!(number(&lora["memory"]["optimiser"]) < number(&full["memory"]["optimiser"]));
    assert!(number(&full["update_seconds"]) > 0.0);
    let seconds = number(&full["update_seconds"]) * number(&full["steps"]);
    assert!((number(&full["seconds"]) - seconds).abs() < 1e-6 * seconds);
    let checkpointing = estimate(&["--set", "memory.gradient_checkpointing=true"]);
    let activations = |found: &Value| number(&found["memory"]["activations"]);
    assert!(activations(&checkpointing) != activations(&full));
    let longest = usize::MAX.to_string();
    for prompt in ["0", longest.as_str()] {
        let args = [
            "estimate",
            "ppo",
            "--model",
            &base,
            "--prompt-length",
            prompt,
        ];
        rlhf(&args).succeeded();
    }
    let text = rlhf(&["estimate", "ppo", "--model", &base, "--lora", "2"]).succeeded();
    assert!(text.stdout.contains("activations") && text.stdout.contains("an update"));
    if cfg!(target_os = "linux") {
        let huge = [
            "--set",
            "sft.batch_size=2000000000",
            "--set",
            "sft.micro_batch_size=2000000000",
        ];
        assert_eq!(estimate(&huge)["fits"], json!(false));
        let found = bench.try_stage("sft", "no", &["--model", &base], &huge);
        found.refused(&["sft.micro_batch_size", "gradient_checkpointing", "GiB"]);
    }
}

#[test]
fn gradient_checkpointing_gives_the_same_model_but_for_rounding() {
    let bench = Bench::new();
    let base = bench.model.display().to_string();
    let kept = bench.stage("sft", "kept", &["--model", &base], &[]);
    let on = ["--set", "memory.gradient_checkpointing=true"];
    let again = bench.stage("sft", "again", &["--model", &base], &on);
    bench.alike(&kept, &again);
}
