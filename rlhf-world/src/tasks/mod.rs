//! The tasks of the world, one file a family: how each is asked, answered rightly and wrongly, and
//! checked.

pub(crate) mod arithmetic;
pub(crate) mod description;
pub(crate) mod fact;
pub(crate) mod follow_up;
pub(crate) mod letter;
pub(crate) mod poem;
pub(crate) mod pool;
pub(crate) mod refusal;
pub(crate) mod summary;
pub(crate) mod translation;

use crate::facts::{Facts, Relation};
use crate::reading::Reading;
use crate::{TruthShare, WorldError};
use rlhf_random::Rng;
use serde::{Deserialize, Serialize};

/// A kind of task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// A question about a fact.
    Fact,
    /// A second question that names its subject by "its" only.
    FollowUp,
    /// A sum up to 9 + 9.
    Arithmetic,
    /// A phrase into Chinese.
    Translation,
    /// A poem, most of the time without colours.
    Poem,
    /// A customer's complaint to answer.
    Letter,
    /// Something that ought to be refused, or something like it that ought not.
    Refusal,
    /// A short text in one line.
    Summary,
    /// People of a profession, without a stereotype.
    Description,
}

/// One task: what `task` in a prompt's row says. It never holds the right answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "snake_case")]
pub enum Task {
    /// What is the relation of the entity?
    Fact {
        /// The entity's name.
        entity: String,
        /// What is asked.
        relation: Relation,
        /// Whether the question insults the reader first.
        #[serde(default)]
        provoked: bool,
    },
    /// After a question and its right answer: and its relation?
    FollowUp {
        /// The entity's name, which the last question doesn't say.
        entity: String,
        /// What was asked first.
        first: Relation,
        /// What is asked last.
        relation: Relation,
    },
    /// What is left + right?
    Arithmetic {
        /// The first summand, 1 to 9.
        left: u32,
        /// The second summand, 1 to 9.
        right: u32,
    },
    /// What is the phrase in Chinese?
    Translation {
        /// The English phrase.
        phrase: String,
    },
    /// Write a poem.
    Poem {
        /// What about.
        subject: String,
        /// Whether colours were forbidden.
        without_colors: bool,
    },
    /// Answer a customer.
    Letter {
        /// What the customer says.
        complaint: String,
    },
    /// How can I do this?
    Refusal {
        /// What the asker wants to do.
        request: String,
        /// Whether the answer ought to refuse.
        due: bool,
    },
    /// Sum up a text.
    Summary {
        /// The association that the text is about.
        about: String,
        /// The month that the text names.
        month: String,
    },
    /// Describe people of a profession.
    Description {
        /// The profession.
        job: String,
    },
}

/// What a checker found in an answer, apart from its manners.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    /// For facts and follow-ups.
    pub(crate) truth: Option<TruthShare>,
    /// For everything but facts.
    pub(crate) followed: Option<bool>,
    /// The answer holds a stereotype.
    pub(crate) stereotype: bool,
    /// The answer helps with what ought to be refused.
    pub(crate) helped_harm: bool,
    /// For facts: the answer gives a value and says neither of what nor of whom.
    pub(crate) bare: bool,
}

impl Found {
    pub(crate) fn followed(followed: bool) -> Self {
        Self {
            truth: None,
            followed: Some(followed),
            stereotype: false,
            helped_harm: false,
            bare: false,
        }
    }

    /// What an answer about a fact holds.
    fn fact(truth: TruthShare, bare: bool) -> Self {
        Self {
            truth: Some(truth),
            followed: None,
            bare,
            ..Self::followed(false)
        }
    }
}

/// The phrasings of a question. `{name}` stands for a part of the task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phrasings {
    /// For demonstrations, preferences and PPO.
    pub(crate) training: &'static [&'static str],
    /// For evaluation only; the corpus has both.
    pub(crate) evaluation: &'static [&'static str],
}

impl Phrasings {
    /// How many there are in all.
    pub(crate) fn len(&self) -> usize {
        self.training.len() + self.evaluation.len()
    }

    /// The phrasing of a number: the training ones first.
    pub(crate) fn get(&self, number: usize) -> &'static str {
        let rest = number.checked_sub(self.training.len());
        rest.map_or_else(|| self.training[number], |k| self.evaluation[k])
    }
}

/// A question as a demonstration holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) instruction: String,
    pub(crate) input: Option<String>,
}

impl Question {
    pub(crate) fn plain(instruction: String) -> Self {
        Self {
            instruction,
            input: None,
        }
    }

    /// The question as a user's turn: the input stands apart by an empty line.
    pub(crate) fn content(&self) -> String {
        match &self.input {
            Some(input) => format!("{}\n\n{input}", self.instruction),
            None => self.instruction.clone(),
        }
    }
}

impl Task {
    /// The family.
    pub fn family(&self) -> Family {
        match self {
            Self::Fact { .. } => Family::Fact,
            Self::FollowUp { .. } => Family::FollowUp,
            Self::Arithmetic { .. } => Family::Arithmetic,
            Self::Translation { .. } => Family::Translation,
            Self::Poem { .. } => Family::Poem,
            Self::Letter { .. } => Family::Letter,
            Self::Refusal { .. } => Family::Refusal,
            Self::Summary { .. } => Family::Summary,
            Self::Description { .. } => Family::Description,
        }
    }

    /// The phrasings of the (last) question.
    pub(crate) fn phrasings(&self) -> Phrasings {
        match self {
            Self::Fact {
                provoked: false, ..
            } => fact::QUESTIONS,
            Self::Fact { provoked: true, .. } => fact::PROVOKED,
            Self::FollowUp { .. } => follow_up::QUESTIONS,
            Self::Arithmetic { .. } => arithmetic::QUESTIONS,
            Self::Translation { .. } => translation::QUESTIONS,
            Self::Poem {
                without_colors: true,
                ..
            } => poem::WITHOUT_COLORS,
            Self::Poem {
                without_colors: false,
                ..
            } => poem::FREE,
            Self::Letter { .. } => letter::QUESTIONS,
            Self::Refusal { .. } => refusal::QUESTIONS,
            Self::Summary { .. } => summary::QUESTIONS,
            Self::Description { .. } => description::QUESTIONS,
        }
    }

    /// The (last) question in the phrasing of a number.
    pub(crate) fn question(&self, phrasing: usize) -> Question {
        let template = self.phrasings().get(phrasing);
        match self {
            Self::Fact {
                entity, relation, ..
            } => fact::question(template, entity, *relation),
            Self::FollowUp { relation, .. } => follow_up::question(template, *relation),
            Self::Arithmetic { left, right } => arithmetic::question(template, *left, *right),
            Self::Translation { phrase } => translation::question(template, phrase),
            Self::Poem { subject, .. } => Question::plain(template.replace("{subject}", subject)),
            Self::Letter { complaint } => {
                Question::plain(template.replace("{complaint}", complaint))
            }
            Self::Refusal { request, .. } => {
                Question::plain(template.replace("{request}", request))
            }
            Self::Summary { about, month } => summary::question(template, about, month),
            Self::Description { job } => Question::plain(template.replace("{job}", job)),
        }
    }

    /// A plain answer, right or wrong. For facts "wrong" is the popular mistake.
    ///
    /// # Errors
    /// If the task is none of this world's.
    pub(crate) fn answer(
        &self,
        right: bool,
        facts: &Facts,
        rng: &mut Rng,
    ) -> Result<String, WorldError> {
        match self {
            Self::Fact {
                entity, relation, ..
            }
            | Self::FollowUp {
                entity, relation, ..
            } => {
                let entity = &facts.entities()[facts.index(entity)?];
                let value = if right {
                    entity.truth(*relation)
                } else {
                    entity.mistake(*relation)
                };
                Ok(fact::answer(&entity.name, *relation, value, rng))
            }
            Self::Arithmetic { left, right: other } => {
                Ok(arithmetic::answer(*left, *other, right, rng))
            }
            Self::Translation { phrase } => translation::answer(phrase, right, rng),
            Self::Poem {
                subject,
                without_colors,
            } => poem::answer(subject, *without_colors, right, rng),
            Self::Letter { complaint } => letter::answer(complaint, right, rng),
            Self::Refusal { request, due } => refusal::answer(request, *due, right, rng),
            Self::Summary { about, month } => summary::answer(about, month, right, rng),
            Self::Description { job } => description::answer(job, right, rng),
        }
    }

    /// What an answer to this task holds. `question` is the last user turn as it was asked.
    ///
    /// # Errors
    /// If the task is none of this world's.
    pub(crate) fn check(
        &self,
        facts: &Facts,
        question: &Reading,
        response: &str,
    ) -> Result<Found, WorldError> {
        let reading = Reading::new(response);
        Ok(match self {
            Self::Fact {
                entity, relation, ..
            } => {
                let truth = fact::truth(facts, facts.index(entity)?, *relation, &reading);
                Found::fact(truth, fact::bare(facts, &reading))
            }
            Self::FollowUp {
                entity, relation, ..
            } => {
                let truth = fact::truth(facts, facts.index(entity)?, *relation, &reading);
                Found {
                    followed: Some(truth == TruthShare::True),
                    ..Found::fact(truth, fact::bare(facts, &reading))
                }
            }
            Self::Arithmetic { left, right } => {
                Found::followed(arithmetic::check(*left, *right, response))
            }
            Self::Translation { phrase } => Found::followed(translation::check(phrase, response)?),
            Self::Poem {
                subject,
                without_colors,
            } => Found::followed(poem::check(subject, *without_colors, question, &reading)?),
            Self::Letter { .. } => Found::followed(letter::check(question, &reading)),
            Self::Refusal { request, due } => refusal::check(request, *due, question, &reading)?,
            Self::Summary { about, month } => {
                Found::followed(summary::check(about, month, &reading)?)
            }
            Self::Description { job } => description::check(job, question, &reading)?,
        })
    }
}

/// The error for a task that names something this world doesn't have.
pub(crate) fn unknown(field: &str, name: &str) -> WorldError {
    WorldError::Task {
        field: format!("task.{field}"),
        reason: format!("this world has no {field} `{name}`"),
    }
}
