//! What can go wrong with the world.

use std::path::PathBuf;
use thiserror::Error;

/// An error of the embedded world.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorldError {
    /// A setting is outside what the world can be built with.
    #[error("world.{key} is {value}, which can't be: {reason}")]
    Setting {
        /// The key, as it stands in the configuration.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it has to be.
        reason: String,
    },
    /// An answer's row doesn't say which task of this world it answers.
    #[error(
        "the gold judge needs the field `{field}` in the prompt's row: {reason}; judge only \
         answers to prompts that the same world wrote"
    )]
    Task {
        /// The field.
        field: String,
        /// What was found instead.
        reason: String,
    },
    /// A file of the world can't be written.
    #[error("{}: {source}; choose a folder that can be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
