//! `rlhf reward`.

use crate::args::RewardArgs;
use crate::commands::stage::{Stage, note_skipped, run_alone, run_stage};
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::model_folder::{load_policy, save_reward};
use crate::session::Session;
use rlhf_data::{Comparison, OnBadRow, group_comparisons, load_preferences};
use rlhf_eval::{Card, Figure};
use rlhf_reward::{RewardSummary, encode_comparisons, train_reward};
use rlhf_train::Outcome;
use std::path::{Path, PathBuf};

/// Trains a reward model on preference rows.
///
/// # Errors
/// If the rows or the model can't be used, or training fails.
pub(crate) fn reward(args: &RewardArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let place = (args.folder.dir("reward"), args.folder.fresh);
    run_alone(&session, (&place.0, place.1), "reward", |folder| {
        stage(
            &session,
            folder,
            &args.model,
            &args.data,
            args.bad_rows.on_bad_row.into(),
        )
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
    data: &[PathBuf],
    on_bad_row: OnBadRow,
) -> Result<(), CliError> {
    let out = folder.model_dir("reward");
    let stage = Stage {
        name: "reward",
        sections: &[],
        inputs: data.iter().map(PathBuf::as_path).chain([base]).collect(),
        base_model: Some(base),
        reward_model: None,
    };
    run_stage(session, folder, &stage, |context, card| {
        let policy = load_policy(base, &session.device)?;
        let loaded = load_preferences(data, on_bad_row)?;
        let mut comparisons = group_comparisons(loaded.rows);
        let settings = &session.config.reward;
        let all = comparisons.len();
        if on_bad_row == OnBadRow::Skip {
            // An answer that does not fit is a bad row; it is never cut.
            let fits = |c: &Comparison| {
                let alone = std::slice::from_ref(c);
                encode_comparisons(&policy.tokenizer, alone, settings.max_length).is_ok()
            };
            comparisons.retain(fits);
        }
        note_skipped(session, "reward", loaded.skipped + all - comparisons.len());
        let encoded = encode_comparisons(&policy.tokenizer, &comparisons, settings.max_length)?;
        Ok(
            match train_reward(settings, &encoded, policy.model, context)? {
                Outcome::Interrupted { step } => Outcome::Interrupted { step },
                Outcome::Finished((model, summary)) => {
                    let card = with_accuracy(card, &summary);
                    session.note(&format!(
                        "reward: {:.3} of {} held-out pairs in the right order",
                        summary.accuracy(),
                        summary.pairs
                    ));
                    Outcome::Finished(save_reward(&out, &model, &policy.tokenizer, &card)?)
                }
            },
        )
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
