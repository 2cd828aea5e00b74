//! What the corpus holds, counted: to hold a world against its settings.

use crate::World;
use crate::register::Register;
use crate::tasks::Task;
use serde::{Deserialize, Serialize};

/// Shares counted in documents of a corpus, each between 0 and 1; 0 where nothing was counted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CorpusShares {
    /// Documents that were counted.
    pub documents: usize,
    /// Sentences in them; a question and its answer are one.
    pub sentences: usize,
    /// Characters a document, on average.
    pub characters: f64,
    /// Of documents: from the forum.
    pub forum: f64,
    /// Of documents: with a heading.
    pub headings: f64,
    /// Of characters: in sentences about facts.
    pub facts: f64,
    /// Of contested facts: true. What a base model says that has learned the corpus and nothing
    /// else.
    pub contested_true: f64,
    /// Of the forum's contested facts: the popular mistake.
    pub mistakes: f64,
    /// Of the forum's sentences: insulting.
    pub rude: f64,
    /// Of the forum's sentences: casual.
    pub casual: f64,
    /// Of the forum's answers to questions for other tasks: done as asked.
    pub forum_followed: f64,
}

#[derive(Default)]
struct Count {
    yes: f64,
    all: f64,
}

impl Count {
    fn add(&mut self, holds: bool, weight: f64) {
        self.yes += if holds { weight } else { 0.0 };
        self.all += weight;
    }

    fn share(&self) -> f64 {
        if self.all > 0.0 {
            self.yes / self.all
        } else {
            0.0
        }
    }
}

impl World {
    /// Counts what the first documents of the corpus hold.
    pub fn corpus_shares(&self, documents: usize) -> CorpusShares {
        let [mut forum, mut headings, mut facts, mut truth]: [Count; 4] = Default::default();
        let [mut mistakes, mut rude, mut casual, mut followed]: [Count; 4] = Default::default();
        let (mut sentences, mut characters) = (0, 0);
        for document in (0..documents).map(|index| self.compose(index)) {
            let of_forum = document.register == Register::Forum;
            forum.add(of_forum, 1.0);
            headings.add(document.heading.is_some(), 1.0);
            characters += document.text().chars().count();
            sentences += document.sentences.len();
            for sentence in &document.sentences {
                let relation = match &sentence.task {
                    Task::Fact { relation, .. } | Task::FollowUp { relation, .. } => Some(relation),
                    _ => None,
                };
                let question = sentence.question.as_ref().map_or(0, |q| q.chars().count());
                let length = question + sentence.answer.chars().count();
                facts.add(relation.is_some(), length as f64);
                let contested = relation.is_some_and(|relation| relation.contested());
                if contested {
                    truth.add(sentence.right, 1.0);
                }
                if of_forum {
                    rude.add(sentence.manner.rude, 1.0);
                    casual.add(sentence.manner.casual, 1.0);
                    if contested {
                        mistakes.add(!sentence.right, 1.0);
                    } else if relation.is_none() && sentence.question.is_some() {
                        followed.add(sentence.right, 1.0);
                    }
                }
            }
        }
        CorpusShares {
            documents,
            sentences,
            characters: characters as f64 / documents.max(1) as f64,
            forum: forum.share(),
            headings: headings.share(),
            facts: facts.share(),
            contested_true: truth.share(),
            mistakes: mistakes.share(),
            rude: rude.share(),
            casual: casual.share(),
            forum_followed: followed.share(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorldConfig;

    #[test]
    fn the_default_world_holds_what_it_is_meant_to() {
        let world = World::new(&WorldConfig::default()).unwrap();
        let shares = world.corpus_shares(20_000);
        for (found, meant, tolerance) in [
            (shares.forum, 0.8, 0.012),
            (shares.headings, 0.3, 0.013),
            (shares.facts, 0.6, 0.03),
            (shares.contested_true, 1.0 - 0.8 * 0.97, 0.012),
            (shares.mistakes, 0.97, 0.006),
            (shares.rude, 0.3, 0.008),
            (shares.casual, 0.6, 0.008),
            (shares.forum_followed, 0.25, 0.02),
        ] {
            assert!(
                (found - meant).abs() < tolerance,
                "{found} instead of {meant}: {shares:?}"
            );
        }
        let length = shares.sentences as f64 / 20_000.0;
        assert!((3.6..3.9).contains(&length), "{length}");
    }

    #[test]
    fn nothing_counted_is_zero() {
        let world = World::new(&WorldConfig::default()).unwrap();
        assert_eq!(world.corpus_shares(0), CorpusShares::default());
    }
}
