//! How long rows are.

use super::Size;
use serde::Serialize;
use std::collections::BTreeMap;

/// Up to this length every length is counted by itself, beyond it those that agree in their
/// first eight bits together, so that the counts take no more memory for longer rows.
const EXACT: usize = 1 << 16;

/// How long the rows of a file are: of pairs the longer one, prompt and answer together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lengths {
    /// What is counted: `tokens`, `tokens without a chat template` or `characters`.
    pub unit: String,
    /// The shortest.
    pub min: usize,
    /// Half of the rows are at most as long.
    pub p50: usize,
    /// 90 of 100 rows are at most as long.
    pub p90: usize,
    /// 99 of 100 rows are at most as long.
    pub p99: usize,
    /// The longest.
    pub max: usize,
    /// All rows together.
    pub total: usize,
    /// The length beyond which rows are cut, where one was given.
    pub max_length: Option<usize>,
    /// Rows beyond it whose answer fits: they lose the start of their prompt.
    pub truncated: Option<usize>,
    /// Rows whose answer alone is longer: they can't be used.
    pub too_long: Option<usize>,
}

/// Counts of lengths.
#[derive(Debug)]
pub(super) struct Histogram {
    counts: BTreeMap<usize, usize>,
    rows: usize,
    total: usize,
    max: usize,
    max_length: Option<usize>,
    truncated: usize,
    too_long: usize,
}

impl Histogram {
    pub(super) fn new(max_length: Option<usize>) -> Self {
        Self {
            counts: BTreeMap::new(),
            rows: 0,
            total: 0,
            max: 0,
            max_length,
            truncated: 0,
            too_long: 0,
        }
    }

    pub(super) fn add(&mut self, size: Size) {
        let length = size.whole;
        *self.counts.entry(rounded(length)).or_default() += 1;
        self.rows += 1;
        self.total += length;
        self.max = self.max.max(length);
        if let Some(limit) = self.max_length {
            self.too_long += usize::from(size.answer > limit);
            self.truncated += usize::from(length > limit && size.answer <= limit);
        }
    }

    /// The smallest length that at least this share of the rows doesn't go beyond.
    fn quantile(&self, share: f64) -> usize {
        let wanted = (share * self.rows as f64).ceil() as usize;
        let mut seen = 0;
        for (&length, &count) in &self.counts {
            seen += count;
            if seen >= wanted {
                return length.min(self.max);
            }
        }
        self.max
    }

    pub(super) fn lengths(&self, unit: &str) -> Option<Lengths> {
        let (&min, _) = self.counts.first_key_value()?;
        let limited = |count: usize| self.max_length.map(|_| count);
        Some(Lengths {
            unit: unit.to_owned(),
            min,
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            max: self.max,
            total: self.total,
            max_length: self.max_length,
            truncated: limited(self.truncated),
            too_long: limited(self.too_long),
        })
    }
}

/// The length, or the largest that is counted together with it.
fn rounded(length: usize) -> usize {
    if length < EXACT {
        return length;
    }
    let step = 1_usize << (length.ilog2() - 8);
    length.div_ceil(step).saturating_mul(step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn quantiles_are_those_of_the_sorted_lengths(
            lengths in proptest::collection::vec(prop_oneof![0..50_usize, 0..1_000_000_usize], 1..60),
            limit in 0..60_usize,
        ) {
            let mut histogram = Histogram::new(Some(limit));
            for &whole in &lengths {
                histogram.add(Size { whole, answer: whole / 2 });
            }
            let mut sorted = lengths.clone();
            sorted.sort_unstable();
            let found = histogram.lengths("tokens").unwrap();
            for (share, found) in [(0.5, found.p50), (0.9, found.p90), (0.99, found.p99)] {
                let exact = sorted[(share * sorted.len() as f64).ceil() as usize - 1];
                let apart = found.abs_diff(exact) as f64;
                prop_assert!(apart <= exact as f64 / 256.0, "{share}: {found} for {exact}");
            }
            prop_assert_eq!(found.max, sorted[sorted.len() - 1]);
            let too_long = lengths.iter().filter(|l| **l / 2 > limit).count();
            prop_assert_eq!(found.too_long, Some(too_long));
            let over = lengths.iter().filter(|l| **l > limit).count();
            prop_assert_eq!(found.truncated, Some(over - too_long));
        }
    }

    #[test]
    fn no_rows_have_no_lengths() {
        assert_eq!(Histogram::new(None).lengths("tokens"), None);
    }
}
