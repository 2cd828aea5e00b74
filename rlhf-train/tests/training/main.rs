//! The optimiser step and the offline recipes on models of a few thousand numbers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod adamw;
mod adapters;
mod dpo;
mod gradients;
mod pretraining;
mod recomputed;
mod sft;
mod tiny;
