//! The gated product of a SwiGLU feed-forward layer.

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// `silu(gate) · up`, element by element (Shazeer 2020); both of one shape.
///
/// Fast: an element gives the same bits wherever it stands.
///
/// # Panics
/// If the shapes differ.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if fast::runs_on(&gate) && fast::runs_on(&up) {
        check(&gate, &up);
        return fast::swiglu::swiglu(gate, up);
    }
    plain::swiglu(gate, up)
}

/// `swiglu(gate, up) · weight`: gate and up `[n, in]`, `weight` `[in, out]`.
///
/// Fast: the gated numbers are made again for the gradients instead of kept.
///
/// # Panics
/// If the shapes do not fit.
pub fn swiglu_linear(gate: Tensor<2>, up: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    check(&gate, &up);
    crate::linear::check(&up, std::slice::from_ref(&weight));
    #[cfg(feature = "flex")]
    if [&gate, &up, &weight].into_iter().all(fast::runs_on) {
        return fast::swiglu_linear::swiglu_linear(gate, up, weight);
    }
    plain::swiglu_linear(gate, up, weight)
}

pub(crate) fn check<const D: usize>(gate: &Tensor<D>, up: &Tensor<D>) {
    assert_eq!(
        gate.dims(),
        up.dims(),
        "swiglu: gate and up differ in shape"
    );
}
