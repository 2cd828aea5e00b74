//! Writing model folders: whole or not at all, with a card.

use super::Beside;
use super::base::name_of_base;
use super::keep::keep_files;
use crate::error::CliError;
use crate::folder::sha256_of;
use rlhf_data::write_atomic;
use rlhf_eval::{Card, CardFile, Metrics, model_card, with_figures};
use rlhf_model::{
    ScoreModel, Transformer, WeightType, save_adapter, save_model_as, save_score_adapter,
    save_score_model_as,
};
use std::fs;
use std::path::{Path, PathBuf};

/// The card of a model. It says what a model is and is no part of it, so hashes of folders leave it
/// out.
pub(crate) const CARD: &str = "README.md";

/// How a folder is written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written<'a> {
    /// The type of the numbers in the weight file.
    pub(crate) kind: WeightType,
    /// A folder whose configuration, settings of generation and tokenizer files are kept.
    pub(crate) keep: Option<&'a Path>,
}

/// Writes a language model's folder: weights in f32, or adapters in PEFT's layout where the model has
/// them; tokenizer; `README.md`, the card with the hashes of the files beside it. It appears whole or
/// not at all; a folder of that name is replaced.
///
/// # Errors
/// If it can't be written.
pub(crate) fn save_policy(
    dir: &Path,
    model: &Transformer,
    beside: &Beside,
    card: &Card,
) -> Result<(), CliError> {
    save_policy_as(dir, model, beside, card, Written::default())
}

/// As [`save_policy`], with weights of another type. Adapters are in f32 whatever it is.
///
/// # Errors
/// If it can't be written, or the type can't hold a number.
pub(crate) fn save_policy_as(
    dir: &Path,
    model: &Transformer,
    beside: &Beside,
    card: &Card,
    written: Written<'_>,
) -> Result<(), CliError> {
    save_whole(dir, card, written, |partial| {
        if model.has_adapters() {
            save_adapter(partial, model, &name_of_base(&beside.base))?;
        } else {
            save_model_as(partial, model, &beside.config, written.kind)?;
        }
        Ok(beside.tokenizer.save(partial)?)
    })
}

/// Writes a reward model's folder, as [`save_policy`] does.
///
/// # Errors
/// If it can't be written.
pub(crate) fn save_reward(
    dir: &Path,
    model: &ScoreModel,
    beside: &Beside,
    card: &Card,
) -> Result<(), CliError> {
    save_reward_as(dir, model, beside, card, Written::default())
}

/// As [`save_reward`], with weights of another type.
///
/// # Errors
/// As [`save_policy_as`].
pub(crate) fn save_reward_as(
    dir: &Path,
    model: &ScoreModel,
    beside: &Beside,
    card: &Card,
    written: Written<'_>,
) -> Result<(), CliError> {
    save_whole(dir, card, written, |partial| {
        if model.backbone.has_adapters() {
            save_score_adapter(partial, model, &name_of_base(&beside.base))?;
        } else {
            save_score_model_as(partial, model, model.config(), written.kind)?;
        }
        Ok(beside.tokenizer.save(partial)?)
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

fn save_whole(
    dir: &Path,
    card: &Card,
    written: Written<'_>,
    write: impl FnOnce(&Path) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let partial = sibling(dir, "partial");
    let replaced = sibling(dir, "replaced");
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

fn sibling(dir: &Path, suffix: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.{suffix}"))
}

fn remove(dir: &Path) -> Result<(), CliError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(CliError::io(dir, &e)),
        _ => Ok(()),
    }
}
