//! AdamW, clipping, schedules, moving averages and accumulation.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rlhf_golden::{Case, Figure, Figures, GoldenError};
use rlhf_kernels::{AdamWStep, Moments, adamw, sum_of_squares};
use rlhf_loss::token_logprobs;
use rlhf_train::optim::{clip_coefficient, ema};
use rlhf_train::schedule::{Schedule, lr_multiplier};
use serde_json::Value;

use crate::tensors::{Inputs, SetTensors, elements, figure, numbers};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "adamw" => several_steps(&inputs),
        "clip_global_norm" => clipping(&inputs),
        "lr_schedule" => schedule(case),
        "ema" => average(case),
        "gradient_accumulation" => accumulation(&inputs),
        _ => Err(unknown_kind(case)),
    }
}

/// Numbers of any shape as a vector on the device.
fn flat(value: &Value, device: &Device) -> Result<Tensor<1>, GoldenError> {
    let values = numbers(value)?;
    let count = values.len();
    Ok(Tensor::from_data(
        TensorData::new(values, [count]).convert::<f32>(),
        device,
    ))
}

fn array<'a>(case: &'a Case, name: &str) -> Result<&'a Vec<Value>, GoldenError> {
    case.value(name)?
        .as_array()
        .ok_or_else(|| GoldenError(format!("{name} is not a list")))
}

/// The case's AdamW settings for the step after `done` steps.
fn step(case: &Case, lr: f64, done: usize, grad_scale: f64) -> Result<AdamWStep, GoldenError> {
    Ok(AdamWStep {
        lr,
        beta1: case.get("beta1")?,
        beta2: case.get("beta2")?,
        eps: case.get("eps")?,
        weight_decay: case.get("weight_decay")?,
        step: done as u64 + 1,
        grad_scale,
    })
}

fn several_steps(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let case = inputs.case;
    let template = case.value("params")?;
    let mut params = flat(template, inputs.device)?;
    let mut moments = Moments::zeros(params.dims()[0]);
    let rates: Vec<f64> = case.get("lr")?;
    let mut after = Vec::new();
    for (done, (grad, lr)) in array(case, "grads")?.iter().zip(rates).enumerate() {
        let step = step(case, lr, done, 1.0)?;
        params = adamw(params, flat(grad, inputs.device)?, &mut moments, &step);
        after.push(Figure::like(&elements(&params), template));
    }
    let laid_out = |moment: &[f32]| {
        let moment: Vec<f64> = moment.iter().copied().map(f64::from).collect();
        Figure::like(&moment, template)
    };
    let mut figures = Figures::default();
    figures.set("params_after_each_step", Figure::List(after));
    figures.set("first_moment", laid_out(&moments.first));
    figures.set("second_moment", laid_out(&moments.second));
    Ok(figures)
}

fn clipping(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let grads = array(inputs.case, "grads")?;
    let tensors: Result<Vec<_>, _> = grads.iter().map(|g| flat(g, inputs.device)).collect();
    let tensors = tensors?;
    let norm = tensors.iter().map(sum_of_squares).sum::<f64>().sqrt();
    let coefficient = clip_coefficient(norm, inputs.case.get("max_norm")?);
    let clipped = tensors
        .into_iter()
        .zip(grads)
        .map(|(tensor, template)| Figure::like(&elements(&(tensor * coefficient)), template));
    let mut figures = Figures::default();
    figures.set("total_norm", norm);
    figures.set("coefficient", coefficient);
    figures.set("clipped", Figure::List(clipped.collect()));
    Ok(figures)
}

fn schedule(case: &Case) -> Result<Figures, GoldenError> {
    let schedule: Schedule = case.get("schedule")?;
    let (warmup, total) = (case.get("warmup_steps")?, case.get("total_steps")?);
    let floor = case.get("floor")?;
    let expected = case.expected.get("multipliers").and_then(Value::as_array);
    let steps = expected.map_or(0, Vec::len) as u64;
    let multipliers = (0..steps).map(|step| lr_multiplier(schedule, step, warmup, total, floor));
    let mut figures = Figures::default();
    figures.set("multipliers", multipliers.collect::<Vec<_>>());
    Ok(figures)
}

fn average(case: &Case) -> Result<Figures, GoldenError> {
    let mut average: Vec<f64> = case.get("initial")?;
    let decay = case.get("decay")?;
    let weights: Vec<Vec<f64>> = case.get("weights")?;
    let after = weights.iter().map(|weights| {
        ema(&mut average, weights, decay);
        average.clone()
    });
    let mut figures = Figures::default();
    figures.set("ema_after_each_step", after.collect::<Vec<_>>());
    Ok(figures)
}

/// −Σ log-prob of the labels over `total`, of rows `first..last`, with logits features · weight.
fn share_of_loss(
    (features, labels): (&Tensor<2>, &Tensor<1, Int>),
    weight: &Tensor<2>,
    rows: std::ops::Range<usize>,
    total: usize,
) -> Tensor<1> {
    let logits = features
        .clone()
        .slice_dim(0, rows.clone())
        .matmul(weight.clone());
    let labels = labels.clone().slice_dim(0, rows).unsqueeze_dim::<2>(0);
    let everything = labels.clone().greater_equal_elem(0);
    let logits = logits.unsqueeze_dim::<3>(0);
    let logprobs = token_logprobs(logits, labels, &everything, 1.0).logprobs;
    logprobs.sum().neg() / total as f64
}

fn accumulation(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let case = inputs.case;
    let features = inputs.plain::<2>("features")?;
    let labels = inputs.ints::<1>("labels")?;
    let weight = inputs.leaf::<2>("weight")?;
    let sizes: Vec<usize> = case.get("micro_batch_sizes")?;
    let total = features.dims()[0];
    let mut grad = weight.zeros_like().without_autodiff();
    let (mut first, mut loss, mut parts) = (0, 0.0, Vec::new());
    for size in sizes {
        let rows = first..first + size;
        let share = share_of_loss((&features, &labels), &weight, rows, total);
        loss += elements(&share)[0];
        let gradients = share.backward();
        let part = weight
            .grad(&gradients)
            .ok_or_else(|| GoldenError("no gradient".into()))?;
        parts.push(figure(&part));
        grad = grad + part;
        first += size;
    }
    let norm = sum_of_squares(&grad).sqrt();
    let grad_scale = clip_coefficient(norm, case.get("max_norm")?);
    let step = step(case, case.get("lr")?, 0, grad_scale)?;
    let mut moments = Moments::zeros(elements(&grad).len());
    let mut figures = Figures::default();
    figures.set("loss", loss);
    figures.set("micro_batch_grads", parts);
    figures.tensor("grad", &grad);
    figures.set("grad_norm", norm);
    let updated = adamw(weight.without_autodiff(), grad, &mut moments, &step);
    figures.tensor("weight_after_one_step", &updated);
    Ok(figures)
}
