use super::*;
use crate::{AnnotationConfig, World};

fn world(annotation: AnnotationConfig) -> World {
    World::new(&WorldConfig {
        annotation,
        ..WorldConfig::default()
    })
    .unwrap()
}

/// A prompt with answers of all the kinds that a fine-tuned model gives.
fn prompt_and_answers(world: &World, index: usize) -> (Prompt, Vec<String>) {
    let prompts = world.training_prompts(index + 1);
    let prompt = prompts[index].clone();
    let task: crate::Task = serde_json::from_value(prompt.row["task"].clone()).unwrap();
    let mut rng = Rng::new(9).key(index);
    let answers = (0..4)
        .map(|_| {
            let right = rng.chance(0.4);
            let plain = world.own_answer(&task, right, &mut rng);
            crate::register::Manner::of_demonstrations(&mut rng).dress(&plain, &mut rng)
        })
        .collect();
    (prompt, answers)
}

#[test]
fn of_two_answers_the_better_one_wins_as_often_as_the_formula_says() {
    let world = world(AnnotationConfig::default());
    let people = world.annotators();
    let prompt = &world
        .training_prompts(200)
        .into_iter()
        .find(|p| p.row["task"]["family"] == "fact" && p.row["task"]["relation"] == "capital");
    let prompt = prompt.clone().unwrap();
    let task: crate::Task = serde_json::from_value(prompt.row["task"].clone()).unwrap();
    let mut rng = Rng::new(1);
    let mut whole = |right: bool| {
        let mut answers = std::iter::repeat_with(|| world.own_answer(&task, right, &mut rng));
        answers.find(|text| text.contains("capital")).unwrap()
    };
    let (good, bad) = (whole(true), whole(false));
    let n = 6000;
    let wins = (0..n)
        .filter(|&stream| {
            let ranks = people
                .rank(&prompt, &[bad.clone(), good.clone()], stream)
                .unwrap();
            ranks[1] < ranks[0]
        })
        .count();
    let share = wins as f64 / n as f64;
    let expected = people.preference_probability(2.0, 0.0);
    assert!((0.88..0.93).contains(&expected), "{expected}");
    assert!(
        (share - expected).abs() < 0.015,
        "{share} instead of {expected}"
    );
}

#[test]
fn equal_texts_rank_equal_and_a_stream_ranks_the_same_again() {
    let world = world(AnnotationConfig::default());
    let people = world.annotators();
    let prompt = &world.training_prompts(1)[0];
    let texts: Vec<String> = ["a", "b", "a", "c", "b"].map(str::to_owned).to_vec();
    for stream in 0..200 {
        let ranks = people.rank(prompt, &texts, stream).unwrap();
        assert_eq!((ranks[0], ranks[1]), (ranks[2], ranks[4]));
        let mut different = vec![ranks[0], ranks[1], ranks[3]];
        different.sort_unstable();
        assert_eq!(different, [0, 1, 2]);
        assert_eq!(people.rank(prompt, &texts, stream).unwrap(), ranks);
    }
    assert!(people.rank(prompt, &[], 0).unwrap().is_empty());
}

#[test]
fn two_people_agree_about_as_often_as_real_ones() {
    let world = world(AnnotationConfig::default());
    let people = world.annotators();
    let (mut agreed, mut all) = (0.0, 0.0);
    for index in 0..300 {
        let (prompt, answers) = prompt_and_answers(&world, index);
        let one = people.rank(&prompt, &answers, index as u64).unwrap();
        let two = people
            .rank(&prompt, &answers, 1_000_000 + index as u64)
            .unwrap();
        let gold: Vec<f32> = answers
            .iter()
            .map(|response| {
                let row = &prompt.row;
                let answer = Answer {
                    prompt: &prompt.messages,
                    response,
                    tokens: None,
                    row,
                };
                world.gold().assess(&answer).unwrap().gold
            })
            .collect();
        for a in 0..4 {
            for b in 0..a {
                if gold[a] != gold[b] {
                    agreed += f64::from(u8::from((one[a] < one[b]) == (two[a] < two[b])));
                    all += 1.0;
                }
            }
        }
    }
    let agreement: f64 = agreed / all;
    assert!((0.66..0.82).contains(&agreement), "{agreement}");
}

#[test]
fn the_ceiling_is_what_the_labels_allow_and_one_half_when_they_are_shuffled() {
    for shuffled_labels in [false, true] {
        let world = world(AnnotationConfig {
            shuffled_labels,
            ..Default::default()
        });
        let people = world.annotators();
        let (mut right, mut all, mut ceilings) = (0.0, 0.0, 0.0);
        for index in 0..300 {
            let (prompt, answers) = prompt_and_answers(&world, index);
            let of = |response: &'_ str| Answer {
                prompt: &prompt.messages,
                response: answers.iter().find(|a| *a == response).unwrap(),
                tokens: None,
                row: &prompt.row,
            };
            if answers[0] == answers[1] {
                continue;
            }
            let pair = (of(&answers[0]), of(&answers[1]));
            let gold = [pair.0, pair.1].map(|answer| world.gold().assess(&answer).unwrap().gold);
            ceilings += people.ceiling(&[pair]).unwrap();
            for stream in 0..20 {
                let ranks = people.rank(&prompt, &answers[..2], stream).unwrap();
                right += if gold[0] == gold[1] {
                    0.5
                } else {
                    f64::from(u8::from((ranks[0] < ranks[1]) == (gold[0] > gold[1])))
                };
                all += 1.0;
            }
        }
        let (accuracy, ceiling) = (right / all, ceilings / (all / 20.0));
        assert!((accuracy - ceiling).abs() < 0.02, "{accuracy} {ceiling}");
        assert_eq!(
            shuffled_labels,
            (ceiling - 0.5_f64).abs() < 1e-9,
            "{ceiling}"
        );
        assert_eq!(people.ceiling(&[]).unwrap(), 0.5);
    }
}

#[test]
fn a_row_of_another_world_is_an_error() {
    let world = world(AnnotationConfig::default());
    let prompt = Prompt {
        messages: vec![],
        row: serde_json::Map::new(),
    };
    assert!(
        world
            .annotators()
            .rank(&prompt, &["x".to_owned()], 0)
            .is_err()
    );
}
