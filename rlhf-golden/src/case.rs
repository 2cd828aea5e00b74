//! The cases of a `formulas.json`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Why a case could not be read or run.
#[derive(Debug)]
pub struct GoldenError(pub String);

impl std::fmt::Display for GoldenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GoldenError {}

/// The folder with `formulas.json`: `RLHF_GOLDEN`, or the copy in this crate.
pub fn formulas_folder() -> PathBuf {
    folder("RLHF_GOLDEN", "")
}

/// The folder with one sub-folder for each model: `RLHF_GOLDEN_MODELS`, or the copy in this crate.
pub fn models_folder() -> PathBuf {
    folder("RLHF_GOLDEN_MODELS", "models")
}

fn folder(variable: &str, inside: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(
        || {
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("reference")
                .join(inside)
        },
        PathBuf::from,
    )
}

/// The cases of one group, in the file's order.
#[derive(Debug)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// All groups of a folder's `formulas.json`, in the file's order.
///
/// # Errors
/// If the file can't be read or is not of this form.
pub fn read_groups(folder: &Path) -> Result<Vec<Group>, GoldenError> {
    let path = folder.join("formulas.json");
    let fault = |reason: String| GoldenError(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|e| fault(e.to_string()))?;
    let groups: Map<String, Value> =
        serde_json::from_str(&text).map_err(|e| fault(e.to_string()))?;
    let read = |(name, cases): (String, Value)| {
        let cases =
            serde_json::from_value(cases).map_err(|e| fault(format!("group {name}: {e}")))?;
        Ok(Group { name, cases })
    };
    groups.into_iter().map(read).collect()
}

/// One case. It remembers which inputs and parameters were asked for, so that a run that overlooked
/// one can be told from a run that used all.
#[derive(Debug, Deserialize)]
pub struct Case {
    /// Unique in its group.
    pub name: String,
    /// Which formula.
    pub kind: String,
    inputs: Map<String, Value>,
    params: Map<String, Value>,
    /// What has to come out.
    pub expected: Map<String, Value>,
    #[serde(skip)]
    asked: RefCell<BTreeSet<String>>,
}

impl Case {
    /// The input or parameter of this name, as it stands in the file; none where it is absent.
    pub fn find(&self, name: &str) -> Option<&Value> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.inputs.get(name).or_else(|| self.params.get(name))
    }

    /// The input or parameter of this name, as it stands in the file.
    ///
    /// # Errors
    /// If there is none.
    pub fn value(&self, name: &str) -> Result<&Value, GoldenError> {
        self.find(name)
            .ok_or_else(|| GoldenError(format!("no input or parameter {name:?}")))
    }

    /// The input or parameter of this name as a T; an `Option` takes null.
    ///
    /// # Errors
    /// If there is none or it has another form.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T, GoldenError> {
        let value = self.value(name)?.clone();
        serde_json::from_value(value).map_err(|e| GoldenError(format!("{name}: {e}")))
    }

    /// Says that inputs or parameters are known to change nothing.
    pub fn without_effect(&self, names: &[&str]) {
        self.asked
            .borrow_mut()
            .extend(names.iter().map(|&name| name.to_owned()));
    }

    /// Inputs and parameters that nobody asked for.
    pub fn overlooked(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        let names = self.inputs.keys().chain(self.params.keys());
        names
            .filter(|name| !asked.contains(*name))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        serde_json::from_str(
            r#"{"name": "n", "kind": "k", "inputs": {"x": [1, 2]}, "params": {"clip": null},
                "expected": {"y": 1.0}}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_was_not_asked_for_is_reported() {
        let case = case();
        assert_eq!(case.get::<Vec<f64>>("x").unwrap(), [1.0, 2.0]);
        assert_eq!(case.overlooked(), ["clip"]);
        assert_eq!(case.get::<Option<f64>>("clip").unwrap(), None);
        assert!(case.overlooked().is_empty());
    }

    #[test]
    fn a_missing_or_misshapen_input_is_an_error_with_its_name() {
        let error = case().get::<f64>("z").unwrap_err().to_string();
        assert!(error.contains("\"z\""), "{error}");
        let error = case().get::<f64>("x").unwrap_err().to_string();
        assert!(error.starts_with("x: "), "{error}");
    }

    #[test]
    fn the_copy_in_this_crate_is_complete() {
        let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference");
        let groups = read_groups(&reference).unwrap();
        assert_eq!(groups.len(), 14);
        assert_eq!(
            groups.iter().map(|group| group.cases.len()).sum::<usize>(),
            245
        );
        let missing = read_groups(&reference.join("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(missing.contains("formulas.json"), "{missing}");
    }
}
