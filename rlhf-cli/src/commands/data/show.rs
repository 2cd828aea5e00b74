//! `rlhf data show`: rows as a model sees them.

use crate::args::{CommonArgs, ReadingArgs};
use crate::commands::chat::printable;
use crate::console::print;
use crate::error::CliError;
use clap::Args;
use rlhf_data::{ChatTokenizer, DataError, Row, SpanRole, TokenSequence, TokenSpan, read_file};
use serde_json::json;
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
}

/// Prints the first rows of a file, span by span.
///
/// # Errors
/// If the file, its first bad row, or the tokenizer can't be used.
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
    let colours = io::stdout().is_terminal();
    for located in found.rows.iter().take(args.rows) {
        let place = format!("{}:{}", args.file.display(), located.line);
        let found = sequences(&tokenizer, &located.row)
            .map_err(|e| CliError::usage(format!("{place}: {e}")))?;
        for (what, sequence) in found {
            if args.common.json {
                let row = json!({
                    "file": args.file, "line": located.line, "part": what,
                    "ids": sequence.ids, "spans": sequence.spans,
                });
                print(&row.to_string())?;
                continue;
            }
            let (tokens, trained) = (sequence.len(), sequence.trained_tokens());
            print(&format!(
                "{place} {what}: {tokens} tokens, {trained} trained on"
            ))?;
            print(&spans(&tokenizer, &sequence, colours)?)?;
        }
    }
    Ok(())
}

/// The sequences that a row gives, each with a name.
fn sequences(
    tokenizer: &ChatTokenizer,
    row: &Row,
) -> Result<Vec<(&'static str, TokenSequence)>, DataError> {
    let one = |what, sequence| Ok(vec![(what, sequence)]);
    match row {
        Row::Text(row) => one("text", tokenizer.encode_text(&row.text)?),
        Row::Instruction(row) => {
            let conversation = rlhf_data::Conversation::from(row.clone());
            one(
                "instruction",
                tokenizer.encode_conversation(&conversation.messages)?,
            )
        }
        Row::Conversation(row) => one(
            "conversation",
            tokenizer.encode_conversation(&row.messages)?,
        ),
        Row::Prompt(row) => one("prompt", tokenizer.encode_prompt(&row.messages)?),
        Row::Preference(row) => Ok(vec![
            ("chosen", tokenizer.encode_answer(&row.prompt, &row.chosen)?),
            (
                "rejected",
                tokenizer.encode_answer(&row.prompt, &row.rejected)?,
            ),
        ]),
        Row::Response(row) => match &row.tokens {
            None => one(
                "response",
                tokenizer.encode_answer(&row.messages, &row.response)?,
            ),
            Some(tokens) => {
                let mut sequence = tokenizer.encode_prompt(&row.messages)?;
                sequence.push(tokens, SpanRole::Assistant, true);
                one("response", sequence)
            }
        },
        _ => Ok(Vec::new()),
    }
}

/// One line a span: its role, an asterisk where it is trained on, its text.
fn spans(
    tokenizer: &ChatTokenizer,
    sequence: &TokenSequence,
    colours: bool,
) -> Result<String, DataError> {
    let line = |span: &TokenSpan| {
        let ids = &sequence.ids[span.range.clone()];
        let text = tokenizer.tokenizer().decode(ids, false)?;
        let text = printable(&text).replace('\n', "\\n");
        let role = format!("{:?}", span.role).to_lowercase();
        let mark = if span.loss { '*' } else { ' ' };
        let text = if colours { coloured(&text, span) } else { text };
        Ok(format!("  {role:>9}{mark} {text}"))
    };
    let lines = sequence
        .spans
        .iter()
        .map(line)
        .collect::<Result<Vec<_>, DataError>>()?;
    Ok(lines.join("\n"))
}

fn coloured(text: &str, span: &TokenSpan) -> String {
    let colour = match span.role {
        SpanRole::Control => 90,
        SpanRole::System => 35,
        SpanRole::User => 36,
        SpanRole::Assistant => 32,
        SpanRole::Tool => 33,
        SpanRole::Text => 39,
    };
    let weight = if span.loss { "1;" } else { "" };
    format!("\x1b[{weight}{colour}m{text}\x1b[0m")
}
