//! The loss of PPO, from log-probs and from logits.

use burn::tensor::{Device, Tensor};
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_loss::{
    Denominator, PpoLossConfig, PpoLossInput, PpoLossOutput, TokenLogprobs, ppo_loss,
    token_logprobs,
};

use crate::tensors::{Inputs, SetTensors};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "ppo_loss" => from_logprobs(&inputs),
        "ppo_loss_from_logits" => from_logits(&inputs),
        _ => Err(unknown_kind(case)),
    }
}

pub(crate) fn config(case: &Case) -> Result<PpoLossConfig, GoldenError> {
    Ok(PpoLossConfig {
        clip_low: case.get("clip_low")?,
        clip_high: case.get("clip_high")?,
        dual_clip: case.get("dual_clip")?,
        value_clip: case.get("value_clip")?,
        value_coef: case.get("value_coef")?,
        entropy_coef: case.get("entropy_coef")?,
    })
}

/// The loss input around given log-probs and entropies; the values carry gradients.
pub(crate) fn input(
    inputs: &Inputs<'_>,
    logprobs: Tensor<2>,
    entropy: Tensor<2>,
) -> Result<PpoLossInput, GoldenError> {
    Ok(PpoLossInput {
        logprobs,
        old_logprobs: inputs.plain("old_logprobs")?,
        advantages: inputs.plain("advantages")?,
        values: inputs.leaf("values")?,
        old_values: inputs.plain("old_values")?,
        returns: inputs.plain("returns")?,
        entropy,
        mask: inputs.mask("mask")?,
    })
}

fn set_output(figures: &mut Figures, out: &PpoLossOutput) {
    for (name, scalar) in [
        ("total_loss", &out.total_loss),
        ("policy_loss", &out.policy_loss),
        ("value_loss", &out.value_loss),
        ("entropy", &out.entropy),
        ("mean_ratio", &out.mean_ratio),
        ("approx_kl_k1", &out.approx_kl_k1),
        ("approx_kl_k2", &out.approx_kl_k2),
        ("approx_kl_k3", &out.approx_kl_k3),
        ("clip_fraction", &out.clip_fraction),
        ("ratio_outside_fraction", &out.ratio_outside_fraction),
        ("dual_clip_fraction", &out.dual_clip_fraction),
        ("value_clip_fraction", &out.value_clip_fraction),
    ] {
        figures.scalar(name, scalar);
    }
    figures.tensor("ratio", &out.ratio);
    figures.tensor("per_token_policy_loss", &out.per_token_policy_loss);
}

fn from_logprobs(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let input = input(inputs, inputs.leaf("logprobs")?, inputs.leaf("entropy")?)?;
    let out = ppo_loss(input.clone(), &config(inputs.case)?, Denominator::Own);
    let mut figures = Figures::default();
    set_output(&mut figures, &out);
    let gradients = out.total_loss.backward();
    figures.gradient("grad_logprobs", &input.logprobs, &gradients);
    figures.gradient("grad_values", &input.values, &gradients);
    figures.gradient("grad_entropy", &input.entropy, &gradients);
    Ok(figures)
}

fn from_logits(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let logits = inputs.leaf::<3>("logits")?;
    let (actions, mask) = (inputs.ints::<2>("actions")?, inputs.mask::<2>("mask")?);
    let temperature = inputs.case.get("temperature")?;
    let TokenLogprobs {
        logprobs, entropy, ..
    } = token_logprobs(logits.clone(), actions, &mask, temperature);
    let mut figures = Figures::default();
    figures.tensor("logprobs", &logprobs);
    figures.tensor("token_entropy", &entropy);
    let input = input(inputs, logprobs, entropy)?;
    let out = ppo_loss(input.clone(), &config(inputs.case)?, Denominator::Own);
    set_output(&mut figures, &out);
    let gradients = out.total_loss.backward();
    figures.gradient("grad_logits", &logits, &gradients);
    figures.gradient("grad_values", &input.values, &gradients);
    Ok(figures)
}
