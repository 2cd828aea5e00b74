//! The model that adapters belong to.

use super::in_folder;
use crate::error::CliError;
use crate::hub;
use rlhf_model::{AdapterBase, is_adapter, read_adapter_info};
use std::fs;
use std::path::{Path, PathBuf};

/// What adapters are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Adapted {
    Language,
    Score,
}

/// The folder of the weights that a folder's adapters belong to; the folder itself where it holds
/// whole weights.
///
/// # Errors
/// If the adapters are for something else, or their model can't be found.
pub(super) fn base_folder(dir: &Path, wanted: Adapted) -> Result<PathBuf, CliError> {
    if !is_adapter(dir) || dir.join("config.json").exists() {
        return Ok(dir.to_owned());
    }
    let info = read_adapter_info(dir).map_err(|e| in_folder(dir, e))?;
    let shown = dir.display();
    match (wanted, info.is_classifier) {
        (Adapted::Language, true) => {
            let text = format!("{shown}: holds the adapters of a reward model");
            return Err(CliError::usage(text).hint("give it as --reward"));
        }
        (Adapted::Score, false) => {
            let text =
                format!("{shown}: holds the adapters of a language model, not a reward model");
            return Err(CliError::usage(text).hint("give a folder that `rlhf reward` wrote"));
        }
        _ => {}
    }
    // As it stands, from the adapters' folder on, or by its name on the hub.
    let name = match &info.base.revision {
        Some(revision) => format!("{}@{revision}", info.base.name),
        None => info.base.name,
    };
    let beside = dir.join(&name);
    let named = PathBuf::from(&name);
    let found = if beside.join("config.json").is_file() {
        beside
    } else {
        hub::locate("the adapters' model", &named, hub::Need::Model)?
    };
    if found.join("config.json").is_file() {
        return Ok(found);
    }
    let text =
        format!("{shown}: its adapters belong to the model `{name}`, and there is no such folder");
    Err(CliError::usage(text).hint("mend base_model_name_or_path in its adapter_config.json"))
}

/// The folder's own tokenizer, or that of the model that it adapts.
pub(super) fn tokenizer_folder<'a>(dir: &'a Path, base: &'a Path) -> &'a Path {
    if dir.join("tokenizer.json").exists() {
        dir
    } else {
        base
    }
}

/// How adapters name their model: by its name and commit on the hub, or by a path that leads there
/// from anywhere.
pub(super) fn name_of_base(base: &Path) -> AdapterBase {
    if let Some((name, commit)) = hub::name_of_snapshot(base) {
        let revision = Some(commit);
        return AdapterBase { name, revision };
    }
    let absolute = fs::canonicalize(base).unwrap_or_else(|_| base.to_owned());
    AdapterBase::from(absolute.display().to_string().as_str())
}
