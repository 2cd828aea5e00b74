//! Reward sources, judges, collecting preferences, and training a reward model of a few thousand
//! numbers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod collecting;
mod combining;
mod model;
mod tiny;
mod training;
