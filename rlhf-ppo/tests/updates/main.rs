//! PPO on models of a few thousand numbers, rewarded by rules.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod gathering;
mod resuming;
mod tiny;
mod training;
