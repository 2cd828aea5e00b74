//! Rankings of several answers to one prompt, put together from pairs.

use crate::row::{Message, Preference};
use crate::{ChatTokenizer, DataError, TokenSequence};
use std::collections::HashMap;

/// Several answers to one prompt and which is better than which: the K-wise form of Ouyang et
/// al. (2022), in which all pairs of a prompt are one item of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The turns before the answers.
    pub prompt: Vec<Message>,
    /// The distinct answers.
    pub responses: Vec<String>,
    /// Pairs of indices into `responses`: (better, worse).
    pub pairs: Vec<(usize, usize)>,
}

impl Comparison {
    /// The prompt with each of the answers as tokens, at most `max_length` of them: a longer prompt
    /// loses its start, the same for all answers.
    ///
    /// # Errors
    /// If the prompt can't be rendered; [`DataError::AnswerTooLong`] if an answer would lose a
    /// token.
    pub fn encode(
        &self,
        tokenizer: &ChatTokenizer,
        max_length: usize,
    ) -> Result<Vec<TokenSequence>, DataError> {
        let encode = |response: &String| tokenizer.encode_answer(&self.prompt, response);
        let mut answers = self
            .responses
            .iter()
            .map(encode)
            .collect::<Result<Vec<_>, _>>()?;
        let mut rows: Vec<&mut TokenSequence> = answers.iter_mut().collect();
        TokenSequence::truncate_together(&mut rows, max_length)?;
        Ok(answers)
    }

    fn answer(&mut self, text: String) -> usize {
        if let Some(i) = self.responses.iter().position(|r| *r == text) {
            return i;
        }
        self.responses.push(text);
        self.responses.len() - 1
    }

    fn add(&mut self, chosen: String, rejected: String) {
        let better = self.answer(chosen);
        let worse = self.answer(rejected);
        self.pairs.push((better, worse));
    }
}

/// Puts together the pairs that were taken from one ranking: rows with the same `metadata.group`
/// and the same prompt become one comparison, a row without a group is one of its own. The
/// comparisons stand in the order in which their first rows do.
pub fn group_comparisons(rows: Vec<Preference>) -> Vec<Comparison> {
    let mut comparisons: Vec<Comparison> = Vec::new();
    let mut by_group: HashMap<(String, Vec<Message>), usize> = HashMap::new();
    for row in rows {
        let new = || Comparison {
            prompt: row.prompt.clone(),
            responses: vec![],
            pairs: vec![],
        };
        let place = match row.group() {
            None => comparisons.len(),
            Some(group) => *by_group
                .entry((group, row.prompt.clone()))
                .or_insert(comparisons.len()),
        };
        if place == comparisons.len() {
            comparisons.push(new());
        }
        comparisons[place].add(row.chosen, row.rejected);
    }
    comparisons
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pair(prompt: &str, chosen: &str, rejected: &str, group: Option<&str>) -> Preference {
        Preference {
            prompt: vec![Message::user(prompt)],
            chosen: chosen.into(),
            rejected: rejected.into(),
            chosen_rating: None,
            rejected_rating: None,
            metadata: json!({"group": group}).as_object().cloned().unwrap(),
        }
    }

    #[test]
    fn pairs_of_one_group_and_prompt_become_one_comparison() {
        let rows = vec![
            pair("p", "a", "b", Some("1")),
            pair("q", "x", "y", None),
            pair("p", "b", "c", Some("1")),
            pair("p", "a", "c", Some("1")),
            pair("p2", "a", "b", Some("1")),
            pair("q", "x", "y", None),
        ];
        let comparisons = group_comparisons(rows);
        assert_eq!(comparisons.len(), 4);
        assert_eq!(comparisons[0].responses, ["a", "b", "c"]);
        assert_eq!(comparisons[0].pairs, [(0, 1), (1, 2), (0, 2)]);
        assert_eq!(comparisons[1].pairs, [(0, 1)]);
        assert_eq!(comparisons[2].prompt, [Message::user("p2")]);
        assert_eq!(comparisons[3], comparisons[1]);
        assert!(group_comparisons(vec![]).is_empty());
    }
}
