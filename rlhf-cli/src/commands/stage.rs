//! What all training stages do around their recipe.

use crate::console;
use crate::error::CliError;
use crate::folder::{RunFolder, fingerprint};
use crate::hub;
use crate::session::Session;
use rlhf_eval::{Card, CardFile};
use rlhf_train::metrics::Tee;
use rlhf_train::{Outcome, RunContext, checkpoint};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// A stage of training as the folder and the model card know it.
pub(crate) struct Stage<'a> {
    /// Its name, which is also the section of its settings.
    pub(crate) name: &'static str,
    /// Further sections that its result depends on.
    pub(crate) sections: &'a [&'static str],
    /// Files and model folders that it reads.
    pub(crate) inputs: Vec<&'a Path>,
    /// How the files are read: weights and renamed fields, in one line.
    pub(crate) reading: String,
    /// The model that it starts from, for the card.
    pub(crate) base_model: Option<&'a Path>,
    /// The reward model that it trains against, for the card.
    pub(crate) reward_model: Option<&'a Path>,
}

/// Runs a stage unless it was finished here already: notes its inputs, gives the recipe its
/// context and a model card, and notes the time that it took. The recipe saves what it made.
///
/// # Errors
/// Those of the recipe; that the stage was interrupted; that the folder can't be written.
pub(crate) fn run_stage(
    session: &Session,
    folder: &mut RunFolder,
    stage: &Stage<'_>,
    recipe: impl FnOnce(&mut RunContext<'_>, &Card) -> Result<Outcome<()>, CliError>,
) -> Result<(), CliError> {
    let name = stage.name;
    let mut settings = session.config.fingerprint_toml(name)?;
    for section in stage.sections {
        settings.push_str(&session.config.fingerprint_toml(section)?);
    }
    settings.push_str(&stage.reading);
    let mut hashes = Vec::new();
    for input in &stage.inputs {
        hashes.push(folder.add_input(input)?);
    }
    let print = fingerprint(&settings, session.config.seed, &hashes);
    if folder.is_finished(name, &print)? {
        session.note(&format!("{name}: already done"));
        return Ok(());
    }
    let card = card(session, stage, &hashes)?;
    let started = Instant::now();
    let mut sink = Tee(folder.metrics(name)?, session.progress());
    let mut context = session.context(folder, name, &mut sink, print.clone());
    let outcome = recipe(&mut context, &card);
    let seconds = started.elapsed().as_secs_f64();
    match outcome? {
        Outcome::Finished(()) => {
            folder.note_stage(name, &print, (seconds, true))?;
            Ok(checkpoint::clear(&folder.stage_dir(name))?)
        }
        Outcome::Interrupted { step } => {
            folder.note_stage(name, &print, (seconds, false))?;
            let what = format!(
                "{name} stopped after step {step}; its state is saved in {}",
                folder.stage_dir(name).join("checkpoints").display()
            );
            Err(CliError::interrupted(
                what,
                "run the same command again to go on",
            ))
        }
    }
}

fn card(session: &Session, stage: &Stage<'_>, hashes: &[String]) -> Result<Card, CliError> {
    let files = stage
        .inputs
        .iter()
        .zip(hashes)
        .map(|(path, sha256)| CardFile {
            name: hub::shown(path),
            rows: None,
            sha256: sha256.clone(),
        });
    let shown = |path: Option<&Path>| path.map(hub::shown);
    let sections: Vec<&str> = std::iter::once(stage.name)
        .chain(stage.sections.iter().copied())
        .collect();
    Ok(Card {
        title: format!("{} model", stage.name),
        stage: stage.name.to_owned(),
        base_model: shown(stage.base_model),
        reward_model: shown(stage.reward_model),
        version: concat!("rlhf ", env!("CARGO_PKG_VERSION")).to_owned(),
        seed: session.config.seed,
        data: files.collect(),
        config_toml: session.config.sections_toml(&sections)?,
        ..Card::default()
    })
}

/// Opens the folder of a stage that runs alone, runs it, prints where its model is, and notes in
/// `run.json` how it ended.
///
/// # Errors
/// Those of the stage.
pub(crate) fn run_alone(
    session: &Session,
    (dir, fresh): (&Path, bool),
    name: &str,
    work: impl FnOnce(&mut RunFolder) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let mut folder = RunFolder::open_stage(dir, fresh)?;
    folder.start(session)?;
    if let Err(error) = work(&mut folder) {
        folder.fail(&error);
        return Err(error);
    }
    let model = folder.model_dir(name);
    let result = json!({ "stage": name, "model": model.display().to_string() });
    folder.finish(result.clone())?;
    if session.json {
        console::print(&result.to_string())
    } else {
        console::print(&model.display().to_string())
    }
}

/// How many prompts lost their start is said, never hidden.
pub(crate) fn note_truncated(session: &Session, stage: &str, truncated: usize, total: usize) {
    if truncated > 0 {
        session.note(&format!(
            "{stage}: {truncated} of {total} prompts were too long and lost their start"
        ));
    }
}

/// Which weights a stage leaves is said where they are not those of its last update.
pub(crate) fn note_kept(session: &Session, stage: &str, step: u64, steps: u64) {
    if step == 0 {
        session.note(&format!(
            "{stage}: no update lowered the loss on held-out rows: the model is the one it began with"
        ));
    } else if step < steps {
        session.note(&format!(
            "{stage}: the model is that of update {step} of {steps}, whose loss on held-out rows is \
             the lowest"
        ));
    }
}

/// How many rows were left out is said, never hidden.
pub(crate) fn note_skipped(session: &Session, stage: &str, skipped: usize) {
    if skipped > 0 {
        session.note(&format!(
            "{stage}: {skipped} rows can't be used and were skipped"
        ));
    }
}
