//! `rlhf merge`.

use crate::args::CommonArgs;
use crate::console;
use crate::error::CliError;
use crate::folder::sha256_of;
use crate::model_folder::{is_reward, load_policy, load_reward, save_policy, save_reward};
use crate::session::Session;
use clap::Args;
use rlhf_eval::{Card, CardFile, model_card};
use serde_json::json;
use std::path::PathBuf;

/// `rlhf merge`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MergeArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The folder of adapters, of a language model or a reward model
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The folder to write; there must be none of that name
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Writes a whole model from adapters and the model that they belong to.
///
/// # Errors
/// If the folder holds no adapters, something can't be read, or the result can't be written.
pub(crate) fn merge(args: &MergeArgs) -> Result<(), CliError> {
    let session = Session::without_handler(&args.common)?;
    let (dir, out) = (&args.model, &args.out);
    if out.exists() {
        let error = CliError::usage(format!("--out {}: is there already", out.display()));
        return Err(error.hint("name a folder that does not exist yet"));
    }
    if is_reward(dir)? {
        let (model, beside) = load_reward(dir, &session.device)?.split();
        refuse_whole(&args.model, model.backbone.has_adapters())?;
        save_reward(out, &model.merged(), &beside, &card(&session, args)?)?;
    } else {
        let (model, beside) = load_policy(dir, &session.device)?.split();
        refuse_whole(&args.model, model.has_adapters())?;
        save_policy(out, &model.merged(), &beside, &card(&session, args)?)?;
    }
    if session.json {
        return console::print(&json!({ "model": out.display().to_string() }).to_string());
    }
    console::print(&out.display().to_string())
}

fn refuse_whole(dir: &std::path::Path, has_adapters: bool) -> Result<(), CliError> {
    if has_adapters {
        return Ok(());
    }
    let text = format!(
        "--model {}: holds no adapters, it is a whole model",
        dir.display()
    );
    Err(CliError::usage(text).hint("give a folder with adapter_config.json"))
}

fn card(session: &Session, args: &MergeArgs) -> Result<String, CliError> {
    let name = args.model.display().to_string();
    Ok(model_card(&Card {
        title: "merged model".to_owned(),
        stage: "merge".to_owned(),
        base_model: Some(name.clone()),
        version: concat!("rlhf ", env!("CARGO_PKG_VERSION")).to_owned(),
        seed: session.config.seed,
        data: vec![CardFile {
            name,
            rows: None,
            sha256: sha256_of(&args.model)?,
        }],
        ..Card::default()
    }))
}
