//! The one error of the program: what people read, and the exit code that scripts read.

use rlhf_data::DataError;
use rlhf_eval::EvalError;
use rlhf_model::ModelError;
use rlhf_ppo::PpoError;
use rlhf_reward::RewardError;
use rlhf_train::TrainError;
use rlhf_world::WorldError;
use std::fmt;
use std::io;
use std::path::Path;

/// Why the program ends before its work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitKind {
    /// Our failure or the machine's: exit code 1.
    Failure,
    /// The caller's mistake: exit code 2.
    Usage,
    /// A signal; the state is saved: exit code 130.
    Interrupted,
}

impl ExitKind {
    /// The exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
        }
    }
}

/// An error with what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    /// Whose it is.
    pub(crate) code: ExitKind,
    /// What went wrong and where. A line break starts another finding.
    pub(crate) message: String,
    /// What to do, at least one.
    pub(crate) hints: Vec<String>,
}

impl CliError {
    fn new(code: ExitKind, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    /// The caller's mistake.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitKind::Usage, message)
    }

    /// Our failure or the machine's.
    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(ExitKind::Failure, message)
    }

    /// Stopped by a signal; `what` was saved or left, and `hint` says how to go on.
    pub(crate) fn interrupted(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(ExitKind::Interrupted, what).hint(hint)
    }

    /// Adds a hint.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// An error of the system about a path. What the caller can mend by naming another path is
    /// theirs, a full or broken disk is not.
    pub(crate) fn io(path: &Path, source: &io::Error) -> Self {
        let hint = match source.kind() {
            io::ErrorKind::NotFound => "check the path; names are relative to the current folder",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "free some room and run the same command again: a started run continues"
            }
            _ => "choose a path that exists and that you may read and write",
        };
        Self::new(io_kind(source), format!("{}: {source}", path.display())).hint(hint)
    }
}

/// Whether the caller named a path that can't be used, or the machine went wrong.
fn io_kind(source: &io::Error) -> ExitKind {
    use io::ErrorKind as K;
    match source.kind() {
        K::NotFound
        | K::PermissionDenied
        | K::AlreadyExists
        | K::NotADirectory
        | K::IsADirectory
        | K::InvalidInput
        | K::InvalidFilename
        | K::InvalidData
        | K::ReadOnlyFilesystem
        | K::UnexpectedEof => ExitKind::Usage,
        _ => ExitKind::Failure,
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.code {
            ExitKind::Interrupted => "interrupted",
            _ => "error",
        };
        let indent = format!("\n{:1$}", "", label.len() + 2);
        write!(f, "{label}: {}", self.message.replace('\n', &indent))?;
        let fallback = match self.code {
            ExitKind::Usage => "`rlhf COMMAND --help` lists what a command takes",
            ExitKind::Failure => "run the same command again: a started run continues",
            ExitKind::Interrupted => "run the same command again to go on",
        };
        if self.hints.is_empty() {
            write!(f, "\nhint: {fallback}")?;
        }
        self.hints
            .iter()
            .try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl From<DataError> for CliError {
    fn from(e: DataError) -> Self {
        let message = e.to_string();
        match e {
            DataError::Read { path, source } | DataError::Write { path, source } => {
                Self::io(&path, &source)
            }
            DataError::BadRow { file, .. } | DataError::UnknownFormat { file, .. } => {
                let check = format!("`rlhf data check {}` lists every bad row", file.display());
                Self::usage(message).hint(check)
            }
            DataError::Files { .. } => Self::usage(message)
                .hint("`rlhf COMMAND --help` says at its end what a FILE may be"),
            DataError::Rename { .. } => Self::usage(message)
                .hint("`--map chosen=better_answer` reads the field as `chosen`"),
            DataError::Template { .. } | DataError::Tokenizer { .. } => {
                Self::usage(message).hint("use the tokenizer files that the model came with")
            }
            _ => Self::usage(message).hint("`rlhf data check FILE` shows what a file holds"),
        }
    }
}

impl From<ModelError> for CliError {
    fn from(e: ModelError) -> Self {
        let message = e.to_string();
        match e {
            ModelError::Io { path, source } => Self::io(&path, &source),
            ModelError::Device { .. } => {
                let names = rlhf_model::device::DEVICE_NAMES;
                Self::usage(message).hint(format!("devices: {names}; `--device flex` always works"))
            }
            ModelError::Generator { .. } => Self::failure(message),
            ModelError::Logits => Self::failure(message).hint(
                "lower the learning_rate of the stage that made the model and start it over with \
                 --fresh, or fetch the model again",
            ),
            ModelError::NotFinite { .. } => Self::failure(message)
                .hint("lower the stage's learning_rate and start it over with --fresh"),
            ModelError::Prompt { .. } | ModelError::Sampling { .. } => {
                Self::usage(message).hint("shorten the prompt or change the named option")
            }
            _ => Self::usage(message).hint(
                "a model folder holds config.json, model.safetensors \
                                            and tokenizer.json that belong together",
            ),
        }
    }
}

impl From<TrainError> for CliError {
    fn from(e: TrainError) -> Self {
        let message = e.to_string();
        match e {
            TrainError::NotFinite { stage, .. } => Self::failure(message).hint(format!(
                "try `--set {stage}.learning_rate=` with a third of its value"
            )),
            TrainError::Config { key, .. } => Self::usage(message).hint(format!(
                "set it with `--set {key}=VALUE` or in a file given to --config"
            )),
            TrainError::TooLarge { stage, .. } => Self::usage(message)
                .hint(format!("`rlhf estimate {stage}` shows what needs how much")),
            TrainError::NoData { .. } => {
                Self::usage(message).hint("`rlhf data check FILE` shows what a file holds")
            }
            TrainError::Checkpoint { .. } => Self::usage(message)
                .hint("`--fresh` starts over and keeps the old folder beside the new one"),
            TrainError::Io { path, source } => Self::io(&path, &source),
            TrainError::Data(e) => e.into(),
            TrainError::Model(e) => e.into(),
            TrainError::Reward(e) => match e.downcast::<RewardError>() {
                Ok(e) => (*e).into(),
                Err(e) => Self::failure(e.to_string()),
            },
            _ => Self::failure(message),
        }
    }
}

impl From<RewardError> for CliError {
    fn from(e: RewardError) -> Self {
        match e {
            RewardError::Row { .. } => {
                Self::usage(e.to_string()).hint("add the field to the rows, or use another source")
            }
            RewardError::Data(e) => e.into(),
            RewardError::Model(e) => e.into(),
            RewardError::Train(e) => e.into(),
            _ => Self::failure(e.to_string()),
        }
    }
}

impl From<PpoError> for CliError {
    fn from(e: PpoError) -> Self {
        match e {
            PpoError::Train(e) => e.into(),
            PpoError::Reward(e) => e.into(),
            PpoError::Model(e) => e.into(),
            PpoError::Data(e) => e.into(),
            _ => Self::failure(e.to_string()),
        }
    }
}

impl From<EvalError> for CliError {
    fn from(e: EvalError) -> Self {
        match e {
            EvalError::Reward(e) => e.into(),
            EvalError::Write { path, source } => Self::io(&path, &source),
            EvalError::BadQuestion { .. } | EvalError::OtherPrompt { .. } => {
                Self::usage(e.to_string()).hint("`rlhf data show` prints a file's rows")
            }
            _ => Self::failure(e.to_string()),
        }
    }
}

impl From<WorldError> for CliError {
    fn from(e: WorldError) -> Self {
        let message = e.to_string();
        match e {
            WorldError::Setting { key, .. } => {
                Self::usage(message).hint(format!("set it with `--set world.{key}=VALUE`"))
            }
            WorldError::Task { .. } => {
                Self::usage(message).hint("`rlhf data world --out DIR` writes such rows")
            }
            WorldError::Write { path, source } => Self::io(&path, &source),
            _ => Self::failure(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_ends_in_a_hint_and_has_the_code_of_its_cause() {
        let train = |e: TrainError| CliError::from(e);
        let nan = TrainError::NotFinite {
            stage: "sft".into(),
            step: 3,
            what: "loss",
            rows: "1".into(),
        };
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let absent = io::Error::from(io::ErrorKind::NotFound);
        let cases = [
            (train(nan), 1, "sft.learning_rate"),
            (train(TrainError::io(Path::new("a"), full)), 1, "room"),
            (train(TrainError::io(Path::new("a"), absent)), 2, "path"),
            (
                train(TrainError::config("ppo.steps", "is bad")),
                2,
                "--set ppo.steps=",
            ),
            (CliError::usage("x"), 2, "--help"),
            (CliError::failure("x"), 1, "continues"),
            (CliError::interrupted("x", "go on"), 130, "go on"),
        ];
        for (error, code, hint) in cases {
            let text = error.to_string();
            assert_eq!(error.code.code(), code, "{text}");
            let (_, hints) = text.split_once("\nhint: ").expect("a hint");
            assert!(hints.contains(hint), "{text}");
        }
    }

    #[test]
    fn further_findings_stand_under_the_first() {
        let text = CliError::usage("one\ntwo").hint("h").to_string();
        assert_eq!(text, "error: one\n       two\nhint: h");
    }
}
