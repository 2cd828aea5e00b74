//! Win rates of one model over another.

use serde::{Deserialize, Serialize};

/// How a comparison ended for the first of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The first was better.
    Win,
    /// Neither was better.
    Tie,
    /// The second was better.
    Loss,
}

impl Outcome {
    /// 1 for a win, ½ for a tie, 0 for a loss.
    pub fn score(self) -> f64 {
        match self {
            Self::Win => 1.0,
            Self::Tie => 0.5,
            Self::Loss => 0.0,
        }
    }

    /// The outcome for the other one.
    pub fn swapped(self) -> Self {
        match self {
            Self::Win => Self::Loss,
            Self::Tie => Self::Tie,
            Self::Loss => Self::Win,
        }
    }

    /// From two scores of the same judge: the greater wins, equal ones tie.
    pub fn of_scores(first: f64, second: f64) -> Self {
        if first > second {
            Self::Win
        } else if first < second {
            Self::Loss
        } else {
            Self::Tie
        }
    }
}

/// A win rate with what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WinRate {
    /// Comparisons won.
    pub wins: usize,
    /// Comparisons without a winner.
    pub ties: usize,
    /// Comparisons lost.
    pub losses: usize,
    /// (wins + ½ ties) / all; `None` of no comparisons.
    pub win_rate: Option<f64>,
    /// √(unbiased variance of the scores / n); `None` below two comparisons.
    pub standard_error: Option<f64>,
    /// Probability, if both were equally good, of a split of wins and losses at least as uneven as
    /// this one (exact two-sided sign test, ties left out); `None` if all tied.
    pub sign_test_p: Option<f64>,
}

/// The win rate over independent comparisons. For several comparisons about one entity take the
/// interval from [`crate::cluster_bootstrap`] over [`Outcome::score`] instead.
pub fn win_rate(outcomes: &[Outcome]) -> WinRate {
    let count = |what| outcomes.iter().filter(|&&o| o == what).count();
    let (wins, ties, losses) = (
        count(Outcome::Win),
        count(Outcome::Tie),
        count(Outcome::Loss),
    );
    let n = outcomes.len() as f64;
    let rate = (wins as f64 + 0.5 * ties as f64) / n;
    let squares = wins as f64 * (1.0 - rate).powi(2)
        + ties as f64 * (0.5 - rate).powi(2)
        + losses as f64 * rate.powi(2);
    WinRate {
        wins,
        ties,
        losses,
        win_rate: (n > 0.0).then_some(rate),
        standard_error: (n > 1.0).then(|| (squares / (n - 1.0) / n).sqrt()),
        sign_test_p: sign_test(wins, losses),
    }
}

/// The exact two-sided sign test: P(a fair coin gives a split at least this uneven in
/// `wins + losses` throws), at most 1; `None` without throws.
pub fn sign_test(wins: usize, losses: usize) -> Option<f64> {
    let n = wins + losses;
    if n == 0 {
        return None;
    }
    let fewer = wins.min(losses);
    // log C(n, i) − n log 2, so that thousands of throws neither overflow nor vanish.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for i in 1..=fewer {
        log_term += ((n - i + 1) as f64).ln() - (i as f64).ln();
        tail += log_term.exp();
    }
    Some((2.0 * tail).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(wins: usize, ties: usize, losses: usize) -> Vec<Outcome> {
        let repeat = |what, n| std::iter::repeat_n(what, n);
        repeat(Outcome::Win, wins)
            .chain(repeat(Outcome::Tie, ties))
            .chain(repeat(Outcome::Loss, losses))
            .collect()
    }

    #[test]
    fn known_win_rates() {
        let w = win_rate(&outcomes(9, 6, 5));
        assert_eq!((w.wins, w.ties, w.losses), (9, 6, 5));
        assert_eq!(w.win_rate, Some(0.6));
        assert!((w.standard_error.unwrap() - 0.0931891116).abs() < 1e-9);
        assert!((w.sign_test_p.unwrap() - 0.423950195).abs() < 1e-9);
        let even = win_rate(&outcomes(2, 2, 2));
        assert_eq!((even.win_rate, even.sign_test_p), (Some(0.5), Some(1.0)));
        assert!((even.standard_error.unwrap() - 0.182574186).abs() < 1e-9);
    }

    #[test]
    fn ties_single_and_nothing() {
        let ties = win_rate(&outcomes(0, 6, 0));
        let said = (ties.win_rate, ties.standard_error, ties.sign_test_p);
        assert_eq!(said, (Some(0.5), Some(0.0), None));
        let one = win_rate(&outcomes(1, 0, 0));
        assert_eq!((one.win_rate, one.standard_error), (Some(1.0), None));
        assert!((one.sign_test_p.unwrap() - 1.0).abs() < 1e-12);
        let none = win_rate(&[]);
        assert_eq!(
            (none.win_rate, none.standard_error, none.sign_test_p),
            (None, None, None)
        );
    }

    #[test]
    fn the_sign_test_stands_many_throws() {
        assert!((sign_test(5000, 5000).unwrap() - 1.0).abs() < 1e-9);
        // Normal approximation with continuity correction: z = 199/√10000 = 1.99, p = 0.0466
        assert!((sign_test(5100, 4900).unwrap() - 0.0466).abs() < 2e-4);
        assert!(sign_test(10_000, 0).unwrap() < 1e-300);
    }

    #[test]
    fn outcomes_are_spelled_in_lower_case() {
        assert_eq!(
            serde_json::to_string(&outcomes(1, 1, 1)).unwrap(),
            r#"["win","tie","loss"]"#
        );
        assert_eq!(Outcome::of_scores(1.0, 0.0).swapped(), Outcome::Loss);
        assert_eq!(Outcome::of_scores(1.0, 1.0).score(), 0.5);
    }
}
