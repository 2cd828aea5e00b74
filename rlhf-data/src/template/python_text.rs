//! Python's methods of text where the template engine's own collection lacks them or differs.

use super::engine::invalid;
use minijinja::Error;
use minijinja::value::{Value, from_args};

/// What the method of that name gives; none where it is not one of these.
pub(super) fn method(text: &str, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let result = match name {
        "strip" | "lstrip" | "rstrip" => strip(text, name, args),
        "isspace" => none(args).map(|()| Value::from(!text.is_empty() && text.chars().all(blank))),
        "split" if args.iter().all(Value::is_none) => Ok(words(text)),
        "rsplit" => rsplit(text, args),
        "partition" => separator(args).map(|by| match text.split_once(&*by) {
            Some((before, after)) => tuple([before, &by, after]),
            None => tuple([text, "", ""]),
        }),
        "rpartition" => separator(args).map(|by| match text.rsplit_once(&*by) {
            Some((before, after)) => tuple([before, &by, after]),
            None => tuple(["", "", text]),
        }),
        "removeprefix" => one(args).map(|p| Value::from(text.strip_prefix(&*p).unwrap_or(text))),
        "removesuffix" => one(args).map(|p| Value::from(text.strip_suffix(&*p).unwrap_or(text))),
        "title" => none(args).map(|()| Value::from(title(text))),
        "swapcase" => none(args).map(|()| Value::from(swapcase(text))),
        _ => return None,
    };
    Some(result)
}

/// The filter `trim`, which is the method `strip`.
pub(super) fn trim(value: &Value, characters: Option<Value>) -> Result<Value, Error> {
    let text = value.to_string();
    strip(&text, "strip", characters.as_slice())
}

/// White space to Python: Unicode's, and the four separators of ASCII.
fn blank(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn strip(text: &str, name: &str, args: &[Value]) -> Result<Value, Error> {
    let (characters,): (Option<String>,) = from_args(args)?;
    let goes = |c: char| {
        characters
            .as_ref()
            .map_or_else(|| blank(c), |these| these.contains(c))
    };
    let start = if name == "rstrip" {
        text
    } else {
        text.trim_start_matches(goes)
    };
    let rest = if name == "lstrip" {
        start
    } else {
        start.trim_end_matches(goes)
    };
    Ok(Value::from(rest))
}

fn words(text: &str) -> Value {
    let words = text.split(blank).filter(|word| !word.is_empty());
    words.map(Value::from).collect()
}

fn rsplit(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (by, most): (Option<String>, Option<i64>) = from_args(args)?;
    let by = by.map(not_empty).transpose()?;
    let most = most.and_then(|most| usize::try_from(most).ok());
    let limit = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let mut parts: Vec<Value> = match &by {
        Some(by) => text.rsplitn(limit, by.as_str()).map(Value::from).collect(),
        None if most.is_none() => return Ok(words(text)),
        None => {
            let mut rest = text.trim_end_matches(blank);
            let mut parts = Vec::new();
            while let Some((at, space)) = rest.char_indices().rfind(|(_, c)| blank(*c)) {
                if parts.len() + 1 == limit {
                    break;
                }
                parts.push(Value::from(&rest[at + space.len_utf8()..]));
                rest = rest[..at].trim_end_matches(blank);
            }
            let last = Some(rest).filter(|rest| !rest.is_empty());
            parts.into_iter().chain(last.map(Value::from)).collect()
        }
    };
    parts.reverse();
    Ok(Value::from(parts))
}

fn swapcase(text: &str) -> String {
    let swap = |c: char| -> String {
        if c.is_uppercase() {
            c.to_lowercase().collect()
        } else {
            c.to_uppercase().collect()
        }
    };
    text.chars().map(swap).collect()
}

/// Every letter that follows no letter is a capital, as in `It'S`.
fn title(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

fn tuple(parts: [&str; 3]) -> Value {
    Value::from(<(Value, Value, Value)>::from(parts.map(Value::from)))
}

fn one(args: &[Value]) -> Result<String, Error> {
    from_args::<(String,)>(args).map(|(text,)| text)
}

/// One text, which must not be empty.
fn separator(args: &[Value]) -> Result<String, Error> {
    one(args).and_then(not_empty)
}

fn not_empty(separator: String) -> Result<String, Error> {
    if separator.is_empty() {
        return Err(invalid("empty separator"));
    }
    Ok(separator)
}

fn none(args: &[Value]) -> Result<(), Error> {
    from_args::<()>(args)
}
