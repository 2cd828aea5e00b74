//! Root-mean-square normalisation.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// `x / sqrt(mean(x²) + eps) · weight`, the mean over the last axis (Zhang and Sennrich 2019).
///
/// `x` `[…, d]`, `weight` `[d]`; the result has the shape of `x`. Fast: a row gives the same bits
/// alone and in any batch.
///
/// # Panics
/// If `weight` is not as long as the last axis of `x`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if fast::runs_on(&x) && fast::runs_on(&weight) {
        check(&x, &weight);
        return fast::rms_norm::rms_norm(x, weight, eps);
    }
    plain::rms_norm(x, weight, eps)
}

/// `x + y` and its [`rms_norm`]: both `[…, d]`, `weight` `[d]`.
///
/// Fast: the sum is written where `y` lies, if nothing else holds it, and normalised in the same pass.
///
/// # Panics
/// If the shapes do not fit.
pub fn add_rms_norm<const D: usize>(
    x: Tensor<D>,
    y: Tensor<D>,
    weight: Tensor<1>,
    eps: f64,
) -> [Tensor<D>; 2] {
    check_sum(&x, &y);
    #[cfg(feature = "flex")]
    if fast::runs_on(&x) && fast::runs_on(&y) && fast::runs_on(&weight) {
        check(&x, &weight);
        return fast::add_rms_norm::add_rms_norm(x, y, weight, eps);
    }
    plain::add_rms_norm(x, y, weight, eps)
}

pub(crate) fn check_sum<const D: usize>(x: &Tensor<D>, y: &Tensor<D>) {
    assert_eq!(x.dims(), y.dims(), "rms_norm: x and y differ in shape");
}

pub(crate) fn check<const D: usize>(x: &Tensor<D>, weight: &Tensor<1>) {
    let (x, weight) = (x.dims(), weight.dims());
    assert!(D >= 1, "rms_norm: x has no axis");
    assert_eq!(
        x[D - 1],
        weight[0],
        "rms_norm: x {x:?} needs a weight as long as its last axis"
    );
}
