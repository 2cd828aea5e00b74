//! `run.json`: what was run, on what, and what came out.

use crate::config::Config;
use crate::error::CliError;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The account of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RunRecord {
    /// Versions of this program and of Burn.
    pub(crate) versions: BTreeMap<String, String>,
    /// The name of the processor.
    pub(crate) cpu: String,
    /// Threads that the machine runs at once.
    pub(crate) threads: usize,
    /// The device.
    pub(crate) device: String,
    /// The seed.
    pub(crate) seed: u64,
    /// The SHA-256 of each input.
    pub(crate) inputs: BTreeMap<String, String>,
    /// The stages by name.
    pub(crate) stages: BTreeMap<String, StageRecord>,
    /// The exit code; none while the run is under way or if it was killed.
    pub(crate) exit: Option<u8>,
    /// What ended the run before its result.
    pub(crate) error: Option<String>,
    /// The figures of the run; null until they are known.
    pub(crate) result: Value,
}

/// The account of a stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct StageRecord {
    /// Seconds spent on it, over all calls.
    pub(crate) seconds: f64,
    /// Whether its model is complete.
    pub(crate) finished: bool,
    /// Names its settings and inputs.
    pub(crate) fingerprint: String,
}

impl RunRecord {
    /// The account of a file, or an empty one if there is none.
    ///
    /// # Errors
    /// If the file can't be read, or is not such an account.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let bytes = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            bytes => bytes.map_err(|e| CliError::io(path, &e))?,
        };
        serde_json::from_slice(&bytes).map_err(|e| {
            let error =
                CliError::usage(format!("{}: not the account of a run: {e}", path.display()));
            error.hint("choose another --out, or --fresh, which moves the old folder aside")
        })
    }

    /// Notes what a call starts with.
    pub(super) fn start(&mut self, config: &Config) {
        let versions = [("rlhf", env!("CARGO_PKG_VERSION")), ("burn", "0.22.1")];
        self.versions = versions
            .map(|(name, v)| (name.to_owned(), v.to_owned()))
            .into();
        self.cpu = cpu_name();
        self.threads = std::thread::available_parallelism().map_or(1, usize::from);
        self.device.clone_from(&config.device);
        self.seed = config.seed;
        self.exit = None;
        self.error = None;
    }

    /// Adds seconds to a stage; those of other settings don't count.
    pub(super) fn note_stage(&mut self, stage: &str, fingerprint: &str, seconds: f64, done: bool) {
        let entry = self.stages.entry(stage.to_owned()).or_default();
        if entry.fingerprint != fingerprint {
            *entry = StageRecord {
                fingerprint: fingerprint.to_owned(),
                ..StageRecord::default()
            };
        }
        entry.seconds += seconds;
        entry.finished = done;
    }
}

/// The processor's name as Linux tells it, else its architecture.
fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}
