//! The simulated people: they rank answers by what they think of them, with the noise that people
//! have.

use crate::{GoldJudge, WorldConfig, WorldError};
use rlhf_data::Prompt;
use rlhf_random::Rng;
use rlhf_reward::Answer;

/// People who rank answers. A ranking is a draw from the Plackett–Luce model (Plackett, 1975;
/// Luce, 1959) whose log-odds are a person's sharpness times the gold score: of two answers, the
/// one that is better by `d` is put first with probability `σ(sharpness · d)`. A share of the
/// rankings is handed in upside down.
#[derive(Clone, Debug)]
pub struct Annotators {
    gold: GoldJudge,
    seed: u64,
    /// The sharpness of each person; their mean is the configured slope.
    sharpness: Vec<f64>,
    flip: f64,
}

/// How far people differ in sharpness: the standard deviation of its logarithm.
const SPREAD: f64 = 0.2;

impl Annotators {
    pub(crate) fn new(config: &WorldConfig, gold: GoldJudge) -> Self {
        let people = &config.annotation;
        let root = Rng::new(config.seed).key("annotators");
        let own: Vec<f64> = (0..people.annotators)
            .map(|person| (SPREAD * root.key(person).normal()).exp())
            .collect();
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        // Shuffled labels: nobody looks at the answers.
        let slope = if people.shuffled_labels {
            0.0
        } else {
            people.slope
        };
        let sharpness = own
            .iter()
            .map(|sharpness| slope * sharpness / mean)
            .collect();
        Self {
            gold,
            seed: config.seed,
            sharpness,
            flip: people.flip,
        }
    }

    /// Ranks responses to one prompt of this world; all of them count as finished. See
    /// [`Annotators::rank_answers`].
    ///
    /// # Errors
    /// If the prompt is none of this world's.
    pub fn rank(
        &self,
        prompt: &Prompt,
        responses: &[String],
        stream: u64,
    ) -> Result<Vec<usize>, WorldError> {
        let answers: Vec<Answer<'_>> = responses
            .iter()
            .map(|response| Answer {
                prompt: &prompt.messages,
                response,
                tokens: None,
                row: &prompt.row,
            })
            .collect();
        self.rank_answers(&answers, stream)
    }

    /// Ranks answers to one prompt: the rank of each, 0 the best. Equal texts get equal ranks. The
    /// stream decides who ranks and how the noise falls; nothing else does. An answer's row may say
    /// how it finished.
    ///
    /// # Errors
    /// If the prompt is none of this world's.
    pub fn rank_answers(
        &self,
        answers: &[Answer<'_>],
        stream: u64,
    ) -> Result<Vec<usize>, WorldError> {
        let mut rng = Rng::new(self.seed).key("ranking").key(stream);
        let sharpness = *rng.choose(&self.sharpness);
        let flipped = rng.chance(self.flip);
        let mut texts: Vec<&str> = Vec::new();
        // Which text each answer has, and how much each text is liked at this moment.
        let mut text_of = Vec::with_capacity(answers.len());
        let mut liking: Vec<f64> = Vec::new();
        for answer in answers {
            let known = texts.iter().position(|&text| text == answer.response);
            text_of.push(match known {
                Some(text) => text,
                None => {
                    let gold = f64::from(self.gold.assess(answer)?.gold);
                    liking.push(sharpness * gold + gumbel(&mut rng));
                    texts.push(answer.response);
                    texts.len() - 1
                }
            });
        }
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|&a, &b| liking[b].total_cmp(&liking[a]));
        if flipped {
            order.reverse();
        }
        let mut rank_of = vec![0; texts.len()];
        for (rank, &text) in order.iter().enumerate() {
            rank_of[text] = rank;
        }
        Ok(text_of.into_iter().map(|text| rank_of[text]).collect())
    }

    /// The probability that a person drawn at random puts the first of two answers above the
    /// second, from their gold scores.
    pub fn preference_probability(&self, first_gold: f32, second_gold: f32) -> f64 {
        let apart = f64::from(first_gold) - f64::from(second_gold);
        let people = self
            .sharpness
            .iter()
            .map(|sharpness| 1.0 / (1.0 + (-sharpness * apart).exp()));
        let sure = people.sum::<f64>() / self.sharpness.len() as f64;
        (1.0 - 2.0 * self.flip) * sure + self.flip
    }

    /// The accuracy on fresh labels of these pairs that a perfect judge could expect: how often
    /// the label agrees with the gold score, a pair of equal scores counting one half.
    ///
    /// # Errors
    /// If a prompt is none of this world's. No pairs give one half.
    pub fn ceiling(&self, pairs: &[(Answer<'_>, Answer<'_>)]) -> Result<f64, WorldError> {
        if pairs.is_empty() {
            return Ok(0.5);
        }
        let mut sum = 0.0;
        for (first, second) in pairs {
            let (first, second) = (
                self.gold.assess(first)?.gold,
                self.gold.assess(second)?.gold,
            );
            let first_wins = self.preference_probability(first, second);
            sum += first_wins.max(1.0 - first_wins);
        }
        Ok(sum / pairs.len() as f64)
    }
}

/// A draw from the Gumbel distribution: sorting by log-odds plus such draws is a draw from the
/// Plackett–Luce model (Yellott, 1977).
fn gumbel(rng: &mut Rng) -> f64 {
    let open = rng.uniform().max(f64::MIN_POSITIVE);
    -(-open.ln()).ln()
}

#[cfg(test)]
mod tests;
