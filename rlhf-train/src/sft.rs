//! Supervised fine-tuning: learn to answer from demonstrations, loss on the answers only.

use crate::checkpoint;
use crate::held_out::hold_out;
use crate::parameters::{NamedTensor, trained_parameters, with_trained};
use crate::schedule::lr_multiplier;
use crate::supervised::{SupervisedUpdate, evaluate, row_of, trained_tokens};
use crate::{
    AdamW, AdamWConfig, Kept, Metrics, Outcome, Progress, RunContext, Schedule, TrainError,
};
use burn::module::Module;
use rlhf_data::{PackedRow, Sampler, TokenSequence, pack};
use rlhf_model::{CausalLm, Transformer};
use rlhf_random::Rng;
use serde::{Deserialize, Serialize};

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
        let refuse =
            |key: &str, reason: &str| Err(TrainError::config(format!("sft.{key}"), reason));
        if self.batch_size == 0 || self.micro_batch_size == 0 {
            return refuse(
                "batch_size",
                "batch_size and micro_batch_size must be at least 1",
            );
        }
        if self.max_length < 2 {
            return refuse(
                "max_length",
                "must be at least 2: a token of prompt, one of answer",
            );
        }
        if self.evaluate_every == 0 {
            return refuse("evaluate_every", "must be at least 1");
        }
        if !(0.0..=10.0).contains(&self.pretraining_share) {
            return refuse("pretraining_share", "must be between 0 and 10");
        }
        self.optimiser().validate("sft")
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
/// If an answer does not fit, or a demonstration has no answer or nothing but an answer: the loss
/// would be taken on nothing, or on what the model is not asked to write.
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
        let dropped = sequence
            .truncate_start(max_length)
            .map_err(|e| unusable(e.to_string()))?;
        truncated += usize::from(dropped > 0);
        let row = row_of(&sequence);
        if trained_tokens(&row) == 0 {
            return Err(unusable(
                "no token of it carries loss; it needs an answer".into(),
            ));
        }
        if sequence.lacks_prompt() {
            let what = if row.loss_mask.iter().all(|&loss| loss) {
                "all its tokens carry loss"
            } else {
                "its first token carries loss"
            };
            let reason = format!(
                "{what}; it needs a prompt, or its answer fills the {max_length} tokens of \
                 sft.max_length"
            );
            return Err(unusable(reason));
        }
        rows.push(row);
    }
    Ok((rows, truncated))
}

/// What is trained on and what is held out.
struct SftRows {
    /// Demonstrations and their numbers in the data, counted from 0.
    demonstrations: Vec<(usize, PackedRow)>,
    held_out: Vec<PackedRow>,
    text: Vec<PackedRow>,
    truncated: usize,
}

impl SftRows {
    fn new(
        config: &SftConfig,
        data: SftData<'_>,
        context: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let (rows, truncated) = fit_demonstrations(data.demonstrations, config.max_length)?;
        if rows.len() < 2 {
            let reason = format!("{} demonstrations; at least 2 are needed", rows.len());
            return Err(TrainError::NoData {
                stage: "sft".into(),
                reason,
            });
        }
        let mut rows: Vec<(usize, PackedRow)> = rows.into_iter().enumerate().collect();
        Rng::new(seed).key("sft").key("held out").shuffle(&mut rows);
        let held_out = hold_out(&mut rows, HELD_OUT_SHARE, |(_, row)| row.ids.clone());
        let held_out: Vec<PackedRow> = held_out.into_iter().map(|(_, row)| row).collect();
        let text = pack(data.pretraining, config.max_length);
        let all = rows
            .iter()
            .map(|(_, row)| row)
            .chain(&held_out)
            .chain(&text);
        let longest = all.map(|row| row.ids.len()).max().unwrap_or(0);
        TrainError::unless_in_context("sft.max_length", longest, context)?;
        Ok(Self {
            demonstrations: rows,
            held_out,
            text,
            truncated,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct SftState {
    demonstrations: Sampler,
    pretraining: Option<Sampler>,
    best_loss: f64,
    best_step: u64,
}

/// A run between two updates.
struct Sft<'a> {
    config: &'a SftConfig,
    rows: &'a SftRows,
    state: SftState,
    best: Vec<NamedTensor>,
    optimiser: AdamW,
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
) -> Result<Outcome<Kept<Transformer>>, TrainError> {
    config.validate()?;
    let rows = SftRows::new(config, data, model.max_positions(), ctx.seed)?;
    let (mut run, mut model) = Sft::start(config, &rows, model, ctx)?;
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

impl<'a> Sft<'a> {
    /// From the beginning, or from the last checkpoint.
    fn start(
        config: &'a SftConfig,
        rows: &'a SftRows,
        model: Transformer,
        ctx: &RunContext<'_>,
    ) -> Result<(Self, Transformer), TrainError> {
        let text = &rows.text;
        let mut model = model.train();
        let mut run = Self {
            config,
            rows,
            state: SftState {
                demonstrations: Sampler::new(ctx.seed, rows.demonstrations.len()),
                pretraining: (!text.is_empty()).then(|| Sampler::new(ctx.seed ^ 1, text.len())),
                best_loss: 0.0,
                best_step: 0,
            },
            best: trained_parameters(&model),
            optimiser: AdamW::new(config.optimiser()),
        };
        let Some(mut saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? else {
            run.state.best_loss = run.held_out_loss(&model.valid(), ctx)?;
            return Ok((run, model));
        };
        run.state = saved.state()?;
        (model, run.best, run.optimiser) = saved.load_run(config.optimiser(), model)?;
        Ok((run, model))
    }

    fn held_out_loss(&self, model: &Transformer, ctx: &RunContext<'_>) -> Result<f64, TrainError> {
        let rows: Vec<&PackedRow> = self.rows.held_out.iter().collect();
        evaluate(model, &rows, self.config.micro_batch_size, &ctx.device)
    }

    /// The rows of the next update; of the demonstrations, their numbers too.
    fn next_batch(&mut self) -> (Vec<usize>, Vec<&'a PackedRow>) {
        let (rows, config) = (self.rows, self.config);
        let chosen = self.state.demonstrations.next_batch(config.batch_size);
        let demonstrations = chosen.iter().map(|&i| &rows.demonstrations[i]);
        let (numbers, mut batch): (Vec<usize>, Vec<&PackedRow>) =
            demonstrations.map(|(number, row)| (*number, row)).unzip();
        if let Some(sampler) = &mut self.state.pretraining {
            let text = (config.batch_size as f64 * config.pretraining_share).round() as usize;
            batch.extend(sampler.next_batch(text).into_iter().map(|i| &rows.text[i]));
        }
        (numbers, batch)
    }

    fn update(
        &mut self,
        model: Transformer,
        ctx: &RunContext<'_>,
    ) -> Result<(Transformer, Metrics), TrainError> {
        let (config, schedule) = (self.config, self.config.schedule);
        let done = self.optimiser.updates();
        let step = done + 1;
        let (numbers, batch) = self.next_batch();
        let update = SupervisedUpdate {
            stage: ("sft", config.steps),
            rows: &batch,
            numbers: &numbers,
            micro_batch: config.micro_batch_size,
            lr_multiplier: lr_multiplier(schedule, done, config.warmup_steps, config.steps, 0.0),
            device: &ctx.device,
        };
        let model = model.dropping(ctx.dropout(step));
        let (model, metrics) = update.make(model, &mut self.optimiser)?;
        let mut metrics = metrics.with("truncated_prompts", self.rows.truncated as f64);
        if step == 1 {
            metrics = metrics.with("start_eval_loss", self.state.best_loss);
        }
        if step.is_multiple_of(config.evaluate_every) || step == config.steps {
            let loss = self.held_out_loss(&model.valid(), ctx)?;
            if loss < self.state.best_loss {
                (self.state.best_loss, self.state.best_step) = (loss, step);
                self.best = trained_parameters(&model);
            }
            metrics = metrics
                .with("eval_loss", loss)
                .with("best_eval_loss", self.state.best_loss);
        }
        Ok((model, metrics))
    }
}
