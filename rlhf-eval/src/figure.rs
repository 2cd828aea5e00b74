//! A figure: a value, its interval and how much it rests on.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::interval::{Z95, wilson};

/// A measured value with its 95% interval and the number of observations behind it.
///
/// `low` and `high` are `None` (`null` in JSON) where the data say nothing about the spread, for
/// instance a mean over rows that all belong to one entity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Number of observations.
    pub n: usize,
}

/// Figures by name, in the order of their names.
pub type Metrics = BTreeMap<String, Figure>;

impl Figure {
    /// A figure with an interval.
    pub fn new(value: f64, low: f64, high: f64, n: usize) -> Self {
        Self {
            value,
            low: Some(low),
            high: Some(high),
            n,
        }
    }

    /// A figure whose spread is not known.
    pub fn bare(value: f64, n: usize) -> Self {
        Self {
            value,
            low: None,
            high: None,
            n,
        }
    }

    /// The share `successes / trials` of independent trials with Wilson's 95% interval; `None`
    /// without trials, or with more successes than trials.
    pub fn rate(successes: usize, trials: usize) -> Option<Self> {
        let interval = wilson(successes as u64, trials as u64, Z95)?;
        let value = successes as f64 / trials as f64;
        Some(Self::new(value, interval.low, interval.high, trials))
    }

    /// The figure of the opposite event: `1 − value`, with the ends of the interval swapped.
    pub fn complement(&self) -> Self {
        Self {
            value: 1.0 - self.value,
            low: self.high.map(|x| 1.0 - x),
            high: self.low.map(|x| 1.0 - x),
            n: self.n,
        }
    }

    /// Value and interval with `digits` decimals, such as `0.413 [0.380, 0.446]`.
    pub fn text(&self, digits: usize) -> String {
        match (self.low, self.high) {
            (Some(low), Some(high)) => {
                format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", self.value)
            }
            _ => format!("{:.digits$}", self.value),
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (n {})", self.text(3), self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_four_fields_and_null_for_an_unknown_interval() {
        let known = serde_json::to_string(&Figure::new(0.5, 0.25, 0.75, 8)).unwrap();
        assert_eq!(known, r#"{"value":0.5,"low":0.25,"high":0.75,"n":8}"#);
        let bare = serde_json::to_string(&Figure::bare(2.0, 1)).unwrap();
        assert_eq!(bare, r#"{"value":2.0,"low":null,"high":null,"n":1}"#);
        assert_eq!(
            serde_json::from_str::<Figure>(&bare).unwrap(),
            Figure::bare(2.0, 1)
        );
    }

    #[test]
    fn a_rate_needs_trials_and_can_be_turned_round() {
        assert_eq!(Figure::rate(0, 0), None);
        assert_eq!(Figure::rate(3, 2), None);
        let rate = Figure::rate(17, 84).unwrap();
        assert_eq!(rate.text(3), "0.202 [0.130, 0.300]");
        let other = Figure::rate(67, 84).unwrap();
        let turned = rate.complement();
        assert!((turned.value - other.value).abs() < 1e-12);
        assert!((turned.low.unwrap() - other.low.unwrap()).abs() < 1e-12);
        assert!((turned.high.unwrap() - other.high.unwrap()).abs() < 1e-12);
        assert_eq!(rate.to_string(), "0.202 [0.130, 0.300] (n 84)");
    }
}
