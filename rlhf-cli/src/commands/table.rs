//! `rlhf table`.

use crate::console;
use crate::error::CliError;
use crate::folder::RunRecord;
use crate::run_result::OBSERVATIONS;
use clap::Args;
use rlhf_eval::{Observations, Resampling, RunResult, runs_text, table_text};
use serde_json::json;
use std::path::{Path, PathBuf};

/// `rlhf table`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TableArgs {
    /// Folders of finished runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Prints the result as JSON
    #[arg(long)]
    json: bool,
}

/// Prints the table of a run, or of several taken together: their answers are pooled, an entity of
/// each run counts as one, and a line for each run follows.
///
/// # Errors
/// If a folder holds no finished run.
pub(crate) fn table(args: &TableArgs) -> Result<(), CliError> {
    let mut pooled = Observations::new();
    let mut each: Vec<(String, RunResult)> = Vec::new();
    let mut decodings: Vec<String> = Vec::new();
    for dir in &args.runs {
        let name = dir.display().to_string();
        let (observed, decoding) = read(dir)?;
        let mut result = RunResult::from_observations(&observed, Resampling::default())?;
        result.best_sft_decoding.clone_from(&decoding);
        decodings.extend(decoding);
        pooled.add_run(&name, observed);
        each.push((name, result));
    }
    let mut result = RunResult::from_observations(&pooled, Resampling::default())?;
    decodings.dedup();
    if !decodings.is_empty() {
        result.best_sft_decoding = Some(decodings.join(", "));
    }
    if args.json {
        let runs: Vec<_> = each
            .iter()
            .map(|(name, result)| json!({ "run": name, "result": result }))
            .collect();
        return console::print(&json!({ "pooled": result, "runs": runs }).to_string());
    }
    console::print(table_text(&result).trim_end())?;
    if each.len() > 1 {
        console::print(&format!("\n{}", runs_text(&each).trim_end()))?;
    }
    Ok(())
}

/// What was observed in a run, and how its fine-tuned model was best decoded.
fn read(dir: &Path) -> Result<(Observations, Option<String>), CliError> {
    let path = dir.join(OBSERVATIONS);
    let observed = Observations::read(&path).map_err(|e| {
        CliError::usage(e.to_string())
            .hint("give the folders of finished runs: `rlhf run --out RUN` makes one")
    })?;
    let record = RunRecord::read(&dir.join("run.json"))?;
    let decoding = record.result.get("best_sft_decoding");
    let decoding = decoding.and_then(|d| d.as_str()).map(str::to_owned);
    Ok((observed, decoding))
}
