//! The folders, their `golden.json`, and the list of what failed.

use rlhf_golden::{Figures, Tolerance, compare, models_folder};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What a forward pass in f32 reaches.
const TOLERANCE: Tolerance = Tolerance {
    absolute: 2e-4,
    relative: 2e-4,
};

/// How many differences of one case are told.
const MOST_TOLD: usize = 5;

/// What was run and what failed.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) model: String,
    pub(crate) device: &'static str,
    pub(crate) cases: usize,
    pub(crate) failures: Vec<String>,
    /// What was left out and why.
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn pass(&mut self) {
        self.cases += 1;
    }

    pub(crate) fn fail(&mut self, case: &str, reason: String) {
        self.cases += 1;
        self.failures
            .push(format!("{} {} {case}: {reason}", self.model, self.device));
    }

    /// Compares the figures of one case with all that its object expects, inputs left out.
    pub(crate) fn check(
        &mut self,
        case: &str,
        figures: &Figures,
        object: &Map<String, Value>,
        inputs: &[&str],
    ) {
        let mut expected = object.clone();
        inputs.iter().for_each(|name| {
            expected.shift_remove(*name);
        });
        let mut differences = compare(figures, &expected, TOLERANCE);
        if differences.is_empty() {
            return self.pass();
        }
        let count = differences.len();
        differences.truncate(MOST_TOLD);
        self.fail(
            case,
            format!("{count} differences: {}", differences.join("; ")),
        );
    }
}

/// The models' folders by name.
pub(crate) fn model_folders() -> Result<Vec<PathBuf>, String> {
    let root = models_folder();
    let fault = |e: std::io::Error| format!("{}: {e}", root.display());
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(&root).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.join("golden.json").exists() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The figures of a folder.
pub(crate) fn read_golden(dir: &Path) -> Result<Map<String, Value>, String> {
    let text = std::fs::read_to_string(dir.join("golden.json")).map_err(|e| e.to_string())?;
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// A field of a case in a given form.
pub(crate) fn field<T: DeserializeOwned>(case: &Map<String, Value>, name: &str) -> T {
    let value = case.get(name).cloned().unwrap_or_default();
    serde_json::from_value(value).unwrap_or_else(|e| panic!("field {name}: {e}"))
}

/// A 0/1 mask.
pub(crate) fn mask(case: &Map<String, Value>, name: &str) -> Vec<Vec<bool>> {
    let rows: Vec<Vec<u8>> = field(case, name);
    rows.into_iter()
        .map(|row| row.into_iter().map(|m| m == 1).collect())
        .collect()
}
