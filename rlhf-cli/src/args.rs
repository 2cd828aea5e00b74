//! What can be typed.

mod overrides;
mod reading;

pub(crate) use overrides::{LoraArgs, Override, Overrides};
pub(crate) use reading::{FILES, ReadingArgs, open_as_they_are};

use crate::commands::bench::BenchArgs;
use crate::commands::chat::ChatArgs;
use crate::commands::config::ConfigCommand;
use crate::commands::data::DataCommand;
use crate::commands::estimate::EstimateArgs;
use crate::commands::export::ExportArgs;
use crate::commands::generate::GenerateArgs;
use crate::commands::merge::MergeArgs;
use crate::commands::score::ScoreArgs;
use crate::commands::table::TableArgs;
use clap::{Args, Parser, Subcommand};
use rlhf_kernels::Kernels;
use std::path::PathBuf;
use std::str::FromStr;

/// From text to an aligned model, one command a stage.
#[derive(Debug, Parser)]
#[command(name = "rlhf", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    /// What to do; without it, `run`.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The options of `run`.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All stages on the embedded world, and the table that compares the models.
    Run(RunArgs),
    /// Pre-trains a model, and its tokenizer, on text.
    #[command(after_help = FILES)]
    Pretrain(PretrainArgs),
    /// Fine-tunes a model on demonstrations.
    #[command(after_help = FILES)]
    Sft(SftArgs),
    /// Samples answers to prompts and has them ranked: preference rows.
    #[command(after_help = FILES)]
    Collect(CollectArgs),
    /// Trains a reward model on preference rows.
    #[command(after_help = FILES)]
    Reward(RewardArgs),
    /// Trains a model on preference rows, without a reward model.
    #[command(after_help = FILES)]
    Dpo(DpoArgs),
    /// Optimises a model against a reward model.
    #[command(after_help = FILES)]
    Ppo(PpoArgs),
    /// Measures a model.
    #[command(after_help = FILES)]
    Eval(EvalArgs),
    /// Prints the table of a run, or of several runs pooled.
    Table(TableArgs),
    /// Answers prompts from a file.
    #[command(after_help = FILES)]
    Generate(GenerateArgs),
    /// Scores answers or preference rows with a reward model.
    #[command(after_help = FILES)]
    Score(ScoreArgs),
    /// Says what a stage will take of memory and time.
    Estimate(EstimateArgs),
    /// Writes a whole model from adapters and their base model.
    Merge(MergeArgs),
    /// Talks with a model.
    Chat(ChatArgs),
    /// Writes a model's folder again with numbers of another type.
    Export(ExportArgs),
    /// Times training steps, generation and PPO on random tokens, one JSON line a measurement.
    Bench(BenchArgs),
    /// Looks into data files, or writes those of the embedded world.
    #[command(subcommand)]
    Data(DataCommand),
    /// Shows the settings in effect, or checks a file of settings.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// What every command takes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CommonArgs {
    /// A set of settings that comes with the program: default, quick
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<String>,
    /// A TOML file of settings, over those of the preset
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Settings from the command line, over those of the file.
    #[command(flatten)]
    pub(crate) overrides: Overrides,
    /// Prints the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Prints no progress
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Takes models that are named as on the hub from its cache alone; as HF_HUB_OFFLINE=1
    #[arg(long)]
    pub(crate) offline: bool,
    /// What the CPU computes with: operations written for it, or plain tensor operations, which are
    /// slower and give the same to rounding
    #[arg(long, value_name = "WHICH", value_enum, default_value_t)]
    pub(crate) kernels: KernelChoice,
}

/// The choices of `--kernels`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KernelChoice {
    /// Hand-written.
    #[default]
    Fast,
    /// Plain tensor operations.
    Plain,
}

impl KernelChoice {
    /// Has the whole program compute so from now on.
    pub(crate) fn apply(self) {
        rlhf_kernels::set_kernels(match self {
            Self::Fast => Kernels::Fast,
            Self::Plain => Kernels::Plain,
        });
    }
}

/// Where a command leaves what it makes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct FolderArgs {
    /// The folder of the run; one that holds a state continues [default: runs/COMMAND]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Starts over; an old folder is moved aside
    #[arg(long)]
    pub(crate) fresh: bool,
}

impl FolderArgs {
    /// The folder, `runs/COMMAND` where none was named.
    pub(crate) fn dir(&self, command: &str) -> PathBuf {
        self.out
            .clone()
            .unwrap_or_else(|| PathBuf::from("runs").join(command))
    }
}

/// What happens to rows that can't be used.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct BadRowArgs {
    /// Whether a row that can't be used stops the command or is skipped and counted
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub(crate) on_bad_row: BadRow,
}

/// The choices of `--on-bad-row`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BadRow {
    /// A bad row is an error.
    #[default]
    Fail,
    /// Bad rows are left out and counted.
    Skip,
}

impl From<BadRow> for rlhf_data::OnBadRow {
    fn from(choice: BadRow) -> Self {
        match choice {
            BadRow::Fail => Self::Fail,
            BadRow::Skip => Self::Skip,
        }
    }
}

/// A count from the command line that must not be 0.
///
/// # Errors
/// In words for the person who typed it.
pub(crate) fn at_least_one<T: FromStr + Default + PartialEq>(text: &str) -> Result<T, String> {
    let number: T = text
        .parse()
        .map_err(|_| "a whole number is wanted".to_owned())?;
    if number == T::default() {
        Err("at least 1 is wanted".to_owned())
    } else {
        Ok(number)
    }
}

/// `rlhf run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
}

/// `rlhf pretrain`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PretrainArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// Files of text rows or plain text
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) data: Vec<PathBuf>,
    /// A model folder to go on from, instead of a fresh model and tokenizer
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
}

/// `rlhf sft`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SftArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Adapters.
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// What happens to bad rows.
    #[command(flatten)]
    pub(crate) bad_rows: BadRowArgs,
    /// The folder of the model to fine-tune
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Files of demonstrations: instructions or conversations
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) data: Vec<PathBuf>,
    /// Files of text that is mixed in, as sft.pretraining_share says
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) pretraining_data: Vec<PathBuf>,
}

/// `rlhf collect`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CollectArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// The folder of the model that answers
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Files of prompts
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) prompts: Vec<PathBuf>,
}

/// `rlhf reward`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RewardArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Adapters.
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// What happens to bad rows.
    #[command(flatten)]
    pub(crate) bad_rows: BadRowArgs,
    /// The folder of the model whose trunk is trained, usually the fine-tuned one
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Files of preference rows
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) data: Vec<PathBuf>,
}

/// `rlhf dpo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DpoArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Adapters.
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// What happens to bad rows.
    #[command(flatten)]
    pub(crate) bad_rows: BadRowArgs,
    /// The folder of the model to start from, usually the fine-tuned one; it stays the reference
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// Files of preference rows
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) data: Vec<PathBuf>,
}

/// `rlhf ppo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PpoArgs {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Adapters.
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// Where to.
    #[command(flatten)]
    pub(crate) folder: FolderArgs,
    /// What happens to bad rows.
    #[command(flatten)]
    pub(crate) bad_rows: BadRowArgs,
    /// The folder of the model to optimise, usually the fine-tuned one
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The folder of the reward model
    #[arg(long, value_name = "DIR")]
    pub(crate) reward: PathBuf,
    /// Files of prompts
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(crate) prompts: Vec<PathBuf>,
    /// Files of text for the pre-training term, as ppo.ptx_coef says
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) pretraining_data: Vec<PathBuf>,
}

/// `rlhf eval`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EvalArgs {
    /// What to measure
    #[arg(value_name = "SUITE")]
    pub(crate) suite: String,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// How the data are read.
    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
    /// The folder of the model
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,
    /// The folder of a reward model that is measured on the model's answers too (suites world and
    /// world-base)
    #[arg(long, value_name = "DIR")]
    pub(crate) reward: Option<PathBuf>,
    /// Draws N answers to each prompt and keeps the one that the reward model scores highest
    #[arg(long, value_name = "N", requires = "reward", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) best_of: Option<u64>,
    /// Files of the suite's rows
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) data: Vec<PathBuf>,
}
