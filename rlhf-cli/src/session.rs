//! What every command needs: the settings, the device, the wish to stop.

use crate::args::CommonArgs;
use crate::config::Config;
use crate::console::{ProgressSink, say};
use crate::error::CliError;
use crate::folder::RunFolder;
use burn::tensor::Device;
use rlhf_train::{MetricSink, RunContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The settings and the state of one call of the program.
#[derive(Debug)]
pub(crate) struct Session {
    /// The settings in effect.
    pub(crate) config: Config,
    /// The device, without autodiff.
    pub(crate) device: Device,
    /// Whether results are wanted as JSON.
    pub(crate) json: bool,
    /// Whether progress is unwanted.
    pub(crate) quiet: bool,
    /// Set by the first SIGINT or SIGTERM; a second one ends the program at once.
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Session {
    /// Loads the settings, opens the device, and from now on answers a signal by asking the work
    /// to stop.
    ///
    /// # Errors
    /// If the settings or the device can't be used.
    pub(crate) fn new(args: &CommonArgs) -> Result<Self, CliError> {
        let session = Self::without_handler(args)?;
        handle_signals(&session.interrupted)?;
        Ok(session)
    }

    /// As [`Self::new`], but a signal ends the program as signals do.
    ///
    /// # Errors
    /// If the settings or the device can't be used.
    pub(crate) fn without_handler(args: &CommonArgs) -> Result<Self, CliError> {
        args.kernels.apply();
        let config = Config::from_args(args)?;
        let device = rlhf_model::device::parse_device(&config.device)?;
        let interrupted = Arc::new(AtomicBool::new(false));
        Ok(Self {
            config,
            device,
            json: args.json,
            quiet: args.quiet,
            interrupted,
        })
    }

    /// What a recipe of a stage gets.
    pub(crate) fn context<'a>(
        &'a self,
        folder: &RunFolder,
        stage: &str,
        sink: &'a mut dyn MetricSink,
        fingerprint: String,
    ) -> RunContext<'a> {
        RunContext {
            dir: folder.stage_dir(stage),
            device: self.device.clone(),
            seed: self.config.seed,
            sink,
            interrupted: &self.interrupted,
            fingerprint,
        }
    }

    /// Shows progress, unless it is unwanted.
    pub(crate) fn progress(&self) -> ProgressSink {
        ProgressSink::new(self.quiet)
    }

    /// Says something on stderr, unless progress is unwanted.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    /// Whether a signal asked to stop.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

fn handle_signals(interrupted: &Arc<AtomicBool>) -> Result<(), CliError> {
    let flag = Arc::clone(interrupted);
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::error::ExitKind::Interrupted.code()));
        }
        say("stopping after this step; once more stops at once");
    };
    ctrlc::set_handler(handler).map_err(|e| CliError::failure(format!("signal handler: {e}")))
}
