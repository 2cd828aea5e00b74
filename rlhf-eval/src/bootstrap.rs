//! Intervals by bootstrap over clusters.
//!
//! Answers about one entity are not independent: a model that knows the capital of one country
//! answers all phrasings and samples of that question alike. So whole entities are drawn with
//! replacement, each with all its rows, and the 2.5% and 97.5% quantiles of the resampled
//! statistic bound the interval (Efron, 1979; the percentile method).

use std::collections::BTreeMap;

use rlhf_random::Rng;

use crate::figure::Figure;

/// Sum and count of the rows of one cluster, for up to two groups of rows.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    first: (f64, f64),
    second: (f64, f64),
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.first.0 += other.first.0;
        self.first.1 += other.first.1;
        self.second.0 += other.second.0;
        self.second.1 += other.second.1;
    }
}

/// Mean over all rows with an interval by resampling clusters; `values` are (cluster, value).
///
/// The mean weighs rows equally, so a cluster counts by its number of rows. The result depends on
/// the values and the seed alone, not on the order of clusters. The interval is absent with fewer
/// than two clusters or without resamples. `None` without rows or if a value is not finite.
pub fn cluster_bootstrap<K: Ord>(
    values: &[(K, f64)],
    resamples: usize,
    seed: u64,
) -> Option<Figure> {
    resampled(values, &[], resamples, seed, |t| t.first.0 / t.first.1)
}

/// mean(`first`) − mean(`second`), resampling the same clusters on both sides, so that what an
/// entity does to both models alike cancels. `n` is the number of rows of the smaller side.
///
/// `None` if a side has no rows or a value is not finite.
pub fn paired_difference<K: Ord>(
    first: &[(K, f64)],
    second: &[(K, f64)],
    resamples: usize,
    seed: u64,
) -> Option<Figure> {
    if second.is_empty() {
        return None;
    }
    resampled(first, second, resamples, seed, |t| {
        t.first.0 / t.first.1 - t.second.0 / t.second.1
    })
}

/// mean(`first`) / mean(`second`), resampling the same clusters on both sides: how many times as
/// truthful one model is as another. `n` is the number of rows of the smaller side.
///
/// A resample whose denominator is 0 counts as infinite; if that happens so often that the upper
/// end is infinite, the interval is absent. `None` if a side has no rows, a value is not finite or
/// mean(`second`) is 0.
pub fn paired_ratio<K: Ord>(
    first: &[(K, f64)],
    second: &[(K, f64)],
    resamples: usize,
    seed: u64,
) -> Option<Figure> {
    if second.is_empty() {
        return None;
    }
    resampled(first, second, resamples, seed, |t| {
        (t.first.0 / t.first.1) / (t.second.0 / t.second.1)
    })
}

fn resampled<K: Ord>(
    first: &[(K, f64)],
    second: &[(K, f64)],
    resamples: usize,
    seed: u64,
    statistic: impl Fn(&Totals) -> f64,
) -> Option<Figure> {
    if first.is_empty() || first.iter().chain(second).any(|(_, x)| !x.is_finite()) {
        return None;
    }
    let mut by_cluster: BTreeMap<&K, Totals> = BTreeMap::new();
    for (cluster, value) in first {
        let t = by_cluster.entry(cluster).or_default();
        t.first = (t.first.0 + value, t.first.1 + 1.0);
    }
    for (cluster, value) in second {
        let t = by_cluster.entry(cluster).or_default();
        t.second = (t.second.0 + value, t.second.1 + 1.0);
    }
    let clusters: Vec<Totals> = by_cluster.into_values().collect();
    let whole = total(clusters.iter());
    let value = statistic(&whole);
    if !value.is_finite() {
        return None;
    }
    let n = if second.is_empty() {
        first.len()
    } else {
        first.len().min(second.len())
    };
    let spread = quantiles(&clusters, resamples, seed, statistic);
    Some(match spread {
        Some((low, high)) => Figure::new(value, low.min(value), high.max(value), n),
        None => Figure::bare(value, n),
    })
}

fn total<'a>(clusters: impl Iterator<Item = &'a Totals>) -> Totals {
    clusters.fold(Totals::default(), |mut sum, t| {
        sum.add(t);
        sum
    })
}

/// The 2.5% and 97.5% quantiles of the statistic over resamples; `None` where they are not known.
fn quantiles(
    clusters: &[Totals],
    resamples: usize,
    seed: u64,
    statistic: impl Fn(&Totals) -> f64,
) -> Option<(f64, f64)> {
    if clusters.len() < 2 || resamples == 0 {
        return None;
    }
    let mut rng = Rng::new(seed).key("bootstrap");
    let mut drawn: Vec<f64> = (0..resamples)
        .map(|_| {
            let picks = (0..clusters.len()).map(|_| &clusters[rng.below(clusters.len())]);
            statistic(&total(picks))
        })
        .filter(|x| !x.is_nan())
        .collect();
    drawn.sort_by(f64::total_cmp);
    let low = quantile(&drawn, 0.025)?;
    let high = quantile(&drawn, 0.975)?;
    (low.is_finite() && high.is_finite()).then_some((low, high))
}

/// The `p` quantile of sorted values, linear between neighbours; `None` of nothing.
pub(crate) fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = p * last as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(last);
    let part = at - below as f64;
    if part == 0.0 {
        return Some(sorted[below]);
    }
    Some(sorted[below] + part * (sorted[above] - sorted[below]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 40 entities, each all right or all wrong in 8 rows.
    fn rows(right: usize) -> Vec<(usize, f64)> {
        (0..320)
            .map(|i| (i / 8, if i / 8 < right { 1.0 } else { 0.0 }))
            .collect()
    }

    #[test]
    fn clusters_widen_the_interval() {
        let clustered = cluster_bootstrap(&rows(16), 2000, 1).unwrap();
        let independent: Vec<(usize, f64)> = rows(16)
            .into_iter()
            .enumerate()
            .map(|(i, (_, x))| (i, x))
            .collect();
        let independent = cluster_bootstrap(&independent, 2000, 1).unwrap();
        assert_eq!((clustered.value, clustered.n), (0.4, 320));
        // √(0.4·0.6/40) = 0.0775 and √(0.4·0.6/320) = 0.0274
        let half = |f: Figure| (f.high.unwrap() - f.low.unwrap()) / 2.0 / 1.96;
        assert!((half(clustered) - 0.0775).abs() < 0.008, "{clustered}");
        assert!((half(independent) - 0.0274).abs() < 0.003, "{independent}");
    }

    #[test]
    fn what_both_sides_share_cancels() {
        let low: Vec<(usize, f64)> = (0..60).map(|i| (i, f64::from(i as u32) / 60.0)).collect();
        let high: Vec<(usize, f64)> = low.iter().map(|&(k, x)| (k, x + 0.25)).collect();
        let d = paired_difference(&high, &low, 500, 3).unwrap();
        assert!((d.value - 0.25).abs() < 1e-12);
        assert!(d.high.unwrap() - d.low.unwrap() < 1e-9, "{d}");
        let r = paired_ratio(&rows(20), &rows(10), 2000, 3).unwrap();
        assert_eq!((r.value, r.n), (2.0, 320));
        assert!(r.low.unwrap() > 1.2 && r.high.unwrap() < 4.5, "{r}");
    }

    #[test]
    fn nothing_known_is_said_so() {
        assert_eq!(cluster_bootstrap::<u8>(&[], 100, 0), None);
        assert_eq!(cluster_bootstrap(&[(1, f64::NAN)], 100, 0), None);
        assert_eq!(
            cluster_bootstrap(&[(1, 0.0), (1, 1.0)], 100, 0),
            Some(Figure::bare(0.5, 2))
        );
        assert_eq!(paired_ratio(&rows(5), &rows(0), 100, 0), None);
        assert_eq!(paired_ratio(&rows(5), &[], 100, 0), None);
        assert_eq!(paired_difference(&rows(5), &[], 100, 0), None);
        // A denominator that is 0 in more than one resample of forty has no upper bound.
        let r = paired_ratio(&rows(20), &rows(1), 1000, 0).unwrap();
        assert_eq!((r.value, r.low, r.high), (20.0, None, None));
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.975), Some(3.0));
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.125), Some(0.5));
        assert_eq!(quantile(&[0.0, 1.0], 1.0), Some(1.0));
    }
}
