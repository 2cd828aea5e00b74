//! A model's shape, read from and written to Hugging Face's `config.json`.

mod gpt2;
mod json;
mod rope;

pub(crate) use json::{GenerationJson, architectures};
pub use rope::{Llama3Rope, RopeScaling};

use crate::{Family, ModelError};

/// The sizes and constants of a transformer. Serialises as `config.json` of its family's language
/// model; both spellings of the rotary settings (`rope_theta` with `rope_scaling`, and
/// `rope_parameters`) and of the number type (`torch_dtype`, `dtype`) are read.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Which parts the transformer has.
    pub family: Family,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key/value heads; divides the number of query heads.
    pub num_key_value_heads: usize,
    /// Width of a head; `None` means `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    /// The longest sequence the model may see, prompt and answer together.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm, to the variance in LayerNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched for long contexts, if they are.
    pub rope_scaling: Option<RopeScaling>,
    /// How many tokens a query sees, its own included, in the blocks that have a window (Mistral:
    /// all, Gemma 2: the first and every second one after it). None: all of them.
    pub sliding_window: Option<usize>,
    /// Scores are divided by the root of this; of the width of a head where it is `None`.
    pub query_pre_attn_scalar: Option<f64>,
    /// Scores are kept within ± this.
    pub attn_logit_softcapping: Option<f64>,
    /// Logits are kept within ± this.
    pub final_logit_softcapping: Option<f64>,
    /// Whether the output head is the embedding table.
    pub tie_word_embeddings: bool,
    /// The token that starts a text.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a text; `config.json` holds one number or a list.
    pub eos_token_id: Vec<u32>,
    /// The token that fills up rows. Masks, never this id, say what is padding.
    pub pad_token_id: Option<u32>,
}

/// No model here is larger in any direction; a file that says so is damaged.
const LARGEST_SIZE: usize = 1 << 26;
const MOST_LAYERS: usize = 4096;
const MOST_PARAMETERS: usize = 1 << 42;

impl Default for ModelConfig {
    /// A tiny model with tied embeddings: vocabulary 1024, width 128, 4 blocks, 4 heads.
    fn default() -> Self {
        Self {
            family: Family::Llama,
            vocab_size: 1024,
            hidden_size: 128,
            intermediate_size: 344,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 4,
            head_dim: None,
            max_position_embeddings: 256,
            rms_norm_eps: 1e-5,
            rope_theta: 10_000.0,
            rope_scaling: None,
            sliding_window: None,
            query_pre_attn_scalar: None,
            attn_logit_softcapping: None,
            final_logit_softcapping: None,
            tie_word_embeddings: true,
            bos_token_id: None,
            eos_token_id: Vec::new(),
            pad_token_id: None,
        }
    }
}

impl ModelConfig {
    /// Width of one head.
    pub fn head_dim(&self) -> usize {
        self.head_dim
            .unwrap_or_else(|| self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Number of parameters; a tied head counts once.
    pub fn num_parameters(&self) -> usize {
        let specs = crate::parameters::transformer_specs(self);
        specs.iter().map(|spec| spec.len()).sum()
    }

    /// Checks that the fields fit together.
    ///
    /// # Errors
    /// [`ModelError::Config`] names the first field that does not.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.validate_sizes()?;
        self.validate_constants()?;
        let ids = self.eos_token_id.iter().map(|&id| ("eos_token_id", id));
        for (field, id) in self
            .bos_token_id
            .map(|id| ("bos_token_id", id))
            .into_iter()
            .chain(ids)
        {
            if id as usize >= self.vocab_size {
                let reason = format!("{id} is not below vocab_size {}", self.vocab_size);
                return Err(ModelError::config(field, reason));
            }
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Result<(), ModelError> {
        let sizes = [
            ("vocab_size", self.vocab_size, LARGEST_SIZE),
            ("hidden_size", self.hidden_size, LARGEST_SIZE),
            ("intermediate_size", self.intermediate_size, LARGEST_SIZE),
            ("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS),
            (
                "num_attention_heads",
                self.num_attention_heads,
                LARGEST_SIZE,
            ),
            (
                "num_key_value_heads",
                self.num_key_value_heads,
                LARGEST_SIZE,
            ),
            ("head_dim", self.head_dim.unwrap_or(2), LARGEST_SIZE),
            (
                "max_position_embeddings",
                self.max_position_embeddings,
                LARGEST_SIZE,
            ),
        ];
        for (field, value, most) in sizes {
            if value == 0 || value > most {
                let reason = format!("is {value}, must be between 1 and {most}");
                return Err(ModelError::config(field, reason));
            }
        }
        let (d, heads, kv) = (
            self.hidden_size,
            self.num_attention_heads,
            self.num_key_value_heads,
        );
        if self.head_dim.is_none() && d % heads != 0 {
            let reason = format!("{heads} heads do not divide hidden_size {d}; give head_dim");
            return Err(ModelError::config("num_attention_heads", reason));
        }
        if heads % kv != 0 {
            let reason = format!("{kv} does not divide num_attention_heads {heads}");
            return Err(ModelError::config("num_key_value_heads", reason));
        }
        if !self.family.learned_positions() && !self.head_dim().is_multiple_of(2) {
            let reason = format!(
                "a head is {} wide; rotary positions need pairs",
                self.head_dim()
            );
            return Err(ModelError::config("head_dim", reason));
        }
        self.validate_total()
    }

    fn validate_total(&self) -> Result<(), ModelError> {
        let (d, ff, hd) = (
            self.hidden_size as u128,
            self.intermediate_size as u128,
            self.head_dim() as u128,
        );
        let block = d * hd * 2 * (self.num_attention_heads + self.num_key_value_heads) as u128;
        let block = block + 3 * d * ff;
        let total = block * self.num_hidden_layers as u128 + 2 * d * self.vocab_size as u128;
        if total > MOST_PARAMETERS as u128 {
            let reason = format!("the sizes together make {total} parameters");
            return Err(ModelError::config("hidden_size", reason));
        }
        Ok(())
    }

    fn validate_constants(&self) -> Result<(), ModelError> {
        let positive = |field, x: f64| {
            if x.is_finite() && x > 0.0 {
                return Ok(());
            }
            Err(ModelError::config(
                field,
                format!("is {x}, must be a positive number"),
            ))
        };
        positive("rms_norm_eps", self.rms_norm_eps)?;
        positive("rope_theta", self.rope_theta)?;
        for (field, cap) in [
            ("query_pre_attn_scalar", self.query_pre_attn_scalar),
            ("attn_logit_softcapping", self.attn_logit_softcapping),
            ("final_logit_softcapping", self.final_logit_softcapping),
        ] {
            cap.map_or(Ok(()), |cap| positive(field, cap))?;
        }
        if self.sliding_window == Some(0) {
            let reason = "a window of 0 tokens sees nothing";
            return Err(ModelError::config("sliding_window", reason));
        }
        self.rope_scaling.map_or(Ok(()), RopeScaling::validate)
    }
}

#[cfg(test)]
mod tests;
