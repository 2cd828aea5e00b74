//! The program `rlhf`: from text to an aligned model, one command a stage.

mod allocator;
mod args;
mod bench;
mod commands;
mod config;
mod console;
mod decoding;
mod error;
mod folder;
mod fresh_model;
mod hub;
mod model_folder;
mod reward_eval;
mod run_result;
mod session;
mod workload;
mod world_eval;

use args::{Cli, Command};
use clap::Parser;
use error::CliError;
use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    let cli = Cli::parse();
    // A panic is a defect of ours: its message stands on stderr by then.
    let outcome = std::panic::catch_unwind(|| dispatch(cli)).unwrap_or_else(|_| {
        Err(
            CliError::failure("the program met a defect of its own; the message above says where")
                .hint("please report it together with the command and its input"),
        )
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::print_error(&error);
            ExitCode::from(error.code.code())
        }
    }
}

fn dispatch(mut cli: Cli) -> Result<(), CliError> {
    hub::resolve(&mut cli)?;
    match &cli.command {
        None => commands::run::run(&cli.run),
        Some(Command::Run(args)) => commands::run::run(args),
        Some(Command::Pretrain(args)) => commands::pretrain::pretrain(args),
        Some(Command::Sft(args)) => commands::sft::sft(args),
        Some(Command::Collect(args)) => commands::collect::collect(args),
        Some(Command::Reward(args)) => commands::reward::reward(args),
        Some(Command::Dpo(args)) => commands::dpo::dpo(args),
        Some(Command::Ppo(args)) => commands::ppo::ppo(args),
        Some(Command::Eval(args)) => commands::eval::eval(args),
        Some(Command::Table(args)) => commands::table::table(args),
        Some(Command::Generate(args)) => commands::generate::generate(args),
        Some(Command::Score(args)) => commands::score::score(args),
        Some(Command::Estimate(args)) => commands::estimate::estimate(args),
        Some(Command::Merge(args)) => commands::merge::merge(args),
        Some(Command::Chat(args)) => commands::chat::chat(args),
        Some(Command::Export(args)) => commands::export::export(args),
        Some(Command::Bench(args)) => commands::bench::bench(args),
        Some(Command::Data(command)) => commands::data::data(command),
        Some(Command::Config(command)) => commands::config::config(command),
    }
}
