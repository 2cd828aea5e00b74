//! Model folders: a model with its tokenizer, read as one. A folder of adapters is read with the model
//! that they belong to.

mod base;
mod keep;
mod save;

pub(crate) use save::{
    CARD, Written, note_figures, save_policy, save_policy_as, save_reward, save_reward_as,
};

use crate::config::Config;
use crate::error::CliError;
use crate::session::Session;
use crate::workload::refuse_too_large;
use base::{Adapted, base_folder, tokenizer_folder};
use burn::tensor::Device;
use rlhf_data::ChatTokenizer;
use rlhf_model::{
    ModelConfig, ScoreModel, Transformer, is_adapter, is_score_model, load_adapter, load_model,
    load_score_adapter, load_score_model, read_adapter_info, read_model_config,
};
use rlhf_reward::RewardModel;
use std::fs;
use std::path::{Path, PathBuf};

/// A language model and its tokenizer.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The weights, on a plain device.
    pub(crate) model: Transformer,
    /// Their shape and the ids of special tokens.
    pub(crate) config: ModelConfig,
    /// The tokenizer and template.
    pub(crate) tokenizer: ChatTokenizer,
    /// The folder of the weights without adapters.
    pub(crate) base: PathBuf,
}

/// A reward model and its tokenizer.
#[derive(Debug)]
pub(crate) struct RewardFolder {
    /// The weights, on a plain device.
    pub(crate) model: ScoreModel,
    /// The tokenizer and template.
    pub(crate) tokenizer: ChatTokenizer,
    /// The folder of the weights without adapters.
    pub(crate) base: PathBuf,
}

/// What a model's folder holds beside the weights.
#[derive(Debug)]
pub(crate) struct Beside {
    /// The model's configuration.
    pub(crate) config: ModelConfig,
    /// The tokenizer and template.
    pub(crate) tokenizer: ChatTokenizer,
    /// The folder of the weights that adapters belong to.
    pub(crate) base: PathBuf,
}

impl Policy {
    /// Reads the model that a stage trains, once it is known that training fits into memory; ready
    /// for it, with fresh adapters where the settings want them and as whole weights otherwise. Also
    /// what its folder holds beside the weights.
    ///
    /// # Errors
    /// As [`load_policy`]; if training would not fit, or the settings can't be used with this model.
    pub(crate) fn for_training(
        session: &Session,
        stage: &str,
        dir: &Path,
    ) -> Result<(Transformer, Beside), CliError> {
        let config = &session.config;
        refuse_too_large(config, stage, &read_shape(dir)?, &session.device)?;
        let (model, beside) = load_policy(dir, &session.device)?.split();
        let model = if config.lora.is_on() {
            model.with_lora(&config.lora, config.seed)?
        } else {
            model.merged()
        };
        let on = config.memory.gradient_checkpointing;
        Ok((model.with_gradient_checkpointing(on), beside))
    }

    /// The model, for a recipe that takes it, and what its folder holds beside it.
    pub(crate) fn split(self) -> (Transformer, Beside) {
        let beside = Beside {
            config: self.config,
            tokenizer: self.tokenizer,
            base: self.base,
        };
        (self.model, beside)
    }
}

impl RewardFolder {
    /// The model, and what its folder holds beside it.
    pub(crate) fn split(self) -> (ScoreModel, Beside) {
        let beside = Beside {
            config: self.model.config().clone(),
            tokenizer: self.tokenizer,
            base: self.base,
        };
        (self.model, beside)
    }

    /// A value model to train beside a policy, which starts as this reward model: with adapters
    /// over its weights, which are shared, or a copy that is trained whole.
    ///
    /// # Errors
    /// If the settings can't be used with this model.
    pub(crate) fn value_model(&self, config: &Config) -> Result<ScoreModel, CliError> {
        let model = self.model.clone().with_fresh_ids();
        let mut model = if config.lora.is_on() {
            model.with_lora(&config.lora, config.seed)?
        } else {
            model.merged()
        };
        let on = config.memory.gradient_checkpointing;
        model.backbone = model.backbone.with_gradient_checkpointing(on);
        Ok(model)
    }

    /// The model as a source of rewards.
    pub(crate) fn source(&self, device: &Device, batch_size: usize) -> RewardModel<'_> {
        RewardModel {
            model: &self.model,
            tokenizer: &self.tokenizer,
            device: device.clone(),
            batch_size,
            max_length: self.model.config().max_position_embeddings,
        }
    }
}

/// Reads a language model's folder.
///
/// # Errors
/// The caller's mistake, naming the folder or the file: it is absent, incomplete, broken, or its
/// parts don't belong together.
pub(crate) fn load_policy(dir: &Path, device: &Device) -> Result<Policy, CliError> {
    refuse_no_folder("--model", dir)?;
    let base = base_folder(dir, Adapted::Language)?;
    let (model, config) = load_model(&base, device).map_err(|e| in_folder(&base, e))?;
    let model = if base == dir {
        model
    } else {
        load_adapter(dir, model).map_err(|e| in_folder(dir, e))?
    };
    let tokenizer = load_tokenizer(tokenizer_folder(dir, &base), config.vocab_size)?;
    Ok(Policy {
        model,
        config,
        tokenizer,
        base,
    })
}

/// Reads a reward model's folder.
///
/// # Errors
/// As [`load_policy`].
pub(crate) fn load_reward(dir: &Path, device: &Device) -> Result<RewardFolder, CliError> {
    refuse_no_folder("--reward", dir)?;
    let base = base_folder(dir, Adapted::Score)?;
    let model = if base == dir {
        load_score_model(dir, device).map_err(|e| in_folder(dir, e))?
    } else {
        let (backbone, _) = load_model(&base, device).map_err(|e| in_folder(&base, e))?;
        load_score_adapter(dir, backbone).map_err(|e| in_folder(dir, e))?
    };
    let tokenizer = load_tokenizer(tokenizer_folder(dir, &base), model.config().vocab_size)?;
    Ok(RewardFolder {
        model,
        tokenizer,
        base,
    })
}

/// The shape of a language model in a folder, or of the model that its adapters belong to; no
/// weights are read.
///
/// # Errors
/// As [`load_policy`].
pub(crate) fn read_shape(dir: &Path) -> Result<ModelConfig, CliError> {
    refuse_no_folder("--model", dir)?;
    let base = base_folder(dir, Adapted::Language)?;
    read_model_config(&base).map_err(|e| in_folder(&base, e))
}

/// Whether a folder holds a reward model, or the adapters of one.
///
/// # Errors
/// If it holds neither a model nor adapters, or its configuration can't be read.
pub(crate) fn is_reward(dir: &Path) -> Result<bool, CliError> {
    refuse_no_folder("--model", dir)?;
    if is_adapter(dir) {
        let info = read_adapter_info(dir).map_err(|e| in_folder(dir, e))?;
        return Ok(info.is_classifier);
    }
    is_score_model(dir).map_err(|e| in_folder(dir, e))
}

fn refuse_no_folder(option: &str, dir: &Path) -> Result<(), CliError> {
    let what = match fs::metadata(dir) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "is a file, but a folder is wanted".to_owned(),
        Err(e) => e.to_string(),
    };
    let error = CliError::usage(format!("{option} {}: {what}", dir.display()));
    Err(error.hint("give the folder that holds config.json, model.safetensors and tokenizer.json"))
}

/// Whatever is wrong with a folder that a caller named is the caller's to mend, and the message
/// names it.
fn in_folder(dir: &Path, error: impl Into<CliError>) -> CliError {
    let mut error = error.into();
    let name = dir.display().to_string();
    if !error.message.contains(&name) {
        error.message = format!("{name}: {}", error.message);
    }
    CliError {
        code: crate::error::ExitKind::Usage,
        ..error
    }
}

fn load_tokenizer(dir: &Path, vocab_size: usize) -> Result<ChatTokenizer, CliError> {
    let tokenizer = ChatTokenizer::load(dir).map_err(|e| in_folder(dir, e))?;
    let ids = tokenizer.tokenizer().vocab_size();
    if ids > vocab_size {
        let message = format!(
            "{}: tokenizer.json has {ids} tokens, config.json only {vocab_size}",
            dir.display()
        );
        let error = CliError::usage(message);
        return Err(error.hint("use the tokenizer files that the model came with"));
    }
    Ok(tokenizer)
}
