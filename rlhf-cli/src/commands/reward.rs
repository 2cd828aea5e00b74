//! `rlhf reward`.

use crate::args::RewardArgs;
use crate::commands::comparisons::load_encoded;
use crate::commands::stage::{Stage, note_kept, run_alone, run_stage};
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::model_folder::{Policy, save_reward};
use crate::session::Session;
use rlhf_data::{DataSet, OnBadRow};
use rlhf_eval::{Card, Figure};
use rlhf_reward::{RewardSummary, encode_comparisons, train_reward};
use rlhf_train::Outcome;
use std::path::Path;

/// Trains a reward model on preference rows.
///
/// # Errors
/// If the rows or the model can't be used, or training fails.
pub(crate) fn reward(args: &RewardArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let place = (args.folder.dir("reward"), args.folder.fresh);
    run_alone(&session, (&place.0, place.1), "reward", |folder| {
        let data = args.reading.open(&args.data, session.config.seed)?;
        let on_bad_row = args.bad_rows.on_bad_row.into();
        stage(&session, folder, &args.model, &data, on_bad_row)
    })
}

/// The stage: a model folder and files of preference rows in, `reward/` out.
///
/// # Errors
/// As [`reward`].
pub(crate) fn stage(
    session: &Session,
    folder: &mut RunFolder,
    base: &Path,
    data: &DataSet,
    on_bad_row: OnBadRow,
) -> Result<(), CliError> {
    let out = folder.model_dir("reward");
    let stage = Stage {
        name: "reward",
        sections: &["lora", "memory"],
        inputs: data.paths().chain([base]).collect(),
        reading: data.describe(),
        base_model: Some(base),
        reward_model: None,
    };
    run_stage(session, folder, &stage, |context, card| {
        let settings = &session.config.reward;
        let (model, beside) = Policy::for_training(session, "reward", base)?;
        let encoded = load_encoded((session, "reward"), data, on_bad_row, |comparisons| {
            encode_comparisons(&beside.tokenizer, comparisons, settings.max_length)
        })?;
        Ok(match train_reward(settings, &encoded, model, context)? {
            Outcome::Interrupted { step } => Outcome::Interrupted { step },
            Outcome::Finished((kept, summary)) => {
                note_kept(session, "reward", kept.step, settings.steps);
                let card = with_accuracy(card, &summary);
                session.note(&format!(
                    "reward: {:.3} of {} held-out pairs in the right order",
                    summary.accuracy(),
                    summary.pairs
                ));
                Outcome::Finished(save_reward(&out, &kept.model, &beside, &card)?)
            }
        })
    })
}

/// The card with the accuracy on the pairs that were held out.
fn with_accuracy(card: &Card, summary: &RewardSummary) -> Card {
    let accuracy = Figure::rate(summary.correct, summary.pairs);
    let mut card = card.clone();
    card.figures
        .extend(accuracy.map(|figure| ("held-out accuracy".to_owned(), figure)));
    card
}
