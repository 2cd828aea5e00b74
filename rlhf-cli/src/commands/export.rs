//! `rlhf export`: a whole model folder with numbers of a chosen type.

use crate::args::CommonArgs;
use crate::console;
use crate::error::CliError;
use crate::folder::sha256_of;
use crate::hub;
use crate::model_folder::{
    Written, is_reward, load_policy, load_reward, save_policy_as, save_reward_as,
};
use crate::session::Session;
use clap::{Args, ValueEnum};
use rlhf_eval::{Card, CardFile};
use rlhf_model::WeightType;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// `rlhf export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The folder of a language or reward model, or its name on the hub
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The type of the numbers in the weight file
    #[arg(long, value_name = "TYPE", value_enum)]
    pub(crate) dtype: ExportType,
    /// The folder to write; it must not exist yet, or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// The choices of `--dtype`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExportType {
    /// 4 bytes a number
    F32,
    /// 2 bytes a number, none above 65,504
    F16,
    /// 2 bytes a number, the range of f32 with two decimal digits
    Bf16,
}

impl From<ExportType> for WeightType {
    fn from(choice: ExportType) -> Self {
        match choice {
            ExportType::F32 => Self::F32,
            ExportType::F16 => Self::F16,
            ExportType::Bf16 => Self::Bf16,
        }
    }
}

/// Writes a model's folder again with numbers of the type that was chosen. Tokenizer and template are
/// the files of the folder it came from, and configuration and settings of generation too where it
/// holds whole weights; adapters are merged.
///
/// # Errors
/// If the model can't be read, a number does not fit the type, or the folder can't be written.
pub(crate) fn export(args: &ExportArgs) -> Result<(), CliError> {
    let session = Session::without_handler(&args.common)?;
    refuse_used(&args.out)?;
    let kind = WeightType::from(args.dtype);
    let what = write_again(&session, (&args.model, &args.out), kind, "export")?;
    print_written(&session, &args.out, what, kind)
}

/// Writes the model of one folder as whole weights into another; says what it is.
///
/// # Errors
/// As [`export`].
pub(super) fn write_again(
    session: &Session,
    (source, out): (&Path, &Path),
    kind: WeightType,
    stage: &str,
) -> Result<&'static str, CliError> {
    let written = Written {
        kind,
        keep: Some(source),
    };
    if is_reward(source)? {
        let (model, beside) = load_reward(source, &session.device)?.split();
        let card = card(session, source, kind, stage)?;
        save_reward_as(out, &model.merged(), &beside, &card, written)?;
        Ok("reward model")
    } else {
        let (model, beside) = load_policy(source, &session.device)?.split();
        let card = card(session, source, kind, stage)?;
        save_policy_as(out, &model.merged(), &beside, &card, written)?;
        Ok("language model")
    }
}

/// Prints where the folder is.
///
/// # Errors
/// If that can't be printed.
pub(super) fn print_written(
    session: &Session,
    out: &Path,
    what: &str,
    kind: WeightType,
) -> Result<(), CliError> {
    let model = out.display().to_string();
    if session.json {
        let result = json!({"model": model, "kind": what, "dtype": kind.name()});
        return console::print(&result.to_string());
    }
    console::print(&model)
}

/// A folder with something in it is somebody's.
///
/// # Errors
/// If `out` is such a folder, or a file.
pub(super) fn refuse_used(out: &Path) -> Result<(), CliError> {
    let used = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => out.exists(),
    };
    if !used {
        return Ok(());
    }
    let error = CliError::usage(format!("--out {}: is there already", out.display()));
    Err(error.hint("choose a folder that does not exist yet"))
}

fn card(session: &Session, source: &Path, kind: WeightType, stage: &str) -> Result<Card, CliError> {
    let sha256 = sha256_of(source)?;
    let source = hub::shown(source);
    Ok(Card {
        title: format!("{} in {}", source, kind.name()),
        stage: stage.to_owned(),
        base_model: Some(source.clone()),
        version: concat!("rlhf ", env!("CARGO_PKG_VERSION")).to_owned(),
        seed: session.config.seed,
        data: vec![CardFile {
            name: source,
            rows: None,
            sha256,
        }],
        ..Card::default()
    })
}
