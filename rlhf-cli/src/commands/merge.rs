//! `rlhf merge`: a whole model from adapters and the model that they belong to.

use crate::args::CommonArgs;
use crate::commands::export::{print_written, refuse_used, write_again};
use crate::error::CliError;
use crate::session::Session;
use clap::Args;
use rlhf_model::{WeightType, is_adapter};
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
    /// The folder to write; it must not exist yet, or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Writes a whole model in f32 (`rlhf export` has other types).
///
/// # Errors
/// If the folder holds no adapters, something can't be read, or the result can't be written.
pub(crate) fn merge(args: &MergeArgs) -> Result<(), CliError> {
    let session = Session::without_handler(&args.common)?;
    refuse_used(&args.out)?;
    if args.model.is_dir() && !is_adapter(&args.model) {
        let text = format!("--model {}: holds no adapters", args.model.display());
        return Err(CliError::usage(text).hint("give a folder with adapter_config.json"));
    }
    let what = write_again(&session, (&args.model, &args.out), WeightType::F32, "merge")?;
    print_written(&session, &args.out, what, WeightType::F32)
}
