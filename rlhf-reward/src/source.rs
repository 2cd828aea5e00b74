//! The trait of everything that gives an answer a number.

use crate::{Answer, RewardError};

/// Scores answers. Higher is better; the scale is the source's own.
///
/// Batched, so that a model scores many at once; synchronous, so that a remote source hides its own
/// concurrency. A score depends on its answer alone, never on the others in the batch
/// ([`crate::contract::reward_source`] checks it).
pub trait RewardSource: Send + Sync {
    /// A short name for metrics and messages.
    fn name(&self) -> &str;

    /// One finite score for each answer, in the same order.
    ///
    /// # Errors
    /// If an answer's row lacks what the source needs, or the source can't be reached.
    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError>;
}

impl<S: RewardSource + ?Sized> RewardSource for &S {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        (**self).score(answers)
    }
}

impl<S: RewardSource + ?Sized> RewardSource for Box<S> {
    fn name(&self) -> &str {
        (**self).name()
    }
    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        (**self).score(answers)
    }
}

/// Asks a source and checks that it gave one finite number for each answer.
///
/// # Errors
/// Those of the source, and [`RewardError::Source`] where it broke its promise.
pub fn checked_scores(
    source: &dyn RewardSource,
    answers: &[Answer<'_>],
) -> Result<Vec<f32>, RewardError> {
    let scores = source.score(answers)?;
    let wrong = |reason: String| RewardError::Source {
        name: source.name().to_owned(),
        reason,
    };
    if scores.len() != answers.len() {
        return Err(wrong(format!(
            "gave {} scores for {} answers",
            scores.len(),
            answers.len()
        )));
    }
    match scores.iter().position(|s| !s.is_finite()) {
        Some(i) => Err(wrong(format!(
            "gave {} for answer {i} of the batch",
            scores[i]
        ))),
        None => Ok(scores),
    }
}
