//! Agreement of raters beyond chance.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::EvalError;

/// Cohen's κ with its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CohenKappa {
    /// Share of items on which both raters agree.
    pub observed: f64,
    /// Share expected if both kept their frequencies but rated independently.
    pub by_chance: f64,
    /// (observed − by_chance)/(1 − by_chance); `None` if both only ever used one same category.
    pub kappa: Option<f64>,
}

/// Cohen's κ (1960) of two raters over the same items, categories unordered; `None` of no items.
///
/// # Errors
/// The raters rated different numbers of items.
pub fn cohen_kappa<T: Ord>(rater_a: &[T], rater_b: &[T]) -> Result<Option<CohenKappa>, EvalError> {
    if rater_a.len() != rater_b.len() {
        let (left, right) = (rater_a.len(), rater_b.len());
        return Err(EvalError::Unequal {
            what: "ratings of two raters",
            left,
            right,
        });
    }
    let n = rater_a.len();
    if n == 0 {
        return Ok(None);
    }
    let mut counts: BTreeMap<&T, (usize, usize)> = BTreeMap::new();
    for (a, b) in rater_a.iter().zip(rater_b) {
        counts.entry(a).or_default().0 += 1;
        counts.entry(b).or_default().1 += 1;
    }
    let agreed = rater_a.iter().zip(rater_b).filter(|(a, b)| a == b).count();
    // Whole numbers keep "by chance 1" exact.
    let expected: usize = counts.values().map(|&(a, b)| a * b).sum();
    let observed = agreed as f64 / n as f64;
    let by_chance = expected as f64 / (n * n) as f64;
    let kappa = (expected < n * n).then(|| (observed - by_chance) / (1.0 - by_chance));
    Ok(Some(CohenKappa {
        observed,
        by_chance,
        kappa,
    }))
}

/// Krippendorff's α with the number of ratings it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KrippendorffAlpha {
    /// Ratings in units that at least two raters rated.
    pub pairable_values: usize,
    /// 1 − observed/expected disagreement; `None` with fewer than two categories among them.
    pub alpha: Option<f64>,
}

/// Krippendorff's α for unordered categories, any number of raters and missing ratings:
/// `ratings[rater][unit]`, `None` = missing.
///
/// From the matrix of coincidences (Krippendorff, 2011, "Computing Krippendorff's
/// alpha-reliability"): within a unit of m ratings each ordered pair counts 1/(m − 1); units with
/// fewer than two ratings drop out.
///
/// # Errors
/// The raters' lists differ in length.
pub fn krippendorff_alpha_nominal<T: Ord, R: AsRef<[Option<T>]>>(
    ratings: &[R],
) -> Result<KrippendorffAlpha, EvalError> {
    let units = ratings.first().map_or(0, |r| r.as_ref().len());
    if let Some(other) = ratings.iter().find(|r| r.as_ref().len() != units) {
        let right = other.as_ref().len();
        return Err(EvalError::Unequal {
            what: "units of two raters",
            left: units,
            right,
        });
    }
    let mut totals: BTreeMap<&T, usize> = BTreeMap::new();
    let mut agreement = 0.0;
    let mut pairable_values = 0;
    for unit in 0..units {
        let mut counts: BTreeMap<&T, usize> = BTreeMap::new();
        for value in ratings.iter().filter_map(|r| r.as_ref()[unit].as_ref()) {
            *counts.entry(value).or_default() += 1;
        }
        let m: usize = counts.values().sum();
        if m < 2 {
            continue;
        }
        pairable_values += m;
        for (value, count) in counts {
            *totals.entry(value).or_default() += count;
            agreement += (count * (count - 1)) as f64 / (m - 1) as f64;
        }
    }
    if totals.len() < 2 {
        return Ok(KrippendorffAlpha {
            pairable_values,
            alpha: None,
        });
    }
    let n = pairable_values as f64;
    let by_chance: f64 = totals.values().map(|&c| (c * (c - 1)) as f64).sum::<f64>() / (n - 1.0);
    let alpha = 1.0 - (n - agreement) / (n - by_chance);
    Ok(KrippendorffAlpha {
        pairable_values,
        alpha: Some(alpha),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [u8; 20] = [1, 2, 2, 2, 0, 2, 1, 1, 2, 1, 1, 1, 0, 0, 0, 2, 1, 2, 0, 0];
    const B: [u8; 20] = [1, 2, 2, 2, 0, 2, 0, 0, 2, 1, 1, 1, 2, 0, 0, 2, 1, 2, 2, 0];

    #[test]
    fn known_kappas() {
        let k = cohen_kappa(&A, &B).unwrap().unwrap();
        assert!((k.observed - 0.8).abs() < 1e-12);
        assert!((k.by_chance - 0.335).abs() < 1e-12);
        assert!((k.kappa.unwrap() - 0.69924812).abs() < 1e-8);
        assert_eq!(cohen_kappa(&A, &A).unwrap().unwrap().kappa, Some(1.0));
        let worse = cohen_kappa(&[0, 0, 1, 1], &[1, 1, 0, 0]).unwrap().unwrap();
        assert_eq!(worse.kappa, Some(-1.0));
        assert_eq!(
            cohen_kappa(&[1, 1, 1], &[1, 1, 1]).unwrap().unwrap().kappa,
            None
        );
        assert_eq!(cohen_kappa::<u8>(&[], &[]).unwrap(), None);
        assert!(cohen_kappa(&A, &B[1..]).is_err());
    }

    /// Ratings written as digits, `.` = missing.
    fn rater(text: &str) -> Vec<Option<char>> {
        text.chars().map(|c| (c != '.').then_some(c)).collect()
    }

    #[test]
    fn known_alphas() {
        let full = [
            rater("1303030322"),
            rater("1303330123"),
            rater("1303230322"),
        ];
        let full = krippendorff_alpha_nominal(&full).unwrap();
        assert_eq!(full.pairable_values, 30);
        assert!((full.alpha.unwrap() - 0.677777778).abs() < 1e-8);
        let part = [
            rater("23..030322"),
            rater(".30.3...2."),
            rater("...323.3.2"),
        ];
        let part = krippendorff_alpha_nominal(&part).unwrap();
        assert_eq!(part.pairable_values, 13);
        assert!((part.alpha.unwrap() - 0.617021277).abs() < 1e-8);
    }

    #[test]
    fn one_category_or_none_is_undefined() {
        let same = krippendorff_alpha_nominal(&[rater("111"), rater("111")]).unwrap();
        assert_eq!((same.pairable_values, same.alpha), (6, None));
        let none = krippendorff_alpha_nominal::<char, Vec<_>>(&[]).unwrap();
        assert_eq!((none.pairable_values, none.alpha), (0, None));
        assert!(krippendorff_alpha_nominal(&[rater("11"), rater("1")]).is_err());
    }
}
