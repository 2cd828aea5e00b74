//! `silu(gate) · up` and its two gradients, one pass each.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::buffer::{Unwritten, written};
use super::jobs::{CHUNK, run};
use super::simd::{sigmoid, simd};
use super::storage::{FlexFloat, dense, numbers, numbers_mut, tensor};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait SwiGlu: Backend {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
}

pub(crate) fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    let (gate, up) = (gate.into_dispatch(), up.into_dispatch());
    Tensor::from_dispatch(<Dispatch as SwiGlu>::swiglu(gate, up))
}

impl SwiGlu for Flex {
    fn swiglu(gate: FlexFloat, up: FlexFloat) -> FlexFloat {
        Gated::new(gate, up).forward()
    }
}

/// The inputs of a gated product.
#[derive(Clone, Debug)]
pub(super) struct Gated {
    gate: FlexFloat,
    up: FlexFloat,
}

impl Gated {
    pub(super) fn new(gate: FlexFloat, up: FlexFloat) -> Self {
        Self {
            gate: dense(gate),
            up: dense(up),
        }
    }

    /// The product.
    pub(super) fn forward(&self) -> FlexFloat {
        let values = forward(numbers(&self.gate), numbers(&self.up));
        tensor(values, self.gate.shape())
    }

    /// Registers the gradients by gate and up that are wanted, of that by the product. They take the
    /// place of gate and up where nobody else holds these.
    pub(super) fn register(
        mut self,
        grads: &mut Gradients,
        grad: &FlexFloat,
        to: [Option<NodeId>; 2],
    ) {
        if to == [None, None] {
            return;
        }
        let (gate, up) = (numbers_mut(&mut self.gate), numbers_mut(&mut self.up));
        gradients(gate, up, numbers(grad));
        for (to, gradient) in to.into_iter().zip([self.gate, self.up]) {
            if let Some(id) = to {
                grads.register::<Flex>(id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 2> for Step {
    type State = Gated;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = dense(grads.consume::<Flex>(&ops.node));
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state.register(grads, &grad, parents);
    }
}

impl<C: CheckpointStrategy> SwiGlu for Autodiff<Flex, C> {
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node()];
        let gated = Gated::new(gate.into_primitive(), up.into_primitive());
        let out = gated.forward();
        match Backward::<Flex, 2>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish(gated, out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}

simd! { fn forward_chunk(gate: &[f32], up: &[f32], out: &mut Unwritten) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        out.write(gate * sigmoid(*gate) * up);
    }
} }

fn forward(gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len(), "swiglu: slices differ in length");
    // SAFETY: the chunks cover the output and each is written whole, the inputs being as long.
    unsafe {
        written(gate.len(), |out| {
            let jobs = out
                .chunks_mut(CHUNK)
                .zip(gate.chunks(CHUNK))
                .zip(up.chunks(CHUNK));
            run(jobs, |((out, gate), up)| forward_chunk(gate, up, out));
        })
    }
}

simd! { fn backward_chunk(gate: &mut [f32], up: &mut [f32], grad: &[f32]) {
    let len = gate.len();
    let (up, grad) = (&mut up[..len], &grad[..len]);
    for i in 0..len {
        let (g, u) = (gate[i], up[i]);
        let s = sigmoid(g);
        up[i] = g * s * grad[i];
        gate[i] = grad[i] * u * s * (1.0 + g * (1.0 - s));
    }
} }

/// Turns gate and up into the gradients by them.
fn gradients(gate: &mut [f32], up: &mut [f32], grad: &[f32]) {
    assert!(
        gate.len() == up.len() && up.len() == grad.len(),
        "swiglu: slices differ in length"
    );
    let jobs = gate
        .chunks_mut(CHUNK)
        .zip(up.chunks_mut(CHUNK))
        .zip(grad.chunks(CHUNK));
    run(jobs, |((gate, up), grad)| backward_chunk(gate, up, grad));
}
