//! Every operation in plain tensor operations: any device, any float type, gradients by Burn.
//!
//! These bodies are the definition that the fast ones are tested against.

use burn::tensor::activation::{log_softmax, silu, softmax};
use burn::tensor::{Bool, Int, Tensor, TensorData};

use crate::adamw::{AdamWStep, Coefficients, Moments};
use crate::attention::{AttentionSpan, Dims};
use crate::head;
use crate::rope::RopeTables;
use std::f64::consts::PI;

/// A score no visible key comes near; finite, so that no row can turn into NaN by hiding.
const HIDDEN_SCORE: f32 = -1e30;

/// `x / sqrt(mean(x²) + eps) · weight`, the mean over the last axis (Zhang and Sennrich 2019).
///
/// `x` `[…, d]`, `weight` `[d]`; the result has the shape of `x`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    crate::rms_norm::check(&x, &weight);
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (mean_square + eps).sqrt() * weight.unsqueeze::<D>()
}

/// `x + y` and its [`rms_norm`], all `[…, d]`.
pub fn add_rms_norm<const D: usize>(
    x: Tensor<D>,
    y: Tensor<D>,
    weight: Tensor<1>,
    eps: f64,
) -> [Tensor<D>; 2] {
    let sum = x + y;
    [sum.clone(), rms_norm(sum, weight, eps)]
}

/// The row of each id: `table` `[vocabulary, d]`, `ids` `[n]` → `[n, d]`.
pub fn embedding(table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    table.select(0, ids)
}

/// `x · weight` for each weight: `x` `[n, in]`, weights `[in, out]`, of any widths `out`.
pub fn linear<const N: usize>(x: Tensor<2>, weights: [Tensor<2>; N]) -> [Tensor<2>; N] {
    crate::linear::check(&x, &weights);
    weights.map(|weight| x.clone().matmul(weight))
}

/// `y + x · weight`: `y` `[n, out]`, `x` `[n, in]`, `weight` `[in, out]`.
pub fn add_linear(y: Tensor<2>, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    crate::linear::check_sum(&y, &x, &weight);
    y + x.matmul(weight)
}

/// `silu(gate) · up`, element by element (Shazeer 2020); both of one shape.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    crate::swiglu::check(&gate, &up);
    silu(gate) * up
}

/// [`linear`] of [`rms_norm`].
pub fn rms_norm_linear(
    x: Tensor<2>,
    norm: Tensor<1>,
    eps: f64,
    weights: [Tensor<2>; 3],
) -> [Tensor<2>; 3] {
    linear(rms_norm(x, norm, eps), weights)
}

/// `x + y`, and the [`linear`] of its [`rms_norm`].
pub fn add_rms_norm_linear(
    x: Tensor<2>,
    y: Tensor<2>,
    norm: Tensor<1>,
    eps: f64,
    weights: [Tensor<2>; 2],
) -> (Tensor<2>, [Tensor<2>; 2]) {
    let [sum, normed] = add_rms_norm(x, y, norm, eps);
    (sum, linear(normed, weights))
}

/// `swiglu(gate, up) · weight`.
pub fn swiglu_linear(gate: Tensor<2>, up: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let [y] = linear(swiglu(gate, up), [weight]);
    y
}

/// `(x − mean) / sqrt(var + eps) · weight + bias`, mean and biased variance over the last axis (Ba,
/// Kiros and Hinton 2016).
///
/// `x` `[…, d]`, `weight` and `bias` `[d]`; the result has the shape of `x`.
pub fn layer_norm<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
) -> Tensor<D> {
    crate::rms_norm::check(&x, &weight);
    crate::rms_norm::check(&x, &bias);
    let centred = x.clone() - x.mean_dim(D - 1);
    rms_norm(centred, weight, eps) + bias.unsqueeze::<D>()
}

/// `x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³)))`, the approximation of the GELU that GPT-2 uses
/// (Hendrycks and Gimpel 2016), element by element.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let inner = (x.clone().powi_scalar(3) * 0.044715 + x.clone()) * (2.0 / PI).sqrt();
    x * (inner.tanh() + 1.0) * 0.5
}

/// `cap · tanh(x / cap)`: keeps numbers within ±cap (Gemma 2, 2024), element by element.
pub fn softcap<const D: usize>(x: Tensor<D>, cap: f64) -> Tensor<D> {
    (x / cap).tanh() * cap
}

/// Rotates the halves of each head: `(x0, x1) → (x0·cos − x1·sin, x1·cos + x0·sin)`.
///
/// `x` `[batch, time, heads, head_dim]`; see [`RopeTables`] for the tables.
pub fn rope(x: Tensor<4>, tables: &RopeTables) -> Tensor<4> {
    crate::rope::check(&x, tables);
    let half = x.dims()[3] / 2;
    let (cos, sin) = (
        tables.cos.clone().unsqueeze_dim::<4>(2),
        tables.sin.clone().unsqueeze_dim::<4>(2),
    );
    let (x0, x1) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    Tensor::cat(
        vec![
            x0.clone() * cos.clone() - x1.clone() * sin.clone(),
            x1 * cos + x0 * sin,
        ],
        3,
    )
}

/// Scaled dot-product attention with grouped heads over one range of keys per query.
///
/// Semantics as in [`crate::attention()`]. Builds `[batch, heads, time, keys]` tensors.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, span: &AttentionSpan) -> Tensor<4> {
    attention_of(q, k, v, span, |scores| scores)
}

/// [`attention()`] whose scores are kept within ±`cap` by [`softcap`] before the softmax.
pub fn softcapped_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    span: &AttentionSpan,
    cap: f64,
) -> Tensor<4> {
    attention_of(q, k, v, span, |scores| softcap(scores, cap))
}

fn attention_of(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    span: &AttentionSpan,
    bend: impl Fn(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let dims = Dims::of(&q, &k, &v, span);
    let Dims {
        batch,
        time,
        keys,
        heads,
        kv_heads,
        head_dim,
    } = dims;
    let scores_shape = [batch, heads, time, keys];
    let hidden = hidden_keys(span, &dims).expand(scores_shape);
    let bad_query = non_finite_rows(q.clone());
    let bad_key = non_finite_rows(k.clone()).bool_or(non_finite_rows(v.clone()));
    let sees_bad_key = {
        let by_head: Tensor<4, Bool> = spread_heads(bad_key.clone().float(), heads)
            .greater_elem(0.5)
            .swap_dims(1, 2)
            .swap_dims(2, 3);
        let visible = hidden.clone().bool_not();
        by_head.expand(scores_shape).bool_and(visible).any_dim(3)
    };
    let undefined = bad_query.clone().bool_or(sees_bad_key.swap_dims(1, 2));
    let hide_key = bad_key.expand([batch, keys, kv_heads, head_dim]);
    let q = q
        .mask_fill(bad_query.expand([batch, time, heads, head_dim]), 0.0)
        .swap_dims(1, 2);
    let k = spread_heads(k.mask_fill(hide_key.clone(), 0.0), heads).swap_dims(1, 2);
    let v = spread_heads(v.mask_fill(hide_key, 0.0), heads).swap_dims(1, 2);
    let scores = bend(q.matmul(k.swap_dims(2, 3)) / (head_dim as f64).sqrt());
    // Once before the exponential and once after: neither an infinite hidden score nor a row
    // that is itself NaN may reach another row, forward or backward.
    let weights = softmax(scores.mask_fill(hidden.clone(), HIDDEN_SCORE), 3).mask_fill(hidden, 0.0);
    let out = weights.matmul(v).swap_dims(1, 2);
    out.mask_fill(undefined.expand([batch, time, heads, head_dim]), f32::NAN)
}

/// `[batch, 1, time, keys]`, true where the query may not see the key.
fn hidden_keys(span: &AttentionSpan, dims: &Dims) -> Tensor<4, Bool> {
    let device = span.first_key.device();
    let shape = [dims.batch, dims.time, dims.keys];
    let key = Tensor::<1, Int>::arange(0..dims.keys as i64, &device);
    let key = key.reshape([1, 1, dims.keys]).expand(shape);
    let past = dims.past_i64(span);
    let last = Tensor::<1, Int>::arange(past..past + dims.time as i64, &device);
    let last = last.reshape([1, dims.time, 1]).expand(shape);
    let first = span
        .first_key
        .clone()
        .reshape([dims.batch, dims.time, 1])
        .expand(shape);
    let before = key
        .clone()
        .lower(first)
        .bool_and(key.clone().not_equal(last.clone()));
    before
        .bool_or(key.greater(last))
        .reshape([dims.batch, 1, dims.time, dims.keys])
}

/// `[a, b, c, 1]`, true where the last axis holds anything that is not finite.
fn non_finite_rows(x: Tensor<4>) -> Tensor<4, Bool> {
    x.is_finite().bool_not().any_dim(3)
}

/// `[b, s, kv, d]` → `[b, s, heads, d]`, each key head repeated for its group of query heads.
fn spread_heads(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, keys, kv_heads, width] = x.dims();
    if heads == kv_heads {
        return x;
    }
    x.unsqueeze_dim::<5>(3)
        .expand([batch, keys, kv_heads, heads / kv_heads, width])
        .reshape([batch, keys, heads, width])
}

/// `log softmax(hidden · weight / temperature)[target]` of each row.
///
/// `hidden` `[n, d]`, `weight` `[d, v]`, `targets` `[n]` → `[n]`.
pub fn linear_token_logprobs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> Tensor<1> {
    head::check(&hidden, &weight, &targets, temperature);
    let logprobs = log_softmax(hidden.matmul(weight) / temperature, 1);
    logprobs
        .gather(1, targets.unsqueeze_dim::<2>(1))
        .squeeze_dim(1)
}

/// [`linear_token_logprobs`] and the entropy `−Σ p·log p` of each row, in nats, both `[n]`.
pub fn linear_token_logprobs_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    head::check(&hidden, &weight, &targets, temperature);
    let logprobs = log_softmax(hidden.matmul(weight) / temperature, 1);
    let entropy = (logprobs.clone().exp() * logprobs.clone())
        .sum_dim(1)
        .neg()
        .squeeze_dim(1);
    let chosen = logprobs
        .gather(1, targets.unsqueeze_dim::<2>(1))
        .squeeze_dim(1);
    (chosen, entropy)
}

/// One AdamW update by a loop over host numbers; semantics as in [`crate::adamw()`].
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: &mut Moments,
    step: &AdamWStep,
) -> Tensor<D> {
    crate::adamw::check(&param, &grad, moments);
    let (device, dtype, shape) = (param.device(), param.dtype(), param.dims());
    let mut values: Vec<f32> = param.into_data().iter::<f32>().collect();
    let grad: Vec<f32> = grad.into_data().iter::<f32>().collect();
    let coefficients = Coefficients::new(step);
    coefficients.update(&mut values, &grad, &mut moments.first, &mut moments.second);
    Tensor::from_data(TensorData::new(values, shape), (&device, dtype))
}

/// `Σ x²`: rows along the last axis are summed on the device, the row sums in `f64` in order.
pub fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> f64 {
    let rows = (x.clone() * x.clone()).sum_dim(D - 1);
    rows.into_data().iter::<f64>().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn floats(x: Tensor<2>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    #[test]
    fn layer_norm_centres_scales_and_shifts() {
        let device = Device::flex();
        let x = Tensor::from_data([[1.0, 2.0, 6.0]], &device);
        let weight = Tensor::from_data([1.0, 2.0, -1.0], &device);
        let bias = Tensor::from_data([0.5, 0.0, 1.0], &device);
        // mean 3, biased variance 14/3
        let sigma = (14.0f32 / 3.0).sqrt();
        let want = [-2.0 / sigma + 0.5, -2.0 / sigma, -3.0 / sigma + 1.0];
        for (x, y) in floats(layer_norm(x, weight, bias, 0.0))
            .into_iter()
            .zip(want)
        {
            assert!((x - y).abs() < 1e-5, "{x} {y}");
        }
    }

    #[test]
    fn gelu_and_soft_caps_at_known_points() {
        let x = Tensor::from_data([[0.0, 1.0, -1.0, 20.0, -20.0]], &Device::flex());
        let gelu = floats(gelu_tanh(x.clone()));
        for (x, y) in gelu
            .into_iter()
            .zip([0.0, 0.841_192, -0.158_808, 20.0, 0.0])
        {
            assert!((x - y).abs() < 1e-5, "{x} {y}");
        }
        let capped = floats(softcap(x, 2.0));
        let half = 2.0 * 0.5f32.tanh();
        for (x, y) in capped.into_iter().zip([0.0, half, -half, 2.0, -2.0]) {
            assert!((x - y).abs() < 1e-5, "{x} {y}");
        }
    }
}
