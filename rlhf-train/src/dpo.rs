//! Direct preference optimisation: a policy learns from pairs of answers without a reward model.

use crate::gradients::{Division, Summed, summed_gradients};
use crate::parameters::named_parameters;
use crate::schedule::lr_multiplier;
use crate::supervised::scalar;
use crate::targets::Targets;
use crate::{
    AdamW, AdamWConfig, Metrics, Outcome, Progress, RunContext, Schedule, TrainError, checkpoint,
};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rlhf_data::{ChatTokenizer, Comparison, DataError, Sampler, TokenSequence};
use rlhf_loss::{DpoInput, DpoLoss, PairLengths, dpo_loss};
use rlhf_model::cores::each_part;
use rlhf_model::{CausalLm, TokenBatch, Transformer};
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

/// Two answers to a prompt, each with the prompt before it; the answers carry loss.
#[derive(Clone, Debug)]
pub struct PreferencePair {
    chosen: Answer,
    rejected: Answer,
}

#[derive(Clone, Debug)]
struct Answer {
    ids: Vec<u32>,
    loss: Vec<bool>,
}

impl Answer {
    fn new(sequence: TokenSequence) -> Self {
        Self {
            loss: sequence.loss_mask(),
            ids: sequence.ids,
        }
    }

    /// Tokens of the answer. The first token of a row is predicted by nothing.
    fn tokens(&self) -> usize {
        self.loss.iter().skip(1).filter(|&&loss| loss).count()
    }
}

impl PreferencePair {
    /// Of two sequences, whose tokens that carry loss are the answers.
    pub fn new(chosen: TokenSequence, rejected: TokenSequence) -> Self {
        Self {
            chosen: Answer::new(chosen),
            rejected: Answer::new(rejected),
        }
    }

    fn tokens(&self) -> usize {
        self.chosen.ids.len() + self.rejected.ids.len()
    }
}

/// The pairs of comparisons as token ids, a pair for each order of two answers that a comparison
/// states. A prompt too long loses its start, the same for all its answers.
///
/// # Errors
/// If a prompt can't be rendered, or an answer would lose a token; the comparison is named.
pub fn encode_pairs(
    tokenizer: &ChatTokenizer,
    comparisons: &[Comparison],
    max_length: usize,
) -> Result<Vec<PreferencePair>, TrainError> {
    let mut pairs = Vec::with_capacity(comparisons.len());
    for (i, comparison) in comparisons.iter().enumerate() {
        let encode = |response: &String| tokenizer.encode_answer(&comparison.prompt, response);
        let answers = comparison.responses.iter().map(encode);
        let named = |e: DataError| no_data(format!("comparison {}: {e}", i + 1));
        let mut answers = answers.collect::<Result<Vec<_>, _>>().map_err(named)?;
        let mut rows: Vec<&mut TokenSequence> = answers.iter_mut().collect();
        TokenSequence::truncate_together(&mut rows, max_length).map_err(named)?;
        let ordered = comparison.pairs.iter();
        pairs.extend(ordered.map(|&(better, worse)| {
            PreferencePair::new(answers[better].clone(), answers[worse].clone())
        }));
    }
    Ok(pairs)
}

fn no_data(reason: String) -> TrainError {
    let stage = "dpo".to_owned();
    TrainError::NoData { stage, reason }
}

/// The summed log-probs of a pair's answers.
type PairLogprobs = (f32, f32);

/// The frozen policy that a trained one is held to, and what it gives to the pairs it was asked
/// about: each is computed once.
struct Reference {
    model: Transformer,
    known: Vec<Option<PairLogprobs>>,
}

impl Reference {
    fn new(model: Transformer, pairs: usize) -> Self {
        Self {
            model,
            known: vec![None; pairs],
        }
    }

    /// The log-probs of the pairs of these numbers.
    fn logprobs(
        &mut self,
        pairs: &[PreferencePair],
        numbers: &[usize],
        micro_batch: usize,
        device: &Device,
    ) -> Result<Vec<PairLogprobs>, TrainError> {
        let unknown = numbers.iter().copied().filter(|&i| self.known[i].is_none());
        let unknown: Vec<usize> = unknown.collect();
        let rows: Vec<&PreferencePair> = unknown.iter().map(|&i| &pairs[i]).collect();
        let found = pair_logprobs(&self.model, &rows, micro_batch, device)?;
        for (i, logprobs) in unknown.into_iter().zip(found) {
            self.known[i] = Some(logprobs);
        }
        Ok(numbers.iter().filter_map(|&i| self.known[i]).collect())
    }
}

/// The summed log-probs of the answers of pairs, without gradients.
fn pair_logprobs(
    model: &Transformer,
    pairs: &[&PreferencePair],
    micro_batch: usize,
    device: &Device,
) -> Result<Vec<PairLogprobs>, TrainError> {
    let division = division(model, pairs, micro_batch, device);
    let found = each_part(&division.parts, division.cores, |part| {
        let part: Vec<&PreferencePair> = part.iter().map(|&i| pairs[i]).collect();
        let [chosen, rejected] = answer_logprobs(model, &part, device)?;
        let host = |x: Tensor<1>| x.into_data().iter::<f32>().collect::<Vec<_>>();
        Ok::<_, TrainError>(
            host(chosen)
                .into_iter()
                .zip(host(rejected))
                .collect::<Vec<_>>(),
        )
    });
    let mut all = vec![(0.0, 0.0); pairs.len()];
    for (part, found) in division.parts.iter().zip(found) {
        for (&i, logprobs) in part.iter().zip(found?) {
            all[i] = logprobs;
        }
    }
    Ok(all)
}

fn division(
    model: &Transformer,
    pairs: &[&PreferencePair],
    micro_batch: usize,
    device: &Device,
) -> Division {
    let lengths: Vec<usize> = pairs.iter().map(|pair| pair.tokens()).collect();
    Division::new(&lengths, micro_batch, model.num_params(), device)
}

/// The log-probs of the chosen and of the rejected answers, each summed over its tokens: `[pairs]`.
fn answer_logprobs(
    model: &Transformer,
    pairs: &[&PreferencePair],
    device: &Device,
) -> Result<[Tensor<1>; 2], TrainError> {
    let chosen = pairs.iter().map(|pair| &pair.chosen);
    let answers: Vec<&Answer> = chosen
        .chain(pairs.iter().map(|pair| &pair.rejected))
        .collect();
    let ids: Vec<&[u32]> = answers.iter().map(|answer| answer.ids.as_slice()).collect();
    let batch = TokenBatch::right_padded(&ids, device);
    batch.check_ids(model.vocab_size())?;
    let (mut targets, mut row_of_target) = (Targets::new(), Vec::new());
    for (row, answer) in answers.iter().enumerate() {
        for (time, &loss) in answer.loss.iter().enumerate().skip(1) {
            if loss {
                targets.push(row, time, batch.time(), answer.ids[time]);
                row_of_target.push(row);
            }
        }
    }
    let logprobs = targets.logprobs(model, &batch, 1.0);
    let [count] = logprobs.dims();
    let mut membership = vec![0f32; answers.len() * count];
    for (target, row) in row_of_target.into_iter().enumerate() {
        membership[row * count + target] = 1.0;
    }
    let membership = TensorData::new(membership, [answers.len(), count]);
    let membership = Tensor::<2>::from_data(membership, device);
    let sums = membership
        .matmul(logprobs.unsqueeze_dim::<2>(1))
        .squeeze_dim::<1>(1);
    let part = |start: usize| sums.clone().narrow(0, start, pairs.len());
    Ok([part(0), part(pairs.len())])
}

/// What a batch of pairs gave, as sums over its pairs (and `nll` over the chosen answers' tokens).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct DpoFigures {
    loss: f64,
    nll: f64,
    chosen_rewards: f64,
    rejected_rewards: f64,
    correct: f64,
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
        let held_out = ((numbers.len() as f64 * HELD_OUT_SHARE) as usize).clamp(1, 256);
        let held_out = numbers.drain(..held_out).collect();
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
}

/// A run between two updates.
struct Dpo<'a> {
    config: &'a DpoConfig,
    pairs: &'a [PreferencePair],
    rows: DpoRows,
    reference: Reference,
    state: DpoState,
    best: Transformer,
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
) -> Result<Outcome<Transformer>, TrainError> {
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
        let interrupted = ctx.checkpoint(at, &run.state, || {
            vec![
                ("model", named_parameters(&model)),
                ("best", named_parameters(&run.best)),
                ("adamw", run.optimiser.state(&model)),
            ]
        })?;
        if interrupted {
            return Ok(Outcome::Interrupted { step });
        }
    }
    Ok(Outcome::Finished(run.best))
}

impl<'a> Dpo<'a> {
    /// From the beginning, or from the last checkpoint.
    fn start(
        config: &'a DpoConfig,
        (pairs, rows): (&'a [PreferencePair], DpoRows),
        model: Transformer,
        ctx: &RunContext<'_>,
    ) -> Result<(Self, Transformer), TrainError> {
        let mut model = model.train();
        let frozen = model.valid();
        let mut run = Self {
            config,
            pairs,
            state: DpoState {
                sampler: Sampler::new(ctx.seed, rows.trained.len()),
                best_loss: 0.0,
            },
            rows,
            best: frozen.clone(),
            reference: Reference::new(frozen, pairs.len()),
            optimiser: AdamW::new(config.optimiser()),
        };
        let Some(mut saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? else {
            run.state.best_loss = run.held_out(&run.best.clone(), ctx)?.loss;
            return Ok((run, model));
        };
        run.state = saved.state()?;
        model = saved.load("model", model)?;
        run.best = saved.load("best", run.best)?;
        let settings = (config.optimiser(), saved.step);
        run.optimiser = saved.load_adamw("adamw", settings, &model)?;
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
        if step.is_multiple_of(config.evaluate_every) || step == config.steps {
            let candidate = model.valid();
            let found = self.held_out(&candidate, ctx)?;
            if found.loss < self.state.best_loss {
                (self.state.best_loss, self.best) = (found.loss, candidate);
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
/// answers for the language-model term. The figures are sums over the parts' pairs.
fn dpo_gradients(
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
