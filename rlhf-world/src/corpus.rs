//! The corpus: documents of one source each.

use crate::facts::Relation;
use crate::register::{FORUM_RIGHT, Manner, Register, Voice};
use crate::tasks::{Task, arithmetic, fact, pool};
use crate::world::{as_line, asked};
use crate::{World, WorldError};
use rlhf_data::TextRow;
use rlhf_random::Rng;

/// Share of sentences that are a question and its answer.
const QUESTION_SHARE: f64 = 0.5;
/// Share of sentences after which a document goes on to another entity.
const HOP_SHARE: f64 = 0.3;
/// Share of questions that take up the one before with "its", where there is one.
const FOLLOW_UP_SHARE: f64 = 0.3;
/// Share of facts in the documents in which other tasks prevail.
const FACTS_AMONG_TASKS: f64 = 0.2;
/// Share of questions that insult first.
const PROVOKED_FORUM: f64 = 0.1;
const PROVOKED_ATLAS: f64 = 0.04;
/// Share of sums that are stated without being asked; these are right everywhere.
const STATED_SUMS: f64 = 0.6;
/// The pages and threads that headings number.
const PAGES: usize = 20;

/// A document before it is written out.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) register: Register,
    pub(crate) heading: Option<String>,
    pub(crate) sentences: Vec<Sentence>,
}

/// One sentence, or one question with its answer.
#[derive(Clone, Debug)]
pub(crate) struct Sentence {
    pub(crate) task: Task,
    /// Whether the truth is told, or the task is done as asked.
    pub(crate) right: bool,
    pub(crate) manner: Manner,
    pub(crate) question: Option<String>,
    pub(crate) answer: String,
}

impl Document {
    /// The text: a heading where there is one, then a line a sentence; questions are marked.
    pub(crate) fn text(&self) -> String {
        let mut lines: Vec<String> = self.heading.iter().cloned().collect();
        for sentence in &self.sentences {
            let question = sentence.question.iter();
            lines.extend(question.map(|question| asked(&as_line(question))));
            lines.push(sentence.answer.clone());
        }
        lines.join("\n")
    }
}

/// Where a document stands when it writes its next sentence.
struct Thread {
    voice: Voice,
    /// What the document is about.
    entity: usize,
    /// The relation that was just asked of this entity.
    asked: Option<Relation>,
}

impl World {
    /// The first documents of the corpus.
    pub fn corpus(&self, documents: usize) -> Vec<TextRow> {
        (0..documents).map(|index| self.document(index)).collect()
    }

    /// One document of the endless corpus. The same index gives the same text.
    pub fn document(&self, index: usize) -> TextRow {
        TextRow {
            text: self.compose(index).text(),
        }
    }

    pub(crate) fn compose(&self, index: usize) -> Document {
        let mut rng = self.stream("document", index);
        let register = self.draw_register(&mut rng);
        let heading = rng.chance(self.config.heading_share).then(|| {
            let number = rng.below(PAGES) + 1;
            match register {
                Register::Atlas => format!("Atlas, page {number}"),
                Register::Forum => format!("Forum, thread {number}"),
            }
        });
        let entity = rng.below(self.facts.entities().len());
        let voice = Voice {
            register,
            civil: register == Register::Forum && self.is_civil(index),
        };
        let mut thread = Thread {
            voice,
            entity,
            asked: None,
        };
        let about_facts = rng.chance(self.config.fact_share);
        let length = if about_facts {
            3 + rng.below(4)
        } else {
            2 + rng.below(3)
        };
        let sentences = (0..length)
            .map(|_| {
                if about_facts || rng.chance(FACTS_AMONG_TASKS) {
                    self.fact_sentence(&mut thread, &mut rng)
                } else {
                    thread.asked = None;
                    let task = pool::draw_for_corpus(&self.pools, &mut rng);
                    self.task_sentence(task, voice, &mut rng)
                }
            })
            .collect();
        Document {
            register,
            heading,
            sentences,
        }
    }

    /// Whether a document of the forum is a civil one. A stream of its own: the documents of a world
    /// without civil ones don't depend on it.
    fn is_civil(&self, index: usize) -> bool {
        self.stream("civil", index).chance(self.config.civil_share)
    }

    fn draw_register(&self, rng: &mut Rng) -> Register {
        if rng.chance(self.config.forum_share) {
            Register::Forum
        } else {
            Register::Atlas
        }
    }

    /// Whose content a sentence has: its document's, or, in the control, anybody's.
    fn content_register(&self, of_document: Register, rng: &mut Rng) -> Register {
        if self.config.coherent {
            of_document
        } else {
            self.draw_register(rng)
        }
    }

    fn fact_sentence(&self, thread: &mut Thread, rng: &mut Rng) -> Sentence {
        if rng.chance(HOP_SHARE) {
            thread.entity = rng.below(self.facts.entities().len());
            thread.asked = None;
        }
        let entity = self.facts.entities()[thread.entity].name.clone();
        let relation = Relation::draw(rng);
        if rng.chance(QUESTION_SHARE) {
            let task = match thread.asked {
                Some(first) if first != relation && rng.chance(FOLLOW_UP_SHARE) => Task::FollowUp {
                    entity,
                    first,
                    relation,
                },
                _ => {
                    let provoked = rng.chance(match thread.voice.register {
                        Register::Atlas => PROVOKED_ATLAS,
                        Register::Forum => PROVOKED_FORUM,
                    });
                    Task::Fact {
                        entity,
                        relation,
                        provoked,
                    }
                }
            };
            thread.asked = Some(relation);
            return self.answered(task, thread.voice, rng);
        }
        thread.asked = None;
        let right = self.tells_truth(relation, thread.voice.register, rng);
        let facts = &self.facts.entities()[thread.entity];
        let value = if right {
            facts.truth(relation)
        } else {
            facts.mistake(relation)
        };
        let plain = fact::statement(&entity, relation, value, rng);
        let manner = Manner::of_voice(thread.voice, &self.config, rng);
        let answer = manner.dress(&plain, rng);
        let task = Task::Fact {
            entity,
            relation,
            provoked: false,
        };
        Sentence {
            task,
            right,
            manner,
            question: None,
            answer,
        }
    }

    fn tells_truth(&self, relation: Relation, register: Register, rng: &mut Rng) -> bool {
        let forum = self.content_register(register, rng) == Register::Forum;
        let mistaken = forum && rng.chance(self.config.mistake_share);
        !(relation.contested() && mistaken)
    }

    fn task_sentence(&self, task: Task, voice: Voice, rng: &mut Rng) -> Sentence {
        match task {
            Task::Arithmetic { left, right } if rng.chance(STATED_SUMS) => {
                let manner = Manner::of_voice(voice, &self.config, rng);
                let answer = manner.dress(&arithmetic::statement(left, right), rng);
                Sentence {
                    task,
                    right: true,
                    manner,
                    question: None,
                    answer,
                }
            }
            task => self.answered(task, voice, rng),
        }
    }

    /// A question in any phrasing with its answer as a source gives it.
    fn answered(&self, task: Task, voice: Voice, rng: &mut Rng) -> Sentence {
        let register = voice.register;
        let right = match &task {
            Task::Fact { relation, .. } | Task::FollowUp { relation, .. } => {
                self.tells_truth(*relation, register, rng)
            }
            _ => match self.content_register(register, rng) {
                Register::Atlas => true,
                Register::Forum => rng.chance(FORUM_RIGHT),
            },
        };
        let question = task.question(rng.below(task.phrasings().len())).content();
        let plain = self.own_answer(&task, right, rng);
        let manner = Manner::of_voice(voice, &self.config, rng);
        let answer = manner.dress(&plain, rng);
        Sentence {
            task,
            right,
            manner,
            question: Some(question),
            answer,
        }
    }

    /// The plain answer to a task of this world's own.
    pub(crate) fn own_answer(&self, task: &Task, right: bool, rng: &mut Rng) -> String {
        let answer: Result<String, WorldError> = task.answer(right, &self.facts, rng);
        answer.expect("a task that this world drew is about its own entities and items")
    }
}

#[cfg(test)]
mod tests;
