//! What training will need of memory, before it starts.
//!
//! Counted from the shapes: weights, gradients, AdamW's moments, the best weights so far, and what a
//! forward pass keeps for the backward pass. What fused operations keep is counted; families that run
//! on plain ones (Gemma 2, GPT-2) keep more.

use crate::TrainError;
use rlhf_kernels::KEPT_LOGITS;
use rlhf_model::{LoraConfig, ModelConfig, ModelError};

/// Bytes of a number.
const F32: u64 = 4;
/// Bytes of code, threads and what is too small to be counted, as measured.
const PROGRAM: u64 = 18 << 20;
/// One part in so many of what is in use that the allocator holds beside it, as measured.
const SLACK: u64 = 20;

/// What a stage of training holds at once.
#[derive(Clone, Copy, Debug)]
pub struct TrainingShape<'a> {
    /// The model's shape.
    pub model: &'a ModelConfig,
    /// Its adapters.
    pub lora: &'a LoraConfig,
    /// Whether blocks are computed again in the backward pass.
    pub gradient_checkpointing: bool,
    /// Models that are trained: 1, and 2 for PPO's policy and value model.
    pub trained: u64,
    /// Whole models beside them that are not trained, such as a reference whose weights are not
    /// those of the trained model.
    pub frozen: u64,
    /// Whether the best weights so far are kept.
    pub keeps_best: bool,
    /// Parts of the rows at work at once, each on the way to a gradient.
    pub parts: u64,
    /// Gradients beside theirs: the sums of those of parts before.
    pub sums: u64,
    /// Tokens of the forward passes at once that gradients are wanted of.
    pub tokens: u64,
    /// Those of them whose log-probs are wanted.
    pub targets: u64,
}

/// Bytes by what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainingMemory {
    /// The program itself, and what its allocator holds beside what is in use.
    pub program: u64,
    /// All models' weights.
    pub weights: u64,
    /// Gradients of what is trained, as far as they do not take the place of what forward passes kept.
    pub gradients: u64,
    /// AdamW's two moments.
    pub optimiser: u64,
    /// The best weights so far.
    pub best: u64,
    /// What forward passes keep of the blocks.
    pub activations: u64,
    /// Logits.
    pub logits: u64,
}

impl TrainingMemory {
    /// All of it.
    pub fn total(&self) -> u64 {
        let parts = [
            self.program,
            self.weights,
            self.gradients,
            self.optimiser,
            self.best,
            self.activations,
            self.logits,
        ];
        parts.into_iter().fold(0, u64::saturating_add)
    }
}

/// What a stage needs.
///
/// # Errors
/// If the adapters fit no matrix of the model.
pub fn training_memory(shape: &TrainingShape<'_>) -> Result<TrainingMemory, ModelError> {
    let config = shape.model;
    let weights = config.num_parameters() as u64;
    let trained = shape.lora.num_trained(config)? as u64;
    let adapters = if shape.lora.is_on() { trained } else { 0 };
    let times = |a: u64, b: u64| a.saturating_mul(b);
    let per_block = kept_by_block(config, shape.lora.is_on());
    let layers = config.num_hidden_layers as u64;
    let per_token = if shape.gradient_checkpointing {
        // What enters each block; one block and what enters it a second time while it goes back.
        config.hidden_size as u64 * layers + per_block
    } else {
        per_block * layers
    };
    // The backward pass of a block holds about as much again for a moment.
    let activations = times(shape.tokens, per_token + per_block);
    let logits = times(shape.targets, config.vocab_size as u64).min(KEPT_LOGITS as u64);
    let (activations, logits) = (times(F32, activations), times(2 * F32, logits));
    // On the way back a part's gradient grows while what its forward pass kept shrinks.
    let gradient = times(F32, trained);
    let growing = times(gradient, shape.parts);
    let beyond = growing.saturating_sub(activations.saturating_add(logits));
    let mut memory = TrainingMemory {
        program: 0,
        weights: times(F32, times(weights, shape.trained + shape.frozen) + adapters),
        gradients: times(gradient, shape.sums).saturating_add(beyond),
        optimiser: times(2, times(gradient, shape.trained)),
        best: if shape.keeps_best { gradient } else { 0 },
        activations,
        logits,
    };
    memory.program = PROGRAM.saturating_add(memory.total() / SLACK);
    Ok(memory)
}

/// Numbers a token that a block keeps for the backward pass: the inputs of its norms, queries, keys,
/// values and attention's result, and the feed-forward part's two inner parts. Adapters keep what they
/// are applied to: what the norms give, and the product of the inner parts.
fn kept_by_block(config: &ModelConfig, adapted: bool) -> u64 {
    let d = config.hidden_size as u64;
    let heads = (config.num_attention_heads * config.head_dim()) as u64;
    let kv = (config.num_key_value_heads * config.head_dim()) as u64;
    let inner = config.intermediate_size as u64;
    let kept = 2 * d + 2 * heads + 2 * kv + 2 * inner;
    if adapted { kept + 2 * d + inner } else { kept }
}

/// Refuses a stage that can't fit.
///
/// # Errors
/// [`TrainError::TooLarge`] with what is needed, what there is, and what to change.
pub fn unless_too_large(
    stage: &str,
    memory: &TrainingMemory,
    available: u64,
) -> Result<(), TrainError> {
    if memory.total() <= available {
        return Ok(());
    }
    Err(TrainError::TooLarge {
        stage: stage.to_owned(),
        needed: memory.total(),
        available,
        passes: memory.activations.saturating_add(memory.logits),
    })
}

/// Bytes as people read them.
pub fn shown_bytes(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 1024.0 {
        format!("{mib:.0} MiB")
    } else {
        format!("{:.1} GiB", mib / 1024.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape<'a>(model: &'a ModelConfig, lora: &'a LoraConfig) -> TrainingShape<'a> {
        TrainingShape {
            model,
            lora,
            gradient_checkpointing: false,
            trained: 1,
            frozen: 0,
            keeps_best: true,
            parts: 1,
            sums: 0,
            tokens: 1000,
            targets: 500,
        }
    }

    #[test]
    fn full_weights_cost_four_numbers_a_parameter_and_their_best_copy() {
        let (config, lora) = (ModelConfig::default(), LoraConfig::default());
        let memory = training_memory(&shape(&config, &lora)).unwrap();
        let weights = 4 * config.num_parameters() as u64;
        assert_eq!(memory.weights, weights);
        assert_eq!((memory.optimiser, memory.best), (2 * weights, weights));
        assert_eq!(memory.logits, 2 * 4 * 500 * config.vocab_size as u64);
        // The gradient takes the place of what was kept, and needs more of its own where that was less.
        let kept = memory.activations + memory.logits;
        assert_eq!(memory.gradients, weights.saturating_sub(kept));
        let parts = TrainingShape {
            parts: 3,
            sums: 1,
            tokens: 1,
            targets: 1,
            ..shape(&config, &lora)
        };
        let memory = training_memory(&parts).unwrap();
        let kept = memory.activations + memory.logits;
        assert_eq!(memory.gradients, 4 * weights - kept);
        let counted = memory.total() - memory.program;
        assert_eq!(memory.program, PROGRAM + counted / SLACK);
    }

    #[test]
    fn adapters_and_checkpointing_save_what_they_are_for() {
        let config = ModelConfig::default();
        let none = LoraConfig::default();
        let lora = LoraConfig {
            rank: 4,
            ..LoraConfig::default()
        };
        let full = training_memory(&shape(&config, &none)).unwrap();
        let adapted = training_memory(&shape(&config, &lora)).unwrap();
        assert!(adapted.optimiser < full.optimiser / 4);
        assert!(adapted.weights > full.weights && adapted.weights < 2 * full.weights);
        let again = TrainingShape {
            gradient_checkpointing: true,
            ..shape(&config, &none)
        };
        assert!(training_memory(&again).unwrap().activations < full.activations);
        // Whatever the sizes are, the sum is a number.
        let huge = TrainingShape {
            tokens: u64::MAX,
            targets: u64::MAX,
            ..shape(&config, &none)
        };
        let huge = training_memory(&huge).unwrap();
        assert_eq!(huge.total(), u64::MAX);
        let error = unless_too_large("sft", &huge, 1 << 30).unwrap_err();
        assert!(
            error.to_string().contains("sft.micro_batch_size"),
            "{error}"
        );
        unless_too_large("sft", &full, full.total()).unwrap();
    }

    #[test]
    fn bytes_are_shown_as_people_read_them() {
        assert_eq!(shown_bytes(300 << 20), "300 MiB");
        assert_eq!(shown_bytes(3 << 29), "1.5 GiB");
    }
}
