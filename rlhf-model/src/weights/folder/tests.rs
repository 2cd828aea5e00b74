use super::*;
use crate::weights::{NamedTensor, named_parameters};
use crate::{CausalLm, TokenBatch};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

fn config() -> ModelConfig {
    ModelConfig {
        eos_token_id: vec![1, 3],
        pad_token_id: Some(2),
        ..crate::tiny::config()
    }
}

fn values(model: &impl NamedParameters) -> Vec<(String, Vec<u32>)> {
    let bits = |t: NamedTensor| (t.name, t.values.iter().map(|v| v.to_bits()).collect());
    named_parameters(model).into_iter().map(bits).collect()
}

/// The tensors of a file.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// The tensors of a saved file, changed, and written again.
fn rewrite(dir: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = dir.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Tensors = file
        .tensors()
        .into_iter()
        .map(|(name, v)| (name, (v.dtype(), v.shape().to_vec(), v.data().to_vec())))
        .collect();
    change(&mut all);
    let views = all.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn a_round_trip_keeps_every_bit_and_writes_the_same_bytes() {
    let device = Device::flex();
    for tie_word_embeddings in [true, false] {
        let config = ModelConfig {
            tie_word_embeddings,
            ..config()
        };
        let model = Transformer::init(&config, 5, &device).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a/model"), dir.path().join("b"));
        save_model(&first, &model, &config).unwrap();
        let (back, read) = load_model(&first, &device).unwrap();
        assert_eq!(
            read,
            ModelConfig {
                head_dim: Some(4),
                ..config.clone()
            }
        );
        assert_eq!(values(&back), values(&model));
        save_model(&second, &back, &read).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&first)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            ["config.json", "generation_config.json", "model.safetensors"]
        );
        for name in names {
            let [a, b] = [&first, &second].map(|dir| std::fs::read(dir.join(&name)).unwrap());
            assert_eq!(a, b, "{name}");
        }
        let swapped = ModelConfig {
            tie_word_embeddings: !tie_word_embeddings,
            ..config
        };
        assert!(save_model(&second, &model, &swapped).is_err());
    }
}

#[test]
fn the_file_holds_the_layout_and_metadata_of_hugging_face() {
    let device = Device::flex();
    let config = ModelConfig {
        tie_word_embeddings: false,
        ..config()
    };
    let model = Transformer::init(&config, 5, &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    save_model(dir.path(), &model, &config).unwrap();
    let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names().len(), 2 * 9 + 3);
    let shape = |name: &str| file.tensor(name).unwrap().shape().to_vec();
    assert_eq!(shape("model.layers.1.self_attn.k_proj.weight"), [8, 16]);
    assert_eq!(shape("model.layers.0.mlp.down_proj.weight"), [16, 24]);
    assert_eq!(shape("lm_head.weight"), [40, 16]);
    let q = file
        .tensor("model.layers.0.self_attn.q_proj.weight")
        .unwrap();
    let q: Vec<f32> = q
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&b| f32::from_le_bytes(b))
        .collect();
    let ours: Vec<f32> = model.layers[0].qkv[0]
        .weight
        .val()
        .into_data()
        .iter::<f32>()
        .collect();
    assert_eq!(q[1], ours[16], "out 0, in 1");
}

#[test]
fn halves_are_read_as_f32() {
    let device = Device::flex();
    let config = config();
    let model = Transformer::init(&config, 5, &device).unwrap();
    for dtype in [Dtype::F16, Dtype::BF16] {
        let dir = tempfile::tempdir().unwrap();
        save_model(dir.path(), &model, &config).unwrap();
        rewrite(dir.path(), |tensors| {
            for (kind, _, data) in tensors.values_mut() {
                let values = data
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|&b| f32::from_le_bytes(b));
                *data = values
                    .flat_map(|x| match dtype {
                        Dtype::F16 => burn::tensor::f16::from_f32(x).to_le_bytes(),
                        _ => burn::tensor::bf16::from_f32(x).to_le_bytes(),
                    })
                    .collect();
                *kind = dtype;
            }
        });
        let (read, _) = load_model(dir.path(), &device).unwrap();
        let (a, b) = (named_parameters(&model), named_parameters(&read));
        for (x, y) in a
            .iter()
            .zip(&b)
            .flat_map(|(a, b)| a.values.iter().zip(&b.values))
        {
            assert!(
                (x - y).abs() <= 0.005 * x.abs() + 1e-6,
                "{dtype:?}: {x} {y}"
            );
        }
    }
}

/// Halves that are written again are the same bits, in memory and in the file.
#[test]
fn a_round_trip_in_halves_keeps_every_bit() {
    let device = Device::flex();
    for tie_word_embeddings in [true, false] {
        let config = ModelConfig {
            tie_word_embeddings,
            ..config()
        };
        let model = Transformer::init(&config, 5, &device).unwrap();
        for kind in [WeightType::Bf16, WeightType::F16] {
            let dir = tempfile::tempdir().unwrap();
            let (first, second) = (dir.path().join("a"), dir.path().join("b"));
            save_model_as(&first, &model, &config, kind).unwrap();
            let (once, read) = load_model(&first, &device).unwrap();
            save_model_as(&second, &once, &read, kind).unwrap();
            let (twice, _) = load_model(&second, &device).unwrap();
            assert_eq!(values(&once), values(&twice), "{kind:?}");
            for name in ["model.safetensors", "config.json"] {
                let [a, b] = [&first, &second].map(|dir| std::fs::read(dir.join(name)).unwrap());
                assert_eq!(a, b, "{kind:?} {name}");
            }
            let bytes = std::fs::read(first.join("model.safetensors")).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            assert!(
                file.tensors()
                    .iter()
                    .all(|(_, view)| view.dtype() == kind.dtype())
            );
            let text = std::fs::read_to_string(first.join("config.json")).unwrap();
            assert!(
                text.contains(&format!("\"torch_dtype\": \"{}\"", kind.name())),
                "{text}"
            );
            let off = named_parameters(&model)
                .into_iter()
                .zip(named_parameters(&once));
            for (x, y) in off.flat_map(|(a, b)| a.values.into_iter().zip(b.values)) {
                assert!((x - y).abs() <= 0.004 * x.abs() + 1e-7, "{kind:?}: {x} {y}");
            }
        }
    }
}

#[test]
fn what_a_type_cannot_hold_is_refused_by_name() {
    let (dir, config) = (tempfile::tempdir().unwrap(), config());
    let mut model = Transformer::init(&config, 1, &Device::flex()).unwrap();
    save_model(dir.path(), &model, &config).unwrap();
    let before = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let norm = model.norm.weight.val();
    model.norm.weight = burn::module::Param::from_tensor(norm * 65_520.0);
    let save = |kind| save_model_as(dir.path(), &model, &config, kind);
    let message = save(WeightType::F16).unwrap_err().to_string();
    for part in [
        "model.norm.weight",
        "6.552e4",
        "float16",
        "model.safetensors",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let after = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    assert!(before == after, "the older file is kept");
    save(WeightType::Bf16).unwrap();
}

#[test]
fn all_wrong_tensors_are_listed_at_once() {
    let device = Device::flex();
    let model = Transformer::init(&config(), 5, &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    save_model(dir.path(), &model, &config()).unwrap();
    rewrite(dir.path(), |tensors| {
        let norm = tensors.remove("model.norm.weight").unwrap();
        tensors.insert("model.norm.bias".into(), norm.clone());
        tensors.insert(
            "model.layers.0.self_attn.rotary_emb.inv_freq".into(),
            norm.clone(),
        );
        tensors.insert("lm_head.weight".into(), norm);
        let up = tensors
            .get_mut("model.layers.1.mlp.up_proj.weight")
            .unwrap();
        up.1.reverse();
        let k = tensors
            .get_mut("model.layers.1.self_attn.k_proj.weight")
            .unwrap();
        k.0 = Dtype::I32;
    });
    let message = load_model(dir.path(), &device).unwrap_err().to_string();
    assert!(
        message.starts_with(&dir.path().display().to_string()),
        "{message}"
    );
    for part in [
        "`model.norm.weight` is missing",
        "`model.norm.bias` is unknown",
        "`model.layers.1.mlp.up_proj.weight` is [16, 24], must be [24, 16]",
        "`model.layers.1.self_attn.k_proj.weight` is I32",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(
        !message.contains("inv_freq") && !message.contains("lm_head"),
        "{message}"
    );
}

#[test]
fn damaged_folders_are_errors_that_name_the_file() {
    let device = Device::flex();
    let config = config();
    let model = Transformer::init(&config, 5, &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let weights = dir.path().join("model.safetensors");
    let fails = |name: &str| {
        let message = load_model(dir.path(), &device).unwrap_err().to_string();
        assert!(message.contains(name), "{name}: {message}");
    };
    fails("config.json");
    save_model(dir.path(), &model, &config).unwrap();
    let whole = std::fs::read(&weights).unwrap();
    for length in [0, 7, 8, 100, whole.len() - 4] {
        std::fs::write(&weights, &whole[..length]).unwrap();
        fails("model.safetensors");
    }
    // A header longer than the file, and one that is not JSON.
    std::fs::write(
        &weights,
        [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat(),
    )
    .unwrap();
    fails("model.safetensors");
    std::fs::write(&weights, [&whole[..8], &[b'x'; 64], &whole[72..]].concat()).unwrap();
    fails("model.safetensors");
    // Offsets that point elsewhere.
    let text = String::from_utf8_lossy(&whole[8..600]).replace("[0,", "[9,");
    std::fs::write(
        &weights,
        [&whole[..8], text.as_bytes(), &whole[600..]].concat(),
    )
    .unwrap();
    fails("model.safetensors");
    std::fs::remove_file(&weights).unwrap();
    fails("model.safetensors");
    std::fs::write(&weights, &whole).unwrap();
    std::fs::write(
        dir.path().join("generation_config.json"),
        "{\"eos_token_id\": \"x\"}",
    )
    .unwrap();
    fails("generation_config.json");
    std::fs::write(
        dir.path().join("generation_config.json"),
        "{\"eos_token_id\": [3, 7]}",
    )
    .unwrap();
    assert_eq!(
        load_model(dir.path(), &device).unwrap().1.eos_token_id,
        [1, 3, 7]
    );
    std::fs::write(
        dir.path().join("config.json"),
        "{\"model_type\": \"mamba\"}",
    )
    .unwrap();
    fails("mamba");
    std::fs::write(dir.path().join("config.json"), "{\"model_type\": \"gpt2\"}").unwrap();
    fails("missing field `vocab_size`");
}

/// A saved folder whose last block stands in a file of its own.
fn sharded(dir: &Path, model: &Transformer) -> [std::path::PathBuf; 3] {
    save_model(dir, model, &config()).unwrap();
    let path = |name: &str| dir.join(name);
    let shards = [1, 2].map(|n| path(&format!("model-0000{n}-of-00002.safetensors")));
    let mut moved = BTreeMap::new();
    let whole = path("model.safetensors");
    std::fs::copy(&whole, path("whole")).unwrap();
    rewrite(dir, |tensors| {
        moved = tensors.split_off("model.layers.1");
    });
    std::fs::rename(&whole, &shards[0]).unwrap();
    std::fs::rename(path("whole"), &whole).unwrap();
    rewrite(dir, |tensors| *tensors = moved);
    std::fs::rename(&whole, &shards[1]).unwrap();
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors"}}"#;
    let index_path = path("model.safetensors.index.json");
    std::fs::write(&index_path, index).unwrap();
    let [first, second] = shards;
    [first, second, index_path]
}

#[test]
fn weights_may_be_split_over_files() {
    let device = Device::flex();
    let model = Transformer::init(&config(), 5, &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [_, second, index] = sharded(dir.path(), &model);
    let (back, _) = load_model(dir.path(), &device).unwrap();
    assert_eq!(values(&back), values(&model));
    std::fs::remove_file(second).unwrap();
    let message = || load_model(dir.path(), &device).unwrap_err().to_string();
    assert!(
        message().contains("`model-00002-of-00002.safetensors`"),
        "{}",
        message()
    );
    for outside in [
        "../x.safetensors",
        "/etc/passwd",
        "..",
        "",
        "C:x.safetensors",
    ] {
        let text = serde_json::json!({"weight_map": {"a": outside}}).to_string();
        std::fs::write(&index, text).unwrap();
        let message = message();
        assert!(
            message.contains("index.json") && message.contains(outside),
            "{message}"
        );
    }
    for broken in [
        "{",
        "[]",
        "{}",
        r#"{"weight_map": {}}"#,
        r#"{"weight_map": {"a": 1}}"#,
    ] {
        std::fs::write(&index, broken).unwrap();
        assert!(message().contains("index.json"), "{broken}: {}", message());
    }
}

#[test]
fn wrong_tensors_of_all_files_are_listed_at_once() {
    let device = Device::flex();
    let model = Transformer::init(&config(), 5, &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let shards = sharded(dir.path(), &model);
    let changes: [fn(&mut Tensors); 2] = [
        |tensors| {
            let embedding = tensors.get_mut("model.embed_tokens.weight").unwrap();
            embedding.1 = vec![20, 32];
            tensors.remove("model.layers.0.mlp.up_proj.weight").unwrap();
        },
        |tensors| {
            let norm = tensors.remove("model.norm.weight").unwrap();
            tensors.insert("model.norm.bias".into(), norm.clone());
            tensors.insert("model.layers.0.input_layernorm.weight".into(), norm);
        },
    ];
    let single = dir.path().join("model.safetensors");
    for (shard, change) in shards.iter().zip(changes) {
        std::fs::rename(shard, &single).unwrap();
        rewrite(dir.path(), change);
        std::fs::rename(&single, shard).unwrap();
    }
    let message = load_model(dir.path(), &device).unwrap_err().to_string();
    for part in [
        "`model.embed_tokens.weight` is [20, 32], must be [40, 16]",
        "`model.layers.0.mlp.up_proj.weight` is missing",
        "`model.norm.weight` is missing",
        "`model.norm.bias` is unknown",
        "`model.layers.0.input_layernorm.weight` is in more than one file",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_score_model_round_trips_and_the_two_kinds_are_not_mixed_up() {
    let device = Device::flex();
    let config = ModelConfig {
        tie_word_embeddings: false,
        ..config()
    };
    let policy = Transformer::init(&config, 5, &device).unwrap();
    let model = ScoreModel::from_backbone(policy.clone(), 9);
    assert_ne!(
        model.backbone.norm.weight.id, policy.norm.weight.id,
        "fresh ids"
    );
    let dir = tempfile::tempdir().unwrap();
    save_score_model(dir.path(), &model, &config).unwrap();
    let back = load_score_model(dir.path(), &device).unwrap();
    assert_eq!(values(&back), values(&model));
    assert_eq!(values(&back).last().unwrap().0, "score.weight");
    let batch = TokenBatch::right_padded(&[vec![5, 6, 7], vec![8]], &device);
    let scores: Vec<f32> = back
        .last_token_scores(&batch)
        .into_data()
        .iter::<f32>()
        .collect();
    let all: Vec<f32> = model.scores(&batch).into_data().iter::<f32>().collect();
    assert_eq!(scores, [all[2], all[3]]);
    let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    assert!(text.contains("\"num_labels\": 1"));
    let message = load_model(dir.path(), &device).unwrap_err().to_string();
    assert!(message.contains("reward model"), "{message}");
    save_model(dir.path(), &policy, &config).unwrap();
    let message = load_score_model(dir.path(), &device)
        .unwrap_err()
        .to_string();
    assert!(message.contains("language model"), "{message}");
    assert_eq!(model.backbone.vocab_size(), 40);
}

#[test]
fn weights_that_are_no_numbers_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Transformer::init(&config(), 1, &Device::flex()).unwrap();
    save_model(dir.path(), &model, &config()).unwrap();
    let norm = model.norm.weight.val();
    model.norm.weight = burn::module::Param::from_tensor(norm * f32::NAN);
    let error = save_model(dir.path(), &model, &config()).unwrap_err();
    assert!(error.to_string().contains("model.norm.weight"), "{error}");
    let (kept, _) = load_model(dir.path(), &Device::flex()).unwrap();
    NamedTensor::all_finite(&named_parameters(&kept), dir.path()).unwrap();
}
