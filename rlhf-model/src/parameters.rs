//! The table of a model's parameters: names, shapes, layouts and first values, in one order.
//!
//! Initialisation, reading, writing and visiting all walk this table, so that none of them can
//! forget or rename a tensor.

use crate::{Family, ModelConfig, ModelError};
use rlhf_random::Rng;

/// What a parameter is, which decides its first values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A table of rows by token id.
    Embedding,
    /// A table of rows by position.
    Positions,
    /// A matrix `[in, out]`.
    Linear,
    /// A matrix whose output is added to the residual stream.
    ResidualLinear,
    /// The output head, a matrix as `Linear`.
    Head,
    /// A vector that scales: ones at first.
    Norm,
    /// A vector that is added, or scales by 1 + itself: zeros at first.
    Zeros,
}

/// One parameter.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSpec {
    /// Hugging Face's name.
    pub(crate) name: String,
    /// Our layout: `[in, out]` for matrices.
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
    /// Whether the file holds the transpose.
    pub(crate) transposed: bool,
}

impl ParameterSpec {
    fn new(name: impl Into<String>, shape: &[usize], kind: Kind) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            kind,
            transposed: matches!(kind, Kind::Linear | Kind::ResidualLinear | Kind::Head),
        }
    }

    /// The shape in the file.
    pub(crate) fn file_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if self.transposed {
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

/// The weight of a matrix or a norm, and its bias where it has one.
pub(crate) struct LayerSpec {
    pub(crate) weight: ParameterSpec,
    pub(crate) bias: Option<ParameterSpec>,
}

impl LayerSpec {
    fn into_list(self) -> impl Iterator<Item = ParameterSpec> {
        std::iter::once(self.weight).chain(self.bias)
    }
}

/// The specifications of one block.
pub(crate) struct BlockSpecs {
    pub(crate) input_norm: LayerSpec,
    /// Queries, keys and values; one matrix where the family fuses them.
    pub(crate) qkv: Vec<LayerSpec>,
    /// The norms of queries and keys.
    pub(crate) head_norms: Option<[LayerSpec; 2]>,
    pub(crate) o: LayerSpec,
    pub(crate) attention_norm: Option<LayerSpec>,
    pub(crate) feed_forward_norm: LayerSpec,
    pub(crate) gate: Option<LayerSpec>,
    pub(crate) up: LayerSpec,
    pub(crate) down: LayerSpec,
    pub(crate) output_norm: Option<LayerSpec>,
}

/// Names and shapes of one model's parameters.
struct Table<'a> {
    config: &'a ModelConfig,
}

impl Table<'_> {
    fn family(&self) -> Family {
        self.config.family
    }

    /// Before every name but the heads'.
    fn prefix(&self) -> &'static str {
        match self.family() {
            Family::Gpt2 => "transformer",
            _ => "model",
        }
    }

    fn norm(&self, name: &str, width: usize) -> LayerSpec {
        let family = self.family();
        let kind = if family.norm_plus_one() {
            Kind::Zeros
        } else {
            Kind::Norm
        };
        let bias = || ParameterSpec::new(format!("{name}.bias"), &[width], Kind::Zeros);
        LayerSpec {
            weight: ParameterSpec::new(format!("{name}.weight"), &[width], kind),
            bias: family.layer_norm().then(bias),
        }
    }

    fn linear(&self, name: &str, shape: [usize; 2], (kind, biased): (Kind, bool)) -> LayerSpec {
        let mut weight = ParameterSpec::new(format!("{name}.weight"), &shape, kind);
        weight.transposed = !self.family().matrices_as_used();
        let bias = || ParameterSpec::new(format!("{name}.bias"), &[shape[1]], Kind::Zeros);
        LayerSpec {
            weight,
            bias: biased.then(bias),
        }
    }

    fn block(&self, layer: usize) -> BlockSpecs {
        let (config, family) = (self.config, self.family());
        let (d, ff) = (config.hidden_size, config.intermediate_size);
        let q = config.num_attention_heads * config.head_dim();
        let kv = config.num_key_value_heads * config.head_dim();
        let names = Names::of(family);
        let at = |part: &str| format!("{}.{}.{layer}.{part}", self.prefix(), names.blocks);
        let norm = |part: &str| self.norm(&at(part), d);
        let into = |part: &str, shape, bias| self.linear(&at(part), shape, (Kind::Linear, bias));
        let out = |part: &str, shape| {
            let settings = (Kind::ResidualLinear, family.other_biases());
            self.linear(&at(part), shape, settings)
        };
        let widths: &[usize] = if family.fused_qkv() {
            &[q + 2 * kv]
        } else {
            &[q, kv, kv]
        };
        let qkv = names.qkv.iter().zip(widths);
        let head = |part: &str| self.norm(&at(part), config.head_dim());
        BlockSpecs {
            input_norm: norm(names.input_norm),
            qkv: qkv
                .map(|(name, &width)| into(name, [d, width], family.qkv_bias()))
                .collect(),
            head_norms: family
                .head_norms()
                .then(|| [head("self_attn.q_norm"), head("self_attn.k_norm")]),
            o: out(names.o, [q, d]),
            attention_norm: family
                .output_norms()
                .then(|| norm("post_attention_layernorm")),
            feed_forward_norm: norm(names.feed_forward_norm),
            gate: family
                .gated()
                .then(|| into("mlp.gate_proj", [d, ff], family.other_biases())),
            up: into(names.up, [d, ff], family.other_biases()),
            down: out(names.down, [ff, d]),
            output_norm: family
                .output_norms()
                .then(|| norm("post_feedforward_layernorm")),
        }
    }
}

/// The parts of a block whose names differ.
struct Names {
    blocks: &'static str,
    input_norm: &'static str,
    qkv: &'static [&'static str],
    o: &'static str,
    feed_forward_norm: &'static str,
    up: &'static str,
    down: &'static str,
}

impl Names {
    fn of(family: Family) -> Self {
        let llama = Self {
            blocks: "layers",
            input_norm: "input_layernorm",
            qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            o: "self_attn.o_proj",
            feed_forward_norm: "post_attention_layernorm",
            up: "mlp.up_proj",
            down: "mlp.down_proj",
        };
        match family {
            Family::Gpt2 => Self {
                blocks: "h",
                input_norm: "ln_1",
                qkv: &["attn.c_attn"],
                o: "attn.c_proj",
                feed_forward_norm: "ln_2",
                up: "mlp.c_fc",
                down: "mlp.c_proj",
            },
            Family::Gemma2 => Self {
                feed_forward_norm: "pre_feedforward_layernorm",
                ..llama
            },
            _ => llama,
        }
    }
}

impl BlockSpecs {
    pub(crate) fn new(config: &ModelConfig, layer: usize) -> Self {
        Table { config }.block(layer)
    }

    fn into_list(self) -> Vec<ParameterSpec> {
        let mut specs: Vec<ParameterSpec> = self.input_norm.into_list().collect();
        specs.extend(self.qkv.into_iter().flat_map(LayerSpec::into_list));
        let norms = self.head_norms.into_iter().flatten();
        specs.extend(norms.flat_map(LayerSpec::into_list));
        specs.extend(self.o.into_list());
        specs.extend(
            self.attention_norm
                .into_iter()
                .flat_map(LayerSpec::into_list),
        );
        specs.extend(self.feed_forward_norm.into_list());
        specs.extend(self.gate.into_iter().flat_map(LayerSpec::into_list));
        specs.extend(self.up.into_list());
        specs.extend(self.down.into_list());
        specs.extend(self.output_norm.into_iter().flat_map(LayerSpec::into_list));
        specs
    }
}

pub(crate) fn embedding_spec(config: &ModelConfig) -> ParameterSpec {
    let shape = [config.vocab_size, config.hidden_size];
    let name = match config.family {
        Family::Gpt2 => "transformer.wte.weight",
        _ => "model.embed_tokens.weight",
    };
    ParameterSpec::new(name, &shape, Kind::Embedding)
}

/// The table of learned positions, where the family has one.
pub(crate) fn positions_spec(config: &ModelConfig) -> Option<ParameterSpec> {
    let shape = [config.max_position_embeddings, config.hidden_size];
    let spec = || ParameterSpec::new("transformer.wpe.weight", &shape, Kind::Positions);
    config.family.learned_positions().then(spec)
}

/// The norm after the last block.
pub(crate) fn norm_spec(config: &ModelConfig) -> LayerSpec {
    let name = match config.family {
        Family::Gpt2 => "transformer.ln_f",
        _ => "model.norm",
    };
    Table { config }.norm(name, config.hidden_size)
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
    specs.extend(positions_spec(config));
    for layer in 0..config.num_hidden_layers {
        specs.extend(BlockSpecs::new(config, layer).into_list());
    }
    specs.extend(norm_spec(config).into_list());
    if !config.tie_word_embeddings {
        specs.push(head_spec(config));
    }
    specs
}

/// First values: normal with σ = 1/√fan_in, for outputs into the residual stream also divided by
/// √(2·layers) (GPT-2's rule), embeddings 0.5, learned positions and an untied head 0.02, norms 1,
/// biases 0. Each parameter draws from a stream of its own, named by the seed and its name.
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
            Kind::Zeros => return vec![0.0; spec.len()],
            Kind::Embedding => 0.5,
            Kind::Head | Kind::Positions => 0.02,
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
