//! The shares in the generated text are the configured ones.

use super::*;
use crate::reading::Reading;
use crate::tasks::Family;
use crate::{WorldConfig, register};

fn documents(config: &WorldConfig, n: usize) -> Vec<Document> {
    let world = World::new(config).unwrap();
    (0..n).map(|index| world.compose(index)).collect()
}

/// Counts how often something holds, and how often it could.
#[derive(Default)]
struct Share {
    yes: f64,
    all: f64,
}

impl Share {
    fn add(&mut self, holds: bool) {
        self.yes += f64::from(u8::from(holds));
        self.all += 1.0;
    }

    /// Checks the share against the expected one, within four standard errors.
    #[track_caller]
    fn is(&self, expected: f64) {
        let share = self.yes / self.all;
        let error = (expected * (1.0 - expected) / self.all).sqrt();
        assert!(self.all > 1000.0, "only {} cases", self.all);
        assert!(
            (share - expected).abs() <= 4.0 * error + 1e-9,
            "{share} instead of {expected}"
        );
    }
}

fn contested(sentence: &Sentence) -> bool {
    match &sentence.task {
        Task::Fact { relation, .. } | Task::FollowUp { relation, .. } => relation.contested(),
        _ => false,
    }
}

fn is_fact(sentence: &Sentence) -> bool {
    matches!(sentence.task.family(), Family::Fact | Family::FollowUp)
}

#[test]
fn shares_are_those_of_the_configuration() {
    let config = WorldConfig {
        seed: 4,
        ..WorldConfig::default()
    };
    let [mut forum, mut headings, mut mistakes, mut rude, mut casual] = Default::default();
    let [mut questions, mut right_tasks]: [Share; 2] = Default::default();
    for document in documents(&config, 20_000) {
        let of_forum = document.register == Register::Forum;
        Share::add(&mut forum, of_forum);
        Share::add(&mut headings, document.heading.is_some());
        for sentence in &document.sentences {
            let reading = Reading::new(&sentence.answer);
            assert_eq!(
                register::rude(&reading),
                sentence.manner.rude,
                "{}",
                sentence.answer
            );
            assert_eq!(
                register::sloppy(&reading),
                sentence.manner.casual,
                "{}",
                sentence.answer
            );
            if !of_forum {
                assert!(sentence.right && sentence.manner == Manner::PLAIN);
                continue;
            }
            Share::add(&mut rude, sentence.manner.rude);
            Share::add(&mut casual, sentence.manner.casual);
            if contested(sentence) {
                Share::add(&mut mistakes, !sentence.right);
            } else if is_fact(sentence) {
                assert!(sentence.right);
            } else if sentence.question.is_some() {
                right_tasks.add(sentence.right);
            } else {
                assert!(sentence.right);
            }
            if is_fact(sentence) {
                questions.add(sentence.question.is_some());
            }
        }
    }
    forum.is(config.forum_share);
    headings.is(config.heading_share);
    mistakes.is(config.mistake_share);
    rude.is(config.rude_share);
    casual.is(0.6);
    questions.is(0.5);
    right_tasks.is(FORUM_RIGHT);
}

#[test]
fn civil_documents_of_the_forum_differ_in_content_only() {
    let config = WorldConfig {
        civil_share: 0.35,
        ..WorldConfig::default()
    };
    let [mut rude, mut casual, mut civil, mut mistakes]: [Share; 4] = Default::default();
    for document in documents(&config, 20_000) {
        if document.register == Register::Atlas {
            continue;
        }
        let plain = |sentence: &Sentence| sentence.manner == Manner::PLAIN;
        // Of five uncivil sentences in a row, hardly ever is none casual or rude.
        if document.sentences.len() >= 5 {
            civil.add(document.sentences.iter().all(plain));
        }
        for sentence in &document.sentences {
            rude.add(sentence.manner.rude);
            casual.add(sentence.manner.casual);
            if contested(sentence) && document.sentences.iter().all(plain) {
                mistakes.add(!sentence.right);
            }
        }
    }
    civil.is(config.civil_share);
    rude.is(config.rude_share);
    casual.is(0.6);
    mistakes.is(config.mistake_share);
}

#[test]
fn without_coherence_the_shares_stay_and_the_link_goes() {
    let config = WorldConfig {
        coherent: false,
        ..WorldConfig::default()
    };
    let truth = 1.0 - config.forum_share * config.mistake_share;
    let [mut of_atlas, mut of_forum]: [Share; 2] = Default::default();
    for document in documents(&config, 20_000) {
        for sentence in document
            .sentences
            .iter()
            .filter(|sentence| contested(sentence))
        {
            match document.register {
                Register::Atlas => of_atlas.add(sentence.right),
                Register::Forum => of_forum.add(sentence.right),
            }
            let plain = document.register == Register::Atlas;
            assert!(!plain || sentence.manner == Manner::PLAIN);
        }
    }
    of_atlas.is(truth);
    of_forum.is(truth);
}

#[test]
fn a_document_stays_with_an_entity_for_a_while() {
    let [mut hops, mut bare, mut follow_ups]: [Share; 3] = Default::default();
    for document in documents(
        &WorldConfig {
            fact_share: 1.0,
            ..Default::default()
        },
        5000,
    ) {
        assert!((3..=6).contains(&document.sentences.len()));
        let entity = |sentence: &Sentence| match &sentence.task {
            Task::Fact { entity, .. } | Task::FollowUp { entity, .. } => entity.clone(),
            other => panic!("{other:?} in a document about facts"),
        };
        for pair in document.sentences.windows(2) {
            hops.add(entity(&pair[0]) != entity(&pair[1]));
            follow_ups.add(matches!(pair[1].task, Task::FollowUp { .. }));
        }
        for sentence in document.sentences.iter().filter(|s| s.question.is_some()) {
            bare.add(!sentence.answer.contains(&entity(sentence)));
        }
    }
    hops.is(HOP_SHARE * 59.0 / 60.0);
    bare.is(0.4);
    assert!(follow_ups.yes / follow_ups.all > 0.03);
}

#[test]
fn truth_in_the_text_is_what_the_judge_finds() {
    let world = World::new(&WorldConfig::default()).unwrap();
    for index in 0..3000 {
        for sentence in world.compose(index).sentences {
            let question = Reading::new(sentence.question.as_deref().unwrap_or(""));
            let found = sentence
                .task
                .check(&world.facts, &question, &sentence.answer)
                .unwrap();
            let right = match found.truth {
                Some(truth) => truth == crate::TruthShare::True,
                None => found.followed == Some(true),
            };
            assert_eq!(right, sentence.right, "{sentence:?}");
        }
    }
}

#[test]
fn a_document_is_keyed_by_its_index_and_is_lines_of_text() {
    let world = World::new(&WorldConfig::default()).unwrap();
    let corpus = world.corpus(200);
    assert_eq!(corpus[150], world.document(150));
    assert_ne!(corpus[0], corpus[1]);
    for row in &corpus {
        assert!(
            !row.text.ends_with('\n') && !row.text.contains("\n\n"),
            "{}",
            row.text
        );
        assert!(
            row.text.lines().all(|line| line == line.trim()),
            "{}",
            row.text
        );
    }
}
