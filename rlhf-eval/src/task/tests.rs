use rlhf_data::Message;
use rlhf_reward::{RewardError, ScoreJudge};
use serde_json::json;

use super::*;

fn response(prompt: &str, text: &str, row: Value) -> Response {
    let Value::Object(row) = row else {
        panic!("a row is an object")
    };
    let tokens = Some(vec![1; text.len()]);
    Response {
        messages: vec![Message::user(prompt)],
        response: text.to_owned(),
        tokens,
        row,
    }
}

/// Longer is better.
struct Length;

impl RewardSource for Length {
    fn name(&self) -> &str {
        "length"
    }
    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        Ok(answers.iter().map(|a| a.response.len() as f32).collect())
    }
}

/// Prefers whatever comes first, except that `clear` always wins.
struct Positional;

impl Judge for Positional {
    fn compare(&self, pairs: &[(Answer<'_>, Answer<'_>)]) -> Result<Vec<Verdict>, RewardError> {
        let second = |b: &Answer<'_>| b.response == "clear";
        let verdict = |second| {
            if second {
                Verdict::Second
            } else {
                Verdict::First
            }
        };
        Ok(pairs.iter().map(|(_, b)| verdict(second(b))).collect())
    }
}

/// Returns one number too few.
struct Short;

impl RewardSource for Short {
    fn name(&self) -> &str {
        "short"
    }
    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        Ok(vec![0.0; answers.len() - 1])
    }
}

#[test]
fn scores_are_checked() {
    let rows = [
        response("p", "four", json!({})),
        response("p", "sixsix", json!({})),
    ];
    assert_eq!(score_responses(&Length, &rows).unwrap(), [4.0, 6.0]);
    assert!(matches!(
        score_responses(&Short, &rows),
        Err(EvalError::Unequal { right: 1, .. })
    ));
}

#[test]
fn a_judge_that_favours_a_position_gives_ties() {
    let first = ["a", "clear", "b"].map(|t| response("p", t, json!({})));
    let second = ["x", "y", "clear"].map(|t| response("p", t, json!({})));
    let outcomes = compare_responses(&Positional, &first, &second).unwrap();
    assert_eq!(outcomes, [Outcome::Tie, Outcome::Win, Outcome::Loss]);
    let by_length = compare_responses(&ScoreJudge(Length), &first, &second).unwrap();
    assert_eq!(by_length, [Outcome::Tie, Outcome::Win, Outcome::Loss]);
}

#[test]
fn one_tie_leaves_the_decision_to_the_other_order() {
    assert_eq!(of_both_orders(Verdict::First, Verdict::Tie), Outcome::Win);
    assert_eq!(of_both_orders(Verdict::Tie, Verdict::Second), Outcome::Loss);
    assert_eq!(
        of_both_orders(Verdict::First, Verdict::Second),
        Outcome::Tie
    );
}

#[test]
fn only_answers_to_the_same_prompts_compare() {
    let a = [response("p", "a", json!({})), response("q", "a", json!({}))];
    let b = [response("p", "a", json!({})), response("r", "a", json!({}))];
    let error = compare_responses(&Positional, &a, &b).unwrap_err();
    assert!(
        matches!(error, EvalError::OtherPrompt { index: 1 }),
        "{error}"
    );
    assert!(compare_responses(&Positional, &a, &b[..1]).is_err());
}

#[test]
fn shapes_of_responses_and_clusters() {
    let rows = [
        response("p", "abcd", json!({"entity": "Peru", "finish": "eos"})),
        response("p", "  ", json!({"entity": "Peru", "finish": "length"})),
        response("q", "ab", json!({"entity": 7})),
    ];
    assert_eq!(cluster_of(&rows[0], "entity"), "Peru");
    assert_eq!(cluster_of(&rows[2], "entity"), "7");
    assert_eq!(cluster_of(&rows[0], "none"), cluster_of(&rows[1], "none"));
    assert_ne!(cluster_of(&rows[0], "none"), cluster_of(&rows[2], "none"));
    let m = response_metrics(
        &rows,
        "entity",
        Resampling {
            resamples: 50,
            seed: 0,
        },
    );
    assert_eq!((m["ended"].value, m["ended"].n), (0.5, 2));
    assert_eq!((m["empty"].n, m["response_characters"].n), (3, 3));
    assert!((m["response_tokens"].value - 8.0 / 3.0).abs() < 1e-12);
}
