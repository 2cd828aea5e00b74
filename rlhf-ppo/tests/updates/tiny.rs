//! A tiny tokenizer, tiny models, rewards that are rules, and a run that can be interrupted.

use burn::tensor::Device;
use rlhf_data::{
    ChatTokenizer, Message, PackedRow, Prompt, SpecialTokens, TokenSequence, Tokenizer, pack,
};
use rlhf_model::{ModelConfig, NamedTensor, ScoreModel, Transformer};
use rlhf_ppo::rollout::{EncodedPrompt, encode_prompts};
use rlhf_ppo::{Critic, PpoConfig, PpoError, PpoLoss, PpoModels, PpoResult, ppo};
use rlhf_reward::{Answer, RewardError, RewardSource};
use rlhf_train::parameters::named_parameters;
use rlhf_train::{MetricSink, Metrics, Outcome, RunContext};
use serde_json::Map;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// The model's longest sequence.
pub(crate) const CONTEXT: usize = 32;

const TEMPLATE: &str = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}\
                        {% if add_generation_prompt %}<|assistant|>{% endif %}";

pub(crate) fn device() -> Device {
    Device::flex()
}

pub(crate) fn tokenizer() -> ChatTokenizer {
    let special = ["<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"];
    let tokenizer = Tokenizer::train_bpe(["abc"].into_iter(), 262, &special).unwrap();
    let name = |name: &str| Some(name.to_owned());
    let special = SpecialTokens {
        bos: None,
        eos: name("<|end|>"),
        pad: name("<|pad|>"),
    };
    ChatTokenizer::new(tokenizer, TEMPLATE, special).unwrap()
}

fn model_config(vocab_size: usize) -> ModelConfig {
    ModelConfig {
        vocab_size,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        max_position_embeddings: CONTEXT,
        tie_word_embeddings: false,
        ..ModelConfig::default()
    }
}

pub(crate) fn policy() -> Transformer {
    let vocab_size = tokenizer().tokenizer().vocab_size();
    Transformer::init(&model_config(vocab_size), 5, &device()).unwrap()
}

pub(crate) fn value(vocab_size: usize) -> ScoreModel {
    let backbone = Transformer::init(&model_config(vocab_size), 6, &device()).unwrap();
    ScoreModel::from_backbone(backbone, 6)
}

/// As the settings want it.
pub(crate) fn critic(config: &PpoConfig, tokenizer: &ChatTokenizer) -> Critic {
    if config.shared_trunk {
        Critic::on(&policy())
    } else {
        Critic::Model(value(tokenizer.tokenizer().vocab_size()))
    }
}

/// Prompts of unequal length.
pub(crate) fn prompts(tokenizer: &ChatTokenizer) -> Vec<EncodedPrompt> {
    let texts = ["a", "bb", "a longer one", "c", "dd ee", "f?", "g", "hh"];
    let prompt = |text| Prompt {
        messages: vec![Message::user(text)],
        row: Map::new(),
    };
    encode_prompts(tokenizer, &texts.map(prompt), 20).unwrap().0
}

/// Text for the PPO-ptx term.
pub(crate) fn text(tokenizer: &ChatTokenizer) -> Vec<PackedRow> {
    let texts = ["some text", "more of it", "and a little more"];
    let documents = texts.map(|t| tokenizer.encode_text(t).unwrap());
    pack(&documents as &[TokenSequence], 24)
}

/// The share of an answer's tokens with an even id, plus a constant.
#[derive(Clone, Copy)]
pub(crate) struct EvenShare {
    pub(crate) plus: f32,
}

impl RewardSource for EvenShare {
    fn name(&self) -> &'static str {
        "even_share"
    }
    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        let share = |a: &Answer<'_>| {
            let tokens = a.tokens.unwrap_or_default();
            let even = tokens.iter().filter(|&&t| t % 2 == 0).count();
            even as f32 / tokens.len().max(1) as f32 + self.plus
        };
        Ok(answers.iter().map(share).collect())
    }
}

pub(crate) fn config() -> PpoConfig {
    PpoConfig {
        steps: 4,
        rollouts: 8,
        minibatch_size: 4,
        micro_batch_size: 64,
        epochs: 2,
        learning_rate: 0.003,
        warmup_steps: 2,
        kl_coef: 0.01,
        ptx_coef: 0.0,
        shared_trunk: false,
        sampler_logprobs: false,
        checkpoint_every: 0,
        stop_kl: 1e9,
        target_kl: 1e9,
        loss: PpoLoss {
            max_new_tokens: 6,
            missing_eos_penalty: 0.0,
            ..PpoLoss::default()
        },
    }
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

pub(crate) type Ended = Result<Outcome<PpoResult>, PpoError>;

/// Runs PPO in a folder, interrupted at a step (0: never); its result and its records, without
/// what depends on the clock.
pub(crate) fn run(
    config: &PpoConfig,
    reward: &dyn RewardSource,
    dir: &Path,
    interrupt_at: u64,
) -> (Ended, Vec<Metrics>) {
    let tokenizer = tokenizer();
    let (prompts, text) = (prompts(&tokenizer), text(&tokenizer));
    let models = PpoModels {
        policy: policy(),
        critic: critic(config, &tokenizer),
        reward,
        tokenizer: &tokenizer,
        prompts: &prompts,
        pretraining: if config.ptx_coef > 0.0 { &text } else { &[] },
    };
    run_with(config, models, dir, interrupt_at)
}

/// [`run`] with models of the caller's.
pub(crate) fn run_with(
    config: &PpoConfig,
    models: PpoModels<'_>,
    dir: &Path,
    interrupt_at: u64,
) -> (Ended, Vec<Metrics>) {
    let flag = AtomicBool::new(false);
    let mut sink = Watcher {
        interrupt_at,
        flag: &flag,
        seen: Vec::new(),
    };
    let mut context = RunContext {
        dir: dir.to_owned(),
        device: device(),
        seed: 11,
        sink: &mut sink,
        interrupted: &flag,
        fingerprint: "f".into(),
    };
    let ended = ppo(config, models, &mut context);
    for metrics in &mut sink.seen {
        metrics
            .values
            .retain(|(name, _)| !name.ends_with("seconds"));
    }
    (ended, sink.seen)
}

/// The same, where nothing is to be kept or resumed.
pub(crate) fn run_once(config: &PpoConfig, reward: &dyn RewardSource) -> (PpoResult, Vec<Metrics>) {
    let (ended, seen) = run(config, reward, tempfile::tempdir().unwrap().path(), 0);
    (finished(ended), seen)
}

pub(crate) fn finished(ended: Ended) -> PpoResult {
    match ended.unwrap() {
        Outcome::Finished(result) => result,
        Outcome::Interrupted { step } => panic!("interrupted at {step}"),
    }
}

pub(crate) fn weights(result: &PpoResult) -> [Vec<NamedTensor>; 2] {
    [
        named_parameters(&result.policy),
        named_parameters(&result.critic),
    ]
}

/// The largest difference between two sets of weights.
pub(crate) fn apart(a: &[NamedTensor], b: &[NamedTensor]) -> f32 {
    let pairs = a
        .iter()
        .zip(b)
        .flat_map(|(a, b)| a.values.iter().zip(&b.values));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// A figure over the run.
pub(crate) fn column(seen: &[Metrics], name: &str) -> Vec<f64> {
    seen.iter().map(|m| m.get(name).unwrap()).collect()
}
