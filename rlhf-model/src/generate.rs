//! Answers to prompts: the trait, its nouns, and a scripted implementation for tests.

mod local;
mod scripted;

pub use local::LocalGenerator;
pub use scripted::ScriptedGenerator;

use crate::{ModelError, SamplingConfig};

/// A prompt to be continued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its token ids, at least one.
    pub prompt: &'a [u32],
    /// The name of the row's random stream ([`rlhf_random::stream`]); token number `i` of the
    /// answer is drawn with `Rng::new(stream).key(i)`.
    pub stream: u64,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finish {
    /// With one of [`SamplingConfig::stop_ids`].
    Eos,
    /// At [`SamplingConfig::max_new_tokens`]: cut off, not finished.
    Length,
    /// With one of [`SamplingConfig::extra_stop_ids`].
    Stop,
}

impl Finish {
    /// The name used in files: `eos`, `length`, `stop`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Eos => "eos",
            Self::Length => "length",
            Self::Stop => "stop",
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The new tokens; the end token, if there was one, is the last.
    pub tokens: Vec<u32>,
    /// `log softmax(logits / T)[token]` of each, before penalty and filters; T is the sampling
    /// temperature, 1 when greedy.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub finish: Finish,
}

/// Something that continues prompts: the model at hand, a remote server, a script.
pub trait Generator {
    /// One completion for each request, in order. A request's completion depends on its prompt,
    /// its stream and `config` only, never on the other requests.
    ///
    /// # Errors
    /// [`ModelError`] for a prompt that can't be continued, settings out of range, or a
    /// generator that went wrong.
    fn generate(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
    ) -> Result<Vec<Completion>, ModelError>;
}

impl<G: Generator + ?Sized> Generator for &G {
    fn generate(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
    ) -> Result<Vec<Completion>, ModelError> {
        (**self).generate(requests, config)
    }
}

impl<G: Generator + ?Sized> Generator for Box<G> {
    fn generate(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
    ) -> Result<Vec<Completion>, ModelError> {
        (**self).generate(requests, config)
    }
}

/// What a token means for the answer that it ends or continues.
pub(crate) fn finish_of(token: u32, length: usize, config: &SamplingConfig) -> Option<Finish> {
    if config.stop_ids.contains(&token) {
        Some(Finish::Eos)
    } else if config.extra_stop_ids.contains(&token) {
        Some(Finish::Stop)
    } else {
        (length >= config.max_new_tokens).then_some(Finish::Length)
    }
}
