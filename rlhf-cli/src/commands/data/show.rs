//! `rlhf data show`: rows as a model sees them.

mod page;
mod parts;

use crate::args::{CommonArgs, ReadingArgs, at_least_one};
use crate::console::{print, say};
use crate::error::CliError;
use clap::Args;
use page::Page;
use parts::{Part, parts};
use rlhf_data::{ChatTokenizer, read_file};
use serde_json::{Map, Value, json};
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// `rlhf data show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// The file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How the file is read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// The folder of the model whose tokenizer and template are used
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Rows at most
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) rows: usize,
    /// The first row to show, counted from 1 over the usable rows
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one::<usize>)]
    pub(crate) from: usize,
    /// Tokens that fit: longer rows are cut as the stages cut them
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) max_length: Option<usize>,
}

/// A row and what it becomes.
struct Shown {
    place: String,
    line: usize,
    row: usize,
    /// Its sequences, or why it can't be used.
    parts: Result<Vec<Part>, String>,
}

/// Prints rows of a file, span by span.
///
/// # Errors
/// If the file, one of the rows, or the tokenizer can't be used.
pub(super) fn show(args: &ShowArgs) -> Result<(), CliError> {
    let tokenizer = ChatTokenizer::load(&args.model)?;
    let data = args
        .reading
        .open_unweighted(std::slice::from_ref(&args.file))?;
    let [file] = data.files() else {
        let message = format!("{}: more than one file is meant", args.file.display());
        return Err(CliError::usage(message).hint("name one file"));
    };
    let found = read_file(file)?;
    if let (true, Some(bad)) = (found.rows.is_empty(), found.bad.first()) {
        let place = format!("{}:{}", args.file.display(), bad.line);
        let error = CliError::usage(format!("{place}: {}", bad.reason));
        return Err(error.hint(format!("`rlhf data check {}`", args.file.display())));
    }
    if args.from > found.rows.len() {
        let name = args.file.display();
        let message = format!("{name}: --from {} of {} rows", args.from, found.rows.len());
        return Err(CliError::usage(message).hint("rows are counted from 1"));
    }
    let rows = found.rows.iter().enumerate().skip(args.from - 1);
    let shown = rows.take(args.rows).map(|(i, located)| Shown {
        place: format!("{}:{}", args.file.display(), located.line),
        line: located.line,
        row: i + 1,
        parts: parts(&tokenizer, &located.row, args.max_length).map_err(|e| e.to_string()),
    });
    let shown: Vec<Shown> = shown.collect();
    // What is shown is padded as one batch is.
    let sequences = shown.iter().flat_map(|row| row.parts.iter().flatten());
    let longest = sequences.map(|part| part.kept.len()).max().unwrap_or(0);
    if args.common.json {
        for row in &shown {
            print(&as_json(&tokenizer, args, row, longest).to_string())?;
        }
    } else {
        print_page(&tokenizer, args, &shown, longest)?;
    }
    if !found.bad.is_empty() && !args.common.quiet {
        say(&format!(
            "{} bad rows are not counted; `rlhf data check {}` lists them",
            found.bad.len(),
            args.file.display()
        ));
    }
    match shown.iter().filter(|row| row.parts.is_err()).count() {
        0 => Ok(()),
        unusable => {
            let reasons = shown.iter().filter_map(|row| {
                let reason = row.parts.as_ref().err()?;
                Some(format!("\n{}: {reason}", row.place))
            });
            let message = format!("{unusable} of {} rows can't be used", shown.len());
            let error = CliError::usage(message + &reasons.collect::<String>());
            Err(error.hint("`--on-bad-row skip` leaves such rows out of a training run"))
        }
    }
}

fn print_page(
    tokenizer: &ChatTokenizer,
    args: &ShowArgs,
    shown: &[Shown],
    longest: usize,
) -> Result<(), CliError> {
    let page = Page::new(tokenizer.tokenizer(), colours());
    for row in shown {
        // Rows that can't be used stand in the error at the end.
        for part in row.parts.iter().flatten() {
            print(&page.part(&row.place, row.row, part, longest))?;
        }
    }
    if args.common.quiet || shown.iter().all(|row| row.parts.is_err()) {
        return Ok(());
    }
    print(&page.legend())
}

/// Colours are for terminals; `NO_COLOR` turns them off anywhere, `CLICOLOR_FORCE` on.
fn colours() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (set("CLICOLOR_FORCE") || io::stdout().is_terminal())
}

fn as_json(tokenizer: &ChatTokenizer, args: &ShowArgs, row: &Shown, longest: usize) -> Value {
    let mut object = Map::new();
    object.insert("file".into(), json!(args.file));
    object.insert("line".into(), json!(row.line));
    object.insert("row".into(), json!(row.row));
    match row.parts.as_deref() {
        Err(reason) => {
            object.insert("bad".into(), json!(reason));
        }
        // What a row becomes stands in the row itself, what two become under their names.
        Ok([part]) => object.extend(part_json(tokenizer, part, longest)),
        Ok(parts) => {
            for part in parts {
                let fields = part_json(tokenizer, part, longest);
                object.insert(part.name(), Value::Object(fields));
            }
        }
    }
    Value::Object(object)
}

fn part_json(tokenizer: &ChatTokenizer, part: &Part, longest: usize) -> Map<String, Value> {
    let tokenizer = tokenizer.tokenizer();
    let span = |span: &rlhf_data::TokenSpan| {
        let ids = &part.kept.ids[span.range.clone()];
        let special = ids.iter().filter(|id| tokenizer.is_control_token(**id));
        json!({
            "role": span.role, "loss": span.loss, "text": page::text(tokenizer, ids),
            "ids": ids, "special": special.collect::<Vec<_>>(),
        })
    };
    let mut object = Map::new();
    object.insert("part".into(), json!(part.name()));
    object.insert("tokens".into(), json!(part.kept.len()));
    object.insert("trained".into(), json!(part.kept.trained_tokens()));
    object.insert("cut".into(), json!(part.cut.len()));
    object.insert("padding".into(), json!(longest - part.kept.len()));
    object.insert("ids".into(), json!(part.kept.ids));
    let spans = part.kept.spans.iter().map(span).collect();
    object.insert("spans".into(), Value::Array(spans));
    object
}
