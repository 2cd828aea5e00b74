//! What can go wrong with a model, its files, its inputs and its device.

use std::path::{Path, PathBuf};

/// Errors of this crate. A message says what is wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}; check that the path exists and that its permissions allow this", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A JSON file of a model folder is not JSON, or a field has the wrong type.
    #[error("{}: {reason}; compare the file with the one that the model was published with", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A configuration contradicts itself.
    #[error("config: {field}: {reason}")]
    Config {
        /// The field, as `config.json` spells it.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The configuration asks for something that this crate does not compute.
    #[error("config: {field} is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// The field, as `config.json` spells it.
        field: &'static str,
        /// Its value.
        found: String,
        /// What would work.
        supported: &'static str,
    },
    /// An error about the configuration of a folder.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// The error.
        source: Box<Self>,
    },
    /// A weight file is damaged or is not a safetensors file.
    #[error("{}: {reason}; copy the file again from where it came", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tensors of a folder are not those that its `config.json` describes.
    #[error("{}: the weights do not fit config.json: {}", path.display(), problems.join("; "))]
    Weights {
        /// The folder.
        path: PathBuf,
        /// Every missing, unknown and misshaped tensor.
        problems: Vec<String>,
    },
    /// Weights that are no numbers any more are not written.
    #[error("{}: not written: {tensor} holds numbers that are not finite; the training has diverged", path.display())]
    NotFinite {
        /// The folder or file that was to be written.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
    },
    /// A number that the type of a weight file can't hold.
    #[error("{}: not written: {tensor} holds {value:e}, too large for {kind}; write bfloat16 or float32", path.display())]
    Overflow {
        /// The file that was to be written.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
        /// The number.
        value: f32,
        /// The type, as `config.json` spells it.
        kind: &'static str,
    },
    /// An attention mask that is not one run of ones.
    #[error("attention mask, row {row}: {reason}")]
    Mask {
        /// The row of the batch.
        row: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A prompt that can't be continued.
    #[error("prompt {index}: {reason}")]
    Prompt {
        /// The request's place in the list.
        index: usize,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A sampling setting out of its range.
    #[error("sampling: {field} is {found}, must be {wanted}")]
    Sampling {
        /// The setting.
        field: &'static str,
        /// Its value.
        found: String,
        /// The range.
        wanted: &'static str,
    },
    /// A device name that means nothing, is not compiled in, or is absent on this machine.
    #[error("device `{name}`: {reason}")]
    Device {
        /// The name as given.
        name: String,
        /// Why it can't be used and what to do.
        reason: String,
    },
    /// Logits that no token can be drawn from.
    #[error("the model's logits are not finite: its weights are damaged, or training has diverged")]
    Logits,
    /// A generator other than the local model went wrong.
    #[error("generator: {reason}")]
    Generator {
        /// What happened.
        reason: String,
    },
}

impl ModelError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// The error with the file that it is about, unless it names one already.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        if matches!(self, Self::Json { .. } | Self::InFile { .. }) {
            return self;
        }
        Self::InFile {
            path: path.to_owned(),
            source: Box::new(self),
        }
    }

    pub(crate) fn config(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Config {
            field,
            reason: reason.into(),
        }
    }
}
