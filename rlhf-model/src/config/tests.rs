use super::*;

fn tiny(extra: &str) -> String {
    format!(
        r#"{{"model_type": "llama", "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2{extra}}}"#
    )
}

fn message(text: &str) -> String {
    ModelConfig::from_json(text).unwrap_err().to_string()
}

#[test]
fn both_spellings_of_rope_are_read() {
    let old = ModelConfig::from_json(&tiny(r#", "rope_theta": 500.0, "rope_scaling": null"#));
    assert_eq!(old.unwrap().rope_theta, 500.0);
    let text = tiny(r#", "rope_parameters": {"rope_theta": 700.0, "rope_type": "default"}"#);
    assert_eq!(ModelConfig::from_json(&text).unwrap().rope_theta, 700.0);
    let text = tiny(
        r#", "rope_theta": 500.0, "rope_scaling": {"type": "llama3", "factor": 8.0,
        "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}"#,
    );
    let config = ModelConfig::from_json(&text).unwrap();
    assert_eq!(config.rope_theta, 500.0);
    assert_eq!(config.rope_scaling.unwrap().factor, 8.0);
    assert!(message(&tiny(r#", "rope_scaling": {"rope_type": "yarn"}"#)).contains("yarn"));
}

#[test]
fn token_ids_may_be_one_a_list_or_absent() {
    let text = tiny(r#", "eos_token_id": [5, 7], "bos_token_id": 1, "pad_token_id": -1"#);
    let config = ModelConfig::from_json(&text).unwrap();
    assert_eq!(config.eos_token_id, [5, 7]);
    assert_eq!((config.bos_token_id, config.pad_token_id), (Some(1), None));
    let config = ModelConfig::from_json(&tiny(r#", "eos_token_id": 9"#)).unwrap();
    assert_eq!(config.eos_token_id, [9]);
    assert!(message(&tiny(r#", "eos_token_id": 400"#)).contains("vocab_size 400"));
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    for (extra, name) in [
        (
            r#", "architectures": ["LlamaForTokenClassification"]"#,
            "LlamaForTokenClassification",
        ),
        (r#", "hidden_act": "gelu""#, "gelu"),
        (r#", "attention_bias": true"#, "attention_bias"),
        (r#", "mlp_bias": true"#, "mlp_bias"),
        (r#", "quantization_config": {}"#, "quantization_config"),
    ] {
        assert!(message(&tiny(extra)).contains(name), "{name}");
    }
    assert!(message(r#"{"model_type": "mistral"}"#).contains("mistral"));
    assert!(message("{}").contains("model_type"));
    assert!(message("[1]").contains("model_type"));
    assert!(message("{").contains("config.json"));
}

#[test]
fn contradictions_are_named() {
    type Change = fn(&mut ModelConfig);
    let cases: [(&str, Change); 8] = [
        ("num_attention_heads", |c| c.num_attention_heads = 5),
        ("num_key_value_heads", |c| c.num_key_value_heads = 3),
        ("vocab_size", |c| c.vocab_size = 0),
        ("num_hidden_layers", |c| c.num_hidden_layers = usize::MAX),
        ("head_dim", |c| c.head_dim = Some(3)),
        ("rms_norm_eps", |c| c.rms_norm_eps = f64::NAN),
        ("rope_theta", |c| c.rope_theta = 0.0),
        ("hidden_size", |c| {
            c.hidden_size = 1 << 26;
            c.intermediate_size = 1 << 26;
        }),
    ];
    for (field, change) in cases {
        let mut config = ModelConfig::default();
        change(&mut config);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains(field), "{field}: {error}");
    }
}

#[test]
fn a_round_trip_keeps_every_field() {
    let config = ModelConfig {
        head_dim: Some(16),
        rope_scaling: Some(Llama3Rope {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        }),
        eos_token_id: vec![3, 4],
        bos_token_id: Some(1),
        ..ModelConfig::default()
    };
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    assert_eq!(ModelConfig::from_json(&text).unwrap(), config);
}
