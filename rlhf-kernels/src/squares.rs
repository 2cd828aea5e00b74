//! The sum of squares of a tensor, for global gradient norms.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// `Σ x²`, the same bits at any number of threads.
///
/// Fast: chunks of fixed size, summed in `f64` and joined in order. Plain: `f32` sums along the
/// last axis, joined in `f64`.
pub fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    #[cfg(feature = "flex")]
    if fast::runs_on(x) {
        return fast::squares::sum_of_squares(x);
    }
    plain::sum_of_squares(x)
}
