//! What is wrong with a configuration.

use crate::error::CliError;

/// One thing that is wrong, said with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    message: String,
    suggestion: Option<String>,
}

impl Problem {
    /// A finding without a suggestion.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), suggestion: None }
    }

    /// Adds what was probably meant.
    pub(super) fn suggest(self, suggestion: Option<String>) -> Self {
        Self { suggestion, ..self }
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
    let mut error = CliError::usage(lines.join("\n"));
    let mut suggestions: Vec<String> = problems.into_iter().filter_map(|p| p.suggestion).collect();
    suggestions.dedup();
    error.hints = suggestions;
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
