//! The operations that a transformer spends its time in: attention, RMSNorm, rotary positions,
//! the SwiGLU product, the language-model head and AdamW.
//!
//! Each has a body in plain tensor operations ([`plain`]), which serves every device and defines
//! what the operation means, and (feature `flex`, on by default) a fast body for Burn's CPU
//! backend with a hand-written gradient. The functions at the root choose at run time: the fast
//! body when every tensor lives on `flex` in `f32` and [`kernels`] says [`Kernels::Fast`], the
//! plain one otherwise. Both agree to rounding; results of either do not depend on the number of
//! threads.
//!
//! Shapes are checked by assertions: a wrong shape is a mistake in the program that calls, never
//! a property of the data.

// The only crate of the workspace with `unsafe`: SIMD dispatch, matrix products through raw
// pointers, and buffers that are written before they are read.
#![allow(unsafe_code)]

mod adamw;
mod attention;
#[cfg(feature = "flex")]
pub mod decode;
mod embedding;
mod head;
mod linear;
mod norm_linear;
pub mod parts;
mod rms_norm;
mod rope;
mod squares;
mod swiglu;
mod switch;

#[cfg(feature = "flex")]
mod fast;
pub mod plain;

pub use adamw::{AdamWStep, Moments, adamw};
pub use attention::{AttentionSpan, attention};
pub use embedding::embedding;
pub use head::{KEPT_LOGITS, linear_token_logprobs, linear_token_logprobs_entropy};
pub use linear::{add_linear, linear};
pub use norm_linear::{add_rms_norm_linear, rms_norm_linear};
pub use plain::{gelu_tanh, layer_norm, softcap, softcapped_attention};
pub use rms_norm::{add_rms_norm, rms_norm};
pub use rope::{RopeTables, rope};
pub use squares::sum_of_squares;
pub use swiglu::{swiglu, swiglu_linear};
pub use switch::{Kernels, kernels, set_kernels};
