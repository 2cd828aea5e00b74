//! `config.json` as it is found in the wild, and as we write it.

use super::{Llama3Rope, ModelConfig};
use crate::ModelError;
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

/// The rotary settings, under either of their names.
#[derive(Deserialize)]
struct Rope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
}

#[derive(Deserialize)]
struct Raw {
    model_type: Option<String>,
    architectures: Option<Vec<String>>,
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
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    quantization_config: Option<Value>,
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
    pad_token_id: Option<TokenIds>,
}

/// The names of the two kinds of folder that are read and written.
pub(crate) const CAUSAL_LM: &str = "LlamaForCausalLM";
pub(crate) const CLASSIFIER: &str = "LlamaForSequenceClassification";

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

fn refuse(field: &'static str, found: String, supported: &'static str) -> ModelError {
    ModelError::Unsupported {
        field,
        found,
        supported,
    }
}

impl Raw {
    /// Names the first thing that this crate does not compute.
    fn check_supported(&self) -> Result<(), ModelError> {
        match self.model_type.as_deref() {
            Some("llama") => {}
            found => return Err(refuse("model_type", format!("{found:?}"), "\"llama\"")),
        }
        let names = self.architectures.as_deref().unwrap_or_default();
        if let Some(name) = names
            .iter()
            .find(|n| ![CAUSAL_LM, CLASSIFIER].contains(&n.as_str()))
        {
            let supported = "LlamaForCausalLM, LlamaForSequenceClassification";
            return Err(refuse("architectures", name.clone(), supported));
        }
        if let Some(act) = self.hidden_act.as_deref().filter(|&act| act != "silu") {
            return Err(refuse("hidden_act", act.to_owned(), "silu"));
        }
        if self.attention_bias == Some(true) {
            return Err(refuse("attention_bias", "true".into(), "false"));
        }
        if self.mlp_bias == Some(true) {
            return Err(refuse("mlp_bias", "true".into(), "false"));
        }
        if self.quantization_config.is_some() {
            return Err(refuse(
                "quantization_config",
                "present".into(),
                "unquantised weights",
            ));
        }
        Ok(())
    }

    fn rope(&self) -> Result<(f64, Option<Llama3Rope>), ModelError> {
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let theta = rope
            .and_then(|r| r.rope_theta)
            .or(self.rope_theta)
            .unwrap_or(10_000.0);
        let kind = rope
            .and_then(|r| r.rope_type.as_deref())
            .unwrap_or("default");
        match (kind, rope) {
            ("llama3", Some(r)) => {
                let missing = |name| {
                    ModelError::config("rope_scaling", format!("rope_type llama3 needs {name}"))
                };
                let scaling = Llama3Rope {
                    factor: r.factor.ok_or_else(|| missing("factor"))?,
                    low_freq_factor: r
                        .low_freq_factor
                        .ok_or_else(|| missing("low_freq_factor"))?,
                    high_freq_factor: r
                        .high_freq_factor
                        .ok_or_else(|| missing("high_freq_factor"))?,
                    original_max_position_embeddings: r
                        .original_max_position_embeddings
                        .ok_or_else(|| missing("original_max_position_embeddings"))?,
                };
                Ok((theta, Some(scaling)))
            }
            ("default", _) => Ok((theta, None)),
            (other, _) => Err(refuse("rope_scaling", other.to_owned(), "default, llama3")),
        }
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

impl TryFrom<Raw> for ModelConfig {
    type Error = ModelError;

    fn try_from(raw: Raw) -> Result<Self, ModelError> {
        raw.check_supported()?;
        let (rope_theta, rope_scaling) = raw.rope()?;
        let eos_token_id = match raw.eos_token_id {
            Some(TokenIds::Many(ids)) => ids,
            one => one_id("eos_token_id", one)?.into_iter().collect(),
        };
        let config = Self {
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            num_key_value_heads: raw.num_key_value_heads.unwrap_or(raw.num_attention_heads),
            head_dim: raw.head_dim,
            max_position_embeddings: raw.max_position_embeddings.unwrap_or(2048),
            rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(false),
            bos_token_id: one_id("bos_token_id", raw.bos_token_id)?,
            eos_token_id,
            pad_token_id: one_id("pad_token_id", raw.pad_token_id)?,
        };
        config.validate()?;
        Ok(config)
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
        // The model type first: another family's file may lack our fields altogether.
        let value: Value = serde_json::from_str(text).map_err(bad)?;
        let kind = value.get("model_type").and_then(Value::as_str);
        if kind != Some("llama") {
            let found = kind.map_or_else(|| "missing".to_owned(), |k| format!("\"{k}\""));
            return Err(refuse("model_type", found, "\"llama\""));
        }
        let raw: Raw = serde_json::from_str(text).map_err(bad)?;
        raw.try_into()
    }

    /// The fields of `config.json`, for a language model or for a scalar head.
    pub(crate) fn to_json(&self, architecture: &str) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| {
            map.insert(key.to_owned(), value);
        };
        put("architectures", json!([architecture]));
        put("model_type", json!("llama"));
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
        put("hidden_act", json!("silu"));
        put("rms_norm_eps", json!(self.rms_norm_eps));
        put("rope_theta", json!(self.rope_theta));
        put(
            "rope_scaling",
            self.rope_scaling.map_or(Value::Null, rope_json),
        );
        put("attention_bias", json!(false));
        put("mlp_bias", json!(false));
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("torch_dtype", json!("float32"));
        if architecture == CLASSIFIER {
            put("num_labels", json!(1));
            put("id2label", json!({"0": "LABEL_0"}));
            put("label2id", json!({"LABEL_0": 0}));
        }
        for (key, value) in self.token_id_json() {
            put(key, value);
        }
        map
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

fn rope_json(rope: Llama3Rope) -> Value {
    json!({
        "rope_type": "llama3",
        "factor": rope.factor,
        "low_freq_factor": rope.low_freq_factor,
        "high_freq_factor": rope.high_freq_factor,
        "original_max_position_embeddings": rope.original_max_position_embeddings,
    })
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json(CAUSAL_LM).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Raw::deserialize(deserializer)?
            .try_into()
            .map_err(D::Error::custom)
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
