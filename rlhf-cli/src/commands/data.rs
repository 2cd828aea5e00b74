//! `rlhf data`: what files hold, how a model sees it, and the files of the embedded world.

mod show;

use crate::args::CommonArgs;
use crate::config::Config;
use crate::console::{print, say};
use crate::error::CliError;
use clap::{Args, Subcommand};
use rlhf_data::{BadRow, FileCheck, check_file};
use rlhf_world::{World, write_world};
use serde_json::json;
use show::ShowArgs;
use std::path::{Path, PathBuf};

/// Bad rows that are printed for each file; `--json` prints all.
const PRINTED: usize = 20;

/// `rlhf data`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Says of each file what its rows are and which of them can't be used
    Check(CheckArgs),
    /// Prints rows as a model sees them: what each token is and whether it is trained on
    Show(ShowArgs),
    /// Writes the files of the embedded world
    World(WorldArgs),
}

/// `rlhf data check`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CheckArgs {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Prints one JSON object a file
    #[arg(long)]
    pub(crate) json: bool,
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
        DataCommand::Check(args) => check(args),
        DataCommand::Show(args) => show::show(args),
        DataCommand::World(args) => world(args),
    }
}

fn check(args: &CheckArgs) -> Result<(), CliError> {
    let mut unusable = 0;
    for file in &args.files {
        let found = check_file(file).unwrap_or_else(|e| unreadable(file, &e.to_string()));
        unusable += usize::from(!found.is_usable());
        if args.json {
            let line = serde_json::to_string(&found);
            print(&line.map_err(|e| CliError::failure(format!("{}: {e}", file.display())))?)?;
        } else {
            print(&summary(&found))?;
        }
    }
    if unusable == 0 {
        return Ok(());
    }
    let message = format!(
        "{unusable} of {} files can't be used as they are",
        args.files.len()
    );
    Err(CliError::usage(message).hint("mend or remove the rows named above"))
}

fn unreadable(file: &Path, reason: &str) -> FileCheck {
    // The file's name stands before the reason anyway.
    let name = format!("{}: ", file.display());
    let reason = reason.strip_prefix(&name).unwrap_or(reason).to_owned();
    let bad = vec![BadRow {
        line: 1,
        field: String::new(),
        reason,
    }];
    FileCheck {
        file: file.to_owned(),
        format: None,
        rows: 0,
        bad,
    }
}

fn summary(found: &FileCheck) -> String {
    let name = found.file.display();
    let format = found.format.as_deref().unwrap_or("not recognised");
    let mut lines = vec![format!("{name}: format {format}, {} rows", found.rows)];
    for row in found.bad.iter().take(PRINTED) {
        let field = match row.field.as_str() {
            "" => String::new(),
            field => format!("field `{field}`: "),
        };
        lines.push(format!("{name}:{}: {field}{}", row.line, row.reason));
    }
    if found.bad.len() > PRINTED {
        let more = found.bad.len() - PRINTED;
        lines.push(format!(
            "{name}: and {more} more bad rows; --json names them all"
        ));
    }
    lines.join("\n")
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
