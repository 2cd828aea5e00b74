use super::*;
use crate::tiny::{config, lora};
use crate::{CausalLm, Family, ModelConfig, ScoreModel, TokenBatch, Transformer};
use burn::optim::GradientsParams;
use burn::tensor::Device;

fn batch(device: &Device) -> TokenBatch {
    TokenBatch::right_padded(&[vec![3u32, 5, 7, 9], vec![4, 6]], device)
}

fn logits(model: &Transformer) -> Vec<f32> {
    let logits = model.forward(&batch(&model.device()));
    logits.into_data().iter::<f32>().collect()
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    let gaps = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, f32::max)
}

/// A model whose trained adapters are no longer 0.
fn disturbed(mut model: Transformer, seed: u64) -> Transformer {
    let mut rng = Rng::new(seed);
    for linear in model.linears_mut() {
        for adapter in linear.adapters.iter_mut().filter(|a| a.trained) {
            let [rank, out] = adapter.b.dims();
            let values: Vec<f32> = (0..rank * out).map(|_| 0.1 * rng.normal() as f32).collect();
            let b = Tensor::from_data(
                TensorData::new(values, [rank, out]),
                &adapter.b.val().device(),
            );
            adapter.b = Param::from_tensor(b);
        }
    }
    model
}

#[test]
fn a_fresh_adapter_changes_nothing_and_a_merged_one_computes_the_same() {
    let device = Device::flex();
    for family in [Family::Llama, Family::Gpt2, Family::Gemma2] {
        let config = ModelConfig { family, ..config() };
        let config = match family {
            Family::Gpt2 => ModelConfig {
                num_key_value_heads: 4,
                ..config
            },
            _ => config,
        };
        let plain = Transformer::init(&config, 1, &device).unwrap();
        let before = logits(&plain);
        let model = plain.with_lora(&lora(3, &["all-linear"]), 7).unwrap();
        assert_eq!(far(&logits(&model), &before), 0.0, "{family:?}");
        let model = disturbed(model, 2);
        let adapted = logits(&model);
        assert!(far(&adapted, &before) > 1e-2, "{family:?}");
        assert!(far(&logits(&model.reference()), &before) == 0.0);
        let merged = model.merged();
        assert!(!merged.has_adapters());
        assert!(far(&logits(&merged), &adapted) < 1e-4, "{family:?}");
    }
}

#[test]
fn only_adapters_and_a_score_head_have_gradients() {
    let device = Device::flex();
    let plain = Transformer::init(&config(), 1, &device).unwrap();
    let model = plain
        .with_lora(&lora(2, &["q_proj", "down_proj"]), 7)
        .unwrap();
    let model = disturbed(model, 3);
    let score = ScoreModel::from_backbone(model, 4);
    let score = ScoreModel {
        backbone: disturbed(score.backbone, 5),
        ..score
    }
    .train();
    let loss = score.last_token_scores(&batch(&device)).sum();
    let gradients = GradientsParams::from_grads(loss.backward(), &score);
    // Two matrices a block, A and B each, and the head.
    assert_eq!(gradients.len(), 2 * 2 * 2 + 1);
    for block in &score.backbone.layers {
        assert!(gradients.get::<2>(block.down.adapters[0].a.id).is_some());
        assert!(gradients.get::<2>(block.down.weight.id).is_none());
    }
}

#[test]
fn adapters_stack_and_the_reference_keeps_the_earlier_ones() {
    let device = Device::flex();
    let plain = Transformer::init(&config(), 1, &device).unwrap();
    let first = disturbed(plain.with_lora(&lora(2, &["q_proj"]), 7).unwrap(), 8);
    let start = logits(&first);
    let second = disturbed(first.with_lora(&lora(4, &["all-linear"]), 9).unwrap(), 10);
    assert_eq!(second.layers[0].qkv[0].adapters.len(), 2);
    assert!(far(&logits(&second), &start) > 1e-2);
    assert_eq!(far(&logits(&second.reference()), &start), 0.0);
    assert!(far(&logits(&second.clone().merged()), &logits(&second)) < 1e-4);
}

#[test]
fn dropout_works_in_training_alone_and_repeats_by_its_stream() {
    let device = Device::flex();
    let settings = LoraConfig {
        dropout: 0.5,
        ..lora(4, &["all-linear"])
    };
    let plain = Transformer::init(&config(), 1, &device).unwrap();
    let model = disturbed(plain.with_lora(&settings, 7).unwrap(), 8);
    let of = |seed: u64, training: bool| {
        let model = model.clone().dropping(Rng::new(seed));
        let model = if training { model.train() } else { model };
        let logits = model.forward(&batch(&device)).into_data();
        logits.iter::<f32>().collect::<Vec<_>>()
    };
    assert_eq!(of(1, false), logits(&model));
    assert_eq!(of(1, true), of(1, true));
    assert!(far(&of(1, true), &of(2, true)) > 1e-3);
    assert!(far(&of(1, true), &of(1, false)) > 1e-3);
}

#[test]
fn dropped_numbers_are_made_up_for_by_the_others() {
    let x = Tensor::<2>::ones([200, 50], &Device::flex());
    let y = dropped(x, 0.2, Rng::new(3)).into_data();
    let values: Vec<f32> = y.iter::<f32>().collect();
    assert!(values.iter().all(|&v| v == 0.0 || (v - 1.25).abs() < 1e-6));
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    assert!((mean - 1.0).abs() < 0.02, "{mean}");
}
