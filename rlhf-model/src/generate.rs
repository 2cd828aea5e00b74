//! Answers to prompts: the trait, its nouns, and a scripted implementation for tests.

#[cfg(feature = "flex")]
mod decode;
mod local;
mod plain;
mod row;
mod scripted;

#[cfg(feature = "flex")]
pub use decode::PackedModel;
pub use local::{DecodeWeights, LocalGenerator};
pub use scripted::ScriptedGenerator;

use crate::{ModelError, SamplingConfig};
use row::Row;

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

/// What a model without a CPU to decode on packs: nothing.
#[cfg(not(feature = "flex"))]
#[derive(Debug)]
pub enum PackedModel {}

#[cfg(not(feature = "flex"))]
impl PackedModel {
    fn complete(
        &self,
        _: &[Request<'_>],
        _: &SamplingConfig,
        _: usize,
    ) -> Result<Vec<Completion>, ModelError> {
        match *self {}
    }
}
