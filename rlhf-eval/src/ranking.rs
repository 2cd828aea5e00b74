//! Ratings of many players from comparisons of two.

use std::f64::consts::LN_10;

use serde::{Deserialize, Serialize};

use crate::error::EvalError;

/// Strengths that make the comparisons most likely.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BradleyTerryFit {
    /// Log-strength of each player; their mean is 0.
    pub log_strength: Vec<f64>,
    /// 1000 + (400/ln 10) · log-strength.
    pub elo: Vec<f64>,
    /// `win_probability[i][j]`: that i beats j.
    pub win_probability: Vec<Vec<f64>>,
    /// Log-likelihood at the maximum, pseudo-counts included.
    pub log_likelihood: f64,
}

/// Fits P(i beats j) = σ(s_i − s_j) by maximum likelihood (Bradley and Terry, 1952), with Newton
/// steps on the concave log-likelihood.
///
/// `wins[i][j]` is how often i beat j; `ties[i][j]` (symmetric) counts ½ to each; `pseudo_count` is
/// added to every ordered pair, a prior that keeps the strength of a player without wins finite.
///
/// # Errors
/// Tables that are not square, not of one size or hold a number that is negative or not finite; a
/// likelihood without a finite maximum, that is two players that no chain of wins connects.
pub fn bradley_terry_fit<R: AsRef<[f64]>, S: AsRef<[f64]>>(
    wins: &[R],
    ties: &[S],
    pseudo_count: f64,
) -> Result<BradleyTerryFit, EvalError> {
    let players = wins.len();
    if !(pseudo_count.is_finite() && pseudo_count >= 0.0) {
        let what = "pseudo_count";
        return Err(EvalError::NotFinite {
            what,
            index: 0,
            value: pseudo_count,
        });
    }
    if ties.len() != players {
        let what = "rows of wins and ties";
        return Err(EvalError::Unequal {
            what,
            left: players,
            right: ties.len(),
        });
    }
    let (wins, ties) = (square("wins", wins)?, square("ties", ties)?);
    let scores: Vec<Vec<f64>> = (0..players)
        .map(|i| {
            let won = |j: usize| wins[i][j] + 0.5 * ties[i][j] + pseudo_count;
            (0..players)
                .map(|j| if i == j { 0.0 } else { won(j) })
                .collect()
        })
        .collect();
    check_connected(&scores)?;
    let log_strength = maximise(&scores);
    let elo = log_strength
        .iter()
        .map(|s| 1000.0 + 400.0 / LN_10 * s)
        .collect();
    let beats = |&a: &f64| {
        log_strength
            .iter()
            .map(|b| log_sigmoid(a - b).exp())
            .collect()
    };
    let win_probability = log_strength.iter().map(beats).collect();
    let log_likelihood = log_likelihood(&scores, &log_strength);
    Ok(BradleyTerryFit {
        log_strength,
        elo,
        win_probability,
        log_likelihood,
    })
}

fn square<'a, R: AsRef<[f64]>>(
    what: &'static str,
    table: &'a [R],
) -> Result<Vec<&'a [f64]>, EvalError> {
    let expected = table.len();
    let rows = table.iter().map(AsRef::as_ref).enumerate();
    rows.map(|(row, values)| {
        let fine = values.len() == expected && values.iter().all(|x| x.is_finite() && *x >= 0.0);
        if fine {
            Ok(values)
        } else {
            Err(EvalError::BadTable {
                what,
                row,
                expected,
            })
        }
    })
    .collect()
}

/// A finite maximum exists exactly if wins lead from every player to every other (Ford, 1957).
fn check_connected(scores: &[Vec<f64>]) -> Result<(), EvalError> {
    let reached = |forward: bool| {
        let mut seen = vec![false; scores.len()];
        let mut open: Vec<usize> = (0..scores.len().min(1)).collect();
        while let Some(i) = open.pop() {
            if std::mem::replace(&mut seen[i], true) {
                continue;
            }
            let edge = |&j: &usize| {
                if forward {
                    scores[i][j] > 0.0
                } else {
                    scores[j][i] > 0.0
                }
            };
            open.extend((0..scores.len()).filter(edge));
        }
        seen
    };
    if let Some(to) = reached(true).iter().position(|seen| !seen) {
        return Err(EvalError::NoFiniteMaximum { from: 0, to });
    }
    match reached(false).iter().position(|seen| !seen) {
        Some(from) => Err(EvalError::NoFiniteMaximum { from, to: 0 }),
        None => Ok(()),
    }
}

fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

fn log_likelihood(scores: &[Vec<f64>], s: &[f64]) -> f64 {
    let row = |(i, won): (usize, &Vec<f64>)| -> f64 {
        let pairs = won.iter().zip(s).filter(|(w, _)| **w > 0.0);
        pairs.map(|(w, other)| w * log_sigmoid(s[i] - other)).sum()
    };
    scores.iter().enumerate().map(row).sum()
}

fn maximise(scores: &[Vec<f64>]) -> Vec<f64> {
    let n = scores.len();
    let mut s = vec![0.0; n];
    let mut value = log_likelihood(scores, &s);
    for _ in 0..200 {
        let step = newton_step(scores, &s);
        let size = step.iter().fold(0.0f64, |m, x| m.max(x.abs()));
        if size < 1e-13 {
            break;
        }
        // Halve until the likelihood does not fall: far from the maximum a full step overshoots.
        let mut scale = 1.0f64.min(4.0 / size);
        let better = loop {
            let tried: Vec<f64> = s.iter().zip(&step).map(|(a, d)| a + scale * d).collect();
            let v = log_likelihood(scores, &tried);
            if v >= value {
                break Some((tried, v));
            }
            scale *= 0.5;
            if scale < 1e-9 {
                break None;
            }
        };
        let Some((tried, v)) = better else { break };
        (s, value) = (tried, v);
    }
    let mean = s.iter().sum::<f64>() / n.max(1) as f64;
    s.iter().map(|x| x - mean).collect()
}

/// Solves (Laplacian + 11ᵀ) d = gradient: the added ones pick the step whose mean is 0.
fn newton_step(scores: &[Vec<f64>], s: &[f64]) -> Vec<f64> {
    let n = s.len();
    let mut matrix = vec![vec![1.0; n]; n];
    let mut gradient = vec![0.0; n];
    for i in 0..n {
        for j in 0..n {
            let played = scores[i][j] + scores[j][i];
            if i == j || played == 0.0 {
                continue;
            }
            let p = log_sigmoid(s[i] - s[j]).exp();
            gradient[i] += scores[i][j] - played * p;
            matrix[i][i] += played * p * (1.0 - p);
            matrix[i][j] -= played * p * (1.0 - p);
        }
    }
    solve(matrix, gradient)
}

/// Gaussian elimination with pivoting; a column without a pivot leaves its unknown at 0.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for column in 0..n {
        let size = |row: &usize| matrix[*row][column].abs();
        let pivot = (column..n)
            .max_by(|a, b| size(a).total_cmp(&size(b)))
            .unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let head = matrix[column].clone();
        if head[column] == 0.0 {
            continue;
        }
        for row in column + 1..n {
            let factor = matrix[row][column] / head[column];
            for (x, h) in matrix[row].iter_mut().zip(&head).skip(column) {
                *x -= factor * h;
            }
            right[row] -= factor * right[column];
        }
    }
    let mut x = vec![0.0; n];
    for row in (0..n).rev() {
        let known: f64 = (row + 1..n).map(|j| matrix[row][j] * x[j]).sum();
        let pivot = matrix[row][row];
        x[row] = if pivot == 0.0 {
            0.0
        } else {
            (right[row] - known) / pivot
        };
    }
    x
}

#[cfg(test)]
mod tests;
