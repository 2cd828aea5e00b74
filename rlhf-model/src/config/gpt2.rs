//! GPT-2's own names for the fields of `config.json`.

use super::ModelConfig;
use super::json::{GELU_TANH, RawIds, refuse};
use crate::{Family, ModelError};
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
pub(super) struct Raw {
    vocab_size: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_positions: Option<usize>,
    n_ctx: Option<usize>,
    n_inner: Option<usize>,
    layer_norm_epsilon: Option<f64>,
    activation_function: Option<String>,
    scale_attn_weights: Option<bool>,
    scale_attn_by_inverse_layer_idx: Option<bool>,
    add_cross_attention: Option<bool>,
    tie_word_embeddings: Option<bool>,
    #[serde(flatten)]
    ids: RawIds,
}

impl Raw {
    pub(super) fn into_config(self) -> Result<ModelConfig, ModelError> {
        let act = self.activation_function.as_deref().unwrap_or("gelu_new");
        if !GELU_TANH.contains(&act) {
            return Err(refuse("activation_function", act.to_owned(), "gelu_new"));
        }
        for (field, value, supported) in [
            ("scale_attn_weights", self.scale_attn_weights, true),
            (
                "scale_attn_by_inverse_layer_idx",
                self.scale_attn_by_inverse_layer_idx,
                false,
            ),
            ("add_cross_attention", self.add_cross_attention, false),
        ] {
            if value == Some(!supported) {
                let supported = if supported { "true" } else { "false" };
                return Err(refuse(
                    field,
                    (!value.unwrap_or_default()).to_string(),
                    supported,
                ));
            }
        }
        let (bos_token_id, eos_token_id, pad_token_id) = self.ids.into_ids()?;
        Ok(ModelConfig {
            family: Family::Gpt2,
            vocab_size: self.vocab_size,
            hidden_size: self.n_embd,
            intermediate_size: self
                .n_inner
                .unwrap_or_else(|| self.n_embd.saturating_mul(4)),
            num_hidden_layers: self.n_layer,
            num_attention_heads: self.n_head,
            num_key_value_heads: self.n_head,
            max_position_embeddings: self.n_positions.or(self.n_ctx).unwrap_or(1024),
            rms_norm_eps: self.layer_norm_epsilon.unwrap_or(1e-5),
            tie_word_embeddings: self.tie_word_embeddings.unwrap_or(true),
            bos_token_id,
            eos_token_id,
            pad_token_id,
            ..ModelConfig::default()
        })
    }
}

impl ModelConfig {
    /// The sizes and constants under GPT-2's names.
    pub(super) fn gpt2_fields(&self, map: &mut Map<String, Value>) {
        for (key, value) in [
            ("vocab_size", json!(self.vocab_size)),
            ("n_embd", json!(self.hidden_size)),
            ("n_layer", json!(self.num_hidden_layers)),
            ("n_head", json!(self.num_attention_heads)),
            ("n_positions", json!(self.max_position_embeddings)),
            ("n_inner", json!(self.intermediate_size)),
            ("layer_norm_epsilon", json!(self.rms_norm_eps)),
            ("activation_function", json!("gelu_new")),
            ("scale_attn_weights", json!(true)),
        ] {
            map.insert(key.to_owned(), value);
        }
    }
}
