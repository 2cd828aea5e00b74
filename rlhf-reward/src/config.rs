//! The settings of reward-model training.

use rlhf_train::{AdamWConfig, Schedule, TrainError};
use serde::{Deserialize, Serialize};

/// The settings of reward-model training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RewardConfig {
    /// Updates at most; the weights with the lowest held-out loss are kept.
    pub steps: u64,
    /// Prompts an update, each with all its compared answers.
    pub batch_size: usize,
    /// Prompts a forward pass; the update is the same whatever it is.
    pub micro_batch_size: usize,
    /// Tokens of prompt and answer at most: a longer prompt loses its start.
    pub max_length: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Updates in which the rate climbs from 0.
    pub warmup_steps: u64,
    /// How the rate falls afterwards.
    pub schedule: Schedule,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// The bound on the global norm of the gradients.
    pub max_grad_norm: f64,
    /// Pulls chosen + rejected towards 0.
    pub centre_coef: f64,
    /// Updates between measurements of the held-out loss.
    pub evaluate_every: u64,
    /// Updates between checkpoints; 0 saves only when interrupted.
    pub checkpoint_every: u64,
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self {
            steps: 150,
            batch_size: 16,
            micro_batch_size: 16,
            max_length: 128,
            learning_rate: 2e-4,
            warmup_steps: 10,
            schedule: Schedule::Linear,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            centre_coef: 0.01,
            evaluate_every: 25,
            checkpoint_every: 100,
        }
    }
}

impl RewardConfig {
    pub(crate) fn optimiser(&self) -> AdamWConfig {
        AdamWConfig {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            ..AdamWConfig::default()
        }
    }

    /// Refuses settings that can't be used.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse =
            |key: &str, reason: &str| Err(TrainError::config(format!("reward.{key}"), reason));
        if self.batch_size == 0 || self.micro_batch_size == 0 {
            return refuse(
                "batch_size",
                "batch_size and micro_batch_size must be at least 1",
            );
        }
        if self.max_length < 2 {
            return refuse("max_length", "must be at least 2");
        }
        if !(self.centre_coef >= 0.0 && self.centre_coef.is_finite()) {
            return refuse("centre_coef", "must not be below 0");
        }
        if self.evaluate_every == 0 {
            return refuse("evaluate_every", "must be at least 1");
        }
        self.optimiser().validate("reward")
    }
}
