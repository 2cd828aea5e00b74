//! The tokenizer and template of models that are trained from scratch.

use crate::config::ModelSection;
use crate::error::CliError;
use rlhf_data::{ChatTokenizer, SpecialTokens, Tokenizer};
use rlhf_model::ModelConfig;

const BOS: &str = "<|bos|>";
const EOS: &str = "<|end|>";
const PAD: &str = "<|pad|>";
const HEADERS: [&str; 4] = ["<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"];

/// A turn is its role's token and its text. A user's turn is marked and broken off as questions in
/// plain text are, so that what a model learnt from text holds in a chat from the first update; the
/// assistant's turn ends with the token that ends a document.
const TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
    {{ '<|' + message['role'] + '|>' }}\
    {% if message['role'] == 'assistant' %}{{ message['content'] | trim + '<|end|>' }}\
    {% elif message['role'] == 'user' %}{{ '> ' + message['content'] | trim + '\\n' }}\
    {% else %}{{ message['content'] | trim + '\\n' }}{% endif %}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// A byte-level tokenizer trained on texts, with the template of our own models.
///
/// # Errors
/// If the texts can't give a vocabulary of that size.
pub(crate) fn train_tokenizer(
    texts: &[&str],
    vocab_size: usize,
) -> Result<ChatTokenizer, CliError> {
    let special: Vec<&str> = [PAD, BOS, EOS].into_iter().chain(HEADERS).collect();
    let tokenizer = Tokenizer::train_bpe(texts.iter().copied(), vocab_size, &special)?;
    let tokens = SpecialTokens {
        bos: Some(BOS.to_owned()),
        eos: Some(EOS.to_owned()),
        pad: Some(PAD.to_owned()),
    };
    Ok(ChatTokenizer::new(tokenizer, TEMPLATE, tokens)?)
}

/// The configuration of a fresh model for a tokenizer.
pub(crate) fn fresh_config(section: &ModelSection, tokenizer: &ChatTokenizer) -> ModelConfig {
    ModelConfig {
        vocab_size: tokenizer.tokenizer().vocab_size(),
        bos_token_id: tokenizer.bos_id(),
        eos_token_id: tokenizer.eos_id().into_iter().collect(),
        pad_token_id: tokenizer.pad_id(),
        ..section.model_config()
    }
}
