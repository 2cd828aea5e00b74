//! The language-model loss of rows of tokens, in micro-batches that add up to the whole.

use crate::gradients::{Division, summed_gradients};
use crate::targets::Targets;
use crate::{AdamW, Metrics, TrainError};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rlhf_data::{PackedRow, TokenSequence};
use rlhf_model::cores::each_part;
use rlhf_model::{CausalLm, PackedTokens, TokenBatch, Transformer};
use std::time::Instant;

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
/// If no token of the rows carries loss, an id is not in the vocabulary, or a row's documents don't
/// start in order.
pub fn supervised_loss(
    model: &Transformer,
    rows: &[&PackedRow],
    denominator: usize,
    device: &Device,
) -> Result<Tensor<1>, TrainError> {
    let packed = rows.iter().map(|r| PackedTokens {
        ids: &r.ids,
        segment_starts: &r.segment_starts,
    });
    let batch = TokenBatch::packed(&packed.collect::<Vec<_>>(), device)?;
    batch.check_ids(model.vocab_size())?;
    let width = batch.time();
    let mut targets = Targets::new();
    for (row, tokens) in rows.iter().enumerate() {
        for (time, loss) in carries_loss(tokens).enumerate() {
            if loss {
                targets.push(row, time, width, tokens.ids[time]);
            }
        }
    }
    if targets.is_empty() {
        return Err(nothing_to_train_on());
    }
    let logprobs = targets.logprobs(model, &batch, 1.0);
    Ok(-logprobs.sum() / denominator as f64)
}

fn nothing_to_train_on() -> TrainError {
    let reason = "no row of the batch has a token that carries loss".to_owned();
    TrainError::NoData {
        stage: "training".into(),
        reason,
    }
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

/// Gradients of the token-mean loss over `rows`, taken at most `micro_batch` rows at a time.
///
/// # Errors
/// If no row has a token to train on.
pub fn supervised_gradients(
    model: &Transformer,
    rows: &[&PackedRow],
    micro_batch: usize,
    device: &Device,
) -> Result<SupervisedGradients, TrainError> {
    let (parts, cores, tokens) = parts_with_loss(model, rows, micro_batch, device)?;
    let summed = summed_gradients(model, &parts, cores, |model, part| {
        let loss = supervised_loss(model, part, tokens, device)?;
        let value = scalar(&loss);
        Ok::<_, TrainError>((loss, value))
    })?;
    Ok(SupervisedGradients {
        gradients: summed.gradients,
        loss: summed.figures.iter().sum(),
        tokens,
    })
}

/// The rows that carry loss, divided, how many parts go at once, and how many tokens carry loss.
fn parts_with_loss<'a>(
    model: &Transformer,
    rows: &[&'a PackedRow],
    micro_batch: usize,
    device: &Device,
) -> Result<(Vec<Vec<&'a PackedRow>>, usize, usize), TrainError> {
    let trained = rows.iter().copied().filter(|row| trained_tokens(row) > 0);
    let rows: Vec<&PackedRow> = trained.collect();
    if rows.is_empty() {
        return Err(nothing_to_train_on());
    }
    let tokens = rows.iter().map(|row| trained_tokens(row)).sum();
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let Division { parts, cores } =
        Division::new(&lengths, micro_batch, model.num_params(), device);
    let part = |part: Vec<usize>| part.into_iter().map(|i| rows[i]).collect();
    Ok((parts.into_iter().map(part).collect(), cores, tokens))
}

/// One update of a supervised stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SupervisedUpdate<'a> {
    /// The stage and how many updates it makes in all.
    pub(crate) stage: (&'static str, u64),
    /// What is trained on.
    pub(crate) rows: &'a [&'a PackedRow],
    /// The rows' numbers in the data, counted from 0, for messages.
    pub(crate) numbers: &'a [usize],
    /// Rows a forward pass.
    pub(crate) micro_batch: usize,
    /// The factor on the learning rate.
    pub(crate) lr_multiplier: f64,
    /// The plain device.
    pub(crate) device: &'a Device,
}

impl SupervisedUpdate<'_> {
    /// Makes the update; the model and the record of it.
    pub(crate) fn make(
        &self,
        model: Transformer,
        optimiser: &mut AdamW,
    ) -> Result<(Transformer, Metrics), TrainError> {
        let started = Instant::now();
        let (stage, steps) = self.stage;
        let step = optimiser.updates() + 1;
        let mut found = supervised_gradients(&model, self.rows, self.micro_batch, self.device)?;
        TrainError::unless_finite(found.loss, (stage, step), self.numbers)?;
        let (model, grad_norm) = optimiser
            .step(model, &mut found.gradients, self.lr_multiplier)
            .map_err(|e| e.at(stage, step, self.numbers))?;
        let seconds = started.elapsed().as_secs_f64();
        let learning_rate = optimiser.config().learning_rate * self.lr_multiplier;
        let metrics = Metrics::new(stage, step, steps)
            .with("loss", found.loss)
            .with("learning_rate", learning_rate)
            .with("grad_norm", grad_norm)
            .with("tokens", found.tokens as f64)
            .with("tokens_per_s", found.tokens as f64 / seconds);
        Ok((model, metrics))
    }
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
    let (parts, cores, tokens) = parts_with_loss(model, rows, micro_batch, device)?;
    let losses = each_part(&parts, cores, |part| {
        Ok::<_, TrainError>(scalar(&supervised_loss(model, part, 1, device)?))
    });
    let mut sum = 0.0;
    for loss in losses {
        sum += loss?;
    }
    Ok(sum / tokens as f64)
}

/// The one number of a tensor.
pub fn scalar(tensor: &Tensor<1>) -> f64 {
    f64::from(tensor.clone().without_autodiff().into_scalar::<f32>())
}
