//! Products of rows with matrices.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// `x · weight` for each weight: `x` `[n, in]`, weights `[in, out]`, of any widths `out`.
///
/// Fast: products are written into memory that was not zeroed before; the gradient by `x` is one
/// buffer that all products add to, and what is frozen costs nothing.
///
/// # Panics
/// If the shapes do not fit.
pub fn linear<const N: usize>(x: Tensor<2>, weights: [Tensor<2>; N]) -> [Tensor<2>; N] {
    check(&x, &weights);
    #[cfg(feature = "flex")]
    if fast::runs_on(&x) && weights.iter().all(fast::runs_on) {
        return fast::linear::linear(x, weights);
    }
    plain::linear(x, weights)
}

pub(crate) fn check(x: &Tensor<2>, weights: &[Tensor<2>]) {
    let [_, width] = x.dims();
    for weight in weights {
        let [rows, out] = weight.dims();
        assert_eq!(
            rows, width,
            "linear: rows of {width} numbers by a {rows}×{out} matrix"
        );
    }
}
