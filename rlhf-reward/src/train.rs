//! Training a reward model on comparisons.

use crate::comparison::{comparison_gradients, evaluate_comparisons};
use crate::{EncodedComparison, RewardConfig, RewardError, RewardSummary};
use burn::module::Module;
use rlhf_data::Sampler;
use rlhf_model::{CausalLm, ScoreModel, Transformer};
use rlhf_random::Rng;
use rlhf_train::held_out::hold_out;
use rlhf_train::parameters::{NamedTensor, trained_parameters, with_trained};
use rlhf_train::schedule::lr_multiplier;
use rlhf_train::{AdamW, Kept, Metrics, Outcome, Progress, RunContext, TrainError, checkpoint};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// The share of the comparisons that is held out to measure accuracy and to see when to stop.
const HELD_OUT_SHARE: f64 = 0.08;

/// What is trained on and what is held out.
struct RewardRows<'a> {
    /// Comparisons and their numbers in the data, counted from 0.
    trained: Vec<(usize, &'a EncodedComparison)>,
    held_out: Vec<&'a EncodedComparison>,
}

impl<'a> RewardRows<'a> {
    fn new(
        comparisons: &'a [EncodedComparison],
        context: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let numbered = comparisons.iter().enumerate();
        let mut rows: Vec<_> = numbered.filter(|(_, c)| !c.pairs.is_empty()).collect();
        if rows.len() < 2 {
            let reason = format!(
                "{} prompts with a preference; at least 2 are needed",
                rows.len()
            );
            return Err(TrainError::NoData {
                stage: "reward".into(),
                reason,
            });
        }
        let lengths = rows.iter().flat_map(|(_, c)| &c.sequences).map(Vec::len);
        let longest = lengths.max().unwrap_or(0);
        TrainError::unless_in_context("reward.max_length", longest, context)?;
        Rng::new(seed)
            .key("reward")
            .key("held out")
            .shuffle(&mut rows);
        let key = |&(_, c): &(usize, &'a EncodedComparison)| (&c.sequences, &c.pairs);
        let held_out = hold_out(&mut rows, HELD_OUT_SHARE, key);
        let held_out = held_out.into_iter().map(|(_, c)| c).collect();
        Ok(Self {
            trained: rows,
            held_out,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct RewardState {
    sampler: Sampler,
    best: RewardSummary,
    best_step: u64,
}

/// A run between two updates.
struct RewardRun<'a> {
    config: &'a RewardConfig,
    rows: &'a RewardRows<'a>,
    state: RewardState,
    best: Vec<NamedTensor>,
    optimiser: AdamW,
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
) -> Result<Outcome<(Kept<ScoreModel>, RewardSummary)>, RewardError> {
    config.validate()?;
    let rows = RewardRows::new(comparisons, backbone.max_positions(), ctx.seed)?;
    let (mut run, mut model) = RewardRun::start(config, &rows, backbone, ctx)?;
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
    let kept = Kept {
        model: with_trained(model, run.best).valid(),
        step: run.state.best_step,
    };
    Ok(Outcome::Finished((kept, run.state.best)))
}

impl<'a> RewardRun<'a> {
    /// From the beginning, or from the last checkpoint.
    fn start(
        config: &'a RewardConfig,
        rows: &'a RewardRows<'a>,
        backbone: Transformer,
        ctx: &RunContext<'_>,
    ) -> Result<(Self, ScoreModel), RewardError> {
        let mut model = ScoreModel::from_backbone(backbone, ctx.seed).train();
        let mut best = trained_parameters(&model);
        let mut optimiser = AdamW::new(config.optimiser());
        let state = match checkpoint::latest(&ctx.dir, &ctx.fingerprint)? {
            None => RewardState {
                sampler: Sampler::new(ctx.seed, rows.trained.len()),
                best: measure(config, rows, &model.valid(), ctx)?,
                best_step: 0,
            },
            Some(mut saved) => {
                (model, best, optimiser) = saved.load_run(config.optimiser(), model)?;
                saved.state()?
            }
        };
        let run = Self {
            config,
            rows,
            state,
            best,
            optimiser,
        };
        Ok((run, model))
    }

    fn update(
        &mut self,
        model: ScoreModel,
        ctx: &RunContext<'_>,
    ) -> Result<(ScoreModel, Metrics), RewardError> {
        let (config, started) = (self.config, Instant::now());
        let step = self.optimiser.updates() + 1;
        let chosen = self.state.sampler.next_batch(config.batch_size);
        let (numbers, batch): (Vec<usize>, Vec<&EncodedComparison>) =
            chosen.iter().map(|&i| self.rows.trained[i]).unzip();
        let model = model.dropping(ctx.dropout(step));
        let mut found = comparison_gradients(config, &model, &batch, &ctx.device)?;
        let loss = found.figures.iter().sum();
        TrainError::unless_finite(loss, ("reward", step), &numbers)?;
        let multiplier = lr_multiplier(
            config.schedule,
            step - 1,
            config.warmup_steps,
            config.steps,
            0.0,
        );
        let (model, grad_norm) = self
            .optimiser
            .step(model, &mut found.gradients, multiplier)
            .map_err(|e| e.at("reward", step, &numbers))?;
        let tokens: usize = batch.iter().map(|c| c.tokens()).sum();
        let mut metrics = Metrics::new("reward", step, config.steps)
            .with("loss", loss)
            .with("learning_rate", config.learning_rate * multiplier)
            .with("grad_norm", grad_norm)
            .with(
                "tokens_per_s",
                tokens as f64 / started.elapsed().as_secs_f64(),
            );
        if step == 1 {
            metrics = metrics.with("start_eval_loss", self.state.best.loss);
        }
        if step.is_multiple_of(config.evaluate_every) || step == config.steps {
            let found = measure(config, self.rows, &model.valid(), ctx)?;
            if found.loss < self.state.best.loss {
                (self.state.best, self.state.best_step) = (found, step);
                self.best = trained_parameters(&model);
            }
            metrics = metrics
                .with("eval_loss", found.loss)
                .with("eval_accuracy", found.accuracy());
        }
        Ok((model, metrics))
    }
}

/// How a model does on what was held out.
fn measure(
    config: &RewardConfig,
    rows: &RewardRows<'_>,
    model: &ScoreModel,
    ctx: &RunContext<'_>,
) -> Result<RewardSummary, RewardError> {
    evaluate_comparisons(
        model,
        &rows.held_out,
        4 * config.micro_batch_size,
        &ctx.device,
    )
}
