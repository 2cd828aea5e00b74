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
    let Some(RopeScaling::Llama3(rope)) = config.rope_scaling else {
        panic!("{:?}", config.rope_scaling);
    };
    assert_eq!(rope.factor, 8.0);
    assert!(message(&tiny(r#", "rope_scaling": {"rope_type": "yarn"}"#)).contains("yarn"));
}

#[test]
fn linear_stretching_is_read() {
    let text = tiny(r#", "rope_scaling": {"type": "linear", "factor": 4.0}"#);
    let scaling = ModelConfig::from_json(&text).unwrap().rope_scaling;
    assert_eq!(scaling, Some(RopeScaling::Linear { factor: 4.0 }));
    assert!(message(&tiny(r#", "rope_scaling": {"type": "linear"}"#)).contains("factor"));
    let zero = tiny(r#", "rope_scaling": {"type": "linear", "factor": 0.0}"#);
    assert!(message(&zero).contains("rope_scaling"));
}

#[test]
fn what_only_one_family_has_is_read_for_it_alone() {
    let of =
        |family: &str, extra: &str| ModelConfig::from_json(&tiny(extra).replace("llama", family));
    let window = r#", "sliding_window": 8"#;
    assert_eq!(of("llama", window).unwrap().sliding_window, None);
    assert_eq!(of("qwen2", window).unwrap().sliding_window, None);
    assert_eq!(of("mistral", window).unwrap().sliding_window, Some(8));
    assert_eq!(of("mistral", "").unwrap().sliding_window, Some(4096));
    let none = of("mistral", r#", "sliding_window": null"#);
    assert_eq!(none.unwrap().sliding_window, None);
    let text = r#", "use_sliding_window": true"#;
    assert!(
        of("qwen2", text)
            .unwrap_err()
            .to_string()
            .contains("use_sliding_window")
    );
    let gemma = r#", "hidden_act": "gelu_pytorch_tanh", "attn_logit_softcapping": 50.0"#;
    let config = of("gemma2", gemma).unwrap();
    assert_eq!(config.attn_logit_softcapping, Some(50.0));
    assert!(config.tie_word_embeddings);
    let types = format!(r#"{gemma}, "layer_types": ["sliding_attention", "full_attention"]"#);
    of("gemma2", &types).unwrap();
    let swapped = format!(r#"{gemma}, "layer_types": ["full_attention", "sliding_attention"]"#);
    assert!(
        of("gemma2", &swapped)
            .unwrap_err()
            .to_string()
            .contains("layer_types")
    );
    assert!(of("gemma2", r#", "hidden_act": "silu""#).is_err());
}

#[test]
fn gpt2_has_names_of_its_own() {
    let base = r#"{"model_type": "gpt2", "vocab_size": 50, "n_embd": 32, "n_layer": 2,
        "n_head": 4, "n_positions": 64"#;
    let config = ModelConfig::from_json(&format!("{base}}}")).unwrap();
    assert_eq!((config.hidden_size, config.intermediate_size), (32, 128));
    assert_eq!(
        (config.max_position_embeddings, config.rms_norm_eps),
        (64, 1e-5)
    );
    assert!(config.tie_word_embeddings);
    for (extra, field) in [
        (r#""activation_function": "relu""#, "relu"),
        (r#""scale_attn_weights": false"#, "scale_attn_weights"),
        (r#""add_cross_attention": true"#, "add_cross_attention"),
        (
            r#""scale_attn_by_inverse_layer_idx": true"#,
            "inverse_layer",
        ),
        (r#""n_head": 5"#, "n_head"),
    ] {
        let text = format!("{base}, {extra}}}");
        if field == "n_head" {
            assert!(ModelConfig::from_json(&text).is_err(), "a key twice");
        } else {
            assert!(message(&text).contains(field), "{field}");
        }
    }
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
    assert!(message(r#"{"model_type": "mamba"}"#).contains("mamba"));
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

/// Transformers refuses a fraction in the place of a whole number.
#[test]
fn whole_numbers_are_written_as_such() {
    let written = |scalar| {
        let config = ModelConfig {
            family: Family::Gemma2,
            query_pre_attn_scalar: scalar,
            ..ModelConfig::default()
        };
        serde_json::to_value(&config).unwrap()["query_pre_attn_scalar"].to_string()
    };
    assert_eq!(written(Some(224.0)), "224");
    assert_eq!(written(None), "32");
    assert_eq!(written(Some(0.5)), "0.5");
}

#[test]
fn a_round_trip_keeps_every_field() {
    let config = ModelConfig {
        head_dim: Some(16),
        rope_scaling: Some(RopeScaling::Llama3(Llama3Rope {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        })),
        eos_token_id: vec![3, 4],
        bos_token_id: Some(1),
        ..ModelConfig::default()
    };
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<ModelConfig>(&text).unwrap(), config);
    assert_eq!(ModelConfig::from_json(&text).unwrap(), config);
}
