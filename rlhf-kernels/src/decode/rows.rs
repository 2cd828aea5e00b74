//! Operations on rows of numbers.

use std::mem::MaybeUninit;

use crate::fast::simd::add_row;
use crate::fast::{rms_norm as rms, swiglu as gated};

/// Memory that holds numbers, as memory that something is written to.
fn to_write(out: &mut [f32]) -> &mut [MaybeUninit<f32>] {
    // SAFETY: the same layout; what is written there are numbers again.
    unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<f32>]) }
}

/// RMSNorm of each row of the weight's length, as [`crate::rms_norm`].
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        rms::forward_row(x, weight, eps, to_write(out));
    }
}

/// LayerNorm of each row of the weight's length, as [`crate::layer_norm`].
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = weight.len();
    for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let mean = x.iter().sum::<f32>() / width as f32;
        let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
        let scale = 1.0 / (variance + eps).sqrt();
        for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *out = (x - mean) * scale * weight + bias;
        }
    }
}

/// Rotates the heads of one token by its angles, in place: `x` `[heads, head_dim]`, cosines and
/// sines `[head_dim / 2]`.
pub fn rotate(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for x in x.chunks_exact_mut(2 * half) {
        let (x0, x1) = x.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (x0[i], x1[i]);
            x0[i] = a * cos[i] - b * sin[i];
            x1[i] = b * cos[i] + a * sin[i];
        }
    }
}

/// The SwiGLU product of rows that hold the gate and then the other factor: `x` `[rows, 2·width]`,
/// `out` `[rows, width]`.
pub fn swiglu(x: &[f32], width: usize, out: &mut [f32]) {
    for (x, out) in x.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
        let (gate, up) = x.split_at(width);
        gated::forward_chunk(gate, up, to_write(out));
    }
}

/// GELU in its tanh form, in place, as [`crate::gelu_tanh`].
pub fn gelu_tanh(x: &mut [f32]) {
    let root = (2.0 / std::f32::consts::PI).sqrt();
    for x in x {
        let inner = root * (*x + 0.044_715 * *x * *x * *x);
        *x *= 0.5 * (1.0 + inner.tanh());
    }
}

/// `cap · tanh(x / cap)`, in place.
pub fn softcap(x: &mut [f32], cap: f32) {
    for x in x {
        *x = cap * (*x / cap).tanh();
    }
}

/// Adds `y` to `x`.
pub fn add(x: &mut [f32], y: &[f32]) {
    add_row(x, y);
}

/// Adds the bias to each row of its length.
pub fn add_bias(x: &mut [f32], bias: &[f32]) {
    for x in x.chunks_exact_mut(bias.len()) {
        add_row(x, bias);
    }
}
