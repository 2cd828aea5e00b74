//! The supervised loss, whole and in micro-batches.

use burn::tensor::{Bool, Device, Int, Tensor};
use rlhf_golden::{Case, Figure, Figures, GoldenError};
use rlhf_loss::{Denominator, Reduction, SftLossConfig, next_tokens, sft_loss};

use crate::tensors::{Inputs, SetTensors, elements, figure};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "sft_loss" => whole(&inputs),
        "sft_micro_batches" => micro_batches(&inputs),
        _ => Err(unknown_kind(case)),
    }
}

fn whole(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let logits = inputs.leaf::<3>("logits")?;
    let (ids, mask) = (
        inputs.ints::<2>("input_ids")?,
        inputs.mask::<2>("loss_mask")?,
    );
    let label_smoothing = inputs.case.get("label_smoothing")?;
    let loss = |reduction| {
        let config = SftLossConfig {
            label_smoothing,
            reduction,
        };
        sft_loss(
            logits.clone(),
            ids.clone(),
            mask.clone(),
            &config,
            Denominator::Own,
        )
    };
    let out = loss(Reduction::TokenMean);
    let mut figures = Figures::default();
    figures.scalar("loss", &out.loss);
    figures.scalar("ce_sum", &out.ce_sum);
    figures.scalar("num_tokens", &out.num_tokens);
    figures.set("per_token_ce", without_last_column(&out.per_token_ce));
    figures.gradient("grad_logits", &logits, &out.loss.backward());
    let by_sequence = loss(Reduction::SequenceMeanTokenMean).loss;
    figures.scalar("sequence_mean_loss", &by_sequence);
    figures.gradient(
        "grad_logits_sequence_mean",
        &logits,
        &by_sequence.backward(),
    );
    Ok(figures)
}

/// The file leaves out the last position, which predicts nothing.
fn without_last_column(per_token: &Tensor<2>) -> Figure {
    let [_, time] = per_token.dims();
    let values = elements(per_token);
    let rows = values.chunks(time).map(|row| row[..time - 1].to_vec());
    rows.collect::<Vec<_>>().into()
}

fn micro_batches(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let logits = inputs.plain::<4>("logits")?;
    let ids = inputs.ints::<3>("input_ids")?;
    let mask = inputs.mask::<3>("loss_mask")?;
    let parts: Vec<(Tensor<3>, Tensor<2, Int>, Tensor<2, Bool>)> = logits
        .iter_dim(0)
        .zip(ids.iter_dim(0))
        .zip(mask.iter_dim(0))
        .map(|((logits, ids), mask)| {
            let logits = logits.squeeze_dim::<3>(0).autodiff().require_grad();
            (logits, ids.squeeze_dim::<2>(0), mask.squeeze_dim::<2>(0))
        })
        .collect();
    let counts = parts.iter().map(|(_, ids, mask)| {
        let (_, targets) = next_tokens(ids.clone(), mask.clone());
        Reduction::TokenMean.count(&targets)
    });
    let counts: Vec<f64> = counts.collect();
    let total: f64 = counts.iter().sum();
    let (mut loss, mut sums, mut gradients, mut means) = (0.0, vec![], vec![], vec![]);
    for ((logits, ids, mask), &count) in parts.into_iter().zip(&counts) {
        let (config, whole) = (SftLossConfig::default(), Denominator::Whole(total));
        let out = sft_loss(logits.clone(), ids.clone(), mask.clone(), &config, whole);
        loss += elements(&out.loss)[0];
        sums.push(elements(&out.ce_sum)[0]);
        let backward = out.loss.backward();
        let gradient = logits.grad(&backward);
        gradients.push(figure(
            &gradient.ok_or_else(|| GoldenError("no gradient".into()))?,
        ));
        if count > 0.0 {
            let own = sft_loss(
                logits,
                ids,
                mask,
                &SftLossConfig::default(),
                Denominator::Own,
            );
            means.push(elements(&own.loss)[0]);
        }
    }
    let naive = means.iter().sum::<f64>() / means.len() as f64;
    if (naive - loss).abs() < 1e-3 {
        return Err(GoldenError(format!(
            "the mean of means {naive} is the loss {loss}"
        )));
    }
    let mut figures = Figures::default();
    figures.set("loss", loss);
    figures.set("num_tokens", total);
    figures.set("micro_ce_sum", sums);
    figures.set("micro_num_tokens", counts);
    figures.set("naive_mean_of_means", naive);
    figures.set("grad_logits", gradients);
    Ok(figures)
}
