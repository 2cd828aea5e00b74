//! The sum of squares in `f64` over chunks of fixed size.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::jobs::CHUNK;
use super::simd::simd;
use super::storage::{dense, into_flex, numbers};

simd! { fn chunk_sum(x: &[f32]) -> f64 {
    let mut sums = [0f64; 16];
    let mut chunks = x.chunks_exact(16);
    for x in chunks.by_ref() {
        for i in 0..16 {
            sums[i] += f64::from(x[i]) * f64::from(x[i]);
        }
    }
    let rest: f64 = chunks.remainder().iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    sums.iter().sum::<f64>() + rest
} }

/// `Σ x²` of a flex tensor.
pub(crate) fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    let x = dense(into_flex(x.clone()));
    let x = numbers(&x);
    if x.len() <= CHUNK {
        return chunk_sum(x);
    }
    let parts: Vec<f64> = x.par_chunks(CHUNK).map(chunk_sum).collect();
    parts.iter().sum()
}
