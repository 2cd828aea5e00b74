//! Model folders that lie, contradict themselves or are damaged: an error that names the file, never
//! a panic, never more memory than the file deserves.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use proptest::prelude::*;
use rlhf_model::device::parse_device;
use rlhf_model::{ModelConfig, ModelError, Transformer, load_model, save_model};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::OnceLock;
use tempfile::TempDir;

fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 24,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        max_position_embeddings: 16,
        ..ModelConfig::default()
    }
}

/// The files of a good folder.
struct Good {
    config: Map<String, Value>,
    header: Map<String, Value>,
    numbers: Vec<u8>,
    weights: Vec<u8>,
}

fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let model = Transformer::init(&config(), 1, &parse_device("flex").unwrap()).unwrap();
        save_model(dir.path(), &model, &config()).unwrap();
        let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
        let weights = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        let length = u64::from_le_bytes(weights[..8].try_into().unwrap()) as usize;
        Good {
            config: serde_json::from_str(&text).unwrap(),
            header: serde_json::from_slice(&weights[8..8 + length]).unwrap(),
            numbers: weights[8 + length..].to_vec(),
            weights,
        }
    })
}

fn folder(config: &str, weights: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), config).unwrap();
    std::fs::write(dir.path().join("model.safetensors"), weights).unwrap();
    dir
}

fn load(dir: &Path) -> Result<ModelConfig, ModelError> {
    load_model(dir, &parse_device("flex").unwrap()).map(|(_, config)| config)
}

/// A file with this header before these numbers.
fn with_header(header: &str, numbers: &[u8]) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), numbers].concat()
}

/// Checks that a folder is refused with the file's or folder's name and these words.
fn refused(config: &str, weights: &[u8], words: &str) {
    let dir = folder(config, weights);
    let message = load(dir.path()).unwrap_err().to_string();
    let name = dir.path().display().to_string();
    assert!(message.contains(&name), "{message}");
    assert!(message.contains(words), "{words}: {message}");
}

fn good_config() -> String {
    Value::Object(good().config.clone()).to_string()
}

#[test]
fn headers_that_lie_are_refused() {
    let Good {
        header, numbers, ..
    } = good();
    type Change = fn(&mut Map<String, Value>);
    let changes: [(&str, Change); 9] = [
        ("offsets beyond the file", |h| {
            h["model.norm.weight"]["data_offsets"][1] = json!(1_u64 << 60);
        }),
        ("an end before its start", |h| {
            h["model.norm.weight"]["data_offsets"][1] = json!(0);
        }),
        ("negative offsets", |h| {
            h["model.norm.weight"]["data_offsets"][0] = json!(-4);
        }),
        ("two tensors in one place", |h| {
            let place = h["model.layers.0.input_layernorm.weight"]["data_offsets"].clone();
            h["model.norm.weight"]["data_offsets"] = place;
        }),
        ("numbers of another width", |h| {
            h["model.norm.weight"]["dtype"] = json!("F16");
        }),
        ("a type that nobody knows", |h| {
            h["model.norm.weight"]["dtype"] = json!("F33");
        }),
        ("a huge shape", |h| {
            h["model.norm.weight"]["shape"] = json!([1_u64 << 40, 1_u64 << 40]);
        }),
        ("a negative shape", |h| {
            h["model.norm.weight"]["shape"] = json!([-8]);
        }),
        ("a shape of another size", |h| {
            h["model.norm.weight"]["shape"] = json!([9]);
        }),
    ];
    for (what, change) in changes {
        let mut header = header.clone();
        change(&mut header);
        let text = Value::Object(header).to_string();
        let weights = with_header(&text, numbers);
        let dir = folder(&good_config(), &weights);
        let message = load(dir.path()).map(|_| what).unwrap_err().to_string();
        assert!(message.contains("model.safetensors"), "{what}: {message}");
    }
    // A name twice: either may be the one that is meant.
    let text = Value::Object(header.clone()).to_string();
    let twice = r#"{"model.norm.weight":{"dtype":"F32","shape":[8],"data_offsets":[0,32]},"#;
    let text = text.replacen('{', twice, 1);
    refused(&good_config(), &with_header(&text, numbers), "twice");
}

#[test]
fn lengths_that_lie_are_refused_without_taking_the_memory() {
    let whole = &good().weights;
    for claimed in [u64::MAX, 1 << 62, 1 << 40, 99_999_999, whole.len() as u64] {
        let weights = [&claimed.to_le_bytes()[..], &whole[8..]].concat();
        refused(&good_config(), &weights, "header");
    }
    let deep = "[".repeat(1 << 16);
    refused(&good_config(), &with_header(&deep, &[]), "header");
    let more = [whole.as_slice(), &[0; 4]].concat();
    refused(&good_config(), &more, "bytes of numbers");
    refused(&good_config(), &with_header("{}", &[]), "missing");
}

#[test]
fn numbers_that_are_none_are_refused_by_name() {
    let Good {
        header,
        weights,
        numbers,
        ..
    } = good();
    let start = weights.len() - numbers.len();
    for (name, bad) in [
        ("model.norm.weight", f32::NAN),
        ("model.layers.0.mlp.up_proj.weight", f32::INFINITY),
    ] {
        let place = header[name]["data_offsets"][1].as_u64().unwrap() as usize;
        let mut weights = weights.clone();
        weights[start + place - 4..start + place].copy_from_slice(&bad.to_le_bytes());
        refused(&good_config(), &weights, name);
    }
}

#[test]
fn configurations_that_contradict_themselves_are_refused() {
    let changes = [
        ("num_attention_heads", json!(3)),
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(0)),
        ("num_key_value_heads", json!(7)),
        ("vocab_size", json!(0)),
        ("vocab_size", json!(1_000_000_000_000_u64)),
        ("vocab_size", json!(u64::MAX)),
        ("vocab_size", json!(1e30)),
        ("vocab_size", json!(-1)),
        ("vocab_size", json!(67_108_864)),
        ("vocab_size", json!("many")),
        ("hidden_size", json!(0)),
        ("hidden_size", json!(67_108_864)),
        ("intermediate_size", json!(67_108_864)),
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(4096)),
        ("num_hidden_layers", json!(u64::MAX)),
        ("max_position_embeddings", json!(0)),
        ("head_dim", json!(0)),
        ("head_dim", json!(3)),
        ("head_dim", json!(33_554_432)),
        ("rms_norm_eps", json!(-1.0)),
        ("rms_norm_eps", json!(null)),
        ("rope_theta", json!(0.0)),
        (
            "rope_scaling",
            json!({"rope_type": "linear", "factor": -2.0}),
        ),
        ("eos_token_id", json!(24)),
        ("eos_token_id", json!([1, "x"])),
        ("model_type", json!(7)),
        ("architectures", json!(["LlamaForTokenClassification"])),
        ("quantization_config", json!({"bits": 4})),
    ];
    for (field, value) in changes {
        let mut config = good().config.clone();
        config.insert(field.to_owned(), value.clone());
        let dir = folder(&Value::Object(config).to_string(), &good().weights);
        match load(dir.path()) {
            // The default stands for what is null.
            Ok(_) => assert!(value.is_null(), "{field} {value} was taken"),
            Err(error) => {
                let name = dir.path().display().to_string();
                assert!(error.to_string().contains(&name), "{field}: {error}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens to the bytes of a file, it is read or refused by name.
    #[test]
    fn damaged_weights_never_panic(
        cut in prop::option::of(0..2000_usize),
        changes in prop::collection::vec((0..1600_usize, any::<u8>()), 0..6),
    ) {
        let mut weights = good().weights.clone();
        for (at, byte) in changes {
            let at = at.min(weights.len() - 1);
            weights[at] = byte;
        }
        if let Some(cut) = cut {
            weights.truncate(cut);
        }
        let dir = folder(&good_config(), &weights);
        if let Err(error) = load(dir.path()) {
            let name = dir.path().display().to_string();
            prop_assert!(error.to_string().contains(&name), "{error}");
        }
    }

    /// Whatever stands in the fields of a configuration, it is read or refused by name.
    #[test]
    fn odd_configurations_never_panic(
        fields in prop::collection::vec((any::<prop::sample::Index>(), odd_value()), 1..4),
        family in prop::sample::select(vec!["llama", "mistral", "qwen2", "qwen3", "gemma2", "gpt2"]),
        more in prop::sample::select(vec!["n_embd", "n_head", "layer_types", "sliding_window", "rope_parameters"]),
        value in odd_value(),
    ) {
        let mut config = good().config.clone();
        config.insert("model_type".to_owned(), json!(family));
        config.shift_remove("architectures");
        config.insert(more.to_owned(), value);
        let names: Vec<String> = config.keys().cloned().collect();
        for (at, value) in fields {
            config.insert(at.get(&names).clone(), value);
        }
        let dir = folder(&Value::Object(config).to_string(), &good().weights);
        if let Err(error) = load(dir.path()) {
            let name = dir.path().display().to_string();
            prop_assert!(error.to_string().contains(&name), "{error}");
        }
    }

    /// The same for text that was cut or changed.
    #[test]
    fn damaged_configurations_never_panic(
        cut in 0..900_usize,
        at in 0..900_usize,
        byte in any::<u8>(),
        file in prop::sample::select(vec!["config.json", "generation_config.json"]),
    ) {
        let mut text = good_config().into_bytes();
        let end = cut.clamp(1, text.len());
        text[at.min(end - 1)] = byte;
        text.truncate(end);
        let dir = folder(&good_config(), &good().weights);
        std::fs::write(dir.path().join(file), text).unwrap();
        if let Err(error) = load(dir.path()) {
            let name = dir.path().display().to_string();
            prop_assert!(error.to_string().contains(&name), "{error}");
        }
    }
}

/// Numbers, words and lists that no field wants.
fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0..64_u64).prop_map(Value::from),
        any::<f64>().prop_map(|x| json!(x)),
        "[a-z]{0,6}".prop_map(Value::from),
        prop::collection::vec(any::<u32>(), 0..4).prop_map(|ids| json!(ids)),
        Just(json!({"rope_type": "llama3", "factor": 1e300})),
        Just(json!({})),
    ]
}
