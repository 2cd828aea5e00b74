//! PPO on models of a few thousand numbers, rewarded by rules.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod gathering;
mod resuming;
mod shared_trunk;
mod tiny;
mod training;
