//! Which files hold a folder's weights.

use crate::ModelError;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// `model.safetensors` where it is there or nothing else is, else the files that
/// `model.safetensors.index.json` lists. Those that are missing are named all at once.
pub(super) fn weight_paths(dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = dir.join("model.safetensors");
    let index = dir.join("model.safetensors.index.json");
    if single.exists() || !index.exists() {
        return Ok(vec![single]);
    }
    let names = listed(&index)?;
    let missing: Vec<String> = names
        .iter()
        .filter(|name| !dir.join(name).exists())
        .map(|name| format!("`{name}`"))
        .collect();
    if missing.is_empty() {
        return Ok(names.into_iter().map(|name| dir.join(name)).collect());
    }
    let reason = format!("lists {}, not in this folder", missing.join(", "));
    Err(bad(&index, reason))
}

/// The names in an index. They are names of files beside it and nothing else: a folder from
/// elsewhere must not make a program open what it likes.
fn listed(index: &Path) -> Result<BTreeSet<String>, ModelError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let bytes = std::fs::read(index).map_err(|e| ModelError::io(index, e))?;
    let read: Index = serde_json::from_slice(&bytes).map_err(|e| bad(index, e.to_string()))?;
    let names: BTreeSet<String> = read.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(bad(index, "lists no file".to_owned()));
    }
    let plain = |name: &str| name.ends_with(".safetensors") && !name.contains(['/', '\\', ':']);
    match names.iter().find(|name| !plain(name)) {
        None => Ok(names),
        Some(name) => {
            let reason = format!("`{name}` is not the name of a safetensors file in this folder");
            Err(bad(index, reason))
        }
    }
}

fn bad(index: &Path, reason: String) -> ModelError {
    ModelError::Json {
        path: index.to_owned(),
        reason,
    }
}
