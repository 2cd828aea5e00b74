//! `metrics.jsonl`: one line an update.

use crate::error::CliError;
use rlhf_data::write_atomic;
use rlhf_train::{MetricSink, Metrics};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Appends figures to a file, a whole line at a time.
#[derive(Debug)]
pub(crate) struct MetricsFile {
    path: PathBuf,
    file: File,
}

impl MetricsFile {
    /// Opens a file to append to.
    ///
    /// # Errors
    /// If it can't be opened.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        let file = append(path).map_err(|e| CliError::io(path, &e))?;
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Drops a stage's lines beyond a step, and lines that a killed run left unfinished.
    ///
    /// # Errors
    /// If the file can't be read or written.
    pub(crate) fn rewind(&mut self, stage: &str, step: u64) -> Result<(), CliError> {
        let io = |e| CliError::io(&self.path, &e);
        let text = fs::read(&self.path).map_err(io)?;
        let kept = |line: &&[u8]| match serde_json::from_slice::<Value>(line) {
            Ok(row) => row["stage"] != stage || row["step"].as_u64().is_none_or(|s| s <= step),
            Err(_) => false,
        };
        let lines = text.split(|&byte| byte == b'\n').filter(kept);
        let mut rest = lines.collect::<Vec<_>>().join(&b'\n');
        if !rest.is_empty() {
            rest.push(b'\n');
        }
        if rest != text {
            write_atomic(&self.path, &rest).map_err(io)?;
            self.file = append(&self.path).map_err(io)?;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl MetricSink for MetricsFile {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        self.file
            .write_all(format!("{}\n", metrics.to_json()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_appended_after_a_rewind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path).unwrap();
        rlhf_train::metrics::contract(&mut file);
        file.rewind("stage", 1).unwrap();
        file.record(&Metrics::new("stage", 2, 3).with("loss", 0.25))
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let steps: Vec<u64> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["step"]
                    .as_u64()
                    .unwrap()
            })
            .collect();
        assert_eq!(steps, [1, 2]);
        assert!(
            text.ends_with("{\"stage\":\"stage\",\"step\":2,\"loss\":0.25}\n"),
            "{text}"
        );
    }
}
