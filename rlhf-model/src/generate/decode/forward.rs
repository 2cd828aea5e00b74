//! One pass of some tokens through the model.

use super::slot::Slot;
use super::weights::{PackedBlock, PackedModel, PackedNorm};
use crate::rotary::Angles;
use rayon::prelude::*;
use rlhf_kernels::decode;
use rlhf_kernels::parts::threads;

/// A token to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) id: u32,
    /// Its row's place in the cache.
    pub(super) slot: usize,
    /// Its place in its row.
    pub(super) position: usize,
}

/// Tokens that pass through the layers together; their numbers stay in the caches.
const CHUNK: usize = 256;

/// Products of a layer's attention from which on its threads, where it has several, share the tokens.
const SHARED: usize = 1 << 17;

/// Memory for a pass.
#[derive(Debug, Default)]
pub(super) struct Pass {
    x: Vec<f32>,
    y: Vec<f32>,
    z: Vec<f32>,
    qkv: Vec<f32>,
    inner: Vec<f32>,
    scores: Vec<f32>,
    last: Vec<f32>,
    /// `[outputs, vocab]`.
    logits: Vec<f32>,
}

impl Pass {
    /// Reads tokens: a row's in their order, after those that were read before. The logits after
    /// the tokens whose indices `outputs` gives, ascending, are there afterwards.
    pub(super) fn run(
        &mut self,
        model: &PackedModel,
        angles: &Angles,
        slots: &mut [Slot],
        tokens: &[Token],
        outputs: &[usize],
    ) {
        let d = model.config.hidden_size;
        self.last.clear();
        let mut outputs = outputs.iter().copied().peekable();
        let mut count = 0;
        for (chunk, tokens) in tokens.chunks(CHUNK).enumerate() {
            self.embed(model, tokens);
            for (layer, block) in model.layers.iter().enumerate() {
                self.attention(model, block, layer, angles, slots, tokens);
                self.feed_forward(model, block);
            }
            let end = chunk * CHUNK + tokens.len();
            while let Some(index) = outputs.next_if(|&index| index < end) {
                let row = (index - chunk * CHUNK) * d;
                self.last.extend_from_slice(&self.x[row..row + d]);
                count += 1;
            }
        }
        model.norm.forward(&self.last, &mut self.y);
        self.logits.resize(count * model.config.vocab_size, 0.0);
        model.head.product(&self.y, &mut self.logits);
        if let Some(cap) = model.config.final_logit_softcapping {
            decode::softcap(&mut self.logits, cap as f32);
        }
    }

    /// The logits of one output of the last pass.
    pub(super) fn logits(&self, model: &PackedModel, output: usize) -> &[f32] {
        &self.logits[output * model.config.vocab_size..][..model.config.vocab_size]
    }

    fn embed(&mut self, model: &PackedModel, tokens: &[Token]) {
        let d = model.config.hidden_size;
        let row = |at: usize| at * d..(at + 1) * d;
        self.x.clear();
        for token in tokens {
            let table: &[f32] = &model.embeddings;
            self.x.extend_from_slice(&table[row(token.id as usize)]);
        }
        if model.config.family.scaled_embeddings() {
            let scale = (d as f64).sqrt() as f32;
            self.x.iter_mut().for_each(|x| *x *= scale);
        }
        if let Some(table) = &model.positions {
            for (x, token) in self.x.chunks_exact_mut(d).zip(tokens) {
                decode::add(x, &table[row(token.position)]);
            }
        }
    }

    /// Adds a block's attention to `x`.
    fn attention(
        &mut self,
        model: &PackedModel,
        block: &PackedBlock,
        layer: usize,
        angles: &Angles,
        slots: &mut [Slot],
        tokens: &[Token],
    ) {
        let config = &model.config;
        let width = config.head_dim();
        let of_queries = config.num_attention_heads * width;
        let of_keys = config.num_key_value_heads * width;
        block.input_norm.forward(&self.x, &mut self.y);
        block.qkv.forward(&self.y, &mut self.qkv);
        let row = of_queries + 2 * of_keys;
        for (qkv, token) in self.qkv.chunks_exact_mut(row).zip(tokens) {
            let (q, kv) = qkv.split_at_mut(of_queries);
            let (k, v) = kv.split_at_mut(of_keys);
            if let Some([of_q, of_k]) = &block.head_norms {
                for (norm, heads) in [(of_q, &mut *q), (of_k, &mut *k)] {
                    norm.forward(heads, &mut self.z);
                    heads.copy_from_slice(&self.z);
                }
            }
            if !config.family.learned_positions() {
                let (cos, sin) = angles.at(token.position);
                decode::rotate(q, cos, sin);
                decode::rotate(k, cos, sin);
            }
            slots[token.slot].write(layer, token.position, k, v);
        }
        let divisor = config.query_pre_attn_scalar.unwrap_or(width as f64);
        let scale = (1.0 / divisor.sqrt()) as f32;
        let cap = config.attn_logit_softcapping.map(|cap| cap as f32);
        let window = config.sliding_window;
        let window = window.filter(|_| config.family.windowed(layer));
        let visible = |token: &Token| {
            let end = token.position + 1;
            window.map_or(0, |window| end.saturating_sub(window))..end
        };
        let slots = &*slots;
        let attend = |scores: &mut Vec<f32>, qkv: &[f32], token: &Token, out: &mut [f32]| {
            let cached = slots[token.slot].heads(layer, scale, cap);
            decode::attend(&qkv[..of_queries], &cached, visible(token), scores, out);
        };
        self.z.resize(tokens.len() * of_queries, 0.0);
        let seen: usize = tokens.iter().map(|token| visible(token).len()).sum();
        if threads() > 1 && seen * of_queries > SHARED {
            let rows = self.qkv.par_chunks_exact(row).zip(tokens);
            let rows = rows.zip(self.z.par_chunks_exact_mut(of_queries));
            rows.for_each_init(Vec::new, |scores, ((qkv, token), out)| {
                attend(scores, qkv, token, out);
            });
        } else {
            let rows = self.qkv.chunks_exact(row).zip(tokens);
            for ((qkv, token), out) in rows.zip(self.z.chunks_exact_mut(of_queries)) {
                attend(&mut self.scores, qkv, token, out);
            }
        }
        block.o.forward(&self.z, &mut self.y);
        self.add(block.attention_norm.as_ref());
    }

    /// Adds a block's feed-forward part to `x`.
    fn feed_forward(&mut self, model: &PackedModel, block: &PackedBlock) {
        let family = model.config.family;
        block.feed_forward_norm.forward(&self.x, &mut self.y);
        block.gate_up.forward(&self.y, &mut self.inner);
        let width = model.config.intermediate_size;
        let inner = if !family.gated() {
            decode::gelu_tanh(&mut self.inner);
            &self.inner
        } else {
            self.z.resize(self.inner.len() / 2, 0.0);
            if family.gelu() {
                gelu_product(&mut self.inner, width, &mut self.z);
            } else {
                decode::swiglu(&self.inner, width, &mut self.z);
            }
            &self.z
        };
        block.down.forward(inner, &mut self.y);
        self.add(block.output_norm.as_ref());
    }

    /// Adds `y` to `x`, through a norm where there is one.
    fn add(&mut self, norm: Option<&PackedNorm>) {
        match norm {
            Some(norm) => {
                norm.forward(&self.y, &mut self.z);
                decode::add(&mut self.x, &self.z);
            }
            None => decode::add(&mut self.x, &self.y),
        }
    }
}

/// `gelu(gate) · up` of rows that hold both: `x` `[rows, 2·width]`, `out` `[rows, width]`.
fn gelu_product(x: &mut [f32], width: usize, out: &mut [f32]) {
    let rows = x.chunks_exact_mut(2 * width);
    for (x, out) in rows.zip(out.chunks_exact_mut(width)) {
        let (gate, up) = x.split_at_mut(width);
        decode::gelu_tanh(gate);
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = *gate * *up;
        }
    }
}
