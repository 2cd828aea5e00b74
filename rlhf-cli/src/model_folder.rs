//! Model folders: a model with its tokenizer, read and written as one.

mod keep;

use crate::error::CliError;
use crate::folder::sha256_of;
use burn::tensor::Device;
use keep::keep_files;
use rlhf_data::{ChatTokenizer, write_atomic};
use rlhf_eval::{Card, CardFile, Metrics, model_card, with_figures};
use rlhf_model::{
    ModelConfig, ScoreModel, Transformer, WeightType, load_model, load_score_model, save_model_as,
    save_score_model_as,
};
use rlhf_reward::RewardModel;
use std::fs;
use std::path::{Path, PathBuf};

/// The card of a model. It says what a model is and is no part of it, so hashes of folders leave it
/// out.
pub(crate) const CARD: &str = "README.md";

/// A language model and its tokenizer.
#[derive(Debug)]
pub(crate) struct Policy {
    /// The weights, on a plain device.
    pub(crate) model: Transformer,
    /// Their shape and the ids of special tokens.
    pub(crate) config: ModelConfig,
    /// The tokenizer and template.
    pub(crate) tokenizer: ChatTokenizer,
}

/// A reward model and its tokenizer.
#[derive(Debug)]
pub(crate) struct RewardFolder {
    /// The weights, on a plain device.
    pub(crate) model: ScoreModel,
    /// The tokenizer and template.
    pub(crate) tokenizer: ChatTokenizer,
}

impl RewardFolder {
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
    let (model, config) = load_model(dir, device).map_err(|e| in_folder(dir, e))?;
    let tokenizer = load_tokenizer(dir, config.vocab_size)?;
    Ok(Policy {
        model,
        config,
        tokenizer,
    })
}

/// Reads a reward model's folder.
///
/// # Errors
/// As [`load_policy`].
pub(crate) fn load_reward(dir: &Path, device: &Device) -> Result<RewardFolder, CliError> {
    refuse_no_folder("--reward", dir)?;
    let model = load_score_model(dir, device).map_err(|e| in_folder(dir, e))?;
    let tokenizer = load_tokenizer(dir, model.config().vocab_size)?;
    Ok(RewardFolder { model, tokenizer })
}

/// How a folder is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written<'a> {
    /// The type of the numbers in the weight file.
    pub(crate) kind: WeightType,
    /// A folder whose configuration, settings of generation and tokenizer files are kept.
    pub(crate) keep: Option<&'a Path>,
}

/// Writes a language model's folder in f32: weights, tokenizer and `README.md`, the card with the
/// hashes of the files beside it. It appears whole or not at all; a folder of that name is replaced.
///
/// # Errors
/// If it can't be written.
pub(crate) fn save_policy(
    dir: &Path,
    model: &Transformer,
    config: &ModelConfig,
    tokenizer: &ChatTokenizer,
    card: &Card,
) -> Result<(), CliError> {
    save_policy_as(dir, (model, config), tokenizer, card, Written::default())
}

/// As [`save_policy`], with numbers of another type.
///
/// # Errors
/// If it can't be written, or the type can't hold a number.
pub(crate) fn save_policy_as(
    dir: &Path,
    (model, config): (&Transformer, &ModelConfig),
    tokenizer: &ChatTokenizer,
    card: &Card,
    written: Written<'_>,
) -> Result<(), CliError> {
    save_whole(dir, card, written, |partial| {
        save_model_as(partial, model, config, written.kind)?;
        Ok(tokenizer.save(partial)?)
    })
}

/// Writes a reward model's folder, as [`save_policy`] does.
///
/// # Errors
/// If it can't be written.
pub(crate) fn save_reward(
    dir: &Path,
    model: &ScoreModel,
    tokenizer: &ChatTokenizer,
    card: &Card,
) -> Result<(), CliError> {
    save_reward_as(dir, model, tokenizer, card, Written::default())
}

/// As [`save_reward`], with numbers of another type.
///
/// # Errors
/// As [`save_policy_as`].
pub(crate) fn save_reward_as(
    dir: &Path,
    model: &ScoreModel,
    tokenizer: &ChatTokenizer,
    card: &Card,
    written: Written<'_>,
) -> Result<(), CliError> {
    save_whole(dir, card, written, |partial| {
        save_score_model_as(partial, model, model.config(), written.kind)?;
        Ok(tokenizer.save(partial)?)
    })
}

/// Writes figures into the card of a folder, in the place of older ones.
///
/// # Errors
/// If the card can't be read or written.
pub(crate) fn note_figures(dir: &Path, figures: &Metrics) -> Result<(), CliError> {
    let path = dir.join(CARD);
    let io = |e| CliError::io(&path, &e);
    let text = with_figures(&fs::read_to_string(&path).map_err(io)?, figures);
    write_atomic(&path, text.as_bytes()).map_err(io)
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
    card: &Card,
    written: Written<'_>,
    write: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let partial = beside(dir, "partial");
    let replaced = beside(dir, "replaced");
    let io = |e| CliError::io(dir, &e);
    remove(&partial)?;
    fs::create_dir_all(&partial).map_err(io)?;
    let written = write(&partial)
        .and_then(|()| {
            let keep = written.keep;
            keep.map_or(Ok(()), |source| keep_files(source, &partial, written.kind))
        })
        .and_then(|()| write_card(&partial, card));
    if let Err(error) = written {
        remove(&partial).ok();
        return Err(named(error, &partial, dir));
    }
    remove(&replaced)?;
    if dir.exists() {
        fs::rename(dir, &replaced).map_err(io)?;
    }
    fs::rename(&partial, dir).map_err(io)?;
    remove(&replaced)
}

/// An error about the folder that was asked for, not about the one that it was to become.
fn named(mut error: CliError, partial: &Path, dir: &Path) -> CliError {
    let (from, to) = (partial.display().to_string(), dir.display().to_string());
    error.message = error.message.replace(&from, &to);
    error
}

fn write_card(dir: &Path, card: &Card) -> Result<(), CliError> {
    let io = |e| CliError::io(dir, &e);
    let mut card = card.clone();
    let entries = fs::read_dir(dir)
        .map_err(io)?
        .collect::<Result<Vec<_>, _>>();
    let mut paths: Vec<PathBuf> = entries
        .map_err(io)?
        .iter()
        .map(fs::DirEntry::path)
        .collect();
    paths.sort();
    for path in paths {
        card.files.push(CardFile {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            rows: None,
            sha256: sha256_of(&path)?,
        });
    }
    let path = dir.join(CARD);
    write_atomic(&path, model_card(&card).as_bytes()).map_err(|e| CliError::io(&path, &e))
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
