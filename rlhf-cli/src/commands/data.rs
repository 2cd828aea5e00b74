//! `rlhf data`: what files hold, how a model sees it, and the files of the embedded world.

mod check;
mod show;

use crate::args::{CommonArgs, FILES};
use crate::config::Config;
use crate::console::{print, say};
use crate::error::CliError;
use check::CheckArgs;
use clap::{Args, Subcommand};
use rlhf_world::{World, write_world};
use serde_json::json;
use show::ShowArgs;
use std::path::PathBuf;

/// `rlhf data`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Says of each file what its rows are and which of them can't be used
    #[command(after_help = FILES)]
    Check(CheckArgs),
    /// Prints rows as a model sees them: what each token is and whether it is trained on
    #[command(after_help = FILES)]
    Show(ShowArgs),
    /// Writes the files of the embedded world
    World(WorldArgs),
}

/// `rlhf data world`.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorldArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// Runs `data check`, `data show` or `data world`.
///
/// # Errors
/// If a file, a model or a setting can't be used.
pub(crate) fn data(command: &DataCommand) -> Result<(), CliError> {
    match command {
        DataCommand::Check(args) => check::check(args),
        DataCommand::Show(args) => show::show(args),
        DataCommand::World(args) => world(args),
    }
}

fn world(args: &WorldArgs) -> Result<(), CliError> {
    let config = Config::from_args(&args.common)?.world_of_run();
    let world = World::new(&config)?;
    let files = write_world(&world, &args.out, config.documents)?;
    if args.common.json {
        return print(&json!({ "files": files }).to_string());
    }
    if !args.common.quiet {
        say(&format!(
            "the world of seed {}, {} documents",
            config.seed, config.documents
        ));
    }
    let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
    print(&names.join("\n"))
}
