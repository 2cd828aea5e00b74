//! The order in which rows are seen: shuffled anew each epoch, resumable anywhere.

use rlhf_random::Rng;
use serde::{Deserialize, Serialize};

/// Draws the indices of `len` rows without end. Each epoch is a permutation that depends on the
/// seed and the epoch's number alone, so that the four saved numbers are the whole state: a
/// sampler read back goes on as the saved one would have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sampler {
    seed: u64,
    len: usize,
    epoch: u64,
    /// How many of the epoch's indices have been drawn.
    position: usize,
    #[serde(skip)]
    order: Vec<usize>,
}

impl PartialEq for Sampler {
    fn eq(&self, other: &Self) -> bool {
        let state = |s: &Self| (s.seed, s.len, s.epoch, s.position);
        state(self) == state(other)
    }
}

impl Sampler {
    /// A sampler at the start of epoch 0.
    pub fn new(seed: u64, len: usize) -> Self {
        Self {
            seed,
            len,
            epoch: 0,
            position: 0,
            order: Vec::new(),
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of whole passes over the rows so far.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many rows of the current epoch have been drawn.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The next index.
    ///
    /// # Panics
    /// If there are no rows.
    #[expect(
        clippy::should_implement_trait,
        reason = "there is always a next index"
    )]
    pub fn next(&mut self) -> usize {
        assert!(self.len > 0, "an index of no rows was asked for");
        if self.order.len() != self.len {
            self.order = self.permutation();
        }
        let index = self.order[self.position.min(self.len - 1)];
        self.position += 1;
        if self.position >= self.len {
            self.epoch += 1;
            self.position = 0;
            self.order.clear();
        }
        index
    }

    /// The next `n` indices; they may reach into the next epoch.
    ///
    /// # Panics
    /// If there are no rows and `n` is not 0.
    pub fn next_batch(&mut self, n: usize) -> Vec<usize> {
        (0..n).map(|_| self.next()).collect()
    }

    fn permutation(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.len).collect();
        Rng::new(self.seed)
            .key("shuffle")
            .key(self.epoch)
            .shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_is_another_permutation() {
        let mut sampler = Sampler::new(3, 50);
        let (first, second) = (sampler.next_batch(50), sampler.next_batch(50));
        assert_ne!(first, second);
        for mut epoch in [first.clone(), second] {
            epoch.sort_unstable();
            assert!(epoch.into_iter().eq(0..50));
        }
        assert_eq!((sampler.epoch(), sampler.position()), (2, 0));
        assert_eq!(Sampler::new(3, 50).next_batch(50), first);
        assert_ne!(Sampler::new(4, 50).next_batch(50), first);
    }

    #[test]
    fn a_saved_sampler_goes_on_where_it_was() {
        let mut sampler = Sampler::new(1, 7);
        sampler.next_batch(10);
        let text = serde_json::to_string(&sampler).unwrap();
        assert_eq!(text, r#"{"seed":1,"len":7,"epoch":1,"position":3}"#);
        let mut back: Sampler = serde_json::from_str(&text).unwrap();
        assert_eq!(back, sampler);
        assert_eq!(back.next_batch(30), sampler.next_batch(30));
    }

    #[test]
    fn one_row_is_seen_every_time() {
        assert_eq!(Sampler::new(0, 1).next_batch(3), [0, 0, 0]);
        assert!(Sampler::new(0, 0).is_empty());
        assert!(Sampler::new(0, 0).next_batch(0).is_empty());
    }
}
