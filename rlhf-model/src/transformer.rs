//! A decoder-only transformer whose parts are chosen by its configuration.

mod recompute;

pub use recompute::{Recompute, with_own_leaves};

use crate::layers::{Linear, Norm, project};
use crate::parameters::{
    BlockSpecs, Drawn, LayerSpec, ParameterSource, ParameterSpec, embedding_spec, head_spec,
    norm_spec, positions_spec,
};
use crate::rotary::Rotary;
use crate::{CacheShape, CausalLm, KvCache, ModelConfig, ModelError, TokenBatch};
use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rlhf_kernels::{
    AttentionSpan, RopeTables, attention, gelu_tanh, rope, softcap, softcapped_attention, swiglu,
};
use rlhf_random::Rng;

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

/// One block: `x + attention(norm(x))`, then `x + feed_forward(norm(x))`; each output passes a
/// norm of its own where the family has it.
#[derive(Module, Debug)]
pub struct Block {
    /// Before attention.
    pub input_norm: Norm,
    /// Queries, keys and values: three matrices `[d, heads · head_dim]` and twice
    /// `[d, kv_heads · head_dim]`, or one with their columns side by side where the family fuses
    /// them.
    pub qkv: Vec<Linear>,
    /// The norms of each head's queries and keys, `[head_dim]`.
    pub head_norms: Option<HeadNorms>,
    /// Attention's output, `[heads · head_dim, d]`.
    pub o: Linear,
    /// After attention.
    pub attention_norm: Option<Norm>,
    /// Before the feed-forward part.
    pub feed_forward_norm: Norm,
    /// Gate, `[d, ff]`, of a gated feed-forward part.
    pub gate: Option<Linear>,
    /// Up, `[d, ff]`.
    pub up: Linear,
    /// Down, `[ff, d]`.
    pub down: Linear,
    /// After the feed-forward part.
    pub output_norm: Option<Norm>,
}

/// Norms over the width of one head.
#[derive(Module, Debug)]
pub struct HeadNorms {
    /// Of queries.
    pub q: Norm,
    /// Of keys.
    pub k: Norm,
}

/// What a block needs to know about the batch.
struct Step<'a> {
    batch: usize,
    time: usize,
    config: &'a ModelConfig,
    /// The angles of rotary positions; none where positions are learned.
    tables: Option<RopeTables>,
    /// What blocks without and with a window may see.
    full: AttentionSpan,
    windowed: Option<AttentionSpan>,
    /// What adapters drop, in training.
    dropout: Option<Rng>,
}

impl<'a> Step<'a> {
    fn new(model: &'a Transformer, batch: &TokenBatch, past: usize) -> Self {
        let config = &model.config;
        let (b, t) = (batch.batch_size(), batch.time());
        let tables = || model.rotary.tables(batch.positions(), t, &batch.device());
        let full = AttentionSpan {
            first_key: batch.first_key(),
            past,
        };
        // Rows no longer than the window see all there is.
        let narrower = |&window: &usize| past + t > window;
        let window = config.sliding_window.filter(narrower);
        Self {
            batch: b,
            time: t,
            config,
            tables: (!config.family.learned_positions()).then(tables),
            windowed: window.map(|window| full.within(window)),
            full,
            dropout: model.dropout_of(batch),
        }
    }

    fn span(&self, layer: usize) -> &AttentionSpan {
        let windowed = self.windowed.as_ref();
        let windowed = windowed.filter(|_| self.config.family.windowed(layer));
        windowed.unwrap_or(&self.full)
    }

    /// The output of one matrix of a block, whose place there is `part`.
    fn apply(&self, linear: &Linear, x: Tensor<2>, (layer, part): (usize, usize)) -> Tensor<2> {
        let dropout = self.dropout.as_ref().map(|rng| rng.key(layer).key(part));
        linear.forward(x, dropout.as_ref())
    }
}

/// The places of a block's matrices after queries, keys and values (0, 1, 2), by which their
/// streams of dropped numbers are told apart.
const OUTPUT: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

impl Block {
    /// `x` and the result are `[batch · time, d]`.
    fn forward(
        &self,
        x: Tensor<2>,
        step: &Step<'_>,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let y = self.input_norm.forward(x.clone(), step.config);
        let y = self.attend(y, step, layer, cache);
        let y = step.apply(&self.o, y, (layer, OUTPUT));
        let x = x + after(self.attention_norm.as_ref(), y, step.config);
        let y = self.feed_forward_norm.forward(x.clone(), step.config);
        let y = self.feed_forward(y, step, layer);
        x + after(self.output_norm.as_ref(), y, step.config)
    }

    fn feed_forward(&self, y: Tensor<2>, step: &Step<'_>, layer: usize) -> Tensor<2> {
        let up = step.apply(&self.up, y.clone(), (layer, UP));
        let gate = self.gate.as_ref();
        let gate = gate.map(|gate| step.apply(gate, y, (layer, GATE)));
        let inner = match gate {
            Some(gate) if step.config.family.gelu() => gelu_tanh(gate) * up,
            Some(gate) => swiglu(gate, up),
            None => gelu_tanh(up),
        };
        step.apply(&self.down, inner, (layer, DOWN))
    }

    /// Attention before its output matrix, `[batch · time, heads · head_dim]`.
    fn attend(
        &self,
        y: Tensor<2>,
        step: &Step<'_>,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let (b, t, config) = (step.batch, step.time, step.config);
        let heads = config.num_attention_heads;
        let [mut q, mut k, v] = self.queries_keys_values(y, step, layer);
        if let Some(norms) = &self.head_norms {
            (q, k) = (norms.q.forward(q, config), norms.k.forward(k, config));
        }
        if let Some(tables) = &step.tables {
            (q, k) = (rope(q, tables), rope(k, tables));
        }
        if let Some(scalar) = config.query_pre_attn_scalar {
            // Attention divides by √head_dim.
            q = q * (config.head_dim() as f64 / scalar).sqrt();
        }
        let (k, v) = match cache {
            Some(cache) => cache.write(layer, k, v),
            None => (k, v),
        };
        let span = step.span(layer);
        let out = match config.attn_logit_softcapping {
            Some(cap) => softcapped_attention(q, k, v, span, cap),
            None => attention(q, k, v, span),
        };
        out.reshape([b * t, heads * config.head_dim()])
    }

    /// `[batch, time, heads, head_dim]` and twice `[batch, time, kv_heads, head_dim]`.
    fn queries_keys_values(&self, y: Tensor<2>, step: &Step<'_>, layer: usize) -> [Tensor<4>; 3] {
        let config = step.config;
        let (heads, kv) = (config.num_attention_heads, config.num_key_value_heads);
        let width = config.head_dim();
        let by_head = |x: Tensor<2>, heads: usize| x.reshape([step.batch, step.time, heads, width]);
        if let [q, k, v] = self.qkv.as_slice() {
            return [(q, heads, 0), (k, kv, 1), (v, kv, 2)].map(|(matrix, heads, part)| {
                by_head(step.apply(matrix, y.clone(), (layer, part)), heads)
            });
        }
        let all = step.apply(&self.qkv[0], y, (layer, 0));
        let part = |start: usize, heads: usize| {
            by_head(all.clone().narrow(1, start * width, heads * width), heads)
        };
        [part(0, heads), part(heads, kv), part(heads + kv, kv)]
    }
}

/// The output of a part, through its norm where it has one.
fn after(norm: Option<&Norm>, y: Tensor<2>, config: &ModelConfig) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(y, config),
        None => y,
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
        self.dropout = Some(rng);
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

    /// The trunk without an output head of its own: what a scalar head stands on.
    pub(crate) fn without_head(mut self) -> Self {
        self.lm_head = None;
        self.config.tie_word_embeddings = true;
        self
    }

    /// The embeddings of a batch, `[batch · time, d]`.
    fn embed(&self, batch: &TokenBatch) -> Tensor<2> {
        let n = batch.batch_size() * batch.time();
        let mut x = self.embed_tokens.val().select(0, batch.ids().reshape([n]));
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

/// Builds modules from a source of numbers.
struct Values<'a> {
    device: &'a Device,
    source: &'a mut dyn ParameterSource,
}

impl Values<'_> {
    fn parameter<const D: usize>(
        &mut self,
        spec: &ParameterSpec,
    ) -> Result<Param<Tensor<D>>, ModelError> {
        let data = TensorData::new(self.source.values(spec)?, spec.shape.clone());
        Ok(Param::from_tensor(Tensor::from_data(data, self.device)))
    }

    fn optional<const D: usize>(
        &mut self,
        spec: Option<&ParameterSpec>,
    ) -> Result<Option<Param<Tensor<D>>>, ModelError> {
        spec.map(|spec| self.parameter(spec)).transpose()
    }

    fn linear(&mut self, spec: &LayerSpec) -> Result<Linear, ModelError> {
        Ok(Linear {
            weight: self.parameter(&spec.weight)?,
            bias: self.optional(spec.bias.as_ref())?,
            adapters: Vec::new(),
        })
    }

    fn norm(&mut self, spec: &LayerSpec) -> Result<Norm, ModelError> {
        Ok(Norm {
            weight: self.parameter(&spec.weight)?,
            bias: self.optional(spec.bias.as_ref())?,
        })
    }

    fn norm_if(&mut self, spec: Option<&LayerSpec>) -> Result<Option<Norm>, ModelError> {
        spec.map(|spec| self.norm(spec)).transpose()
    }

    fn head_norms(&mut self, [q, k]: &[LayerSpec; 2]) -> Result<HeadNorms, ModelError> {
        Ok(HeadNorms {
            q: self.norm(q)?,
            k: self.norm(k)?,
        })
    }

    fn block(&mut self, specs: &BlockSpecs) -> Result<Block, ModelError> {
        let input_norm = self.norm(&specs.input_norm)?;
        let qkv = specs.qkv.iter().map(|spec| self.linear(spec));
        let qkv = qkv.collect::<Result<Vec<Linear>, ModelError>>()?;
        let head_norms = specs.head_norms.as_ref();
        Ok(Block {
            input_norm,
            qkv,
            head_norms: head_norms.map(|specs| self.head_norms(specs)).transpose()?,
            o: self.linear(&specs.o)?,
            attention_norm: self.norm_if(specs.attention_norm.as_ref())?,
            feed_forward_norm: self.norm(&specs.feed_forward_norm)?,
            gate: specs
                .gate
                .as_ref()
                .map(|spec| self.linear(spec))
                .transpose()?,
            up: self.linear(&specs.up)?,
            down: self.linear(&specs.down)?,
            output_norm: self.norm_if(specs.output_norm.as_ref())?,
        })
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
