//! Calibration of a reward model: does a margin mean what it says?

use serde::{Deserialize, Serialize};

use crate::error::EvalError;

/// How a reward model's margins (reward of the preferred answer − reward of the other) agree with
/// how often it is right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Expected calibration error: Σ over bins of share · |accuracy − mean confidence|.
    pub ece: f64,
    /// The largest |accuracy − mean confidence| of a bin that has pairs.
    pub max_calibration_error: f64,
    /// Pairs per bin of confidence.
    pub bin_counts: Vec<usize>,
    /// Share of margins above 0.
    pub accuracy: f64,
    /// Mean of max(p, 1 − p).
    pub mean_confidence: f64,
    /// Mean of (1 − p)².
    pub brier: f64,
    /// Mean of −log p.
    pub nll: f64,
}

/// Calibration over pairs, with p = σ(margin) the model's probability of the label: `bins` equal
/// bins (lo, hi] of confidence max(p, 1 − p) on [0, 1] (Guo et al., 2017).
///
/// `Ok(None)` of no pairs or no bins.
///
/// # Errors
/// A margin that is not finite.
pub fn reward_model_calibration(
    margins: &[f64],
    bins: usize,
) -> Result<Option<Calibration>, EvalError> {
    if let Some((index, &value)) = margins.iter().enumerate().find(|(_, m)| !m.is_finite()) {
        return Err(EvalError::NotFinite {
            what: "reward margins",
            index,
            value,
        });
    }
    if margins.is_empty() || bins == 0 {
        return Ok(None);
    }
    let n = margins.len() as f64;
    let mut found = vec![(0usize, 0usize, 0.0f64); bins];
    let (mut brier, mut nll) = (0.0, 0.0);
    for &margin in margins {
        let confidence = sigmoid(margin.abs());
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        let (count, right, sum) = &mut found[bin];
        *count += 1;
        *right += usize::from(margin > 0.0);
        *sum += confidence;
        brier += sigmoid(-margin).powi(2);
        nll += (-margin).max(0.0) + (-margin.abs()).exp().ln_1p();
    }
    let gaps = || {
        let filled = found.iter().filter(|(count, ..)| *count > 0);
        filled.map(|&(count, right, sum)| (count as f64, (right as f64 - sum).abs() / count as f64))
    };
    Ok(Some(Calibration {
        ece: gaps().map(|(count, gap)| count / n * gap).sum(),
        max_calibration_error: gaps().map(|(_, gap)| gap).fold(0.0, f64::max),
        bin_counts: found.iter().map(|(count, ..)| *count).collect(),
        accuracy: found.iter().map(|(_, right, _)| *right).sum::<usize>() as f64 / n,
        mean_confidence: found.iter().map(|(_, _, sum)| sum).sum::<f64>() / n,
        brier: brier / n,
        nll: nll / n,
    }))
}

/// 1/(1 + e^−x) without overflow.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        x.exp() / (1.0 + x.exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, expected: f64) {
        assert!(
            (got - expected).abs() <= 1e-8 * (1.0 + expected.abs()),
            "{got} {expected}"
        );
    }

    #[test]
    fn known_calibration() {
        let margins = [
            -2.4575, -1.8648, -2.4461, 0.3443, 2.2458, 0.1089, 2.4545, 1.5141, 0.0891, 0.5638,
            -2.3545, -0.8811, -2.1493, -0.8766, 5.4274, 1.0785, 0.1358, -1.2022, -3.2267, -0.8195,
            2.8968, 1.6447, 2.1518, -0.4656,
        ];
        let c = reward_model_calibration(&margins, 10).unwrap().unwrap();
        near(c.ece, 0.396068124);
        near(c.max_calibration_error, 0.482073304);
        assert_eq!(c.bin_counts, [0, 0, 0, 0, 0, 4, 3, 4, 5, 8]);
        near(c.accuracy, 0.541666667);
        near(c.mean_confidence, 0.785117373);
        near(c.brier, 0.357503526);
        near(c.nll, 1.04273218);
    }

    #[test]
    fn certain_and_wrong() {
        let margins = [
            -0.638, 4.876, -3.5944, 4.0116, 1.0875, 0.639, -1.4372, -2.7142, 6.6242, -7.8148, 80.0,
            -80.0,
        ];
        let c = reward_model_calibration(&margins, 15).unwrap().unwrap();
        near(c.ece, 0.437747817);
        near(c.max_calibration_error, 0.808020681);
        assert_eq!(c.bin_counts, [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1, 1, 0, 8]);
        near(c.brier, 0.42419057);
        near(c.nll, 8.13906683);
    }

    #[test]
    fn nothing_and_not_numbers() {
        assert_eq!(reward_model_calibration(&[], 10).unwrap(), None);
        assert_eq!(reward_model_calibration(&[1.0], 0).unwrap(), None);
        assert!(reward_model_calibration(&[1.0, f64::NAN], 10).is_err());
        let tie = reward_model_calibration(&[0.0], 10).unwrap().unwrap();
        assert_eq!(
            (tie.accuracy, tie.mean_confidence, tie.brier),
            (0.0, 0.5, 0.25)
        );
    }
}
