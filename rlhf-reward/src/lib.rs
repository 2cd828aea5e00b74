//! Where rewards come from.
//!
//! Two traits meet here: a [`RewardSource`] gives an answer a number, a [`Judge`] says which of two
//! answers is better. Rules, combinations and (feature `model`) a Bradley–Terry reward model
//! implement the first; [`ScoreJudge`] turns any reward source into the second. A person is not a
//! judge: people's answers come as preference rows from files.
//!
//! Without the feature `model` the crate does not depend on Burn.
//!
//! ```
//! use rlhf_data::Message;
//! use rlhf_reward::{Answer, EndsProperly, LengthPenalty, RewardSource, Weighted};
//!
//! let brake = LengthPenalty { free_characters: 80, per_character: 0.01 };
//! let reward = Weighted::new(vec![(1.0, Box::new(EndsProperly)), (1.0, Box::new(brake))]);
//! let (prompt, row) = ([Message::user("What is the capital of Australia?")], Default::default());
//! let answer = |response| Answer { prompt: &prompt, response, tokens: None, row: &row };
//! let scores = reward.score(&[answer("It is Canberra."), answer("it is")]).unwrap();
//! assert_eq!(scores, [1.0, 0.0]);
//! ```

mod answer;
mod combine;
pub mod contract;
mod error;
mod judge;
mod rule;
mod source;

#[cfg(feature = "model")]
pub mod collect;
#[cfg(feature = "model")]
mod comparison;
#[cfg(feature = "model")]
mod config;
#[cfg(feature = "model")]
mod model;
#[cfg(feature = "model")]
mod train;

pub use answer::Answer;
pub use combine::{Clipped, Weighted};
#[cfg(feature = "model")]
pub use comparison::{
    EncodedComparison, RewardSummary, comparison_gradients, encode_comparisons,
    evaluate_comparisons,
};
#[cfg(feature = "model")]
pub use config::RewardConfig;
pub use error::RewardError;
pub use judge::{Judge, ScoreJudge, Verdict};
#[cfg(feature = "model")]
pub use model::{RewardModel, encode_answers, score_sequences};
pub use rule::{EndsProperly, LengthPenalty};
pub use source::{RewardSource, checked_scores};
#[cfg(feature = "model")]
pub use train::train_reward;
