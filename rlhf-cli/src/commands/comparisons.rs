//! Preference rows as the stages that learn from comparisons read them.

use crate::commands::stage::note_skipped;
use crate::error::CliError;
use crate::session::Session;
use rlhf_data::{Comparison, DataSet, OnBadRow, group_comparisons, load_preferences};

/// The comparisons of some files, encoded. An answer that does not fit is a bad row; it is never
/// cut.
///
/// # Errors
/// If a file can't be read or, unless bad rows are skipped, a row can't be used.
pub(crate) fn load_encoded<T, E: Into<CliError>>(
    (session, stage): (&Session, &str),
    data: &DataSet,
    on_bad_row: OnBadRow,
    encode: impl Fn(&[Comparison]) -> Result<Vec<T>, E>,
) -> Result<Vec<T>, CliError> {
    let loaded = load_preferences(data, on_bad_row)?;
    let mut comparisons = group_comparisons(loaded.rows);
    let all = comparisons.len();
    if on_bad_row == OnBadRow::Skip {
        comparisons.retain(|comparison| encode(std::slice::from_ref(comparison)).is_ok());
    }
    note_skipped(session, stage, loaded.skipped + all - comparisons.len());
    encode(&comparisons).map_err(Into::into)
}
