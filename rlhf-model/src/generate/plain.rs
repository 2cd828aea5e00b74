//! Decoding through a model's forward pass and its cache, on every device.

use super::{Completion, Request, Row};
use crate::cores::{cores, each_part, rows_at_once};
use crate::layers::project;
use crate::sample::Sampler;
use crate::{CausalLm, KvCache, ModelError, SamplingConfig, TokenBatch};
use burn::tensor::{Device, Tensor};
use rlhf_kernels::softcap;

/// The same numbers, laid out row after row: a transposed view makes small products slow.
fn contiguous(weight: Tensor<2>) -> Tensor<2> {
    let device = weight.device();
    Tensor::from_data(weight.into_data(), &device)
}

/// What all batches of one call share.
pub(super) struct PlainDecoder<'c, M> {
    model: M,
    head: Tensor<2>,
    device: Device,
    config: &'c SamplingConfig,
}

/// A row that is being continued, and the column of its first token.
struct PlainRow<'a> {
    row: Row<'a>,
    start: usize,
}

impl<'c, M: CausalLm> PlainDecoder<'c, M> {
    pub(super) fn new(model: &M, config: &'c SamplingConfig) -> Self {
        let model = model.valid();
        let device = model.device();
        Self {
            head: contiguous(model.head_weight()),
            model,
            device,
            config,
        }
    }

    /// Completes requests, at most `batch_size` at a time. Rows of similar length share a batch.
    pub(super) fn complete(
        &self,
        requests: &[Request<'_>],
        batch_size: usize,
    ) -> Result<Vec<Completion>, ModelError> {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|&i| requests[i].prompt.len());
        // One core for all layers of its own rows does more than all cores for one layer at a time.
        let size = rows_at_once(requests.len(), batch_size, &self.device);
        let parts: Vec<&[usize]> = order.chunks(size).collect();
        let results = each_part(&parts, cores(&self.device), |indices| {
            let batch: Vec<Request<'_>> = indices.iter().map(|&i| requests[i]).collect();
            self.run(&batch)
        });
        let mut answers: Vec<Option<Completion>> = vec![None; requests.len()];
        for (indices, result) in parts.iter().zip(results) {
            for (&i, answer) in indices.iter().zip(result?) {
                answers[i] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Completes requests that are sorted by the length of their prompts.
    fn run(&self, requests: &[Request<'_>]) -> Result<Vec<Completion>, ModelError> {
        let (mut hidden, mut cache) = self.prefill(requests);
        let rows = requests.iter().enumerate();
        let mut rows: Vec<PlainRow<'_>> = rows
            .map(|(index, request)| PlainRow {
                row: Row::new(index, request),
                start: cache.len() - request.prompt.len(),
            })
            .collect();
        let mut answers: Vec<Option<Completion>> = vec![None; requests.len()];
        loop {
            self.draw(hidden, &mut rows, &mut answers)?;
            if rows.iter().all(|row| row.row.is_done()) {
                return Ok(answers.into_iter().flatten().collect());
            }
            drop_finished(&mut rows, &mut cache);
            let tokens: Vec<u32> = rows.iter().map(|row| row.row.last()).collect();
            let starts: Vec<usize> = rows.iter().map(|row| row.start).collect();
            let step = TokenBatch::step(&tokens, &starts, cache.len(), &self.device);
            hidden = self.last_column(self.model.hidden(&step, Some(&mut cache)));
        }
    }

    /// Runs the prompts and gives the hidden states of their last tokens, `[batch, d]`, and a
    /// cache in which all prompts end in the same column.
    ///
    /// Prompts of one length go together, without padding: attention over another number of
    /// columns would round differently, and a row's result must not depend on its batch.
    fn prefill(&self, requests: &[Request<'_>]) -> (Tensor<2>, KvCache) {
        let time = requests.last().map_or(0, |request| request.prompt.len());
        // The last token of an answer is never fed.
        let capacity = time + self.config.max_new_tokens - 1;
        let mut cache = self.model.empty_cache(requests.len(), capacity);
        let (mut hidden, mut row) = (Vec::new(), 0);
        for group in requests.chunk_by(|a, b| a.prompt.len() == b.prompt.len()) {
            let prompts: Vec<&[u32]> = group.iter().map(|request| request.prompt).collect();
            let batch = TokenBatch::left_padded(&prompts, &self.device);
            let mut part = self.model.empty_cache(group.len(), batch.time());
            hidden.push(self.last_column(self.model.hidden(&batch, Some(&mut part))));
            cache.paste(row, time, &part);
            row += group.len();
        }
        (Tensor::cat(hidden, 0), cache)
    }

    /// `[batch, time, d]` → `[batch, d]`.
    fn last_column(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [b, t, d] = hidden.dims();
        hidden.narrow(1, t - 1, 1).reshape([b, d])
    }

    /// Draws a token for every row that is not done.
    fn draw(
        &self,
        hidden: Tensor<2>,
        rows: &mut [PlainRow<'_>],
        answers: &mut [Option<Completion>],
    ) -> Result<(), ModelError> {
        let vocab = self.model.vocab_size();
        let logits = project(hidden, self.head.clone());
        let logits = match self.model.logit_softcap() {
            Some(cap) => softcap(logits, cap),
            None => logits,
        };
        let data = logits.into_data().convert::<f32>();
        let logits = data.as_slice::<f32>().map_err(|e| {
            let reason = format!("logits could not be read: {e:?}");
            ModelError::Generator { reason }
        })?;
        let mut sampler = Sampler::default();
        let rows = rows.iter_mut().map(|row| &mut row.row);
        for (row, logits) in rows.zip(logits.chunks(vocab)) {
            if !row.is_done() {
                answers[row.index()] = row.draw(logits, self.config, &mut sampler)?;
            }
        }
        Ok(())
    }
}

/// Takes finished rows out of the batch once a quarter of it is finished: copying the cache pays
/// then.
fn drop_finished(rows: &mut Vec<PlainRow<'_>>, cache: &mut KvCache) {
    let kept: Vec<usize> = (0..rows.len())
        .filter(|&i| !rows[i].row.is_done())
        .collect();
    if 4 * kept.len() > 3 * rows.len() {
        return;
    }
    cache.keep_rows(&kept);
    rows.retain(|row| !row.row.is_done());
}
