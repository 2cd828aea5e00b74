//! Whole models against their reference figures: tokenizer, chat template, forward, generation,
//! scalar head, gradients.
//!
//! Reads the folder named by `RLHF_GOLDEN_MODELS`, or the copy in this crate, and runs every model
//! it finds there; a figure that nothing computes is a failure. Of a model whose family is not part
//! of the project yet, texts are checked and the rest is printed as left for later; that the loader
//! refuses it by name is part of the check.

mod forward;
mod generation;
mod heads;
mod reference;
mod text;

use burn::tensor::Device;
use reference::{Report, model_folders, read_golden};
use rlhf_model::load_model;
use serde_json::{Map, Value};
use std::path::Path;

/// The families that the loader opens.
const SUPPORTED: [&str; 6] = ["llama", "mistral", "qwen2", "qwen3", "gemma2", "gpt2"];

/// The CPU devices.
#[allow(deprecated)] // burn-ndarray: the second opinion until it is gone
fn devices() -> [(&'static str, Device); 2] {
    [("flex", Device::flex()), ("ndarray", Device::ndarray())]
}

/// Runs everything that a folder's `golden.json` holds.
fn run_model(dir: &Path, report: &mut Report) {
    let golden = match read_golden(dir) {
        Ok(golden) => golden,
        Err(error) => return report.fail("golden.json", error),
    };
    let known = [
        "model",
        "pad_token_id",
        "tokenizer",
        "forward",
        "generation",
        "chat",
        "reward_head",
        "sft_gradient",
    ];
    for name in golden.keys().filter(|name| !known.contains(&name.as_str())) {
        report.fail(name, "nothing runs this part".into());
    }
    text::run(dir, &golden, report);
    let family = model_type(dir);
    if !SUPPORTED.contains(&family.as_str()) {
        return left_for_later(dir, &family, report);
    }
    for (device_name, device) in devices() {
        report.device = device_name;
        run_on(dir, &golden, &device, report);
    }
    report.device = "";
}

fn run_on(dir: &Path, golden: &Map<String, Value>, device: &Device, report: &mut Report) {
    let (model, config) = match load_model(dir, device) {
        Ok(loaded) => loaded,
        Err(error) => return report.fail("load_model", error.to_string()),
    };
    let empty = Vec::new();
    let cases = golden
        .get("forward")
        .and_then(Value::as_array)
        .unwrap_or(&empty);
    for case in cases.iter().filter_map(Value::as_object) {
        forward::run(&model, case, device, report);
    }
    let part = |name: &str| golden.get(name).and_then(Value::as_object);
    if let Some(case) = part("generation") {
        let pad = golden
            .get("pad_token_id")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        generation::run(&model, case, pad as u32, report);
    }
    if let Some(case) = part("reward_head") {
        heads::run_reward(&model, &config, case, device, report);
    }
    if let Some(case) = part("sft_gradient") {
        heads::run_gradient(dir, case, device, report);
    }
}

fn model_type(dir: &Path) -> String {
    let text = std::fs::read_to_string(dir.join("config.json")).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    config
        .get("model_type")
        .and_then(Value::as_str)
        .unwrap_or("unknown")
        .to_owned()
}

/// The loader must name the family that it does not know.
fn left_for_later(dir: &Path, family: &str, report: &mut Report) {
    match load_model(dir, &Device::flex()) {
        Ok(_) => report.fail(
            "load_model",
            format!("opens the unsupported family {family}"),
        ),
        Err(error) if error.to_string().contains(family) => {
            report.pass();
            report
                .notes
                .push(format!("{}: left for later: {error}", report.model));
        }
        Err(error) => report.fail("load_model", format!("does not name {family}: {error}")),
    }
}

#[test]
fn golden_models_match_their_figures() {
    let folders = model_folders().unwrap_or_else(|e| panic!("{e}"));
    let mut report = Report::default();
    for dir in &folders {
        report.model = dir
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        run_model(dir, &mut report);
    }
    report.notes.iter().for_each(|note| println!("{note}"));
    println!("{} cases", report.cases);
    assert!(report.cases > 0, "no model was found");
    let failures = &report.failures;
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
