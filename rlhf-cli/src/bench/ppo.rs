//! A whole update of PPO with four networks: policy, reference, value and reward model; or with three,
//! the values from a head on the policy.

use super::timing::repeat;
use super::training::optimiser;
use super::writing::{sampling, write};
use super::{Measured, Size, Subject, random_rows};
use crate::error::CliError;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use rlhf_data::Prompt;
use rlhf_model::{LocalGenerator, ScoreModel, Transformer};
use rlhf_ppo::experience::{Experience, Parties, experience};
use rlhf_ppo::rollout::{EncodedPrompt, Rollout, ScoredRollout};
use rlhf_ppo::update::{Trained, UpdateAt, update};
use rlhf_ppo::{Critic, PpoConfig, PpoError};
use rlhf_random::Rng;
use rlhf_reward::score_sequences;
use serde_json::Map;

/// What doesn't change.
struct Frozen<'a> {
    config: PpoConfig,
    size: &'a Size,
    subject: &'a Subject,
    reward: ScoreModel,
    prompts: Vec<EncodedPrompt>,
    device: &'a Device,
}

/// Answers of full length, their scores, what all networks say of them, and the gradient steps.
pub(super) fn step(subject: &Subject, size: &Size, device: &Device) -> Result<Measured, CliError> {
    if !size.batch.is_multiple_of(size.minibatches) {
        let message = format!(
            "--minibatches {}: it does not divide --batch {}",
            size.minibatches, size.batch
        );
        let hint = "give a --batch that is a multiple of --minibatches";
        return Err(CliError::usage(message).hint(hint));
    }
    let vocabulary = subject.config.vocab_size;
    let prompts = random_rows(&mut Rng::new(1), size.batch, size.prompt, vocabulary);
    let empty = || Prompt {
        messages: Vec::new(),
        row: Map::new(),
    };
    let scorer = |seed| ScoreModel::from_backbone(copied(&subject.model), seed);
    let frozen = Frozen {
        config: config(size),
        size,
        subject,
        reward: scorer(3),
        prompts: prompts
            .into_iter()
            .map(|ids| EncodedPrompt {
                prompt: empty(),
                ids,
            })
            .collect(),
        device,
    };
    let critic = if size.shared_trunk {
        Critic::on(&subject.model)
    } else {
        Critic::Model(scorer(2))
    };
    let mut trained = Some(Trained {
        policy: subject.model.clone().train(),
        critic: critic.train(),
        policy_optimiser: optimiser(size),
        critic_optimiser: optimiser(size),
    });
    let (rng, mut number) = (Rng::new(4), 0);
    let timed = repeat(size.seconds, 1, || {
        number += 1;
        let before = trained.take().expect("put back by every step");
        let experience = frozen.experience(&before, number)?;
        let at = UpdateAt {
            rng: &rng,
            step: number,
            lr_multiplier: 1.0,
            score_offset: 0.0,
            device,
        };
        let (after, _) = update(&frozen.config, before, &experience, None, at)?;
        trained = Some(after);
        Ok::<_, PpoError>(())
    })?;
    let (tokens, written) = (
        size.batch * (size.prompt + size.response),
        size.batch * size.response,
    );
    let (matrices, blocks) = (subject.of_matrices() as f64, subject.of_blocks() as f64);
    // Writing, passes of the policy, if any, and the reference with the head, of the reward model without,
    // and the gradient steps of the policy; then those of the value model.
    let passes = if size.sampler_logprobs { 4.0 } else { 6.0 };
    let of_policy = passes * matrices + 2.0 * blocks + 6.0 * size.epochs as f64 * matrices;
    let of_value = (2.0 + 6.0 * size.epochs as f64) * blocks;
    let (each, networks) = if size.shared_trunk {
        (of_policy, "one trunk for policy and values")
    } else {
        (of_policy + of_value, "four networks")
    };
    let gflop = each * tokens as f64 / 1e9;
    let notes = format!(
        "tokens_per_s counts written tokens over the whole update; {} epochs of {} minibatches, \
         {networks}",
        size.epochs, size.minibatches
    );
    Ok(Measured::new(timed, written, gflop, notes))
}

/// The same weights in memory of their own, as those of another model would be.
fn copied(model: &Transformer) -> Transformer {
    struct Copied;
    impl ModuleMapper for Copied {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            Param::from_mapped_value(id, tensor * 1.0, mapper)
        }
    }
    model.clone().map(&mut Copied)
}

fn config(size: &Size) -> PpoConfig {
    let mut config = PpoConfig {
        rollouts: size.batch,
        minibatch_size: size.batch / size.minibatches,
        epochs: size.epochs,
        learning_rate: size.learning_rate,
        kl_coef: 0.05,
        ptx_coef: 0.0,
        target_kl: f64::INFINITY,
        shared_trunk: size.shared_trunk,
        sampler_logprobs: size.sampler_logprobs,
        ..PpoConfig::default()
    };
    config.loss.max_new_tokens = size.response;
    config.loss.missing_eos_penalty = 0.0;
    config
}

impl Frozen<'_> {
    fn experience(&self, trained: &Trained, number: u64) -> Result<Experience, PpoError> {
        let (policy, critic) = (trained.policy.valid(), trained.critic.valid());
        let prompts: Vec<&[u32]> = self.prompts.iter().map(|p| p.ids.as_slice()).collect();
        let generator = LocalGenerator::new(&policy, prompts.len());
        let completions = write(&generator, &prompts, &sampling(self.size, 1.0), number)?;
        let answers = self.prompts.iter().zip(completions);
        let rollouts: Vec<Rollout<'_>> = answers
            .map(|(prompt, completion)| Rollout {
                prompt,
                completion,
                text: String::new(),
            })
            .collect();
        let ids: Vec<Vec<u32>> = rollouts.iter().map(Rollout::ids).collect();
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        let scores = score_sequences(&self.reward, &ids, self.size.batch, self.device)?;
        let scored = rollouts.into_iter().zip(scores);
        let scored: Vec<ScoredRollout<'_>> = scored
            .map(|(rollout, score)| ScoredRollout { rollout, score })
            .collect();
        let parties = Parties {
            policy: &policy,
            reference: &self.subject.model,
            critic: &critic,
            score_offset: 0.0,
        };
        Ok(experience(&self.config, &scored, parties, self.device))
    }
}
