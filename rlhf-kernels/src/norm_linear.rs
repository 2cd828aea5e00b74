//! Norms that nothing but matrices reads.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// [`linear`](crate::linear) of [`rms_norm`](crate::rms_norm): `x` `[n, in]`, `norm` `[in]`, weights
/// `[in, out]`, of any widths `out`, as of queries, keys and values.
///
/// Fast: the normed numbers are made again for the gradients instead of kept.
///
/// # Panics
/// If the shapes do not fit.
pub fn rms_norm_linear(
    x: Tensor<2>,
    norm: Tensor<1>,
    eps: f64,
    weights: [Tensor<2>; 3],
) -> [Tensor<2>; 3] {
    crate::rms_norm::check(&x, &norm);
    crate::linear::check(&x, &weights);
    #[cfg(feature = "flex")]
    if fast::runs_on(&x) && fast::runs_on(&norm) && weights.iter().all(fast::runs_on) {
        return fast::norm_linear::norm_linear(x, norm, eps, weights);
    }
    plain::rms_norm_linear(x, norm, eps, weights)
}

/// `x + y`, and the [`linear`](crate::linear) of its [`rms_norm`](crate::rms_norm): `x` and `y` `[n, in]`,
/// `norm` `[in]`, weights `[in, out]`, as of gate and up.
///
/// Fast: as [`rms_norm_linear`]; the sum is written where `y` lies, if nothing else holds it.
///
/// # Panics
/// If the shapes do not fit.
pub fn add_rms_norm_linear(
    x: Tensor<2>,
    y: Tensor<2>,
    norm: Tensor<1>,
    eps: f64,
    weights: [Tensor<2>; 2],
) -> (Tensor<2>, [Tensor<2>; 2]) {
    crate::rms_norm::check_sum(&x, &y);
    crate::rms_norm::check(&x, &norm);
    crate::linear::check(&x, &weights);
    #[cfg(feature = "flex")]
    if [&x, &y].into_iter().chain(&weights).all(fast::runs_on) && fast::runs_on(&norm) {
        let [sum, a, b] = fast::norm_linear::add_norm_linear([x, y], norm, eps, weights);
        return (sum, [a, b]);
    }
    plain::add_rms_norm_linear(x, y, norm, eps, weights)
}
