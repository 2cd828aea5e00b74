//! How good a reward model is at the embedded world's held-out prompts, and what choosing by it
//! alone brings.

use crate::error::CliError;
use crate::world_eval::{Answered, cluster, is_of_comparison};
use rlhf_eval::{Observations, answer_of};
use rlhf_reward::{Answer, RewardModel, RewardSource};
use rlhf_world::World;
use serde_json::Value;

/// `accuracy`: how often a reward model orders two answers to a held-out prompt as the gold score
/// does; `ceiling`: how often the annotators would; `truth_over_mistake`: how often it scores the
/// truth higher than the popular mistake in the same words.
/// `answers` are a language model's, the samples of a prompt one after the other, with what the
/// reward model gives each; those to the prompts on which models are compared are left out, as
/// everywhere.
///
/// # Errors
/// If the reward model can't score.
pub(crate) fn observe_reward(
    world: &World,
    reward: &RewardModel<'_>,
    (answers, scores): (&[Answered], &[f32]),
) -> Result<Observations, CliError> {
    let annotators = world.annotators();
    let (mut agree, mut allowed) = (Vec::new(), Vec::new());
    let scored = answers.iter().zip(scores.iter().copied());
    let scored: Vec<(&Answered, f32)> = scored.filter(|(a, _)| !is_of_comparison(a)).collect();
    for of_prompt in scored.chunk_by(|a, b| a.0.prompt == b.0.prompt) {
        for pair in of_prompt.chunks_exact(2) {
            let [(first, first_score), (second, second_score)] = [pair[0], pair[1]];
            let apart = first.assessment.gold - second.assessment.gold;
            if apart == 0.0 {
                continue;
            }
            let right = (first_score - second_score) * apart.signum() > 0.0;
            agree.push((cluster(&first.row), f64::from(u8::from(right))));
            let probability = annotators.preference_probability(apart.abs(), 0.0);
            allowed.push((cluster(&first.row), probability));
        }
    }
    let mut found = Observations::new();
    found.add("accuracy", agree);
    found.add("ceiling", allowed);
    found.add("truth_over_mistake", truth_over_mistake(world, reward)?);
    Ok(found)
}

/// How often a truth about a held-out entity scores higher than the popular mistake in the same
/// words.
fn truth_over_mistake(
    world: &World,
    reward: &RewardModel<'_>,
) -> Result<Vec<(String, f64)>, CliError> {
    let pairs = world.matched_pairs();
    let answers: Vec<Answer<'_>> = pairs
        .iter()
        .flat_map(|pair| {
            [&pair.truth, &pair.mistake].map(|response| Answer {
                prompt: &pair.prompt.messages,
                response,
                tokens: None,
                row: &pair.prompt.row,
            })
        })
        .collect();
    let scores = reward.score(&answers)?;
    let rows = pairs.iter().zip(scores.chunks_exact(2));
    let rows = rows.map(|(pair, scores)| {
        let entity = pair.prompt.row.get("task").and_then(|t| t.get("entity"));
        let entity = entity.and_then(Value::as_str).unwrap_or_default();
        let higher = f64::from(u8::from(scores[0] > scores[1]));
        (entity.to_owned(), higher)
    });
    Ok(rows.collect())
}

/// What a reward model gives each answer.
///
/// # Errors
/// If it can't score one.
pub(crate) fn scores(reward: &RewardModel<'_>, answers: &[Answered]) -> Result<Vec<f32>, CliError> {
    let answers: Vec<Answer<'_>> = answers.iter().map(|a| answer_of(&a.row)).collect();
    Ok(reward.score(&answers)?)
}

/// Of each prompt's answers the one with the highest score; of equals the first.
pub(crate) fn best_of(answers: Vec<Answered>, scores: &[f32]) -> Vec<Answered> {
    let mut best: Vec<(Answered, f32)> = Vec::new();
    for (answer, &score) in answers.into_iter().zip(scores) {
        match best.last_mut() {
            Some((kept, highest)) if kept.prompt == answer.prompt => {
                if score > *highest {
                    (*kept, *highest) = (answer, score);
                }
            }
            _ => best.push((answer, score)),
        }
    }
    best.into_iter().map(|(answer, _)| answer).collect()
}
