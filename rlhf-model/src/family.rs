//! The published families of models, and in which parts they differ.

/// A family of models: what Hugging Face's `model_type` says. One transformer computes all of
/// them; these methods say which of its parts a family has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    /// Llama 2 and 3, and what is built like them (SmolLM2, TinyLlama).
    #[default]
    Llama,
    /// Mistral 7B: Llama with a sliding window.
    Mistral,
    /// Qwen2 and Qwen2.5: Llama with biases on queries, keys and values.
    Qwen2,
    /// Qwen3: Llama with a norm on each head's queries and keys.
    Qwen3,
    /// Gemma 2: norms on both sides of each part, soft caps, windows in every second block.
    Gemma2,
    /// GPT-2: learned positions, LayerNorm, biases everywhere, a feed-forward part without gate.
    Gpt2,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Llama,
        Self::Mistral,
        Self::Qwen2,
        Self::Qwen3,
        Self::Gemma2,
        Self::Gpt2,
    ];

    /// The `model_type` of `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Gemma2 => "gemma2",
            Self::Gpt2 => "gpt2",
        }
    }

    /// The family of a `model_type`.
    pub fn of_model_type(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|family| family.model_type() == name)
    }

    /// The class of its language models, as `architectures` names it.
    pub(crate) fn causal_lm(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Gemma2 => "Gemma2ForCausalLM",
            Self::Gpt2 => "GPT2LMHeadModel",
        }
    }

    /// The class of its reward models.
    pub(crate) fn classifier(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForSequenceClassification",
            Self::Mistral => "MistralForSequenceClassification",
            Self::Qwen2 => "Qwen2ForSequenceClassification",
            Self::Qwen3 => "Qwen3ForSequenceClassification",
            Self::Gemma2 => "Gemma2ForSequenceClassification",
            Self::Gpt2 => "GPT2ForSequenceClassification",
        }
    }

    /// Whether positions are rows of a table that are added to the embeddings; rotary otherwise.
    pub(crate) fn learned_positions(self) -> bool {
        self == Self::Gpt2
    }

    /// Whether norms are LayerNorms with a bias; RMSNorms otherwise.
    pub(crate) fn layer_norm(self) -> bool {
        self == Self::Gpt2
    }

    /// Whether an RMSNorm scales by 1 + its weight.
    pub(crate) fn norm_plus_one(self) -> bool {
        self == Self::Gemma2
    }

    /// Whether the outputs of attention and of the feed-forward part pass a norm of their own.
    pub(crate) fn output_norms(self) -> bool {
        self == Self::Gemma2
    }

    /// Whether queries and keys pass an RMSNorm, head by head, before they are rotated.
    pub(crate) fn head_norms(self) -> bool {
        self == Self::Qwen3
    }

    /// Whether queries, keys and values have biases.
    pub(crate) fn qkv_bias(self) -> bool {
        matches!(self, Self::Qwen2 | Self::Gpt2)
    }

    /// Whether every other matrix of a block has a bias.
    pub(crate) fn other_biases(self) -> bool {
        self == Self::Gpt2
    }

    /// Whether queries, keys and values come from one matrix.
    pub(crate) fn fused_qkv(self) -> bool {
        self == Self::Gpt2
    }

    /// Whether the feed-forward part is gated.
    pub(crate) fn gated(self) -> bool {
        self != Self::Gpt2
    }

    /// Whether the feed-forward part uses GELU's tanh form; SiLU otherwise.
    pub(crate) fn gelu(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gpt2)
    }

    /// Whether embeddings are multiplied by √hidden_size.
    pub(crate) fn scaled_embeddings(self) -> bool {
        self == Self::Gemma2
    }

    /// Whether the file holds a block's matrices as `[in, out]`.
    pub(crate) fn matrices_as_used(self) -> bool {
        self == Self::Gpt2
    }

    /// Whether a block's attention sees a window only, where the configuration has one.
    pub(crate) fn windowed(self, layer: usize) -> bool {
        match self {
            Self::Mistral => true,
            Self::Gemma2 => layer.is_multiple_of(2),
            _ => false,
        }
    }
}
