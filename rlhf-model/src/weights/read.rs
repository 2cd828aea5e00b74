//! Safetensors files: headers are read and checked, each tensor is read from its place when it is
//! wanted, straight into its last form.

use super::NamedTensor;
use super::index::weight_paths;
use crate::ModelError;
use crate::parameters::{ParameterSource, ParameterSpec};
use burn::tensor::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The longest header that the format allows.
const LONGEST_HEADER: u64 = 100_000_000;

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// The weight files of a folder and where each tensor stands in them.
pub(super) struct WeightFiles {
    dir: PathBuf,
    files: Vec<(PathBuf, File)>,
    places: BTreeMap<String, Place>,
    /// Tensors that stand in more than one file.
    repeated: BTreeSet<String>,
}

/// Where a tensor stands.
struct Place {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Counted from the start of the file.
    offset: u64,
}

impl WeightFiles {
    /// Opens `model.safetensors`, or the files that `model.safetensors.index.json` lists, and reads
    /// their headers.
    pub(super) fn open(dir: &Path) -> Result<Self, ModelError> {
        let mut found = Self {
            dir: dir.to_owned(),
            files: Vec::new(),
            places: BTreeMap::new(),
            repeated: BTreeSet::new(),
        };
        for path in weight_paths(dir)? {
            found.add(path)?;
        }
        found.prefix_names();
        Ok(found)
    }

    fn add(&mut self, path: PathBuf) -> Result<(), ModelError> {
        let mut file = File::open(&path).map_err(|e| ModelError::io(&path, e))?;
        let (start, header) = read_header(&path, &mut file)?;
        for (name, info) in header.tensors() {
            let place = Place {
                file: self.files.len(),
                dtype: info.dtype,
                shape: info.shape.clone(),
                offset: start + info.data_offsets.0 as u64,
            };
            if self.places.insert(name.clone(), place).is_some() {
                self.repeated.insert(name);
            }
        }
        self.files.push((path, file));
        Ok(())
    }

    /// GPT-2's published files were written from the trunk alone, without `transformer.` before
    /// every name.
    fn prefix_names(&mut self) {
        if !self.places.contains_key("wte.weight") {
            return;
        }
        let named = |(name, place): (String, Place)| match name.as_str() {
            "lm_head.weight" | "score.weight" => (name, place),
            _ => (format!("transformer.{name}"), place),
        };
        self.places = std::mem::take(&mut self.places)
            .into_iter()
            .map(named)
            .collect();
    }

    /// Compares the tensors with what the configuration asks for; all differences at once.
    pub(super) fn check(&self, specs: &[ParameterSpec]) -> Result<(), ModelError> {
        let twice = |name: &String| format!("`{name}` is in more than one file");
        let mut problems: Vec<String> = self.repeated.iter().map(twice).collect();
        let mut wanted = BTreeSet::new();
        for spec in specs {
            wanted.insert(spec.name.as_str());
            match self.places.get(&spec.name) {
                None => problems.push(format!("`{}` is missing", spec.name)),
                Some(place) => problems.extend(misfits(spec, place)),
            }
        }
        let known = |name: &str| {
            // A tied head is written by some programs; old checkpoints hold rotary buffers, GPT-2's
            // the causal mask.
            let buffers = ["rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"];
            let buffer = buffers.iter().any(|buffer| name.ends_with(buffer));
            wanted.contains(name) || name == "lm_head.weight" || buffer
        };
        let unknown = self.places.keys().filter(|name| !known(name));
        problems.extend(unknown.map(|name| format!("`{name}` is unknown")));
        if problems.is_empty() {
            return Ok(());
        }
        Err(ModelError::Weights {
            path: self.dir.clone(),
            problems,
        })
    }
}

/// What is wrong with a tensor that is there.
fn misfits(spec: &ParameterSpec, place: &Place) -> Vec<String> {
    let mut problems = Vec::new();
    let (name, shape) = (&spec.name, spec.file_shape());
    if place.shape != shape {
        problems.push(format!("`{name}` is {:?}, must be {shape:?}", place.shape));
    }
    if !matches!(place.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
        let dtype = place.dtype;
        problems.push(format!("`{name}` is {dtype:?}, must be F32, F16 or BF16"));
    }
    problems
}

/// The header of a file, checked against the file's length, and where the numbers start. No more is
/// read than the file holds, whatever the header claims.
fn read_header(path: &Path, file: &mut File) -> Result<(u64, Metadata), ModelError> {
    let io = |e| ModelError::io(path, e);
    let damaged = |reason: String| ModelError::Safetensors {
        path: path.to_owned(),
        reason,
    };
    let length = file.metadata().map_err(io)?.len();
    let mut first = [0; 8];
    if length < 8 {
        let reason = format!("{length} bytes are not a safetensors file");
        return Err(damaged(reason));
    }
    file.read_exact(&mut first).map_err(io)?;
    let claimed = u64::from_le_bytes(first);
    if claimed > (length - 8).min(LONGEST_HEADER) {
        let reason = format!("a header of {claimed} bytes can't be in a file of {length}");
        return Err(damaged(reason));
    }
    let mut bytes = vec![0; claimed as usize];
    file.read_exact(&mut bytes).map_err(io)?;
    let unusable = |e: serde_json::Error| damaged(format!("its header can't be used: {e}"));
    serde_json::from_slice::<DistinctNames>(&bytes).map_err(unusable)?;
    let header: Metadata = serde_json::from_slice(&bytes).map_err(unusable)?;
    let (described, held) = (header.data_len() as u64, length - 8 - claimed);
    if described != held {
        let reason = format!("its header describes {described} bytes of numbers, it holds {held}");
        return Err(damaged(reason));
    }
    Ok((8 + claimed, header))
}

/// An object in which no name stands twice: of two tensors of one name a map keeps one, silently.
struct DistinctNames;

impl<'de> Deserialize<'de> for DistinctNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for DistinctNames {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
            if let Some(name) = names.replace(name) {
                return Err(A::Error::custom(format!("`{name}` stands there twice")));
            }
        }
        Ok(self)
    }
}

/// All tensors of one file in f32, in the layout of the file.
pub(super) fn read_tensors(path: &Path) -> Result<Vec<NamedTensor>, ModelError> {
    let mut file = File::open(path).map_err(|e| ModelError::io(path, e))?;
    let (start, header) = read_header(path, &mut file)?;
    let mut found = Vec::new();
    for (name, info) in header.tensors() {
        if !matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let reason = format!("`{name}` is {:?}, must be F32, F16 or BF16", info.dtype);
            let path = path.to_owned();
            return Err(ModelError::Safetensors { path, reason });
        }
        file.seek(SeekFrom::Start(start + info.data_offsets.0 as u64))
            .map_err(|e| ModelError::io(path, e))?;
        let blocks = Blocks {
            path,
            file: &mut file,
            name: &name,
            dtype: info.dtype,
            bytes: Vec::new(),
        };
        let values = blocks.flat(info.shape.iter().product())?;
        found.push(NamedTensor {
            shape: info.shape.clone(),
            name,
            values,
        });
    }
    Ok(found)
}

impl ParameterSource for WeightFiles {
    /// Reads a tensor in blocks: beside the values there is one block in memory.
    fn values(&mut self, spec: &ParameterSpec) -> Result<Vec<f32>, ModelError> {
        let place = self.places.get(&spec.name);
        let Some(place) = place.filter(|place| misfits(spec, place).is_empty()) else {
            return Err(ModelError::Weights {
                path: self.dir.clone(),
                problems: vec![format!("`{}` is missing", spec.name)],
            });
        };
        let (path, file) = &mut self.files[place.file];
        file.seek(SeekFrom::Start(place.offset))
            .map_err(|e| ModelError::io(path, e))?;
        let blocks = Blocks {
            path,
            file,
            name: &spec.name,
            dtype: place.dtype,
            bytes: Vec::new(),
        };
        match place.shape.as_slice() {
            &[rows, columns] if spec.transposed => blocks.transposed(rows, columns),
            _ => blocks.flat(spec.len()),
        }
    }
}

/// The numbers of one tensor, from where the file stands.
struct Blocks<'a> {
    path: &'a Path,
    file: &'a mut File,
    name: &'a str,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Blocks<'_> {
    fn width(&self) -> usize {
        if self.dtype == Dtype::F32 { 4 } else { 2 }
    }

    /// Reads the next numbers into `out`.
    fn next(&mut self, out: &mut [f32]) -> Result<(), ModelError> {
        self.bytes.resize(out.len() * self.width(), 0);
        self.file
            .read_exact(&mut self.bytes)
            .map_err(|e| ModelError::io(self.path, e))?;
        let halves = self.bytes.as_chunks::<2>().0;
        match self.dtype {
            Dtype::F16 => fill(out, halves, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => fill(out, halves, |b| bf16::from_le_bytes(b).to_f32()),
            _ => fill(out, self.bytes.as_chunks::<4>().0, f32::from_le_bytes),
        }
        if out.iter().all(|x| x.is_finite()) {
            return Ok(());
        }
        Err(ModelError::Safetensors {
            path: self.path.to_owned(),
            reason: format!("`{}` holds NaN or infinite numbers", self.name),
        })
    }

    fn flat(mut self, length: usize) -> Result<Vec<f32>, ModelError> {
        let mut out = vec![0.0; length];
        let block = BLOCK / self.width();
        for part in out.chunks_mut(block) {
            self.next(part)?;
        }
        Ok(out)
    }

    /// The transpose of a `[rows, columns]` matrix, some rows at a time.
    fn transposed(mut self, rows: usize, columns: usize) -> Result<Vec<f32>, ModelError> {
        let mut out = vec![0.0; rows * columns];
        let at_once = (BLOCK / self.width() / columns.max(1)).clamp(1, rows.max(1));
        let mut block = vec![0.0; at_once * columns];
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            let block = &mut block[..count * columns];
            self.next(block)?;
            for (column, line) in out.chunks_mut(rows).enumerate() {
                for (row, x) in line[first..first + count].iter_mut().enumerate() {
                    *x = block[row * columns + column];
                }
            }
        }
        Ok(out)
    }
}

fn fill<const N: usize>(out: &mut [f32], bytes: &[[u8; N]], number: impl Fn([u8; N]) -> f32) {
    for (x, &b) in out.iter_mut().zip(bytes) {
        *x = number(b);
    }
}
