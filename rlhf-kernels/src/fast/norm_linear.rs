//! RMSNorm, of an input or of a sum, and the products of its result with several matrices. The normed
//! numbers are not kept for the way back: one pass makes them again.
//!
//! Each is one operation with several outputs ([`super::outputs`]).

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::add_rms_norm::sum_and_norm;
use super::linear::Products;
use super::outputs::{Slots, nothing, outputs};
use super::rms_norm::Normed;
use super::storage::{FlexFloat, dense, zeros};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait NormLinear: Backend {
    fn norm_linear(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        eps: f64,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self>;
    fn add_norm_linear(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        eps: f64,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self>;
}

/// Shapes were checked.
pub(crate) fn norm_linear(
    x: Tensor<2>,
    norm: Tensor<1>,
    eps: f64,
    weights: [Tensor<2>; 3],
) -> [Tensor<2>; 3] {
    let slots = Slots::default();
    let (x, norm) = (x.into_dispatch(), norm.into_dispatch());
    let [a, b, c] = weights.map(Tensor::into_dispatch);
    let root = <Dispatch as NormLinear>::norm_linear(x, norm, eps, a, b, c, slots.clone());
    outputs(root, &slots)
}

/// The sum, then the products. Shapes were checked.
pub(crate) fn add_norm_linear(
    [x, y]: [Tensor<2>; 2],
    norm: Tensor<1>,
    eps: f64,
    weights: [Tensor<2>; 2],
) -> [Tensor<2>; 3] {
    let slots = Slots::default();
    let [x, y] = [x, y].map(Tensor::into_dispatch);
    let norm = norm.into_dispatch();
    let [a, b] = weights.map(Tensor::into_dispatch);
    let root = <Dispatch as NormLinear>::add_norm_linear(x, y, norm, eps, a, b, slots.clone());
    outputs(root, &slots)
}

/// What the way back needs.
#[derive(Clone, Debug)]
struct Kept {
    normed: Normed,
    weights: Vec<FlexFloat>,
}

/// The products, and what is kept.
fn forward<const N: usize>(
    x: FlexFloat,
    norm: FlexFloat,
    eps: f64,
    weights: [FlexFloat; N],
) -> (Vec<FlexFloat>, Kept) {
    let normed = Normed::new(x, norm, eps);
    let products = Products::new(normed.forward(), weights);
    let out = products.forward();
    let weights = products.weights;
    (out, Kept { normed, weights })
}

/// The sum and the products, and what is kept.
fn add_forward<const N: usize>(
    [x, y]: [FlexFloat; 2],
    norm: FlexFloat,
    eps: f64,
    weights: [FlexFloat; N],
) -> (Vec<FlexFloat>, Kept) {
    let norm = dense(norm);
    let [sum, of_norm] = sum_and_norm(&dense(x), y, &norm, eps as f32);
    let products = Products::new(of_norm, weights);
    let mut out = vec![sum.clone()];
    out.extend(products.forward());
    let (normed, weights) = (Normed::new(sum, norm, eps), products.weights);
    (out, Kept { normed, weights })
}

impl NormLinear for Flex {
    fn norm_linear(
        x: FlexFloat,
        norm: FlexFloat,
        eps: f64,
        a: FlexFloat,
        b: FlexFloat,
        c: FlexFloat,
        slots: Slots,
    ) -> FlexFloat {
        slots.fill(forward(x, norm, eps, [a, b, c]).0);
        nothing()
    }

    fn add_norm_linear(
        x: FlexFloat,
        y: FlexFloat,
        norm: FlexFloat,
        eps: f64,
        a: FlexFloat,
        b: FlexFloat,
        slots: Slots,
    ) -> FlexFloat {
        slots.fill(add_forward([x, y], norm, eps, [a, b]).0);
        nothing()
    }
}

/// The root; its parents are `TERMS` terms of a sum, the norm's weight and the matrices. The first
/// output is the sum where there are two terms.
#[derive(Debug)]
struct Step<const TERMS: usize>;

impl<const TERMS: usize, const P: usize> Backward<Flex, P> for Step<TERMS> {
    type State = (Kept, Slots);

    fn backward(self, ops: Ops<Self::State, P>, grads: &mut Gradients, _: &mut Checkpointer) {
        let _ = grads.consume::<Flex>(&ops.node);
        let (Kept { normed, weights }, slots) = ops.state;
        let sums = TERMS - 1;
        let by_sum = if sums > 0 { slots.take(0) } else { None };
        let by_product = sums..sums + weights.len();
        let by_product: Vec<_> = by_product.map(|output| slots.take(output)).collect();
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        let (terms, [to_norm, to_weights @ ..]) = parents.split_at(TERMS) else {
            unreachable!("the norm's weight and the matrices are parents");
        };
        let on_the_way = terms.iter().chain([to_norm]).flatten().next();
        let by_norm = {
            let products = Products::new(normed.forward(), weights);
            let weights = to_weights.iter().zip(&products.weights);
            for ((to_weight, weight), gradient) in weights.zip(&by_product) {
                let Some(id) = to_weight else { continue };
                let gradient = match gradient {
                    Some(gradient) => products.gradient_of_weight(gradient),
                    None => zeros(weight),
                };
                grads.register::<Flex>(*id, gradient);
            }
            on_the_way.and_then(|_| products.gradient_of_x(&by_product))
        };
        normed.register(grads, [by_sum, by_norm], terms, *to_norm);
    }
}

fn recorded<C: CheckpointStrategy, const TERMS: usize, const P: usize>(
    (outputs, kept): (Vec<FlexFloat>, Kept),
    slots: Slots,
    nodes: [NodeGuard; P],
) -> FloatTensor<Autodiff<Flex, C>> {
    slots.fill(outputs);
    match Backward::<Flex, P>::prepare::<C>(Step::<TERMS>, nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(op) => op.finish((kept, slots), nothing()),
        OpsKind::UnTracked(op) => op.finish(nothing()),
    }
}

impl<C: CheckpointStrategy> NormLinear for Autodiff<Flex, C> {
    fn norm_linear(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        eps: f64,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), norm.node(), a.node(), b.node(), c.node()];
        let [x, norm, a, b, c] = [x, norm, a, b, c].map(FloatTensor::<Self>::into_primitive);
        recorded::<C, 1, 5>(forward(x, norm, eps, [a, b, c]), slots, nodes)
    }

    fn add_norm_linear(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        eps: f64,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        slots: Slots,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), y.node(), norm.node(), a.node(), b.node()];
        let [x, y, norm, a, b] = [x, y, norm, a, b].map(FloatTensor::<Self>::into_primitive);
        recorded::<C, 2, 5>(add_forward([x, y], norm, eps, [a, b]), slots, nodes)
    }
}
