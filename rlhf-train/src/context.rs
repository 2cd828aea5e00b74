//! What a recipe needs besides data, settings and a model.

use crate::parameters::NamedTensor;
use crate::{MetricSink, TrainError, checkpoint};
use burn::tensor::Device;
use rlhf_random::Rng;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where and how a stage runs.
pub struct RunContext<'a> {
    /// The stage's folder; checkpoints go to `checkpoints/` in it.
    pub dir: PathBuf,
    /// The device without autodiff; batches live here.
    pub device: Device,
    /// The seed of everything that the stage draws.
    pub seed: u64,
    /// Takes one record an update.
    pub sink: &'a mut dyn MetricSink,
    /// Set from outside to stop: the stage saves its state and returns [`Outcome::Interrupted`].
    pub interrupted: &'a AtomicBool,
    /// Names the settings and inputs. A checkpoint made with others is refused.
    pub fingerprint: String,
}

impl std::fmt::Debug for RunContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            dir,
            seed,
            fingerprint,
            ..
        } = self;
        f.debug_struct("RunContext")
            .field("dir", dir)
            .field("seed", seed)
            .field("fingerprint", fingerprint)
            .finish_non_exhaustive()
    }
}

impl RunContext<'_> {
    /// The stream of what adapters drop in an update.
    pub fn dropout(&self, step: u64) -> Rng {
        Rng::new(self.seed).key("dropout").key(step)
    }

    /// Hands a record to the sink.
    ///
    /// # Errors
    /// If the sink can't write it.
    pub fn record(&mut self, metrics: &crate::Metrics) -> Result<(), TrainError> {
        let written = self.sink.record(metrics);
        written.map_err(|e| TrainError::io(&self.dir.join("metrics.jsonl"), e))
    }

    /// Saves the stage's state where that is due: every `checkpoint_every` updates except the last,
    /// and when the stage is interrupted. Says whether it is, and so should return
    /// [`Outcome::Interrupted`].
    ///
    /// # Errors
    /// If the state can't be written.
    pub fn checkpoint(
        &self,
        at: Progress,
        state: &impl Serialize,
        groups: impl FnOnce() -> Vec<(&'static str, Vec<NamedTensor>)>,
    ) -> Result<bool, TrainError> {
        // Asked once: an interruption between two looks would return without having saved.
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        if interrupted || at.is_due() {
            checkpoint::save(&self.dir, &self.fingerprint, at.step, state, &groups())?;
        }
        Ok(interrupted)
    }
}

/// Where a stage is, and how often it saves its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Updates made.
    pub step: u64,
    /// Updates in all.
    pub steps: u64,
    /// Updates between checkpoints; 0 saves only when interrupted.
    pub checkpoint_every: u64,
}

impl Progress {
    fn is_due(self) -> bool {
        let on_time = self.checkpoint_every > 0 && self.step.is_multiple_of(self.checkpoint_every);
        on_time && self.step < self.steps
    }
}

/// The weights with the lowest loss on what was held out.
#[derive(Clone, Debug)]
pub struct Kept<M> {
    /// The model with these weights.
    pub model: M,
    /// Updates made when it had them; 0 is the model that training began with.
    pub step: u64,
}

/// How a stage ended.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It made all its updates.
    Finished(T),
    /// It was interrupted after this many updates; its state is saved.
    Interrupted {
        /// Updates made.
        step: u64,
    },
}
