//! Safetensors files: read whole, checked, turned into f32; written with the same bytes each
//! time.

use super::NamedTensor;
use crate::ModelError;
use crate::parameters::{ParameterSource, ParameterSpec, transpose};
use burn::tensor::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The bytes of a folder's weight files.
pub(super) struct WeightFiles(Vec<(PathBuf, Vec<u8>)>);

impl WeightFiles {
    /// Reads `model.safetensors`, or the files that `model.safetensors.index.json` lists.
    pub(super) fn read(dir: &Path) -> Result<Self, ModelError> {
        let single = dir.join("model.safetensors");
        let index = dir.join("model.safetensors.index.json");
        let paths = if single.exists() || !index.exists() {
            vec![single]
        } else {
            listed_files(dir, &index)?
        };
        let read = |path: PathBuf| match std::fs::read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(source) => Err(ModelError::Io { path, source }),
        };
        Ok(Self(paths.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// The tensors of all files by name.
    pub(super) fn tensors(&self) -> Result<BTreeMap<String, TensorView<'_>>, ModelError> {
        let mut all = BTreeMap::new();
        for (path, bytes) in &self.0 {
            let damaged = |reason: String| ModelError::Safetensors {
                path: path.clone(),
                reason,
            };
            let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(e.to_string()))?;
            for (name, view) in file.tensors() {
                if all.insert(name.clone(), view).is_some() {
                    return Err(damaged(format!(
                        "`{name}` is in another file of the folder too"
                    )));
                }
            }
        }
        Ok(with_prefix(all))
    }
}

/// GPT-2's published files were written from the trunk alone, without `transformer.` before every
/// name.
fn with_prefix(tensors: BTreeMap<String, TensorView<'_>>) -> BTreeMap<String, TensorView<'_>> {
    if !tensors.contains_key("wte.weight") {
        return tensors;
    }
    let named = |(name, view): (String, _)| match name.as_str() {
        "lm_head.weight" | "score.weight" => (name, view),
        _ => (format!("transformer.{name}"), view),
    };
    tensors.into_iter().map(named).collect()
}

fn listed_files(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let bytes = std::fs::read(index).map_err(|e| ModelError::io(index, e))?;
    let bad = |reason: String| ModelError::Json {
        path: index.to_owned(),
        reason,
    };
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if let Some(name) = names.iter().find(|name| name.contains(['/', '\\'])) {
        return Err(bad(format!(
            "`{name}` is not the name of a file in this folder"
        )));
    }
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// Compares the tensors with what the configuration asks for; all differences at once.
pub(super) fn check(
    dir: &Path,
    specs: &[ParameterSpec],
    tensors: &BTreeMap<String, TensorView<'_>>,
) -> Result<(), ModelError> {
    let mut problems = Vec::new();
    let mut wanted = BTreeSet::new();
    for spec in specs {
        wanted.insert(spec.name.as_str());
        let Some(view) = tensors.get(&spec.name) else {
            problems.push(format!("`{}` is missing", spec.name));
            continue;
        };
        let shape = spec.file_shape();
        if view.shape() != shape {
            let found = view.shape();
            problems.push(format!("`{}` is {found:?}, must be {shape:?}", spec.name));
        }
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let dtype = view.dtype();
            problems.push(format!(
                "`{}` is {dtype:?}, must be F32, F16 or BF16",
                spec.name
            ));
        }
    }
    let known = |name: &str| {
        // A tied head is written by some programs; old checkpoints hold rotary buffers, GPT-2's the
        // causal mask.
        let buffers = ["rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"];
        let buffer = buffers.iter().any(|buffer| name.ends_with(buffer));
        wanted.contains(name) || name == "lm_head.weight" || buffer
    };
    let unknown = tensors.keys().filter(|name| !known(name));
    problems.extend(unknown.map(|name| format!("`{name}` is unknown")));
    if problems.is_empty() {
        return Ok(());
    }
    Err(ModelError::Weights {
        path: dir.to_owned(),
        problems,
    })
}

/// Checked tensors as a source of parameters.
pub(super) struct Stored<'a>(pub(super) &'a BTreeMap<String, TensorView<'a>>);

impl ParameterSource for Stored<'_> {
    fn values(&mut self, spec: &ParameterSpec) -> Result<Vec<f32>, ModelError> {
        let view = self
            .0
            .get(&spec.name)
            .filter(|view| view.shape() == spec.file_shape());
        let Some(view) = view else {
            let problems = vec![format!("`{}` is missing", spec.name)];
            return Err(ModelError::Weights {
                path: PathBuf::new(),
                problems,
            });
        };
        let values = floats(view);
        match spec.file_shape().as_slice() {
            [rows, columns] if spec.transposed => Ok(transpose(&values, *rows, *columns)),
            _ => Ok(values),
        }
    }
}

pub(super) fn floats(view: &TensorView<'_>) -> Vec<f32> {
    let bytes = view.data();
    let halves = || bytes.as_chunks::<2>().0.iter().copied();
    match view.dtype() {
        Dtype::F16 => halves().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => halves().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        _ => bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f32::from_le_bytes(b))
            .collect(),
    }
}

/// The bytes of a weight file in f32: sorted by name, with the metadata that Hugging Face's
/// loader asks for.
pub(super) fn encode(path: &Path, tensors: &[NamedTensor]) -> Result<Vec<u8>, ModelError> {
    let refused = |e: safetensors::SafeTensorError| ModelError::Safetensors {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|tensor| tensor.values.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let mut views = Vec::with_capacity(tensors.len());
    for (tensor, bytes) in tensors.iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).map_err(refused)?;
        views.push((tensor.name.as_str(), view));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(metadata)).map_err(refused)
}

/// Writes a file under a temporary name in the same folder, syncs it and renames it.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = parent.unwrap_or_else(|| Path::new("."));
    let write = || {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any new file, subject to the umask; a temporary file would be for its owner only.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.prefix(".tmp-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)
    };
    write().map(|_| ()).map_err(|e| ModelError::io(path, e))
}
