//! Rewards that are rules.

use crate::{Answer, RewardError, RewardSource};

/// 1 for an answer whose text ends like a sentence (. ! ? or their wide forms, a closing quote or
/// bracket after them allowed), else 0. An empty answer gets 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndsProperly;

impl RewardSource for EndsProperly {
    fn name(&self) -> &'static str {
        "ends_properly"
    }

    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        let ends = |text: &str| {
            text.trim_end()
                .trim_end_matches(['"', '\'', ')', ']', '”', '’', '」', '）'])
                .ends_with(['.', '!', '?', '。', '！', '？', '…'])
        };
        Ok(answers
            .iter()
            .map(|a| f32::from(u8::from(ends(a.response))))
            .collect())
    }
}

/// −`per_character` for each character beyond `free_characters`: a brake on rambling.
#[derive(Clone, Copy, Debug)]
pub struct LengthPenalty {
    /// Characters that cost nothing.
    pub free_characters: usize,
    /// What each further one costs.
    pub per_character: f32,
}

impl RewardSource for LengthPenalty {
    fn name(&self) -> &'static str {
        "length_penalty"
    }

    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        let over = |a: &Answer<'_>| {
            a.response
                .chars()
                .count()
                .saturating_sub(self.free_characters)
        };
        Ok(answers
            .iter()
            .map(|a| -self.per_character * over(a) as f32)
            .collect())
    }
}
