//! The language-model loss of rows of tokens, in micro-batches that add up to the whole.

use crate::TrainError;
use crate::targets::Targets;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use rlhf_data::{PackedRow, TokenSequence};
use rlhf_model::{PackedTokens, TokenBatch, Transformer};

/// A sequence as a row of its own: one document, its loss where its spans say so.
pub fn row_of(sequence: &TokenSequence) -> PackedRow {
    PackedRow {
        ids: sequence.ids.clone(),
        loss_mask: sequence.loss_mask(),
        segment_starts: vec![0],
    }
}

/// Tokens of a row that carry loss. The first token of a document never does: nothing predicts it.
pub fn trained_tokens(row: &PackedRow) -> usize {
    carries_loss(row).filter(|&loss| loss).count()
}

fn carries_loss(row: &PackedRow) -> impl Iterator<Item = bool> + '_ {
    let mask = row.loss_mask.iter().enumerate();
    mask.map(|(t, &loss)| loss && t > 0 && row.segment_starts.binary_search(&t).is_err())
}

/// Σ −log p over the trained tokens of `rows`, divided by `denominator`: a tensor of one number.
///
/// With the trained tokens of a whole update as the denominator, the losses (and gradients) of its
/// micro-batches add up to those of the whole, whatever their lengths.
///
/// # Errors
/// If a row is empty or its documents don't start in order.
pub fn supervised_loss(
    model: &Transformer,
    rows: &[&PackedRow],
    denominator: usize,
    device: &Device,
) -> Result<Tensor<1>, TrainError> {
    let packed = rows.iter().map(|r| PackedTokens { ids: &r.ids, segment_starts: &r.segment_starts });
    let batch = TokenBatch::packed(&packed.collect::<Vec<_>>(), device)?;
    let width = batch.time();
    let mut targets = Targets::new();
    for (row, tokens) in rows.iter().enumerate() {
        for (time, loss) in carries_loss(tokens).enumerate() {
            if loss {
                targets.push(row, time, width, tokens.ids[time]);
            }
        }
    }
    let logprobs = targets.logprobs(model, &batch, 1.0);
    Ok(-logprobs.sum() / denominator as f64)
}

/// What one update's rows gave.
#[derive(Debug)]
pub struct SupervisedGradients {
    /// Gradients of the token-mean loss over all rows.
    pub gradients: GradientsParams,
    /// That loss.
    pub loss: f64,
    /// Trained tokens.
    pub tokens: usize,
}

/// Gradients of the token-mean loss over `rows`, taken `micro_batch` rows at a time.
///
/// # Errors
/// If no row has a token to train on.
pub fn supervised_gradients(
    model: &Transformer,
    rows: &[&PackedRow],
    micro_batch: usize,
    device: &Device,
) -> Result<SupervisedGradients, TrainError> {
    let tokens: usize = rows.iter().map(|r| trained_tokens(r)).sum();
    if tokens == 0 {
        let reason = "no row of the batch has a token that carries loss".to_owned();
        return Err(TrainError::NoData { stage: "training".into(), reason });
    }
    let mut accumulator = GradientsAccumulator::new();
    let mut loss = 0.0;
    for part in rows.chunks(micro_batch.max(1)) {
        if part.iter().all(|r| trained_tokens(r) == 0) {
            continue;
        }
        let part_loss = supervised_loss(model, part, tokens, device)?;
        loss += scalar(&part_loss);
        let gradients = GradientsParams::from_grads(part_loss.backward(), model);
        accumulator.accumulate(model, gradients);
    }
    Ok(SupervisedGradients { gradients: accumulator.grads(), loss, tokens })
}

/// The token-mean loss of a model over rows, without gradients.
///
/// # Errors
/// If no row has a token to predict.
pub fn evaluate(
    model: &Transformer,
    rows: &[&PackedRow],
    micro_batch: usize,
    device: &Device,
) -> Result<f64, TrainError> {
    let (mut sum, mut count) = (0.0, 0);
    for part in rows.chunks(micro_batch.max(1)) {
        let tokens: usize = part.iter().map(|r| trained_tokens(r)).sum();
        if tokens > 0 {
            sum += scalar(&supervised_loss(model, part, 1, device)?);
            count += tokens;
        }
    }
    if count == 0 {
        let reason = "no row has a token that carries loss".to_owned();
        return Err(TrainError::NoData { stage: "evaluation".into(), reason });
    }
    Ok(sum / count as f64)
}

/// The one number of a tensor.
pub fn scalar(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().without_autodiff().into_scalar::<f32>())
}
