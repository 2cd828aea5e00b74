//! Scores and comparisons of response rows.

use rlhf_data::Response;
use rlhf_reward::{Answer, Judge, RewardSource, Verdict};
use serde_json::Value;

use crate::error::EvalError;
use crate::figure::{Figure, Metrics};
use crate::suites::Resampling;
use crate::win_rate::Outcome;

/// The row as a reward source or judge sees it.
pub fn answer_of(row: &Response) -> Answer<'_> {
    Answer {
        prompt: &row.messages,
        response: &row.response,
        tokens: row.tokens.as_deref(),
        row: &row.row,
    }
}

/// The cluster that a row belongs to in intervals: the text of its field `field`, or the prompt
/// itself where the row has no such field. All samples of one prompt are one cluster at least.
pub fn cluster_of(row: &Response, field: &str) -> String {
    match row.row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(value) if !value.is_null() => value.to_string(),
        _ => row
            .messages
            .iter()
            .map(|m| format!("{:?}\u{1f}{}\u{1e}", m.role, m.content))
            .collect(),
    }
}

/// The source's score of each row.
///
/// # Errors
/// The source fails, returns another number of scores, or a score that is not finite.
pub fn score_responses(
    source: &dyn RewardSource,
    rows: &[Response],
) -> Result<Vec<f64>, EvalError> {
    let answers: Vec<Answer<'_>> = rows.iter().map(answer_of).collect();
    let scores = source.score(&answers)?;
    if scores.len() != rows.len() {
        let what = "responses and their scores";
        return Err(EvalError::Unequal {
            what,
            left: rows.len(),
            right: scores.len(),
        });
    }
    let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
    match scores.iter().enumerate().find(|(_, s)| !s.is_finite()) {
        Some((index, &value)) => Err(EvalError::NotFinite {
            what: "scores",
            index,
            value,
        }),
        None => Ok(scores),
    }
}

/// How each of `first` fares against the response of `second` to the same prompt.
///
/// Every pair is judged in both orders, because judges favour a position; if the two verdicts
/// disagree on the winner it is a tie, and if one of them is a tie the other decides.
///
/// # Errors
/// The lists differ in length or in a prompt, the judge fails or returns another number of
/// verdicts.
pub fn compare_responses(
    judge: &dyn Judge,
    first: &[Response],
    second: &[Response],
) -> Result<Vec<Outcome>, EvalError> {
    if first.len() != second.len() {
        let (left, right) = (first.len(), second.len());
        return Err(EvalError::Unequal {
            what: "responses of two models",
            left,
            right,
        });
    }
    if let Some(index) = (0..first.len()).find(|&i| first[i].messages != second[i].messages) {
        return Err(EvalError::OtherPrompt { index });
    }
    let judged = |a: &[Response], b: &[Response]| -> Result<Vec<Verdict>, EvalError> {
        let pairs: Vec<_> = a
            .iter()
            .zip(b)
            .map(|(a, b)| (answer_of(a), answer_of(b)))
            .collect();
        let verdicts = judge.compare(&pairs)?;
        if verdicts.len() != pairs.len() {
            let what = "pairs and their verdicts";
            return Err(EvalError::Unequal {
                what,
                left: pairs.len(),
                right: verdicts.len(),
            });
        }
        Ok(verdicts)
    };
    let forward = judged(first, second)?;
    let backward = judged(second, first)?;
    Ok(forward
        .into_iter()
        .zip(backward)
        .map(|(f, b)| of_both_orders(f, b.swapped()))
        .collect())
}

fn of_both_orders(one: Verdict, other: Verdict) -> Outcome {
    Outcome::of_scores(one.score_of_first() + other.score_of_first(), 1.0)
}

/// What responses look like whatever they say: `response_tokens` and `response_characters` (means),
/// `ended` (share whose `finish` is not `length`, among rows that say) and `empty` (share without
/// any text), clustered by `cluster_field`.
pub fn response_metrics(rows: &[Response], cluster_field: &str, resampling: Resampling) -> Metrics {
    let figure = |value: fn(&Response) -> Option<f64>| -> Option<Figure> {
        let known = rows
            .iter()
            .filter_map(|r| Some((cluster_of(r, cluster_field), value(r)?)));
        resampling.mean(&known.collect::<Vec<_>>())
    };
    let figures = [
        (
            "response_tokens",
            figure(|r| r.tokens.as_ref().map(|t| t.len() as f64)),
        ),
        (
            "response_characters",
            figure(|r| Some(r.response.chars().count() as f64)),
        ),
        (
            "ended",
            figure(|r| Some(share(r.row.get("finish")?.as_str()? != "length"))),
        ),
        (
            "empty",
            figure(|r| Some(share(r.response.trim().is_empty()))),
        ),
    ];
    let known = figures
        .into_iter()
        .filter_map(|(name, f)| Some((name.to_owned(), f?)));
    known.collect()
}

fn share(x: bool) -> f64 {
    f64::from(u8::from(x))
}

#[cfg(test)]
mod tests;
