//! Timed work on random weights and random tokens: what `rlhf bench` does.

mod gemm;
mod ppo;
mod shape;
mod timing;
mod training;
mod writing;

pub(crate) use shape::{SHAPES, Subject};
pub(crate) use timing::memory_mib;

use crate::decoding::WeightChoice;
use crate::error::CliError;
use burn::tensor::Device;
use rlhf_data::PackedRow;
use rlhf_random::Rng;
use serde::Serialize;
use timing::Timed;

/// A work that can be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Work {
    /// A training step with loss on every token.
    Pretrain,
    /// A training step with loss on the responses.
    Sft,
    /// As `sft`, of adapters of rank 16 on every matrix but the head.
    LoraSft,
    /// A training step of a reward model on pairs.
    Reward,
    /// A training step of direct preference optimisation, the reference's log-probs included.
    Dpo,
    /// Answers sampled to prompts.
    Generate,
    /// A whole update of PPO: answers, scores, experience, gradient steps.
    PpoStep,
    /// A matrix product of 1024 by 1024 by 1024: what the machine can do.
    Gemm,
}

/// How much work, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Sequences; pairs for `reward` and `dpo`, prompts for `generate` and `ppo-step`.
    pub(crate) batch: usize,
    /// Tokens of a prompt.
    pub(crate) prompt: usize,
    /// Tokens of a response.
    pub(crate) response: usize,
    /// Passes over an update's answers.
    pub(crate) epochs: usize,
    /// Gradient steps a pass.
    pub(crate) minibatches: usize,
    /// Undisturbed seconds to measure for.
    pub(crate) seconds: f64,
    /// The learning rate; small, so that the weights stay random.
    pub(crate) learning_rate: f64,
    /// Whether the values of `ppo-step` come from the policy's own trunk.
    pub(crate) shared_trunk: bool,
    /// Whether the old log-probs of `ppo-step` are the sampler's.
    pub(crate) sampler_logprobs: bool,
    /// How `generate` holds the weights.
    pub(crate) decode_weights: WeightChoice,
}

/// One measurement, as it is printed.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) tokens_per_s: f64,
    pub(crate) step_ms_median: f64,
    pub(crate) step_ms_min: f64,
    pub(crate) step_ms_mean: f64,
    pub(crate) steps: usize,
    pub(crate) tokens_per_step: usize,
    /// Of the matrix products of the model's formula, without attention's own.
    pub(crate) model_gflop_per_step: f64,
    /// Processor time of this process, in cores.
    pub(crate) own_cores: Option<f64>,
    /// Processor time of everything else meanwhile, in cores.
    pub(crate) other_cores: Option<f64>,
    /// Whether too few steps went undisturbed, so that all were counted.
    pub(crate) contended: bool,
    /// How answers were drawn, for works that draw some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sampler: Option<&'static str>,
    pub(crate) notes: String,
}

impl Measured {
    fn new(timed: Timed, tokens: usize, gflop: f64, notes: String) -> Self {
        let median = timed.median();
        Self {
            tokens_per_s: tokens as f64 / median,
            step_ms_median: 1e3 * median,
            step_ms_min: 1e3 * timed.least(),
            step_ms_mean: 1e3 * timed.mean(),
            steps: timed.seconds.len(),
            tokens_per_step: tokens,
            model_gflop_per_step: gflop,
            own_cores: timed.own_cores,
            other_cores: timed.other_cores,
            contended: timed.contended,
            sampler: None,
            notes,
        }
    }
}

/// Measures a work. The model goes into it, so that nothing but the work holds memory.
///
/// # Errors
/// If the sizes don't fit each other or the model.
pub(crate) fn measure(
    work: Work,
    subject: Subject,
    size: &Size,
    device: &Device,
) -> Result<Vec<Measured>, CliError> {
    match work {
        Work::Pretrain => training::supervised(subject, size, 1, device).map(|m| vec![m]),
        Work::Sft => training::supervised(subject, size, size.prompt, device).map(|m| vec![m]),
        Work::LoraSft => training::lora(subject, size, device).map(|m| vec![m]),
        Work::Reward => training::reward(subject, size, device).map(|m| vec![m]),
        Work::Dpo => training::dpo(&subject, size, device).map(|m| vec![m]),
        Work::Generate => writing::generate(&subject, size),
        Work::PpoStep => ppo::step(&subject, size, device).map(|m| vec![m]),
        Work::Gemm => gemm::product(size, device).map(|m| vec![m]),
    }
}

/// Rows of random ids.
pub(crate) fn random_rows(
    rng: &mut Rng,
    rows: usize,
    tokens: usize,
    vocabulary: usize,
) -> Vec<Vec<u32>> {
    let mut row = || (0..tokens).map(|_| rng.below(vocabulary) as u32).collect();
    (0..rows).map(|_| row()).collect()
}

/// Rows of random ids, whose tokens from `first` on carry loss.
pub(crate) fn random_packed_rows(
    rows: usize,
    (tokens, first): (usize, usize),
    vocabulary: usize,
) -> Vec<PackedRow> {
    let row = |ids: Vec<u32>| PackedRow {
        loss_mask: (0..tokens).map(|t| t >= first).collect(),
        ids,
        segment_starts: vec![0],
    };
    let ids = random_rows(&mut Rng::new(1), rows, tokens, vocabulary);
    ids.into_iter().map(row).collect()
}
