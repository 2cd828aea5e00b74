//! The scalar head, through a saved folder, and gradients of the supervised loss.

use crate::forward::{batch, floats};
use crate::reference::{Report, field, mask};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use rlhf_golden::{Figure, Figures};
use rlhf_model::{
    ModelConfig, ModelError, NamedTensor, ScoreModel, Transformer, load_model, load_score_model,
    named_gradients, save_score_model, token_logprobs,
};
use serde_json::{Map, Value};
use std::path::Path;

/// Scores at every token and at the last, by a model that was saved and read again.
pub(crate) fn run_reward(
    model: &Transformer,
    config: &ModelConfig,
    case: &Map<String, Value>,
    device: &Device,
    report: &mut Report,
) {
    let weight: Vec<f32> = field(case, "weight");
    let saved = match through_a_folder(model, config, weight, device) {
        Ok(saved) => saved,
        Err(error) => return report.fail("reward_head", error.to_string()),
    };
    let batch = batch(case, device);
    let (t, scores) = (batch.time(), floats(saved.scores(&batch)));
    let rows: Vec<Vec<f64>> = (0..batch.batch_size())
        .map(|row| {
            let start = row * t + batch.row_start(row);
            scores[start..start + batch.host_ids(row).len()].to_vec()
        })
        .collect();
    let mut figures = Figures::default();
    figures.set("reward", floats(saved.last_token_scores(&batch)));
    figures.set("score_every_position", shaped(rows, case));
    report.check(
        "reward_head",
        &figures,
        case,
        &["weight", "input_ids", "attention_mask"],
    );
}

/// Some files hold the scores at padding as null.
fn shaped(rows: Vec<Vec<f64>>, case: &Map<String, Value>) -> Figure {
    let wanted: Vec<Vec<Option<f64>>> = field(case, "score_every_position");
    let mut out = Vec::new();
    for (row, wanted) in rows.into_iter().zip(wanted) {
        let mut values = row.into_iter();
        let valid = wanted
            .iter()
            .map(|w| if w.is_some() { values.next() } else { None });
        out.push(valid.collect::<Vec<Option<f64>>>());
    }
    Figure::from(out)
}

fn through_a_folder(
    model: &Transformer,
    config: &ModelConfig,
    weight: Vec<f32>,
    device: &Device,
) -> Result<ScoreModel, ModelError> {
    let mut score = ScoreModel::from_backbone(model.clone(), 0);
    let shape = [weight.len()];
    score.head = score
        .head
        .map(|_| Tensor::from_data(TensorData::new(weight, shape), device));
    let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("{e}"));
    save_score_model(dir.path(), &score, config)?;
    load_score_model(dir.path(), device)
}

/// The token-mean loss, the norm of its whole gradient and pieces of it.
pub(crate) fn run_gradient(
    dir: &Path,
    case: &Map<String, Value>,
    device: &Device,
    report: &mut Report,
) {
    let (model, _) = match load_model(dir, &device.clone().autodiff()) {
        Ok(loaded) => loaded,
        Err(error) => return report.fail("sft_gradient", error.to_string()),
    };
    let batch = batch(case, device);
    let loss_mask: Vec<bool> = mask(case, "loss_mask")
        .into_iter()
        .flat_map(|row| row.into_iter().skip(1))
        .collect();
    let count = loss_mask.iter().filter(|&&m| m).count();
    let shape = [batch.batch_size(), batch.time() - 1];
    let hidden = Tensor::<2, Bool>::from_data(TensorData::new(loss_mask, shape), device).bool_not();
    let logprobs = token_logprobs(&model, &batch, 1.0).mask_fill(hidden, 0.0);
    let loss = -logprobs.sum() / count as f64;
    let grads = GradientsParams::from_grads(loss.clone().backward(), &model);
    let grads = named_gradients(&model, &grads);
    let mut figures = Figures::default();
    figures.set("loss", floats(loss)[0]);
    figures.set("num_tokens", count);
    figures.set("grad_norm", grads.iter().map(square).sum::<f64>().sqrt());
    let mut expected = case.clone();
    let pieces: Map<String, Value> = field(case, "grad_slices");
    for (name, piece) in pieces {
        let Some(grad) = grads.iter().find(|grad| grad.name == name) else {
            report.fail("sft_gradient", format!("{name} has no gradient"));
            continue;
        };
        let piece = piece.as_object().cloned().unwrap_or_default();
        let start: Vec<usize> = field(&piece, "start");
        figures.set(&format!("{name} shape"), grad.shape.clone());
        figures.set(&format!("{name} norm"), square(grad).sqrt());
        figures.set(&format!("{name} values"), values(grad, &start));
        let wanted = piece.into_iter().filter(|(key, _)| key != "start");
        expected.extend(wanted.map(|(key, value)| (format!("{name} {key}"), value)));
    }
    let inputs = ["input_ids", "attention_mask", "loss_mask", "grad_slices"];
    report.check("sft_gradient", &figures, &expected, &inputs);
}

fn square(grad: &NamedTensor) -> f64 {
    grad.values
        .iter()
        .map(|&x| f64::from(x) * f64::from(x))
        .sum()
}

/// Three rows of eight columns from `start` on, or sixteen entries of a vector.
fn values(grad: &NamedTensor, start: &[usize]) -> Figure {
    let entries = |at: usize, count: usize| -> Vec<f64> {
        grad.values[at..at + count]
            .iter()
            .map(|&x| f64::from(x))
            .collect()
    };
    match (start, grad.shape.as_slice()) {
        (&[row, column], &[_, width]) => {
            let rows = (row..row + 3).map(|row| entries(row * width + column, 8));
            Figure::from(rows.collect::<Vec<_>>())
        }
        (start, _) => Figure::from(entries(start.first().copied().unwrap_or(0), 16)),
    }
}
