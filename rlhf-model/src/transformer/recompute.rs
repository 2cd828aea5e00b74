//! Gradient checkpointing (Chen et al., 2016, "Training deep nets with sublinear memory cost"): of a
//! forward pass only what enters each block is kept; the backward pass computes a block again, takes
//! its gradients, and goes on to the block before it.
//!
//! It works around the autodiff graph instead of inside it. The blocks run without a graph; the
//! hidden states before the last norm are a leaf, where the loss's own backward pass ends. What
//! arrives there goes back through the blocks one by one.

use super::{Step, Transformer};
use crate::{KvCache, ScoreModel, TokenBatch};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Tensor};
use std::sync::{Arc, Mutex, PoisonError};

/// Forward passes whose blocks have not gone back yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tape(Arc<Mutex<Vec<Pass>>>);

/// One forward pass.
#[derive(Debug)]
struct Pass {
    batch: TokenBatch,
    /// What entered each block, `[batch · time, d]`, without a graph.
    inputs: Vec<Tensor<2>>,
    /// What left the last one, a leaf of the loss's graph.
    output: Tensor<2>,
}

/// A module whose trunks may compute their blocks again in the backward pass.
pub trait Recompute: Module {
    /// The module with tapes of its own; without gradient checkpointing, as it is.
    fn with_own_tape(self) -> Self;

    /// The gradients of the blocks and of what is before them, of all passes since
    /// [`Self::with_own_tape`], from those of the loss's own backward pass. They come in parts
    /// that are to be added. Empty without gradient checkpointing.
    fn block_gradients(&self, of_loss: &Gradients) -> Vec<GradientsParams>;
}

impl Transformer {
    /// Sets whether training passes keep what enters each block only and compute the rest again
    /// for the gradients: one more forward pass of each block, and a block's activations at a time.
    pub fn with_gradient_checkpointing(mut self, on: bool) -> Self {
        self.tape = on.then(Tape::default);
        self
    }

    /// The hidden states before the last norm, `[batch · time, d]`, as a leaf of a new graph.
    pub(super) fn recorded(&self, tape: &Tape, batch: &TokenBatch) -> Tensor<2> {
        let plain = self.valid();
        let step = Step::new(self, batch, 0);
        let mut x = plain.embed(batch);
        let mut inputs = Vec::with_capacity(plain.layers.len());
        for (layer, block) in plain.layers.iter().enumerate() {
            inputs.push(x.clone());
            x = block.forward(x, &step, layer, None::<&mut KvCache>);
        }
        let output = x.autodiff().require_grad();
        let pass = Pass {
            batch: batch.clone(),
            inputs,
            output: output.clone(),
        };
        let mut passes = tape.0.lock().unwrap_or_else(PoisonError::into_inner);
        passes.push(pass);
        output
    }

    /// Takes one pass back: the gradients of each block, the last first, then of the embeddings.
    fn back(&self, pass: Pass, of_loss: &Gradients, found: &mut Vec<GradientsParams>) {
        let Some(mut by_output) = pass.output.grad(of_loss) else {
            return;
        };
        let step = Step::new(self, &pass.batch, 0);
        let inputs = pass.inputs.into_iter().enumerate().rev();
        for (layer, input) in inputs {
            let block = with_own_leaves(&self.layers[layer]);
            let x = input.autodiff().require_grad();
            let y = block.forward(x.clone(), &step, layer, None::<&mut KvCache>);
            let mut gradients = (y * by_output.autodiff()).sum().backward();
            let Some(by_input) = x.grad_remove(&mut gradients) else {
                return;
            };
            by_output = by_input;
            found.push(GradientsParams::from_grads(gradients, &block));
        }
        let embeddings = self.clone().without_blocks();
        let embeddings = with_own_leaves(&embeddings);
        let positions = embeddings.embed_positions.as_ref();
        let tables = positions.into_iter().chain([&embeddings.embed_tokens]);
        if tables.map(Param::val).any(|table| table.is_require_grad()) {
            let y = embeddings.embed(&pass.batch);
            let gradients = (y * by_output.autodiff()).sum().backward();
            found.push(GradientsParams::from_grads(gradients, &embeddings));
        }
    }

    fn without_blocks(mut self) -> Self {
        self.layers.clear();
        self
    }
}

impl Recompute for Transformer {
    fn with_own_tape(mut self) -> Self {
        self.tape = self.tape.map(|_| Tape::default());
        self
    }

    fn block_gradients(&self, of_loss: &Gradients) -> Vec<GradientsParams> {
        let mut found = Vec::new();
        if let Some(tape) = &self.tape {
            let mut passes = tape.0.lock().unwrap_or_else(PoisonError::into_inner);
            let passes = std::mem::take(&mut *passes);
            for pass in passes.into_iter().rev() {
                self.back(pass, of_loss, &mut found);
            }
        }
        found
    }
}

impl Recompute for ScoreModel {
    fn with_own_tape(self) -> Self {
        Self {
            backbone: self.backbone.with_own_tape(),
            head: self.head,
        }
    }

    fn block_gradients(&self, of_loss: &Gradients) -> Vec<GradientsParams> {
        self.backbone.block_gradients(of_loss)
    }
}

impl<A: Recompute, B: Recompute> Recompute for (A, B) {
    fn with_own_tape(self) -> Self {
        (self.0.with_own_tape(), self.1.with_own_tape())
    }

    fn block_gradients(&self, of_loss: &Gradients) -> Vec<GradientsParams> {
        let mut found = self.0.block_gradients(of_loss);
        found.extend(self.1.block_gradients(of_loss));
        found
    }
}

/// The same weights, not copied, as the leaves of a graph of its own.
pub fn with_own_leaves<M: Module>(model: &M) -> M {
    struct OwnLeaves;
    impl ModuleMapper for OwnLeaves {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let trained = tensor.is_require_grad();
            let leaf = tensor.without_autodiff().autodiff();
            Param::from_mapped_value(id, leaf.set_require_grad(trained), mapper)
        }
    }
    model.clone().map(&mut OwnLeaves)
}
