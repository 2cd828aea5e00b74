//! One layer of settings: where it came from, what it says, and what is wrong with it.

mod place;

use super::problem::{Problem, closest};
use crate::args::Override;
use crate::error::CliError;
use place::Origin;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::{Table, Value};

/// Some settings and where they were written.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    origin: Origin,
    /// The settings.
    pub(crate) table: Table,
}

impl Layer {
    /// A file's settings.
    ///
    /// # Errors
    /// If it can't be read or is not TOML.
    pub(crate) fn file(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|e| CliError::io(path, &e))?;
        Self::text(&path.display().to_string(), &text)
    }

    /// The settings of a text with a name.
    ///
    /// # Errors
    /// If it is not TOML.
    pub(crate) fn text(name: &str, text: &str) -> Result<Self, CliError> {
        let table = text.parse::<Table>().map_err(|e| {
            let line = e.span().map_or(1, |span| place::line_of(text, span.start));
            let error = CliError::usage(format!("{name}:{line}: not TOML: {}", e.message()));
            error.hint("a line reads `key = value` under a `[section]`; text stands in quotes")
        })?;
        Ok(Self {
            origin: Origin::text(name, text),
            table,
        })
    }

    /// What an environment variable sets.
    pub(crate) fn environment(variable: &str, key: &str, value: &str) -> Self {
        let table = Table::from_iter([(key.to_owned(), Value::String(value.to_owned()))]);
        Self {
            origin: Origin::Typed(format!("{variable}={value}")),
            table,
        }
    }

    /// What one `--set`, or a flag that equals one, sets. A value that is no TOML is text.
    ///
    /// # Errors
    /// If it is not `key=value`.
    pub(crate) fn setting(setting: &Override) -> Result<Self, CliError> {
        let refuse = |reason: &str| {
            let error = CliError::usage(format!("{}: {reason}", setting.typed));
            Err(error.hint("write `--set section.key=value`, such as `--set ppo.steps=40`"))
        };
        let Some((key, value)) = setting.setting.split_once('=') else {
            return refuse("there is no `=`");
        };
        let path: Vec<&str> = key.split('.').map(str::trim).collect();
        let value = value.trim();
        if value.is_empty() {
            return refuse("there is no value behind the `=`");
        }
        if path.iter().any(|part| part.is_empty()) {
            return refuse("there is no key before the `=`");
        }
        let table = nest(&path, parse_value(value));
        Ok(Self {
            origin: Origin::Typed(setting.typed.clone()),
            table,
        })
    }

    /// Unknown keys and unusable values, against the table of the defaults.
    pub(crate) fn problems(&self, defaults: &Table) -> Vec<Problem> {
        let mut problems = Vec::new();
        self.check(
            &self.table,
            defaults,
            (&mut Vec::new(), defaults),
            &mut problems,
        );
        problems
    }

    fn check(
        &self,
        table: &Table,
        known: &Table,
        (path, all): (&mut Vec<String>, &Table),
        problems: &mut Vec<Problem>,
    ) {
        for (key, value) in table {
            path.push(key.clone());
            match (known.get(key), value) {
                (None, _) => problems.push(self.unknown(path, known, all)),
                (Some(Value::Table(known)), Value::Table(table)) => {
                    self.check(table, known, (path, all), problems);
                }
                (Some(wanted), found) => problems.extend(self.unusable(path, wanted, found)),
            }
            path.pop();
        }
    }

    fn unknown(&self, path: &[String], known: &Table, all: &Table) -> Problem {
        let (key, section) = path
            .split_last()
            .map_or(("", path), |(k, s)| (k.as_str(), s));
        let what = match section {
            [] => format!("unknown key or section `{key}`"),
            section => format!("unknown key `{key}` in [{}]", section.join(".")),
        };
        let meant = closest(key, known.keys().map(String::as_str));
        let meant = match meant {
            Some(meant) => vec![format!("`{meant}`")],
            None => places_of(key, all, ""),
        };
        let suggestion = match meant.as_slice() {
            [] => String::new(),
            meant => format!("; did you mean {}?", meant.join(" or ")),
        };
        Problem::new(format!("{}: {what}{suggestion}", self.origin.place(path)))
    }

    /// Compares the kind with that of the default, then asks the section itself.
    fn unusable(&self, path: &[String], wanted: &Value, found: &Value) -> Option<Problem> {
        let place = self.origin.place(path);
        let key = path.join(".");
        let fits = wanted.same_type(found) || (wanted.is_float() && found.is_integer());
        if !fits {
            let (wanted, found) = (kind(wanted), shown(found));
            return Some(Problem::new(format!(
                "{place}: `{key}` wants {wanted}, found {found}"
            )));
        }
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let alone = super::Config::deserialize(nest(&path, found.clone())).err()?;
        let reason = alone
            .message()
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        Some(Problem::new(format!("{place}: `{key}`: {reason}")))
    }
}

/// Lays one table over another, key by key.
pub(super) fn merge(below: &mut Table, above: &Table) {
    for (key, value) in above {
        match (below.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            _ => drop(below.insert(key.clone(), value.clone())),
        }
    }
}

/// Settings as a table.
///
/// # Errors
/// If a number is beyond what TOML can hold.
pub(super) fn table_of(value: &impl Serialize) -> Result<Table, CliError> {
    Table::try_from(value).map_err(|e| {
        let error = CliError::usage(format!("configuration: {e}"));
        error.hint("TOML's whole numbers end at 2^63 − 1")
    })
}

fn nest(path: &[&str], value: Value) -> Table {
    let mut path = path.iter().rev();
    let last = path
        .next()
        .map_or_else(String::new, |key| (*key).to_owned());
    path.fold(Table::from_iter([(last, value)]), |inner, key| {
        Table::from_iter([((*key).to_owned(), Value::Table(inner))])
    })
}

fn parse_value(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let only = parsed
        .filter(|table| table.len() == 1)
        .and_then(|mut t| t.remove("value"));
    only.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The full names of a key that other sections have.
fn places_of(key: &str, table: &Table, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in table {
        if let Value::Table(inner) = value {
            found.extend(places_of(key, inner, &format!("{prefix}{name}.")));
        } else if name == key {
            found.push(format!("`{prefix}{name}`"));
        }
    }
    found
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section of keys",
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Table(_) => "a section of keys".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("the text {text:?}"),
        other => format!("{other}"),
    }
}
