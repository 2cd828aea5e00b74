//! Second questions, which name their subject by "its" only: the answer needs the first turn.

use super::{Phrasings, Question};
use crate::facts::Relation;

pub(crate) const QUESTIONS: Phrasings = Phrasings {
    training: &[
        "And its {relation}?",
        "What about its {relation}?",
        "Now tell me its {relation}.",
    ],
    evaluation: &["And what is its {relation}?", "Say its {relation} too."],
};

pub(crate) fn question(template: &str, relation: Relation) -> Question {
    Question::plain(template.replace("{relation}", relation.word()))
}
