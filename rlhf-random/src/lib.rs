//! Random streams keyed by what they are for.
//!
//! A stream is named by a seed and a path of keys: `Rng::new(seed).key("shuffle").key(epoch)`.
//! The numbers depend on the name alone, never on a thread, a process, a device or on what was
//! drawn before, so that weights, shuffles, samples and simulated people repeat exactly.
//!
//! The generator is xoshiro256++ (Blackman and Vigna, 2019, "Scrambled linear pseudorandom number
//! generators"), its state filled by SplitMix64. It is not for secrets.
//!
//! ```
//! use rlhf_random::Rng;
//!
//! let mut order: Vec<usize> = (0..5).collect();
//! Rng::new(7).key("shuffle").key(3u64).shuffle(&mut order);
//! let mut again: Vec<usize> = (0..5).collect();
//! Rng::new(7).key("shuffle").key(3u64).shuffle(&mut again);
//! assert_eq!(order, again);
//! ```

mod key;

pub use key::Key;
use serde::{Deserialize, Serialize};

/// A deterministic stream of random numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rng {
    name: u64,
    state: [u64; 4],
}

impl Rng {
    /// The root stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self::named(key::mix(seed ^ 0x9e37_79b9_7f4a_7c15))
    }

    fn named(name: u64) -> Self {
        let mut s = name;
        let state = [(); 4].map(|()| {
            s = s.wrapping_add(0x9e37_79b9_7f4a_7c15);
            key::mix(s)
        });
        Self { name, state }
    }

    /// The child stream of this one's name under a further key; what this stream has already
    /// produced plays no part.
    pub fn key(&self, key: impl Key) -> Self {
        Self::named(key.fold(self.name))
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let out = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let t = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ t, d.rotate_left(45)];
        out
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// A whole number in `0..n`, each equally likely.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "a number below 0 was asked for");
        let n = n as u64;
        // Lemire's multiplication, rejecting the few values that would favour small results.
        let threshold = n.wrapping_neg() % n;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(n);
            if wide as u64 >= threshold {
                return (wide >> 64) as usize;
            }
        }
    }

    /// A draw from the standard normal distribution (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Puts the items in a random order, every order equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// One of the items.
    ///
    /// # Panics
    /// If there are none.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// An index drawn in proportion to the weights, which need not sum to 1. An index of weight 0
    /// is never drawn.
    ///
    /// # Panics
    /// If no weight is positive.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let total: f64 = weights.iter().sum();
        let last = weights.iter().rposition(|&w| w > 0.0);
        let last = last.expect("at least one weight is positive");
        let mut left = self.uniform() * total;
        for (i, &w) in weights.iter().enumerate().take(last) {
            if w > 0.0 && left < w {
                return i;
            }
            left -= w;
        }
        last
    }
}

/// The name of the stream that row `row` of step `step` draws from under `seed`: what a
/// generation request carries, so that a row's result depends on nothing else.
pub fn stream(seed: u64, step: u64, row: u64) -> u64 {
    row.fold(step.fold(Rng::new(seed).name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_the_same_numbers_and_another_name_others() {
        let root = Rng::new(7);
        let mut used = root.clone();
        used.next_u64();
        let draws = |mut r: Rng| [r.next_u64(), r.next_u64()];
        assert_eq!(
            draws(root.key("a").key(1u64)),
            draws(used.key("a").key(1u64))
        );
        assert_ne!(
            draws(root.key("a").key(1u64)),
            draws(root.key("a").key(2u64))
        );
        assert_ne!(draws(root.key("a")), draws(root.key("b")));
        assert_ne!(
            draws(root.key("ab").key("c")),
            draws(root.key("a").key("bc"))
        );
        assert_ne!(stream(1, 2, 3), stream(1, 3, 2));
    }

    #[test]
    fn the_state_is_saved_and_restored() {
        let mut r = Rng::new(3).key("state");
        r.next_u64();
        let text = serde_json::to_string(&r).unwrap();
        let mut back: Rng = serde_json::from_str(&text).unwrap();
        assert_eq!(r.next_u64(), back.next_u64());
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut r = Rng::new(1).key("moments");
        let n = 200_000;
        let (mut u, mut z, mut z2) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            u += r.uniform();
            let x = r.normal();
            z += x;
            z2 += x * x;
        }
        let n = f64::from(n);
        assert!((u / n - 0.5).abs() < 0.005);
        assert!((z / n).abs() < 0.01);
        assert!((z2 / n - 1.0).abs() < 0.02);
    }

    #[test]
    fn weights_of_zero_are_never_drawn() {
        let mut r = Rng::new(5);
        let mut seen = [0usize; 5];
        for _ in 0..10_000 {
            seen[r.weighted(&[0.0, 1.0, 0.0, 3.0, 0.0])] += 1;
        }
        assert_eq!([seen[0], seen[2], seen[4]], [0, 0, 0]);
        let share = seen[3] as f64 / 10_000.0;
        assert!((share - 0.75).abs() < 0.02, "{share}");
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut r = Rng::new(9);
        let mut seen = [0usize; 6];
        for _ in 0..60_000 {
            seen[r.below(6)] += 1;
        }
        assert!(
            seen.iter().all(|&n| (9_600..10_400).contains(&n)),
            "{seen:?}"
        );
    }
}
