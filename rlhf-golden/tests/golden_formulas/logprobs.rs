//! Log-probs, entropies and masked statistics.

use burn::tensor::{Device, Tensor};
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_loss::{
    TokenLogprobs, masked_stats, mean_over, mean_over_rows, sequence_logprobs, sum_over,
    sum_over_rows, token_logprobs,
};

use crate::tensors::{Inputs, SetTensors, elements};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "token_logprobs" => of_logits(&inputs),
        "masked_stats" => statistics(&inputs),
        _ => Err(unknown_kind(case)),
    }
}

fn of_logits(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let logits = inputs.leaf::<3>("logits")?;
    let (targets, mask) = (inputs.ints::<2>("targets")?, inputs.mask::<2>("mask")?);
    let temperature = inputs.case.get("temperature")?;
    let forward = || token_logprobs(logits.clone(), targets.clone(), &mask, temperature);
    let TokenLogprobs {
        logprobs,
        logsumexp,
        entropy,
    } = forward();
    let mut figures = Figures::default();
    figures.tensor("logprobs", &logprobs);
    figures.tensor("logsumexp", &logsumexp);
    figures.tensor("entropy", &entropy);
    figures.tensor(
        "sequence_logprob",
        &sequence_logprobs(logprobs.clone(), &mask),
    );
    figures.scalar("mean_logprob", &mean_over(logprobs.clone(), &mask));
    figures.scalar("mean_entropy", &mean_over(entropy, &mask));
    let of_sum = sum_over(logprobs, &mask).backward();
    figures.gradient("grad_logits_of_sum_logprob", &logits, &of_sum);
    let of_entropy = mean_over(forward().entropy, &mask).backward();
    figures.gradient("grad_logits_of_mean_entropy", &logits, &of_entropy);
    Ok(figures)
}

/// On the host, and where there are tensor functions for the same figures, those agree.
fn statistics(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (values, mask) = (inputs.plain::<2>("values")?, inputs.mask::<2>("mask")?);
    let stats = masked_stats(&values, &mask);
    let mut figures = Figures::default();
    figures.set("count", stats.count);
    figures.set("sum", stats.sum);
    figures.set("mean", stats.mean);
    figures.set("var_biased", stats.var_biased);
    figures.set("var_unbiased", stats.var_unbiased);
    figures.set("row_count", stats.row_count);
    agree("sum", &[stats.sum], sum_over(values.clone(), &mask))?;
    agree("mean", &[stats.mean], mean_over(values.clone(), &mask))?;
    agree(
        "row_sum",
        &stats.row_sum,
        sum_over_rows(values.clone(), &mask),
    )?;
    agree("row_mean", &stats.row_mean, mean_over_rows(values, &mask))?;
    figures.set("row_sum", stats.row_sum);
    figures.set("row_mean", stats.row_mean);
    Ok(figures)
}

fn agree(name: &str, host: &[f64], tensor: Tensor<1>) -> Result<(), GoldenError> {
    let device = elements(&tensor);
    let near = |(x, y): (&f64, &f64)| (x - y).abs() <= 1e-5 * y.abs().max(1.0);
    if device.len() == host.len() && device.iter().zip(host).all(near) {
        return Ok(());
    }
    Err(GoldenError(format!(
        "{name}: {device:?} as tensors, {host:?} on the host"
    )))
}
