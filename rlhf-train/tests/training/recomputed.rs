//! Gradient checkpointing gives the gradients that keeping everything gives.

use crate::tiny::{device, documents, model};
use burn::module::Module;
use rlhf_data::PackedRow;
use rlhf_model::{Family, LoraConfig, ModelConfig, Transformer};
use rlhf_random::Rng;
use rlhf_train::parameters::{NamedTensor, named_parameters, trained_parameters, with_parameters};
use rlhf_train::supervised::{row_of, supervised_gradients};
use rlhf_train::{AdamW, AdamWConfig};

/// The model after one update, by name: what the gradients made of it.
fn updated(model: Transformer, on: bool) -> (f64, f64, Vec<NamedTensor>) {
    let rows: Vec<PackedRow> = documents(7).iter().map(row_of).collect();
    let rows: Vec<&PackedRow> = rows.iter().collect();
    let model = model.with_gradient_checkpointing(on).train();
    let model = model.dropping(Rng::new(5));
    let mut found = supervised_gradients(&model, &rows, 3, &device()).unwrap();
    let config = AdamWConfig {
        eps: 1.0, // The step is nearly the gradient.
        ..AdamWConfig::default()
    };
    let (model, norm) = AdamW::new(config)
        .step(model, &mut found.gradients, 1e3)
        .unwrap();
    (found.loss, norm, trained_parameters(&model))
}

fn assert_alike(model: &Transformer, what: &str) {
    let (loss, norm, kept) = updated(model.clone(), false);
    let (other_loss, other_norm, recomputed) = updated(model.clone(), true);
    assert_eq!(loss, other_loss, "{what}");
    assert!(
        (norm - other_norm).abs() < 1e-6 * norm,
        "{what}: {norm} {other_norm}"
    );
    assert_eq!(kept.len(), recomputed.len(), "{what}");
    for (kept, recomputed) in kept.iter().zip(&recomputed) {
        let pairs = kept.values.iter().zip(&recomputed.values);
        let gap = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(gap < 1e-6, "{what}: {} differs by {gap}", kept.name);
    }
}

#[test]
fn whole_weights() {
    let tied = model();
    assert_alike(&tied, "tied");
    let config = tied.config().clone();
    let untied = ModelConfig {
        tie_word_embeddings: false,
        ..config.clone()
    };
    assert_alike(&Transformer::init(&untied, 5, &device()).unwrap(), "untied");
    for family in [Family::Gpt2, Family::Gemma2] {
        let config = ModelConfig {
            family,
            num_key_value_heads: 2,
            ..config.clone()
        };
        let model = Transformer::init(&config, 5, &device()).unwrap();
        assert_alike(&model, &format!("{family:?}"));
    }
}

#[test]
fn adapters_with_dropout() {
    let lora = LoraConfig {
        rank: 2,
        dropout: 0.3,
        ..LoraConfig::default()
    };
    let model = model().with_lora(&lora, 3).unwrap();
    let moved = named_parameters(&model).into_iter().map(|mut tensor| {
        if tensor.name.ends_with(".b") {
            tensor.values.iter_mut().for_each(|x| *x = 0.05);
        }
        tensor
    });
    let model = with_parameters(model.clone(), moved.collect()).unwrap();
    assert_alike(&model, "adapters");
}
