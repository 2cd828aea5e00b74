//! `rlhf collect`.

use crate::args::CollectArgs;
use crate::console;
use crate::error::CliError;
use crate::folder::{RunFolder, fingerprint};
use crate::model_folder::load_policy;
use crate::session::Session;
use rlhf_data::{DataSet, OnBadRow, Prompt, load_prompts, write_jsonl};
use rlhf_model::LocalGenerator;
use rlhf_random::stream;
use rlhf_reward::Answer;
use rlhf_reward::collect::{Candidate, preference_rows, sample_candidates};
use rlhf_world::{Annotators, World};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The file that the stage leaves.
pub(crate) const PREFERENCES: &str = "preferences.jsonl";

/// Samples answers to the embedded world's prompts and has its annotators rank them.
///
/// # Errors
/// If the model or a prompt can't be used, or a prompt is none of the embedded world's.
pub(crate) fn collect(args: &CollectArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let mut folder = RunFolder::open_stage(&args.folder.dir("collect"), args.folder.fresh)?;
    folder.start(&session)?;
    let collected = args
        .reading
        .open_unweighted(&args.prompts)
        .and_then(|prompts| stage(&session, &mut folder, &args.model, &prompts));
    let file = match collected {
        Ok(file) => file,
        Err(error) => {
            folder.fail(&error);
            return Err(error);
        }
    };
    let result = json!({ "stage": "collect", "preferences": file.display().to_string() });
    folder.finish(result.clone())?;
    let text = if session.json {
        result.to_string()
    } else {
        file.display().to_string()
    };
    console::print(&text)
}

/// The stage: a model folder and files of prompts in, `preferences.jsonl` out.
///
/// # Errors
/// As [`collect`].
pub(crate) fn stage(
    session: &Session,
    folder: &mut RunFolder,
    model: &Path,
    files: &DataSet,
) -> Result<PathBuf, CliError> {
    let out = folder.stage_dir("collect").join(PREFERENCES);
    let mut hashes = vec![folder.add_input(model)?];
    for file in files.paths() {
        hashes.push(folder.add_input(file)?);
    }
    let config = &session.config;
    let settings = format!(
        "{}{}{}",
        config.fingerprint_toml("collect")?,
        config.fingerprint_toml("world")?,
        files.describe()
    );
    let print = fingerprint(&settings, config.seed, &hashes);
    if folder.is_finished("collect", &print)? {
        session.note("collect: already done");
        return Ok(out);
    }
    let started = Instant::now();
    let rows = collect_rows(session, model, files)?;
    std::fs::create_dir_all(folder.stage_dir("collect")).map_err(|e| CliError::io(&out, &e))?;
    write_jsonl(&out, &rows).map_err(|e| CliError::io(&out, &e))?;
    folder.note_stage("collect", &print, (started.elapsed().as_secs_f64(), true))?;
    Ok(out)
}

fn collect_rows(session: &Session, model: &Path, files: &DataSet) -> Result<Vec<Value>, CliError> {
    let config = &session.config;
    let policy = load_policy(model, &session.device)?;
    let mut prompts = load_prompts(files, OnBadRow::Fail)?.rows;
    prompts.truncate(config.collect.prompts);
    if prompts.len() < config.collect.prompts {
        session.note(&format!(
            "collect: the files hold {} prompts, fewer than the {} of collect.prompts",
            prompts.len(),
            config.collect.prompts
        ));
    }
    let generator = LocalGenerator::new(&policy.model, config.collect.batch_size);
    let (mut sink, total) = (session.progress(), prompts.len() as u64);
    let mut progress = |done: usize| sink.advance("collect", done as u64, total);
    let candidates = sample_candidates(
        &config.collect,
        &prompts,
        &policy.tokenizer,
        &generator,
        (config.seed, &mut progress),
    )?;
    let annotators = World::new(&config.world_of_run())?.annotators();
    let mut rows = Vec::new();
    for (i, (prompt, candidates)) in prompts.iter().zip(&candidates).enumerate() {
        let ranks = rank(
            &annotators,
            prompt,
            candidates,
            stream(config.seed, 0, i as u64),
        )?;
        let texts: Vec<String> = candidates.iter().map(|c| c.text.clone()).collect();
        rows.extend(preference_rows(
            prompt,
            &texts,
            &ranks,
            &format!("prompt-{i}"),
        ));
    }
    if rows.is_empty() {
        let message = "no two answers to a prompt differ, so there is nothing to prefer";
        return Err(CliError::failure(message).hint("raise collect.temperature or collect.prompts"));
    }
    Ok(rows)
}

fn rank(
    annotators: &Annotators,
    prompt: &Prompt,
    candidates: &[Candidate],
    stream: u64,
) -> Result<Vec<usize>, CliError> {
    let rows: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            let mut row = prompt.row.clone();
            let finish = if candidate.finished { "eos" } else { "length" };
            row.insert("finish".into(), finish.into());
            row
        })
        .collect();
    let answers = candidates.iter().zip(&rows).map(|(candidate, row)| Answer {
        prompt: &prompt.messages,
        response: &candidate.text,
        tokens: None,
        row,
    });
    Ok(annotators.rank_answers(&answers.collect::<Vec<_>>(), stream)?)
}
