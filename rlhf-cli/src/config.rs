//! The settings of every stage, and how they come together: defaults, preset, file, command line.

mod layers;
mod presets;
mod problem;

pub(crate) use layers::Layer;
pub(crate) use presets::preset;
pub(crate) use problem::{Problem, refuse};

use crate::args::CommonArgs;
use crate::error::CliError;
use rlhf_model::{LoraConfig, ModelConfig};
use rlhf_ppo::PpoConfig;
use rlhf_reward::RewardConfig;
use rlhf_reward::collect::CollectConfig;
use rlhf_train::{DpoConfig, PretrainConfig, SftConfig};
use rlhf_world::WorldConfig;
use serde::{Deserialize, Serialize};

/// The sections that `config show` takes one at a time; `run` is all of them.
pub(crate) const SECTIONS: [&str; 11] = [
    "pretrain", "sft", "collect", "reward", "dpo", "ppo", "eval", "model", "lora", "memory",
    "world",
];

/// All settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The seed of everything that is drawn.
    pub(crate) seed: u64,
    /// The device's name.
    pub(crate) device: String,
    /// The shape of a model that is trained from scratch.
    pub(crate) model: ModelSection,
    /// Adapters, for the stages that train an existing model.
    pub(crate) lora: LoraConfig,
    /// What is kept in memory, and what is computed again.
    pub(crate) memory: MemorySection,
    /// The embedded world.
    pub(crate) world: WorldConfig,
    /// Pre-training.
    pub(crate) pretrain: PretrainConfig,
    /// Supervised fine-tuning.
    pub(crate) sft: SftConfig,
    /// Collecting preferences.
    pub(crate) collect: CollectConfig,
    /// The reward model.
    pub(crate) reward: RewardConfig,
    /// DPO.
    pub(crate) dpo: DpoConfig,
    /// PPO.
    pub(crate) ppo: PpoConfig,
    /// Evaluation.
    pub(crate) eval: EvalSection,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 1,
            device: "flex".into(),
            model: ModelSection::default(),
            lora: LoraConfig::default(),
            memory: MemorySection::default(),
            world: WorldConfig {
                seed: 0,
                ..WorldConfig::default()
            },
            pretrain: PretrainConfig::default(),
            sft: SftConfig::default(),
            collect: CollectConfig::default(),
            reward: RewardConfig::default(),
            dpo: DpoConfig::default(),
            ppo: PpoConfig::default(),
            eval: EvalSection::default(),
        }
    }
}

/// The shape of a model that is trained from scratch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ModelSection {
    /// Tokens of the vocabulary at most, special tokens included.
    pub(crate) vocab_size: usize,
    /// Width of the residual stream.
    pub(crate) hidden_size: usize,
    /// Width inside the feed-forward part.
    pub(crate) intermediate_size: usize,
    /// Blocks.
    pub(crate) layers: usize,
    /// Query heads.
    pub(crate) heads: usize,
    /// Key/value heads.
    pub(crate) kv_heads: usize,
    /// Tokens of prompt and answer together at most.
    pub(crate) context_length: usize,
    /// Whether the output head is the embedding table.
    pub(crate) tied_embeddings: bool,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self {
            vocab_size: 1024,
            hidden_size: 128,
            intermediate_size: 344,
            layers: 4,
            heads: 4,
            kv_heads: 4,
            context_length: 256,
            tied_embeddings: true,
        }
    }
}

impl ModelSection {
    /// The shape as a model's configuration, without the ids of special tokens.
    pub(crate) fn model_config(&self) -> ModelConfig {
        ModelConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            max_position_embeddings: self.context_length,
            tie_word_embeddings: self.tied_embeddings,
            ..ModelConfig::default()
        }
    }
}

/// What training keeps in memory. The gradients are the same but for rounding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MemorySection {
    /// Keep what enters each block and compute the rest again for the gradients: about a fifth
    /// more time, less than half of the memory where activations are most of it.
    pub(crate) gradient_checkpointing: bool,
}

/// The settings of evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EvalSection {
    /// Answers a prompt.
    pub(crate) samples: usize,
    /// The sampling temperature; 0 is greedy.
    pub(crate) temperature: f64,
    /// New tokens of an answer at most.
    pub(crate) max_new_tokens: usize,
    /// Answers generated, or rows scored, at once.
    pub(crate) batch_size: usize,
}

impl Default for EvalSection {
    fn default() -> Self {
        Self {
            samples: 4,
            temperature: 1.0,
            max_new_tokens: 40,
            batch_size: 128,
        }
    }
}

impl Config {
    /// The settings that a command line asks for: defaults, then `BURN_DEVICE`, the preset, the
    /// file, and what `--set` and the flags say, the later over the earlier.
    pub(crate) fn from_args(args: &CommonArgs) -> Result<Self, CliError> {
        let mut layers = Vec::new();
        if let Ok(device) = std::env::var("BURN_DEVICE") {
            layers.push(Layer::environment("BURN_DEVICE", "device", &device));
        }
        layers.push(preset(args.preset.as_deref())?);
        if let Some(path) = &args.config {
            layers.push(Layer::file(path)?);
        }
        for setting in &args.overrides.0 {
            layers.push(Layer::setting(setting)?);
        }
        let config = Self::from_layers(&layers)?;
        refuse(config.validate())?;
        Ok(config)
    }

    /// Lays the layers over the defaults, each over those before it.
    ///
    /// # Errors
    /// All unknown keys and unusable values of all layers at once.
    pub(crate) fn from_layers(layers: &[Layer]) -> Result<Self, CliError> {
        let defaults = layers::table_of(&Self::default())?;
        refuse(
            layers
                .iter()
                .flat_map(|layer| layer.problems(&defaults))
                .collect(),
        )?;
        let mut merged = defaults;
        for layer in layers {
            layers::merge(&mut merged, &layer.table);
        }
        let config = Self::deserialize(merged);
        config.map_err(|e| CliError::usage(format!("configuration: {}", e.message())))
    }

    /// Settings that no stage could work with, all of them.
    pub(crate) fn validate(&self) -> Vec<Problem> {
        let stages = [
            self.pretrain.validate(),
            self.sft.validate(),
            self.reward.validate(),
            self.dpo.validate(),
            self.ppo.validate(),
        ];
        let stages = stages
            .into_iter()
            .filter_map(Result::err)
            .map(|e| e.to_string());
        let world = self.world.validate().err().map(|e| e.to_string());
        let lora = self.lora.validate().err().map(|e| e.to_string());
        let model = self
            .model
            .model_config()
            .validate()
            .err()
            .map(|e| format!("[model] {e}"));
        let at_least_one = [
            ("collect.prompts", self.collect.prompts),
            ("collect.samples", self.collect.samples),
            ("collect.max_new_tokens", self.collect.max_new_tokens),
            ("collect.batch_size", self.collect.batch_size),
            ("eval.samples", self.eval.samples),
            ("eval.max_new_tokens", self.eval.max_new_tokens),
            ("eval.batch_size", self.eval.batch_size),
        ];
        let zeros = at_least_one.into_iter().filter(|(_, value)| *value == 0);
        let zeros = zeros.map(|(key, _)| format!("{key}: must be at least 1"));
        let temperatures = [
            ("collect.temperature", self.collect.temperature),
            ("eval.temperature", self.eval.temperature),
        ];
        let cold = temperatures
            .into_iter()
            .filter(|(_, t)| !(t.is_finite() && *t >= 0.0));
        let cold = cold.map(|(key, t)| format!("{key}: is {t}, must be 0 (greedy) or above"));
        let context = self.model.context_length;
        let too_long = (self.pretrain.sequence_length > context).then(|| {
            format!(
                "pretrain.sequence_length: is {}, more than the {context} tokens of \
                 model.context_length; lower the one or raise the other",
                self.pretrain.sequence_length
            )
        });
        let all = stages
            .chain(world)
            .chain(lora)
            .chain(model)
            .chain(zeros)
            .chain(cold)
            .chain(too_long);
        all.map(Problem::new).collect()
    }

    /// As [`Self::validate`], and what has to fit when all stages run one after the other.
    pub(crate) fn validate_run(&self) -> Vec<Problem> {
        let context = self.model.context_length;
        let lengths = [
            ("sft.max_length", self.sft.max_length),
            ("reward.max_length", self.reward.max_length),
            ("collect.max_new_tokens", self.collect.max_new_tokens),
            ("ppo.loss.max_new_tokens", self.ppo.loss.max_new_tokens),
            ("eval.max_new_tokens", self.eval.max_new_tokens),
        ];
        let mut problems = self.validate();
        for (key, length) in lengths.into_iter().filter(|(_, length)| *length > context) {
            problems.push(Problem::new(format!(
                "{key}: is {length}, more than the {context} tokens of model.context_length"
            )));
        }
        if self.model.vocab_size < 272 {
            problems.push(Problem::new(format!(
                "model.vocab_size: is {}; a byte-level vocabulary needs 256 bytes and up to 16 \
                 special tokens",
                self.model.vocab_size
            )));
        }
        problems
    }

    /// The embedded world's settings; where `world.seed` is 0 the world has the run's seed.
    pub(crate) fn world_of_run(&self) -> WorldConfig {
        let mut world = self.world.clone();
        if world.seed == 0 {
            world.seed = self.seed;
        }
        world
    }

    /// Everything as TOML.
    pub(crate) fn to_toml(&self) -> Result<String, CliError> {
        text_of(self)
    }

    /// The seed, the device and some sections as TOML that a `--config` accepts.
    pub(crate) fn sections_toml(&self, names: &[&str]) -> Result<String, CliError> {
        let mut table = layers::table_of(self)?;
        table.retain(|key, _| key == "seed" || key == "device" || names.contains(&key));
        text_of(&table)
    }

    /// One section as TOML without its header and without `checkpoint_every`, which changes no
    /// result: what a fingerprint is made of.
    pub(crate) fn fingerprint_toml(&self, section: &str) -> Result<String, CliError> {
        let mut table = layers::table_of(self)?;
        let Some(toml::Value::Table(mut section)) = table.remove(section) else {
            return Ok(String::new());
        };
        section.remove("checkpoint_every");
        text_of(&section)
    }
}

fn text_of(value: &impl Serialize) -> Result<String, CliError> {
    toml::to_string_pretty(value).map_err(|e| {
        CliError::usage(format!("configuration: {e}")).hint("TOML's whole numbers end at 2^63 − 1")
    })
}

#[cfg(test)]
mod tests;
