//! Generation with a model in this process.

use super::plain::PlainDecoder;
use super::{Completion, Generator, Request};
use crate::batch::outside;
use crate::{CausalLm, ModelError, PackedModel, SamplingConfig, Transformer};
#[cfg(feature = "flex")]
use rlhf_kernels::decode::Storage;
use std::sync::OnceLock;

/// How weights that are packed for decoding are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DecodeWeights {
    /// As they are: log-probabilities are those of the model.
    #[default]
    F32,
    /// Rounded to bfloat16, which takes half of the memory and is faster where reading it takes the
    /// time; log-probabilities are those of the rounded model.
    Bf16,
    /// Rounded to whole multiples of a step, 127 of which are the largest number of an output's
    /// weights: a quarter of the memory. Log-probabilities are those of the rounded model.
    Int8,
}

impl DecodeWeights {
    #[cfg(feature = "flex")]
    pub(crate) fn storage(self) -> Storage {
        match self {
            Self::F32 => Storage::F32,
            Self::Bf16 => Storage::Bf16,
            Self::Int8 => Storage::Int8,
        }
    }
}

/// Continues prompts with a model, `batch_size` rows at a time. A finished row's place goes to the
/// next prompt, prompts that several requests share are read once, and a row's tokens and
/// log-probabilities depend on its prompt, its stream and the sampling settings only. On the CPU the
/// threads share the rows.
///
/// A model that can be packed ([`CausalLm::packed`]) is, at the first call; every other one goes
/// through its forward pass and the cache.
#[derive(Debug)]
pub struct LocalGenerator<'a, M: CausalLm = Transformer> {
    model: &'a M,
    batch_size: usize,
    weights: DecodeWeights,
    packed: OnceLock<Option<PackedModel>>,
}

impl<'a, M: CausalLm> LocalGenerator<'a, M> {
    /// A generator over a model. A `batch_size` of 0 counts as 1.
    pub fn new(model: &'a M, batch_size: usize) -> Self {
        Self {
            model,
            batch_size: batch_size.max(1),
            weights: DecodeWeights::default(),
            packed: OnceLock::new(),
        }
    }

    /// Stores packed weights so.
    pub fn with_weights(self, weights: DecodeWeights) -> Self {
        Self {
            weights,
            packed: OnceLock::new(),
            ..self
        }
    }

    /// One that goes through the model's forward pass on every device: slower on the CPU, and what
    /// the other way is tested against.
    pub fn plain(model: &'a M, batch_size: usize) -> Self {
        Self {
            packed: OnceLock::from(None),
            ..Self::new(model, batch_size)
        }
    }

    fn check(&self, requests: &[Request<'_>], config: &SamplingConfig) -> Result<(), ModelError> {
        config.validate()?;
        let (longest, vocab) = (self.model.max_positions(), self.model.vocab_size());
        for (index, request) in requests.iter().enumerate() {
            let length = request.prompt.len();
            let refuse = |reason: String| Err(ModelError::Prompt { index, reason });
            if length == 0 {
                return refuse("is empty; give at least one token".into());
            }
            if length.saturating_add(config.max_new_tokens) > longest {
                return refuse(format!(
                    "has {length} tokens; with max_new_tokens {} it would exceed the model's \
                     max_position_embeddings {longest}; shorten the prompt or lower \
                     max_new_tokens",
                    config.max_new_tokens
                ));
            }
            if let Some(id) = request.prompt.iter().find(|&&id| id as usize >= vocab) {
                return refuse(outside(*id, vocab));
            }
        }
        Ok(())
    }
}

impl<M: CausalLm> Generator for LocalGenerator<'_, M> {
    fn generate(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
    ) -> Result<Vec<Completion>, ModelError> {
        self.check(requests, config)?;
        match self.packed.get_or_init(|| self.model.packed(self.weights)) {
            Some(packed) => packed.complete(requests, config, self.batch_size),
            None => PlainDecoder::new(self.model, config).complete(requests, self.batch_size),
        }
    }
}
