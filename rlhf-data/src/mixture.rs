//! Rows of several files in the proportions that were asked for.

use crate::data_set::DataSet;
use rlhf_random::Rng;

/// The rows of all files, each file's as often as its weight says: as many copies of each as the
/// weight has wholes, and of one more copy the part that is left, drawn by the set's seed and the
/// file's place. Copies of a file follow each other, the rows in each in their order, so that equal
/// files, weights and seed give equal rows. `counts` are the rows of each file; `mark` gets a row
/// and the number of its copy, from 0.
///
/// Of a file with rows at least one is left.
pub(crate) fn mix<T: Clone>(
    data: &DataSet,
    counts: &[usize],
    rows: Vec<T>,
    mark: impl Fn(&mut T, usize),
) -> Vec<T> {
    if data.files().iter().all(|file| file.weight == 1.0) {
        return rows;
    }
    let mut mixed = Vec::new();
    let mut rest = rows.into_iter();
    for (place, (file, &count)) in data.files().iter().zip(counts).enumerate() {
        let rows: Vec<T> = rest.by_ref().take(count).collect();
        let whole = file.weight.floor() as usize;
        let part = ((file.weight - file.weight.floor()) * count as f64).round() as usize;
        let part = part.max(usize::from(whole == 0)).min(count);
        let mut drawn: Vec<usize> = (0..count).collect();
        let mut rng = Rng::new(data.seed).key("mixture").key(place as u64);
        rng.shuffle(&mut drawn);
        drawn.truncate(part);
        drawn.sort_unstable();
        for copy in 0..=whole {
            let all = copy < whole;
            let chosen: &mut dyn Iterator<Item = usize> = if all {
                &mut (0..count)
            } else {
                &mut drawn.iter().copied()
            };
            for index in chosen {
                let mut row = rows[index].clone();
                mark(&mut row, copy);
                mixed.push(row);
            }
        }
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    fn mixed(weights: &[f64], counts: &[usize], seed: u64) -> Vec<(usize, usize, usize)> {
        let paths: Vec<PathBuf> = weights.iter().map(|w| format!("gone:{w}").into()).collect();
        let data = DataSet::open::<&str>(&paths, &[], seed).unwrap();
        let rows = counts.iter().enumerate();
        let rows = rows.flat_map(|(file, &n)| (0..n).map(move |row| (file, row, 0)));
        mix(&data, counts, rows.collect(), |row, copy| row.2 = copy)
    }

    #[test]
    fn a_weight_says_how_often_a_row_counts() {
        let found = mixed(&[2.0, 0.5], &[3, 4], 1);
        let count = |file: usize, row: usize| {
            let same = found.iter().filter(|r| (r.0, r.1) == (file, row));
            same.count()
        };
        assert!((0..3).all(|row| count(0, row) == 2));
        assert!((0..4).all(|row| count(1, row) <= 1));
        assert_eq!(found.len(), 8);
        assert_eq!(mixed(&[2.0, 0.5], &[3, 4], 1), found);
        let other = |seed| mixed(&[0.5], &[100], seed);
        assert_ne!(other(1), other(2));
        assert_eq!(mixed(&[0.001], &[5], 0).len(), 1);
        assert!(mixed(&[0.5], &[0], 0).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn each_row_is_there_its_weight_rounded_down_or_up(
            weights in proptest::collection::vec(0.01..4.0, 1..4),
            n in 1..40_usize,
            seed: u64,
        ) {
            let counts = vec![n; weights.len()];
            let found = mixed(&weights, &counts, seed);
            for (file, weight) in weights.iter().enumerate() {
                let of_file = found.iter().filter(|r| r.0 == file).count() as f64;
                prop_assert!((of_file - (weight * n as f64).max(1.0)).abs() <= 1.0);
                for row in 0..n {
                    let times = found.iter().filter(|r| (r.0, r.1) == (file, row)).count() as f64;
                    prop_assert!(times == weight.floor() || times == weight.floor() + 1.0);
                }
            }
        }
    }
}
