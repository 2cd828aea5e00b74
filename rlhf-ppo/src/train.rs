//! The recipe of PPO.

use crate::experience::{Parties, experience};
use crate::rollout::{EncodedPrompt, rollout, score};
use crate::update::{PtxData, Trained, update};
use crate::{PpoConfig, PpoError};
use burn::module::Module;
use rlhf_data::{ChatTokenizer, PackedRow, Sampler};
use rlhf_model::{LocalGenerator, ScoreModel, Transformer};
use rlhf_random::Rng;
use rlhf_reward::RewardSource;
use rlhf_train::parameters::{named_parameters, with_parameters};
use rlhf_train::schedule::lr_multiplier;
use rlhf_train::{AdamW, Metrics, Outcome, RunContext, Schedule, TrainError, checkpoint};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// A difference between sampler and trainer beyond which something is wrong, not imprecise.
const SAMPLER_GAP: f64 = 0.01;

/// What PPO starts from and works with.
pub struct PpoModels<'a> {
    /// The policy before its first update; it stays as the reference.
    pub policy: Transformer,
    /// The value model before its first update, usually the reward model.
    pub value: ScoreModel,
    /// What scores the answers.
    pub reward: &'a dyn RewardSource,
    /// The tokenizer and template of the policy.
    pub tokenizer: &'a ChatTokenizer,
    /// Prompts to answer.
    pub prompts: &'a [EncodedPrompt],
    /// Packed pre-training text for the PPO-ptx term; may be empty if `ptx_coef` is 0.
    pub pretraining: &'a [PackedRow],
}

impl std::fmt::Debug for PpoModels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("PpoModels");
        out.field("prompts", &self.prompts.len()).field("reward", &self.reward.name());
        out.finish_non_exhaustive()
    }
}

/// What PPO leaves.
#[derive(Debug)]
pub struct PpoResult {
    /// The trained policy, on the plain device.
    pub policy: Transformer,
    /// The trained value model.
    pub value: ScoreModel,
    /// Updates made.
    pub steps: u64,
    /// Whether `stop_kl` ended the run before its last step.
    pub stopped_at_kl: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct PpoState {
    prompts: Sampler,
    pretraining: Option<Sampler>,
    score_offset: Option<f64>,
    minibatches: [u64; 2],
}

/// Optimises a policy against a reward: answers, scores, experience, update, again.
///
/// # Errors
/// If a setting or the data can't be used, the sampler disagrees with the trainer, the training
/// diverges, or the state can't be written.
pub fn ppo(
    config: &PpoConfig,
    models: PpoModels<'_>,
    ctx: &mut RunContext<'_>,
) -> Result<Outcome<PpoResult>, PpoError> {
    config.validate()?;
    refuse_missing(config, &models)?;
    let reference = models.policy.valid();
    let mut trained = Trained {
        policy: models.policy.train(),
        value: models.value.train(),
        policy_optimiser: AdamW::new(config.optimiser()),
        value_optimiser: AdamW::new(config.optimiser()),
    };
    let mut state = PpoState {
        prompts: Sampler::new(ctx.seed, models.prompts.len()),
        pretraining: (config.ptx_coef > 0.0)
            .then(|| Sampler::new(ctx.seed ^ 2, models.pretraining.len())),
        score_offset: None,
        minibatches: [0, 0],
    };
    let mut done = 0;
    if let Some(saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? {
        done = saved.step;
        (trained, state) = restored(config, trained, saved)?;
    }
    let rng = Rng::new(ctx.seed).key("ppo");
    let mut stopped_at_kl = None;
    while done < config.steps && stopped_at_kl.is_none() {
        let started = Instant::now();
        let step = done + 1;
        let chosen = state.prompts.next_batch(config.rollouts);
        let prompts: Vec<&EncodedPrompt> = chosen.iter().map(|&i| &models.prompts[i]).collect();

        // 1. The policy answers, its answers are scored.
        let policy = trained.policy.valid();
        let generator = LocalGenerator::new(&policy, config.rollouts);
        let answers = rollout(config, &generator, models.tokenizer, &prompts, (ctx.seed, step))?;
        let generated = started.elapsed().as_secs_f64();
        let scored = score(models.reward, answers)?;
        let mean = scored.iter().map(|s| f64::from(s.score)).sum::<f64>() / scored.len() as f64;
        let score_offset = *state.score_offset.get_or_insert(mean);

        // 2. Policy, reference and value model look at every token.
        let value = trained.value.valid();
        let parties = Parties { policy: &policy, reference: &reference, value: &value, score_offset };
        let experience = experience(config, &scored, parties, &ctx.device);
        let figures = &experience.figures;
        if figures.sampler_gap > SAMPLER_GAP {
            return Err(PpoError::SamplerMismatch { step, gap: figures.sampler_gap });
        }

        // 3. Gradient steps.
        let multiplier =
            lr_multiplier(Schedule::Constant, step, config.warmup_steps, config.steps, 0.0);
        let ptx = state.pretraining.as_mut().map(|sampler| PtxData {
            rows: models.pretraining,
            sampler,
            batch_size: (config.minibatch_size / 2).max(1),
        });
        drop((policy, value));
        let around = (&rng, step, multiplier, score_offset, &ctx.device);
        let (updated, of_update) = update(config, trained, &experience, ptx, around)?;
        trained = updated;
        done = step;

        let mut metrics = Metrics::new("ppo", step, config.steps)
            .with("score", figures.score)
            .with("kl", figures.kl)
            .with("objective", figures.objective)
            .with("response_length", figures.response_length)
            .with("finished", figures.finished)
            .with("first_approx_kl", of_update.first_approx_kl)
            .with("sampler_gap", figures.sampler_gap);
        if let Some(explained) = figures.explained_variance {
            metrics = metrics.with("explained_variance", explained);
        }
        for (name, value) in &of_update.values {
            metrics = metrics.with(name, *value);
        }
        let seconds = started.elapsed().as_secs_f64();
        let learning_rate = config.learning_rate * multiplier;
        ctx.record(
            &metrics
                .with("minibatches", of_update.minibatches as f64)
                .with("stopped_early", f64::from(u8::from(of_update.stopped_early)))
                .with("learning_rate", learning_rate)
                .with("rollout_seconds", generated)
                .with("seconds", seconds),
        )?;
        if figures.kl > config.stop_kl {
            stopped_at_kl = Some(figures.kl);
        }
        let due = config.checkpoint_every > 0 && step % config.checkpoint_every == 0;
        if ctx.is_interrupted() || (due && step < config.steps) {
            state.minibatches =
                [trained.policy_optimiser.updates(), trained.value_optimiser.updates()];
            save(ctx, step, &state, &trained)?;
        }
        if ctx.is_interrupted() {
            return Ok(Outcome::Interrupted { step });
        }
    }
    let (policy, value) = (trained.policy.valid(), trained.value.valid());
    Ok(Outcome::Finished(PpoResult { policy, value, steps: done, stopped_at_kl }))
}

fn refuse_missing(config: &PpoConfig, models: &PpoModels<'_>) -> Result<(), TrainError> {
    if models.prompts.is_empty() {
        let reason = "there is no prompt to answer".to_owned();
        return Err(TrainError::NoData { stage: "ppo".into(), reason });
    }
    if config.ptx_coef > 0.0 && models.pretraining.is_empty() {
        return Err(TrainError::config(
            "ppo.ptx_coef",
            "the pre-training term needs text: give --pretraining-data, or set ppo.ptx_coef=0",
        ));
    }
    Ok(())
}

fn save(
    ctx: &RunContext<'_>,
    step: u64,
    state: &PpoState,
    trained: &Trained,
) -> Result<(), TrainError> {
    let groups = [
        ("policy", named_parameters(&trained.policy)),
        ("value", named_parameters(&trained.value)),
        ("policy-adamw", trained.policy_optimiser.state(&trained.policy)),
        ("value-adamw", trained.value_optimiser.state(&trained.value)),
    ];
    checkpoint::save(&ctx.dir, &ctx.fingerprint, step, state, &groups)
}

fn restored(
    config: &PpoConfig,
    trained: Trained,
    mut saved: checkpoint::Checkpoint,
) -> Result<(Trained, PpoState), TrainError> {
    let state: PpoState = saved.state()?;
    let path = saved.path.clone();
    let misfit = |reason| TrainError::Checkpoint { path: path.clone(), reason };
    let policy = with_parameters(trained.policy, saved.take("policy")?).map_err(misfit)?;
    let value = with_parameters(trained.value, saved.take("value")?).map_err(misfit)?;
    let [of_policy, of_value] = state.minibatches;
    let optimiser = config.optimiser();
    let moments = saved.take("policy-adamw")?;
    let policy_optimiser = AdamW::restore(optimiser, of_policy, &policy, moments, &path)?;
    let moments = saved.take("value-adamw")?;
    let value_optimiser = AdamW::restore(optimiser, of_value, &value, moments, &path)?;
    Ok((Trained { policy, value, policy_optimiser, value_optimiser }, state))
}
