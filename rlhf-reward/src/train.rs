//! Training a reward model on comparisons.

use crate::RewardError;
use crate::model::score_sequences;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rlhf_data::{ChatTokenizer, Comparison, Sampler};
use rlhf_model::{ScoreModel, TokenBatch, Transformer};
use rlhf_random::Rng;
use rlhf_train::parameters::{named_parameters, with_parameters};
use rlhf_train::schedule::lr_multiplier;
use rlhf_train::supervised::scalar;
use rlhf_train::{
    AdamW, AdamWConfig, Metrics, Outcome, RunContext, Schedule, TrainError, checkpoint,
};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The share of the comparisons that is held out to measure accuracy and to see when to stop.
const HELD_OUT_SHARE: f64 = 0.08;

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
        let refuse = |key: &str, reason: &str| Err(TrainError::config(format!("reward.{key}"), reason));
        if self.batch_size == 0 || self.micro_batch_size == 0 {
            return refuse("batch_size", "batch_size and micro_batch_size must be at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return refuse("learning_rate", "must be above 0");
        }
        if self.evaluate_every == 0 {
            return refuse("evaluate_every", "must be at least 1");
        }
        Ok(())
    }
}

/// How well a reward model agrees with comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardSummary {
    /// Mean over prompts of the mean over their pairs of −log σ(chosen − rejected).
    pub loss: f64,
    /// Pairs whose chosen answer scores strictly higher.
    pub correct: usize,
    /// Pairs.
    pub pairs: usize,
    /// Mean score over the compared answers.
    pub mean_score: f64,
}

impl RewardSummary {
    /// The share of pairs whose chosen answer scores strictly higher; 0 without pairs.
    pub fn accuracy(&self) -> f64 {
        if self.pairs == 0 { 0.0 } else { self.correct as f64 / self.pairs as f64 }
    }
}

/// A comparison as token ids.
#[derive(Clone, Debug)]
pub struct EncodedComparison {
    sequences: Vec<Vec<u32>>,
    pairs: Vec<(usize, usize)>,
}

/// Comparisons as token ids. A prompt too long loses its start, the same for all its answers.
///
/// # Errors
/// If a prompt can't be rendered or an answer alone is longer than `max_length`.
pub fn encode_comparisons(
    tokenizer: &ChatTokenizer,
    comparisons: &[Comparison],
    max_length: usize,
) -> Result<Vec<EncodedComparison>, RewardError> {
    let encode = |c: &Comparison| {
        let sequences = c.responses.iter().map(|r| tokenizer.encode_answer(&c.prompt, r));
        let mut sequences = sequences.collect::<Result<Vec<_>, _>>()?;
        let longest = sequences.iter().map(|s| s.ids.len()).max().unwrap_or(0);
        let surplus = longest.saturating_sub(max_length);
        for sequence in &mut sequences {
            sequence.truncate_start(sequence.ids.len() - surplus.min(sequence.ids.len()))?;
        }
        let sequences = sequences.into_iter().map(|s| s.ids).collect();
        Ok(EncodedComparison { sequences, pairs: c.pairs.clone() })
    };
    comparisons.iter().map(encode).collect()
}

/// Measures a reward model on comparisons.
///
/// # Errors
/// If a sequence can't be scored.
pub fn evaluate_comparisons(
    model: &ScoreModel,
    comparisons: &[&EncodedComparison],
    batch_size: usize,
    device: &Device,
) -> Result<RewardSummary, RewardError> {
    let sequences = comparisons.iter().flat_map(|c| c.sequences.iter().map(Vec::as_slice));
    let sequences: Vec<&[u32]> = sequences.collect();
    let scores = score_sequences(model, &sequences, batch_size, device)?;
    let (mut loss, mut correct, mut pairs, mut first) = (0.0, 0, 0, 0);
    for comparison in comparisons {
        let scores = &scores[first..first + comparison.sequences.len()];
        first += comparison.sequences.len();
        let margins = comparison.pairs.iter().map(|&(b, w)| f64::from(scores[b] - scores[w]));
        let margins: Vec<f64> = margins.collect();
        correct += margins.iter().filter(|&&m| m > 0.0).count();
        pairs += margins.len();
        let of_prompt: f64 = margins.iter().map(|m| (-m).exp().ln_1p()).sum();
        loss += of_prompt / margins.len().max(1) as f64;
    }
    let mean_score = scores.iter().map(|&s| f64::from(s)).sum::<f64>() / scores.len().max(1) as f64;
    Ok(RewardSummary { loss: loss / comparisons.len().max(1) as f64, correct, pairs, mean_score })
}

/// The loss of some of an update's comparisons, normalised by all its prompts (and pairs, for the
/// centring term), so that micro-batches add up to the whole. All answers to a prompt go through
/// one forward pass and weigh 1/C(K, 2) a pair (Ouyang et al., 2022, equation 1).
fn comparison_loss(
    model: &ScoreModel,
    part: &[&EncodedComparison],
    (prompts, pairs): (usize, usize),
    centre_coef: f64,
    device: &Device,
) -> Result<Tensor<1>, RewardError> {
    let rows: Vec<&[u32]> =
        part.iter().flat_map(|c| c.sequences.iter().map(Vec::as_slice)).collect();
    let batch = TokenBatch::right_padded(&rows, device);
    let scores = model.last_token_scores(&batch);
    let (mut better, mut worse, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    let mut first = 0;
    for comparison in part {
        let weight = 1.0 / (comparison.pairs.len() * prompts) as f32;
        for &(b, w) in &comparison.pairs {
            better.push((first + b) as i64);
            worse.push((first + w) as i64);
            weights.push(weight);
        }
        first += comparison.sequences.len();
    }
    let n = weights.len();
    let index = |v: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(v, [n]), device);
    let chosen = scores.clone().select(0, index(better));
    let rejected = scores.select(0, index(worse));
    let weights = Tensor::<1>::from_data(TensorData::new(weights, [n]), device);
    let loss = -(log_sigmoid(chosen.clone() - rejected.clone()) * weights).sum();
    if centre_coef == 0.0 {
        return Ok(loss);
    }
    Ok(loss + (chosen + rejected).powi_scalar(2).sum() * (centre_coef / pairs as f64))
}

#[derive(Serialize, Deserialize)]
struct RewardState {
    sampler: Sampler,
    best: RewardSummary,
}

/// Trains a reward model on comparisons, from a language model's trunk (usually the fine-tuned
/// one), and returns the weights with the lowest held-out loss and what they score there.
///
/// # Errors
/// If there is too little to train on, the training diverges, or the state can't be written.
pub fn train_reward(
    config: &RewardConfig,
    comparisons: &[EncodedComparison],
    backbone: Transformer,
    ctx: &mut RunContext<'_>,
) -> Result<Outcome<(ScoreModel, RewardSummary)>, RewardError> {
    config.validate()?;
    let mut rows: Vec<&EncodedComparison> =
        comparisons.iter().filter(|c| !c.pairs.is_empty()).collect();
    if rows.len() < 2 {
        let reason = format!("{} prompts with a preference; at least 2 are needed", rows.len());
        return Err(TrainError::NoData { stage: "reward".into(), reason }.into());
    }
    Rng::new(ctx.seed).key("reward").key("held out").shuffle(&mut rows);
    let held_out = ((rows.len() as f64 * HELD_OUT_SHARE) as usize).clamp(1, 256);
    let held_out: Vec<&EncodedComparison> = rows.drain(..held_out).collect();
    let measure = |model: &ScoreModel, device: &Device| {
        evaluate_comparisons(model, &held_out, 4 * config.micro_batch_size, device)
    };

    let mut model = ScoreModel::from_backbone(backbone, ctx.seed).train();
    let mut best = model.valid();
    let mut optimiser = AdamW::new(config.optimiser());
    let mut state = RewardState {
        sampler: Sampler::new(ctx.seed, rows.len()),
        best: measure(&best, &ctx.device)?,
    };
    if let Some(mut saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? {
        state = saved.state()?;
        let path = saved.path.clone();
        let misfit = |reason| TrainError::Checkpoint { path: path.clone(), reason };
        model = with_parameters(model, saved.take("model")?).map_err(misfit)?;
        best = with_parameters(best, saved.take("best")?).map_err(misfit)?;
        let moments = saved.take("adamw")?;
        optimiser = AdamW::restore(config.optimiser(), saved.step, &model, moments, &path)?;
    }
    while optimiser.updates() < config.steps {
        let started = Instant::now();
        let step = optimiser.updates() + 1;
        let chosen = state.sampler.next_batch(config.batch_size);
        let batch: Vec<&EncodedComparison> = chosen.iter().map(|&i| rows[i]).collect();
        let sizes = (batch.len(), batch.iter().map(|c| c.pairs.len()).sum());
        let mut accumulator = GradientsAccumulator::new();
        let mut loss = 0.0;
        for part in batch.chunks(config.micro_batch_size) {
            let part_loss = comparison_loss(&model, part, sizes, config.centre_coef, &ctx.device)?;
            loss += scalar(&part_loss);
            accumulator.accumulate(&model, GradientsParams::from_grads(part_loss.backward(), &model));
        }
        let multiplier =
            lr_multiplier(config.schedule, step - 1, config.warmup_steps, config.steps, 0.0);
        let (updated, grad_norm) = optimiser
            .step(model, accumulator.grads(), multiplier)
            .map_err(|e| e.at("reward", step, &chosen))?;
        model = updated;
        let tokens: usize = batch.iter().flat_map(|c| &c.sequences).map(Vec::len).sum();
        let mut metrics = Metrics::new("reward", step, config.steps)
            .with("loss", loss)
            .with("learning_rate", config.learning_rate * multiplier)
            .with("grad_norm", grad_norm)
            .with("tokens_per_s", tokens as f64 / started.elapsed().as_secs_f64());
        if step % config.evaluate_every == 0 || step == config.steps {
            let candidate = model.valid();
            let found = measure(&candidate, &ctx.device)?;
            if found.loss < state.best.loss {
                (state.best, best) = (found, candidate);
            }
            metrics = metrics.with("eval_loss", found.loss).with("eval_accuracy", found.accuracy());
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
    Ok(Outcome::Finished((best, state.best)))
}
