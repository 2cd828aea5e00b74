//! What can go wrong while rewarding.

use thiserror::Error;

/// An error of a reward source, a judge or a recipe of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RewardError {
    /// A source needs a field that the prompt's row doesn't have.
    #[error("reward source `{name}` needs the field `{field}` in the prompt's row: {reason}")]
    Row {
        /// The reward source.
        name: String,
        /// The field.
        field: String,
        /// What was found instead.
        reason: String,
    },
    /// A source returned a number that is no number, or not one number for each answer.
    #[error("reward source `{name}` {reason}")]
    Source {
        /// The reward source.
        name: String,
        /// What it did.
        reason: String,
    },
    /// The data can't be used.
    #[error("{0}")]
    Data(#[from] rlhf_data::DataError),
    /// The model can't be used.
    #[cfg(feature = "model")]
    #[error("{0}")]
    Model(#[from] rlhf_model::ModelError),
    /// Training stopped.
    #[cfg(feature = "model")]
    #[error("{0}")]
    Train(#[from] rlhf_train::TrainError),
}
