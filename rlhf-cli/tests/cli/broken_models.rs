//! Model folders that are damaged, lie or contradict themselves: exit code 2, a message that names
//! the folder, never a panic.

use crate::program::{Finished, rlhf};
use crate::tiny_model::{language_model, reward_model};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A copy of a model, in which the file `name` is what `change` makes of it.
fn changed(
    dir: &Path,
    model: &Path,
    name: &str,
    change: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> PathBuf {
    let broken = dir.join("broken");
    fs::create_dir_all(&broken).unwrap();
    for entry in fs::read_dir(model).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), broken.join(entry.file_name())).unwrap();
    }
    let bytes = fs::read(model.join(name)).unwrap_or_default();
    fs::write(broken.join(name), change(bytes)).unwrap();
    broken
}

fn generate(dir: &Path, model: &Path) -> Finished {
    let prompts = dir.join("p.jsonl");
    fs::write(&prompts, "{\"prompt\": \"the cat\"}\n").unwrap();
    let (model, prompts) = (model.to_str().unwrap(), prompts.to_str().unwrap());
    rlhf(&[
        "generate",
        "--model",
        model,
        "--prompts",
        prompts,
        "--max-new-tokens",
        "2",
    ])
}

#[test]
fn broken_folders_are_refused_with_their_name() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let refused = |name: &str, words: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let broken = changed(dir.path(), &model, name, change);
        generate(dir.path(), &broken).refused(&[broken.to_str().unwrap(), words]);
    };
    let set = |field: &'static str, value: Value| {
        move |bytes: Vec<u8>| {
            let mut config: Value = serde_json::from_slice(&bytes).unwrap();
            config[field] = value.clone();
            config.to_string().into_bytes()
        }
    };
    let config = "config.json";
    refused(
        config,
        "vocab_size",
        &set("vocab_size", json!(1_000_000_000_000_u64)),
    );
    refused(
        config,
        "embed_tokens",
        &set("vocab_size", json!(60_000_000)),
    );
    refused(
        config,
        "num_attention_heads",
        &set("num_attention_heads", json!(3)),
    );
    refused(
        config,
        "num_hidden_layers",
        &set("num_hidden_layers", json!(0)),
    );
    refused(
        config,
        "layers.4095.",
        &set("num_hidden_layers", json!(4096)),
    );
    refused(config, "config.json", &set("hidden_size", json!(-16)));
    refused(
        config,
        "the prompt has",
        &set("max_position_embeddings", json!(8)),
    );

    let weights = "model.safetensors";
    refused(weights, "header", &|bytes| {
        [&u64::MAX.to_le_bytes()[..], &bytes[8..]].concat()
    });
    refused(weights, "bytes of numbers", &|bytes| {
        bytes[..bytes.len() - 1].to_vec()
    });
    refused(weights, "NaN", &|mut bytes| {
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes
    });
    // Numbers all of them, but too large to be multiplied.
    refused(weights, "logits are not finite", &|mut bytes| {
        let end = bytes.len() - 64;
        for number in bytes[end..].chunks_exact_mut(4) {
            number.copy_from_slice(&3e38f32.to_le_bytes());
        }
        bytes
    });
    let tokenizer = "tokenizer.json";
    refused(tokenizer, tokenizer, &|bytes| {
        bytes[..bytes.len() / 2].to_vec()
    });
    refused(tokenizer, tokenizer, &set("model", json!({"type": "BPE"})));
    refused(tokenizer, tokenizer, &set("model", json!(7)));
    refused(
        tokenizer,
        tokenizer,
        &set("pre_tokenizer", json!({"type": "Nobody"})),
    );
    let more: Vec<Value> = (0..4000)
        .map(|id| {
            json!({"id": id, "content": format!("<{id}>"), "special": true, "normalized": false,
                   "single_word": false, "lstrip": false, "rstrip": false})
        })
        .collect();
    refused(
        tokenizer,
        "tokens",
        &set("added_tokens", Value::Array(more)),
    );
    refused("tokenizer_config.json", "tokenizer_config.json", &|_| {
        b"[]".to_vec()
    });
    refused(
        "tokenizer_config.json",
        "chat_template",
        &set("chat_template", json!(3)),
    );
    refused(
        "tokenizer_config.json",
        "chat template: the tokenizer of",
        &set("chat_template", Value::Null),
    );
    refused("chat_template.jinja", "chat_template.jinja", &|_| {
        b"{% for %}".to_vec()
    });
    refused("chat_template.jinja", "chat_template.jinja", &|_| {
        vec![0xff, 0xfe]
    });
}

#[test]
fn an_index_leads_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    fs::remove_file(model.join("model.safetensors")).unwrap();
    let index = "model.safetensors.index.json";
    for (map, words) in [
        (json!({"a": "../model.safetensors"}), "../model.safetensors"),
        (json!({"a": "/etc/hostname"}), "/etc/hostname"),
        (
            json!({"a": "1.safetensors", "b": "2.safetensors"}),
            "`1.safetensors`, `2.safetensors`",
        ),
        (json!(["a"]), index),
    ] {
        let text = json!({"weight_map": map}).to_string();
        let broken = changed(dir.path(), &model, index, |_| text.into_bytes());
        generate(dir.path(), &broken).refused(&[broken.to_str().unwrap(), words]);
    }
}

/// A file of a row with an answer.
fn answered(dir: &Path) -> String {
    let data = dir.join("answered.jsonl");
    fs::write(&data, "{\"prompt\": \"the cat\", \"response\": \"sat\"}\n").unwrap();
    data.to_str().unwrap().to_owned()
}

fn score(dir: &Path, model: &Path) -> Finished {
    let (data, out) = (answered(dir), dir.join("scores.jsonl"));
    let (model, out) = (model.to_str().unwrap(), out.to_str().unwrap());
    rlhf(&["score", "--reward", model, "--data", &data, "--out", out])
}

fn show(dir: &Path, model: &Path) -> Finished {
    let model = model.to_str().unwrap();
    rlhf(&["data", "show", &answered(dir), "--model", model])
}

/// What is done with a model's folder.
type Use = (
    &'static str,
    fn(&Path) -> PathBuf,
    fn(&Path, &Path) -> Finished,
);

const USES: [Use; 3] = [
    ("generate", language_model, generate),
    ("score", reward_model, score),
    ("data show", language_model, show),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens to a byte of a folder, the program answers or refuses it by its name; it
    /// meets no defect of its own.
    #[test]
    fn a_changed_byte_never_makes_a_panic(
        name in prop::sample::select(vec![
            "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
            "tokenizer_config.json",
        ]),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in prop::bool::weighted(0.2),
    ) {
        for (command, model, run) in USES {
            let dir = tempfile::tempdir().unwrap();
            let broken = changed(dir.path(), &model(dir.path()), name, |mut bytes| {
                let at = at.index(bytes.len());
                bytes[at] = byte;
                if cut {
                    bytes.truncate(at);
                }
                bytes
            });
            let found = run(dir.path(), &broken);
            prop_assert!(found.code == 0 || found.code == 2, "{command}: {found:?}");
            prop_assert!(!found.stderr.contains("panicked"), "{command}: {}", found.stderr);
            if found.code == 2 {
                prop_assert!(found.stderr.contains("broken"), "{command}: {}", found.stderr);
            }
        }
    }
}
