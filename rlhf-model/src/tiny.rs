//! A model of a few thousand numbers for tests.

use crate::{LoraConfig, ModelConfig};

pub(crate) fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 40,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        max_position_embeddings: 32,
        ..ModelConfig::default()
    }
}

/// Adapters of a rank on the matrices that these patterns name.
pub(crate) fn lora(rank: usize, targets: &[&str]) -> LoraConfig {
    LoraConfig {
        rank,
        target_modules: targets.iter().map(|&target| target.to_owned()).collect(),
        ..LoraConfig::default()
    }
}
