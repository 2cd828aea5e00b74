//! `silu(gate) · up` and its two gradients, one pass each.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::buffer::{Unwritten, written, written_pair};
use super::jobs::{CHUNK, run};
use super::simd::{sigmoid, simd};
use super::storage::{FlexFloat, dense, numbers, tensor};

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

    /// Registers the gradients by gate and up that are wanted, of that by the product.
    pub(super) fn register(
        &self,
        grads: &mut Gradients,
        grad: &FlexFloat,
        [to_gate, to_up]: [Option<NodeId>; 2],
    ) {
        let shape = self.gate.shape();
        let (gate, up, grad) = (numbers(&self.gate), numbers(&self.up), numbers(grad));
        match [to_gate, to_up] {
            [Some(to_gate), Some(to_up)] => {
                let (d_gate, d_up) = both_gradients(gate, up, grad);
                grads.register::<Flex>(to_gate, tensor(d_gate, shape.clone()));
                grads.register::<Flex>(to_up, tensor(d_up, shape));
            }
            [Some(to_gate), None] => {
                let d_gate = both_gradients(gate, up, grad).0;
                grads.register::<Flex>(to_gate, tensor(d_gate, shape));
            }
            // The derivative by `up` is silu(gate): the forward's product with another factor.
            [None, Some(to_up)] => {
                grads.register::<Flex>(to_up, tensor(forward(gate, grad), shape));
            }
            [None, None] => {}
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

simd! { fn backward_chunk(
    gate: &[f32], up: &[f32], grad: &[f32], d_gate: &mut Unwritten, d_up: &mut Unwritten,
) {
    let len = gate.len();
    let (up, grad) = (&up[..len], &grad[..len]);
    let (d_gate, d_up) = (&mut d_gate[..len], &mut d_up[..len]);
    for i in 0..len {
        let s = sigmoid(gate[i]);
        d_up[i].write(gate[i] * s * grad[i]);
        d_gate[i].write(grad[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s)));
    }
} }

fn both_gradients(gate: &[f32], up: &[f32], grad: &[f32]) -> (Vec<f32>, Vec<f32>) {
    assert!(
        gate.len() == up.len() && up.len() == grad.len(),
        "swiglu: slices differ in length"
    );
    // SAFETY: the chunks cover both outputs and each is written whole.
    unsafe {
        written_pair(gate.len(), |d_gate, d_up| {
            let outputs = d_gate.chunks_mut(CHUNK).zip(d_up.chunks_mut(CHUNK));
            let inputs = gate
                .chunks(CHUNK)
                .zip(up.chunks(CHUNK))
                .zip(grad.chunks(CHUNK));
            run(
                outputs.zip(inputs),
                |((d_gate, d_up), ((gate, up), grad))| {
                    backward_chunk(gate, up, grad, d_gate, d_up);
                },
            );
        })
    }
}
