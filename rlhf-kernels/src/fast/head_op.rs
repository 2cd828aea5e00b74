//! The language-model head as an operation of the flex backend.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Shape, Tensor};

use super::head::{Inputs, RowResult, Wanted};
use super::product::Matrix;
use super::storage::{FlexFloat, dense, integers, numbers, tensor};

/// `[1, n]` log-probabilities, or `[2, n]` with the entropies below them.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Head: Backend {
    fn token_logprobs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        entropy: bool,
    ) -> FloatTensor<Self>;
}

/// Shapes were checked. The result is `[1, n]`, or `[2, n]` with `entropy`.
pub(crate) fn linear_token_logprobs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
    entropy: bool,
) -> Tensor<2> {
    let (hidden, weight) = (hidden.into_dispatch(), weight.into_dispatch());
    let targets = targets.into_dispatch();
    let out = <Dispatch as Head>::token_logprobs(hidden, weight, targets, temperature, entropy);
    Tensor::from_dispatch(out)
}

/// The operands of one call, kept for the backward.
#[derive(Clone, Debug)]
struct Call {
    hidden: FlexFloat,
    weight: FlexFloat,
    targets: Arc<[usize]>,
    temperature: f32,
    entropy: bool,
}

impl Call {
    fn new(hidden: FlexFloat, weight: FlexFloat, targets: &IntTensor<Flex>) -> Self {
        let vocab = weight.shape()[1];
        let targets = integers(targets)
            .into_iter()
            .map(|id| {
                let target = usize::try_from(id).ok().filter(|id| *id < vocab);
                target.unwrap_or_else(|| {
                    panic!("target {id} is outside of the vocabulary 0..{vocab}")
                })
            })
            .collect();
        // A transposed view (tied embeddings) is read where it lies.
        let in_place = weight.layout().strides().iter().all(|stride| *stride > 0);
        let weight = if in_place {
            weight
        } else {
            weight.to_contiguous()
        };
        Self {
            hidden: dense(hidden),
            weight,
            targets,
            temperature: 1.0,
            entropy: false,
        }
    }

    fn with(self, temperature: f64, entropy: bool) -> Self {
        Self {
            temperature: temperature as f32,
            entropy,
            ..self
        }
    }

    /// Whether the weight is stored as `[v, d]`.
    fn transposed(&self) -> bool {
        let strides = self.weight.layout().strides();
        strides[0] < strides[1]
    }

    fn inputs(&self) -> Inputs<'_> {
        let layout = self.weight.layout();
        let (shape, strides) = (self.weight.shape(), layout.strides());
        let data = &self.weight.storage::<f32>()[layout.start_offset()..];
        let strides = [strides[0].unsigned_abs(), strides[1].unsigned_abs()];
        Inputs {
            hidden: numbers(&self.hidden),
            weight: Matrix::strided(data, [shape[0], shape[1]], strides),
            targets: &self.targets,
            width: shape[0],
            vocab: shape[1],
            temperature: self.temperature,
        }
    }

    fn output(&self, results: &[RowResult]) -> FlexFloat {
        let mut values: Vec<f32> = results.iter().map(|row| row.logprob).collect();
        if self.entropy {
            values.extend(results.iter().map(|row| row.entropy));
        }
        tensor(
            values,
            Shape::new([1 + usize::from(self.entropy), results.len()]),
        )
    }
}

impl Head for Flex {
    fn token_logprobs(
        hidden: FlexFloat,
        weight: FlexFloat,
        targets: IntTensor<Self>,
        temperature: f64,
        entropy: bool,
    ) -> FlexFloat {
        let call = Call::new(hidden, weight, &targets).with(temperature, entropy);
        call.output(&call.inputs().forward())
    }
}

#[derive(Debug)]
struct Step;

impl Backward<Flex, 2> for Step {
    /// The call, its results, and `logits / T` where they are kept.
    type State = (Call, Vec<RowResult>, Option<Vec<f32>>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = dense(grads.consume::<Flex>(&ops.node));
        let (call, results, logits) = ops.state;
        let (by_logprob, by_entropy) = numbers(&grad).split_at(results.len());
        let inputs = call.inputs();
        let [to_hidden, to_weight] = ops.parents;
        let wanted = Wanted {
            hidden: to_hidden.is_some(),
            weight: to_weight.is_some(),
            transposed: call.transposed(),
        };
        let (of_hidden, of_weight) = match logits {
            Some(mut logits) => {
                inputs.logit_gradients(&mut logits, &results, by_logprob, by_entropy);
                let of_weight = || inputs.gradient_of_weight(&logits, wanted.transposed);
                (
                    wanted.hidden.then(|| inputs.gradient_of_hidden(&logits)),
                    wanted.weight.then(of_weight),
                )
            }
            None => inputs.gradients_in_chunks(&results, (by_logprob, by_entropy), wanted, None),
        };
        if let (Some(node), Some(values)) = (to_hidden, of_hidden) {
            grads.register::<Flex>(node.id, tensor(values, call.hidden.shape()));
        }
        if let (Some(node), Some(values)) = (to_weight, of_weight) {
            let gradient = if call.transposed() {
                tensor(values, Shape::new([inputs.vocab, inputs.width])).transpose(0, 1)
            } else {
                tensor(values, call.weight.shape())
            };
            grads.register::<Flex>(node.id, gradient);
        }
    }
}

impl<C: CheckpointStrategy> Head for Autodiff<Flex, C> {
    fn token_logprobs(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        temperature: f64,
        entropy: bool,
    ) -> FloatTensor<Self> {
        let nodes = [hidden.node(), weight.node()];
        let call = Call::new(hidden.into_primitive(), weight.into_primitive(), &targets)
            .with(temperature, entropy);
        match Backward::<Flex, 2>::prepare::<C>(Step, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(op) => {
                let inputs = call.inputs();
                let (results, logits) = if inputs.are_kept() {
                    let (results, logits) = inputs.forward_keeping();
                    (results, Some(logits))
                } else {
                    (inputs.forward(), None)
                };
                let out = call.output(&results);
                op.finish((call, results, logits), out)
            }
            OpsKind::UnTracked(op) => {
                let out = call.output(&call.inputs().forward());
                op.finish(out)
            }
        }
    }
}
