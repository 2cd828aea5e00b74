//! `export`, and the cards of models.

use crate::program::{Finished, rlhf};
use crate::tiny_model::{language_model, reward_model};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn export(model: &Path, dtype: &str, out: &Path) -> Finished {
    let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
    rlhf(&["export", "--model", model, "--dtype", dtype, "--out", out])
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn same(a: &Path, b: &Path, name: &str) -> bool {
    fs::read(a.join(name)).unwrap() == fs::read(b.join(name)).unwrap()
}

#[test]
fn a_folder_is_written_again_in_another_type() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let model = language_model(dir.path());
    // What we would write ourselves is not what must be kept.
    let kept = "{\"do_sample\": true, \"temperature\": 0.6, \"eos_token_id\": 3}";
    fs::write(model.join("generation_config.json"), kept).unwrap();
    let mut config = json(&model.join("config.json"));
    config["initializer_range"] = 0.5.into();
    fs::write(model.join("config.json"), config.to_string()).unwrap();
    fs::write(model.join("special_tokens_map.json"), "{\"a\": 1}").unwrap();

    let found = export(&model, "bf16", &path("half")).succeeded();
    assert_eq!(found.stdout.trim(), path("half").to_str().unwrap());
    for name in [
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ] {
        assert!(same(&model, &path("half"), name), "{name}");
    }
    config["torch_dtype"] = "bfloat16".into();
    assert_eq!(json(&path("half/config.json")), config);
    let size = |dir: &Path| fs::metadata(dir.join("model.safetensors")).unwrap().len();
    assert!(size(&path("half")) < size(&model) * 2 / 3);

    // Halves are held as f32: what is written again is the same, in either type.
    export(&path("half"), "bf16", &path("again")).succeeded();
    assert!(same(&path("half"), &path("again"), "model.safetensors"));
    export(&path("half"), "f32", &path("whole")).succeeded();
    export(&path("whole"), "bf16", &path("back")).succeeded();
    assert!(same(&path("half"), &path("back"), "model.safetensors"));
    export(&model, "f32", &path("equal")).succeeded();
    assert!(same(&model, &path("equal"), "model.safetensors"));
    let mut names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["again", "back", "equal", "half", "model", "whole"],
        "nothing is left over"
    );
}

#[test]
fn a_reward_model_is_exported_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let reward = reward_model(dir.path());
    let out = dir.path().join("half");
    export(&reward, "f16", &out).succeeded();
    let config = json(&out.join("config.json"));
    assert_eq!(
        config["architectures"],
        serde_json::json!(["LlamaForSequenceClassification"])
    );
    assert_eq!(config["torch_dtype"], "float16");
    let rows = dir.path().join("rows.jsonl");
    fs::write(&rows, "{\"prompt\": \"the cat\", \"response\": \"sat\"}\n").unwrap();
    let score = |reward: &Path| {
        let args = ["score", "--reward", reward.to_str().unwrap(), "--data"];
        let found = rlhf(&[&args[..], &[rows.to_str().unwrap()]].concat()).succeeded();
        found.json_lines()[0]["reward"].as_f64().unwrap()
    };
    assert!((score(&reward) - score(&out)).abs() < 0.02);
}

#[test]
fn what_cannot_be_exported_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let out = dir.path().join("out");
    export(&model, "f8", &out).refused_by_parser("--help");
    export(&dir.path().join("gone"), "f16", &out).refused(&["gone"]);
    export(&model, "f16", &model).refused(&["--out", "is there already"]);
    make_large(&model.join("model.safetensors"));
    export(&model, "f16", &out).refused(&["model.norm.weight", "1e5", "float16", "bfloat16"]);
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 1, "only the model itself is there");
    export(&model, "bf16", &out).succeeded();
}

/// Puts a number into the final norm that half precision can't hold.
fn make_large(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let names: Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let start = names["model.norm.weight"]["data_offsets"][0]
        .as_u64()
        .unwrap() as usize;
    bytes[header + start..header + start + 4].copy_from_slice(&1e5_f32.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_card_names_what_went_in_and_what_came_out_with_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let row = "{\"instruction\": \"the cat\", \"output\": \"sat\"}\n";
    fs::write(path("rows.jsonl"), row.repeat(8)).unwrap();
    let (rows, out) = (path("rows.jsonl"), path("run"));
    let sets = [
        "--set",
        "sft.steps=2",
        "--set",
        "sft.batch_size=2",
        "--set",
        "sft.max_length=32",
    ];
    let args = [
        "sft",
        "--model",
        model.to_str().unwrap(),
        "--data",
        &rows,
        "--out",
        &out,
    ];
    rlhf(&[&args[..], &sets, &["--quiet"]].concat()).succeeded();
    let card = fs::read_to_string(path("run/model/README.md")).unwrap();
    let record = json(Path::new(&path("run/run.json")));
    let inputs = record["inputs"].as_object().unwrap();
    assert_eq!(inputs.len(), 2);
    for (name, hash) in inputs {
        let line = format!("| {name} | – | {} |", hash.as_str().unwrap());
        assert!(card.contains(&line), "{line}\n{card}");
    }
    let files = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
    ];
    for name in files {
        let hash = sha256(&fs::read(Path::new(&path("run/model")).join(name)).unwrap());
        assert!(
            card.contains(&format!("| {name} | – | {hash} |")),
            "{name}\n{card}"
        );
    }
    assert!(
        card.contains("sft.steps") || card.contains("steps = 2"),
        "{card}"
    );
    // The card is no part of a model: another one changes nothing for who goes on from it.
    let again = |name: &str| {
        let (from, out) = (path("run/model"), path(name));
        let args = ["sft", "--model", &from, "--data", &rows, "--out", &out];
        rlhf(&[&args[..], &sets, &["--quiet"]].concat()).succeeded();
        json(Path::new(&path(&format!("{name}/run.json"))))["inputs"].clone()
    };
    let before = again("second");
    fs::write(path("run/model/README.md"), "mine").unwrap();
    assert_eq!(again("third"), before);
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
