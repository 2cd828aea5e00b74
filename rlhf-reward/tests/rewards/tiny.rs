//! A tiny tokenizer, a tiny model, and a run that can be interrupted.

use burn::tensor::Device;
use rlhf_data::{ChatTokenizer, Message, SpecialTokens, Tokenizer};
use rlhf_model::{ModelConfig, Transformer};
use rlhf_train::{MetricSink, Metrics, RunContext};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The model's longest sequence.
pub(crate) const CONTEXT: usize = 48;

const TEMPLATE: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}\
                        {% if add_generation_prompt %}<|assistant|>{% endif %}";

pub(crate) fn device() -> Device {
    Device::flex()
}

pub(crate) fn tokenizer() -> ChatTokenizer {
    let special = ["<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"];
    let texts = ["a good answer, a bad answer, good, bad"; 4];
    let tokenizer = Tokenizer::train_bpe(texts.into_iter(), 290, &special).unwrap();
    let name = |name: &str| Some(name.to_owned());
    let special = SpecialTokens {
        bos: None,
        eos: name("<|end|>"),
        pad: name("<|pad|>"),
    };
    ChatTokenizer::new(tokenizer, TEMPLATE, special).unwrap()
}

pub(crate) fn backbone(vocab_size: usize) -> Transformer {
    let config = ModelConfig {
        vocab_size,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        max_position_embeddings: CONTEXT,
        ..ModelConfig::default()
    };
    Transformer::init(&config, 5, &device()).unwrap()
}

pub(crate) fn user(text: &str) -> Vec<Message> {
    vec![Message::user(text)]
}

struct Watcher<'a> {
    interrupt_at: u64,
    flag: &'a AtomicBool,
    seen: Vec<Metrics>,
}

impl MetricSink for Watcher<'_> {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        self.seen.push(metrics.clone());
        self.flag
            .fetch_or(metrics.step == self.interrupt_at, Ordering::Relaxed);
        Ok(())
    }
}

/// Runs a recipe in a folder, interrupted at a step (0: never); its result and its records,
/// without what depends on the clock.
pub(crate) fn run<R>(
    dir: &Path,
    interrupt_at: u64,
    recipe: impl FnOnce(&mut RunContext<'_>) -> R,
) -> (R, Vec<Metrics>) {
    let flag = AtomicBool::new(false);
    let mut sink = Watcher {
        interrupt_at,
        flag: &flag,
        seen: Vec::new(),
    };
    let result = recipe(&mut RunContext {
        dir: dir.to_owned(),
        device: device(),
        seed: 11,
        sink: &mut sink,
        interrupted: &flag,
        fingerprint: "f".into(),
    });
    for metrics in &mut sink.seen {
        metrics.values.retain(|(name, _)| name != "tokens_per_s");
    }
    (result, sink.seen)
}
