//! Training steps: forward, backward, one clip, AdamW.

use super::timing::repeat;
use super::{Measured, Size, Subject, random_packed_rows, random_rows};
use crate::error::CliError;
use burn::module::Module;
use burn::tensor::Device;
use rlhf_data::PackedRow;
use rlhf_model::{ScoreModel, Transformer};
use rlhf_random::Rng;
use rlhf_reward::{EncodedComparison, RewardConfig, RewardError, comparison_gradients};
use rlhf_train::supervised::supervised_gradients;
use rlhf_train::{AdamW, AdamWConfig, TrainError};

/// Steps that are made before the clock starts.
const WARM: usize = 2;

pub(super) fn optimiser(size: &Size) -> AdamW {
    AdamW::new(AdamWConfig {
        learning_rate: size.learning_rate,
        ..AdamWConfig::default()
    })
}

/// A supervised step on full rows; tokens from `first` on carry loss.
pub(super) fn supervised(
    subject: &Subject,
    size: &Size,
    first: usize,
    device: &Device,
) -> Result<Measured, CliError> {
    let width = size.prompt + size.response;
    let vocabulary = subject.config.vocab_size;
    let rows = random_packed_rows(size.batch, (width, first), vocabulary);
    let rows: Vec<&PackedRow> = rows.iter().collect();
    let mut optimiser = optimiser(size);
    let mut model: Option<Transformer> = Some(subject.model.clone().train());
    let timed = repeat(size.seconds, WARM, || {
        let trained = model.take().expect("put back by every step");
        let mut found = supervised_gradients(&trained, &rows, rows.len(), device)?;
        let stepped = optimiser.step(trained, &mut found.gradients, 1.0);
        let (trained, _) = stepped.map_err(|e| e.at("bench", 0, &[]))?;
        model = Some(trained);
        Ok::<_, TrainError>(())
    })?;
    let tokens = size.batch * width;
    let gflop = 6.0 * subject.of_matrices() as f64 * tokens as f64 / 1e9;
    let notes = format!(
        "loss on {} of {tokens} tokens",
        size.batch * (width - first)
    );
    Ok(Measured::new(timed, tokens, gflop, notes))
}

/// A step of a reward model on pairs.
pub(super) fn reward(
    subject: &Subject,
    size: &Size,
    device: &Device,
) -> Result<Measured, CliError> {
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
    let mut optimiser = optimiser(size);
    let mut model = Some(ScoreModel::from_backbone(subject.model.clone(), 2).train());
    let timed = repeat(size.seconds, WARM, || {
        let trained = model.take().expect("put back by every step");
        let mut found = comparison_gradients(&config, &trained, &pairs, device)?;
        let stepped = optimiser.step(trained, &mut found.gradients, 1.0);
        let (trained, _) = stepped.map_err(|e| e.at("bench", 0, &[]))?;
        model = Some(trained);
        Ok::<_, RewardError>(())
    })?;
    let tokens = 2 * size.batch * width;
    let gflop = 6.0 * subject.of_blocks() as f64 * tokens as f64 / 1e9;
    let notes = format!("{} pairs, all sequences of an update together", size.batch);
    Ok(Measured::new(timed, tokens, gflop, notes))
}
