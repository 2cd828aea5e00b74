//! Adapters as PEFT's folders: `adapter_config.json` and `adapter_model.safetensors`.

use super::folder::write_json;
use super::read::read_tensors;
use super::write::{Outgoing, write_tensors};
use super::{NamedTensor, WeightType};
use crate::lora::{LoraAdapter, LoraScaling};
use crate::parameters::{score_spec, transpose};
use crate::{Linear, ModelError, ScoreModel, Transformer};
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
/// Before the name of every module in an adapter's file.
const PREFIX: &str = "base_model.model.";
const HEAD: &str = "score.weight";

/// The model that adapters belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterBase {
    /// A folder, or a name on the hub.
    pub name: String,
    /// Which commit, branch or tag of a model on the hub.
    pub revision: Option<String>,
}

impl From<&str> for AdapterBase {
    fn from(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            revision: None,
        }
    }
}

/// What an adapter's folder says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterInfo {
    /// The model that it belongs to.
    pub base: AdapterBase,
    /// Whether it makes a reward model.
    pub is_classifier: bool,
    scaling: LoraScaling,
}

/// The keys of `adapter_config.json` that decide what is computed.
#[derive(Deserialize)]
struct AdapterJson {
    peft_type: Option<String>,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    revision: Option<String>,
    #[serde(default = "peft_alpha")]
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// PEFT's default.
fn peft_alpha() -> f64 {
    8.0
}

/// Whether a folder holds an adapter.
pub fn is_adapter(dir: &Path) -> bool {
    dir.join(CONFIG).is_file()
}

/// Reads the settings of an adapter's folder.
///
/// # Errors
/// [`ModelError`] names the file, and a setting that changes the result in a way that is not
/// computed here.
pub fn read_adapter_info(dir: &Path) -> Result<AdapterInfo, ModelError> {
    let path = dir.join(CONFIG);
    let text = std::fs::read_to_string(&path).map_err(|e| ModelError::io(&path, e))?;
    let bad = |reason: String| ModelError::Json {
        path: path.clone(),
        reason,
    };
    let json: AdapterJson = serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
    if json.peft_type.as_deref() != Some("LORA") {
        let found = json.peft_type.unwrap_or_else(|| "absent".into());
        return Err(bad(format!("peft_type is {found}, only LORA is read")));
    }
    let is_off = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text == "none",
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    // Each changes what an adapter computes.
    let changing = [
        "use_dora",
        "use_qalora",
        "lora_bias",
        "bias",
        "alpha_pattern",
        "layer_replication",
        "trainable_token_indices",
        "corda_config",
        "target_parameters",
    ];
    for key in changing {
        if let Some(value) = json.others.get(key).filter(|value| !is_off(value)) {
            return Err(bad(format!("{key} is {value}, which is not supported")));
        }
    }
    let saved = json.others.get("modules_to_save").filter(|v| !is_off(v));
    let is_classifier = json.task_type.as_deref() == Some("SEQ_CLS");
    if saved.is_some_and(|v| !(is_classifier && holds_only(v, &["score", "classifier"]))) {
        let reason =
            "modules_to_save names more than a reward model's head, which is not supported";
        return Err(bad(reason.to_owned()));
    }
    if !(json.lora_alpha.is_finite() && json.lora_alpha != 0.0) {
        return Err(bad(format!("lora_alpha is {}", json.lora_alpha)));
    }
    let Some(name) = json.base_model_name_or_path.filter(|name| !name.is_empty()) else {
        return Err(bad(
            "base_model_name_or_path is absent: whose adapter is it?".into(),
        ));
    };
    let revision = json.revision;
    Ok(AdapterInfo {
        base: AdapterBase { name, revision },
        is_classifier,
        scaling: LoraScaling {
            alpha: json.lora_alpha,
            rslora: json.use_rslora,
        },
    })
}

fn holds_only(value: &Value, names: &[&str]) -> bool {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let known = |item: &Value| item.as_str().is_some_and(|item| names.contains(&item));
    items.iter().all(known)
}

/// Puts the adapters of a folder on the model that they belong to, frozen.
///
/// # Errors
/// [`ModelError`] names the file and lists all that is missing, unknown or misshaped at once.
pub fn load_adapter(dir: &Path, model: Transformer) -> Result<Transformer, ModelError> {
    let (model, head) = attach(dir, model)?;
    match head {
        None => Ok(model),
        Some(_) => Err(misfit(
            dir,
            vec![format!("`{HEAD}` belongs to a reward model")],
        )),
    }
}

/// As [`load_adapter`], with the head that is saved beside the adapters.
///
/// # Errors
/// As [`load_adapter`]; that there is no head.
pub fn load_score_adapter(dir: &Path, backbone: Transformer) -> Result<ScoreModel, ModelError> {
    let (backbone, head) = attach(dir, backbone)?;
    let Some(head) = head else {
        return Err(misfit(dir, vec![format!("`{HEAD}` is missing")]));
    };
    let [wanted, _] = score_spec(backbone.config()).shape[..] else {
        unreachable!("a head is a matrix")
    };
    if head.values.len() != wanted {
        let problem = format!("`{HEAD}` is {:?}, must be [1, {wanted}]", head.shape);
        return Err(misfit(dir, vec![problem]));
    }
    Ok(ScoreModel::from_parts(backbone, head.values))
}

fn misfit(dir: &Path, problems: Vec<String>) -> ModelError {
    ModelError::Weights {
        path: dir.join(WEIGHTS),
        problems,
    }
}

/// The tensors of an adapter's file in f32, without [`PREFIX`].
fn read_named(path: &Path) -> Result<BTreeMap<String, NamedTensor>, ModelError> {
    let short = |tensor: NamedTensor| {
        let name = tensor.name.strip_prefix(PREFIX).unwrap_or(&tensor.name);
        (name.to_owned(), tensor)
    };
    Ok(read_tensors(path)?.into_iter().map(short).collect())
}

fn attach(
    dir: &Path,
    mut model: Transformer,
) -> Result<(Transformer, Option<NamedTensor>), ModelError> {
    let scaling = read_adapter_info(dir)?.scaling;
    let mut tensors = read_named(&dir.join(WEIGHTS))?;
    let names: Vec<String> = model
        .named_linears()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    let (mut problems, mut attached) = (Vec::new(), 0);
    for (linear, name) in model.linears_mut().into_iter().zip(names) {
        let a = tensors.remove(&format!("{name}.lora_A.weight"));
        let b = tensors.remove(&format!("{name}.lora_B.weight"));
        match (a, b) {
            (None, None) => {}
            (Some(a), Some(b)) => match adapter((&a, &b), linear, scaling) {
                Ok(adapter) => {
                    linear.adapters.push(adapter);
                    attached += 1;
                }
                Err(problem) => problems.push(problem),
            },
            (a, _) => {
                let missing = if a.is_none() { "lora_A" } else { "lora_B" };
                problems.push(format!("`{PREFIX}{name}.{missing}.weight` is missing"));
            }
        }
    }
    let head = tensors.remove(HEAD);
    problems.extend(tensors.values().map(|t| format!("`{}` is unknown", t.name)));
    if attached == 0 && problems.is_empty() {
        problems.push("there is no adapter in it".into());
    }
    if problems.is_empty() {
        Ok((model, head))
    } else {
        Err(misfit(dir, problems))
    }
}

/// The adapter of a matrix, or what is wrong with its shapes.
fn adapter(
    (a, b): (&NamedTensor, &NamedTensor),
    linear: &Linear,
    scaling: LoraScaling,
) -> Result<LoraAdapter, String> {
    let [width, out] = linear.weight.dims();
    let (rank, fits) = match (a.shape.as_slice(), b.shape.as_slice()) {
        (&[rank, w], &[o, r]) => (rank, rank > 0 && r == rank && w == width && o == out),
        _ => (0, false),
    };
    if !fits {
        return Err(format!(
            "`{}` is {:?} and `{}` {:?}, must be [rank, {width}] and [{out}, rank]",
            a.name, a.shape, b.name, b.shape
        ));
    }
    let device = linear.weight.val().device();
    let matrix = |tensor: &NamedTensor, rows, columns| {
        let values = transpose(&tensor.values, rows, columns);
        let data = TensorData::new(values, [columns, rows]);
        Tensor::<2>::from_data(data, &device)
    };
    Ok(LoraAdapter::new(
        matrix(a, rank, width),
        matrix(b, out, rank),
        scaling,
    ))
}

/// Writes the adapters of a language model as a folder that PEFT opens; `base` is the
/// model without them. Adapters that stand on each other become one, whose
/// rank is the sum of theirs.
///
/// # Errors
/// [`ModelError::Io`] names the file; [`ModelError::NotFinite`] if the weights are no numbers:
/// nothing is written then.
pub fn save_adapter(dir: &Path, model: &Transformer, base: &AdapterBase) -> Result<(), ModelError> {
    save(dir, model, base, None)
}

/// As [`save_adapter`], of a reward model; its head is saved too.
///
/// # Errors
/// As [`save_adapter`].
pub fn save_score_adapter(
    dir: &Path,
    model: &ScoreModel,
    base: &AdapterBase,
) -> Result<(), ModelError> {
    let (head, name) = (model.head.val(), format!("{PREFIX}{HEAD}"));
    let head = Outgoing::vector(&name, &[1, head.dims()[0]], head);
    save(dir, &model.backbone, base, Some(head))
}

fn save(
    dir: &Path,
    model: &Transformer,
    base: &AdapterBase,
    head: Option<Outgoing>,
) -> Result<(), ModelError> {
    let is_classifier = head.is_some();
    let linears = model.named_linears();
    let joined = Joined::of(&linears);
    let mut tensors: Vec<Outgoing> = head.into_iter().collect();
    for (name, linear) in linears
        .iter()
        .filter(|(_, linear)| !linear.adapters.is_empty())
    {
        let (a, b) = joined.matrices(linear);
        let named = |part: &str| format!("{PREFIX}{name}.{part}.weight");
        tensors.push(Outgoing::matrix(&named("lora_A"), true, a));
        tensors.push(Outgoing::matrix(&named("lora_B"), true, b));
    }
    std::fs::create_dir_all(dir).map_err(|e| ModelError::io(dir, e))?;
    write_tensors(&dir.join(WEIGHTS), tensors, WeightType::F32)?;
    let json = json!({
        "peft_type": "LORA",
        "task_type": if is_classifier { "SEQ_CLS" } else { "CAUSAL_LM" },
        "base_model_name_or_path": base.name,
        "revision": base.revision,
        "r": joined.rank,
        "lora_alpha": joined.scaling.alpha,
        "use_rslora": joined.scaling.rslora,
        "lora_dropout": joined.dropout,
        "target_modules": target_modules(&linears),
        "modules_to_save": is_classifier.then_some(["score"]),
        "fan_in_fan_out": model.config().family.matrices_as_used(),
        "bias": "none",
        "init_lora_weights": true,
        "inference_mode": true,
    });
    let json = match json {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    write_json(&dir.join(CONFIG), json)
}

/// How the adapters of all matrices become one each, of one rank.
struct Joined {
    rank: usize,
    scaling: LoraScaling,
    dropout: f64,
    /// Whether no matrix has more than one, and all have one factor: they are written as they are.
    single: bool,
}

impl Joined {
    fn of(linears: &[(String, &Linear)]) -> Self {
        let adapted = || {
            linears
                .iter()
                .filter(|(_, linear)| !linear.adapters.is_empty())
        };
        let rank_of = |linear: &Linear| linear.adapters.iter().map(LoraAdapter::rank).sum();
        let ranks = adapted().map(|(_, linear)| rank_of(linear));
        let rank: usize = ranks.max().unwrap_or(0);
        let all: Vec<&LoraAdapter> = adapted().flat_map(|(_, l)| &l.adapters).collect();
        let plain = LoraScaling {
            alpha: rank as f64,
            rslora: false,
        };
        let first = all.first().map_or(plain, |adapter| adapter.scaling());
        let alike = |a: &&LoraAdapter| a.scaling() == first && a.rank() == rank;
        let single = all.iter().all(alike) && adapted().all(|(_, l)| l.adapters.len() == 1);
        Self {
            rank,
            scaling: if single { first } else { plain },
            dropout: all.iter().map(|a| a.dropout()).fold(0.0, f64::max),
            single,
        }
    }

    /// `A` `[in, rank]` and `B` `[rank, out]` of a matrix's adapters side by side.
    fn matrices(&self, linear: &Linear) -> (Tensor<2>, Tensor<2>) {
        if let (true, [adapter]) = (self.single, linear.adapters.as_slice()) {
            return (adapter.a.val(), adapter.b.val());
        }
        let own = |b: &LoraAdapter| b.b.val() * b.scaling().factor(b.rank());
        let mut a: Vec<Tensor<2>> = linear.adapters.iter().map(|x| x.a.val()).collect();
        let mut b: Vec<Tensor<2>> = linear.adapters.iter().map(own).collect();
        let ranks: usize = linear.adapters.iter().map(LoraAdapter::rank).sum();
        if let Some(empty) = self.rank.checked_sub(ranks).filter(|&empty| empty > 0) {
            let ([width, out], device) = (linear.weight.dims(), linear.weight.val().device());
            a.push(Tensor::zeros([width, empty], &device));
            b.push(Tensor::zeros([empty, out], &device));
        }
        (Tensor::cat(a, 1), Tensor::cat(b, 0))
    }
}

/// PEFT's `target_modules`: the last parts of the names where these say it all, whole names
/// otherwise.
fn target_modules(linears: &[(String, &Linear)]) -> Vec<String> {
    fn last(name: &str) -> &str {
        name.rsplit('.').next().unwrap_or(name)
    }
    let adapted: Vec<&String> = linears
        .iter()
        .filter(|(_, linear)| !linear.adapters.is_empty())
        .map(|(name, _)| name)
        .collect();
    let mut kinds: Vec<&str> = adapted.iter().map(|name| last(name)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let of_kinds = linears
        .iter()
        .filter(|(name, _)| kinds.contains(&last(name)));
    if of_kinds.count() == adapted.len() {
        kinds.into_iter().map(str::to_owned).collect()
    } else {
        adapted.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
