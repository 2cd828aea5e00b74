//! `rlhf generate`: answers to the prompts of a file.

use crate::args::{BadRowArgs, CommonArgs, ReadingArgs, at_least_one};
use crate::commands::stage::note_skipped;
use crate::console;
use crate::decoding::{DecodingArgs, failed_with, tokenizer_failed};
use crate::error::CliError;
use crate::model_folder::{Policy, load_policy};
use crate::session::Session;
use clap::Args;
use rlhf_data::{
    DataError, DataSet, OnBadRow, Prompt, Role, Row, load_prompts, read_file, write_jsonl,
};
use rlhf_model::{Completion, Generator, LocalGenerator, Request};
use rlhf_random::stream;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// `rlhf generate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// What happens to prompts that can't be used.
    #[command(flatten)]
    pub(crate) bad_rows: BadRowArgs,
    /// The folder of the model
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Files of prompts: rows with `prompt` or `messages`, or plain text, a prompt a line
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) prompts: Vec<PathBuf>,
    /// The file to write, one JSON object an answer [default: to stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// How to decode.
    #[command(flatten)]
    pub(crate) decoding: DecodingArgs,
    /// Gives the model the prompt's text as it is, without the chat template
    #[arg(long)]
    pub(crate) raw: bool,
    /// Answers a prompt; with more than one, each row has a field `sample`
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = at_least_one::<u64>)]
    pub(crate) samples: u64,
}

/// Answers every prompt and writes one JSON object an answer: the row's own fields, `response`,
/// `tokens`, `logprobs`, `finish`.
///
/// # Errors
/// If the model, a prompt or an option can't be used, or the file can't be written.
pub(crate) fn generate(args: &GenerateArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let policy = load_policy(&args.model, &session.device)?;
    let config = args.decoding.resolve(&args.model, &policy, !args.raw)?;
    let data = args.reading.open_unweighted(&args.prompts)?;
    let on_bad_row = args.bad_rows.on_bad_row.into();
    let loaded = load_prompts(&data, on_bad_row)?;
    let place = |row: usize| place_of(&data, row);
    let encode = |row: usize, prompt: &Prompt| {
        let ids = encode(args, &policy, prompt).map_err(|e| at(e, &place(row)))?;
        let (room, context) = (config.max_new_tokens, policy.config.max_position_embeddings);
        if ids.is_empty() || ids.len() + room > context {
            let message = format!(
                "{}: the prompt has {} tokens; it needs at least 1, and with {room} new ones at \
                 most {context}, the context of {}",
                place(row),
                ids.len(),
                args.model.display()
            );
            let hint = "shorten the prompt, or give the answer less room with --max-new-tokens";
            return Err(CliError::usage(message).hint(hint));
        }
        Ok(ids)
    };
    let (mut prompts, mut encoded) = (Vec::new(), Vec::new());
    let mut skipped = loaded.skipped;
    for (row, prompt) in loaded.rows.into_iter().enumerate() {
        match encode(row, &prompt) {
            Ok(ids) => {
                prompts.push(prompt);
                encoded.push(ids);
            }
            Err(_) if on_bad_row == OnBadRow::Skip => skipped += 1,
            Err(e) => return Err(e),
        }
    }
    refuse_none(prompts.len(), &data, skipped)?;
    note_skipped(&session, "generate", skipped);
    refuse_unwritable(args.out.as_deref())?;

    let started = Instant::now();
    let batch_size = session.config.eval.batch_size;
    let generator = LocalGenerator::new(&policy.model, batch_size)
        .with_weights(args.decoding.decode_weights.into());
    let total = encoded.len() as u64 * args.samples;
    let mut rows = Vec::new();
    let mut progress = session.progress();
    let requests: Vec<(usize, u64)> = (0..encoded.len())
        .flat_map(|row| (0..args.samples).map(move |k| (row, k)))
        .collect();
    // Several batches at a time, so that prompts of one length find each other.
    for part in requests.chunks(4 * batch_size) {
        let request = |&(row, k): &(usize, u64)| Request {
            prompt: &encoded[row],
            stream: stream(session.config.seed, row as u64, k),
        };
        let asked: Vec<Request<'_>> = part.iter().map(request).collect();
        let completions = generator.generate(&asked, &config);
        let completions = completions.map_err(|e| failed_with(&args.model, e))?;
        for (&(row, k), completion) in part.iter().zip(completions) {
            let sample = (args.samples > 1).then_some(k);
            let answer = answer_row(&prompts[row].row, &policy, &completion, sample);
            rows.push(answer.map_err(|e| tokenizer_failed(&args.model, e))?);
        }
        progress.advance("generate", rows.len() as u64, total);
        if session.is_interrupted() {
            let what = format!(
                "{} of {total} answers were made; nothing was written",
                rows.len()
            );
            return Err(CliError::interrupted(what, "run the same command again"));
        }
    }
    write(args, &rows, started.elapsed().as_secs_f64())
}

fn encode(args: &GenerateArgs, policy: &Policy, prompt: &Prompt) -> Result<Vec<u32>, CliError> {
    if !args.raw {
        let sequence = policy.tokenizer.encode_prompt(&prompt.messages);
        return sequence.map(|sequence| sequence.ids).map_err(|e| {
            let error = tokenizer_failed(&args.model, e);
            match policy.tokenizer.template() {
                Some(_) => error,
                None => error.hint("a base model without a chat template takes prompts with --raw"),
            }
        });
    }
    match prompt.messages.as_slice() {
        [only] if only.role == Role::User => policy
            .tokenizer
            .tokenizer()
            .encode_like_transformers(&only.content)
            .map_err(|e| tokenizer_failed(&args.model, e)),
        _ => Err(
            CliError::usage("--raw takes a prompt that is one text, not a conversation")
                .hint("leave out --raw, or give rows with `prompt` as text"),
        ),
    }
}

fn answer_row(
    prompt: &Map<String, Value>,
    policy: &Policy,
    completion: &Completion,
    sample: Option<u64>,
) -> Result<Value, DataError> {
    let response = policy
        .tokenizer
        .tokenizer()
        .decode(&completion.tokens, true)?;
    let mut row = prompt.clone();
    row.insert("response".into(), response.into());
    row.insert("tokens".into(), json!(completion.tokens));
    row.insert("logprobs".into(), json!(completion.logprobs));
    row.insert("finish".into(), completion.finish.as_str().into());
    if let Some(sample) = sample {
        row.insert("sample".into(), sample.into());
    }
    Ok(Value::Object(row))
}

fn write(args: &GenerateArgs, rows: &[Value], seconds: f64) -> Result<(), CliError> {
    let Some(path) = &args.out else {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        return console::print(&lines.join("\n"));
    };
    write_jsonl(path, rows).map_err(|e| CliError::io(path, &e))?;
    let tokens: usize = rows
        .iter()
        .filter_map(|r| r["tokens"].as_array())
        .map(Vec::len)
        .sum();
    if args.common.json {
        let (answers, file) = (rows.len(), path.display().to_string());
        let summary = json!({"file": file, "rows": answers, "tokens": tokens, "seconds": seconds});
        return console::print(&summary.to_string());
    }
    if !args.common.quiet {
        let (file, rate) = (path.display(), tokens as f64 / seconds.max(1e-9));
        console::say(&format!(
            "{file}: {} answers, {rate:.0} tokens/s",
            rows.len()
        ));
    }
    Ok(())
}

/// Refuses to work on nothing, where every row was skipped.
pub(super) fn refuse_none(rows: usize, data: &DataSet, skipped: usize) -> Result<(), CliError> {
    if rows > 0 {
        return Ok(());
    }
    let names = data
        .files()
        .iter()
        .map(|file| file.name.display().to_string());
    let files = names.collect::<Vec<_>>().join(", ");
    Err(DataError::NoRows { files, skipped }.into())
}

/// Finds out before the work, not after it, whether a file can be written.
pub(super) fn refuse_unwritable(path: Option<&Path>) -> Result<(), CliError> {
    let Some(path) = path else { return Ok(()) };
    let folder = path
        .parent()
        .filter(|f| !f.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    let probe = tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(|e| CliError::io(path, &e));
    probe?;
    if path.is_dir() {
        let error = CliError::usage(format!("{}: is a folder", path.display()));
        return Err(error.hint("--out names the file to write"));
    }
    Ok(())
}

fn at(mut error: CliError, place: &str) -> CliError {
    error.message = format!("{place}: {}", error.message);
    error
}

/// The file and line of a row, counted over the usable rows of all files, each of which was read
/// before. A line of plain text is a row, as for prompts.
pub(super) fn place_of(data: &DataSet, mut row: usize) -> String {
    for file in data.files() {
        for found in read_file(file).map(|file| file.rows).unwrap_or_default() {
            let lines = match &found.row {
                Row::Text(text) => text.text.lines().count(),
                _ => 1,
            };
            if row < lines {
                return format!("{}:{}", file.name.display(), found.line + row);
            }
            row -= lines;
        }
    }
    format!("row {}", row + 1)
}
