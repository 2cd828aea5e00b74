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

pub(crate) fn check<const D: usize>(gate: &Tensor<D>, up: &Tensor<D>) {
    assert_eq!(
        gate.dims(),
        up.dims(),
        "swiglu: gate and up differ in shape"
    );
}
