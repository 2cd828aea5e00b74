//! Rotary positions: the backward is the rotation by the opposite angle.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::jobs::run;
use super::simd::simd;
use super::storage::{FlexFloat, dense, numbers, numbers_mut};
use crate::RopeTables;

/// Tokens a task takes.
const TOKENS: usize = 64;

#[backend_extension(Flex, Autodiff)]
pub(crate) trait Rope: Backend {
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

pub(crate) fn rope(x: Tensor<4>, tables: &RopeTables) -> Tensor<4> {
    let (cos, sin) = (
        tables.cos.clone().into_dispatch(),
        tables.sin.clone().into_dispatch(),
    );
    Tensor::from_dispatch(<Dispatch as Rope>::rope(x.into_dispatch(), cos, sin))
}

impl Rope for Flex {
    fn rope(x: FlexFloat, cos: FlexFloat, sin: FlexFloat) -> FlexFloat {
        rotate(x, dense(cos), dense(sin), 1.0)
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 1> for Step {
    type State = (FlexFloat, FlexFloat);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (cos, sin) = ops.state;
        if let [Some(node)] = ops.parents {
            grads.register::<Flex>(node.id, rotate(grad, cos, sin, -1.0));
        }
    }
}

impl<C: CheckpointStrategy> Rope for Autodiff<Flex, C> {
    fn rope(
        x: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let (cos, sin) = (dense(cos.into_primitive()), dense(sin.into_primitive()));
        let out = Flex::rope(x.into_primitive(), cos.clone(), sin.clone());
        match Backward::<Flex, 1>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((cos, sin), out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}

simd! { fn rotate_token(x: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let half = cos.len();
    let sin = &sin[..half];
    for x in x.chunks_exact_mut(2 * half) {
        let (x0, x1) = x.split_at_mut(half);
        for i in 0..half {
            let (a, b, s) = (x0[i], x1[i], sign * sin[i]);
            x0[i] = a * cos[i] - b * s;
            x1[i] = b * cos[i] + a * s;
        }
    }
} }

/// In place where nobody else holds the numbers.
fn rotate(x: FlexFloat, cos: FlexFloat, sin: FlexFloat, sign: f32) -> FlexFloat {
    let mut x = dense(x);
    let (shape, rows) = (x.shape(), cos.shape()[0]);
    let (time, heads, half) = (shape[1], shape[2], shape[3] / 2);
    let (width, chunk) = (
        (heads * 2 * half).max(1),
        (TOKENS * heads * 2 * half).max(1),
    );
    let (cos, sin) = (numbers(&cos), numbers(&sin));
    let jobs = numbers_mut(&mut x).chunks_mut(chunk).enumerate();
    run(jobs, |(i, x)| {
        for (j, x) in x.chunks_mut(width).enumerate() {
            let token = i * TOKENS + j;
            let entry = half * if rows == 1 { token % time } else { token };
            let range = entry..entry + half;
            rotate_token(x, &cos[range.clone()], &sin[range], sign);
        }
    });
    x
}
