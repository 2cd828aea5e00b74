//! The models that are timed.

use crate::error::CliError;
use crate::model_folder::load_policy;
use burn::tensor::Device;
use rlhf_model::{ModelConfig, Transformer};
use std::path::Path;

/// Names of the built-in shapes.
pub(crate) const SHAPES: [&str; 4] = ["tiny", "small", "gpt2ish", "smol135"];

/// A model to time, with random weights or those of a folder.
#[derive(Debug)]
pub(crate) struct Subject {
    /// On the plain device.
    pub(crate) model: Transformer,
    pub(crate) config: ModelConfig,
}

impl Subject {
    /// The model of a built-in shape's name, or of a folder.
    ///
    /// # Errors
    /// If there is neither.
    pub(crate) fn open(name: &str, device: &Device) -> Result<Self, CliError> {
        let (model, config) = match named(name) {
            Some(config) => (Transformer::init(&config, 0, device)?, config),
            None if Path::new(name).is_dir() => {
                let policy = load_policy(Path::new(name), device)?;
                (policy.model, policy.config)
            }
            None => {
                let message = format!("--model {name}: neither a shape nor a folder");
                let hint = format!(
                    "the shapes are {}, and any by its sizes: \
                     VOCABULARY,WIDTH,BLOCKS,HEADS,KEY_HEADS,FEED_FORWARD",
                    SHAPES.join(", ")
                );
                return Err(CliError::usage(message).hint(hint));
            }
        };
        Ok(Self { model, config })
    }

    /// All parameters.
    pub(crate) fn parameters(&self) -> usize {
        self.config.num_parameters()
    }

    /// The parameters of the blocks' matrices.
    pub(crate) fn of_blocks(&self) -> usize {
        let c = &self.config;
        let (q, kv) = (
            c.num_attention_heads * c.head_dim(),
            c.num_key_value_heads * c.head_dim(),
        );
        let attention = 2 * q + 2 * kv;
        c.num_hidden_layers * c.hidden_size * (attention + 3 * c.intermediate_size)
    }

    /// The parameters of all matrices that hidden states are multiplied with.
    pub(crate) fn of_matrices(&self) -> usize {
        self.of_blocks() + self.config.vocab_size * self.config.hidden_size
    }
}

fn named(name: &str) -> Option<ModelConfig> {
    let shape = |[vocab_size, hidden_size, layers, heads, kv_heads, ff]: [usize; 6], tied| {
        Some(ModelConfig {
            vocab_size,
            hidden_size,
            intermediate_size: ff,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim: None,
            max_position_embeddings: 2048,
            tie_word_embeddings: tied,
            bos_token_id: None,
            eos_token_id: Vec::new(),
            pad_token_id: None,
            ..ModelConfig::default()
        })
    };
    match name {
        "tiny" => shape([512, 128, 4, 4, 4, 344], false),
        "small" => shape([2048, 256, 6, 8, 8, 688], false),
        "gpt2ish" => shape([8192, 512, 8, 8, 8, 1376], false),
        "smol135" => shape([49152, 576, 30, 9, 3, 1536], true),
        sizes => {
            let sizes = sizes.split(',').map(|size| size.parse().ok());
            let sizes: Option<Vec<usize>> = sizes.collect();
            shape(sizes?.try_into().ok()?, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_known_and_its_parameters_are_counted() {
        for name in SHAPES {
            named(name).unwrap().validate().unwrap();
        }
        let device = rlhf_model::device::parse_device("flex").unwrap();
        let tiny = Subject::open("tiny", &device).unwrap();
        // As PyTorch counts them.
        assert_eq!(
            (tiny.parameters(), tiny.of_matrices(), tiny.of_blocks()),
            (922_752, 856_064, 790_528)
        );
        let by_sizes = Subject::open("512,128,4,4,4,344", &device).unwrap();
        assert_eq!(by_sizes.config, tiny.config);
        for wrong in ["huge", "512,128,4", "512,128,4,3,4,344"] {
            assert!(Subject::open(wrong, &device).is_err(), "{wrong}");
        }
    }
}
