//! Tokenizer folders: reading what transformers writes, writing what it reads.

use crate::chat::{ChatTokenizer, SpecialTokens};
use crate::error::DataError;
use crate::tokenizer::Tokenizer;
use crate::write::write_atomic;
use serde_json::{Map, Value, json};
use std::io::ErrorKind;
use std::path::Path;

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";

impl ChatTokenizer {
    /// Reads `tokenizer.json`, `tokenizer_config.json` (which may be missing) and the chat
    /// template, from `chat_template.jinja` if there is one, else from the configuration.
    ///
    /// # Errors
    /// [`DataError::Read`] if `tokenizer.json` can't be read, [`DataError::TokenizerFile`] with
    /// the file's name if one is malformed.
    pub fn load(dir: &Path) -> Result<Self, DataError> {
        let path = dir.join(TOKENIZER);
        let json = std::fs::read(&path).map_err(|source| DataError::Read {
            path: path.clone(),
            source,
        })?;
        let tokenizer = Tokenizer::from_bytes(&json).map_err(|e| in_file(&path, &e))?;
        let config_path = dir.join(CONFIG);
        let config = match read_if_there(&config_path)? {
            None => Map::new(),
            Some(text) => serde_json::from_str(&text)
                .map_err(|e| malformed(&config_path, format!("not a JSON object: {e}")))?,
        };
        let special = SpecialTokens {
            bos: token_name(&config, "bos_token", &config_path)?,
            eos: token_name(&config, "eos_token", &config_path)?,
            pad: token_name(&config, "pad_token", &config_path)?,
        };
        let mut further = Vec::new();
        for name in ["unk_token", "sep_token", "cls_token", "mask_token"] {
            further.extend(token_name(&config, name, &config_path)?.map(|token| (name, token)));
        }
        let template_path = dir.join(TEMPLATE);
        let file = read_if_there(&template_path)?;
        let template_file = file.is_some();
        let template = match file {
            Some(template) => Some(template),
            None => template_in(&config, &config_path)?,
        };
        let source = if template_file {
            &template_path
        } else {
            &config_path
        };
        let mut chat = Self::assemble(tokenizer, template.as_deref(), special, &further)
            .map_err(|e| in_file(source, &e))?;
        chat.template = chat.template.map(|template| template.read_from(source));
        chat.folder = Some(dir.to_owned());
        chat.config = config;
        chat.template_file = template_file;
        Ok(chat)
    }

    /// Writes a folder that [`load`](Self::load) and transformers' `AutoTokenizer` open, creating
    /// it if need be: `tokenizer.json`, `tokenizer_config.json` and, if the template came from a
    /// file of its own, `chat_template.jinja`. The same tokenizer gives the same bytes.
    ///
    /// # Errors
    /// [`DataError::Write`] with the file's name.
    pub fn save(&self, dir: &Path) -> Result<(), DataError> {
        let unwritten = |path: &Path, source| DataError::Write {
            path: path.to_owned(),
            source,
        };
        std::fs::create_dir_all(dir).map_err(|e| unwritten(dir, e))?;
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            write_atomic(&path, text.as_bytes()).map_err(|e| unwritten(&path, e))
        };
        write(TOKENIZER, &self.tokenizer().to_json())?;
        let template_path = dir.join(TEMPLATE);
        match self.template().filter(|_| self.template_file) {
            Some(template) => write(TEMPLATE, template.source())?,
            // A file left from before would override the configuration.
            None => match std::fs::remove_file(&template_path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(unwritten(&template_path, e));
                }
                _ => {}
            },
        }
        let config = Value::Object(self.written_config());
        write(CONFIG, &format!("{config:#}\n"))
    }

    fn written_config(&self) -> Map<String, Value> {
        let special = self.special_tokens();
        let mut config = self.config.clone();
        config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
        config.insert("bos_token".into(), json!(special.bos));
        config.insert("eos_token".into(), json!(special.eos));
        config.insert("pad_token".into(), json!(special.pad));
        config.insert("clean_up_tokenization_spaces".into(), json!(false));
        match self.template().filter(|_| !self.template_file) {
            Some(template) => config.insert("chat_template".into(), json!(template.source())),
            None => config.shift_remove("chat_template"),
        };
        config
    }
}

fn malformed(path: &Path, reason: String) -> DataError {
    DataError::TokenizerFile {
        path: path.to_owned(),
        reason,
    }
}

fn in_file(path: &Path, error: &DataError) -> DataError {
    malformed(path, error.to_string())
}

fn read_if_there(path: &Path) -> Result<Option<String>, DataError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// A special token's name: text, or an object with its `content`.
fn token_name(
    config: &Map<String, Value>,
    field: &str,
    path: &Path,
) -> Result<Option<String>, DataError> {
    match config.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone())),
        Some(other) => match other.get("content").and_then(Value::as_str) {
            Some(name) => Ok(Some(name.to_owned())),
            None => Err(malformed(
                path,
                format!("field `{field}`: text or null is wanted"),
            )),
        },
    }
}

/// The template in the configuration: text, or a list of named ones, of which the default counts.
fn template_in(config: &Map<String, Value>, path: &Path) -> Result<Option<String>, DataError> {
    match config.get("chat_template") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(template)) => Ok(Some(template.clone())),
        Some(Value::Array(named)) => Ok(named
            .iter()
            .find(|entry| entry["name"] == "default")
            .and_then(|entry| entry["template"].as_str())
            .map(str::to_owned)),
        Some(_) => Err(malformed(
            path,
            "field `chat_template`: text is wanted".into(),
        )),
    }
}

#[cfg(test)]
#[path = "chat_folder/tests.rs"]
mod tests;
