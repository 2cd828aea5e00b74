//! Fields that a file has under other names than its format.

use crate::error::DataError;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The names that formats read.
const KNOWN: [&str; 43] = [
    "annotator1",
    "annotator2",
    "annotator3",
    "best_answer",
    "chosen",
    "chosen_rating",
    "chosen_response",
    "chosen_score",
    "completion",
    "completions",
    "conversations",
    "correct_answers",
    "history",
    "incorrect_answers",
    "input",
    "instruction",
    "instruction_id_list",
    "kto_tag",
    "kwargs",
    "label",
    "messages",
    "metadata",
    "output",
    "prompt",
    "question",
    "reference",
    "rejected",
    "rejected_rating",
    "rejected_response",
    "rejected_score",
    "response",
    "response1",
    "response2",
    "score_chosen",
    "score_rejected",
    "system",
    "target_scores",
    "targets",
    "text",
    "tokens",
    "tools",
    "turns",
    "finish",
];

/// Names of a format's fields, each with the field that stands for it in the file. Clones share
/// the note of which ones found their field.
#[derive(Debug, Clone, Default)]
pub struct Renames(Arc<[Rename]>);

#[derive(Debug)]
struct Rename {
    name: String,
    field: String,
    found: AtomicBool,
}

impl Renames {
    /// Reads `NAME=FIELD`: the format's name and the file's. `FIELD` may lead into objects, as in
    /// `answers.best`; with nothing after the `=`, the field `NAME` is left out.
    ///
    /// # Errors
    /// [`DataError::Rename`] if one is not of this form, names no field of any format, or a name
    /// is given twice.
    pub fn parse<S: AsRef<str>>(maps: &[S]) -> Result<Self, DataError> {
        let mut renames: Vec<Rename> = Vec::new();
        for map in maps {
            let map = map.as_ref();
            let refused = |reason: String| DataError::Rename {
                map: map.to_owned(),
                reason,
            };
            let Some((name, field)) = map.split_once('=') else {
                return Err(refused("NAME=FIELD is wanted".into()));
            };
            if !KNOWN.contains(&name) {
                let reason = format!(
                    "no format has a field `{name}`; they have {}",
                    KNOWN.join(", ")
                );
                return Err(refused(reason));
            }
            if renames.iter().any(|rename| rename.name == name) {
                return Err(refused(format!("`{name}` is given twice")));
            }
            renames.push(Rename {
                name: name.to_owned(),
                field: field.to_owned(),
                found: AtomicBool::new(false),
            });
        }
        Ok(Self(renames.into()))
    }

    /// Whether no field has another name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a row's fields the names of its format. A row without the field stays as it is.
    pub(crate) fn apply(&self, mut row: Map<String, Value>) -> Map<String, Value> {
        // All are taken before any is put, so that two can change places.
        let mut taken = Vec::new();
        for rename in self.0.iter() {
            let found = if rename.field.is_empty() {
                row.shift_remove(&rename.name).map(|_| None)
            } else {
                take(&mut row, &rename.field).map(Some)
            };
            if let Some(value) = found {
                rename.found.store(true, Ordering::Relaxed);
                taken.extend(value.map(|value| (rename.name.clone(), value)));
            }
        }
        row.extend(taken);
        row
    }

    /// Refuses names whose field no row had: a slip of the pen must not pass unseen.
    pub(crate) fn refuse_unused(&self) -> Result<(), DataError> {
        let unused = self.0.iter().find(|r| !r.found.load(Ordering::Relaxed));
        let Some(Rename { name, field, .. }) = unused else {
            return Ok(());
        };
        let missing = if field.is_empty() { name } else { field };
        Err(DataError::Rename {
            map: format!("{name}={field}"),
            reason: format!("no row has a field `{missing}`"),
        })
    }

    /// The renames in one line, for what depends on them.
    pub(crate) fn describe(&self) -> String {
        let one = |r: &Rename| format!("{}={}", r.name, r.field);
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// The value of a field, out of the row; one within objects is copied.
fn take(row: &mut Map<String, Value>, field: &str) -> Option<Value> {
    if let Some(value) = row.shift_remove(field) {
        return Some(value);
    }
    let (first, rest) = field.split_once('.')?;
    let mut value = row.get(first)?;
    for part in rest.split('.') {
        value = value.get(part)?;
    }
    Some(value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn apply(maps: &[&str], row: Value) -> Value {
        let renames = Renames::parse(maps).unwrap();
        Value::Object(renames.apply(row.as_object().cloned().unwrap()))
    }

    #[test]
    fn fields_get_the_names_of_the_format() {
        let row = json!({"q": "p", "chosen": "a", "rejected": "b", "x": {"y": [1]}, "tools": "t"});
        let maps = [
            "prompt=q",
            "chosen=rejected",
            "rejected=chosen",
            "metadata=x.y",
            "tools=",
        ];
        let wanted = json!({"x": {"y": [1]}, "prompt": "p", "chosen": "b", "rejected": "a",
                            "metadata": [1]});
        assert_eq!(apply(&maps, row), wanted);
        assert_eq!(
            apply(&["prompt=q"], json!({"prompt": "p"})),
            json!({"prompt": "p"})
        );
        assert_eq!(
            apply(&["prompt=a.b"], json!({"a.b": 1})),
            json!({"prompt": 1})
        );
    }

    #[test]
    fn a_slip_is_named() {
        let refused = |maps: &[&str]| Renames::parse(maps).unwrap_err().to_string();
        assert!(refused(&["prompt"]).contains("NAME=FIELD"));
        assert!(refused(&["promt=q"]).contains("no format has a field `promt`"));
        assert!(refused(&["text=a", "text=b"]).contains("twice"));
        let renames = Renames::parse(&["text=a", "prompt=b"]).unwrap();
        renames
            .clone()
            .apply(json!({"a": 1}).as_object().cloned().unwrap());
        let unused = renames.refuse_unused().unwrap_err().to_string();
        assert!(
            unused.contains("prompt=b") && unused.contains("`b`"),
            "{unused}"
        );
        assert!(Renames::default().refuse_unused().is_ok());
    }
}
