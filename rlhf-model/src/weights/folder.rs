//! Whole model folders: `config.json`, `model.safetensors`, `generation_config.json`.

use super::read::WeightFiles;
use super::write::{write_file, write_weights};
use super::{NamedParameters, WeightType};
use crate::config::{GenerationJson, architectures};
use crate::parameters::{ParameterSource, score_spec, transformer_specs};
use crate::{ModelConfig, ModelError, ScoreModel, Transformer};
use burn::tensor::Device;
use serde_json::{Map, Value};
use std::path::Path;

/// Reads a language model's folder: `config.json`, `model.safetensors` (or the files of its
/// index) and, for further end tokens, `generation_config.json`. Weights in f16 and bf16 become
/// f32. Each tensor is read from its place in the file when its turn comes: beside the weights as
/// they are held, one block of a file is in memory.
///
/// # Errors
/// [`ModelError`] names the file and what is wrong with it; all missing, unknown and misshaped
/// tensors are listed at once.
pub fn load_model(dir: &Path, device: &Device) -> Result<(Transformer, ModelConfig), ModelError> {
    let config = read_config(dir, Head::Language)?;
    let mut files = WeightFiles::open(dir)?;
    files.check(&transformer_specs(&config))?;
    let model = Transformer::build(&config, device, &mut files)?;
    Ok((model, config))
}

/// Reads a reward model's folder: as [`load_model`], with `score.weight` `[1, d]` in place of an
/// output head.
///
/// # Errors
/// As [`load_model`].
pub fn load_score_model(dir: &Path, device: &Device) -> Result<ScoreModel, ModelError> {
    let config = ModelConfig {
        tie_word_embeddings: true,
        ..read_config(dir, Head::Score)?
    };
    let mut files = WeightFiles::open(dir)?;
    let mut specs = transformer_specs(&config);
    specs.push(score_spec(&config));
    files.check(&specs)?;
    let head = files.values(&score_spec(&config))?;
    let backbone = Transformer::build(&config, device, &mut files)?;
    Ok(ScoreModel::from_parts(backbone, head))
}

/// Whether a folder's configuration says that it holds a reward model.
///
/// # Errors
/// [`ModelError`] names the file.
pub fn is_score_model(dir: &Path) -> Result<bool, ModelError> {
    let path = dir.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|e| ModelError::io(&path, e))?;
    let names = architectures(&text);
    Ok(names
        .iter()
        .any(|name| name.ends_with("ForSequenceClassification")))
}

/// Writes a language model's folder in f32, which any Hugging Face loader opens. The same weights
/// give the same bytes; each file replaces an older one in a single step. Beside the model one
/// block of a tensor is in memory.
///
/// # Errors
/// [`ModelError::Io`] names the file; [`ModelError::Config`] if `config` describes another model;
/// [`ModelError::NotFinite`] if the weights are no numbers: no file is written then.
pub fn save_model(dir: &Path, model: &Transformer, config: &ModelConfig) -> Result<(), ModelError> {
    save_model_as(dir, model, config, WeightType::F32)
}

/// As [`save_model`], with numbers of another type: what was read from such a file is written with
/// the same bits.
///
/// # Errors
/// As [`save_model`], and [`ModelError::Overflow`] by name if a number is too large for the type.
pub fn save_model_as(
    dir: &Path,
    model: &Transformer,
    config: &ModelConfig,
    kind: WeightType,
) -> Result<(), ModelError> {
    refuse_adapters(model)?;
    if model.lm_head.is_some() == config.tie_word_embeddings {
        let reason = format!("is {}, the model is not", config.tie_word_embeddings);
        return Err(ModelError::config("tie_word_embeddings", reason));
    }
    save(dir, model, (config, config.family.causal_lm()), kind)
}

/// Writes a reward model's folder, its family's sequence classifier with one label.
///
/// # Errors
/// As [`save_model`].
pub fn save_score_model(
    dir: &Path,
    model: &ScoreModel,
    config: &ModelConfig,
) -> Result<(), ModelError> {
    save_score_model_as(dir, model, config, WeightType::F32)
}

/// As [`save_score_model`], with numbers of another type.
///
/// # Errors
/// As [`save_model_as`].
pub fn save_score_model_as(
    dir: &Path,
    model: &ScoreModel,
    config: &ModelConfig,
    kind: WeightType,
) -> Result<(), ModelError> {
    refuse_adapters(&model.backbone)?;
    save(dir, model, (config, config.family.classifier()), kind)
}

/// A folder of whole weights has no place for adapters.
fn refuse_adapters(model: &Transformer) -> Result<(), ModelError> {
    if model.has_adapters() {
        let reason = "the model has adapters: merge them first, or save them alone";
        return Err(ModelError::config("lora", reason));
    }
    Ok(())
}

fn save<M: NamedParameters>(
    dir: &Path,
    model: &M,
    (config, architecture): (&ModelConfig, &str),
    kind: WeightType,
) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(|e| ModelError::io(dir, e))?;
    write_weights(&dir.join("model.safetensors"), model, kind)?;
    let ids = config
        .token_id_json()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    write_json(&dir.join("generation_config.json"), ids.collect())?;
    let mut json = config.to_json(architecture);
    json.insert("torch_dtype".to_owned(), kind.name().into());
    write_json(&dir.join("config.json"), json)
}

pub(super) fn write_json(path: &Path, map: Map<String, Value>) -> Result<(), ModelError> {
    let text = serde_json::to_string_pretty(&map).map_err(|e| ModelError::Json {
        path: path.to_owned(),
        reason: e.to_string(),
    })?;
    write_file(path, |file| {
        writeln!(file, "{text}").map_err(|e| ModelError::io(path, e))
    })
}

/// The configuration of a language model's folder, with the end tokens of its generation
/// settings.
///
/// # Errors
/// [`ModelError`] names the file and what is wrong with it.
pub fn read_model_config(dir: &Path) -> Result<ModelConfig, ModelError> {
    read_config(dir, Head::Language)
}

/// What stands on the trunk.
#[derive(Clone, Copy, PartialEq)]
enum Head {
    Language,
    Score,
}

/// The checked configuration of a folder that should hold a model with this head, with the end
/// tokens of its generation settings.
fn read_config(dir: &Path, head: Head) -> Result<ModelConfig, ModelError> {
    let path = dir.join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|e| ModelError::io(&path, e))?;
    let mut config = ModelConfig::read(&path, &text).map_err(|e| e.in_file(&path))?;
    let names = architectures(&text);
    let (architecture, supported) = match head {
        Head::Language => (
            config.family.causal_lm(),
            "a language model here (this folder holds a reward model)",
        ),
        Head::Score => (
            config.family.classifier(),
            "a sequence classifier here (this folder holds a language model)",
        ),
    };
    if let Some(name) = names.iter().find(|name| *name != architecture) {
        let (field, found) = ("architectures", name.clone());
        return Err(ModelError::Unsupported {
            field,
            found,
            supported,
        }
        .in_file(&path));
    }
    let path = dir.join("generation_config.json");
    if !path.exists() {
        return Ok(config);
    }
    let text = std::fs::read_to_string(&path).map_err(|e| ModelError::io(&path, e))?;
    let generation: GenerationJson = serde_json::from_str(&text).map_err(|e| ModelError::Json {
        path: path.clone(),
        reason: e.to_string(),
    })?;
    for id in generation.eos_token_ids() {
        if !config.eos_token_id.contains(&id) {
            config.eos_token_id.push(id);
        }
    }
    config.validate().map_err(|e| e.in_file(&path))?;
    Ok(config)
}

#[cfg(test)]
mod tests;
