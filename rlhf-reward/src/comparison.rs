//! Comparisons as token ids: their loss, and how well a model agrees with them.

use crate::model::score_sequences;
use crate::{RewardConfig, RewardError};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rlhf_data::{ChatTokenizer, Comparison, DataError, TokenSequence};
use rlhf_loss::{k_wise, k_wise_centring};
use rlhf_model::{CausalLm, ScoreModel, TokenBatch};
use rlhf_train::TrainError;
use rlhf_train::gradients::{Division, Summed, summed_gradients};
use rlhf_train::supervised::scalar;
use serde::{Deserialize, Serialize};

/// How well a reward model agrees with comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardSummary {
    /// Mean over prompts that have a pair of the mean over their pairs of −log σ(chosen − rejected).
    pub loss: f64,
    /// Pairs whose chosen answer scores strictly higher.
    pub correct: usize,
    /// Pairs.
    pub pairs: usize,
    /// Mean score over the compared answers.
    pub mean_score: f64,
}

impl RewardSummary {
    /// The share of pairs whose chosen answer scores strictly higher; 0 without pairs.
    pub fn accuracy(&self) -> f64 {
        if self.pairs == 0 {
            0.0
        } else {
            self.correct as f64 / self.pairs as f64
        }
    }
}

/// A comparison as token ids.
#[derive(Clone, Debug)]
pub struct EncodedComparison {
    /// Prompt and answer, for each answer.
    pub(crate) sequences: Vec<Vec<u32>>,
    /// Indices of (better, worse) answers.
    pub(crate) pairs: Vec<(usize, usize)>,
}

impl EncodedComparison {
    /// Two answers to a prompt, each with the prompt before it; the first is the better one.
    pub fn pair(chosen: Vec<u32>, rejected: Vec<u32>) -> Self {
        Self {
            sequences: vec![chosen, rejected],
            pairs: vec![(0, 1)],
        }
    }

    /// Tokens of all its sequences.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(Vec::len).sum()
    }
}

/// Comparisons as token ids. A prompt too long loses its start, the same for all its answers.
///
/// # Errors
/// If a prompt can't be rendered, or an answer would lose a token; the comparison is named.
pub fn encode_comparisons(
    tokenizer: &ChatTokenizer,
    comparisons: &[Comparison],
    max_length: usize,
) -> Result<Vec<EncodedComparison>, RewardError> {
    let encode = |(i, c): (usize, &Comparison)| {
        let sequences = c
            .responses
            .iter()
            .map(|r| tokenizer.encode_answer(&c.prompt, r));
        let named = |e: DataError| {
            let reason = format!("comparison {}: {e}", i + 1);
            TrainError::NoData {
                stage: "reward".into(),
                reason,
            }
        };
        let mut sequences = sequences.collect::<Result<Vec<_>, _>>().map_err(named)?;
        let mut rows: Vec<&mut TokenSequence> = sequences.iter_mut().collect();
        TokenSequence::truncate_together(&mut rows, max_length).map_err(named)?;
        let sequences = sequences.into_iter().map(|s| s.ids).collect();
        Ok(EncodedComparison {
            sequences,
            pairs: c.pairs.clone(),
        })
    };
    comparisons.iter().enumerate().map(encode).collect()
}

/// Measures a reward model on comparisons.
///
/// # Errors
/// If a sequence can't be scored.
pub fn evaluate_comparisons(
    model: &ScoreModel,
    comparisons: &[&EncodedComparison],
    batch_size: usize,
    device: &Device,
) -> Result<RewardSummary, RewardError> {
    let sequences = comparisons
        .iter()
        .flat_map(|c| c.sequences.iter().map(Vec::as_slice));
    let sequences: Vec<&[u32]> = sequences.collect();
    let scores = score_sequences(model, &sequences, batch_size, device)?;
    let (mut loss, mut prompts, mut correct, mut pairs, mut first) = (0.0, 0, 0, 0, 0);
    for comparison in comparisons {
        let scores = &scores[first..first + comparison.sequences.len()];
        first += comparison.sequences.len();
        let margins = comparison
            .pairs
            .iter()
            .map(|&(b, w)| f64::from(scores[b] - scores[w]));
        let margins: Vec<f64> = margins.collect();
        correct += margins.iter().filter(|&&m| m > 0.0).count();
        pairs += margins.len();
        prompts += usize::from(!margins.is_empty());
        let of_prompt: f64 = margins.iter().map(|&m| negative_log_sigmoid(m)).sum();
        loss += of_prompt / margins.len().max(1) as f64;
    }
    let mean_score = scores.iter().map(|&s| f64::from(s)).sum::<f64>() / scores.len().max(1) as f64;
    Ok(RewardSummary {
        loss: loss / prompts.max(1) as f64,
        correct,
        pairs,
        mean_score,
    })
}

/// −log σ(x), finite for every finite x.
fn negative_log_sigmoid(x: f64) -> f64 {
    (-x).max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The gradient of the loss of an update's comparisons, each of which has a pair; the figures are
/// the parts of that loss, which add up to it.
///
/// # Errors
/// If an id is not in the model's vocabulary.
pub fn comparison_gradients(
    config: &RewardConfig,
    model: &ScoreModel,
    batch: &[&EncodedComparison],
    device: &Device,
) -> Result<Summed<f64>, RewardError> {
    let sizes = (batch.len(), batch.iter().map(|c| c.pairs.len()).sum());
    let lengths: Vec<usize> = batch.iter().map(|c| c.tokens()).collect();
    let (micro_batch, parameters) = (config.micro_batch_size, model.num_params());
    let Division { parts, cores } = Division::new(&lengths, micro_batch, parameters, device);
    summed_gradients(model, &parts, cores, |model, part| {
        let part: Vec<&EncodedComparison> = part.iter().map(|&i| batch[i]).collect();
        let loss = comparison_loss(model, &part, sizes, config.centre_coef, device)?;
        let value = scalar(&loss);
        Ok((loss, value))
    })
}

/// The loss of some of an update's comparisons, normalised by all its prompts (and pairs, for the
/// centring term), so that micro-batches add up to the whole. All answers to a prompt go through
/// one forward pass and weigh 1/C(K, 2) a pair (Ouyang et al., 2022, equation 1). Every comparison
/// has a pair.
///
/// # Errors
/// If an id is not in the model's vocabulary.
pub(crate) fn comparison_loss(
    model: &ScoreModel,
    part: &[&EncodedComparison],
    (prompts, pairs): (usize, usize),
    centre_coef: f64,
    device: &Device,
) -> Result<Tensor<1>, RewardError> {
    let rows: Vec<&[u32]> = part
        .iter()
        .flat_map(|c| c.sequences.iter().map(Vec::as_slice))
        .collect();
    let batch = TokenBatch::right_padded(&rows, device);
    batch.check_ids(model.backbone.vocab_size())?;
    let scores = model.last_token_scores(&batch);
    let mut first = 0;
    let mut of_part = Vec::with_capacity(part.len());
    for comparison in part {
        let shifted = comparison
            .pairs
            .iter()
            .map(|&(b, w)| (first + b, first + w));
        of_part.push(shifted.collect::<Vec<_>>());
        first += comparison.sequences.len();
    }
    let count: usize = of_part.iter().map(Vec::len).sum();
    let loss = k_wise(scores.clone(), &of_part).loss * (part.len() as f64 / prompts as f64);
    if centre_coef == 0.0 {
        return Ok(loss);
    }
    let share = count as f64 / pairs as f64;
    Ok(loss + k_wise_centring(scores, &of_part) * (centre_coef * share))
}

#[cfg(test)]
mod tests;
