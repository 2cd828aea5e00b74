//! The rotary settings of a `config.json`.

use super::json::refuse;
use crate::ModelError;
use serde::Deserialize;
use serde_json::{Value, json};

/// How rotary frequencies are stretched for contexts longer than those that a model was trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// All wavelengths are multiplied by `factor` (position interpolation; Chen et al., 2023).
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// Long wavelengths only.
    Llama3(Llama3Rope),
}

/// The `llama3` stretching of rotary frequencies: wavelengths longer than
/// `original_max_position_embeddings / low_freq_factor` are multiplied by `factor`, those shorter
/// than `original_max_position_embeddings / high_freq_factor` are kept, and those between are
/// interpolated (Llama 3.1, 2024).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3Rope {
    /// Stretch of the long wavelengths.
    pub factor: f64,
    /// Border of the long wavelengths.
    pub low_freq_factor: f64,
    /// Border of the short wavelengths.
    pub high_freq_factor: f64,
    /// The context length before stretching.
    pub original_max_position_embeddings: usize,
}

impl RopeScaling {
    /// Checks that the settings fit together.
    pub(super) fn validate(self) -> Result<(), ModelError> {
        let refused = |reason: &str| Err(ModelError::config("rope_scaling", reason));
        let positive = |x: f64| x.is_finite() && x > 0.0;
        match self {
            Self::Linear { factor } if positive(factor) => Ok(()),
            Self::Linear { .. } => refused("factor must be a positive number"),
            Self::Llama3(rope) => {
                let numbers = [rope.factor, rope.low_freq_factor, rope.high_freq_factor];
                if !numbers.into_iter().all(positive) {
                    return refused("its factors must be positive numbers");
                }
                if rope.high_freq_factor <= rope.low_freq_factor {
                    return refused("high_freq_factor must be above low_freq_factor");
                }
                if rope.original_max_position_embeddings == 0 {
                    return refused("original_max_position_embeddings must be above 0");
                }
                Ok(())
            }
        }
    }

    /// As `config.json` holds it.
    pub(super) fn to_json(self) -> Value {
        match self {
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Llama3(rope) => json!({
                "rope_type": "llama3",
                "factor": rope.factor,
                "low_freq_factor": rope.low_freq_factor,
                "high_freq_factor": rope.high_freq_factor,
                "original_max_position_embeddings": rope.original_max_position_embeddings,
            }),
        }
    }
}

/// The rotary settings as a file holds them, under either of their names.
#[derive(Deserialize)]
pub(super) struct RawRope {
    #[serde(alias = "type")]
    rope_type: Option<String>,
    pub(super) rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
}

impl RawRope {
    /// The stretch that is asked for.
    pub(super) fn scaling(&self) -> Result<Option<RopeScaling>, ModelError> {
        let kind = self.rope_type.as_deref().unwrap_or("default");
        let missing = |name: &str| {
            ModelError::config("rope_scaling", format!("rope_type {kind} needs {name}"))
        };
        let needed = |value: Option<f64>, name: &str| value.ok_or_else(|| missing(name));
        match kind {
            "default" => Ok(None),
            "linear" => Ok(Some(RopeScaling::Linear {
                factor: needed(self.factor, "factor")?,
            })),
            "llama3" => Ok(Some(RopeScaling::Llama3(Llama3Rope {
                factor: needed(self.factor, "factor")?,
                low_freq_factor: needed(self.low_freq_factor, "low_freq_factor")?,
                high_freq_factor: needed(self.high_freq_factor, "high_freq_factor")?,
                original_max_position_embeddings: self
                    .original_max_position_embeddings
                    .ok_or_else(|| missing("original_max_position_embeddings"))?,
            }))),
            other => {
                let supported = "default, linear, llama3";
                Err(refuse("rope_scaling", other.to_owned(), supported))
            }
        }
    }
}
