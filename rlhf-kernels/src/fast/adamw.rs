//! AdamW over slices, in place where the parameter is the only owner of its numbers.

use burn::tensor::Tensor;

use super::jobs::{CHUNK, run};
use super::simd::simd;
use super::storage::{dense, from_flex, into_flex, numbers, numbers_mut};
use crate::adamw::{AdamWStep, Coefficients, Moments};

simd! { fn update_chunk(
    coefficients: Coefficients, param: &mut [f32], grad: &[f32], first: &mut [f32], second: &mut [f32],
) {
    coefficients.update(param, grad, first, second);
} }

/// The update of plain flex tensors; shapes and moments were checked.
pub(crate) fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: &mut Moments,
    step: &AdamWStep,
) -> Tensor<D> {
    let (mut param, grad) = (dense(into_flex(param)), dense(into_flex(grad)));
    let (grad, coefficients) = (numbers(&grad), Coefficients::new(step));
    let changing = numbers_mut(&mut param)
        .chunks_mut(CHUNK)
        .zip(moments.first.chunks_mut(CHUNK))
        .zip(moments.second.chunks_mut(CHUNK));
    run(
        changing.zip(grad.chunks(CHUNK)),
        |(((param, first), second), grad)| {
            update_chunk(coefficients, param, grad, first, second);
        },
    );
    from_flex(param)
}
