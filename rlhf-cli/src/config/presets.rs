//! The sets of settings that come with the program.

use super::Layer;
use crate::error::CliError;

/// Name and TOML of each preset. The first is used when none is named.
pub(super) const PRESETS: [(&str, &str); 2] = [
    ("default", include_str!("../../presets/default.toml")),
    ("quick", include_str!("../../presets/quick.toml")),
];

/// The layer of a preset.
///
/// # Errors
/// If there is none of this name.
pub(crate) fn preset(name: Option<&str>) -> Result<Layer, CliError> {
    let name = name.unwrap_or(PRESETS[0].0);
    match PRESETS.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Layer::text(&format!("preset {name}"), text),
        None => {
            let names: Vec<&str> = PRESETS.iter().map(|(known, _)| *known).collect();
            let error = CliError::usage(format!("--preset {name}: there is no such preset"));
            Err(error.hint(format!("presets: {}", names.join(", "))))
        }
    }
}
