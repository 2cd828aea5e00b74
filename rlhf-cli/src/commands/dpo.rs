//! `rlhf dpo`.

use crate::args::DpoArgs;
use crate::commands::comparisons::load_encoded;
use crate::commands::stage::{Stage, note_kept, run_alone, run_stage};
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::model_folder::{Policy, save_policy};
use crate::session::Session;
use rlhf_data::{DataSet, OnBadRow};
use rlhf_train::Outcome;
use rlhf_train::dpo::encode_pairs;
use std::path::Path;

/// Trains a model on preference rows, without a reward model.
///
/// # Errors
/// If the rows or the model can't be used, or training fails.
pub(crate) fn dpo(args: &DpoArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let place = (args.folder.dir("dpo"), args.folder.fresh);
    run_alone(&session, (&place.0, place.1), "dpo", |folder| {
        let data = args.reading.open(&args.data, session.config.seed)?;
        let on_bad_row = args.bad_rows.on_bad_row.into();
        stage(&session, folder, &args.model, &data, on_bad_row)
    })
}

/// The stage: a model folder and files of preference rows in, `model/` out.
///
/// # Errors
/// As [`dpo`].
fn stage(
    session: &Session,
    folder: &mut RunFolder,
    base: &Path,
    data: &DataSet,
    on_bad_row: OnBadRow,
) -> Result<(), CliError> {
    let out = folder.model_dir("dpo");
    let stage = Stage {
        name: "dpo",
        sections: &["lora", "memory"],
        inputs: data.paths().chain([base]).collect(),
        reading: data.describe(),
        base_model: Some(base),
        reward_model: None,
    };
    run_stage(session, folder, &stage, |context, card| {
        let settings = &session.config.dpo;
        let (model, beside) = Policy::for_training(session, "dpo", base)?;
        let pairs = load_encoded((session, "dpo"), data, on_bad_row, |comparisons| {
            encode_pairs(&beside.tokenizer, comparisons, settings.max_length)
        })?;
        Ok(match rlhf_train::dpo(settings, &pairs, model, context)? {
            Outcome::Interrupted { step } => Outcome::Interrupted { step },
            Outcome::Finished(kept) => {
                note_kept(session, "dpo", kept.step, settings.steps);
                Outcome::Finished(save_policy(&out, &kept.model, &beside, card)?)
            }
        })
    })
}
