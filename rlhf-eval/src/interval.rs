//! Wilson's score interval of a rate.

use serde::{Deserialize, Serialize};

/// The two-sided 95% quantile of the standard normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// An interval of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Middle of the score interval: the rate drawn towards ½.
    pub centre: f64,
}

/// Wilson's score interval (E. B. Wilson, 1927) of `successes` in `trials` independent trials,
/// clipped to `[0, 1]`; `z` is the normal quantile, [`Z95`] for 95%.
///
/// With p = successes/trials: centre = (p + z²/2n) / (1 + z²/n), half width =
/// z·√(p(1−p)/n + z²/4n²) / (1 + z²/n). The interval always holds the rate itself.
///
/// `None` without trials, with more successes than trials, or with a `z` that is negative or not
/// finite.
pub fn wilson(successes: u64, trials: u64, z: f64) -> Option<Interval> {
    if trials == 0 || successes > trials || !z.is_finite() || z < 0.0 {
        return None;
    }
    let n = trials as f64;
    let p = successes as f64 / n;
    let scale = 1.0 + z * z / n;
    let centre = (p + z * z / (2.0 * n)) / scale;
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    // At p = 0 and p = 1 an end coincides with the rate: min and max keep rounding out of it.
    let low = (centre - half).clamp(0.0, 1.0).min(p);
    let high = (centre + half).clamp(0.0, 1.0).max(p);
    Some(Interval { low, high, centre })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(successes: u64, trials: u64, z: f64, low: f64, high: f64, centre: f64) {
        let i = wilson(successes, trials, z).unwrap();
        for (got, expected) in [(i.low, low), (i.high, high), (i.centre, centre)] {
            assert!(
                (got - expected).abs() < 1e-8,
                "{successes}/{trials}: {got} {expected}"
            );
        }
    }

    #[test]
    fn known_intervals() {
        check(17, 84, 1.95996398, 0.130374568, 0.300418128, 0.215396348);
        check(0, 12, 1.95996398, 0.0, 0.242494007, 0.121247003);
        check(15, 15, 1.95996398, 0.796116699, 1.0, 0.898058349);
        check(1, 1, 1.95996398, 0.206549314, 1.0, 0.603274657);
        check(39, 50, 2.5758293, 0.601666289, 0.89272854, 0.747197414);
    }

    #[test]
    fn there_is_no_rate_without_trials() {
        assert_eq!(wilson(0, 0, Z95), None);
        assert_eq!(wilson(2, 1, Z95), None);
        assert_eq!(wilson(1, 2, f64::NAN), None);
        assert_eq!(wilson(1, 2, -1.0), None);
    }
}
