//! The product of `silu(gate) · up` with a matrix. The gated numbers are not kept for the way back: one
//! pass makes them again.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::linear::{matrix, product_of};
use super::storage::{FlexFloat, dense};
use super::swiglu::Gated;

#[backend_extension(Flex, Autodiff)]
pub(crate) trait SwiGluLinear: Backend {
    fn swiglu_linear(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Shapes were checked.
pub(crate) fn swiglu_linear(gate: Tensor<2>, up: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let [gate, up, weight] = [gate, up, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as SwiGluLinear>::swiglu_linear(gate, up, weight))
}

fn forward(gated: &Gated, weight: &FlexFloat) -> FlexFloat {
    product_of(matrix(&gated.forward()), matrix(weight))
}

impl SwiGluLinear for Flex {
    fn swiglu_linear(gate: FlexFloat, up: FlexFloat, weight: FlexFloat) -> FlexFloat {
        forward(&Gated::new(gate, up), &dense(weight))
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 3> for Step {
    type State = (Gated, FlexFloat);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = dense(grads.consume::<Flex>(&ops.node));
        let (gated, weight) = ops.state;
        let [to_gate, to_up, to_weight] = ops.parents.map(|parent| parent.map(|node| node.id));
        if let Some(id) = to_weight {
            let of_weight = product_of(matrix(&gated.forward()).t(), matrix(&gradient));
            grads.register::<Flex>(id, of_weight);
        }
        if to_gate.is_some() || to_up.is_some() {
            let by_gated = product_of(matrix(&gradient), matrix(&weight).t());
            gated.register(grads, &by_gated, [to_gate, to_up]);
        }
    }
}

impl<C: CheckpointStrategy> SwiGluLinear for Autodiff<Flex, C> {
    fn swiglu_linear(
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node(), weight.node()];
        let gated = Gated::new(gate.into_primitive(), up.into_primitive());
        let weight = dense(weight.into_primitive());
        let out = forward(&gated, &weight);
        match Backward::<Flex, 3>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((gated, weight), out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}
