//! Distributions after the sampling filters.

use burn::tensor::Device;
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_model::sample::{SamplingConfig, filtered_probs};

use crate::unknown_kind;

pub(crate) fn run(case: &Case, _: &Device) -> Result<Figures, GoldenError> {
    if case.kind != "filtered_probs" {
        return Err(unknown_kind(case));
    }
    let logits: Vec<f32> = case.get("logits")?;
    let previous: Vec<u32> = case.get("previous_tokens")?;
    let config = SamplingConfig {
        temperature: case.get("temperature")?,
        top_k: case.get("top_k")?,
        top_p: case.get("top_p")?,
        min_p: case.get("min_p")?,
        repetition_penalty: case.get("repetition_penalty")?,
        ..SamplingConfig::greedy(1)
    };
    let probs = filtered_probs(&logits, &previous, &config);
    let kept: Vec<usize> = (0..probs.len())
        .filter(|&token| probs[token] != 0.0)
        .collect();
    let mut figures = Figures::default();
    figures.set("num_kept", kept.len());
    figures.set("kept", kept);
    figures.set(
        "probs",
        probs.into_iter().map(f64::from).collect::<Vec<_>>(),
    );
    Ok(figures)
}
