//! A tiny model and rows for it.

use burn::tensor::{Device, Tensor};
use rlhf_model::{ModelConfig, Transformer};

pub(crate) fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 50,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 200,
        ..ModelConfig::default()
    }
}

pub(crate) fn model(device: &Device) -> Transformer {
    Transformer::init(&config(), 11, device).expect("the configuration is sound")
}

#[allow(deprecated)] // burn-ndarray: the second opinion until it is gone
pub(crate) fn devices() -> [Device; 2] {
    [Device::flex(), Device::ndarray()]
}

pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Sixteen rows of 1 to 23 tokens.
pub(crate) fn prompts() -> Vec<Vec<u32>> {
    (0..16u32)
        .map(|i| {
            (0..1 + (i * 5) % 23)
                .map(|t| (t * 7 + i * 3) % 50)
                .collect()
        })
        .collect()
}
