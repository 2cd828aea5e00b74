//! Pairs of answers as token ids, and what a model thinks of them.

use crate::TrainError;
use crate::gradients::Division;
use crate::targets::Targets;
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rlhf_data::{ChatTokenizer, Comparison, TokenSequence};
use rlhf_model::cores::each_part;
use rlhf_model::{CausalLm, TokenBatch, Transformer};

/// Two answers to a prompt, each with the prompt before it; the answers carry loss.
#[derive(Clone, Debug)]
pub struct PreferencePair {
    pub(super) chosen: Answer,
    pub(super) rejected: Answer,
}

/// An answer and the prompt before it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) ids: Vec<u32>,
    loss: Vec<bool>,
}

impl Answer {
    fn new(sequence: TokenSequence) -> Self {
        Self {
            loss: sequence.loss_mask(),
            ids: sequence.ids,
        }
    }

    /// Tokens of the answer. The first token of a row is predicted by nothing.
    pub(super) fn tokens(&self) -> usize {
        self.loss.iter().skip(1).filter(|&&loss| loss).count()
    }
}

impl PreferencePair {
    /// Of two sequences, whose tokens that carry loss are the answers.
    pub fn new(chosen: TokenSequence, rejected: TokenSequence) -> Self {
        Self {
            chosen: Answer::new(chosen),
            rejected: Answer::new(rejected),
        }
    }

    pub(super) fn tokens(&self) -> usize {
        self.chosen.ids.len() + self.rejected.ids.len()
    }
}

/// The pairs of comparisons as token ids, a pair for each order of two answers that a comparison
/// states. A prompt too long loses its start, the same for all its answers.
///
/// # Errors
/// If a prompt can't be rendered, or an answer would lose a token; the comparison is named.
pub fn encode_pairs(
    tokenizer: &ChatTokenizer,
    comparisons: &[Comparison],
    max_length: usize,
) -> Result<Vec<PreferencePair>, TrainError> {
    let mut pairs = Vec::with_capacity(comparisons.len());
    for (i, comparison) in comparisons.iter().enumerate() {
        let answers = comparison.encode(tokenizer, max_length);
        let answers = answers.map_err(|e| no_data(format!("comparison {}: {e}", i + 1)))?;
        let ordered = comparison.pairs.iter();
        pairs.extend(ordered.map(|&(better, worse)| {
            PreferencePair::new(answers[better].clone(), answers[worse].clone())
        }));
    }
    Ok(pairs)
}

pub(super) fn no_data(reason: String) -> TrainError {
    let stage = "dpo".to_owned();
    TrainError::NoData { stage, reason }
}

/// The summed log-probs of a pair's answers, the chosen one's first.
pub type PairLogprobs = (f32, f32);

/// The frozen policy that a trained one is held to, and what it gives to the pairs it was asked
/// about: each is computed once.
#[derive(Debug)]
pub(super) struct Reference {
    model: Transformer,
    known: Vec<Option<PairLogprobs>>,
}

impl Reference {
    pub(super) fn new(model: Transformer, pairs: usize) -> Self {
        Self {
            model,
            known: vec![None; pairs],
        }
    }

    /// The log-probs of the pairs of these numbers.
    pub(super) fn logprobs(
        &mut self,
        pairs: &[PreferencePair],
        numbers: &[usize],
        micro_batch: usize,
        device: &Device,
    ) -> Result<Vec<PairLogprobs>, TrainError> {
        let unknown = numbers.iter().copied().filter(|&i| self.known[i].is_none());
        let unknown: Vec<usize> = unknown.collect();
        let rows: Vec<&PreferencePair> = unknown.iter().map(|&i| &pairs[i]).collect();
        let found = pair_logprobs(&self.model, &rows, micro_batch, device)?;
        for (i, logprobs) in unknown.into_iter().zip(found) {
            self.known[i] = Some(logprobs);
        }
        Ok(numbers.iter().filter_map(|&i| self.known[i]).collect())
    }
}

/// The summed log-probs of the answers of pairs, without gradients.
///
/// # Errors
/// If a pair does not fit the model.
pub fn pair_logprobs(
    model: &Transformer,
    pairs: &[&PreferencePair],
    micro_batch: usize,
    device: &Device,
) -> Result<Vec<PairLogprobs>, TrainError> {
    let division = division(model, pairs, micro_batch, device);
    let found = each_part(&division.parts, division.cores, |part| {
        let part: Vec<&PreferencePair> = part.iter().map(|&i| pairs[i]).collect();
        let [chosen, rejected] = answer_logprobs(model, &part, device)?;
        let host = |x: Tensor<1>| x.into_data().iter::<f32>().collect::<Vec<_>>();
        Ok::<_, TrainError>(
            host(chosen)
                .into_iter()
                .zip(host(rejected))
                .collect::<Vec<_>>(),
        )
    });
    let mut all = vec![(0.0, 0.0); pairs.len()];
    for (part, found) in division.parts.iter().zip(found) {
        for (&i, logprobs) in part.iter().zip(found?) {
            all[i] = logprobs;
        }
    }
    Ok(all)
}

/// How pairs are worked on.
pub(super) fn division(
    model: &Transformer,
    pairs: &[&PreferencePair],
    micro_batch: usize,
    device: &Device,
) -> Division {
    let lengths: Vec<usize> = pairs.iter().map(|pair| pair.tokens()).collect();
    Division::new(&lengths, micro_batch, model.num_params(), device)
}

/// The log-probs of the chosen and of the rejected answers, each summed over its tokens: `[pairs]`.
pub(super) fn answer_logprobs(
    model: &Transformer,
    pairs: &[&PreferencePair],
    device: &Device,
) -> Result<[Tensor<1>; 2], TrainError> {
    let chosen = pairs.iter().map(|pair| &pair.chosen);
    let answers: Vec<&Answer> = chosen
        .chain(pairs.iter().map(|pair| &pair.rejected))
        .collect();
    let ids: Vec<&[u32]> = answers.iter().map(|answer| answer.ids.as_slice()).collect();
    let batch = TokenBatch::right_padded(&ids, device);
    batch.check_ids(model.vocab_size())?;
    let (mut targets, mut row_of_target) = (Targets::new(), Vec::new());
    for (row, answer) in answers.iter().enumerate() {
        for (time, &loss) in answer.loss.iter().enumerate().skip(1) {
            if loss {
                targets.push(row, time, batch.time(), answer.ids[time]);
                row_of_target.push(row);
            }
        }
    }
    let logprobs = targets.logprobs(model, &batch, 1.0);
    let [count] = logprobs.dims();
    let mut membership = vec![0f32; answers.len() * count];
    for (target, row) in row_of_target.into_iter().enumerate() {
        membership[row * count + target] = 1.0;
    }
    let membership = TensorData::new(membership, [answers.len(), count]);
    let membership = Tensor::<2>::from_data(membership, device);
    let sums = membership
        .matmul(logprobs.unsqueeze_dim::<2>(1))
        .squeeze_dim::<1>(1);
    let part = |start: usize| sums.clone().narrow(0, start, pairs.len());
    Ok([part(0), part(pairs.len())])
}
