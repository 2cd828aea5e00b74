//! `rlhf score`: what a reward model says of answers.

use crate::args::{CommonArgs, ReadingArgs};
use crate::commands::generate::{place_of, refuse_unwritable};
use crate::console;
use crate::error::CliError;
use crate::model_folder::{RewardFolder, load_reward};
use crate::session::Session;
use clap::Args;
use rlhf_data::{
    DataError, DataFile, DataSet, Format, OnBadRow, check_file, load_conversations,
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
    let mut rows = Vec::new();
    let data = args.reading.open_unweighted(&args.data)?;
    for file in data.files() {
        rows.extend(read(file)?);
    }
    refuse_unwritable(args.out.as_deref())?;
    let source = folder.source(&session.device, session.config.eval.batch_size);
    refuse_unreadable(&rows, &folder, (&source, &data))?;
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
fn read(file: &DataFile) -> Result<Vec<Scored>, CliError> {
    let format = check_file(file)?.format;
    let format = format.as_deref().and_then(Format::from_name);
    if format.is_some_and(Format::is_pairs) {
        let pairs = load_preferences(file, OnBadRow::Fail)?.rows;
        let originals = load_prompts(file, OnBadRow::Fail)?.rows;
        let scored = pairs
            .into_iter()
            .zip(originals)
            .map(|(pair, original)| Scored {
                row: original.row,
                prompt: pair.prompt,
                answers: vec![
                    ("chosen_reward", pair.chosen, None),
                    ("rejected_reward", pair.rejected, None),
                ],
            });
        return Ok(scored.collect());
    }
    if format.is_some_and(Format::is_demonstrations) {
        let conversations = load_conversations(file, OnBadRow::Fail)?.rows;
        let originals = load_prompts(file, OnBadRow::Fail)?.rows;
        let scored = conversations
            .into_iter()
            .zip(originals)
            .map(|(conversation, original)| {
                let answered = conversation
                    .messages
                    .into_iter()
                    .nth(original.messages.len());
                let answer = answered.map(|m| m.content).unwrap_or_default();
                Scored {
                    row: original.row,
                    prompt: original.messages,
                    answers: vec![("reward", answer, None)],
                }
            });
        return Ok(scored.collect());
    }
    let responses = load_responses(file, OnBadRow::Fail).map_err(|e| match e {
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
    Ok(scored.collect())
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

/// Refuses rows that the model can't read, with their place, before any is scored.
fn refuse_unreadable(
    rows: &[Scored],
    folder: &RewardFolder,
    (source, files): (&RewardModel<'_>, &DataSet),
) -> Result<(), CliError> {
    let vocabulary = folder.model.config().vocab_size;
    for (index, row) in rows.iter().enumerate() {
        let answers: Vec<Answer<'_>> = row.answers().collect();
        let ids = encode_answers(&folder.tokenizer, &answers, source.max_length);
        let reason = match ids {
            Err(e) => e.to_string(),
            Ok(ids) => match ids
                .into_iter()
                .flatten()
                .find(|&id| id as usize >= vocabulary)
            {
                None => continue,
                Some(id) => format!(
                    "field `tokens`: {id} is no token of the reward model, which has {vocabulary}"
                ),
            },
        };
        let error = CliError::usage(format!("{}: {reason}", place_of(files, index)));
        return Err(error.hint(
            "score answers with a reward model of the same tokenizer; `tokens` may be left out",
        ));
    }
    Ok(())
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
