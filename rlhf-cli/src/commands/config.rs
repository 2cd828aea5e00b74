//! `rlhf config`: the settings in effect, and files of settings.

use crate::args::CommonArgs;
use crate::config::{Config, SECTIONS, refuse};
use crate::console::print;
use crate::error::CliError;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;

/// `rlhf config`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Prints the settings in effect as TOML
    Show(ShowArgs),
    /// Checks a file of settings
    Check(CheckArgs),
}

/// `rlhf config show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ShowArgs {
    /// The stage whose settings to print; `run` prints all
    #[arg(value_name = "STAGE", default_value = "run", value_parser = stages())]
    pub(crate) stage: String,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

/// `rlhf config check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    /// The TOML file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
}

fn stages() -> PossibleValuesParser {
    std::iter::once("run")
        .chain(SECTIONS)
        .collect::<Vec<_>>()
        .into()
}

/// Runs `config show` or `config check`.
///
/// # Errors
/// If the settings can't be used.
pub(crate) fn config(command: &ConfigCommand) -> Result<(), CliError> {
    match command {
        ConfigCommand::Show(args) => show(args),
        ConfigCommand::Check(args) => check(args),
    }
}

fn show(args: &ShowArgs) -> Result<(), CliError> {
    let config = Config::from_args(&args.common)?;
    let text = match args.stage.as_str() {
        "run" => {
            refuse(config.validate_run())?;
            config.to_toml()?
        }
        // A model that is pre-trained has its shape from the configuration.
        "pretrain" => config.sections_toml(&["pretrain", "model"])?,
        stage => config.sections_toml(&[stage])?,
    };
    if args.common.json {
        let table: toml::Table = text
            .parse()
            .map_err(|e| CliError::failure(format!("{e}")))?;
        return print(&json!(table).to_string());
    }
    print(text.trim_end())
}

fn check(args: &CheckArgs) -> Result<(), CliError> {
    let file = args.file.clone();
    if args.common.config.is_some() {
        let error = CliError::usage("config check: FILE and --config name two files");
        return Err(error.hint("check one file at a time"));
    }
    let name = file.display().to_string();
    Config::from_args(&CommonArgs {
        config: Some(file),
        ..args.common.clone()
    })?;
    if args.common.json {
        return print(&json!({"file": name, "ok": true}).to_string());
    }
    print(&format!("{name}: ok"))
}
