//! `rlhf score`: what a reward model says of answers.

use crate::args::{BadRowArgs, CommonArgs, ReadingArgs};
use crate::commands::generate::{place_of, refuse_none, refuse_unwritable};
use crate::commands::stage::note_skipped;
use crate::console;
use crate::error::CliError;
use crate::model_folder::{RewardFolder, load_reward};
use crate::session::Session;
use clap::Args;
use rlhf_data::{
    DataError, DataFile, DataSet, Format, Loaded, OnBadRow, Prompt, check_file, load_conversations,
    load_preferences, load_prompts, load_responses, write_jsonl,
};
use rlhf_eval::Figure;
use rlhf_reward::{Answer, RewardModel, RewardSource, encode_answers};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// `rlhf score`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ScoreArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// What happens to rows that can't be used.
    #[command(flatten)]
    pub(crate) bad_rows: BadRowArgs,
    /// The folder of the reward model
    #[arg(long, value_name = "DIR")]
    pub(crate) reward: PathBuf,
    /// Files of answers, as `generate` writes them, or of preference rows
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) data: Vec<PathBuf>,
    /// The file to write, one JSON object a row [default: to stdout]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// A row with the answers that it holds, each under the field that its score goes to.
struct Scored {
    row: Map<String, Value>,
    prompt: Vec<rlhf_data::Message>,
    answers: Vec<(&'static str, String, Option<Vec<u32>>)>,
}

/// What came out over all rows.
#[derive(Default)]
struct Totals {
    rewards: Vec<f64>,
    correct: usize,
    pairs: usize,
}

/// Adds `reward` to each answer's row, `chosen_reward` and `rejected_reward` to each preference
/// row, and prints mean and accuracy.
///
/// # Errors
/// If the model or a row can't be used, or the file can't be written.
pub(crate) fn score(args: &ScoreArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let folder = load_reward(&args.reward, &session.device)?;
    let (mut rows, mut skipped) = (Vec::new(), 0);
    let on_bad_row = args.bad_rows.on_bad_row.into();
    let data = args.reading.open_unweighted(&args.data)?;
    for file in data.files() {
        let read = read(file, on_bad_row)?;
        rows.extend(read.rows);
        skipped += read.skipped;
    }
    refuse_unwritable(args.out.as_deref())?;
    let source = folder.source(&session.device, session.config.eval.batch_size);
    let reasons = rows.iter().map(|row| why_unreadable(row, &folder, &source));
    let reasons: Vec<Option<String>> = reasons.collect();
    if on_bad_row == OnBadRow::Skip {
        let all = rows.len();
        let mut readable = reasons.iter().map(Option::is_none);
        rows.retain(|_| readable.next().unwrap_or(true));
        skipped += all - rows.len();
    } else {
        refuse_unreadable(&reasons, &data)?;
    }
    refuse_none(rows.len(), &data, skipped)?;
    note_skipped(&session, "score", skipped);
    let mut totals = Totals::default();
    let mut progress = session.progress();
    let (total, mut done) = (rows.len() as u64, 0);
    for part in rows.chunks_mut(2 * session.config.eval.batch_size) {
        score_part(part, &source, &mut totals)?;
        done += part.len() as u64;
        progress.advance("score", done, total);
        if session.is_interrupted() {
            let what = format!("{done} of {total} rows were scored; nothing was written");
            return Err(CliError::interrupted(what, "run the same command again"));
        }
    }
    write(args, rows, &totals)
}

/// The rows of a file, by its format.
fn read(file: &DataFile, on_bad_row: OnBadRow) -> Result<Loaded<Scored>, CliError> {
    let format = check_file(file)?.format;
    let format = format.as_deref().and_then(Format::from_name);
    if format.is_some_and(Format::is_pairs) {
        let pairs = load_preferences(file, on_bad_row)?;
        return Ok(with_originals(
            file,
            on_bad_row,
            pairs,
            |pair, original| Scored {
                row: original.row,
                prompt: pair.prompt,
                answers: vec![
                    ("chosen_reward", pair.chosen, None),
                    ("rejected_reward", pair.rejected, None),
                ],
            },
        )?);
    }
    if format.is_some_and(Format::is_demonstrations) {
        let conversations = load_conversations(file, on_bad_row)?;
        return Ok(with_originals(
            file,
            on_bad_row,
            conversations,
            |conversation, original| {
                let mut after = conversation
                    .messages
                    .into_iter()
                    .skip(original.messages.len());
                let answer = after.next().map(|m| m.content).unwrap_or_default();
                Scored {
                    row: original.row,
                    prompt: original.messages,
                    answers: vec![("reward", answer, None)],
                }
            },
        )?);
    }
    let responses = load_responses(file, on_bad_row).map_err(|e| match e {
        DataError::WrongFormat { file, found, .. } => {
            let wanted = "answers or preference rows";
            CliError::from(DataError::WrongFormat {
                file,
                found,
                wanted,
            })
        }
        e => e.into(),
    })?;
    let scored = responses.rows.into_iter().map(|r| Scored {
        row: r.row,
        prompt: r.messages,
        answers: vec![("reward", r.response, r.tokens)],
    });
    Ok(Loaded {
        rows: scored.collect(),
        skipped: responses.skipped,
    })
}

/// Rows beside what stood in the file; what makes a row bad doesn't depend on what it is read for.
fn with_originals<T>(
    file: &DataFile,
    on_bad_row: OnBadRow,
    loaded: Loaded<T>,
    join: impl Fn(T, Prompt) -> Scored,
) -> Result<Loaded<Scored>, DataError> {
    let originals = load_prompts(file, on_bad_row)?.rows;
    let rows = loaded.rows.into_iter().zip(originals);
    Ok(Loaded {
        rows: rows.map(|(row, original)| join(row, original)).collect(),
        skipped: loaded.skipped,
    })
}

impl Scored {
    fn answers(&self) -> impl Iterator<Item = Answer<'_>> {
        self.answers.iter().map(|(_, response, tokens)| Answer {
            prompt: &self.prompt,
            response,
            tokens: tokens.as_deref(),
            row: &self.row,
        })
    }
}

/// Why the model can't read a row, if it can't.
fn why_unreadable(row: &Scored, folder: &RewardFolder, source: &RewardModel<'_>) -> Option<String> {
    let vocabulary = folder.model.config().vocab_size;
    let answers: Vec<Answer<'_>> = row.answers().collect();
    match encode_answers(&folder.tokenizer, &answers, source.max_length) {
        Err(e) => Some(e.to_string()),
        Ok(ids) => ids
            .into_iter()
            .flatten()
            .find(|&id| id as usize >= vocabulary)
            .map(|id| {
                format!(
                    "field `tokens`: {id} is no token of the reward model, which has {vocabulary}"
                )
            }),
    }
}

/// Refuses the first row that the model can't read, with its place.
fn refuse_unreadable(reasons: &[Option<String>], data: &DataSet) -> Result<(), CliError> {
    let found = reasons.iter().enumerate();
    let Some((index, reason)) = found.filter_map(|(i, r)| Some((i, r.as_ref()?))).next() else {
        return Ok(());
    };
    let error = CliError::usage(format!("{}: {reason}", place_of(data, index)));
    Err(error.hint(
        "score answers with a reward model of the same tokenizer, `tokens` may be left out; or \
         leave such rows out with --on-bad-row skip",
    ))
}

fn score_part(
    part: &mut [Scored],
    source: &RewardModel<'_>,
    totals: &mut Totals,
) -> Result<(), CliError> {
    let answers: Vec<Answer<'_>> = part.iter().flat_map(Scored::answers).collect();
    let rewards = source.score(&answers)?;
    let mut rewards = rewards.into_iter();
    for scored in part {
        let of_row: Vec<f32> = rewards.by_ref().take(scored.answers.len()).collect();
        if let [chosen, rejected] = of_row[..] {
            totals.pairs += 1;
            totals.correct += usize::from(chosen > rejected);
        }
        for ((field, ..), reward) in scored.answers.iter().zip(of_row) {
            totals.rewards.push(f64::from(reward));
            scored.row.insert((*field).to_owned(), json!(reward));
        }
    }
    Ok(())
}

fn write(args: &ScoreArgs, rows: Vec<Scored>, totals: &Totals) -> Result<(), CliError> {
    let n = totals.rewards.len();
    let mean = totals.rewards.iter().sum::<f64>() / n.max(1) as f64;
    let accuracy = Figure::rate(totals.correct, totals.pairs);
    let count = rows.len();
    let rows = rows.into_iter().map(|scored| Value::Object(scored.row));
    match &args.out {
        Some(path) => write_jsonl(path, rows).map_err(|e| CliError::io(path, &e))?,
        None => {
            let lines: Vec<String> = rows.map(|row| row.to_string()).collect();
            console::print(&lines.join("\n"))?;
        }
    }
    let text = if args.common.json {
        let mut summary = json!({"rows": count, "mean_reward": mean});
        if let Some(accuracy) = accuracy {
            summary["accuracy"] = json!(accuracy);
        }
        summary.to_string()
    } else {
        let accuracy = accuracy.map_or_else(String::new, |a| format!(", accuracy {a}"));
        format!("{count} rows, mean reward {mean:.4}{accuracy}")
    };
    // Without --out the rows have stdout for themselves.
    match args.out {
        Some(_) => console::print(&text)?,
        None => console::say(&text),
    }
    Ok(())
}
