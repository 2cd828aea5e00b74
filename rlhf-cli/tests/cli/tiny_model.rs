//! Model folders of a few kilobytes.

use rlhf_data::{ChatTokenizer, SpecialTokens, Tokenizer};
use rlhf_model::device::parse_device;
use rlhf_model::{ModelConfig, ScoreModel, Transformer, save_model, save_score_model};
use std::path::{Path, PathBuf};

const TEMPLATE: &str = "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>\n\
                        {% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

/// The context length of the models.
pub(crate) const CONTEXT: usize = 48;

fn tokenizer() -> ChatTokenizer {
    let special = ["<|pad|>", "<|bos|>", "<|start|>", "<|end|>"];
    let tokenizer = Tokenizer::train_bpe(["the cat sat"].into_iter(), 300, &special).unwrap();
    let name = |name: &str| Some(name.to_owned());
    let special = SpecialTokens {
        bos: name("<|bos|>"),
        eos: name("<|end|>"),
        pad: name("<|pad|>"),
    };
    ChatTokenizer::new(tokenizer, TEMPLATE, special).unwrap()
}

fn config(tokenizer: &ChatTokenizer) -> ModelConfig {
    ModelConfig {
        vocab_size: tokenizer.tokenizer().vocab_size(),
        hidden_size: 16,
        intermediate_size: 32,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 2,
        max_position_embeddings: CONTEXT,
        bos_token_id: tokenizer.bos_id(),
        eos_token_id: tokenizer.eos_id().into_iter().collect(),
        pad_token_id: tokenizer.pad_id(),
        ..ModelConfig::default()
    }
}

fn model(config: &ModelConfig) -> Transformer {
    Transformer::init(config, 7, &parse_device("flex").unwrap()).unwrap()
}

/// A language model's folder `model` in `dir`.
pub(crate) fn language_model(dir: &Path) -> PathBuf {
    let (dir, tokenizer) = (dir.join("model"), tokenizer());
    let config = config(&tokenizer);
    save_model(&dir, &model(&config), &config).unwrap();
    tokenizer.save(&dir).unwrap();
    dir
}

/// A reward model's folder `reward` in `dir`.
pub(crate) fn reward_model(dir: &Path) -> PathBuf {
    let (dir, tokenizer) = (dir.join("reward"), tokenizer());
    let config = config(&tokenizer);
    let model = ScoreModel::from_backbone(model(&config), 3);
    save_score_model(&dir, &model, model.config()).unwrap();
    tokenizer.save(&dir).unwrap();
    dir
}
