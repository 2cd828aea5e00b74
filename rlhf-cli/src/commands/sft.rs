//! `rlhf sft`.

use crate::args::SftArgs;
use crate::commands::pretrain::{encode_enough, optional_texts};
use crate::commands::stage::{Stage, note_skipped, run_alone, run_stage};
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::model_folder::{load_policy, save_policy};
use crate::session::Session;
use rlhf_data::{OnBadRow, load_conversations};
use rlhf_train::{Outcome, SftData};
use std::path::{Path, PathBuf};

/// Fine-tunes a model on demonstrations.
///
/// # Errors
/// If the demonstrations or the model can't be used, or training fails.
pub(crate) fn sft(args: &SftArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let place = (args.folder.dir("sft"), args.folder.fresh);
    run_alone(&session, (&place.0, place.1), "sft", |folder| {
        let data = (args.data.as_slice(), args.pretraining_data.as_slice());
        stage(
            &session,
            folder,
            &args.model,
            data,
            args.bad_rows.on_bad_row.into(),
        )
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
    (data, text): (&[PathBuf], &[PathBuf]),
    on_bad_row: OnBadRow,
) -> Result<(), CliError> {
    let out = folder.model_dir("sft");
    let files = data.iter().chain(text).map(PathBuf::as_path);
    let stage = Stage {
        name: "sft",
        sections: &[],
        inputs: files.chain([base]).collect(),
        base_model: Some(base),
        reward_model: None,
    };
    run_stage(session, folder, &stage, |context, card| {
        let policy = load_policy(base, &session.device)?;
        let loaded = load_conversations(data, on_bad_row)?;
        let rows = loaded.rows;
        let encoded = rows.iter().enumerate().map(|(i, row)| {
            let encoded = policy.tokenizer.encode_conversation(&row.messages);
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
        let settings = &session.config.sft;
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
        let pretraining = encode_enough(&policy.tokenizer, &pretraining, tokens)?;
        let data = SftData {
            demonstrations: &demonstrations,
            pretraining: &pretraining,
        };
        Ok(
            match rlhf_train::sft(settings, data, policy.model, context)? {
                Outcome::Interrupted { step } => Outcome::Interrupted { step },
                Outcome::Finished(model) => Outcome::Finished(save_policy(
                    &out,
                    &model,
                    &policy.config,
                    &policy.tokenizer,
                    card,
                )?),
            },
        )
    })
}
