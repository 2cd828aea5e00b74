//! Model folders: a model with its tokenizer, read and written as one.

use crate::config::Config;
use crate::error::CliError;
use burn::tensor::Device;
use rlhf_data::{ChatTokenizer, write_atomic};
use rlhf_model::{
    ModelConfig, ScoreModel, Transformer, is_adapter, is_score_model, load_adapter, load_model,
    load_score_adapter, load_score_model, read_adapter_info, read_model_config, save_adapter,
    save_model, save_score_adapter, save_score_model,
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

impl Policy {
    /// The model ready for training, with fresh adapters where the settings want them and as whole
    /// weights otherwise, and what its folder holds beside it.
    ///
    /// # Errors
    /// If the settings can't be used with this model.
    pub(crate) fn for_training(self, config: &Config) -> Result<(Transformer, Beside), CliError> {
        let (model, beside) = self.split();
        let model = if config.lora.is_on() {
            model.with_lora(&config.lora, config.seed)?
        } else {
            model.merged()
        };
        let on = config.memory.gradient_checkpointing;
        Ok((model.with_gradient_checkpointing(on), beside))
    }
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
    let base = base_folder(dir, Adapter::Language)?;
    let (model, config) = load_model(&base, device).map_err(|e| in_folder(&base, e))?;
    let model = match base == dir {
        true => model,
        false => load_adapter(dir, model).map_err(|e| in_folder(dir, e))?,
    };
    let tokenizer = load_tokenizer(tokenizer_folder(dir, &base), config.vocab_size)?;
    Ok(Policy {
        model,
        config,
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
    let base = base_folder(dir, Adapter::Language)?;
    read_model_config(&base).map_err(|e| in_folder(&base, e))
}

/// What an adapter is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Adapter {
    Language,
    Score,
}

/// The folder of the weights that a folder's adapters belong to; the folder itself where it holds
/// whole weights.
fn base_folder(dir: &Path, wanted: Adapter) -> Result<PathBuf, CliError> {
    if !is_adapter(dir) || dir.join("config.json").exists() {
        return Ok(dir.to_owned());
    }
    let info = read_adapter_info(dir).map_err(|e| in_folder(dir, e))?;
    let shown = dir.display();
    match (wanted, info.is_classifier) {
        (Adapter::Language, true) => {
            let text = format!("{shown}: holds the adapters of a reward model");
            return Err(CliError::usage(text).hint("give it as --reward"));
        }
        (Adapter::Score, false) => {
            let text =
                format!("{shown}: holds the adapters of a language model, not a reward model");
            return Err(CliError::usage(text).hint("give a folder that `rlhf reward` wrote"));
        }
        _ => {}
    }
    // As it stands, and from the adapter's folder on.
    let places = [PathBuf::from(&info.base), dir.join(&info.base)];
    let found = places
        .into_iter()
        .find(|place| place.join("config.json").is_file());
    found.ok_or_else(|| {
        let text = format!(
            "{shown}: its adapters belong to the model `{}`, and there is no such folder",
            info.base
        );
        let hint = "mend base_model_name_or_path in its adapter_config.json";
        CliError::usage(text).hint(hint)
    })
}

/// The folder's own tokenizer, or that of the model that it adapts.
fn tokenizer_folder<'a>(dir: &'a Path, base: &'a Path) -> &'a Path {
    if dir.join("tokenizer.json").exists() {
        dir
    } else {
        base
    }
}

/// Reads a reward model's folder.
///
/// # Errors
/// As [`load_policy`].
pub(crate) fn load_reward(dir: &Path, device: &Device) -> Result<RewardFolder, CliError> {
    refuse_no_folder("--reward", dir)?;
    let base = base_folder(dir, Adapter::Score)?;
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

/// Writes a language model's folder: weights, or adapters in PEFT's layout where the model has
/// them; tokenizer; `README.md`, the card. It appears whole or not at all; a folder of that name
/// is replaced.
///
/// # Errors
/// If it can't be written.
pub(crate) fn save_policy(
    dir: &Path,
    model: &Transformer,
    beside: &Beside,
    card: &str,
) -> Result<(), CliError> {
    save_whole(dir, card, |partial| {
        if model.has_adapters() {
            save_adapter(partial, model, &shown_base(&beside.base))?;
        } else {
            save_model(partial, model, &beside.config)?;
        }
        Ok(beside.tokenizer.save(partial)?)
    })
}

/// The folder as PEFT should find it from anywhere.
fn shown_base(base: &Path) -> String {
    let absolute = fs::canonicalize(base).unwrap_or_else(|_| base.to_owned());
    absolute.display().to_string()
}

/// Writes a reward model's folder, as [`save_policy`] does.
///
/// # Errors
/// If it can't be written.
pub(crate) fn save_reward(
    dir: &Path,
    model: &ScoreModel,
    beside: &Beside,
    card: &str,
) -> Result<(), CliError> {
    save_whole(dir, card, |partial| {
        if model.backbone.has_adapters() {
            save_score_adapter(partial, model, &shown_base(&beside.base))?;
        } else {
            save_score_model(partial, model, model.config())?;
        }
        Ok(beside.tokenizer.save(partial)?)
    })
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

fn save_whole(
    dir: &Path,
    card: &str,
    write: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let partial = beside(dir, "partial");
    let replaced = beside(dir, "replaced");
    let io = |e| CliError::io(dir, &e);
    remove(&partial)?;
    fs::create_dir_all(&partial).map_err(io)?;
    write(&partial)?;
    let path = partial.join("README.md");
    write_atomic(&path, card.as_bytes()).map_err(|e| CliError::io(&path, &e))?;
    remove(&replaced)?;
    if dir.exists() {
        fs::rename(dir, &replaced).map_err(io)?;
    }
    fs::rename(&partial, dir).map_err(io)?;
    remove(&replaced)
}

fn beside(dir: &Path, suffix: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.{suffix}"))
}

fn remove(dir: &Path) -> Result<(), CliError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(CliError::io(dir, &e)),
        _ => Ok(()),
    }
}
