//! How answers are decoded: what a model's folder recommends and what the command line says.

use crate::error::{CliError, ExitKind};
use crate::model_folder::Policy;
use clap::Args;
use rlhf_data::DataError;
use rlhf_model::{DecodeWeights, ModelError, SamplingConfig};
use serde::Deserialize;
use std::path::Path;

/// The options of decoding. Each goes over what the model's `generation_config.json` says.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DecodingArgs {
    /// Takes the likeliest token each time, whatever the model's folder recommends
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p", "repetition_penalty"])]
    pub(crate) greedy: bool,
    /// New tokens of an answer at most [default: the folder's, else 64]
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Divides the logits; 0 is greedy [default: the folder's, else 1]
    #[arg(long, value_name = "T")]
    pub(crate) temperature: Option<f64>,
    /// Keeps the K likeliest tokens; 0 is off
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Keeps the likeliest tokens that together reach this probability; 1 is off
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f64>,
    /// Keeps tokens of at least this share of the largest probability; 0 is off
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f64>,
    /// Makes tokens that occurred less likely; 1 is off
    #[arg(long, value_name = "X")]
    pub(crate) repetition_penalty: Option<f64>,
    /// How the weights are held while the CPU decodes: bf16 and int8 round them, take a half and a quarter
    /// of the memory and are faster on large models; log-probs are then those of the rounded model
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    pub(crate) decode_weights: WeightChoice,
}

/// The choices of `--decode-weights`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum WeightChoice {
    /// As they are.
    #[default]
    F32,
    /// Rounded to eight bits of precision.
    Bf16,
    /// Rounded to 255 steps of an output's own size.
    Int8,
}

impl std::fmt::Display for WeightChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl From<WeightChoice> for DecodeWeights {
    fn from(choice: WeightChoice) -> Self {
        match choice {
            WeightChoice::F32 => Self::F32,
            WeightChoice::Bf16 => Self::Bf16,
            WeightChoice::Int8 => Self::Int8,
        }
    }
}

/// An error of decoding with the model of a folder: one that can't be decoded is named.
pub(crate) fn failed_with(model: &Path, e: ModelError) -> CliError {
    let logits = matches!(e, ModelError::Logits);
    let mut error = CliError::from(e);
    if logits {
        error.code = ExitKind::Usage;
        error.message = format!("{}: {}", model.display(), error.message);
    }
    error
}

/// The error of a tokenizer that can't encode a prompt or decode an answer.
pub(crate) fn tokenizer_failed(model: &Path, e: DataError) -> CliError {
    let of_tokenizer = matches!(e, DataError::Template { .. } | DataError::Tokenizer { .. });
    let mut error = CliError::from(e);
    if of_tokenizer {
        error.hints.clear();
    }
    let model = model.display();
    error.hint(format!(
        "use the tokenizer files that the model of {model} came with"
    ))
}

/// What `generation_config.json` says about decoding.
#[derive(Debug, Default, Deserialize)]
struct Recommended {
    do_sample: Option<bool>,
    max_new_tokens: Option<usize>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    eos_token_id: Option<Ids>,
}

/// One id or a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl DecodingArgs {
    /// The settings for a model whose folder is `dir`. With `chat` an answer also ends with the
    /// template's end of turn, where the folder's list of end tokens lacks it.
    ///
    /// # Errors
    /// If `generation_config.json` can't be read or a setting is out of its range.
    pub(crate) fn resolve(
        &self,
        dir: &Path,
        policy: &Policy,
        chat: bool,
    ) -> Result<SamplingConfig, CliError> {
        let recommended = Recommended::read(&dir.join("generation_config.json"))?;
        let default = SamplingConfig::default();
        let max_new_tokens = self
            .max_new_tokens
            .or(recommended.max_new_tokens)
            .unwrap_or(default.max_new_tokens);
        let mut config = if self.greedy {
            SamplingConfig::greedy(max_new_tokens)
        } else {
            // A folder that recommends greedy decoding means none of its filters.
            let sampled = recommended.do_sample != Some(false);
            let cold = if sampled { default.temperature } else { 0.0 };
            let choose = |typed: Option<f64>, of_folder: Option<f64>, otherwise: f64| {
                let of_folder = of_folder.filter(|_| sampled);
                typed.or(of_folder).unwrap_or(otherwise)
            };
            let top_k = recommended.top_k.filter(|_| sampled);
            let penalty = recommended.repetition_penalty;
            let penalty = self.repetition_penalty.or(penalty);
            SamplingConfig {
                max_new_tokens,
                temperature: choose(self.temperature, recommended.temperature, cold),
                top_k: self.top_k.or(top_k).unwrap_or(default.top_k),
                top_p: choose(self.top_p, recommended.top_p, default.top_p),
                min_p: choose(self.min_p, recommended.min_p, default.min_p),
                repetition_penalty: penalty.unwrap_or(default.repetition_penalty),
                ..default
            }
        };
        (config.stop_ids, config.extra_stop_ids) =
            end_tokens(recommended.eos_token_id, policy, chat);
        config.validate()?;
        Ok(config)
    }
}

/// The tokens that end an answer: those of `generation_config.json`, else those of `config.json`,
/// else the tokenizer's; and what else ends a turn of a chat.
fn end_tokens(recommended: Option<Ids>, policy: &Policy, chat: bool) -> (Vec<u32>, Vec<u32>) {
    let mut listed = match recommended {
        Some(Ids::One(id)) => vec![id],
        Some(Ids::Many(ids)) => ids,
        None => policy.config.eos_token_id.clone(),
    };
    if listed.is_empty() {
        listed.extend(policy.tokenizer.eos_id());
    }
    let of_turn = [policy.tokenizer.end_of_turn_id(), policy.tokenizer.eos_id()];
    let more = of_turn
        .into_iter()
        .flatten()
        .filter(|id| chat && !listed.contains(id));
    let more = more.collect();
    (listed, more)
}

impl Recommended {
    fn read(path: &Path) -> Result<Self, CliError> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path).map_err(|e| CliError::io(path, &e))?;
        serde_json::from_str(&text).map_err(|e| {
            let error = CliError::usage(format!("{}: {e}", path.display()));
            error.hint("compare the file with the one that the model was published with")
        })
    }
}
