//! One file a command.

pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod collect;
pub(crate) mod comparisons;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod dpo;
pub(crate) mod estimate;
pub(crate) mod eval;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod merge;
pub(crate) mod ppo;
pub(crate) mod pretrain;
pub(crate) mod reward;
pub(crate) mod run;
pub(crate) mod score;
pub(crate) mod sft;
pub(crate) mod stage;
pub(crate) mod table;
