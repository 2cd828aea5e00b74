//! What a recipe needs besides data, settings and a model.

use crate::{MetricSink, TrainError};
use burn::tensor::Device;
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
        let Self { dir, seed, fingerprint, .. } = self;
        f.debug_struct("RunContext")
            .field("dir", dir)
            .field("seed", seed)
            .field("fingerprint", fingerprint)
            .finish_non_exhaustive()
    }
}

impl RunContext<'_> {
    /// Hands a record to the sink.
    ///
    /// # Errors
    /// If the sink can't write it.
    pub fn record(&mut self, metrics: &crate::Metrics) -> Result<(), TrainError> {
        let written = self.sink.record(metrics);
        written.map_err(|e| TrainError::io(&self.dir.join("metrics.jsonl"), e))
    }

    /// Whether the stage should stop and save its state.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
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
