//! What every language model here offers.

use crate::{DecodeWeights, KvCache, PackedModel, TokenBatch};
use burn::module::Module;
use burn::tensor::{Device, Tensor};

/// A model that predicts the next token. The trunk (`hidden`) is apart from the output head, so
/// that other heads share it and logits are only made where they are needed.
pub trait CausalLm: Module + Sync {
    /// Number of token ids.
    fn vocab_size(&self) -> usize;

    /// Width of the hidden states.
    fn d_model(&self) -> usize;

    /// The longest sequence, prompt and answer together.
    fn max_positions(&self) -> usize;

    /// Where the weights live; an autodiff device when gradients are wanted.
    fn device(&self) -> Device;

    /// A cache for `batch` rows of at most `capacity` columns.
    fn empty_cache(&self, batch: usize, capacity: usize) -> KvCache;

    /// The hidden states after the final norm, `[batch, time, d_model]`. With a cache, the
    /// batch's columns follow the cached ones and are added to them; its `first_key` counts from
    /// the cache's first column.
    ///
    /// # Panics
    /// If an id is not in the vocabulary, or the cache is full or of another size.
    fn hidden(&self, batch: &TokenBatch, cache: Option<&mut KvCache>) -> Tensor<3>;

    /// The weight of the output head, `[d_model, vocab]`; with tied embeddings, their transposed
    /// view.
    fn head_weight(&self) -> Tensor<2>;

    /// Where logits are kept within ±this by `cap · tanh(logit / cap)`; they are the product of
    /// hidden states and head otherwise.
    fn logit_softcap(&self) -> Option<f64> {
        None
    }

    /// The weights laid out for decoding on the CPU, stored so; `None` where the forward pass
    /// decodes.
    fn packed(&self, storage: DecodeWeights) -> Option<PackedModel> {
        let _ = storage;
        None
    }

    /// Logits from hidden states, `[batch, time, d_model]` → `[batch, time, vocab]`.
    fn logits(&self, hidden: Tensor<3>) -> Tensor<3>;

    /// Logits of a whole batch, `[batch, time, vocab]`.
    fn forward(&self, batch: &TokenBatch) -> Tensor<3> {
        self.logits(self.hidden(batch, None))
    }
}
