//! A decoder-only transformer whose parts are chosen by its configuration.

mod block;
mod recompute;
mod values;

pub use block::{Block, HeadNorms};
pub use recompute::{Recompute, with_own_leaves};

use crate::layers::{Norm, project};
use crate::parameters::{
    BlockSpecs, Drawn, ParameterSource, embedding_spec, head_spec, norm_spec, positions_spec,
};
use crate::rotary::Rotary;
use crate::{CacheShape, CausalLm, KvCache, ModelConfig, ModelError, TokenBatch};
#[cfg(feature = "flex")]
use crate::{DecodeWeights, PackedModel};
use block::Step;
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rlhf_kernels::embedding;
use rlhf_kernels::softcap;
use rlhf_random::Rng;
use values::Values;

/// The model.
///
/// Inside, activations are held flat, `[batch · time, width]`: matrix products then see one tall
/// matrix whatever the batch's shape.
#[derive(Module, Debug)]
pub struct Transformer {
    /// Embeddings, `[vocab, d]`; also the output head when it is tied.
    pub embed_tokens: Param<Tensor<2>>,
    /// Learned positions, `[max_position_embeddings, d]`, in families that have them.
    pub embed_positions: Option<Param<Tensor<2>>>,
    /// The blocks.
    pub layers: Vec<Block>,
    /// The norm after the last block.
    pub norm: Norm,
    /// The output head, `[d, vocab]`; none when it is tied.
    pub lm_head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: ModelConfig,
    #[module(skip)]
    rotary: Rotary,
    #[module(skip)]
    dropout: Option<Rng>,
    #[module(skip)]
    tape: Option<recompute::Tape>,
}

impl Transformer {
    /// A model with freshly drawn weights: σ = 1/√fan_in, outputs into the residual stream also
    /// divided by √(2·layers), embeddings 0.5, an untied head 0.02. Every parameter's numbers
    /// come from the seed and its name alone, so they are equal on all devices.
    ///
    /// # Errors
    /// [`ModelError::Config`] if the configuration contradicts itself.
    pub fn init(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.validate()?;
        Self::build(config, device, &mut Drawn::new(seed, config))
    }

    /// A model with the values of `source`, asked for in the order of the parameter table.
    pub(crate) fn build(
        config: &ModelConfig,
        device: &Device,
        source: &mut dyn ParameterSource,
    ) -> Result<Self, ModelError> {
        let mut values = Values { device, source };
        let embed_tokens = values.parameter(&embedding_spec(config))?;
        let embed_positions = values.optional(positions_spec(config).as_ref())?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            layers.push(values.block(&BlockSpecs::new(config, layer))?);
        }
        let norm = values.norm(&norm_spec(config))?;
        let head = (!config.tie_word_embeddings).then(|| head_spec(config));
        let lm_head = values.optional(head.as_ref())?;
        let (rotary, config) = (Rotary::new(config), config.clone());
        Ok(Self {
            embed_tokens,
            embed_positions,
            layers,
            norm,
            lm_head,
            config,
            rotary,
            dropout: None,
            tape: None,
        })
    }

    /// The model for the training passes of one update: trained adapters drop what this stream
    /// says, in passes that gradients are wanted of and nowhere else.
    pub fn dropping(mut self, rng: Rng) -> Self {
        self.dropout = self.has_dropout().then_some(rng);
        self
    }

    /// The stream of one pass, from its tokens: what is dropped does not depend on what else is
    /// in the update.
    fn dropout_of(&self, batch: &TokenBatch) -> Option<Rng> {
        let wanted = |_: &&Rng| self.device().is_autodiff();
        let rng = self.dropout.as_ref().filter(wanted)?;
        let rows = (0..batch.batch_size()).map(|row| batch.host_ids(row));
        Some(rows.fold(rng.clone(), |rng, ids| {
            ids.iter()
                .fold(rng.key(ids.len()), |rng, &id| rng.key(u64::from(id)))
        }))
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The angles of its positions.
    #[cfg(feature = "flex")]
    pub(crate) fn rotary(&self) -> &Rotary {
        &self.rotary
    }

    /// The trunk without an output head of its own: what a scalar head stands on.
    pub(crate) fn without_head(mut self) -> Self {
        self.lm_head = None;
        self.config.tie_word_embeddings = true;
        self
    }

    /// The embeddings of a batch, `[batch · time, d]`.
    fn embed(&self, batch: &TokenBatch) -> Tensor<2> {
        let n = batch.batch_size() * batch.time();
        let mut x = embedding(self.embed_tokens.val(), batch.ids().reshape([n]));
        if self.config.family.scaled_embeddings() {
            x = x * (self.config.hidden_size as f64).sqrt();
        }
        if let Some(table) = &self.embed_positions {
            let positions: Vec<i32> = batch.positions().iter().map(|&p| p as i32).collect();
            let positions = TensorData::new(positions, [n]);
            let positions = Tensor::<1, Int>::from_data(positions, &batch.device());
            x = x + table.val().select(0, positions);
        }
        x
    }
}

/// The same module under new parameter ids, so that it shares no gradient or optimiser state
/// with the module that it was cloned from.
pub(crate) fn with_fresh_ids<M: Module>(module: M) -> M {
    struct FreshIds;
    impl burn::module::ModuleMapper for FreshIds {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (_, tensor, mapper) = param.consume();
            Param::from_mapped_value(ParamId::new(), tensor, mapper)
        }
    }
    module.map(&mut FreshIds)
}

impl CausalLm for Transformer {
    fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    fn d_model(&self) -> usize {
        self.config.hidden_size
    }

    fn max_positions(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn device(&self) -> Device {
        self.norm.weight.val().device()
    }

    fn empty_cache(&self, batch: usize, capacity: usize) -> KvCache {
        let shape = CacheShape {
            layers: self.config.num_hidden_layers,
            batch,
            capacity,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim(),
        };
        KvCache::new(shape, &self.device())
    }

    fn hidden(&self, batch: &TokenBatch, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let (b, t) = (batch.batch_size(), batch.time());
        let shape = [b, t, self.d_model()];
        let tape = self.tape.as_ref().filter(|_| cache.is_none());
        if let Some(tape) = tape.filter(|_| self.device().is_autodiff()) {
            let x = self.recorded(tape, batch);
            return self.norm.forward(x, &self.config).reshape(shape);
        }
        let step = Step::new(self, batch, cache.as_ref().map_or(0, |cache| cache.len()));
        let mut x = self.embed(batch);
        for (layer, block) in self.layers.iter().enumerate() {
            x = block.forward(x, &step, layer, cache.as_deref_mut());
        }
        if let Some(cache) = cache {
            cache.advance(t);
        }
        self.norm.forward(x, &self.config).reshape(shape)
    }

    fn head_weight(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.val(),
            None => self.embed_tokens.val().swap_dims(0, 1),
        }
    }

    fn logit_softcap(&self) -> Option<f64> {
        self.config.final_logit_softcapping
    }

    #[cfg(feature = "flex")]
    fn packed(&self, storage: DecodeWeights) -> Option<PackedModel> {
        PackedModel::of(self, storage.storage())
    }

    fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [b, t, d] = hidden.dims();
        let logits = project(hidden.reshape([b * t, d]), self.head_weight());
        let logits = match self.logit_softcap() {
            Some(cap) => softcap(logits, cap),
            None => logits,
        };
        logits.reshape([b, t, self.vocab_size()])
    }
}
