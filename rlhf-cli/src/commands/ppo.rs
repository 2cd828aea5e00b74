//! `rlhf ppo`.

use crate::args::{PpoArgs, open_as_they_are};
use crate::commands::pretrain::{encode_enough, optional_texts};
use crate::commands::stage::{Stage, note_skipped, note_truncated, run_alone, run_stage};
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::model_folder::{Beside, Policy, RewardFolder, load_reward, save_policy};
use crate::session::Session;
use rlhf_data::{DataSet, OnBadRow, load_prompts, pack};
use rlhf_ppo::rollout::encode_prompts;
use rlhf_ppo::{Critic, PpoModels};
use rlhf_train::Outcome;
use std::path::Path;

/// What PPO reads.
pub(crate) struct Inputs<'a> {
    /// The folder of the policy to start from.
    pub(crate) model: &'a Path,
    /// The folder of the reward model.
    pub(crate) reward: &'a Path,
    /// Files of prompts.
    pub(crate) prompts: &'a DataSet,
    /// Files of text for the pre-training term.
    pub(crate) text: &'a DataSet,
    /// What happens to prompts that can't be used.
    pub(crate) on_bad_row: OnBadRow,
}

/// Optimises a model against a reward model.
///
/// # Errors
/// If an input can't be used, or training fails.
pub(crate) fn ppo(args: &PpoArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let place = (args.folder.dir("ppo"), args.folder.fresh);
    let seed = session.config.seed;
    let prompts = args.reading.open(&args.prompts, seed)?;
    let text = open_as_they_are(&args.pretraining_data, seed)?;
    let inputs = Inputs {
        model: &args.model,
        reward: &args.reward,
        prompts: &prompts,
        text: &text,
        on_bad_row: args.bad_rows.on_bad_row.into(),
    };
    run_alone(&session, (&place.0, place.1), "ppo", |folder| {
        stage(&session, folder, &inputs)
    })
}

/// The stage: two model folders and files of prompts and of text in, `model/` out.
///
/// # Errors
/// As [`ppo`].
pub(crate) fn stage(
    session: &Session,
    folder: &mut RunFolder,
    inputs: &Inputs<'_>,
) -> Result<(), CliError> {
    let out = folder.model_dir("ppo");
    let files = inputs.prompts.paths().chain(inputs.text.paths());
    let stage = Stage {
        name: "ppo",
        sections: &["lora", "memory"],
        inputs: files.chain([inputs.model, inputs.reward]).collect(),
        reading: inputs.prompts.describe() + &inputs.text.describe(),
        base_model: Some(inputs.model),
        reward_model: Some(inputs.reward),
    };
    run_stage(session, folder, &stage, |context, card| {
        let (settings, lora) = (&session.config.ppo, &session.config.lora);
        if lora.is_on() && lora.dropout > 0.0 {
            let text = "lora.dropout: PPO compares log-probs before and after an update, and what \
                        is dropped would differ";
            return Err(CliError::usage(text).hint("set lora.dropout=0"));
        }
        let (model, beside) = Policy::for_training(session, "ppo", inputs.model)?;
        let reward = load_reward(inputs.reward, &session.device)?;
        refuse_other_ids(&reward, &beside, inputs)?;
        let context_length = beside.config.max_position_embeddings;
        let room = context_length.saturating_sub(settings.loss.max_new_tokens);
        if room == 0 {
            let message = format!(
                "ppo.loss.max_new_tokens: {} new tokens leave no room for a prompt in the {} of \
                 {}",
                settings.loss.max_new_tokens,
                context_length,
                inputs.model.display()
            );
            return Err(CliError::usage(message).hint("lower ppo.loss.max_new_tokens"));
        }
        let loaded = load_prompts(inputs.prompts, inputs.on_bad_row)?;
        note_skipped(session, "ppo", loaded.skipped);
        let (prompts, truncated) = encode_prompts(&beside.tokenizer, &loaded.rows, room)?;
        note_truncated(session, "ppo", truncated, prompts.len());
        let text = optional_texts(inputs.text)?;
        let length = session.config.pretrain.sequence_length.min(context_length);
        let text = encode_enough(&beside.tokenizer, &text, settings.ptx_rows() * length)?;
        let source = reward.source(&session.device, settings.rollouts);
        let critic = if settings.shared_trunk {
            Critic::on(&model)
        } else {
            Critic::Model(reward.value_model(&session.config)?)
        };
        let models = PpoModels {
            policy: model,
            critic,
            reward: &source,
            tokenizer: &beside.tokenizer,
            prompts: &prompts,
            pretraining: &pack(&text, length),
        };
        Ok(match rlhf_ppo::ppo(settings, models, context)? {
            Outcome::Interrupted { step } => Outcome::Interrupted { step },
            Outcome::Finished(result) => {
                if let Some(kl) = result.stopped_at_kl {
                    let steps = result.steps;
                    session.note(&format!("ppo: ended after {steps} updates at KL {kl:.2}"));
                }
                Outcome::Finished(save_policy(&out, &result.policy, &beside, card)?)
            }
        })
    })
}

/// Refuses a reward model that would read the policy's ids as other tokens.
fn refuse_other_ids(
    reward: &RewardFolder,
    beside: &Beside,
    inputs: &Inputs<'_>,
) -> Result<(), CliError> {
    let (of_reward, own) = (reward.model.config().vocab_size, beside.config.vocab_size);
    if of_reward == own {
        return Ok(());
    }
    let message = format!(
        "{}: a reward model with a vocabulary of {of_reward} tokens can't read what {} writes with \
         {own}",
        inputs.reward.display(),
        inputs.model.display()
    );
    Err(CliError::usage(message).hint("train the reward model from the policy's own base"))
}
