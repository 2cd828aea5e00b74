//! The state of an unfinished stage on disk.
//!
//! `checkpoints/step-000100/` holds `state.json` and one safetensors file for each group of tensors
//! (weights, moments). The folder is written under another name, synced and renamed, so that a
//! killed run leaves the previous checkpoint whole; older ones are removed after that.

use crate::parameters::{NamedTensor, misfit, trained_parameters, with_parameters};
use crate::{AdamW, AdamWConfig, TrainError};
use burn::module::Module;
use rlhf_data::write_atomic;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const KEPT: usize = 2;

/// A stage's state after `step` updates.
#[derive(Debug)]
pub struct Checkpoint {
    /// The folder it was read from.
    pub path: PathBuf,
    /// Updates made.
    pub step: u64,
    /// What is not a tensor: positions of samplers, running figures.
    pub state: serde_json::Value,
    groups: BTreeMap<String, Vec<NamedTensor>>,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    step: u64,
    fingerprint: String,
    groups: Vec<String>,
    state: serde_json::Value,
}

impl Checkpoint {
    /// Takes a group of tensors out.
    ///
    /// # Errors
    /// If the checkpoint has no such group.
    pub fn take(&mut self, group: &str) -> Result<Vec<NamedTensor>, TrainError> {
        let found = self.groups.remove(group);
        found.ok_or_else(|| bad(&self.path, format!("it holds no `{group}`")))
    }

    /// A module with the weights of a group.
    ///
    /// # Errors
    /// If there is no such group or it doesn't fit.
    pub fn load<M: Module>(&mut self, group: &str, module: M) -> Result<M, TrainError> {
        let tensors = self.take(group)?;
        with_parameters(module, tensors).map_err(|reason| misfit(&self.path, group, reason))
    }

    /// What [`of_run`] saved: the model, the best weights so far and the optimiser.
    ///
    /// # Errors
    /// If something is missing or doesn't fit.
    pub fn load_run<M: Module>(
        &mut self,
        config: AdamWConfig,
        model: M,
    ) -> Result<(M, Vec<NamedTensor>, AdamW), TrainError> {
        let model = self.load("model", model)?;
        let best = trained_parameters(&self.load("best", model.clone())?);
        let optimiser = self.load_adamw("adamw", (config, self.step), &model)?;
        Ok((model, best, optimiser))
    }

    /// The optimiser of a module after `updates` updates, with the moments of a group.
    ///
    /// # Errors
    /// If there is no such group or it doesn't fit.
    pub fn load_adamw<M: Module>(
        &mut self,
        group: &str,
        (config, updates): (AdamWConfig, u64),
        module: &M,
    ) -> Result<AdamW, TrainError> {
        let moments = self.take(group)?;
        AdamW::restore(config, updates, module, moments, &self.path)
    }

    /// The state as a type.
    ///
    /// # Errors
    /// If it is not one.
    pub fn state<T: serde::de::DeserializeOwned>(&self) -> Result<T, TrainError> {
        serde_json::from_value(self.state.clone()).map_err(|e| bad(&self.path, e.to_string()))
    }
}

fn bad(path: &Path, reason: impl Into<String>) -> TrainError {
    let reason = format!(
        "{}; remove the folder or start over with --fresh",
        reason.into()
    );
    TrainError::Checkpoint {
        path: path.to_owned(),
        reason,
    }
}

/// What a stage saves that trains one model and keeps its best weights so far.
pub fn of_run<M: Module>(
    model: &M,
    best: &[NamedTensor],
    optimiser: &AdamW,
) -> Vec<(&'static str, Vec<NamedTensor>)> {
    vec![
        ("model", trained_parameters(model)),
        ("best", best.to_vec()),
        ("adamw", optimiser.state(model)),
    ]
}

/// Writes a checkpoint under `dir/checkpoints` and removes all but the last two.
///
/// # Errors
/// If it can't be written, or a tensor holds numbers that are not finite: nobody could go on from
/// there. The earlier ones are then still there.
pub fn save(
    dir: &Path,
    fingerprint: &str,
    step: u64,
    state: &impl Serialize,
    groups: &[(&str, Vec<NamedTensor>)],
) -> Result<(), TrainError> {
    let folder = dir.join("checkpoints");
    let partial = folder.join(format!(".step-{step:06}.partial"));
    let last = folder.join(format!("step-{step:06}"));
    for (name, tensors) in groups {
        NamedTensor::all_finite(tensors, &last.join(format!("{name}.safetensors")))?;
    }
    let io = |e| TrainError::io(&partial, e);
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(io)?;
    }
    fs::create_dir_all(&partial).map_err(io)?;
    for (name, tensors) in groups {
        let path = partial.join(format!("{name}.safetensors"));
        let bytes = to_safetensors(tensors).map_err(|e| bad(&path, e))?;
        write_atomic(&path, &bytes).map_err(|e| TrainError::io(&path, e))?;
    }
    let file = StateFile {
        step,
        fingerprint: fingerprint.to_owned(),
        groups: groups.iter().map(|(name, _)| (*name).to_owned()).collect(),
        state: serde_json::to_value(state).map_err(|e| bad(&partial, e.to_string()))?,
    };
    let text = serde_json::to_string_pretty(&file).map_err(|e| bad(&partial, e.to_string()))?;
    write_atomic(&partial.join("state.json"), text.as_bytes()).map_err(io)?;
    if last.exists() {
        fs::remove_dir_all(&last).map_err(io)?;
    }
    fs::rename(&partial, &last).map_err(io)?;
    // The rename is only safe once the folder is. Not every system can sync a folder.
    if let Ok(folder) = fs::File::open(&folder) {
        folder.sync_all().ok();
    }
    remove_older(&folder)
}

/// The newest checkpoint under `dir/checkpoints`, if there is one.
///
/// # Errors
/// If it can't be read, or was made with other settings or inputs.
pub fn latest(dir: &Path, fingerprint: &str) -> Result<Option<Checkpoint>, TrainError> {
    let Some(path) = list(&dir.join("checkpoints"))?.pop() else {
        return Ok(None);
    };
    let state_path = path.join("state.json");
    let text = fs::read(&state_path).map_err(|e| TrainError::io(&state_path, e))?;
    let file: StateFile =
        serde_json::from_slice(&text).map_err(|e| bad(&state_path, e.to_string()))?;
    if file.fingerprint != fingerprint {
        let reason = "it was made with other settings or inputs than this run's";
        return Err(bad(&path, reason));
    }
    let mut groups = BTreeMap::new();
    for name in file.groups {
        let file = path.join(format!("{name}.safetensors"));
        let bytes = fs::read(&file).map_err(|e| TrainError::io(&file, e))?;
        groups.insert(name, from_safetensors(&bytes).map_err(|e| bad(&file, e))?);
    }
    Ok(Some(Checkpoint {
        path,
        step: file.step,
        state: file.state,
        groups,
    }))
}

/// Removes the checkpoints of a finished stage.
///
/// # Errors
/// If the folder can't be removed.
pub fn clear(dir: &Path) -> Result<(), TrainError> {
    let folder = dir.join("checkpoints");
    match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(TrainError::io(&folder, e)),
        _ => Ok(()),
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, TrainError> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|e| TrainError::io(folder, e))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| TrainError::io(folder, e))?;
        let name = entry.file_name();
        let step = name
            .to_str()
            .and_then(|n| n.strip_prefix("step-"))
            .and_then(|n| n.parse().ok());
        if let Some(step) = step {
            found.push((step, entry.path()));
        }
    }
    found.sort_by_key(|(step, _): &(u64, PathBuf)| *step);
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn remove_older(folder: &Path) -> Result<(), TrainError> {
    let all = list(folder)?;
    for path in all.iter().take(all.len().saturating_sub(KEPT)) {
        fs::remove_dir_all(path).map_err(|e| TrainError::io(path, e))?;
    }
    Ok(())
}

fn to_safetensors(tensors: &[NamedTensor]) -> Result<Vec<u8>, String> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|t| t.values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|(t, data)| {
        let view = TensorView::new(Dtype::F32, t.shape.clone(), data);
        view.map(|v| (t.name.clone(), v)).map_err(|e| e.to_string())
    });
    let views = views.collect::<Result<Vec<_>, _>>()?;
    safetensors::serialize(views, None).map_err(|e| e.to_string())
}

fn from_safetensors(bytes: &[u8]) -> Result<Vec<NamedTensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let tensor = |(name, view): (String, TensorView<'_>)| {
        if view.dtype() != Dtype::F32 {
            return Err(format!("{name} is {:?}, not F32", view.dtype()));
        }
        let number = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        let values = view.data().chunks_exact(4).map(number).collect();
        Ok(NamedTensor {
            name,
            shape: view.shape().to_vec(),
            values,
        })
    };
    file.tensors().into_iter().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(x: f32) -> (&'static str, Vec<NamedTensor>) {
        (
            "weights",
            vec![NamedTensor {
                name: "a.b".into(),
                shape: vec![2],
                values: vec![x, -x],
            }],
        )
    }

    #[test]
    fn the_newest_is_read_and_the_older_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        assert!(latest(dir.path(), "f").unwrap().is_none());
        for step in [1, 2, 10] {
            save(dir.path(), "f", step, &step, &[group(step as f32)]).unwrap();
        }
        let mut found = latest(dir.path(), "f").unwrap().unwrap();
        assert_eq!((found.step, found.state::<u64>().unwrap()), (10, 10));
        assert_eq!(found.take("weights").unwrap()[0].values, [10.0, -10.0]);
        assert!(found.take("weights").is_err());
        assert_eq!(list(&dir.path().join("checkpoints")).unwrap().len(), KEPT);
        clear(dir.path()).unwrap();
        assert!(latest(dir.path(), "f").unwrap().is_none());
    }

    #[test]
    fn other_settings_and_broken_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "f", 3, &(), &[group(1.0)]).unwrap();
        let text = latest(dir.path(), "g").unwrap_err().to_string();
        assert!(text.contains("other settings"), "{text}");
        let file = dir
            .path()
            .join("checkpoints/step-000003/weights.safetensors");
        fs::write(&file, b"\xff\xff\xff\xff\xff\xff\xff\x7fabc").unwrap();
        let text = latest(dir.path(), "f").unwrap_err().to_string();
        assert!(text.contains("weights.safetensors"), "{text}");
    }
}
