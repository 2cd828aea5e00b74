//! What an exported folder keeps of the folder it came from.

use crate::error::CliError;
use rlhf_data::write_atomic;
use rlhf_model::WeightType;
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// Files that say nothing of the weights and are copied byte for byte.
const FILES: [&str; 9] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
];

/// Puts the files of `source` in the place of those that were written into `dir`; of `config.json`
/// only the type of the numbers changes.
///
/// # Errors
/// If a file can't be read or written.
pub(super) fn keep_files(source: &Path, dir: &Path, kind: WeightType) -> Result<(), CliError> {
    for name in FILES {
        let path = source.join(name);
        if path.exists() {
            let bytes = fs::read(&path).map_err(|e| CliError::io(&path, &e))?;
            write(&dir.join(name), &bytes)?;
        }
    }
    let path = source.join("config.json");
    if !path.exists() {
        return Ok(());
    }
    let text = fs::read_to_string(&path).map_err(|e| CliError::io(&path, &e))?;
    let config = serde_json::from_str(&text)
        .map_err(|e| CliError::usage(format!("{}: {e}", path.display())))?;
    let text = format!("{:#}\n", Value::Object(of_type(config, kind)));
    write(&dir.join("config.json"), text.as_bytes())
}

/// The type stands under the name that the file uses; newer files have another than older ones.
fn of_type(mut config: Map<String, Value>, kind: WeightType) -> Map<String, Value> {
    let names: Vec<&str> = ["torch_dtype", "dtype"]
        .into_iter()
        .filter(|name| config.contains_key(*name))
        .collect();
    let names = if names.is_empty() {
        vec!["torch_dtype"]
    } else {
        names
    };
    for name in names {
        config.insert(name.to_owned(), kind.name().into());
    }
    config
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    write_atomic(path, bytes).map_err(|e| CliError::io(path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_type_stands_under_the_name_that_is_used() {
        let changed = |config: Value| {
            let Value::Object(config) = config else {
                panic!("an object")
            };
            Value::Object(of_type(config, WeightType::Bf16))
        };
        assert_eq!(
            changed(json!({"dtype": "float32", "x": 1})),
            json!({"dtype": "bfloat16", "x": 1})
        );
        assert_eq!(
            changed(json!({"x": 1})),
            json!({"x": 1, "torch_dtype": "bfloat16"})
        );
        assert_eq!(
            changed(json!({"dtype": null, "torch_dtype": "float16"})),
            json!({"dtype": "bfloat16", "torch_dtype": "bfloat16"})
        );
    }
}
