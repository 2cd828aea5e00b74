//! A run's folder: what stands in it, and what has been done in it.
//!
//! ```text
//! DIR/config.toml      the whole effective configuration
//! DIR/run.json         versions, machine, seed, hashes of the inputs, seconds a stage, exit, result
//! DIR/metrics.jsonl    one line an update
//! DIR/STAGE/           a stage's checkpoints and models; a stage run alone uses DIR itself
//! ```

mod fingerprint;
mod metrics_file;
mod record;

pub(crate) use fingerprint::{fingerprint, sha256_of};
pub(crate) use metrics_file::MetricsFile;
pub(crate) use record::RunRecord;

use crate::config::Config;
use crate::error::CliError;
use crate::session::Session;
use rlhf_data::write_atomic;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder that a run or a stage works in.
#[derive(Debug)]
pub(crate) struct RunFolder {
    root: PathBuf,
    alone: bool,
    record: RunRecord,
}

impl RunFolder {
    /// Opens the folder of a whole run, with one folder a stage; makes it if need be. With `fresh`
    /// a folder of that name is moved aside to the first free `DIR.old-N`.
    ///
    /// # Errors
    /// If the folder can't be made, moved or written, or its `run.json` can't be read.
    pub(crate) fn open(dir: &Path, fresh: bool) -> Result<Self, CliError> {
        if fresh {
            move_aside(dir)?;
        }
        fs::create_dir_all(dir).map_err(|e| CliError::io(dir, &e))?;
        let record = RunRecord::read(&dir.join("run.json"))?;
        let folder = Self {
            root: dir.to_owned(),
            alone: false,
            record,
        };
        // Shows at once, not after an hour of work, whether the folder can be written.
        folder.save()?;
        Ok(folder)
    }

    /// Opens the folder of a stage that runs alone: its state and models stand in `dir` itself.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_stage(dir: &Path, fresh: bool) -> Result<Self, CliError> {
        Ok(Self {
            alone: true,
            ..Self::open(dir, fresh)?
        })
    }

    /// Notes settings, device and seed, in `config.toml` and `run.json`.
    ///
    /// # Errors
    /// If a file can't be written.
    pub(crate) fn start(&mut self, session: &Session) -> Result<(), CliError> {
        self.write_config(&session.config)?;
        self.record.start(&session.config);
        self.save()
    }

    fn write_config(&self, config: &Config) -> Result<(), CliError> {
        let path = self.root.join("config.toml");
        let text = config.to_toml()?;
        write_atomic(&path, text.as_bytes()).map_err(|e| CliError::io(&path, &e))
    }

    /// The folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A stage's folder; it need not exist.
    pub(crate) fn stage_dir(&self, stage: &str) -> PathBuf {
        if self.alone {
            self.root.clone()
        } else {
            self.root.join(stage)
        }
    }

    /// Where a stage leaves its model: `reward/` for the reward model, `model/` for others.
    pub(crate) fn model_dir(&self, stage: &str) -> PathBuf {
        self.stage_dir(stage)
            .join(if stage == "reward" { "reward" } else { "model" })
    }

    /// What has been done here.
    pub(crate) fn record(&self) -> &RunRecord {
        &self.record
    }

    /// Hashes an input (a file, or a folder with all its files), notes the hash in `run.json` and
    /// gives it back, for [`fingerprint()`].
    ///
    /// # Errors
    /// If it can't be read, or `run.json` can't be written.
    pub(crate) fn add_input(&mut self, path: &Path) -> Result<String, CliError> {
        let hash = sha256_of(path)?;
        self.record
            .inputs
            .insert(path.display().to_string(), hash.clone());
        self.save()?;
        Ok(hash)
    }

    /// Whether a stage has been finished here with these settings and inputs.
    ///
    /// # Errors
    /// If it was finished with others.
    pub(crate) fn is_finished(&self, stage: &str, fingerprint: &str) -> Result<bool, CliError> {
        match self.record.stages.get(stage) {
            Some(found) if found.finished && found.fingerprint == fingerprint => Ok(true),
            Some(found) if found.finished => {
                let message = format!(
                    "{}: {stage} was finished here with other settings or inputs",
                    self.root.display()
                );
                let hint = "choose another --out, or --fresh, which moves the old folder aside";
                Err(CliError::usage(message).hint(hint))
            }
            _ => Ok(false),
        }
    }

    /// Notes the seconds that this call spent on a stage, and whether it is finished.
    ///
    /// # Errors
    /// If `run.json` can't be written.
    pub(crate) fn note_stage(
        &mut self,
        stage: &str,
        fingerprint: &str,
        (seconds, finished): (f64, bool),
    ) -> Result<(), CliError> {
        self.record
            .note_stage(stage, fingerprint, seconds, finished);
        self.save()
    }

    /// Notes the result of the run and that it ended well.
    ///
    /// # Errors
    /// If `run.json` can't be written.
    pub(crate) fn finish(&mut self, result: serde_json::Value) -> Result<(), CliError> {
        self.record.result = result;
        self.record.exit = Some(0);
        self.save()
    }

    /// Notes that the run ended without a result. What can't be noted is left: the error that
    /// ended the run matters more.
    pub(crate) fn fail(&mut self, error: &CliError) {
        self.record.exit = Some(error.code.code());
        self.record.error = Some(error.message.clone());
        self.save().ok();
    }

    /// The file of figures, without the lines that a stage wrote after its newest checkpoint: it
    /// goes on from there, and no step shall stand there twice.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub(crate) fn metrics(&self, stage: &str) -> Result<MetricsFile, CliError> {
        let mut metrics = MetricsFile::open(&self.root.join("metrics.jsonl"))?;
        metrics.rewind(stage, self.checkpoint_step(stage))?;
        Ok(metrics)
    }

    /// The step of a stage's newest checkpoint; 0 if there is none.
    pub(crate) fn checkpoint_step(&self, stage: &str) -> u64 {
        let entries = fs::read_dir(self.stage_dir(stage).join("checkpoints"));
        let names = entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name());
        let steps = names.filter_map(|n| n.to_str()?.strip_prefix("step-")?.parse().ok());
        steps.max().unwrap_or(0)
    }

    fn save(&self) -> Result<(), CliError> {
        let path = self.root.join("run.json");
        let text = serde_json::to_string_pretty(&self.record)
            .map_err(|e| CliError::failure(format!("{}: {e}", path.display())))?;
        write_atomic(&path, format!("{text}\n").as_bytes()).map_err(|e| CliError::io(&path, &e))
    }
}

fn move_aside(dir: &Path) -> Result<(), CliError> {
    let io = |e| CliError::io(dir, &e);
    if !dir.exists() || dir.is_dir() && fs::read_dir(dir).map_err(io)?.next().is_none() {
        return Ok(());
    }
    let path = fs::canonicalize(dir).map_err(io)?;
    let here = std::env::current_dir()
        .and_then(fs::canonicalize)
        .map_err(io)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned());
    let Some(name) = name.filter(|_| !here.starts_with(&path)) else {
        let message = format!(
            "{}: --fresh can't move the current folder aside",
            dir.display()
        );
        return Err(CliError::usage(message).hint("choose another --out"));
    };
    let old = |n: u32| path.with_file_name(format!("{name}.old-{n}"));
    let mut n = 1;
    while old(n).exists() {
        n += 1;
    }
    fs::rename(&path, old(n)).map_err(io)
}

#[cfg(test)]
mod tests;
