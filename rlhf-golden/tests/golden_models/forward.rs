//! Hidden states, logits and log-probabilities of batches padded on either side.

use crate::reference::{Report, field, mask};
use burn::tensor::{Device, Tensor};
use rlhf_golden::{Figure, Figures};
use rlhf_model::{CausalLm, TokenBatch, Transformer, token_logprobs};
use serde_json::{Map, Value};

pub(crate) fn floats<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// The batch of a case's `input_ids` and `attention_mask`.
pub(crate) fn batch(case: &Map<String, Value>, device: &Device) -> TokenBatch {
    let ids: Vec<Vec<u32>> = field(case, "input_ids");
    let mask = mask(case, "attention_mask");
    TokenBatch::from_mask(&ids, &mask, device).unwrap_or_else(|e| panic!("{e}"))
}

/// One forward case.
pub(crate) fn run(
    model: &Transformer,
    case: &Map<String, Value>,
    device: &Device,
    report: &mut Report,
) {
    let name: String = field(case, "name");
    let batch = batch(case, device);
    let (b, t, d) = (batch.batch_size(), batch.time(), model.d_model());
    let hidden = model.hidden(&batch, None);
    let logits = floats(model.logits(hidden.clone()));
    let (hidden, vocab) = (floats(hidden), model.vocab_size());
    let last: Vec<Option<usize>> = (0..b).map(|row| batch.last_valid(row)).collect();
    let at_last = |values: &[f64], width: usize| -> Vec<Vec<f64>> {
        let rows = last.iter().enumerate();
        rows.map(|(row, at)| {
            let at = (row * t + at.unwrap_or(0)) * width;
            values[at..at + width].to_vec()
        })
        .collect()
    };
    let mut figures = Figures::default();
    let positions = batch.positions().chunks(t);
    let positions: Vec<Vec<usize>> = positions
        .map(|row| row.iter().map(|&p| p as usize).collect())
        .collect();
    figures.set("position_ids", positions);
    figures.set("logits_last", at_last(&logits, vocab));
    figures.set("hidden_last", at_last(&hidden, d));
    figures.set("last_valid_index", last);
    figures.set("token_logprobs", logprobs(model, &batch));
    let mut expected = case.clone();
    slices(&mut figures, &mut expected, &logits, [t, vocab]);
    let inputs = ["name", "input_ids", "attention_mask", "logits_slices"];
    report.check(&format!("forward {name}"), &figures, &expected, &inputs);
}

/// `[b][t]`: log p of the token at t; none at the first token of a row and at padding.
fn logprobs(model: &Transformer, batch: &TokenBatch) -> Vec<Vec<Option<f64>>> {
    let t = batch.time();
    let values = floats(token_logprobs(model, batch, 1.0));
    let row = |row: usize| {
        let start = batch.row_start(row);
        let last = batch.last_valid(row).unwrap_or(0);
        (0..t)
            .map(|i| (i > start && i <= last).then(|| values[row * (t - 1) + i - 1]))
            .collect()
    };
    (0..batch.batch_size()).map(row).collect()
}

/// The first logits and the logsumexp at some positions, as figures with names of their own.
fn slices(
    figures: &mut Figures,
    expected: &mut Map<String, Value>,
    logits: &[f64],
    [time, vocab]: [usize; 2],
) {
    let slices: Vec<Map<String, Value>> = field(expected, "logits_slices");
    for mut slice in slices {
        let (row, position): (usize, usize) = (field(&slice, "row"), field(&slice, "position"));
        slice.shift_remove("row");
        slice.shift_remove("position");
        let values = &logits[(row * time + position) * vocab..][..vocab];
        let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = top + values.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
        let name = |figure: &str| format!("row {row} position {position} {figure}");
        figures.set(&name("logits_0_to_16"), Figure::from(values[..16].to_vec()));
        figures.set(&name("logsumexp"), lse);
        expected.extend(
            slice
                .into_iter()
                .map(|(figure, value)| (name(&figure), value)),
        );
    }
}
