//! A tiny model, tiny rows, and a sink that interrupts or breaks a run.

use burn::tensor::Device;
use rlhf_data::{SpanRole, TokenSequence};
use rlhf_model::{ModelConfig, Transformer};
use rlhf_random::Rng;
use rlhf_train::{MetricSink, Metrics, RunContext};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The model's vocabulary.
pub(crate) const VOCAB: usize = 32;
/// The model's longest sequence.
pub(crate) const CONTEXT: usize = 24;

pub(crate) fn device() -> Device {
    Device::flex()
}

pub(crate) fn model() -> Transformer {
    let config = ModelConfig {
        vocab_size: VOCAB,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        max_position_embeddings: CONTEXT,
        ..ModelConfig::default()
    };
    Transformer::init(&config, 5, &device()).unwrap()
}

fn random_ids(rng: &mut Rng, n: usize) -> Vec<u32> {
    (0..n).map(|_| rng.below(VOCAB) as u32).collect()
}

/// Documents of unequal length, 3 to 12 tokens, the first without loss.
pub(crate) fn documents(n: usize) -> Vec<TokenSequence> {
    let mut rng = Rng::new(1).key("documents");
    let mut document = |i: usize| {
        let mut sequence = TokenSequence::new();
        sequence.push(&[0], SpanRole::Control, false);
        sequence.push(&random_ids(&mut rng, 2 + i * 7 % 10), SpanRole::Text, true);
        sequence
    };
    (0..n).map(&mut document).collect()
}

/// A prompt and its answer, of these lengths.
pub(crate) fn demonstration(rng: &mut Rng, prompt: usize, answer: usize) -> TokenSequence {
    let mut sequence = TokenSequence::new();
    sequence.push(&random_ids(rng, prompt), SpanRole::User, false);
    sequence.push(&random_ids(rng, answer), SpanRole::Assistant, true);
    sequence
}

/// Demonstrations with something to learn: the answer is the token after the prompt's last one.
pub(crate) fn demonstrations(n: usize) -> Vec<TokenSequence> {
    let mut rng = Rng::new(2).key("demonstrations");
    let mut one = |i: usize| {
        let mut sequence = demonstration(&mut rng, 3 + i % 4, 0);
        let next = (sequence.ids[sequence.len() - 1] + 1) % VOCAB as u32;
        sequence.push(&vec![next; 1 + i % 3], SpanRole::Assistant, true);
        sequence
    };
    (0..n).map(&mut one).collect()
}

/// What happens when the record of a step comes in.
#[derive(Clone, Copy)]
pub(crate) enum At {
    Never,
    Interrupt(u64),
    Break(u64),
}

struct Watcher<'a> {
    at: At,
    flag: &'a AtomicBool,
    seen: Vec<Metrics>,
}

impl MetricSink for Watcher<'_> {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        self.seen.push(metrics.clone());
        match self.at {
            At::Interrupt(step) if step == metrics.step => self.flag.store(true, Ordering::Relaxed),
            At::Break(step) if step == metrics.step => return Err(io::Error::other("no room")),
            _ => {}
        }
        Ok(())
    }
}

/// Runs a recipe in a folder; its result and its records, without what depends on the clock.
pub(crate) fn run<R>(
    dir: &Path,
    at: At,
    recipe: impl FnOnce(&mut RunContext<'_>) -> R,
) -> (R, Vec<Metrics>) {
    let flag = AtomicBool::new(false);
    let mut sink = Watcher {
        at,
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
