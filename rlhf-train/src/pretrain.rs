//! Pre-training: predict the next token of running text.

use crate::checkpoint;
use crate::parameters::named_parameters;
use crate::schedule::lr_multiplier;
use crate::supervised::SupervisedUpdate;
use crate::{AdamW, AdamWConfig, Outcome, Progress, RunContext, Schedule, TrainError};
use burn::module::Module;
use rlhf_data::{PackedRow, Sampler, TokenSequence, pack};
use rlhf_model::{CausalLm, Transformer};
use serde::{Deserialize, Serialize};

/// The settings of pre-training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainConfig {
    /// Updates.
    pub steps: u64,
    /// Packed rows an update.
    pub batch_size: usize,
    /// Rows a forward pass; the update is the same whatever it is.
    pub micro_batch_size: usize,
    /// Tokens a packed row.
    pub sequence_length: usize,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Updates in which the rate climbs from 0.
    pub warmup_steps: u64,
    /// How the rate falls afterwards.
    pub schedule: Schedule,
    /// The lowest rate, as a share of the highest.
    pub floor: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// The bound on the global norm of the gradients.
    pub max_grad_norm: f64,
    /// Updates between checkpoints; 0 saves only when interrupted.
    pub checkpoint_every: u64,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            steps: 1600,
            batch_size: 16,
            micro_batch_size: 16,
            sequence_length: 128,
            learning_rate: 3e-3,
            warmup_steps: 60,
            schedule: Schedule::Cosine,
            floor: 0.03,
            beta2: 0.98,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            checkpoint_every: 500,
        }
    }
}

impl PretrainConfig {
    fn optimiser(&self) -> AdamWConfig {
        AdamWConfig {
            learning_rate: self.learning_rate,
            beta2: self.beta2,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            ..AdamWConfig::default()
        }
    }

    fn lr_multiplier(&self, done: u64) -> f64 {
        lr_multiplier(
            self.schedule,
            done,
            self.warmup_steps,
            self.steps,
            self.floor,
        )
    }

    /// Refuses settings that can't be used.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse =
            |key: &str, reason: &str| Err(TrainError::config(format!("pretrain.{key}"), reason));
        if self.batch_size == 0 || self.micro_batch_size == 0 {
            return refuse(
                "batch_size",
                "batch_size and micro_batch_size must be at least 1",
            );
        }
        if self.sequence_length < 2 {
            return refuse(
                "sequence_length",
                "must be at least 2, so that something is predicted",
            );
        }
        if !(0.0..=1.0).contains(&self.floor) {
            return refuse("floor", "must be between 0 and 1");
        }
        self.optimiser().validate("pretrain")
    }
}

/// Trains a model on documents, packed into rows whose documents don't see each other.
///
/// # Errors
/// If there is nothing to train on, the training diverges, or the state can't be written.
pub fn pretrain(
    config: &PretrainConfig,
    documents: &[TokenSequence],
    model: Transformer,
    ctx: &mut RunContext<'_>,
) -> Result<Outcome<Transformer>, TrainError> {
    config.validate()?;
    let rows: Vec<PackedRow> = pack(documents, config.sequence_length);
    if rows.is_empty() {
        let reason = "there is no text to train on".to_owned();
        return Err(TrainError::NoData {
            stage: "pretrain".into(),
            reason,
        });
    }
    let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    TrainError::unless_in_context("pretrain.sequence_length", longest, model.max_positions())?;
    let mut model = model.train();
    let mut optimiser = AdamW::new(config.optimiser());
    let mut sampler = Sampler::new(ctx.seed, rows.len());
    if let Some(mut saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? {
        sampler = saved.state()?;
        model = saved.load("model", model)?;
        let settings = (config.optimiser(), saved.step);
        optimiser = saved.load_adamw("adamw", settings, &model)?;
    }
    let steps = config.steps;
    while optimiser.updates() < steps {
        let step = optimiser.updates() + 1;
        let chosen = sampler.next_batch(config.batch_size);
        let batch: Vec<&PackedRow> = chosen.iter().map(|&i| &rows[i]).collect();
        let update = SupervisedUpdate {
            stage: ("pretrain", steps),
            rows: &batch,
            numbers: &chosen,
            micro_batch: config.micro_batch_size,
            lr_multiplier: config.lr_multiplier(step - 1),
            device: &ctx.device,
        };
        let metrics;
        (model, metrics) = update.make(model, &mut optimiser)?;
        ctx.record(&metrics)?;
        let at = Progress {
            step,
            steps,
            checkpoint_every: config.checkpoint_every,
        };
        let groups = || {
            vec![
                ("model", named_parameters(&model)),
                ("adamw", optimiser.state(&model)),
            ]
        };
        if ctx.checkpoint(at, &sampler, groups)? {
            return Ok(Outcome::Interrupted { step });
        }
    }
    Ok(Outcome::Finished(model.valid()))
}
