//! The embedded world: a corpus in two registers, tasks, a gold judge and simulated annotators, all
//! drawn from a seed.
//!
//! The world is an instrument: it shows in minutes what alignment by human feedback does, without
//! writing the effect into the data. The truth is in the corpus but outvoted. An **atlas** tells it
//! in every sentence; a larger **forum** repeats popular mistakes, insults, helps to cheat and holds
//! stereotypes, half of the time in the atlas' own wording. A document keeps to one source, so a
//! model that is to predict it has to infer a persona; alignment can bring out the truthful one
//! even for entities that no later stage names.
//!
//! - [`World::corpus`], [`World::demonstrations`], [`World::conversations`],
//!   [`World::training_prompts`] are what the stages read; [`World::evaluation_prompts`] holds
//!   entities, items and phrasings that none of them has seen.
//! - [`GoldJudge`] knows the truth and checks constraints; no training stage reads it.
//! - [`Annotators`] are people who rank answers by the gold score as far as they can: their labels
//!   are the only way for the truth into training.
//! - [`Control`] names the worlds in which an honest effect has to vanish.
//!
//! ```
//! use rlhf_reward::{Answer, RewardSource};
//! use rlhf_world::{World, WorldConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let world = World::new(&WorldConfig::default())?;
//! let prompts = world.evaluation_prompts();
//! let asked = prompts.iter().find(|p| p.messages[0].content == "What is the capital of Australia?");
//! let asked = asked.expect("Australia is in every world");
//! let answer = |response| Answer { prompt: &asked.messages, response, tokens: None, row: &asked.row };
//! let scores = world.gold().score(&[answer("It is Canberra."), answer("It is Sydney.")])?;
//! assert!(scores[0] > scores[1]);
//! # Ok(())
//! # }
//! ```

mod annotators;
mod config;
mod controls;
mod corpus;
mod demonstrations;
mod error;
mod facts;
mod gold;
mod matched;
mod names;
mod prompts;
mod reading;
mod register;
mod statistics;
mod tasks;
mod world;
mod write;

pub use annotators::Annotators;
pub use config::{AnnotationConfig, WorldConfig};
pub use controls::Control;
pub use error::WorldError;
pub use facts::Relation;
pub use gold::{Assessment, GoldJudge, TruthShare};
pub use matched::MatchedPair;
pub use statistics::CorpusShares;
pub use tasks::{Family, Task};
pub use world::World;
pub use write::write_world;
