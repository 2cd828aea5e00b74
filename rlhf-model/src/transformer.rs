//! A Llama-style decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.

use crate::parameters::{
    BlockSpecs, Drawn, ParameterSource, ParameterSpec, embedding_spec, head_spec, norm_spec,
};
use crate::rotary::Rotary;
use crate::{CacheShape, CausalLm, KvCache, ModelConfig, ModelError, TokenBatch};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rlhf_kernels::{AttentionSpan, RopeTables, attention, rms_norm, rope, swiglu};

/// The model. Linear weights are stored `[in, out]`.
///
/// Inside, activations are held flat, `[batch · time, width]`: matrix products then see one tall
/// matrix whatever the batch's shape.
#[derive(Module, Debug)]
pub struct Transformer {
    /// Embeddings, `[vocab, d]`; also the output head when it is tied.
    pub embed_tokens: Param<Tensor<2>>,
    /// The blocks.
    pub layers: Vec<Block>,
    /// Weight of the final RMSNorm, `[d]`.
    pub norm: Param<Tensor<1>>,
    /// The output head, `[d, vocab]`; none when it is tied.
    pub lm_head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: ModelConfig,
    #[module(skip)]
    rotary: Rotary,
}

/// One block: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`.
#[derive(Module, Debug)]
pub struct Block {
    /// Weight of the RMSNorm before attention, `[d]`.
    pub input_norm: Param<Tensor<1>>,
    /// Queries, `[d, heads · head_dim]`.
    pub q: Param<Tensor<2>>,
    /// Keys, `[d, kv_heads · head_dim]`.
    pub k: Param<Tensor<2>>,
    /// Values, `[d, kv_heads · head_dim]`.
    pub v: Param<Tensor<2>>,
    /// Attention's output, `[heads · head_dim, d]`.
    pub o: Param<Tensor<2>>,
    /// Weight of the RMSNorm before the feed-forward part, `[d]`.
    pub post_norm: Param<Tensor<1>>,
    /// Gate, `[d, ff]`.
    pub gate: Param<Tensor<2>>,
    /// Up, `[d, ff]`.
    pub up: Param<Tensor<2>>,
    /// Down, `[ff, d]`.
    pub down: Param<Tensor<2>>,
}

/// Matrix products of fewer rows than this take another route through the library and round
/// differently; they are filled up, so that a row gets the same bits alone and in any batch.
const MIN_ROWS: usize = 8;

/// `x · w` for `x` `[n, in]`, `w` `[in, out]`.
pub(crate) fn project(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    let [rows, width] = x.dims();
    if rows >= MIN_ROWS {
        return x.matmul(w);
    }
    let fill = Tensor::zeros([MIN_ROWS - rows, width], &x.device());
    Tensor::cat(vec![x, fill], 0).matmul(w).narrow(0, 0, rows)
}

/// What a block needs to know about the batch.
struct Step<'a> {
    batch: usize,
    time: usize,
    config: &'a ModelConfig,
    tables: RopeTables,
    span: AttentionSpan,
}

impl Block {
    /// `x` and the result are `[batch · time, d]`.
    fn forward(
        &self,
        x: Tensor<2>,
        step: &Step<'_>,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let eps = step.config.rms_norm_eps;
        let y = rms_norm(x.clone(), self.input_norm.val(), eps);
        let x = x + project(self.attend(y, step, layer, cache), self.o.val());
        let y = rms_norm(x.clone(), self.post_norm.val(), eps);
        let y = swiglu(
            project(y.clone(), self.gate.val()),
            project(y, self.up.val()),
        );
        x + project(y, self.down.val())
    }

    /// Attention before its output matrix, `[batch · time, heads · head_dim]`.
    fn attend(
        &self,
        y: Tensor<2>,
        step: &Step<'_>,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let (b, t, width) = (step.batch, step.time, step.config.head_dim());
        let (heads, kv) = (
            step.config.num_attention_heads,
            step.config.num_key_value_heads,
        );
        let q = project(y.clone(), self.q.val()).reshape([b, t, heads, width]);
        let k = project(y.clone(), self.k.val()).reshape([b, t, kv, width]);
        let v = project(y, self.v.val()).reshape([b, t, kv, width]);
        let (q, k) = (rope(q, &step.tables), rope(k, &step.tables));
        let (k, v) = match cache {
            Some(cache) => cache.write(layer, k, v),
            None => (k, v),
        };
        attention(q, k, v, &step.span).reshape([b * t, heads * width])
    }
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
        let embed_tokens = parameter(&embedding_spec(config), device, source)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            let specs = BlockSpecs::new(config, layer);
            layers.push(Block {
                input_norm: parameter(&specs.input_norm, device, source)?,
                q: parameter(&specs.q, device, source)?,
                k: parameter(&specs.k, device, source)?,
                v: parameter(&specs.v, device, source)?,
                o: parameter(&specs.o, device, source)?,
                post_norm: parameter(&specs.post_norm, device, source)?,
                gate: parameter(&specs.gate, device, source)?,
                up: parameter(&specs.up, device, source)?,
                down: parameter(&specs.down, device, source)?,
            });
        }
        let norm = parameter(&norm_spec(config), device, source)?;
        let lm_head = if config.tie_word_embeddings {
            None
        } else {
            Some(parameter(&head_spec(config), device, source)?)
        };
        let (rotary, config) = (Rotary::new(config), config.clone());
        Ok(Self {
            embed_tokens,
            layers,
            norm,
            lm_head,
            config,
            rotary,
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The trunk without an output head of its own: what a scalar head stands on.
    pub(crate) fn without_head(mut self) -> Self {
        self.lm_head = None;
        self.config.tie_word_embeddings = true;
        self
    }
}

/// A parameter of rank `D` with the source's values.
pub(crate) fn parameter<const D: usize>(
    spec: &ParameterSpec,
    device: &Device,
    source: &mut dyn ParameterSource,
) -> Result<Param<Tensor<D>>, ModelError> {
    let data = TensorData::new(source.values(spec)?, spec.shape.clone());
    Ok(Param::from_tensor(Tensor::from_data(data, device)))
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
        self.norm.val().device()
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
        let step = Step {
            batch: b,
            time: t,
            config: &self.config,
            tables: self.rotary.tables(batch.positions(), t, &batch.device()),
            span: AttentionSpan {
                first_key: batch.first_key(),
                past: cache.as_ref().map_or(0, |cache| cache.len()),
            },
        };
        let mut x = self
            .embed_tokens
            .val()
            .select(0, batch.ids().reshape([b * t]));
        for (layer, block) in self.layers.iter().enumerate() {
            x = block.forward(x, &step, layer, cache.as_deref_mut());
        }
        if let Some(cache) = cache {
            cache.advance(t);
        }
        rms_norm(x, self.norm.val(), self.config.rms_norm_eps).reshape([b, t, self.d_model()])
    }

    fn head_weight(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.val(),
            None => self.embed_tokens.val().swap_dims(0, 1),
        }
    }

    fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [b, t, d] = hidden.dims();
        project(hidden.reshape([b * t, d]), self.head_weight()).reshape([b, t, self.vocab_size()])
    }
}
