//! A request while it is being continued.

use super::{Completion, Finish, Request};
use crate::sample::Sampler;
use crate::{ModelError, SamplingConfig};
use rlhf_random::Rng;

/// A row that is being continued.
pub(super) struct Row<'a> {
    /// Its place among the requests.
    index: usize,
    prompt: &'a [u32],
    stream: Rng,
    /// The tokens so far, prompt included: what a repetition penalty looks at.
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    done: bool,
}

impl<'a> Row<'a> {
    pub(super) fn new(index: usize, request: &Request<'a>) -> Self {
        Self {
            index,
            prompt: request.prompt,
            stream: Rng::new(request.stream),
            tokens: request.prompt.to_vec(),
            logprobs: Vec::new(),
            done: false,
        }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    #[cfg(feature = "flex")]
    pub(super) fn prompt(&self) -> &'a [u32] {
        self.prompt
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The token to be fed next.
    pub(super) fn last(&self) -> u32 {
        self.tokens.last().copied().unwrap_or(0)
    }

    /// The place of the token to be fed next.
    #[cfg(feature = "flex")]
    pub(super) fn position(&self) -> usize {
        self.tokens.len() - 1
    }

    /// Draws the next token from its logits; the completion if it was the last.
    pub(super) fn draw(
        &mut self,
        logits: &[f32],
        config: &SamplingConfig,
        sampler: &mut Sampler,
    ) -> Result<Option<Completion>, ModelError> {
        let mut rng = self.stream.key(self.logprobs.len() as u64);
        let pick = sampler.pick(logits, &self.tokens, config, &mut rng)?;
        self.tokens.push(pick.token);
        self.logprobs.push(pick.logprob);
        let Some(finish) = finish_of(pick.token, self.logprobs.len(), config) else {
            return Ok(None);
        };
        self.done = true;
        Ok(Some(Completion {
            tokens: self.tokens[self.prompt.len()..].to_vec(),
            logprobs: std::mem::take(&mut self.logprobs),
            finish,
        }))
    }
}

/// What a token means for the answer that it ends or continues.
pub(super) fn finish_of(token: u32, length: usize, config: &SamplingConfig) -> Option<Finish> {
    if config.stop_ids.contains(&token) {
        Some(Finish::Eos)
    } else if config.extra_stop_ids.contains(&token) {
        Some(Finish::Stop)
    } else {
        (length >= config.max_new_tokens).then_some(Finish::Length)
    }
}
