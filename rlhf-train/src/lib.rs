//! Training a language model: the optimiser step, schedules, checkpoints, metrics, and the offline
//! recipes.
//!
//! A stage is one recipe that reads from top to bottom: [`pretrain()`], [`sft()`] and [`dpo()`] here, the reward
//! model's and PPO's in their own crates. There is no trainer to inherit from and no callback; a
//! recipe takes rows, a model and a [`RunContext`], and gives the model back.

pub mod checkpoint;
mod context;
pub mod dpo;
mod error;
pub mod gradients;
pub mod held_out;
pub mod memory;
pub mod metrics;
pub mod optim;
pub mod parameters;
pub mod pretrain;
pub mod schedule;
pub mod sft;
pub mod supervised;
pub mod targets;

pub use context::{Kept, Outcome, Progress, RunContext};
pub use dpo::{DpoConfig, PreferencePair, dpo};
pub use error::TrainError;
pub use metrics::{MetricSink, Metrics};
pub use optim::{AdamW, AdamWConfig};
pub use pretrain::{PretrainConfig, pretrain};
pub use schedule::Schedule;
pub use sft::{SftConfig, SftData, sft};
