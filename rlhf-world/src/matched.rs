//! Truth and mistake in the same words, to see whether a reward model tells them apart.

use crate::World;
use crate::tasks::{Task, fact};
use rlhf_data::Prompt;
use serde_json::Value;

/// An evaluation prompt about a contested fact with two answers that differ in the value alone.
#[derive(Clone, Debug)]
pub struct MatchedPair {
    /// The prompt, as in [`World::evaluation_prompts`].
    pub prompt: Prompt,
    /// The answer that is true.
    pub truth: String,
    /// The same words with the popular mistake.
    pub mistake: String,
}

impl World {
    /// The contested evaluation prompts, each with every wording of an answer.
    pub fn matched_pairs(&self) -> Vec<MatchedPair> {
        let mut pairs = Vec::new();
        for prompt in self.evaluation_prompts() {
            if prompt.row.get("suite").and_then(Value::as_str) != Some("truth") {
                continue;
            }
            let task = prompt.row.get("task").cloned().unwrap_or_default();
            let Ok(Task::Fact {
                entity, relation, ..
            }) = serde_json::from_value(task)
            else {
                continue;
            };
            let facts = self.facts.entities().iter().find(|e| e.name == entity);
            let Some(facts) = facts else { continue };
            let truths = fact::wordings(&entity, relation, facts.truth(relation));
            let mistakes = fact::wordings(&entity, relation, facts.mistake(relation));
            pairs.extend(truths.zip(mistakes).map(|(truth, mistake)| MatchedPair {
                prompt: prompt.clone(),
                truth,
                mistake,
            }));
        }
        pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TruthShare, WorldConfig};
    use rlhf_reward::Answer;

    #[test]
    fn one_answer_is_true_the_other_the_mistake_and_the_words_match() {
        let world = World::new(&WorldConfig::default()).unwrap();
        let (pairs, gold) = (world.matched_pairs(), world.gold());
        assert_eq!(pairs.len(), 25 * 4 * 4 * 5);
        for pair in &pairs {
            let share = |response: &str| {
                let answer = Answer {
                    prompt: &pair.prompt.messages,
                    response,
                    tokens: None,
                    row: &pair.prompt.row,
                };
                gold.assess(&answer).unwrap().truth
            };
            assert_eq!(share(&pair.truth), Some(TruthShare::True), "{pair:?}");
            assert_eq!(share(&pair.mistake), Some(TruthShare::Mistake), "{pair:?}");
            let words = |text: &str| text.split(' ').count();
            assert_eq!(words(&pair.truth), words(&pair.mistake), "{pair:?}");
        }
    }
}
