//! The table of a model's parameters: names, shapes, layouts and first values, in one order.
//!
//! Initialisation, reading, writing and visiting all walk this table, so that none of them can
//! forget or rename a tensor.

use crate::{ModelConfig, ModelError};
use rlhf_random::Rng;

/// What a parameter is, which decides its layout and its first values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A table of rows, stored as in the file.
    Embedding,
    /// A matrix `[in, out]`, `[out, in]` in the file.
    Linear,
    /// A matrix whose output is added to the residual stream.
    ResidualLinear,
    /// The output head, a matrix as `Linear`.
    Head,
    /// A vector of ones at first.
    Norm,
}

/// One parameter.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSpec {
    /// Hugging Face's name.
    pub(crate) name: String,
    /// Our layout: `[in, out]` for matrices.
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
}

impl ParameterSpec {
    fn new(name: impl Into<String>, shape: &[usize], kind: Kind) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            kind,
        }
    }

    /// Whether the file holds the transpose.
    pub(crate) fn transposed(&self) -> bool {
        matches!(self.kind, Kind::Linear | Kind::ResidualLinear | Kind::Head)
    }

    /// The shape in the file.
    pub(crate) fn file_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.transposed() {
            shape.reverse();
        }
        shape
    }

    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Where the numbers of a parameter come from.
pub(crate) trait ParameterSource {
    /// The values in our layout, as many as the shape says.
    fn values(&mut self, spec: &ParameterSpec) -> Result<Vec<f32>, ModelError>;
}

/// The specifications of one block, in the order of the table.
pub(crate) struct BlockSpecs {
    pub(crate) input_norm: ParameterSpec,
    pub(crate) q: ParameterSpec,
    pub(crate) k: ParameterSpec,
    pub(crate) v: ParameterSpec,
    pub(crate) o: ParameterSpec,
    pub(crate) post_norm: ParameterSpec,
    pub(crate) gate: ParameterSpec,
    pub(crate) up: ParameterSpec,
    pub(crate) down: ParameterSpec,
}

impl BlockSpecs {
    pub(crate) fn new(config: &ModelConfig, layer: usize) -> Self {
        let (d, ff) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim();
        let kv = config.num_key_value_heads * config.head_dim();
        let spec = |part: &str, shape: &[usize], kind| {
            ParameterSpec::new(format!("model.layers.{layer}.{part}.weight"), shape, kind)
        };
        Self {
            input_norm: spec("input_layernorm", &[d], Kind::Norm),
            q: spec("self_attn.q_proj", &[d, q], Kind::Linear),
            k: spec("self_attn.k_proj", &[d, kv], Kind::Linear),
            v: spec("self_attn.v_proj", &[d, kv], Kind::Linear),
            o: spec("self_attn.o_proj", &[q, d], Kind::ResidualLinear),
            post_norm: spec("post_attention_layernorm", &[d], Kind::Norm),
            gate: spec("mlp.gate_proj", &[d, ff], Kind::Linear),
            up: spec("mlp.up_proj", &[d, ff], Kind::Linear),
            down: spec("mlp.down_proj", &[ff, d], Kind::ResidualLinear),
        }
    }

    fn into_list(self) -> [ParameterSpec; 9] {
        let Self {
            input_norm,
            q,
            k,
            v,
            o,
            post_norm,
            gate,
            up,
            down,
        } = self;
        [input_norm, q, k, v, o, post_norm, gate, up, down]
    }
}

pub(crate) fn embedding_spec(config: &ModelConfig) -> ParameterSpec {
    let shape = [config.vocab_size, config.hidden_size];
    ParameterSpec::new("model.embed_tokens.weight", &shape, Kind::Embedding)
}

pub(crate) fn norm_spec(config: &ModelConfig) -> ParameterSpec {
    ParameterSpec::new("model.norm.weight", &[config.hidden_size], Kind::Norm)
}

/// The untied output head.
pub(crate) fn head_spec(config: &ModelConfig) -> ParameterSpec {
    let shape = [config.hidden_size, config.vocab_size];
    ParameterSpec::new("lm_head.weight", &shape, Kind::Head)
}

/// The scalar head of a score model; `[1, d]` in the file.
pub(crate) fn score_spec(config: &ModelConfig) -> ParameterSpec {
    ParameterSpec::new("score.weight", &[config.hidden_size, 1], Kind::Linear)
}

/// All parameters of the trunk in the fixed order, and the head's where it is not tied.
pub(crate) fn transformer_specs(config: &ModelConfig) -> Vec<ParameterSpec> {
    let mut specs = vec![embedding_spec(config)];
    for layer in 0..config.num_hidden_layers {
        specs.extend(BlockSpecs::new(config, layer).into_list());
    }
    specs.push(norm_spec(config));
    if !config.tie_word_embeddings {
        specs.push(head_spec(config));
    }
    specs
}

/// First values: normal with σ = 1/√fan_in, for outputs into the residual stream also divided by
/// √(2·layers) (GPT-2's rule), embeddings 0.5, an untied head 0.02, norms 1. Each parameter draws
/// from a stream of its own, named by the seed and its name.
pub(crate) struct Drawn {
    rng: Rng,
    layers: usize,
}

impl Drawn {
    pub(crate) fn new(seed: u64, config: &ModelConfig) -> Self {
        Self {
            rng: Rng::new(seed).key("parameter"),
            layers: config.num_hidden_layers,
        }
    }

    pub(crate) fn draw(&self, spec: &ParameterSpec) -> Vec<f32> {
        let fan_in = 1.0 / (spec.shape[0].max(1) as f64).sqrt();
        let sigma = match spec.kind {
            Kind::Norm => return vec![1.0; spec.len()],
            Kind::Embedding => 0.5,
            Kind::Head => 0.02,
            Kind::Linear => fan_in,
            Kind::ResidualLinear => fan_in / (2.0 * self.layers as f64).sqrt(),
        };
        let mut rng = self.rng.key(spec.name.as_str());
        (0..spec.len())
            .map(|_| (sigma * rng.normal()) as f32)
            .collect()
    }
}

impl ParameterSource for Drawn {
    fn values(&mut self, spec: &ParameterSpec) -> Result<Vec<f32>, ModelError> {
        Ok(self.draw(spec))
    }
}

/// The transpose of a `[rows, columns]` matrix.
pub(crate) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for c in 0..columns {
        out.extend((0..rows).map(|r| values[r * columns + c]));
    }
    out
}
