//! Supervised fine-tuning: learn to answer from demonstrations, loss on the answers only.

use crate::checkpoint;
use crate::parameters::{misfit, named_parameters, with_parameters};
use crate::schedule::lr_multiplier;
use crate::supervised::{evaluate, row_of, supervised_gradients, trained_tokens};
use crate::{AdamW, AdamWConfig, Metrics, Outcome, RunContext, Schedule, TrainError};
use burn::module::Module;
use rlhf_data::{PackedRow, Sampler, TokenSequence, pack};
use rlhf_model::Transformer;
use rlhf_random::Rng;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The share of the demonstrations that is held out to see when to stop.
const HELD_OUT_SHARE: f64 = 0.05;

/// The settings of supervised fine-tuning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    /// Updates at most; the weights with the lowest held-out loss are kept.
    pub steps: u64,
    /// Demonstrations an update.
    pub batch_size: usize,
    /// Rows a forward pass; the update is the same whatever it is.
    pub micro_batch_size: usize,
    /// Tokens of a demonstration at most: a longer prompt loses its start, a longer answer is a
    /// bad row.
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
    /// Rows of pre-training text mixed into an update, as a share of its demonstrations.
    pub pretraining_share: f64,
    /// Updates between measurements of the held-out loss.
    pub evaluate_every: u64,
    /// Updates between checkpoints; 0 saves only when interrupted.
    pub checkpoint_every: u64,
}

impl Default for SftConfig {
    fn default() -> Self {
        Self {
            steps: 120,
            batch_size: 32,
            micro_batch_size: 32,
            max_length: 128,
            learning_rate: 1.5e-4,
            warmup_steps: 5,
            schedule: Schedule::Linear,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            pretraining_share: 0.2,
            evaluate_every: 20,
            checkpoint_every: 100,
        }
    }
}

impl SftConfig {
    fn optimiser(&self) -> AdamWConfig {
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
        let refuse = |key: &str, reason: &str| Err(TrainError::config(format!("sft.{key}"), reason));
        if self.batch_size == 0 || self.micro_batch_size == 0 {
            return refuse("batch_size", "batch_size and micro_batch_size must be at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return refuse("learning_rate", "must be above 0");
        }
        if self.evaluate_every == 0 {
            return refuse("evaluate_every", "must be at least 1");
        }
        if !(0.0..=10.0).contains(&self.pretraining_share) {
            return refuse("pretraining_share", "must be between 0 and 10");
        }
        Ok(())
    }
}

/// What fine-tuning reads.
#[derive(Clone, Copy, Debug)]
pub struct SftData<'a> {
    /// Demonstrations, their answers carrying loss.
    pub demonstrations: &'a [TokenSequence],
    /// Running text to mix in; may be empty.
    pub pretraining: &'a [TokenSequence],
}

/// The demonstrations that fit, and how many prompts lost their start.
///
/// # Errors
/// If an answer does not fit, or a demonstration has no answer or nothing but an answer.
pub fn fit_demonstrations(
    demonstrations: &[TokenSequence],
    max_length: usize,
) -> Result<(Vec<PackedRow>, usize), TrainError> {
    let mut truncated = 0;
    let mut rows = Vec::with_capacity(demonstrations.len());
    for (i, sequence) in demonstrations.iter().enumerate() {
        let mut sequence = sequence.clone();
        let unusable = |reason: String| TrainError::NoData {
            stage: "sft".into(),
            reason: format!("demonstration {}: {reason}", i + 1),
        };
        let dropped = sequence.truncate_start(max_length).map_err(|e| unusable(e.to_string()))?;
        truncated += usize::from(dropped > 0);
        let row = row_of(&sequence);
        match trained_tokens(&row) {
            0 => return Err(unusable("no token of it carries loss".into())),
            n if n == row.ids.len() => return Err(unusable("all its tokens carry loss".into())),
            _ => rows.push(row),
        }
    }
    Ok((rows, truncated))
}

#[derive(Serialize, Deserialize)]
struct SftState {
    demonstrations: Sampler,
    pretraining: Option<Sampler>,
    best_loss: f64,
}

/// Fine-tunes a model on demonstrations and returns the weights with the lowest held-out loss.
///
/// # Errors
/// If there is nothing to train on, an answer does not fit, the training diverges, or the state
/// can't be written.
pub fn sft(
    config: &SftConfig,
    data: SftData<'_>,
    model: Transformer,
    ctx: &mut RunContext<'_>,
) -> Result<Outcome<Transformer>, TrainError> {
    config.validate()?;
    let (mut rows, truncated) = fit_demonstrations(data.demonstrations, config.max_length)?;
    if rows.len() < 2 {
        let reason = format!("{} demonstrations; at least 2 are needed", rows.len());
        return Err(TrainError::NoData { stage: "sft".into(), reason });
    }
    Rng::new(ctx.seed).key("sft").key("held out").shuffle(&mut rows);
    let held_out = ((rows.len() as f64 * HELD_OUT_SHARE) as usize).clamp(1, 256);
    let held_out: Vec<PackedRow> = rows.drain(..held_out).collect();
    let held_out: Vec<&PackedRow> = held_out.iter().collect();
    let text = pack(data.pretraining, config.max_length);

    let mut model = model.train();
    let mut best = model.valid();
    let mut optimiser = AdamW::new(config.optimiser());
    let mut state = SftState {
        demonstrations: Sampler::new(ctx.seed, rows.len()),
        pretraining: (!text.is_empty()).then(|| Sampler::new(ctx.seed ^ 1, text.len())),
        best_loss: evaluate(&best, &held_out, config.micro_batch_size, &ctx.device)?,
    };
    if let Some(mut saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? {
        state = saved.state()?;
        let path = saved.path.clone();
        let misfit = |reason| misfit(&path, "the model", reason);
        let (weights, kept) = (saved.take("model")?, saved.take("best")?);
        model = with_parameters(model, weights).map_err(misfit)?;
        best = with_parameters(best, kept).map_err(misfit)?;
        let moments = saved.take("adamw")?;
        optimiser = AdamW::restore(config.optimiser(), saved.step, &model, moments, &path)?;
    }
    let text_rows = (config.batch_size as f64 * config.pretraining_share).round() as usize;
    while optimiser.updates() < config.steps {
        let started = Instant::now();
        let step = optimiser.updates() + 1;
        let chosen = state.demonstrations.next_batch(config.batch_size);
        let mut batch: Vec<&PackedRow> = chosen.iter().map(|&i| &rows[i]).collect();
        if let Some(sampler) = &mut state.pretraining {
            batch.extend(sampler.next_batch(text_rows).into_iter().map(|i| &text[i]));
        }
        let found = supervised_gradients(&model, &batch, config.micro_batch_size, &ctx.device)?;
        let multiplier =
            lr_multiplier(config.schedule, step - 1, config.warmup_steps, config.steps, 0.0);
        let (updated, grad_norm) = optimiser
            .step(model, found.gradients, multiplier)
            .map_err(|e| e.at("sft", step, &chosen))?;
        model = updated;
        let seconds = started.elapsed().as_secs_f64();
        let mut metrics = Metrics::new("sft", step, config.steps)
            .with("loss", found.loss)
            .with("learning_rate", config.learning_rate * multiplier)
            .with("grad_norm", grad_norm)
            .with("tokens", found.tokens as f64)
            .with("tokens_per_s", found.tokens as f64 / seconds)
            .with("truncated_prompts", truncated as f64);
        if step % config.evaluate_every == 0 || step == config.steps {
            let candidate = model.valid();
            let loss = evaluate(&candidate, &held_out, config.micro_batch_size, &ctx.device)?;
            if loss < state.best_loss {
                state.best_loss = loss;
                best = candidate;
            }
            metrics = metrics.with("eval_loss", loss).with("best_eval_loss", state.best_loss);
        }
        ctx.record(&metrics)?;
        let due = config.checkpoint_every > 0 && step % config.checkpoint_every == 0;
        if ctx.is_interrupted() || (due && step < config.steps) {
            let groups = [
                ("model", named_parameters(&model)),
                ("best", named_parameters(&best)),
                ("adamw", optimiser.state(&model)),
            ];
            checkpoint::save(&ctx.dir, &ctx.fingerprint, step, &state, &groups)?;
        }
        if ctx.is_interrupted() {
            return Ok(Outcome::Interrupted { step });
        }
    }
    Ok(Outcome::Finished(best))
}
