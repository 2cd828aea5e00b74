//! The trait of everything that says which of two answers is better.

use crate::source::checked_scores;
use crate::{Answer, RewardError, RewardSource};
use serde::{Deserialize, Serialize};

/// The outcome of one comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The first answer is better.
    First,
    /// The second answer is better.
    Second,
    /// Neither is.
    Tie,
}

impl Verdict {
    /// The verdict on the same answers in the other order.
    #[must_use]
    pub fn swapped(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
            Self::Tie => Self::Tie,
        }
    }

    /// 1, ½ or 0: what the first answer gets in a win rate.
    pub fn score_of_first(self) -> f64 {
        match self {
            Self::First => 1.0,
            Self::Tie => 0.5,
            Self::Second => 0.0,
        }
    }
}

/// Compares answers to the same prompt.
pub trait Judge: Send + Sync {
    /// One verdict for each pair, in the same order.
    ///
    /// # Errors
    /// If a row lacks what the judge needs, or the judge can't be reached.
    fn compare(&self, pairs: &[(Answer<'_>, Answer<'_>)]) -> Result<Vec<Verdict>, RewardError>;
}

impl<J: Judge + ?Sized> Judge for &J {
    fn compare(&self, pairs: &[(Answer<'_>, Answer<'_>)]) -> Result<Vec<Verdict>, RewardError> {
        (**self).compare(pairs)
    }
}

impl<J: Judge + ?Sized> Judge for Box<J> {
    fn compare(&self, pairs: &[(Answer<'_>, Answer<'_>)]) -> Result<Vec<Verdict>, RewardError> {
        (**self).compare(pairs)
    }
}

/// A reward source as a judge: the higher score wins, equal scores tie.
#[derive(Debug)]
pub struct ScoreJudge<S>(pub S);

impl<S: RewardSource> Judge for ScoreJudge<S> {
    fn compare(&self, pairs: &[(Answer<'_>, Answer<'_>)]) -> Result<Vec<Verdict>, RewardError> {
        let answers: Vec<Answer<'_>> = pairs.iter().flat_map(|&(a, b)| [a, b]).collect();
        let scores = checked_scores(&self.0, &answers)?;
        Ok(scores
            .chunks_exact(2)
            .map(|s| verdict(s[0], s[1]))
            .collect())
    }
}

fn verdict(first: f32, second: f32) -> Verdict {
    if first > second {
        Verdict::First
    } else if second > first {
        Verdict::Second
    } else {
        Verdict::Tie
    }
}
