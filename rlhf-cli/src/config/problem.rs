//! What is wrong with a configuration.

use crate::error::CliError;

/// One thing that is wrong, said with its place and, where it is clear, with what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    message: String,
}

impl Problem {
    /// A finding.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// Nothing, or one error that names them all.
///
/// # Errors
/// If there is a problem.
pub(crate) fn refuse(problems: Vec<Problem>) -> Result<(), CliError> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
    let error = CliError::usage(lines.join("\n"));
    Err(error.hint("`rlhf config show run` prints every key with its value"))
}

/// The candidate closest to what was typed, if it is close.
pub(super) fn closest<'a>(
    typed: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = candidates.map(|c| (strsim::damerau_levenshtein(typed, c), c));
    let (distance, best) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= (typed.chars().count() / 3).max(2)).then_some(best)
}
