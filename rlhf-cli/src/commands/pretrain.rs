//! `rlhf pretrain`.

use crate::args::PretrainArgs;
use crate::commands::stage::{Stage, run_alone, run_stage};
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::fresh_model::{fresh_config, train_tokenizer};
use crate::model_folder::{Policy, load_policy, save_policy};
use crate::session::Session;
use crate::workload::refuse_too_large;
use rlhf_data::{ChatTokenizer, DataSet, OnBadRow, TextRow, TokenSequence, load_texts};
use rlhf_model::Transformer;
use rlhf_train::Outcome;
use std::path::{Path, PathBuf};

/// Pre-trains a model on text.
///
/// # Errors
/// If the text or the model can't be used, or training fails.
pub(crate) fn pretrain(args: &PretrainArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    let place = (args.folder.dir("pretrain"), args.folder.fresh);
    run_alone(&session, (&place.0, place.1), "pretrain", |folder| {
        let data = args.reading.open(&args.data, session.config.seed)?;
        stage(&session, folder, &data, args.model.as_deref())
    })
}

/// The stage: text files in, `model/` out.
///
/// # Errors
/// As [`pretrain`].
pub(crate) fn stage(
    session: &Session,
    folder: &mut RunFolder,
    data: &DataSet,
    base: Option<&Path>,
) -> Result<(), CliError> {
    let out = folder.model_dir("pretrain");
    let stage = Stage {
        name: "pretrain",
        sections: &["model", "memory"],
        inputs: data.paths().chain(base).collect(),
        reading: data.describe(),
        base_model: base,
        reward_model: None,
    };
    run_stage(session, folder, &stage, |context, card| {
        let texts = load_texts(data, OnBadRow::Fail)?.rows;
        let policy = match base {
            Some(dir) => load_policy(dir, &session.device)?,
            None => fresh(session, &texts)?,
        };
        let (model, beside) = policy.split();
        refuse_too_large(&session.config, "pretrain", &beside.config, &session.device)?;
        let on = session.config.memory.gradient_checkpointing;
        let model = model.merged().with_gradient_checkpointing(on);
        let documents = encode_texts(&beside.tokenizer, &texts)?;
        let settings = &session.config.pretrain;
        Ok(
            match rlhf_train::pretrain(settings, &documents, model, context)? {
                Outcome::Interrupted { step } => Outcome::Interrupted { step },
                Outcome::Finished(model) => {
                    Outcome::Finished(save_policy(&out, &model, &beside, card)?)
                }
            },
        )
    })
}

fn fresh(session: &Session, texts: &[TextRow]) -> Result<Policy, CliError> {
    let section = &session.config.model;
    let texts: Vec<&str> = texts.iter().map(|row| row.text.as_str()).collect();
    let tokenizer = train_tokenizer(&texts, section.vocab_size)?;
    let config = fresh_config(section, &tokenizer);
    let model = Transformer::init(&config, session.config.seed, &session.device)?;
    Ok(Policy {
        model,
        config,
        tokenizer,
        base: PathBuf::new(),
    })
}

/// Documents as token ids.
///
/// # Errors
/// If a text can't be encoded.
pub(crate) fn encode_texts(
    tokenizer: &ChatTokenizer,
    texts: &[TextRow],
) -> Result<Vec<TokenSequence>, CliError> {
    let encoded = texts.iter().map(|row| tokenizer.encode_text(&row.text));
    Ok(encoded.collect::<Result<_, _>>()?)
}

/// The text to mix in; no files are no text.
///
/// # Errors
/// If a file can't be used.
pub(crate) fn optional_texts(files: &DataSet) -> Result<Vec<TextRow>, CliError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    Ok(load_texts(files, OnBadRow::Fail)?.rows)
}

/// As many of the first documents as hold `tokens` tokens: a stage that mixes in a little text need
/// not read all of it.
///
/// # Errors
/// If a text can't be encoded.
pub(crate) fn encode_enough(
    tokenizer: &ChatTokenizer,
    texts: &[TextRow],
    tokens: usize,
) -> Result<Vec<TokenSequence>, CliError> {
    let (mut encoded, mut found) = (Vec::new(), 0);
    for row in texts {
        if found >= tokens {
            break;
        }
        let sequence = tokenizer.encode_text(&row.text)?;
        found += sequence.ids.len();
        encoded.push(sequence);
    }
    Ok(encoded)
}
