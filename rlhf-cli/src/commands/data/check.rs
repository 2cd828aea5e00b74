//! `rlhf data check`: what files hold and which of their rows can't be used.

use crate::args::ReadingArgs;
use crate::console::print;
use crate::error::CliError;
use clap::Args;
use rlhf_data::{ChatTokenizer, CheckOptions, FileReport, Lengths, check_files};
use std::path::PathBuf;

/// Bad rows that are printed for each file; `--json` prints all.
const PRINTED: usize = 20;

/// Scripts with a smaller share of the letters are counted together.
const SMALLEST_SHARE: f64 = 0.001;

/// `rlhf data check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// How the files are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Counts lengths in the tokens of the model in this folder, with its chat template, instead of
    /// in characters
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Counts the rows that are longer than this
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<usize>,
    /// Prints one JSON object a file
    #[arg(long)]
    pub(crate) json: bool,
}

/// Prints what each file holds.
///
/// # Errors
/// If a row or a file can't be used, or the model's tokenizer can't.
pub(super) fn check(args: &CheckArgs) -> Result<(), CliError> {
    let data = args.reading.open_unweighted(&args.files)?;
    let tokenizer = args.model.as_deref().map(ChatTokenizer::load).transpose()?;
    let options = CheckOptions {
        tokenizer: tokenizer.as_ref(),
        max_length: args.max_length,
    };
    let reports = check_files(&data, options)?;
    for report in &reports {
        let file = report.check.file.display();
        if args.json {
            let line = serde_json::to_string(report);
            print(&line.map_err(|e| CliError::failure(format!("{file}: {e}")))?)?;
        } else {
            print(&summary(report))?;
        }
    }
    let unusable = reports.iter().filter(|r| !r.check.is_usable()).count();
    if unusable == 0 {
        return Ok(());
    }
    let message = format!(
        "{unusable} of {} files can't be used as they are",
        reports.len()
    );
    Err(CliError::usage(message).hint(
        "mend or remove the rows named above; training leaves them out with `--on-bad-row skip`",
    ))
}

fn summary(report: &FileReport) -> String {
    let found = &report.check;
    let name = found.file.display();
    let format = found.format.as_deref().unwrap_or("not recognised");
    let mut lines = vec![format!("{name}: format {format}, {} rows", found.rows)];
    lines.extend(report.lengths.iter().flat_map(lengths));
    lines.extend(repeats(report));
    lines.extend(scripts(report));
    for overlap in &report.overlaps {
        lines.push(format!(
            "  shared with {}: {} rows as they are, {} but for case and punctuation, {} prompts",
            overlap.file.display(),
            overlap.exact,
            overlap.normalised,
            overlap.prompts
        ));
    }
    for row in found.bad.iter().take(PRINTED) {
        let field = match row.field.as_str() {
            "" => String::new(),
            field => format!("field `{field}`: "),
        };
        lines.push(format!("{name}:{}: {field}{}", row.line, row.reason));
    }
    if found.bad.len() > PRINTED {
        let more = found.bad.len() - PRINTED;
        lines.push(format!(
            "{name}: and {more} more bad rows; --json names them all"
        ));
    }
    lines.join("\n")
}

fn lengths(lengths: &Lengths) -> Vec<String> {
    let Lengths {
        unit,
        min,
        p50,
        p90,
        p99,
        max,
        total,
        ..
    } = lengths;
    let mut lines = vec![format!(
        "  {unit} a row: at least {min}, half up to {p50}, 90 % up to {p90}, 99 % up to {p99}, at \
         most {max}; {total} in all"
    )];
    if let (Some(limit), Some(truncated), Some(too_long)) =
        (lengths.max_length, lengths.truncated, lengths.too_long)
    {
        lines.push(format!(
            "  longer than {limit}: {truncated} rows lose the start of their prompt, {too_long} \
             can't be used, as the answer alone is longer"
        ));
    }
    lines
}

fn repeats(report: &FileReport) -> Vec<String> {
    let mut lines = Vec::new();
    let repeats = report.repeats;
    if repeats.prompts + repeats.normalised > 0 {
        lines.push(format!(
            "  repeated: {} rows as they are, {} but for case and punctuation, {} prompts",
            repeats.exact, repeats.normalised, repeats.prompts
        ));
    }
    if report.equal_ratings + report.reversed_ratings > 0 {
        lines.push(format!(
            "  ratings: equal in {} pairs, higher for the rejected answer in {}",
            report.equal_ratings, report.reversed_ratings
        ));
    }
    lines
}

fn scripts(report: &FileReport) -> Option<String> {
    let (large, small): (Vec<_>, Vec<_>) = report
        .scripts
        .iter()
        .partition(|script| script.share >= SMALLEST_SHARE);
    let named = large.iter().map(|s| (s.script.as_str(), s.share));
    let rest: f64 = small.iter().map(|s| s.share).sum();
    let all = named.chain((rest >= SMALLEST_SHARE / 2.0).then_some(("others", rest)));
    let texts: Vec<String> = all
        .map(|(name, share)| format!("{name} {:.1} %", 100.0 * share))
        .collect();
    (!texts.is_empty()).then(|| format!("  letters by script: {}", texts.join(", ")))
}
