//! Attention of one token over a cache.

use std::ops::Range;

use crate::fast::simd::{exp, max, simd};
use crate::fast::vector::{Vector, with_vectors};

/// Keys and values of one row and layer, and how they are read.
#[derive(Clone, Copy, Debug)]
pub struct CachedHeads<'a> {
    /// `[kv_heads, head_dim, capacity]`: the same number of neighbouring keys side by side.
    pub keys: &'a [f32],
    /// `[kv_heads, capacity, head_dim]`.
    pub values: &'a [f32],
    /// Width of a head.
    pub head_dim: usize,
    /// Places for tokens.
    pub capacity: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Scores are kept within ± this.
    pub softcap: Option<f32>,
}

/// Keys of a block: scores are computed for whole blocks, and those past the last key not used.
const BLOCK: usize = 16;
/// Sums of a score that run side by side, so that no addition waits for the one before.
const CHAINS: usize = 4;

/// `softmax(q·kᵀ · scale) · v` over the tokens in `visible`: `q` and `out` `[heads, head_dim]`.
/// `scores` is memory to work in.
///
/// # Panics
/// If the sizes do not fit, or nothing is visible.
pub fn attend(
    q: &[f32],
    cached: &CachedHeads<'_>,
    visible: Range<usize>,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let (width, capacity) = (cached.head_dim, cached.capacity);
    let of_head = width * capacity;
    let kv_heads = cached.keys.len() / of_head;
    let heads = q.len() / width;
    assert!(
        q.len() == heads * width
            && out.len() == q.len()
            && cached.keys.len() == kv_heads * of_head
            && cached.values.len() == cached.keys.len()
            && heads.is_multiple_of(kv_heads)
            && visible.start < visible.end
            && visible.end <= capacity,
        "decode::attend: the sizes do not fit"
    );
    let first = visible.start / BLOCK * BLOCK;
    scores.resize((visible.end - first).next_multiple_of(2 * BLOCK), 0.0);
    let seen = visible.start - first..visible.end - first;
    let group = heads / kv_heads;
    let both = q.chunks_exact(width).zip(out.chunks_exact_mut(width));
    for (head, (q, out)) in both.enumerate() {
        let at = head / group * of_head;
        let keys = &cached.keys[at..at + of_head];
        score(q, &keys[first..], capacity, &mut scores[..seen.end]);
        let factor = soften(scores, seen.start, seen.end, cached);
        let values = &cached.values[at + visible.start * width..at + visible.end * width];
        mix(&scores[seen.clone()], values, factor, out);
    }
}

/// `q · keys` for `N` blocks of neighbouring keys, the first `scores.len()` of them.
#[inline(always)]
fn score_blocks<V: Vector, const N: usize>(
    q: &[f32],
    keys: &[f32],
    capacity: usize,
    scores: &mut [f32],
) {
    let registers = BLOCK / V::LEN;
    let last = q.len().saturating_sub(1) * capacity + N * BLOCK;
    assert!(last <= keys.len() && scores.len() <= N * BLOCK);
    for register in 0..registers {
        let mut sums = [[V::zero(); N]; CHAINS];
        let mut dims = 0;
        let at = |d: usize, n: usize| {
            // SAFETY: `d` is below the number of dimensions and `n` below `N`, so the register's
            // numbers lie within `keys` by the assertion.
            unsafe {
                V::load(
                    keys.as_ptr()
                        .add(d * capacity + n * BLOCK + register * V::LEN),
                )
            }
        };
        let mut chunks = q.chunks_exact(CHAINS);
        for q in chunks.by_ref() {
            for (chain, sums) in sums.iter_mut().enumerate() {
                let q = V::splat(q[chain]);
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = q.mul_add(at(dims + chain, n), *sum);
                }
            }
            dims += CHAINS;
        }
        for (chain, (q, sums)) in chunks.remainder().iter().zip(&mut sums).enumerate() {
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = V::splat(*q).mul_add(at(dims + chain, n), *sum);
            }
        }
        let one = V::splat(1.0);
        let [a, b, c, d] = sums;
        for (n, (((a, b), c), d)) in a.into_iter().zip(b).zip(c).zip(d).enumerate() {
            let sum = one.mul_add(one.mul_add(a, b), one.mul_add(c, d));
            let mut numbers = [0f32; BLOCK];
            // SAFETY: a register holds at most a block.
            unsafe { sum.store(numbers.as_mut_ptr()) };
            let from = n * BLOCK + register * V::LEN;
            let to = (from + V::LEN).min(scores.len());
            if from < to {
                scores[from..to].copy_from_slice(&numbers[..to - from]);
            }
        }
    }
}

#[inline(always)]
fn score_all<V: Vector>(q: &[f32], keys: &[f32], capacity: usize, scores: &mut [f32]) {
    for (i, scores) in scores.chunks_mut(4 * BLOCK).enumerate() {
        let keys = &keys[i * 4 * BLOCK..];
        match scores.len().div_ceil(BLOCK) {
            1 => score_blocks::<V, 1>(q, keys, capacity, scores),
            2 => score_blocks::<V, 2>(q, keys, capacity, scores),
            3 => score_blocks::<V, 3>(q, keys, capacity, scores),
            _ => score_blocks::<V, 4>(q, keys, capacity, scores),
        }
    }
}

/// `q` with every key whose score has a place.
fn score(q: &[f32], keys: &[f32], capacity: usize, scores: &mut [f32]) {
    with_vectors!(score_all(q: &[f32], keys: &[f32], capacity: usize, scores: &mut [f32]));
}

simd! {
/// Scores of keys `from..to` to unnormalised weights, all others to 0; the factor that normalises
/// them. There are whole pairs of blocks.
fn soften(scores: &mut [f32], from: usize, to: usize, cached: &CachedHeads<'_>) -> f32 {
    let factor = cached.scale;
    for score in scores[from..to].iter_mut() {
        *score *= factor;
    }
    if let Some(cap) = cached.softcap {
        for score in scores[from..to].iter_mut() {
            *score = cap * (*score / cap).tanh();
        }
    }
    scores[..from].fill(f32::NEG_INFINITY);
    scores[to..].fill(f32::NEG_INFINITY);
    let largest = max(scores);
    let mut sums = [0f32; 2 * BLOCK];
    for x in scores.chunks_exact_mut(2 * BLOCK) {
        for i in 0..2 * BLOCK {
            x[i] = exp(x[i] - largest);
            sums[i] += x[i];
        }
    }
    1.0 / sums.iter().sum::<f32>()
}
}

/// `N` registers of `factor · weights · values`, from the start of each value on; two sums run side
/// by side.
#[inline(always)]
fn mix_registers<V: Vector, const N: usize>(
    weights: &[f32],
    values: &[f32],
    width: usize,
    factor: f32,
    out: &mut [f32],
) {
    let last = weights.len().saturating_sub(1) * width + N * V::LEN;
    assert!(last <= values.len() && N * V::LEN <= out.len());
    let at = |key: usize, n: usize| {
        // SAFETY: `key` is below the number of weights and `n` below `N`, so the register's numbers
        // lie within `values` by the assertion.
        unsafe { V::load(values.as_ptr().add(key * width + n * V::LEN)) }
    };
    let mut sums = [[V::zero(); N]; 2];
    let mut pairs = weights.chunks_exact(2);
    for (pair, weights) in pairs.by_ref().enumerate() {
        for (side, sums) in sums.iter_mut().enumerate() {
            let weight = V::splat(weights[side]);
            for (n, sum) in sums.iter_mut().enumerate() {
                *sum = weight.mul_add(at(2 * pair + side, n), *sum);
            }
        }
    }
    if let [weight] = pairs.remainder() {
        for (n, sum) in sums[0].iter_mut().enumerate() {
            *sum = V::splat(*weight).mul_add(at(weights.len() - 1, n), *sum);
        }
    }
    let (one, factor) = (V::splat(1.0), V::splat(factor));
    let [even, odd] = sums;
    for (n, (even, odd)) in even.into_iter().zip(odd).enumerate() {
        let sum = factor.mul_add(one.mul_add(even, odd), V::zero());
        // SAFETY: the numbers lie within `out` by the assertion.
        unsafe { sum.store(out.as_mut_ptr().add(n * V::LEN)) };
    }
}

#[inline(always)]
fn mix_all<V: Vector>(weights: &[f32], values: &[f32], factor: f32, out: &mut [f32]) {
    let width = out.len();
    let mut at = 0;
    while width - at >= 4 * V::LEN {
        mix_registers::<V, 4>(weights, &values[at..], width, factor, &mut out[at..]);
        at += 4 * V::LEN;
    }
    while width - at >= V::LEN {
        mix_registers::<V, 1>(weights, &values[at..], width, factor, &mut out[at..]);
        at += V::LEN;
    }
    // The same two sums, so that a register's width changes no bit.
    for (d, out) in out.iter_mut().enumerate().skip(at) {
        let of_dim = values.iter().skip(d).step_by(width);
        let mut sums = [0f32; 2];
        for (key, (weight, value)) in weights.iter().zip(of_dim).enumerate() {
            sums[key % 2] = weight.mul_add(*value, sums[key % 2]);
        }
        *out = factor * (sums[0] + sums[1]);
    }
}

fn mix(weights: &[f32], values: &[f32], factor: f32, out: &mut [f32]) {
    with_vectors!(mix_all(weights: &[f32], values: &[f32], factor: f32, out: &mut [f32]));
}
