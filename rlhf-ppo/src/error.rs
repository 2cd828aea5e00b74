//! What can stop PPO.

use thiserror::Error;

/// An error of PPO.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PpoError {
    /// The sampler's log-probs are not those of the policy that is trained.
    #[error(
        "ppo stopped at step {step}: the sampler's log-prob of a token differs by {gap:.4} from the \
         policy's own; the answers came from other weights, another temperature or another alignment"
    )]
    SamplerMismatch {
        /// The update.
        step: u64,
        /// The largest absolute difference.
        gap: f64,
    },
    /// Training stopped.
    #[error("{0}")]
    Train(#[from] rlhf_train::TrainError),
    /// Rewarding stopped.
    #[error("{0}")]
    Reward(#[from] rlhf_reward::RewardError),
    /// The model can't be used.
    #[error("{0}")]
    Model(#[from] rlhf_model::ModelError),
    /// The data can't be used.
    #[error("{0}")]
    Data(#[from] rlhf_data::DataError),
}
