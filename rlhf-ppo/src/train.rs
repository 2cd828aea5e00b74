//! The recipe of PPO.

use crate::experience::{Experience, Parties, RolloutFigures, experience};
use crate::rollout::{EncodedPrompt, rollout, score};
use crate::update::{PtxData, Trained, UpdateAt, UpdateFigures, update};
use crate::{Critic, PpoConfig, PpoError};
use burn::module::Module;
use rlhf_data::{ChatTokenizer, PackedRow, Sampler};
use rlhf_model::{CausalLm, LocalGenerator, Transformer};
use rlhf_random::Rng;
use rlhf_reward::RewardSource;
use rlhf_train::parameters::{NamedTensor, trained_parameters};
use rlhf_train::schedule::lr_multiplier;
use rlhf_train::{AdamW, Metrics, Outcome, Progress, RunContext, Schedule, TrainError, checkpoint};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// What PPO starts from and works with.
pub struct PpoModels<'a> {
    /// The policy before its first update; it stays as the reference.
    pub policy: Transformer,
    /// Who says what states are worth, before the first update; as `shared_trunk` says.
    pub critic: Critic,
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
        out.field("prompts", &self.prompts.len())
            .field("reward", &self.reward.name());
        out.finish_non_exhaustive()
    }
}

/// What PPO leaves.
#[derive(Debug)]
pub struct PpoResult {
    /// The trained policy, on the plain device.
    pub policy: Transformer,
    /// The trained critic.
    pub critic: Critic,
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
    stopped_at_kl: Option<f64>,
}

/// A run between two updates: everything but the networks.
struct Run<'a> {
    config: &'a PpoConfig,
    models: Inputs<'a>,
    reference: Transformer,
    state: PpoState,
    done: u64,
}

/// The part of [`PpoModels`] that is not trained.
struct Inputs<'a> {
    reward: &'a dyn RewardSource,
    tokenizer: &'a ChatTokenizer,
    prompts: &'a [EncodedPrompt],
    pretraining: &'a [PackedRow],
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
    refuse_unusable(config, &models)?;
    let (mut run, mut trained) = Run::start(config, models, ctx)?;
    while run.done < config.steps && run.state.stopped_at_kl.is_none() {
        let metrics;
        (trained, metrics) = run.step(trained, ctx)?;
        ctx.record(&metrics)?;
        let (step, steps) = (run.done, config.steps);
        let at = Progress {
            step,
            steps,
            checkpoint_every: config.checkpoint_every,
        };
        if ctx.checkpoint(at, &run.state, || groups(&trained))? {
            return Ok(Outcome::Interrupted { step });
        }
    }
    let (policy, critic) = (trained.policy.valid(), trained.critic.valid());
    let (steps, stopped_at_kl) = (run.done, run.state.stopped_at_kl);
    Ok(Outcome::Finished(PpoResult {
        policy,
        critic,
        steps,
        stopped_at_kl,
    }))
}

impl<'a> Run<'a> {
    /// From the beginning, or from the last checkpoint.
    fn start(
        config: &'a PpoConfig,
        models: PpoModels<'a>,
        ctx: &RunContext<'_>,
    ) -> Result<(Self, Trained), TrainError> {
        let PpoModels {
            policy,
            critic,
            reward,
            tokenizer,
            prompts,
            pretraining,
        } = models;
        let state = PpoState {
            prompts: Sampler::new(ctx.seed, prompts.len()),
            pretraining: (config.ptx_coef > 0.0)
                .then(|| Sampler::new(ctx.seed ^ 2, pretraining.len())),
            score_offset: None,
            minibatches: [0, 0],
            stopped_at_kl: None,
        };
        let reference = policy.reference();
        let models = Inputs {
            reward,
            tokenizer,
            prompts,
            pretraining,
        };
        let mut run = Self {
            config,
            models,
            reference,
            state,
            done: 0,
        };
        let mut trained = Trained {
            policy: policy.train(),
            critic: critic.train(),
            policy_optimiser: AdamW::new(config.optimiser()),
            critic_optimiser: AdamW::new(config.optimiser()),
        };
        if let Some(mut saved) = checkpoint::latest(&ctx.dir, &ctx.fingerprint)? {
            (run.done, run.state) = (saved.step, saved.state()?);
            trained = restored(config, trained, &mut saved, run.state.minibatches)?;
        }
        Ok((run, trained))
    }

    /// One update.
    fn step(
        &mut self,
        trained: Trained,
        ctx: &RunContext<'_>,
    ) -> Result<(Trained, Metrics), PpoError> {
        let (config, started) = (self.config, Instant::now());
        let step = self.done + 1;
        let (experience, score_offset, generated) = self.gather(&trained, step, ctx)?;
        let multiplier = lr_multiplier(
            Schedule::Constant,
            step,
            config.warmup_steps,
            config.steps,
            0.0,
        );
        let rows = self.models.pretraining;
        let ptx = self.state.pretraining.as_mut().map(|sampler| PtxData {
            rows,
            sampler,
            batch_size: config.ptx_batch_size(),
        });
        let rng = Rng::new(ctx.seed).key("ppo");
        let at = UpdateAt {
            rng: &rng,
            step,
            lr_multiplier: multiplier,
            score_offset,
            device: &ctx.device,
        };
        let (trained, of_update) = update(config, trained, &experience, ptx, at)?;
        let of_rollouts = &experience.figures;
        self.done = step;
        self.state.minibatches = [
            trained.policy_optimiser.updates(),
            trained.critic_optimiser.updates(),
        ];
        if of_rollouts.kl > config.stop_kl {
            self.state.stopped_at_kl = Some(of_rollouts.kl);
        }
        let metrics = Metrics::new("ppo", step, config.steps);
        let metrics = with_figures(metrics, of_rollouts, &of_update)
            .with("learning_rate", config.learning_rate * multiplier)
            .with("rollout_seconds", generated)
            .with("seconds", started.elapsed().as_secs_f64());
        Ok((trained, metrics))
    }

    /// The policy answers, its answers are scored; policy, reference and critic look at every token. Also what is taken off every score, and the seconds that answering took.
    fn gather(
        &mut self,
        trained: &Trained,
        step: u64,
        ctx: &RunContext<'_>,
    ) -> Result<(Experience, f64, f64), PpoError> {
        let (config, models, started) = (self.config, &self.models, Instant::now());
        let chosen = self.state.prompts.next_batch(config.rollouts);
        let prompts: Vec<&EncodedPrompt> = chosen.iter().map(|&i| &models.prompts[i]).collect();
        let (policy, critic) = (trained.policy.valid(), trained.critic.valid());
        let generator = LocalGenerator::new(&policy, config.rollouts);
        let answers = rollout(
            config,
            &generator,
            models.tokenizer,
            &prompts,
            (ctx.seed, step),
        )?;
        let generated = started.elapsed().as_secs_f64();
        let scored = score(models.reward, answers)?;
        let mean = scored.iter().map(|s| f64::from(s.score)).sum::<f64>() / scored.len() as f64;
        let score_offset = *self.state.score_offset.get_or_insert(mean);
        let reference = &self.reference;
        let parties = Parties {
            policy: &policy,
            reference,
            critic: &critic,
            score_offset,
        };
        let experience = experience(config, &scored, parties, &ctx.device);
        experience.figures.check_sampler(step)?;
        Ok((experience, score_offset, generated))
    }
}

fn with_figures(
    metrics: Metrics,
    of_rollouts: &RolloutFigures,
    of_update: &UpdateFigures,
) -> Metrics {
    let mut metrics = metrics
        .with("score", of_rollouts.score)
        .with("kl", of_rollouts.kl)
        .with("objective", of_rollouts.objective)
        .with("response_length", of_rollouts.response_length)
        .with("finished", of_rollouts.finished)
        .with("first_approx_kl", of_update.first_approx_kl)
        .with("sampler_gap", of_rollouts.sampler_gap);
    if let Some(explained) = of_rollouts.explained_variance {
        metrics = metrics.with("explained_variance", explained);
    }
    for (name, value) in &of_update.values {
        metrics = metrics.with(name, *value);
    }
    metrics
        .with("minibatches", of_update.minibatches as f64)
        .with(
            "stopped_early",
            f64::from(u8::from(of_update.stopped_early)),
        )
}

/// Refuses inputs that would stop the run later or mean nothing.
fn refuse_unusable(config: &PpoConfig, models: &PpoModels<'_>) -> Result<(), TrainError> {
    if models.prompts.is_empty() {
        let reason = "there is no prompt to answer".to_owned();
        return Err(TrainError::NoData {
            stage: "ppo".into(),
            reason,
        });
    }
    let context = models.policy.max_positions();
    if config.ptx_coef > 0.0 {
        if models.pretraining.is_empty() {
            return Err(TrainError::config(
                "ppo.ptx_coef",
                "the pre-training term needs text: give --pretraining-data, or set ppo.ptx_coef=0",
            ));
        }
        let longest = models
            .pretraining
            .iter()
            .map(|row| row.ids.len())
            .max()
            .unwrap_or(0);
        TrainError::unless_in_context("pretrain.sequence_length", longest, context)?;
    }
    if config.shared_trunk != models.critic.shares_trunk() {
        let reason = "the critic that was given is another than ppo.shared_trunk says";
        return Err(TrainError::config("ppo.shared_trunk", reason));
    }
    match models.critic.unlike(&models.policy) {
        Some(reason) => Err(TrainError::config("ppo", reason)),
        None => Ok(()),
    }
}

/// What a checkpoint keeps of the networks and their optimisers.
fn groups(trained: &Trained) -> Vec<(&'static str, Vec<NamedTensor>)> {
    vec![
        ("policy", trained_parameters(&trained.policy)),
        ("critic", trained_parameters(&trained.critic)),
        (
            "policy-adamw",
            trained.policy_optimiser.state(&trained.policy),
        ),
        (
            "critic-adamw",
            trained.critic_optimiser.state(&trained.critic),
        ),
    ]
}

fn restored(
    config: &PpoConfig,
    trained: Trained,
    saved: &mut checkpoint::Checkpoint,
    [of_policy, of_critic]: [u64; 2],
) -> Result<Trained, TrainError> {
    let policy = saved.load("policy", trained.policy)?;
    let critic = saved.load("critic", trained.critic)?;
    let of_policy = (config.optimiser(), of_policy);
    let policy_optimiser = saved.load_adamw("policy-adamw", of_policy, &policy)?;
    let of_critic = (config.optimiser(), of_critic);
    let critic_optimiser = saved.load_adamw("critic-adamw", of_critic, &critic)?;
    Ok(Trained {
        policy,
        critic,
        policy_optimiser,
        critic_optimiser,
    })
}
