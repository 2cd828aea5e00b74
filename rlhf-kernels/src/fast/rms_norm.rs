//! RMSNorm: one pass forward; the backward recomputes the row's scale.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::buffer::{Unwritten, written};
use super::jobs::run;
use super::simd::{add_row, dot, dot3, simd};
use super::storage::{FlexFloat, dense, numbers, numbers_mut, tensor, zeros};

/// Rows a task takes.
pub(super) const ROWS: usize = 64;

#[backend_extension(Flex, Autodiff)]
pub(crate) trait RmsNorm: Backend {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
}

pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(<Dispatch as RmsNorm>::rms_norm(x, weight, eps))
}

impl RmsNorm for Flex {
    fn rms_norm(x: FlexFloat, weight: FlexFloat, eps: f64) -> FlexFloat {
        Normed::new(x, weight, eps).forward()
    }
}

/// The operands of a norm.
#[derive(Clone, Debug)]
pub(super) struct Normed {
    x: FlexFloat,
    weight: FlexFloat,
    eps: f32,
}

impl Normed {
    pub(super) fn new(x: FlexFloat, weight: FlexFloat, eps: f64) -> Self {
        Self {
            x: dense(x),
            weight: dense(weight),
            eps: eps as f32,
        }
    }

    /// The normed numbers.
    pub(super) fn forward(&self) -> FlexFloat {
        let values = forward(numbers(&self.x), numbers(&self.weight), self.eps);
        tensor(values, self.x.shape())
    }

    /// Registers the gradients of the terms whose sum `x` is, and of the weight. `by_x` came to the sum
    /// by another way.
    pub(super) fn register(
        &self,
        grads: &mut Gradients,
        [by_x, by_norm]: [Option<FlexFloat>; 2],
        terms: &[Option<NodeId>],
        to_weight: Option<NodeId>,
    ) {
        let mut terms = terms.iter().flatten().peekable();
        let Some(by_norm) = by_norm else {
            // What they come from waits for a gradient, if only for zeros.
            let by_x = by_x.unwrap_or_else(|| zeros(&self.x));
            terms.for_each(|id| grads.register::<Flex>(*id, by_x.clone()));
            if let Some(id) = to_weight {
                grads.register::<Flex>(id, zeros(&self.weight));
            }
            return;
        };
        if let Some(id) = to_weight {
            let gradient = self.gradient_of_weight(numbers(&by_norm));
            grads.register::<Flex>(id, tensor(gradient, self.weight.shape()));
        }
        if terms.peek().is_some() {
            let mut gradient = by_norm;
            self.turn_to_gradient_of_x(numbers_mut(&mut gradient), by_x.as_ref().map(numbers));
            terms.for_each(|id| grads.register::<Flex>(*id, gradient.clone()));
        }
    }

    /// Turns the gradient by the normed numbers into that by `x`, with `more` added, which came by another
    /// way.
    fn turn_to_gradient_of_x(&self, gradient: &mut [f32], more: Option<&[f32]>) {
        let (x, weight) = (numbers(&self.x), numbers(&self.weight));
        let width = weight.len().max(1);
        let chunk = ROWS * width;
        let jobs = gradient.chunks_mut(chunk).zip(x.chunks(chunk)).enumerate();
        run(jobs, |(i, (gradient, x))| {
            let more = more.map(|more| &more[i * chunk..]);
            let rows = gradient.chunks_mut(width).zip(x.chunks(width));
            for (j, (gradient, x)) in rows.enumerate() {
                x_row(x, weight, gradient, self.eps);
                if let Some(more) = more {
                    add_row(gradient, &more[j * width..(j + 1) * width]);
                }
            }
        });
    }

    fn gradient_of_weight(&self, by_norm: &[f32]) -> Vec<f32> {
        let (x, weight) = (numbers(&self.x), numbers(&self.weight));
        let width = weight.len().max(1);
        let chunk = ROWS * width;
        let mut parts = vec![0.0; x.len().div_ceil(chunk) * width];
        let jobs = parts
            .chunks_mut(width)
            .zip(x.chunks(chunk))
            .zip(by_norm.chunks(chunk));
        run(jobs, |((part, x), grad)| {
            for (x, grad) in x.chunks(width).zip(grad.chunks(width)) {
                weight_row(x, grad, self.eps, part);
            }
        });
        let mut total = vec![0.0; weight.len()];
        for part in parts.chunks(width) {
            add_row(&mut total, part);
        }
        total
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 2> for Step {
    type State = Normed;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = dense(grads.consume::<Flex>(&ops.node));
        let [to_x, to_weight] = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state
            .register(grads, [None, Some(grad)], &[to_x], to_weight);
    }
}

impl<C: CheckpointStrategy> RmsNorm for Autodiff<Flex, C> {
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let normed = Normed::new(x.into_primitive(), weight.into_primitive(), eps);
        let out = normed.forward();
        match Backward::<Flex, 2>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish(normed, out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}

/// `1 / sqrt(mean(x²) + eps)`.
#[inline(always)]
fn scale(x: &[f32], eps: f32) -> f32 {
    1.0 / (dot(x, x) / x.len() as f32 + eps).sqrt()
}

simd! { fn forward_row(x: &[f32], weight: &[f32], eps: f32, out: &mut Unwritten) {
    let r = scale(x, eps);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        out.write(x * r * weight);
    }
} }

fn forward(x: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let width = weight.len().max(1);
    // SAFETY: the chunks cover the output, and each row is written whole.
    unsafe {
        written(x.len(), |out| {
            run(
                out.chunks_mut(ROWS * width).zip(x.chunks(ROWS * width)),
                |(out, x)| {
                    for (out, x) in out.chunks_mut(width).zip(x.chunks(width)) {
                        forward_row(x, weight, eps, out);
                    }
                },
            );
        })
    }
}

simd! { fn x_row(x: &[f32], weight: &[f32], grad: &mut [f32], eps: f32) {
    // With r the scale and n the width: dx = r·(g·w − x · r²/n · Σ g·w·x).
    let r = scale(x, eps);
    let along = dot3(x, weight, grad) * r * r / x.len() as f32;
    for ((grad, x), weight) in grad.iter_mut().zip(x).zip(weight) {
        *grad = r * (*grad * weight - along * x);
    }
} }

simd! { fn weight_row(x: &[f32], grad: &[f32], eps: f32, out: &mut [f32]) {
    let r = scale(x, eps);
    for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
        *out += grad * x * r;
    }
} }
