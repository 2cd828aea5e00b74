//! A product added to what is there, and its gradients.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::linear::{matrix, product_of, sizes};
use super::product::{Target, Threads};
use super::storage::{FlexFloat, dense, numbers_mut};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait AddLinear: Backend {
    fn add_linear(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Shapes were checked.
pub(crate) fn add_linear(y: Tensor<2>, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let (y, x, weight) = (y.into_dispatch(), x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(<Dispatch as AddLinear>::add_linear(y, x, weight))
}

/// In place where `y` is the only owner of its numbers.
fn added(y: FlexFloat, x: &FlexFloat, weight: &FlexFloat) -> FlexFloat {
    let mut y = dense(y);
    let [rows, cols] = sizes(&y);
    let values = numbers_mut(&mut y);
    Target::new(values, rows, cols).add(matrix(x), matrix(weight), 1.0, Threads::All);
    y
}

impl AddLinear for Flex {
    fn add_linear(y: FlexFloat, x: FlexFloat, weight: FlexFloat) -> FlexFloat {
        added(y, &dense(x), &dense(weight))
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 3> for Step {
    /// `x` and the weight.
    type State = [FlexFloat; 2];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = dense(grads.consume::<Flex>(&ops.node));
        let [x, weight] = ops.state;
        let [to_y, to_x, to_weight] = ops.parents;
        if let Some(node) = to_x {
            let of_x = product_of(matrix(&gradient), matrix(&weight).t());
            grads.register::<Flex>(node.id, of_x);
        }
        if let Some(node) = to_weight {
            let of_weight = product_of(matrix(&x).t(), matrix(&gradient));
            grads.register::<Flex>(node.id, of_weight);
        }
        if let Some(node) = to_y {
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

impl<C: CheckpointStrategy> AddLinear for Autodiff<Flex, C> {
    fn add_linear(
        y: FloatTensor<Self>,
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [y.node(), x.node(), weight.node()];
        let operands = [x, weight].map(|operand| dense(operand.into_primitive()));
        let out = added(y.into_primitive(), &operands[0], &operands[1]);
        match Backward::<Flex, 3>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish(operands, out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}
