//! Reward sources made of reward sources.

use crate::source::checked_scores;
use crate::{Answer, RewardError, RewardSource};

/// The weighted sum of several sources.
pub struct Weighted {
    parts: Vec<(f32, Box<dyn RewardSource>)>,
    name: String,
}

impl std::fmt::Debug for Weighted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weighted")
            .field("name", &self.name)
            .finish()
    }
}

impl Weighted {
    /// Σ weight·score over the parts.
    pub fn new(parts: Vec<(f32, Box<dyn RewardSource>)>) -> Self {
        let name = parts.iter().map(|(w, s)| format!("{w}*{}", s.name()));
        let name = name.collect::<Vec<_>>().join("+");
        Self { parts, name }
    }
}

impl RewardSource for Weighted {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        let mut total = vec![0.0; answers.len()];
        for (weight, source) in &self.parts {
            for (sum, score) in total.iter_mut().zip(checked_scores(source, answers)?) {
                *sum += weight * score;
            }
        }
        Ok(total)
    }
}

/// A source whose scores are kept within ±`bound`.
#[derive(Debug)]
pub struct Clipped<S> {
    /// The source.
    pub source: S,
    /// The largest absolute score let through.
    pub bound: f32,
}

impl<S: RewardSource> RewardSource for Clipped<S> {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        let scores = checked_scores(&self.source, answers)?;
        Ok(scores
            .into_iter()
            .map(|s| s.clamp(-self.bound, self.bound))
            .collect())
    }
}
