//! `config.json` as it is found in the wild, and as we write it.

use super::rope::RawRope;
use super::{ModelConfig, RopeScaling};
use crate::{Family, ModelError};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Map, Value, json};
use std::path::Path;

/// One number, a list, or nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenIds {
    One(i64),
    Many(Vec<u32>),
}

/// The fields of the families that share Llama's names.
#[derive(Deserialize)]
struct Raw {
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    query_pre_attn_scalar: Option<f64>,
    attn_logit_softcapping: Option<f64>,
    final_logit_softcapping: Option<f64>,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    hidden_activation: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    #[serde(flatten)]
    ids: RawIds,
}

/// The special tokens' ids.
#[derive(Deserialize)]
pub(super) struct RawIds {
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
    pad_token_id: Option<TokenIds>,
}

/// The architectures that a `config.json` names, if it is one.
pub(crate) fn architectures(text: &str) -> Vec<String> {
    #[derive(Deserialize)]
    struct Names {
        architectures: Option<Vec<String>>,
    }
    serde_json::from_str::<Names>(text)
        .ok()
        .and_then(|n| n.architectures)
        .unwrap_or_default()
}

pub(super) fn refuse(field: &'static str, found: String, supported: &'static str) -> ModelError {
    ModelError::Unsupported {
        field,
        found,
        supported,
    }
}

/// The activations that GELU's tanh form goes under.
pub(super) const GELU_TANH: [&str; 3] = ["gelu_pytorch_tanh", "gelu_new", "gelu_fast"];

impl Raw {
    /// Names the first thing that this crate does not compute.
    fn check_supported(&self, family: Family) -> Result<(), ModelError> {
        // Gemma's files hold both; `hidden_activation` is the one that counts.
        let act = self
            .hidden_activation
            .as_deref()
            .or(self.hidden_act.as_deref());
        if let Some(act) = act {
            if family.gelu() && !GELU_TANH.contains(&act) {
                return Err(refuse(
                    "hidden_activation",
                    act.to_owned(),
                    "gelu_pytorch_tanh",
                ));
            }
            if !family.gelu() && act != "silu" {
                return Err(refuse("hidden_act", act.to_owned(), "silu"));
            }
        }
        if self.attention_bias == Some(true) {
            return Err(refuse("attention_bias", "true".into(), "false"));
        }
        if self.mlp_bias == Some(true) {
            return Err(refuse("mlp_bias", "true".into(), "false"));
        }
        if self.use_sliding_window == Some(true) {
            return Err(refuse("use_sliding_window", "true".into(), "false"));
        }
        Ok(())
    }

    /// Some settings count where the family looks at them; files of the others may hold them too.
    fn into_config(self, family: Family) -> Result<ModelConfig, ModelError> {
        self.check_supported(family)?;
        let gemma = family == Family::Gemma2;
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let rope_theta = rope.and_then(|rope| rope.rope_theta).or(self.rope_theta);
        let rope_scaling = rope.map_or(Ok(None), |rope| rope.scaling())?;
        let (bos_token_id, eos_token_id, pad_token_id) = self.ids.into_ids()?;
        Ok(ModelConfig {
            family,
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim: self.head_dim,
            max_position_embeddings: self.max_position_embeddings.unwrap_or(2048),
            rms_norm_eps: self.rms_norm_eps.unwrap_or(1e-6),
            rope_theta: rope_theta.unwrap_or(10_000.0),
            rope_scaling,
            sliding_window: self.sliding_window.filter(|_| family.windowed(0)),
            query_pre_attn_scalar: self.query_pre_attn_scalar.filter(|_| gemma),
            attn_logit_softcapping: self.attn_logit_softcapping.filter(|_| gemma),
            final_logit_softcapping: self.final_logit_softcapping.filter(|_| gemma),
            tie_word_embeddings: self.tie_word_embeddings.unwrap_or(gemma),
            bos_token_id,
            eos_token_id,
            pad_token_id,
        })
    }
}

/// Loaders that check types want a whole number where published files have one.
fn whole_or_float(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 {
        json!(x as i64)
    } else {
        json!(x)
    }
}

fn one_id(field: &'static str, ids: Option<TokenIds>) -> Result<Option<u32>, ModelError> {
    match ids {
        None => Ok(None),
        Some(TokenIds::One(id)) if id < 0 => Ok(None), // some folders say -1 for "none"
        Some(TokenIds::One(id)) => u32::try_from(id)
            .map(Some)
            .map_err(|_| ModelError::config(field, format!("{id} is not a token id"))),
        Some(TokenIds::Many(ids)) => Ok(ids.first().copied()),
    }
}

impl RawIds {
    /// Of the start, of all ends and of padding.
    #[expect(clippy::type_complexity, reason = "three fields of the configuration")]
    pub(super) fn into_ids(self) -> Result<(Option<u32>, Vec<u32>, Option<u32>), ModelError> {
        let ends = match self.eos_token_id {
            Some(TokenIds::Many(ids)) => ids,
            one => one_id("eos_token_id", one)?.into_iter().collect(),
        };
        let start = one_id("bos_token_id", self.bos_token_id)?;
        Ok((start, ends, one_id("pad_token_id", self.pad_token_id)?))
    }
}

/// The family of a `config.json`. It comes first: another family's file may lack our fields
/// altogether.
fn family_of(value: &Value) -> Result<Family, ModelError> {
    let kind = value.get("model_type").and_then(Value::as_str);
    let family = kind.and_then(Family::of_model_type).ok_or_else(|| {
        let found = kind.map_or_else(|| "missing".to_owned(), |k| format!("\"{k}\""));
        refuse(
            "model_type",
            found,
            "llama, mistral, qwen2, qwen3, gemma2, gpt2",
        )
    })?;
    if value
        .get("quantization_config")
        .is_some_and(|v| !v.is_null())
    {
        let supported = "unquantised weights";
        return Err(refuse("quantization_config", "present".into(), supported));
    }
    let names = value.get("architectures").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let known = [family.causal_lm(), family.classifier()];
    match names.into_iter().find(|name| !known.contains(name)) {
        None => Ok(family),
        Some(name) => {
            let supported = "the family's language model and its sequence classifier";
            Err(refuse("architectures", name.to_owned(), supported))
        }
    }
}

/// Windows that differ from block to block are given by `layer_types` in newer files; the family's
/// own pattern is the only one that is computed.
fn check_layer_types(value: &Value, config: &ModelConfig) -> Result<(), ModelError> {
    let Some(types) = value.get("layer_types").and_then(Value::as_array) else {
        return Ok(());
    };
    for (layer, kind) in types.iter().enumerate() {
        let windowed = config.sliding_window.is_some() && config.family.windowed(layer);
        let wanted = if windowed {
            "sliding_attention"
        } else {
            "full_attention"
        };
        if kind != wanted {
            let found = format!("{kind} in block {layer}");
            return Err(refuse("layer_types", found, "the family's own pattern"));
        }
    }
    Ok(())
}

fn config_of(value: &Value) -> Result<ModelConfig, ConfigFault> {
    let family = family_of(value)?;
    let mut config = if family == Family::Gpt2 {
        super::gpt2::Raw::deserialize(value)?.into_config()?
    } else {
        Raw::deserialize(value)?.into_config(family)?
    };
    // Published files of Mistral 7B v0.1 state their window; a file that doesn't means 4,096.
    if family.windowed(0) && value.get("sliding_window").is_none() {
        config.sliding_window = Some(4096);
    }
    check_layer_types(value, &config)?;
    config.validate()?;
    Ok(config)
}

/// Why a `config.json` can't be used.
enum ConfigFault {
    Model(ModelError),
    Json(serde_json::Error),
}

impl From<ModelError> for ConfigFault {
    fn from(e: ModelError) -> Self {
        Self::Model(e)
    }
}

impl From<serde_json::Error> for ConfigFault {
    fn from(e: serde_json::Error) -> Self {
        Self::Json(e)
    }
}

impl ModelConfig {
    /// Reads the text of a `config.json`, checks that it describes a supported model and that
    /// its fields fit together.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] or [`ModelError::Config`] name the field, [`ModelError::Json`]
    /// the place.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        Self::read(Path::new("config.json"), text)
    }

    /// As [`Self::from_json`] for the text of a certain file.
    pub(crate) fn read(path: &Path, text: &str) -> Result<Self, ModelError> {
        let bad = |e: serde_json::Error| ModelError::Json {
            path: path.to_owned(),
            reason: e.to_string(),
        };
        let value: Value = serde_json::from_str(text).map_err(bad)?;
        config_of(&value).map_err(|fault| match fault {
            ConfigFault::Model(e) => e,
            ConfigFault::Json(e) => bad(e),
        })
    }

    /// The fields of `config.json`, for a language model or for a scalar head.
    pub(crate) fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("architectures".to_owned(), json!([architecture]));
        map.insert("model_type".to_owned(), json!(self.family.model_type()));
        if self.family == Family::Gpt2 {
            self.gpt2_fields(&mut map);
        } else {
            self.llama_fields(&mut map);
        }
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("torch_dtype", json!("float32"));
        if architecture == self.family.classifier() {
            put("num_labels", json!(1));
            put("id2label", json!({"0": "LABEL_0"}));
            put("label2id", json!({"LABEL_0": 0}));
        }
        for (key, value) in self.token_id_json() {
            put(key, value);
        }
        map
    }

    fn llama_fields(&self, map: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        let (family, act) = (
            self.family,
            if self.family.gelu() {
                GELU_TANH[0]
            } else {
                "silu"
            },
        );
        put("vocab_size", json!(self.vocab_size));
        put("hidden_size", json!(self.hidden_size));
        put("intermediate_size", json!(self.intermediate_size));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        put("num_attention_heads", json!(self.num_attention_heads));
        put("num_key_value_heads", json!(self.num_key_value_heads));
        put("head_dim", json!(self.head_dim()));
        put(
            "max_position_embeddings",
            json!(self.max_position_embeddings),
        );
        put("hidden_act", json!(act));
        put("rms_norm_eps", json!(self.rms_norm_eps));
        put("rope_theta", json!(self.rope_theta));
        let scaling = self.rope_scaling.map_or(Value::Null, RopeScaling::to_json);
        put("rope_scaling", scaling);
        if family.windowed(0) {
            put("sliding_window", json!(self.sliding_window));
        }
        if family == Family::Gemma2 {
            put("hidden_activation", json!(act));
            let scalar = self
                .query_pre_attn_scalar
                .unwrap_or_else(|| self.head_dim() as f64);
            put("query_pre_attn_scalar", whole_or_float(scalar));
            put("attn_logit_softcapping", json!(self.attn_logit_softcapping));
            put(
                "final_logit_softcapping",
                json!(self.final_logit_softcapping),
            );
        }
        if !family.qkv_bias() {
            put("attention_bias", json!(false));
        }
        if family == Family::Llama {
            put("mlp_bias", json!(false));
        }
    }

    /// The special ids as `config.json` and `generation_config.json` hold them.
    pub(crate) fn token_id_json(&self) -> [(&'static str, Value); 3] {
        let eos = match self.eos_token_id.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        [
            ("bos_token_id", json!(self.bos_token_id)),
            ("eos_token_id", eos),
            ("pad_token_id", json!(self.pad_token_id)),
        ]
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json(self.family.causal_lm()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        config_of(&value).map_err(|fault| match fault {
            ConfigFault::Model(e) => D::Error::custom(e),
            ConfigFault::Json(e) => D::Error::custom(e),
        })
    }
}

/// What `generation_config.json` says that matters here.
#[derive(Deserialize)]
pub(crate) struct GenerationJson {
    eos_token_id: Option<TokenIds>,
}

impl GenerationJson {
    /// The tokens that end an answer.
    pub(crate) fn eos_token_ids(self) -> Vec<u32> {
        match self.eos_token_id {
            Some(TokenIds::Many(ids)) => ids,
            Some(TokenIds::One(id)) => u32::try_from(id).into_iter().collect(),
            None => Vec::new(),
        }
    }
}
