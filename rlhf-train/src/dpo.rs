//! Direct preference optimisation: a policy learns from pairs of answers without a reward model.

mod pairs;

pub use pairs::{PairLogprobs, PreferencePair, encode_pairs, pair_logprobs};

use crate::gradients::{Division, Summed, summed_gradients};
use crate::held_out::hold_out;
use crate::parameters::{NamedTensor, trained_parameters, with_trained};
use crate::schedule::lr_multiplier;
use crate::supervised::scalar;
use crate::{
    AdamW, AdamWConfig, Kept, Metrics, Outcome, Progress, RunContext, Schedule, TrainError,
    checkpoint,
};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use pairs::{Answer, Reference, answer_logprobs, division, no_data};
use rlhf_data::Sampler;
use rlhf_loss::{DpoInput, DpoLoss, PairLengths, dpo_loss};
use rlhf_model::cores::each_part;
use rlhf_model::{CausalLm, Transformer};
use rlhf_random::Rng;
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The share of the pairs that is held out to measure accuracy and to see when to stop.
const HELD_OUT_SHARE: f64 = 0.08;

/// The settings of direct preference optimisation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DpoConfig {
    /// Updates at most; the weights with the lowest held-out loss are kept.
    pub steps: u64,
    /// Pairs an update.
    pub batch_size: usize,
    /// Pairs a forward pass; the update is the same whatever it is.
    pub micro_batch_size: usize,
    /// Tokens of prompt and answer at most: a longer prompt loses its start, a longer answer is a
    /// bad row.
    pub max_length: usize,
    /// How strongly the policy is held to the reference.
    pub beta: f64,
    /// The share of labels that is taken to be flipped (cDPO; Mitchell, 2023).
    pub label_smoothing: f64,
    /// The weight of the language-model loss on chosen answers, a mean over their tokens.
    pub sft_coef: f64,
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
    /// Updates between measurements of the held-out loss.
    pub evaluate_every: u64,
    /// Updates between checkpoints; 0 saves only when interrupted.
    pub checkpoint_every: u64,
}

impl Default for DpoConfig {
    fn default() -> Self {
        Self {
            steps: 150,
            batch_size: 32,
            micro_batch_size: 32,
            max_length: 128,
            beta: 0.1,
            label_smoothing: 0.0,
            sft_coef: 0.0,
            learning_rate: 2e-4,
            warmup_steps: 10,
            schedule: Schedule::Linear,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            evaluate_every: 25,
            checkpoint_every: 100,
        }
    }
}

impl DpoConfig {
    fn optimiser(&self) -> AdamWConfig {
        AdamWConfig {
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            ..AdamWConfig::default()
        }
    }

    fn kind(&self) -> DpoLoss {
        if self.label_smoothing == 0.0 {
            return DpoLoss::Sigmoid;
        }
        DpoLoss::Conservative {
            label_smoothing: self.label_smoothing,
        }
    }

    /// Refuses settings that can't be used.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse =
            |key: &str, reason: &str| Err(TrainError::config(format!("dpo.{key}"), reason));
        if self.batch_size == 0 || self.micro_batch_size == 0 {
            let reason = "batch_size and micro_batch_size must be at least 1";
            return refuse("batch_size", reason);
        }
        if self.max_length < 2 {
            let reason = "must be at least 2: a token of prompt, one of answer";
            return refuse("max_length", reason);
        }
        if !(self.beta.is_finite() && self.beta > 0.0) {
            return refuse("beta", "must be a positive number");
        }
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return refuse("label_smoothing", "must be at least 0 and below 0.5");
        }
        if !(self.sft_coef.is_finite() && self.sft_coef >= 0.0) {
            return refuse("sft_coef", "must be 0 or above");
        }
        if self.evaluate_every == 0 {
            return refuse("evaluate_every", "must be at least 1");
        }
        self.optimiser().validate("dpo")
    }
}

/// What a batch of pairs gave, as sums over its pairs (and `nll` over the chosen answers' tokens).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DpoFigures {
    /// The preference loss.
    pub loss: f64,
    /// −log p of the chosen answers.
    pub nll: f64,
    /// Of chosen answers, β · log(p / p of the reference).
    pub chosen_rewards: f64,
    /// Of rejected answers.
    pub rejected_rewards: f64,
    /// Pairs whose chosen answer has the higher reward.
    pub correct: f64,
}

impl DpoFigures {
    fn sum(parts: &[Self]) -> Self {
        parts.iter().fold(Self::default(), |a, b| Self {
            loss: a.loss + b.loss,
            nll: a.nll + b.nll,
            chosen_rewards: a.chosen_rewards + b.chosen_rewards,
            rejected_rewards: a.rejected_rewards + b.rejected_rewards,
            correct: a.correct + b.correct,
        })
    }
}

/// Sums of the loss over pairs, of −log p over the chosen answers, and what to log.
fn part_loss(
    config: &DpoConfig,
    model: &Transformer,
    pairs: &[&PreferencePair],
    reference: &[PairLogprobs],
    device: &Device,
) -> Result<([Tensor<1>; 2], DpoFigures), TrainError> {
    let [chosen_logps, rejected_logps] = answer_logprobs(model, pairs, device)?;
    let floats = |values: Vec<f32>| {
        let shape = [values.len()];
        Tensor::<1>::from_data(TensorData::new(values, shape), device)
    };
    let lengths = |tokens: Vec<i64>| {
        let shape = [tokens.len()];
        Tensor::<1, Int>::from_data(TensorData::new(tokens, shape), device)
    };
    let of = |answer: fn(&PreferencePair) -> &Answer| {
        lengths(
            pairs
                .iter()
                .map(|pair| answer(pair).tokens() as i64)
                .collect(),
        )
    };
    let nll = chosen_logps.clone().sum().neg();
    let input = DpoInput {
        chosen_logps,
        rejected_logps,
        ref_chosen_logps: floats(reference.iter().map(|r| r.0).collect()),
        ref_rejected_logps: floats(reference.iter().map(|r| r.1).collect()),
        lengths: PairLengths {
            chosen: of(|pair| &pair.chosen),
            rejected: of(|pair| &pair.rejected),
        },
    };
    let output = dpo_loss(input, config.beta, config.kind());
    let loss = output.per_pair.sum();
    let figures = DpoFigures {
        loss: scalar(&loss),
        nll: scalar(&nll),
        chosen_rewards: scalar(&output.chosen_rewards.sum()),
        rejected_rewards: scalar(&output.rejected_rewards.sum()),
        correct: scalar(&output.accuracy) * pairs.len() as f64,
    };
    Ok(([loss, nll], figures))
}

/// What is trained on and what is held out, by number.
struct DpoRows {
    trained: Vec<usize>,
    held_out: Vec<usize>,
}

impl DpoRows {
    fn new(pairs: &[PreferencePair], context: usize, seed: u64) -> Result<Self, TrainError> {
        if pairs.len() < 2 {
            let reason = format!("{} pairs; at least 2 are needed", pairs.len());
            return Err(no_data(reason));
        }
        let without = |pair: &PreferencePair| pair.chosen.tokens() * pair.rejected.tokens() == 0;
        if let Some(i) = pairs.iter().position(without) {
            let reason = "an answer without tokens has no probability";
            return Err(no_data(format!("pair {}: {reason}", i + 1)));
        }
        let longest = |pair: &PreferencePair| pair.chosen.ids.len().max(pair.rejected.ids.len());
        let longest = pairs.iter().map(longest).max().unwrap_or(0);
        TrainError::unless_in_context("dpo.max_length", longest, context)?;
        let mut numbers: Vec<usize> = (0..pairs.len()).collect();
        let mut rng = Rng::new(seed).key("dpo").key("held out");
        rng.shuffle(&mut numbers);
        let ids = |&i: &usize| (&pairs[i].chosen.ids, &pairs[i].rejected.ids);
        let held_out = hold_out(&mut numbers, HELD_OUT_SHARE, ids);
        Ok(Self {
            trained: numbers,
            held_out,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct DpoState {
    sampler: Sampler,
    best_loss: f64,
    best_step: u64,
}

/// A run between two updates.
struct Dpo<'a> {
    config: &'a DpoConfig,
    pairs: &'a [PreferencePair],
    rows: DpoRows,
    reference: Reference,
    state: DpoState,
    best: Vec<NamedTensor>,
    optimiser: AdamW,
}

/// Trains a model on pairs of answers (Rafailov et al., 2023), held to the model that it starts
/// from, and returns the weights with the lowest held-out loss.
///
/// # Errors
/// If there is too little to train on, the training diverges, or the state can't be written.
pub fn dpo(
    config: &DpoConfig,
    pairs: &[PreferencePair],
    model: Transformer,
    ctx: &mut RunContext<'_>,
) -> Result<Outcome<Kept<Transformer>>, TrainError> {
    config.validate()?;
    let rows = DpoRows::new(pairs, model.max_positions(), ctx.seed)?;
    let (mut run, mut model) = Dpo::start(config, (pairs, rows), model, ctx)?;
    while run.optimiser.updates() < config.steps {
        let metrics;
        (model, metrics) = run.update(model, ctx)?;
        ctx.record(&metrics)?;
        let (step, steps) = (run.optimiser.updates(), config.steps);
        let at = Progress {
            step,
            steps,
            checkpoint_every: config.checkpoint_every,
        };
        let groups = || checkpoint::of_run(&model, &run.best, &run.optimiser);
        if ctx.checkpoint(at, &run.state, groups)? {
            return Ok(Outcome::Interrupted { step });
        }
    }
    Ok(Outcome::Finished(Kept {
        model: with_trained(model, run.best).valid(),
        step: run.state.best_step,
    }))
}

impl<'a> Dpo<'a> {
    /// From the beginning, or from the last checkpoint.
    fn start(
        config: &'a DpoConfig,
        (pairs, rows): (&'a [PreferencePair], DpoRows),
        model: Transformer,
        ctx: &RunContext<'_>,
    ) -> Result<(Self, Transformer), TrainError> {
        let reference = model.reference();
        let mut model = model.train();
        let mut run = Self {
            config,
            pairs,
            state: DpoState {
                sampler: Sampler::new(ctx.seed, rows.trained.len()),
                best_loss: 0.0,
                best_step: 0,
            },
            rows,
            best: trained_parameters(&model),
            reference: Reference::new(reference, pairs.len()),
            optimiser: AdamW::new(config.optimiser()),
        };
        let Some(mut saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? else {
            run.state.best_loss = run.held_out(&model.valid(), ctx)?.loss;
            return Ok((run, model));
        };
        run.state = saved.state()?;
        (model, run.best, run.optimiser) = saved.load_run(config.optimiser(), model)?;
        Ok((run, model))
    }

    /// How a model does on what was held out, as means over its pairs.
    fn held_out(
        &mut self,
        model: &Transformer,
        ctx: &RunContext<'_>,
    ) -> Result<DpoFigures, TrainError> {
        let (config, numbers, device) = (self.config, &self.rows.held_out, &ctx.device);
        let size = 4 * config.micro_batch_size;
        let reference = self.reference.logprobs(self.pairs, numbers, size, device)?;
        let pairs: Vec<&PreferencePair> = numbers.iter().map(|&i| &self.pairs[i]).collect();
        let division = division(model, &pairs, size, device);
        let parts = each_part(&division.parts, division.cores, |part| {
            let (rows, reference) = of_part(part, &pairs, &reference);
            Ok::<_, TrainError>(part_loss(config, model, &rows, &reference, device)?.1)
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (sum, n) = (DpoFigures::sum(&parts), pairs.len() as f64);
        let tokens: usize = pairs.iter().map(|pair| pair.chosen.tokens()).sum();
        let nll = sum.nll / tokens as f64;
        Ok(DpoFigures {
            loss: sum.loss / n + config.sft_coef * nll,
            nll,
            chosen_rewards: sum.chosen_rewards / n,
            rejected_rewards: sum.rejected_rewards / n,
            correct: sum.correct / n,
        })
    }

    fn update(
        &mut self,
        model: Transformer,
        ctx: &RunContext<'_>,
    ) -> Result<(Transformer, Metrics), TrainError> {
        let (config, started) = (self.config, Instant::now());
        let step = self.optimiser.updates() + 1;
        let chosen = self.state.sampler.next_batch(config.batch_size);
        let numbers: Vec<usize> = chosen.iter().map(|&i| self.rows.trained[i]).collect();
        let micro_batch = config.micro_batch_size;
        let reference = self
            .reference
            .logprobs(self.pairs, &numbers, micro_batch, &ctx.device)?;
        let batch: Vec<&PreferencePair> = numbers.iter().map(|&i| &self.pairs[i]).collect();
        let model = model.dropping(ctx.dropout(step));
        let mut found = dpo_gradients(config, &model, &batch, &reference, &ctx.device)?;
        let (sum, n) = (DpoFigures::sum(&found.figures), batch.len() as f64);
        let tokens: usize = batch.iter().map(|pair| pair.chosen.tokens()).sum();
        let nll = sum.nll / tokens as f64;
        let loss = sum.loss / n + config.sft_coef * nll;
        TrainError::unless_finite(loss, ("dpo", step), &numbers)?;
        let (schedule, warmup) = (config.schedule, config.warmup_steps);
        let multiplier = lr_multiplier(schedule, step - 1, warmup, config.steps, 0.0);
        let (model, grad_norm) = self
            .optimiser
            .step(model, &mut found.gradients, multiplier)
            .map_err(|e| e.at("dpo", step, &numbers))?;
        let tokens: usize = batch.iter().map(|pair| pair.tokens()).sum();
        let mut metrics = Metrics::new("dpo", step, config.steps)
            .with("loss", loss)
            .with("accuracy", sum.correct / n)
            .with("margin", (sum.chosen_rewards - sum.rejected_rewards) / n)
            .with("chosen_reward", sum.chosen_rewards / n)
            .with("rejected_reward", sum.rejected_rewards / n)
            .with("chosen_nll", nll)
            .with("learning_rate", config.learning_rate * multiplier)
            .with("grad_norm", grad_norm)
            .with(
                "tokens_per_s",
                tokens as f64 / started.elapsed().as_secs_f64(),
            );
        if step == 1 {
            metrics = metrics.with("start_eval_loss", self.state.best_loss);
        }
        if step.is_multiple_of(config.evaluate_every) || step == config.steps {
            let found = self.held_out(&model.valid(), ctx)?;
            if found.loss < self.state.best_loss {
                (self.state.best_loss, self.state.best_step) = (found.loss, step);
                self.best = trained_parameters(&model);
            }
            metrics = metrics
                .with("eval_loss", found.loss)
                .with("eval_accuracy", found.correct);
        }
        Ok((model, metrics))
    }
}

/// The pairs of a part and the reference's log-probs of them.
fn of_part<'a>(
    part: &[usize],
    pairs: &[&'a PreferencePair],
    reference: &[PairLogprobs],
) -> (Vec<&'a PreferencePair>, Vec<PairLogprobs>) {
    part.iter().map(|&i| (pairs[i], reference[i])).unzip()
}

/// The gradient of an update's loss: a mean over its pairs, and over the tokens of its chosen
/// answers for the language-model term. `reference` are the log-probs that the reference policy gives
/// to the batch's pairs. The figures are sums over the parts' pairs.
///
/// # Errors
/// If a pair does not fit the model.
pub fn dpo_gradients(
    config: &DpoConfig,
    model: &Transformer,
    batch: &[&PreferencePair],
    reference: &[PairLogprobs],
    device: &Device,
) -> Result<Summed<DpoFigures>, TrainError> {
    let tokens: usize = batch.iter().map(|pair| pair.chosen.tokens()).sum();
    let nll_weight = config.sft_coef / tokens as f64;
    let Division { parts, cores } = division(model, batch, config.micro_batch_size, device);
    summed_gradients(model, &parts, cores, |model, part| {
        let (rows, reference) = of_part(part, batch, reference);
        let ([loss, nll], figures) = part_loss(config, model, &rows, &reference, device)?;
        let loss = loss / batch.len() as f64;
        Ok(match config.sft_coef {
            0.0 => (loss, figures),
            _ => (loss + nll * nll_weight, figures),
        })
    })
}
