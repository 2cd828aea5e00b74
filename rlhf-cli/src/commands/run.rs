//! `rlhf run`: the whole road on the embedded world.

use crate::args::RunArgs;
use crate::commands::{collect, ppo, pretrain, reward, sft};
use crate::config::refuse;
use crate::console;
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::run_result::{self, Models};
use crate::session::Session;
use rlhf_data::{DataSet, OnBadRow};
use rlhf_world::{World, write_world};
use std::path::PathBuf;
use std::slice;
use std::time::Instant;

/// Pre-trains, fine-tunes, collects preferences, trains the reward model, optimises against it,
/// and compares the three models.
///
/// # Errors
/// If a stage fails or is interrupted; the folder then holds what it needs to go on.
pub(crate) fn run(args: &RunArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    refuse(session.config.validate_run())?;
    let mut folder = RunFolder::open(&args.folder.dir("run"), args.folder.fresh)?;
    folder.start(&session)?;
    let outcome = road(&session, &mut folder);
    if let Err(error) = &outcome {
        folder.fail(error);
    }
    outcome
}

fn road(session: &Session, folder: &mut RunFolder) -> Result<(), CliError> {
    let started = Instant::now();
    let config = &session.config;
    let world = World::new(&config.world_of_run())?;
    let files = world_files(session, folder, &world)?;
    let [corpus, demonstrations, conversations, prompts] = &files;

    let text = DataSet::from(slice::from_ref(corpus));
    pretrain::stage(session, folder, &text, None)?;
    let gpt = folder.model_dir("pretrain");
    let shown = DataSet::from(&[demonstrations.clone(), conversations.clone()]);
    sft::stage(session, folder, &gpt, (&shown, &text), OnBadRow::Fail)?;
    let tuned = folder.model_dir("sft");
    let prompts = DataSet::from(slice::from_ref(prompts));
    let preferences = collect::stage(session, folder, &tuned, &prompts)?;
    let preferences = DataSet::from(&[preferences]);
    reward::stage(session, folder, &tuned, &preferences, OnBadRow::Fail)?;
    let reward = folder.model_dir("reward");
    let inputs = ppo::Inputs {
        model: &tuned,
        reward: &reward,
        prompts: &prompts,
        text: &text,
        on_bad_row: OnBadRow::Fail,
    };
    ppo::stage(session, folder, &inputs)?;

    let models = Models {
        gpt,
        sft: tuned,
        ppo: folder.model_dir("ppo"),
        reward,
    };
    let compared = run_result::compare(session, folder, &world, &models)?;
    let json = serde_json::to_value(&compared.result)
        .map_err(|e| CliError::failure(format!("the result: {e}")))?;
    folder.finish(json.clone())?;
    run_result::note_in_cards(&models, &compared.result)?;
    run_result::write_report(session, folder, &compared)?;
    session.note(&format!(
        "{} in all; report: {}",
        console::duration(started.elapsed().as_secs_f64()),
        folder.root().join("report.html").display()
    ));
    if session.json {
        return console::print(&json.to_string());
    }
    console::print(&run_result::samples_text(&compared.samples))?;
    console::print(&rlhf_eval::table_text(&compared.result))
}

/// Writes the world's files. Equal settings give equal bytes, so a run that continues finds its
/// inputs unchanged.
fn world_files(
    session: &Session,
    folder: &RunFolder,
    world: &World,
) -> Result<[PathBuf; 4], CliError> {
    let dir = folder.root().join("world");
    let names = [
        "corpus.jsonl",
        "demonstrations.jsonl",
        "conversations.jsonl",
        "prompts.jsonl",
    ];
    let files = names.map(|name| dir.join(name));
    session.note("world: writing its files");
    write_world(world, &dir, world.config().documents)?;
    Ok(files)
}
