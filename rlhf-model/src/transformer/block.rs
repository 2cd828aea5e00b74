//! One block, and what it needs to know about the batch.

use super::Transformer;
use crate::layers::{Linear, Norm};
use crate::{KvCache, ModelConfig, TokenBatch};
use burn::module::Module;
use burn::tensor::Tensor;
use rlhf_kernels::{AttentionSpan, RopeTables, attention, gelu_tanh, rope, softcapped_attention};
use rlhf_random::Rng;

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
pub(super) struct Step<'a> {
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
    pub(super) fn new(model: &'a Transformer, batch: &TokenBatch, past: usize) -> Self {
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
        let [dropped] = self.dropped(layer, [part]);
        linear.forward(x, dropped.as_ref())
    }

    /// What each matrix drops, by its place.
    fn dropped<const N: usize>(&self, layer: usize, parts: [usize; N]) -> [Option<Rng>; N] {
        parts.map(|part| self.dropout.as_ref().map(|rng| rng.key(layer).key(part)))
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
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        step: &Step<'_>,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let y = self.attend(x.clone(), step, layer, cache);
        let y = step.apply(&self.o, y, (layer, OUTPUT));
        let y = after(self.attention_norm.as_ref(), y, step.config);
        let (x, y) = self.feed_forward([x, y], step, layer);
        x + after(self.output_norm.as_ref(), y, step.config)
    }

    /// `x + y`, and the feed-forward part of its norm.
    fn feed_forward(
        &self,
        [x, y]: [Tensor<2>; 2],
        step: &Step<'_>,
        layer: usize,
    ) -> (Tensor<2>, Tensor<2>) {
        let norm = (&self.feed_forward_norm, step.config);
        let down = |inner| step.apply(&self.down, inner, (layer, DOWN));
        let Some(gate) = &self.gate else {
            let [x, y] = self.feed_forward_norm.forward_sum(x, y, step.config);
            let up = step.apply(&self.up, y, (layer, UP));
            return (x, down(gelu_tanh(up)));
        };
        let dropped = step.dropped(layer, [GATE, UP, DOWN]);
        let [of_gate, of_up, of_down] = dropped.each_ref().map(Option::as_ref);
        let linears = [gate, &self.up];
        let (x, [gate, up]) = Linear::sum_normed_each(linears, norm, [x, y], [of_gate, of_up]);
        let y = if step.config.family.gelu() {
            down(gelu_tanh(gate) * up)
        } else {
            self.down.gated([gate, up], of_down)
        };
        (x, y)
    }

    /// Attention to the norm of `x` before its output matrix, `[batch · time, heads · head_dim]`.
    fn attend(
        &self,
        x: Tensor<2>,
        step: &Step<'_>,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let (b, t, config) = (step.batch, step.time, step.config);
        let heads = config.num_attention_heads;
        let [mut q, mut k, v] = self.queries_keys_values(x, step, layer);
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
    fn queries_keys_values(&self, x: Tensor<2>, step: &Step<'_>, layer: usize) -> [Tensor<4>; 3] {
        let config = step.config;
        let (heads, kv) = (config.num_attention_heads, config.num_key_value_heads);
        let width = config.head_dim();
        let by_head = |x: Tensor<2>, heads: usize| x.reshape([step.batch, step.time, heads, width]);
        if let [q, k, v] = self.qkv.as_slice() {
            let (linears, norm) = ([q, k, v], (&self.input_norm, config));
            let dropped = step.dropped(layer, [0, 1, 2]);
            let dropped = dropped.each_ref().map(Option::as_ref);
            let [q, k, v] = Linear::normed_each(linears, norm, x, dropped);
            return [by_head(q, heads), by_head(k, kv), by_head(v, kv)];
        }
        let y = self.input_norm.forward(x, config);
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
