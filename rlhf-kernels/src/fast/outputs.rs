//! Operations with several outputs.
//!
//! An operation has one output. One with several is a root, which computes all of them and whose own
//! output means nothing, and one operation for each output, which takes it from the root. On the way
//! back each leaves its gradient for the root, which comes last.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, DispatchTensor, Flex, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::storage::{FlexFloat, dense, tensor};

/// What the root and its outputs hand each other: the outputs first, then their gradients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots(Arc<Mutex<Vec<Option<FlexFloat>>>>);

impl Slots {
    /// What the root has computed.
    pub(super) fn fill(&self, outputs: Vec<FlexFloat>) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *slots = outputs.into_iter().map(Some).collect();
    }

    fn put(&self, index: usize, gradient: FlexFloat) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(gradient);
    }

    /// The gradient of an output, if it was used.
    pub(super) fn take(&self, index: usize) -> Option<FlexFloat> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[index].take()
    }
}

#[backend_extension(Flex, Autodiff)]
pub(crate) trait Output: Backend {
    fn output(root: FloatTensor<Self>, slots: Slots, index: usize) -> FloatTensor<Self>;
}

/// The outputs that a root has left in `slots`.
pub(super) fn outputs<const N: usize, const D: usize>(
    root: DispatchTensor,
    slots: &Slots,
) -> [Tensor<D>; N] {
    std::array::from_fn(|index| {
        let output = <Dispatch as Output>::output(root.clone(), slots.clone(), index);
        Tensor::from_dispatch(output)
    })
}

/// A tensor that stands for the root's output.
pub(super) fn nothing() -> FlexFloat {
    tensor(vec![0.0], Shape::new([1]))
}

impl Output for Flex {
    fn output(_: FlexFloat, slots: Slots, index: usize) -> FlexFloat {
        slots.take(index).expect("the root has filled it")
    }
}

/// One of the outputs; its parent is the root.
#[derive(Debug)]
struct Step;

impl Backward<Flex, 1> for Step {
    type State = (Slots, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = dense(grads.consume::<Flex>(&ops.node));
        let (slots, index) = ops.state;
        if let [Some(root)] = ops.parents {
            slots.put(index, gradient);
            grads.register::<Flex>(root.id, nothing());
        }
    }
}

impl<C: CheckpointStrategy> Output for Autodiff<Flex, C> {
    fn output(root: FloatTensor<Self>, slots: Slots, index: usize) -> FloatTensor<Self> {
        let nodes = [root.node()];
        let out = Flex::output(root.into_primitive(), slots.clone(), index);
        match Backward::<Flex, 1>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((slots, index), out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}
