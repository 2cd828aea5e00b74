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

/// `y + x · weight`: `y` `[n, out]`, `x` `[n, in]`, `weight` `[in, out]`.
///
/// Fast: the product is added where `y` lies, if nothing else holds it.
///
/// # Panics
/// If the shapes do not fit.
pub fn add_linear(y: Tensor<2>, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    check_sum(&y, &x, &weight);
    #[cfg(feature = "flex")]
    if [&y, &x, &weight].into_iter().all(fast::runs_on) {
        return fast::add_linear::add_linear(y, x, weight);
    }
    plain::add_linear(y, x, weight)
}

pub(crate) fn check_sum(y: &Tensor<2>, x: &Tensor<2>, weight: &Tensor<2>) {
    check(x, std::slice::from_ref(weight));
    let (found, product) = (y.dims(), [x.dims()[0], weight.dims()[1]]);
    assert_eq!(
        found, product,
        "add_linear: y and the product differ in shape"
    );
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
