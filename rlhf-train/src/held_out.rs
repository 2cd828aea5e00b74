//! What is held out of training to see when to stop.

use std::collections::HashSet;
use std::hash::Hash;

/// Takes the first rows out, a share of all, at least one and at most 256. Files repeat rows, and
/// mixtures by weight do so on purpose: copies of what is held out, by their key, are left out of the
/// rest, unless all of it are such copies.
pub fn hold_out<T, K: Hash + Eq>(rows: &mut Vec<T>, share: f64, key: impl Fn(&T) -> K) -> Vec<T> {
    let count = ((rows.len() as f64 * share) as usize).clamp(1, 256);
    let held_out: Vec<T> = rows.drain(..count.min(rows.len())).collect();
    let keys: HashSet<K> = held_out.iter().map(&key).collect();
    let is_new = |row: &T| !keys.contains(&key(row));
    if rows.iter().any(is_new) {
        rows.retain(is_new);
    }
    held_out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_what_is_held_out_are_not_trained_on() {
        let mut rows = vec![1, 2, 3, 1, 4, 2];
        assert_eq!(hold_out(&mut rows, 0.4, |row| *row), [1, 2]);
        assert_eq!(rows, [3, 4]);
        let mut copies = vec![7, 7, 7];
        assert_eq!(hold_out(&mut copies, 0.1, |row| *row), [7]);
        assert_eq!(copies, [7, 7]);
        let mut many: Vec<u32> = (0..10_000).collect();
        assert_eq!(hold_out(&mut many, 0.5, |row| *row).len(), 256);
        assert!(hold_out(&mut Vec::<u32>::new(), 0.5, |row| *row).is_empty());
    }
}
