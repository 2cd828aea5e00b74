//! What can go wrong while measuring or reporting.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// Two lists that belong together differ in length.
    #[error("{what}: {left} against {right} entries; both lists must have one entry per row")]
    Unequal {
        /// What the two lists are.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// A table that must be square, of one size with another, or hold numbers ≥ 0 does not.
    #[error(
        "{what}, row {row}: expected {expected} finite numbers of at least 0; give a square table \
         with one row and one column per player"
    )]
    BadTable {
        /// Which table.
        what: &'static str,
        /// First row that is wrong.
        row: usize,
        /// Length that each row must have.
        expected: usize,
    },
    /// A player number outside the list of players.
    #[error("match {index} names player {player}, but there are {players}, counted from 0")]
    NoSuchPlayer {
        /// Position of the match in the list.
        index: usize,
        /// The number it names.
        player: usize,
        /// How many players there are.
        players: usize,
    },
    /// The likelihood of the ratings has no finite maximum.
    #[error(
        "the ratings have no finite maximum of the likelihood: no chain of wins leads from player \
         {from} to player {to}; set pseudo_count above 0 or collect more comparisons"
    )]
    NoFiniteMaximum {
        /// The player whose wins never reach the other.
        from: usize,
        /// The player that is never reached.
        to: usize,
    },
    /// A number that must be finite is not.
    #[error("{what}, entry {index}: {value} is not a finite number")]
    NotFinite {
        /// What the list holds.
        what: &'static str,
        /// Position in the list.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A question whose options can't be scored.
    #[error("question {index}: {reason}")]
    BadQuestion {
        /// Position in the list.
        index: usize,
        /// What is wrong and what to give instead.
        reason: &'static str,
    },
    /// Two sets of responses do not answer the same prompts.
    #[error(
        "response {index} answers another prompt in the second list than in the first; compare \
         responses to the same prompts, in the same order"
    )]
    OtherPrompt {
        /// Position in the lists.
        index: usize,
    },
    /// A reward source or judge failed.
    #[error(transparent)]
    Reward(#[from] rlhf_reward::RewardError),
    /// A chart could not be drawn.
    #[error("chart {chart:?}: {reason}")]
    Chart {
        /// Title of the chart.
        chart: String,
        /// What the drawing library said.
        reason: String,
    },
    /// A figure that nothing was observed of.
    #[error("nothing was observed of `{0}`, or a value is not finite")]
    NotObserved(String),
    /// A file that can't be read.
    #[error("{}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file could not be written.
    #[error("{}: {source}; check that the folder exists, is writable and has room", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
