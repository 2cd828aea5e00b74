//! How data files are named and read.

use crate::error::CliError;
use clap::Args;
use rlhf_data::DataSet;
use std::path::PathBuf;

/// What the help of every command that reads data says of files.
pub(crate) const FILES: &str = "\
Files are JSON lines, a JSON array, CSV, Parquet or plain text, each also packed by gzip or zstd; \
their fields say which format their rows have. A FILE may be a folder (the data files that lie in \
it), a pattern such as 'data/*.jsonl', or - for standard input. Training stages mix files by weight: \
FILE:2 counts each of its rows twice, FILE:0.5 a drawn half of them.";

/// Under which names the fields of data files are read.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReadingArgs {
    /// Reads the field FIELD of the data as NAME, such as chosen=better_answer; with nothing after
    /// the =, leaves the field NAME out; may be repeated
    #[arg(long, value_name = "NAME=FIELD")]
    pub(crate) map: Vec<String>,
}

impl ReadingArgs {
    /// The files that are meant; `seed` draws the rows of those with a broken weight.
    ///
    /// # Errors
    /// If nothing is meant by a text, or `--map` can't be followed.
    pub(crate) fn open(&self, texts: &[PathBuf], seed: u64) -> Result<DataSet, CliError> {
        Ok(DataSet::open(texts, &self.map, seed)?)
    }

    /// As [`Self::open`], for commands that take every row once.
    ///
    /// # Errors
    /// As [`Self::open`], and if a file has a weight.
    pub(crate) fn open_unweighted(&self, texts: &[PathBuf]) -> Result<DataSet, CliError> {
        let data = self.open(texts, 0)?;
        data.refuse_weights()?;
        Ok(data)
    }
}

/// The files of a further option, to whose fields `--map` doesn't apply.
///
/// # Errors
/// If nothing is meant by a text.
pub(crate) fn open_as_they_are(texts: &[PathBuf], seed: u64) -> Result<DataSet, CliError> {
    Ok(DataSet::open::<&str>(texts, &[], seed)?)
}
