//! Products of one input with up to three matrices, and their gradients.
//!
//! They are one operation with several outputs ([`super::outputs`]).

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::buffer::written;
use super::outputs::{Slots, nothing, outputs};
use super::product::{Matrix, Target, Threads};
use super::storage::{FlexFloat, dense, numbers, tensor};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait Linear: Backend {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
    fn linear_pair(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self>;
    fn linear_triple(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self>;
}

/// Shapes were checked.
pub(crate) fn linear<const N: usize>(x: Tensor<2>, weights: [Tensor<2>; N]) -> [Tensor<2>; N] {
    let slots = Slots::default();
    let input = x.clone().into_dispatch();
    let mut taken = weights.clone().into_iter().map(Tensor::into_dispatch);
    let mut next = || taken.next().expect("as many as were counted");
    let root = match N {
        2 => <Dispatch as Linear>::linear_pair(input, next(), next(), slots.clone()),
        3 => <Dispatch as Linear>::linear_triple(input, next(), next(), next(), slots.clone()),
        _ => {
            return weights.map(|weight| {
                let (x, weight) = (x.clone().into_dispatch(), weight.into_dispatch());
                Tensor::from_dispatch(<Dispatch as Linear>::linear(x, weight))
            });
        }
    };
    outputs(root, &slots)
}

impl Linear for Flex {
    fn linear(x: FlexFloat, weight: FlexFloat) -> FlexFloat {
        product(&dense(x), &dense(weight))
    }

    fn linear_pair(x: FlexFloat, a: FlexFloat, b: FlexFloat, slots: Slots) -> FlexFloat {
        slots.fill(Products::new(x, [a, b]).forward());
        nothing()
    }

    fn linear_triple(
        x: FlexFloat,
        a: FlexFloat,
        b: FlexFloat,
        c: FlexFloat,
        slots: Slots,
    ) -> FlexFloat {
        slots.fill(Products::new(x, [a, b, c]).forward());
        nothing()
    }
}

/// The operands of products.
#[derive(Clone, Debug)]
pub(super) struct Products {
    x: FlexFloat,
    pub(super) weights: Vec<FlexFloat>,
}

impl Products {
    pub(super) fn new(x: FlexFloat, weights: impl IntoIterator<Item = FlexFloat>) -> Self {
        Self {
            x: dense(x),
            weights: weights.into_iter().map(dense).collect(),
        }
    }

    pub(super) fn forward(&self) -> Vec<FlexFloat> {
        let of = |weight| product(&self.x, weight);
        self.weights.iter().map(of).collect()
    }

    /// `Σ gradient · weightᵀ`, over the products that have a gradient, from the last to the first: as
    /// Burn's graph adds them, so that both give the same bits where a product is summed in one go.
    pub(super) fn gradient_of_x(&self, gradients: &[Option<FlexFloat>]) -> Option<FlexFloat> {
        let [n, width] = sizes(&self.x);
        let mut all = gradients.iter().zip(&self.weights).rev();
        let mut next = || all.find_map(|(gradient, weight)| Some((gradient.as_ref()?, weight)));
        let (gradient, weight) = next()?;
        let (gradient, weight) = (matrix(gradient), matrix(weight).t());
        // SAFETY: the product covers the whole buffer.
        let mut sum = unsafe {
            written(n * width, |out| {
                Target::unwritten(out, n, width, width).set(gradient, weight, 1.0, Threads::All);
            })
        };
        while let Some((gradient, weight)) = next() {
            let (gradient, weight) = (matrix(gradient), matrix(weight).t());
            Target::new(&mut sum, n, width).add(gradient, weight, 1.0, Threads::All);
        }
        Some(tensor(sum, self.x.shape()))
    }

    /// `xᵀ · gradient`.
    pub(super) fn gradient_of_weight(&self, gradient: &FlexFloat) -> FlexFloat {
        product_of(matrix(&self.x).t(), matrix(gradient))
    }
}

pub(super) fn sizes(x: &FlexFloat) -> [usize; 2] {
    let shape = x.shape();
    [shape[0], shape[1]]
}

/// A dense tensor as a matrix.
pub(super) fn matrix(x: &FlexFloat) -> Matrix<'_> {
    let [rows, cols] = sizes(x);
    Matrix::new(numbers(x), rows, cols, cols)
}

fn product(x: &FlexFloat, weight: &FlexFloat) -> FlexFloat {
    product_of(matrix(x), matrix(weight))
}

/// `a · b` as a new tensor.
pub(super) fn product_of(a: Matrix<'_>, b: Matrix<'_>) -> FlexFloat {
    let (rows, cols) = (a.rows(), b.cols());
    // SAFETY: the product covers the whole buffer.
    let values = unsafe {
        written(rows * cols, |out| {
            Target::unwritten(out, rows, cols, cols).set(a, b, 1.0, Threads::All);
        })
    };
    tensor(values, Shape::new([rows, cols]))
}

/// One product, or the root of several: parents are `x` and the weights.
#[derive(Debug)]
struct Step;

impl<const P: usize> Backward<Flex, P> for Step {
    /// Of several products, where they leave their gradients.
    type State = (Products, Option<Slots>);

    fn backward(self, ops: Ops<Self::State, P>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (products, slots) = ops.state;
        let own = grads.consume::<Flex>(&ops.node);
        let gradients = match slots {
            Some(slots) => (0..P - 1).map(|index| slots.take(index)).collect(),
            None => vec![Some(dense(own))],
        };
        let mut parents = ops.parents.into_iter();
        if let Some(to_x) = parents.next().flatten()
            && let Some(gradient) = products.gradient_of_x(&gradients)
        {
            grads.register::<Flex>(to_x.id, gradient);
        }
        for (to_weight, gradient) in parents.zip(&gradients) {
            if let (Some(to_weight), Some(gradient)) = (to_weight, gradient) {
                grads.register::<Flex>(to_weight.id, products.gradient_of_weight(gradient));
            }
        }
    }
}

fn recorded<C: CheckpointStrategy, const P: usize>(
    products: Products,
    slots: Option<Slots>,
    nodes: [NodeGuard; P],
    out: FlexFloat,
) -> FloatTensor<Autodiff<Flex, C>> {
    match Backward::<Flex, P>::prepare::<C>(Step, nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(op) => op.finish((products, slots), out),
        OpsKind::UnTracked(op) => op.finish(out),
    }
}

impl<C: CheckpointStrategy> Linear for Autodiff<Flex, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node()];
        let products = Products::new(x.into_primitive(), [weight.into_primitive()]);
        let out = product(&products.x, &products.weights[0]);
        recorded::<C, 2>(products, None, nodes, out)
    }

    fn linear_pair(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), a.node(), b.node()];
        let weights = [a, b].map(FloatTensor::<Self>::into_primitive);
        let products = Products::new(x.into_primitive(), weights);
        slots.fill(products.forward());
        recorded::<C, 3>(products, Some(slots), nodes, nothing())
    }

    fn linear_triple(
        x: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), a.node(), b.node(), c.node()];
        let weights = [a, b, c].map(FloatTensor::<Self>::into_primitive);
        let products = Products::new(x.into_primitive(), weights);
        slots.fill(products.forward());
        recorded::<C, 4>(products, Some(slots), nodes, nothing())
    }
}
