//! Elo ratings, updated match by match.

use serde::{Deserialize, Serialize};

use crate::error::EvalError;

/// One match.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Match {
    /// Number of the first player, from 0.
    pub first: usize,
    /// Number of the second player.
    pub second: usize,
    /// Score of the first: 1 won, ½ tied, 0 lost.
    pub score: f64,
}

/// The constants of the ratings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EloConfig {
    /// Points that a sure loss costs.
    pub k: f64,
    /// Rating of a player before the first match.
    pub start: f64,
}

impl Default for EloConfig {
    fn default() -> Self {
        Self {
            k: 32.0,
            start: 1000.0,
        }
    }
}

/// The ratings of all players after each match, in order: r_i += k·(score − 1/(1 + 10^((r_j −
/// r_i)/400))), and the opposite for j.
///
/// The result depends on the order of the matches; [`crate::bradley_terry_fit`] does not.
///
/// # Errors
/// A match that names a player outside `0..players`, or whose score is not in [0, 1].
pub fn elo_online(
    matches: &[Match],
    players: usize,
    config: EloConfig,
) -> Result<Vec<Vec<f64>>, EvalError> {
    let mut ratings = vec![config.start; players];
    let mut history = Vec::with_capacity(matches.len());
    for (index, m) in matches.iter().enumerate() {
        if let Some(player) = [m.first, m.second].into_iter().find(|&p| p >= players) {
            return Err(EvalError::NoSuchPlayer {
                index,
                player,
                players,
            });
        }
        if !(0.0..=1.0).contains(&m.score) {
            let what = "scores of matches (0 to 1)";
            return Err(EvalError::NotFinite {
                what,
                index,
                value: m.score,
            });
        }
        let gap = ratings[m.second] - ratings[m.first];
        let expected = 1.0 / (1.0 + 10f64.powf(gap / 400.0));
        let change = config.k * (m.score - expected);
        ratings[m.first] += change;
        ratings[m.second] -= change;
        history.push(ratings.clone());
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_ratings() {
        let matches = [
            (1, 0, 1.0),
            (2, 0, 0.5),
            (1, 2, 0.0),
            (2, 1, 0.5),
            (1, 0, 0.5),
        ]
        .map(|(first, second, score)| Match {
            first,
            second,
            score,
        });
        let history = elo_online(&matches, 3, EloConfig::default()).unwrap();
        let expected = [
            [984.0, 1016.0, 1000.0],
            [984.736307, 1016.0, 999.263693],
            [984.736307, 999.22986, 1016.03383],
            [984.736307, 1000.00311, 1015.26058],
            [985.438917, 999.300499, 1015.26058],
        ];
        for (got, expected) in history.iter().flatten().zip(expected.iter().flatten()) {
            assert!((got - expected).abs() < 1e-5, "{got} {expected}");
        }
    }

    #[test]
    fn strangers_and_impossible_scores_are_refused() {
        let play = |first, second, score| {
            elo_online(
                &[Match {
                    first,
                    second,
                    score,
                }],
                2,
                EloConfig::default(),
            )
        };
        assert!(
            play(0, 2, 1.0)
                .unwrap_err()
                .to_string()
                .contains("player 2")
        );
        assert!(play(0, 1, 1.5).is_err());
        assert!(play(0, 1, f64::NAN).is_err());
        assert!(play(0, 1, 1.0).is_ok());
    }
}
