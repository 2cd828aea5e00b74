use super::*;
use crate::tiny::{config, lora};
use crate::{CausalLm, LoraConfig, ModelConfig, TokenBatch, save_model};
use burn::tensor::Device;

/// Adapters whose `B` is no longer 0.
fn adapted(model: Transformer, lora: &LoraConfig, seed: u64) -> Transformer {
    let mut model = model.with_lora(lora, seed).unwrap();
    for (i, linear) in model.linears_mut().into_iter().enumerate() {
        for adapter in linear.adapters.iter_mut().filter(|a| a.is_trained()) {
            let b = adapter.b.val() + 0.01 * (i as f64 + 1.0);
            adapter.b = burn::module::Param::from_tensor(b);
        }
    }
    model
}

fn bits(model: &Transformer) -> Vec<u32> {
    let batch = TokenBatch::right_padded(&[vec![3u32, 5, 7, 9], vec![4, 6]], &model.device());
    let logits = model.forward(&batch).into_data();
    logits.iter::<f32>().map(f32::to_bits).collect()
}

fn json(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join(CONFIG)).unwrap()).unwrap()
}

#[test]
fn a_round_trip_keeps_every_bit() {
    let device = Device::flex();
    let base = Transformer::init(&config(), 5, &device).unwrap();
    let settings = LoraConfig {
        alpha: 12.0,
        rslora: true,
        dropout: 0.1,
        ..lora(3, &["q_proj", "v_proj"])
    };
    let model = adapted(base.clone(), &settings, 6);
    let dir = tempfile::tempdir().unwrap();
    save_adapter(dir.path(), &model, &"org/base".into()).unwrap();
    let info = read_adapter_info(dir.path()).unwrap();
    assert_eq!(
        (&info.base, info.is_classifier),
        (&"org/base".into(), false)
    );
    let back = load_adapter(dir.path(), base).unwrap();
    assert_eq!(bits(&back), bits(&model));
    let json = json(dir.path());
    assert_eq!((&json["r"], &json["lora_alpha"]), (&json!(3), &json!(12.0)));
    assert_eq!(json["target_modules"], json!(["q_proj", "v_proj"]));
    assert_eq!(
        (&json["use_rslora"], &json["lora_dropout"]),
        (&json!(true), &json!(0.1))
    );
    assert_eq!(json["task_type"], "CAUSAL_LM");
}

#[test]
fn stacked_adapters_are_written_as_one() {
    let device = Device::flex();
    let base = Transformer::init(&config(), 5, &device).unwrap();
    let first = adapted(base.clone(), &lora(2, &["q_proj"]), 6);
    let second = adapted(first, &lora(4, &["layers.1.*"]), 7);
    let dir = tempfile::tempdir().unwrap();
    save_adapter(dir.path(), &second, &"base".into()).unwrap();
    assert_eq!(json(dir.path())["r"], 6);
    let back = load_adapter(dir.path(), base).unwrap();
    let floats =
        |model: &Transformer| -> Vec<f32> { bits(model).into_iter().map(f32::from_bits).collect() };
    let pairs = floats(&back).into_iter().zip(floats(&second));
    let gap = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(gap < 1e-5, "{gap}");
}

#[test]
fn a_reward_models_head_is_saved_beside() {
    let device = Device::flex();
    let base = Transformer::init(&config(), 5, &device).unwrap();
    let backbone = adapted(base.clone(), &lora(2, &["all-linear"]), 6);
    let model = ScoreModel::from_backbone(backbone, 9);
    let dir = tempfile::tempdir().unwrap();
    save_score_adapter(dir.path(), &model, &"base".into()).unwrap();
    assert!(read_adapter_info(dir.path()).unwrap().is_classifier);
    assert_eq!(json(dir.path())["modules_to_save"], json!(["score"]));
    let back = load_score_adapter(dir.path(), base.clone()).unwrap();
    let batch = TokenBatch::right_padded(&[vec![3u32, 5, 7]], &device);
    let scores = |m: &ScoreModel| m.last_token_scores(&batch).into_data();
    assert_eq!(scores(&back), scores(&model));
    // A language model has no place for the head, a reward model needs one.
    let text = load_adapter(dir.path(), base.clone())
        .unwrap_err()
        .to_string();
    assert!(text.contains("score.weight"), "{text}");
    save_adapter(dir.path(), &back.backbone, &"base".into()).unwrap();
    let text = load_score_adapter(dir.path(), base)
        .unwrap_err()
        .to_string();
    assert!(text.contains("`score.weight` is missing"), "{text}");
}

#[test]
fn whatever_does_not_fit_is_named_at_once() {
    let device = Device::flex();
    let base = Transformer::init(&config(), 5, &device).unwrap();
    let model = adapted(base.clone(), &lora(2, &["q_proj", "up_proj"]), 6);
    let dir = tempfile::tempdir().unwrap();
    save_adapter(dir.path(), &model, &"base".into()).unwrap();
    let smaller = ModelConfig {
        num_hidden_layers: 1,
        intermediate_size: 20,
        ..config()
    };
    let other = Transformer::init(&smaller, 5, &device).unwrap();
    let text = load_adapter(dir.path(), other).unwrap_err().to_string();
    assert!(
        text.contains("layers.1.self_attn.q_proj.lora_A.weight` is unknown"),
        "{text}"
    );
    assert!(
        text.contains("up_proj") && text.contains("must be [rank, 16]"),
        "{text}"
    );
    // Whole folders have no place for adapters.
    let text = save_model(dir.path(), &model, model.config())
        .unwrap_err()
        .to_string();
    assert!(text.contains("merge"), "{text}");
}

#[test]
fn settings_that_compute_something_else_are_refused() {
    let device = Device::flex();
    let base = Transformer::init(&config(), 5, &device).unwrap();
    let model = adapted(base, &lora(2, &["q_proj"]), 6);
    let dir = tempfile::tempdir().unwrap();
    save_adapter(dir.path(), &model, &"base".into()).unwrap();
    let good = json(dir.path());
    let changes = [
        ("peft_type", json!("IA3"), "IA3"),
        ("use_dora", json!(true), "use_dora"),
        ("bias", json!("all"), "bias"),
        ("alpha_pattern", json!({"q_proj": 3}), "alpha_pattern"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save"),
        (
            "base_model_name_or_path",
            json!(null),
            "base_model_name_or_path",
        ),
        ("lora_alpha", json!("x"), "adapter_config.json"),
    ];
    for (key, value, said) in changes {
        let mut changed = good.clone();
        changed[key] = value;
        std::fs::write(dir.path().join(CONFIG), changed.to_string()).unwrap();
        let text = read_adapter_info(dir.path()).unwrap_err().to_string();
        assert!(text.contains(said), "{key}: {text}");
    }
}
