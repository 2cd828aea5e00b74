//! Safetensors files, written one tensor after the other: the same weights give the same bytes.

use super::{NamedParameters, NamedVisitor, WeightType};
use crate::ModelError;
use burn::module::Param;
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Numbers that are taken from the device and turned into bytes at once.
const BLOCK: usize = 1 << 19;

/// A tensor that will be written. It shares its numbers with the model.
pub(super) struct Outgoing {
    name: String,
    /// In the file.
    shape: Vec<usize>,
    values: Values,
}

enum Values {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
    /// The file holds the transpose.
    Transposed(Tensor<2>),
}

impl Outgoing {
    /// A vector; its shape in the file may have one axis more.
    pub(super) fn vector(name: &str, file_shape: &[usize], tensor: Tensor<1>) -> Self {
        Self {
            name: name.to_owned(),
            shape: file_shape.to_vec(),
            values: Values::Vector(tensor),
        }
    }

    /// A matrix; `transposed` says that the file holds the transpose.
    pub(super) fn matrix(name: &str, transposed: bool, tensor: Tensor<2>) -> Self {
        let [rows, columns] = tensor.dims();
        let (shape, values) = if transposed {
            (vec![columns, rows], Values::Transposed(tensor))
        } else {
            (vec![rows, columns], Values::Matrix(tensor))
        };
        Self {
            name: name.to_owned(),
            shape,
            values,
        }
    }
}

impl Values {
    /// Gives out the numbers block by block, in the order of the file.
    fn each_block(
        &self,
        mut give: impl FnMut(TensorData) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        match self {
            Self::Vector(x) => give(x.to_data()),
            Self::Matrix(x) => {
                let [rows, columns] = x.dims();
                parts(rows, columns).try_for_each(|(first, count)| {
                    give(x.clone().narrow(0, first, count).into_data())
                })
            }
            Self::Transposed(x) => {
                let [rows, columns] = x.dims();
                parts(columns, rows).try_for_each(|(first, count)| {
                    give(x.clone().narrow(1, first, count).transpose().into_data())
                })
            }
        }
    }
}

/// Runs of lines of a matrix, each of about a block: the first line and how many they are.
fn parts(lines: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    let at_once = (BLOCK / width.max(1)).clamp(1, lines.max(1));
    let firsts = (0..lines).step_by(at_once);
    firsts.map(move |first| (first, at_once.min(lines - first)))
}

fn collect<M: NamedParameters>(model: &M) -> Vec<Outgoing> {
    struct All(Vec<Outgoing>);
    impl NamedVisitor for All {
        fn vector(&mut self, name: &str, file_shape: &[usize], param: &Param<Tensor<1>>) {
            self.0.push(Outgoing::vector(name, file_shape, param.val()));
        }
        fn matrix(&mut self, name: &str, transposed: bool, param: &Param<Tensor<2>>) {
            self.0.push(Outgoing::matrix(name, transposed, param.val()));
        }
    }
    let mut all = All(Vec::new());
    model.visit_named(&mut all);
    all.0
}

/// Writes a model's weight file, as [`write_tensors`] does.
pub(super) fn write_weights<M: NamedParameters>(
    path: &Path,
    model: &M,
    kind: WeightType,
) -> Result<(), ModelError> {
    write_tensors(path, collect(model), kind)
}

/// Writes tensors sorted by name, with the metadata that Hugging Face's loader asks for. Beside
/// them there is one block of a tensor in memory. What can't be held in this type, and numbers that
/// are none, are an error by name, and an older file stays.
pub(super) fn write_tensors(
    path: &Path,
    mut tensors: Vec<Outgoing>,
    kind: WeightType,
) -> Result<(), ModelError> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    let header = header(path, &tensors, kind)?;
    write_file(path, |file| {
        let io = |e| ModelError::io(path, e);
        file.write_all(&header).map_err(io)?;
        let mut bytes = Vec::new();
        for tensor in &tensors {
            tensor.values.each_block(|data| {
                let data = match data.dtype() {
                    DType::F32 => data,
                    _ => data.convert::<f32>(),
                };
                let values = data
                    .as_slice::<f32>()
                    .map_err(|e| refused(path, format!("{}: {e:?}", tensor.name)))?;
                bytes.clear();
                kind.encode(values, &mut bytes)
                    .map_err(|value| unwritable(path, &tensor.name, value, kind))?;
                file.write_all(&bytes).map_err(io)
            })?;
        }
        Ok(())
    })
}

fn header(path: &Path, tensors: &[Outgoing], kind: WeightType) -> Result<Vec<u8>, ModelError> {
    let mut end = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let start = end;
        end += tensor.shape.iter().product::<usize>() * kind.width();
        let info = TensorInfo {
            dtype: kind.dtype(),
            shape: tensor.shape.clone(),
            data_offsets: (start, end),
        };
        infos.push((tensor.name.clone(), info));
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let header = Metadata::new(Some(metadata), infos).map_err(|e| refused(path, e.to_string()))?;
    let mut text = serde_json::to_vec(&header).map_err(|e| refused(path, e.to_string()))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    Ok(bytes)
}

fn unwritable(path: &Path, tensor: &str, value: f32, kind: WeightType) -> ModelError {
    let (path, tensor) = (path.to_owned(), tensor.to_owned());
    if !value.is_finite() {
        return ModelError::NotFinite { path, tensor };
    }
    ModelError::Overflow {
        path,
        tensor,
        value,
        kind: kind.name(),
    }
}

fn refused(path: &Path, reason: String) -> ModelError {
    ModelError::Safetensors {
        path: path.to_owned(),
        reason,
    }
}

/// Writes a file under a temporary name in the same folder, syncs it and renames it. If `write`
/// fails, nothing has changed.
pub(super) fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = parent.unwrap_or_else(|| Path::new("."));
    let io = |e| ModelError::io(path, e);
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file, subject to the umask; a temporary file would be for its owner only.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.prefix(".tmp-").tempfile_in(dir).map_err(io)?;
    let mut buffered = BufWriter::with_capacity(1 << 18, &mut file);
    write(&mut buffered)?;
    buffered.flush().map_err(io)?;
    drop(buffered);
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|e| io(e.error))?;
    Ok(())
}
