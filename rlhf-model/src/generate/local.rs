//! Generation with a model in this process.

use super::{Completion, Generator, Request, finish_of};
use crate::batch::outside;
use crate::cores::{cores, each_part, rows_at_once};
use crate::layers::project;
use crate::sample::{Pick, pick};
use crate::{CausalLm, KvCache, ModelError, SamplingConfig, TokenBatch, Transformer};
use burn::tensor::{Device, Tensor};
use rlhf_kernels::softcap;
use rlhf_random::Rng;

/// Continues prompts with a model, `batch_size` rows at a time. Rows of similar length share a
/// batch, finished rows leave it, and a row's tokens and log-probabilities depend on its prompt,
/// its stream and the sampling settings only. On the CPU the threads share the rows.
#[derive(Clone, Copy, Debug)]
pub struct LocalGenerator<'a, M: CausalLm = Transformer> {
    model: &'a M,
    batch_size: usize,
}

impl<'a, M: CausalLm> LocalGenerator<'a, M> {
    /// A generator over a model. A `batch_size` of 0 counts as 1.
    pub fn new(model: &'a M, batch_size: usize) -> Self {
        Self {
            model,
            batch_size: batch_size.max(1),
        }
    }

    fn check(&self, requests: &[Request<'_>], config: &SamplingConfig) -> Result<(), ModelError> {
        config.validate()?;
        let (longest, vocab) = (self.model.max_positions(), self.model.vocab_size());
        for (index, request) in requests.iter().enumerate() {
            let length = request.prompt.len();
            let refuse = |reason: String| Err(ModelError::Prompt { index, reason });
            if length == 0 {
                return refuse("is empty; give at least one token".into());
            }
            if length.saturating_add(config.max_new_tokens) > longest {
                return refuse(format!(
                    "has {length} tokens; with max_new_tokens {} it would exceed the model's \
                     max_position_embeddings {longest}; shorten the prompt or lower \
                     max_new_tokens",
                    config.max_new_tokens
                ));
            }
            if let Some(id) = request.prompt.iter().find(|&&id| id as usize >= vocab) {
                return refuse(outside(*id, vocab));
            }
        }
        Ok(())
    }
}

impl<M: CausalLm> Generator for LocalGenerator<'_, M> {
    fn generate(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
    ) -> Result<Vec<Completion>, ModelError> {
        self.check(requests, config)?;
        let model = self.model.valid();
        let device = model.device();
        let engine = Engine {
            head: contiguous(model.head_weight()),
            model,
            device,
            config,
        };
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|&i| requests[i].prompt.len());
        // One core for all layers of its own rows does more than all cores for one layer at a time.
        let size = rows_at_once(requests.len(), self.batch_size, &engine.device);
        let parts: Vec<&[usize]> = order.chunks(size).collect();
        let results = each_part(&parts, cores(&engine.device), |indices| {
            let batch: Vec<Request<'_>> = indices.iter().map(|&i| requests[i]).collect();
            engine.run(&batch)
        });
        let mut answers: Vec<Option<Completion>> = vec![None; requests.len()];
        for (indices, result) in parts.iter().zip(results) {
            for (&i, answer) in indices.iter().zip(result?) {
                answers[i] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}

/// The same numbers, laid out row after row: a transposed view makes small products slow.
fn contiguous(weight: Tensor<2>) -> Tensor<2> {
    let device = weight.device();
    Tensor::from_data(weight.into_data(), &device)
}

/// What all batches of one call share.
struct Engine<'c, M> {
    model: M,
    head: Tensor<2>,
    device: Device,
    config: &'c SamplingConfig,
}

/// A row that is being continued.
struct Row {
    /// Its place in the batch's requests.
    index: usize,
    /// The column of its first token.
    start: usize,
    stream: Rng,
    /// The tokens so far, prompt included: what a repetition penalty looks at.
    tokens: Vec<u32>,
    prompt_len: usize,
    logprobs: Vec<f32>,
    done: bool,
}

impl Row {
    /// Takes the next token; the completion if it was the last.
    fn push(&mut self, pick: Pick, config: &SamplingConfig) -> Option<Completion> {
        self.tokens.push(pick.token);
        self.logprobs.push(pick.logprob);
        let finish = finish_of(pick.token, self.logprobs.len(), config)?;
        self.done = true;
        let tokens = self.tokens[self.prompt_len..].to_vec();
        Some(Completion {
            tokens,
            logprobs: std::mem::take(&mut self.logprobs),
            finish,
        })
    }

    /// The token to be fed next.
    fn last(&self) -> u32 {
        self.tokens.last().copied().unwrap_or(0)
    }
}

impl<M: CausalLm> Engine<'_, M> {
    /// Completes requests that are sorted by the length of their prompts.
    fn run(&self, requests: &[Request<'_>]) -> Result<Vec<Completion>, ModelError> {
        let (mut hidden, mut cache) = self.prefill(requests);
        let mut rows: Vec<Row> = requests
            .iter()
            .enumerate()
            .map(|(index, request)| Row {
                index,
                start: cache.len() - request.prompt.len(),
                stream: Rng::new(request.stream),
                tokens: request.prompt.to_vec(),
                prompt_len: request.prompt.len(),
                logprobs: Vec::new(),
                done: false,
            })
            .collect();
        let mut answers: Vec<Option<Completion>> = vec![None; requests.len()];
        loop {
            self.draw(hidden, &mut rows, &mut answers)?;
            if rows.iter().all(|row| row.done) {
                return Ok(answers.into_iter().flatten().collect());
            }
            drop_finished(&mut rows, &mut cache);
            let tokens: Vec<u32> = rows.iter().map(Row::last).collect();
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
        rows: &mut [Row],
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
        for (row, logits) in rows.iter_mut().zip(logits.chunks(vocab)) {
            if row.done {
                continue;
            }
            let mut rng = row.stream.key(row.logprobs.len() as u64);
            let pick = pick(logits, &row.tokens, self.config, &mut rng)?;
            if let Some(answer) = row.push(pick, self.config) {
                answers[row.index] = Some(answer);
            }
        }
        Ok(())
    }
}

/// Takes finished rows out of the batch once a quarter of it is finished: copying the cache pays
/// then.
fn drop_finished(rows: &mut Vec<Row>, cache: &mut KvCache) {
    let kept: Vec<usize> = (0..rows.len()).filter(|&i| !rows[i].done).collect();
    if 4 * kept.len() > 3 * rows.len() {
        return;
    }
    cache.keep_rows(&kept);
    rows.retain(|row| !row.done);
}
