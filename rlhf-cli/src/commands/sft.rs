//! `rlhf sft`.

use crate::args::{SftArgs, open_as_they_are};
use crate::commands::pretrain::{encode_enough, optional_texts};
use crate::commands::stage::{Stage, note_kept, note_skipped, run_alone, run_stage};
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::model_folder::{Policy, save_policy};
use crate::session::Session;
use rlhf_data::{DataSet, OnBadRow, load_conversations};
use rlhf_train::{Outcome, SftData};
use std::path::Path;

/// Fine-tunes a model on demonstrations.
///
/// # Errors
/// If the demonstrations or the model can't be used, or training fails.
pub(crate) fn sft(args: &SftArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let place = (args.folder.dir("sft"), args.folder.fresh);
    run_alone(&session, (&place.0, place.1), "sft", |folder| {
        let seed = session.config.seed;
        let data = args.reading.open(&args.data, seed)?;
        let text = open_as_they_are(&args.pretraining_data, seed)?;
        let on_bad_row = args.bad_rows.on_bad_row.into();
        stage(&session, folder, &args.model, (&data, &text), on_bad_row)
    })
}

/// The stage: a model folder, files of demonstrations and of text to mix in; `model/` out.
///
/// # Errors
/// As [`sft`].
pub(crate) fn stage(
    session: &Session,
    folder: &mut RunFolder,
    base: &Path,
    (data, text): (&DataSet, &DataSet),
    on_bad_row: OnBadRow,
) -> Result<(), CliError> {
    let out = folder.model_dir("sft");
    let files = data.paths().chain(text.paths());
    let stage = Stage {
        name: "sft",
        sections: &["lora", "memory"],
        inputs: files.chain([base]).collect(),
        reading: data.describe() + &text.describe(),
        base_model: Some(base),
        reward_model: None,
    };
    run_stage(session, folder, &stage, |context, card| {
        let settings = &session.config.sft;
        let (model, beside) = Policy::for_training(session, "sft", base)?;
        let loaded = load_conversations(data, on_bad_row)?;
        let rows = loaded.rows;
        let encoded = rows.iter().enumerate().map(|(i, row)| {
            let encoded = beside.tokenizer.encode_conversation(&row.messages);
            encoded.map_err(|e| {
                let mut error = CliError::from(e);
                error.message = format!("demonstration {}: {}", i + 1, error.message);
                error
            })
        });
        let (mut demonstrations, mut refused) = (Vec::with_capacity(rows.len()), None);
        for found in encoded {
            match found {
                Ok(sequence) => demonstrations.push(sequence),
                Err(e) if on_bad_row == OnBadRow::Fail => return Err(e),
                Err(e) => refused = refused.or(Some(e)),
            }
        }
        if let (true, Some(e)) = (demonstrations.is_empty(), refused) {
            return Err(e);
        }
        let all = rows.len();
        if on_bad_row == OnBadRow::Skip {
            // An answer that does not fit, or fits alone, is a bad row; it is never cut.
            demonstrations.retain(|d| {
                let mut d = d.clone();
                d.truncate_start(settings.max_length).is_ok() && !d.lacks_prompt()
            });
        }
        note_skipped(session, "sft", loaded.skipped + all - demonstrations.len());
        let pretraining = optional_texts(text)?;
        let rows = settings.steps as f64 * settings.batch_size as f64 * settings.pretraining_share;
        let tokens = rows.ceil() as usize * settings.max_length;
        let pretraining = encode_enough(&beside.tokenizer, &pretraining, tokens)?;
        let data = SftData {
            demonstrations: &demonstrations,
            pretraining: &pretraining,
        };
        Ok(match rlhf_train::sft(settings, data, model, context)? {
            Outcome::Interrupted { step } => Outcome::Interrupted { step },
            Outcome::Finished(kept) => {
                note_kept(session, "sft", kept.step, settings.steps);
                Outcome::Finished(save_policy(&out, &kept.model, &beside, card)?)
            }
        })
    })
}
