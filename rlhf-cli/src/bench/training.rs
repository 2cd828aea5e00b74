//! Training steps: forward, backward, one clip, AdamW.

use super::timing::{Timed, repeat};
use super::{Measured, Size, Subject, random_packed_rows, random_rows};
use crate::error::CliError;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Device;
use rlhf_data::{PackedRow, SpanRole, TokenSequence};
use rlhf_model::{LoraConfig, ScoreModel};
use rlhf_random::Rng;
use rlhf_reward::{EncodedComparison, RewardConfig, RewardError, comparison_gradients};
use rlhf_train::dpo::{dpo_gradients, pair_logprobs};
use rlhf_train::supervised::supervised_gradients;
use rlhf_train::{AdamW, AdamWConfig, DpoConfig, PreferencePair, TrainError};

/// Steps that are made before the clock starts.
const WARM: usize = 2;

/// Of the adapters that `lora-sft` trains.
const RANK: usize = 16;

pub(super) fn optimiser(size: &Size) -> AdamW {
    AdamW::new(AdamWConfig {
        learning_rate: size.learning_rate,
        ..AdamWConfig::default()
    })
}

/// A supervised step on full rows; tokens from `first` on carry loss.
pub(super) fn supervised(
    subject: Subject,
    size: &Size,
    first: usize,
    device: &Device,
) -> Result<Measured, CliError> {
    let width = size.prompt + size.response;
    let vocabulary = subject.config.vocab_size;
    let rows = random_packed_rows(size.batch, (width, first), vocabulary);
    let rows: Vec<&PackedRow> = rows.iter().collect();
    let matrices = subject.of_matrices();
    let timed = steps(subject.model.train(), size, |model| {
        Ok::<_, TrainError>(supervised_gradients(model, &rows, rows.len(), device)?.gradients)
    })?;
    let tokens = size.batch * width;
    let gflop = 6.0 * matrices as f64 * tokens as f64 / 1e9;
    let notes = format!(
        "loss on {} of {tokens} tokens",
        size.batch * (width - first)
    );
    Ok(Measured::new(timed, tokens, gflop, notes))
}

/// A supervised step of adapters on full rows.
pub(super) fn lora(subject: Subject, size: &Size, device: &Device) -> Result<Measured, CliError> {
    let lora = LoraConfig {
        rank: RANK,
        ..LoraConfig::default()
    };
    let adapted = Subject {
        model: subject.model.with_lora(&lora, 1)?,
        ..subject
    };
    let mut measured = supervised(adapted, size, size.prompt, device)?;
    // The gradient of a frozen matrix is not taken.
    measured.model_gflop_per_step *= 4.0 / 6.0;
    measured.notes += &format!(", adapters of rank {RANK}");
    Ok(measured)
}

/// A step of direct preference optimisation: the reference's log-probs, then the gradient.
pub(super) fn dpo(subject: &Subject, size: &Size, device: &Device) -> Result<Measured, CliError> {
    let (width, vocabulary) = (size.prompt + size.response, subject.config.vocab_size);
    let rows = random_rows(&mut Rng::new(1), 2 * size.batch, width, vocabulary);
    let sequence = |prompt: &[u32], answer: &[u32]| {
        let mut sequence = TokenSequence::new();
        sequence.push(&prompt[..size.prompt], SpanRole::User, false);
        sequence.push(&answer[size.prompt..], SpanRole::Assistant, true);
        sequence
    };
    let (chosen, rejected) = rows.split_at(size.batch);
    let pairs = chosen.iter().zip(rejected).map(|(chosen, rejected)| {
        PreferencePair::new(sequence(chosen, chosen), sequence(chosen, rejected))
    });
    let pairs: Vec<PreferencePair> = pairs.collect();
    let pairs: Vec<&PreferencePair> = pairs.iter().collect();
    let config = DpoConfig {
        micro_batch_size: size.batch,
        ..DpoConfig::default()
    };
    let reference = &subject.model;
    let timed = steps(subject.model.clone().train(), size, |model| {
        let reference = pair_logprobs(reference, &pairs, size.batch, device)?;
        Ok::<_, TrainError>(dpo_gradients(&config, model, &pairs, &reference, device)?.gradients)
    })?;
    let tokens = 2 * size.batch * width;
    let gflop = 8.0 * subject.of_matrices() as f64 * tokens as f64 / 1e9;
    let notes = format!("{} pairs, the reference in every step", size.batch);
    Ok(Measured::new(timed, tokens, gflop, notes))
}

/// Times updates by these gradients.
fn steps<M: Module, E>(
    model: M,
    size: &Size,
    gradients: impl Fn(&M) -> Result<GradientsParams, E>,
) -> Result<Timed, E>
where
    E: From<TrainError>,
{
    let (mut optimiser, mut model) = (optimiser(size), Some(model));
    repeat(size.seconds, WARM, || {
        let trained = model.take().expect("put back by every step");
        let mut gradients = gradients(&trained)?;
        let stepped = optimiser.step(trained, &mut gradients, 1.0);
        let (trained, _) = stepped.map_err(|e| e.at("bench", 0, &[]))?;
        model = Some(trained);
        Ok(())
    })
}

/// A step of a reward model on pairs.
pub(super) fn reward(subject: Subject, size: &Size, device: &Device) -> Result<Measured, CliError> {
    let width = size.prompt + size.response;
    let rows = random_rows(
        &mut Rng::new(1),
        2 * size.batch,
        width,
        subject.config.vocab_size,
    );
    let (chosen, rejected) = rows.split_at(size.batch);
    let pairs = chosen.iter().zip(rejected);
    let pairs: Vec<EncodedComparison> = pairs
        .map(|(chosen, rejected)| EncodedComparison::pair(chosen.clone(), rejected.clone()))
        .collect();
    let pairs: Vec<&EncodedComparison> = pairs.iter().collect();
    let config = RewardConfig {
        micro_batch_size: size.batch,
        centre_coef: 0.0,
        ..RewardConfig::default()
    };
    let blocks = subject.of_blocks();
    let model = ScoreModel::from_backbone(subject.model, 2).train();
    let timed = steps(model, size, |model| {
        Ok::<_, RewardError>(comparison_gradients(&config, model, &pairs, device)?.gradients)
    })?;
    let tokens = 2 * size.batch * width;
    let gflop = 6.0 * blocks as f64 * tokens as f64 / 1e9;
    let notes = format!("{} pairs, all sequences of an update together", size.batch);
    Ok(Measured::new(timed, tokens, gflop, notes))
}
