//! A sum and its RMSNorm: one pass forward, and one for the gradient by the sum.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::buffer::{Unwritten, written};
use super::jobs::run;
use super::outputs::{Slots, nothing, outputs};
use super::rms_norm::{Normed, ROWS, forward_row};
use super::simd::add_row;
use super::storage::{FlexFloat, dense, numbers, numbers_mut, tensor};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait AddRmsNorm: Backend {
    fn add_rms_norm(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        slots: Slots,
    ) -> FloatTensor<Self>;
}

/// Shapes were checked.
pub(crate) fn add_rms_norm<const D: usize>(
    x: Tensor<D>,
    y: Tensor<D>,
    weight: Tensor<1>,
    eps: f64,
) -> [Tensor<D>; 2] {
    let slots = Slots::default();
    let (x, y, weight) = (x.into_dispatch(), y.into_dispatch(), weight.into_dispatch());
    let root = <Dispatch as AddRmsNorm>::add_rms_norm(x, y, weight, eps, slots.clone());
    outputs(root, &slots)
}

/// `x + y`, where `y` lies if nothing else holds it, and its norm.
pub(super) fn sum_and_norm(
    x: &FlexFloat,
    y: FlexFloat,
    weight: &FlexFloat,
    eps: f32,
) -> [FlexFloat; 2] {
    let mut sum = dense(y);
    let (shape, weight) = (sum.shape(), numbers(weight));
    let (to, x) = (numbers_mut(&mut sum), numbers(x));
    let (len, width) = (x.len(), weight.len().max(1));
    // SAFETY: the chunks cover the output, and each row is written whole.
    let normed = unsafe {
        written(len, |out| {
            let chunks = out
                .chunks_mut(ROWS * width)
                .zip(to.chunks_mut(ROWS * width))
                .zip(x.chunks(ROWS * width));
            run(
                chunks,
                |((out, sum), x): ((&mut Unwritten, &mut [f32]), &[f32])| {
                    let rows = out.chunks_mut(width).zip(sum.chunks_mut(width));
                    for ((out, sum), x) in rows.zip(x.chunks(width)) {
                        add_row(sum, x);
                        forward_row(sum, weight, eps, out);
                    }
                },
            );
        })
    };
    [sum, tensor(normed, shape)]
}

impl AddRmsNorm for Flex {
    fn add_rms_norm(
        x: FlexFloat,
        y: FlexFloat,
        weight: FlexFloat,
        eps: f64,
        slots: Slots,
    ) -> FlexFloat {
        let outputs = sum_and_norm(&dense(x), y, &dense(weight), eps as f32);
        slots.fill(outputs.into());
        nothing()
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 3> for Step {
    /// Of the sum, and where the gradients are.
    type State = (Normed, Slots);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let _ = grads.consume::<Flex>(&ops.node);
        let (normed, slots) = ops.state;
        let gradients = [slots.take(0), slots.take(1)];
        let [to_x, to_y, to_weight] = ops.parents.map(|parent| parent.map(|node| node.id));
        normed.register(grads, gradients, &[to_x, to_y], to_weight);
    }
}

impl<C: CheckpointStrategy> AddRmsNorm for Autodiff<Flex, C> {
    fn add_rms_norm(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        eps: f64,
        slots: Slots,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), y.node(), weight.node()];
        let (x, weight) = (dense(x.into_primitive()), dense(weight.into_primitive()));
        let found = sum_and_norm(&x, y.into_primitive(), &weight, eps as f32);
        let normed = Normed::new(found[0].clone(), weight, eps);
        slots.fill(found.into());
        match Backward::<Flex, 3>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((normed, slots), nothing()),
            OpsKind::UnTracked(op) => op.finish(nothing()),
        }
    }
}
