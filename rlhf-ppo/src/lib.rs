//! Proximal policy optimisation of a language model against a reward, on a KL leash.
//!
//! One update is a straight walk: [`rollout`](rollout::rollout) samples answers,
//! [`score`](rollout::score) rewards them, [`experience`](experience::experience) adds what policy,
//! reference and [critic](Critic) say of every token and turns it into advantages, and
//! [`update`](update::update) takes the minibatch steps. [`ppo`] repeats it.

mod config;
mod critic;
mod error;
pub mod experience;
mod minibatch;
pub mod rollout;
mod train;
pub mod update;

pub use config::{PpoConfig, PpoLoss};
pub use critic::Critic;
pub use error::PpoError;
pub use train::{PpoModels, PpoResult, ppo};
