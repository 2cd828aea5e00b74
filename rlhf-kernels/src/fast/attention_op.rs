//! Attention as an operation of the flex backend, with and without gradients.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::attention::{Inputs, forward};
use super::attention_backward::{ByInput, Saved, backward};
use super::storage::{FlexFloat, dense, integers, numbers, tensor};
use crate::attention::{AttentionSpan, Dims};

#[backend_extension(Flex, Autodiff)]
pub(crate) trait Attention: Backend {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first_key: IntTensor<Self>,
        past: usize,
    ) -> FloatTensor<Self>;
}

/// Shapes were checked.
pub(crate) fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    span: &AttentionSpan,
) -> Tensor<4> {
    let first_key = span.first_key.clone().into_dispatch();
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(<Dispatch as Attention>::attention(
        q, k, v, first_key, span.past,
    ))
}

/// The operands of one call, kept for the backward.
#[derive(Clone, Debug)]
struct Call {
    q: FlexFloat,
    k: FlexFloat,
    v: FlexFloat,
    first_key: Arc<[usize]>,
    past: usize,
    dims: Dims,
}

impl Call {
    fn new([q, k, v]: [FlexFloat; 3], first_key: &IntTensor<Flex>, past: usize) -> Self {
        let (of_q, of_k) = (q.shape(), k.shape());
        let dims = Dims {
            batch: of_q[0],
            time: of_q[1],
            keys: of_k[1],
            heads: of_q[2],
            kv_heads: of_k[2],
            head_dim: of_q[3],
        };
        let first_key = integers(first_key)
            .into_iter()
            .enumerate()
            .map(|(i, first)| {
                usize::try_from(first)
                    .unwrap_or(0)
                    .min(past + i % dims.time)
            })
            .collect();
        Self {
            q: dense(q),
            k: dense(k),
            v: dense(v),
            first_key,
            past,
            dims,
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            q: numbers(&self.q),
            k: numbers(&self.k),
            v: numbers(&self.v),
            dims: self.dims,
            first_key: &self.first_key,
            past: self.past,
        }
    }

    fn forward(&self) -> (FlexFloat, Vec<f32>) {
        let (out, log_sums) = forward(&self.inputs());
        (tensor(out, self.q.shape()), log_sums)
    }
}

impl Attention for Flex {
    fn attention(
        q: FlexFloat,
        k: FlexFloat,
        v: FlexFloat,
        first_key: IntTensor<Self>,
        past: usize,
    ) -> FlexFloat {
        Call::new([q, k, v], &first_key, past).forward().0
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 3> for Step {
    type State = (Call, FlexFloat, Vec<f32>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = dense(grads.consume::<Flex>(&ops.node));
        let (call, out, log_sums) = ops.state;
        let [to_q, to_k, to_v] = ops.parents;
        let saved = Saved {
            out: numbers(&out),
            log_sums: &log_sums,
            grad: numbers(&grad),
        };
        let needed = ByInput {
            q: to_q.is_some(),
            k: to_k.is_some(),
            v: to_v.is_some(),
        };
        let found = backward(&call.inputs(), &saved, needed);
        let outputs = [
            (to_q, found.q, &call.q),
            (to_k, found.k, &call.k),
            (to_v, found.v, &call.v),
        ];
        for (node, values, like) in outputs {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, tensor(values, like.shape()));
            }
        }
    }
}

impl<C: CheckpointStrategy> Attention for Autodiff<Flex, C> {
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        first_key: IntTensor<Self>,
        past: usize,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let inputs = [q.into_primitive(), k.into_primitive(), v.into_primitive()];
        let call = Call::new(inputs, &first_key, past);
        let (out, log_sums) = call.forward();
        match Backward::<Flex, 3>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => op.finish((call, out.clone(), log_sums), out),
            OpsKind::UnTracked(op) => op.finish(out),
        }
    }
}
