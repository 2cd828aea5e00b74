//! What can stop training.

use crate::memory::shown_bytes;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// An error of a training recipe.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A loss or a gradient is no number any more.
    #[error(
        "{stage} stopped at step {step}: {what} is not finite in the batch of rows {rows}. The last good \
         checkpoint is kept; lower {stage}.learning_rate or look at those rows"
    )]
    NotFinite {
        /// The stage.
        stage: String,
        /// The update, counted from 1.
        step: u64,
        /// The loss or the gradient norm.
        what: &'static str,
        /// The rows of the batch, counted from 1.
        rows: String,
    },
    /// A trainable tensor gets no gradient, so it would never learn.
    #[error(
        "{stage}: no gradient reaches {names} at the first update, so they would never learn; \
         check that the loss depends on them"
    )]
    NoGradient {
        /// The stage.
        stage: String,
        /// The tensors' names.
        names: String,
    },
    /// A setting can't be used.
    #[error("{key}: {reason}")]
    Config {
        /// The setting, as `stage.key`.
        key: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// It would not fit into memory.
    #[error(
        "{stage}: needs about {}, of which {} for forward and backward passes, and {} are free; lower \
         {stage}.micro_batch_size or {stage}'s lengths, set memory.gradient_checkpointing=true, or train \
         adapters with --lora 16",
        shown_bytes(*needed), shown_bytes(*passes), shown_bytes(*available)
    )]
    TooLarge {
        /// The stage.
        stage: String,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are free.
        available: u64,
        /// Bytes that forward and backward passes need, which follow from the micro-batch.
        passes: u64,
    },
    /// There is nothing to train on.
    #[error("{stage}: {reason}")]
    NoData {
        /// The stage.
        stage: String,
        /// What is missing.
        reason: String,
    },
    /// A checkpoint can't be used.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint's folder or file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A file can't be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The data can't be used.
    #[error("{0}")]
    Data(#[from] rlhf_data::DataError),
    /// The model can't be used.
    #[error("{0}")]
    Model(#[from] rlhf_model::ModelError),
    /// Rewarding stopped the stage.
    #[error("{0}")]
    Reward(Box<dyn std::error::Error + Send + Sync>),
}

impl TrainError {
    /// An I/O error with its file.
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// A loss or gradient that is no number in a batch of these rows (indices from 0).
    pub fn not_finite(what: &'static str, (stage, step): (&str, u64), rows: &[usize]) -> Self {
        let rows: Vec<String> = rows.iter().map(|row| (row + 1).to_string()).collect();
        Self::NotFinite {
            stage: stage.to_owned(),
            step,
            what,
            rows: rows.join(", "),
        }
    }

    /// Lets a finite loss pass; to be asked before its gradient is used.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] with the stage, the update and the batch's rows (indices from 0).
    pub fn unless_finite(loss: f64, at: (&str, u64), rows: &[usize]) -> Result<(), Self> {
        if loss.is_finite() {
            Ok(())
        } else {
            Err(Self::not_finite("the loss", at, rows))
        }
    }

    /// Refuses rows longer than a model's context.
    ///
    /// # Errors
    /// [`TrainError::Config`] that names `key`, the setting that bounds the rows.
    pub fn unless_in_context(key: &str, longest: usize, context: usize) -> Result<(), Self> {
        if longest <= context {
            return Ok(());
        }
        let reason = format!(
            "a row has {longest} tokens, more than the {context} of the model's \
             max_position_embeddings; lower it"
        );
        Err(Self::config(key, reason))
    }

    /// A setting that can't be used.
    pub fn config(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config {
            key: key.into(),
            reason: reason.into(),
        }
    }
}
