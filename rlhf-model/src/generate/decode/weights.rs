//! A model's weights, laid out for decoding.

use super::slot::CacheSizes;
use crate::rotary::{Angles, Rotary};
use crate::{Block, Linear, ModelConfig, Norm, Transformer};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use rlhf_kernels::decode::{self, Numbers, PackedMatrix, Side, Storage};

/// A transformer's weights, packed for decoding on the CPU. Adapters are merged.
#[derive(Clone, Debug)]
pub struct PackedModel {
    pub(super) config: ModelConfig,
    rotary: Rotary,
    pub(super) embeddings: Numbers,
    pub(super) positions: Option<Numbers>,
    pub(super) layers: Vec<PackedBlock>,
    pub(super) norm: PackedNorm,
    pub(super) head: PackedMatrix,
    /// Whether the weights do not stay in the caches.
    pub(super) large: bool,
}

/// Parameters that stay in the caches.
const CACHED: usize = 16 << 20;

/// How matrices are laid out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    storage: Storage,
    streamed: bool,
}

impl Layout {
    fn packed(self, inputs: usize, sides: &[Side<'_>]) -> PackedMatrix {
        PackedMatrix::new(inputs, sides, self.storage).streamed(self.streamed)
    }
}

/// A block's weights.
#[derive(Clone, Debug)]
pub(super) struct PackedBlock {
    pub(super) input_norm: PackedNorm,
    /// Queries, keys and values side by side.
    pub(super) qkv: PackedLinear,
    /// Norms of each head's queries and keys.
    pub(super) head_norms: Option<[PackedNorm; 2]>,
    pub(super) o: PackedLinear,
    pub(super) attention_norm: Option<PackedNorm>,
    pub(super) feed_forward_norm: PackedNorm,
    /// Gate, where there is one, and up side by side.
    pub(super) gate_up: PackedLinear,
    pub(super) down: PackedLinear,
    pub(super) output_norm: Option<PackedNorm>,
}

/// `x · weight + bias`.
#[derive(Clone, Debug)]
pub(super) struct PackedLinear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
}

/// A norm as it is applied.
#[derive(Clone, Debug)]
pub(super) struct PackedNorm {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    eps: f32,
}

impl PackedModel {
    /// The weights of a model on the CPU; `None` on other devices, in other number types, or where
    /// plain operations are wanted.
    pub(crate) fn of(model: &Transformer, storage: Storage) -> Option<Self> {
        if !decode::available() {
            return None;
        }
        let model = model.valid();
        let config = model.config().clone();
        let large = model.num_params() > CACHED;
        let layout = Layout {
            storage,
            streamed: large,
        };
        let embeddings = numbers(&model.embed_tokens)?;
        let head = match &model.lm_head {
            Some(head) => {
                let head = numbers(head)?;
                layout.packed(config.hidden_size, &[Side::Columns(&head)])
            }
            None => layout.packed(config.hidden_size, &[Side::Rows(&embeddings)]),
        };
        let positions = match &model.embed_positions {
            Some(table) => Some(numbers(table)?),
            None => None,
        };
        let layers = model.layers.iter();
        let layers = layers.map(|block| PackedBlock::of(block, &config, layout));
        Some(Self {
            rotary: model.rotary().clone(),
            embeddings,
            positions,
            layers: layers.collect::<Option<_>>()?,
            norm: PackedNorm::of(&model.norm, &config)?,
            head,
            large,
            config,
        })
    }

    /// Cosines and sines of the first positions.
    pub(super) fn angles(&self, positions: usize) -> Angles {
        self.rotary.angles(positions)
    }

    pub(super) fn cache_sizes(&self) -> CacheSizes {
        CacheSizes {
            layers: self.config.num_hidden_layers,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim(),
        }
    }
}

impl PackedBlock {
    fn of(block: &Block, config: &ModelConfig, layout: Layout) -> Option<Self> {
        let norm = |norm: &Norm| PackedNorm::of(norm, config);
        let optional = |norm: &Option<Norm>| match norm {
            Some(norm) => PackedNorm::of(norm, config).map(Some),
            None => Some(None),
        };
        let head_norms = match &block.head_norms {
            Some(norms) => Some([norm(&norms.q)?, norm(&norms.k)?]),
            None => None,
        };
        let qkv: Vec<&Linear> = block.qkv.iter().collect();
        let gate_up: Vec<&Linear> = block.gate.iter().chain([&block.up]).collect();
        Some(Self {
            input_norm: norm(&block.input_norm)?,
            qkv: PackedLinear::of(&qkv, layout)?,
            head_norms,
            o: PackedLinear::of(&[&block.o], layout)?,
            attention_norm: optional(&block.attention_norm)?,
            feed_forward_norm: norm(&block.feed_forward_norm)?,
            gate_up: PackedLinear::of(&gate_up, layout)?,
            down: PackedLinear::of(&[&block.down], layout)?,
            output_norm: optional(&block.output_norm)?,
        })
    }
}

impl PackedLinear {
    /// Matrices of one input, side by side.
    fn of(linears: &[&Linear], layout: Layout) -> Option<Self> {
        let inputs = linears.first()?.weight.dims()[0];
        let weights = linears.iter();
        let weights = weights.map(|linear| Numbers::of(linear.merged_weight()));
        let weights = weights.collect::<Option<Vec<Numbers>>>()?;
        let sides: Vec<Side<'_>> = weights.iter().map(|w| Side::Columns(w)).collect();
        let mut bias = Vec::new();
        for linear in linears.iter().filter_map(|linear| linear.bias.as_ref()) {
            bias.extend_from_slice(&Numbers::of(linear.val())?);
        }
        let weight = layout.packed(inputs, &sides);
        Some(Self {
            bias: (bias.len() == weight.outputs()).then_some(bias),
            weight,
        })
    }

    /// `x` `[n, in]` to `out`, which becomes `[n, out]`.
    pub(super) fn forward(&self, x: &[f32], out: &mut Vec<f32>) {
        out.resize(x.len() / self.weight.inputs() * self.weight.outputs(), 0.0);
        self.weight.product(x, out);
        if let Some(bias) = &self.bias {
            decode::add_bias(out, bias);
        }
    }
}

impl PackedNorm {
    fn of(norm: &Norm, config: &ModelConfig) -> Option<Self> {
        let weight = Numbers::of(norm.weight.val())?;
        let more = if norm.bias.is_none() && config.family.norm_plus_one() {
            1.0
        } else {
            0.0
        };
        let bias = match &norm.bias {
            Some(bias) => Some(Numbers::of(bias.val())?.to_vec()),
            None => None,
        };
        Some(Self {
            weight: weight.iter().map(|w| w + more).collect(),
            bias,
            eps: config.rms_norm_eps as f32,
        })
    }

    /// Normalises rows of the weight's length.
    pub(super) fn forward(&self, x: &[f32], out: &mut Vec<f32>) {
        out.resize(x.len(), 0.0);
        match &self.bias {
            Some(bias) => decode::layer_norm(x, &self.weight, bias, self.eps, out),
            None => decode::rms_norm(x, &self.weight, self.eps, out),
        }
    }
}

fn numbers<const D: usize>(parameter: &Param<Tensor<D>>) -> Option<Numbers> {
    Numbers::of(parameter.val())
}
