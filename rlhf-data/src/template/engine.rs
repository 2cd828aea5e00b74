//! Jinja with what transformers adds to it, as Python behaves.

use super::python_text;
use crate::python_json::Dumps;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::{globals, pycompat};

/// More than any template asks for, and little enough to be repeated at every level.
const WIDEST_INDENT: usize = 80;

/// The environment in which chat templates are compiled.
pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax?);
    environment.set_unknown_method_callback(method);
    environment.add_function(
        "raise_exception",
        |message: Value| -> Result<Value, Error> { Err(invalid(message.to_string())) },
    );
    environment.add_function("cycler", globals::cycler);
    environment.add_function("joiner", globals::joiner);
    environment.add_filter("tojson", tojson);
    environment.add_filter("trim", python_text::trim);
    // To the engine none is an empty sequence, and neither text nor mappings are sequences.
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_test("sequence", |value: &Value| {
        let kinds = [
            ValueKind::Seq,
            ValueKind::String,
            ValueKind::Map,
            ValueKind::Undefined,
        ];
        kinds.contains(&value.kind())
    });
    Ok(environment)
}

fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match value
        .as_str()
        .and_then(|text| python_text::method(text, name, args))
    {
        Some(result) => result,
        None => pycompat::unknown_method_callback(state, value, name, args),
    }
}

fn tojson(value: Value, options: Kwargs) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(invalid("an undefined value can't be written as JSON"));
    }
    let indent: Option<Value> = options.get("indent")?;
    let indent = match indent.filter(|v| !v.is_none()) {
        None => None,
        Some(text) if text.kind() == ValueKind::String => Some(text.to_string()),
        Some(width) => {
            let width: usize = width.try_into()?;
            if width > WIDEST_INDENT {
                return Err(invalid("tojson can't indent that far"));
            }
            Some(" ".repeat(width))
        }
    };
    let separators: Option<Vec<String>> = options.get("separators")?;
    let separators = match separators.as_deref() {
        None => None,
        Some([between, behind_key]) => Some((between.clone(), behind_key.clone())),
        Some(_) => return Err(invalid("tojson takes two separators")),
    };
    let dumps = Dumps {
        indent,
        separators,
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        ensure_ascii: options
            .get::<Option<bool>>("ensure_ascii")?
            .unwrap_or(false),
    };
    options.assert_all_used()?;
    let json = serde_json::to_value(&value).map_err(|e| invalid(e.to_string()))?;
    Ok(Value::from(dumps.to_string(&json)))
}

pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}
