//! What decoding spends its time in, over slices: weights packed once, rows of few tokens, a cache of
//! keys and values. Large products are shared by the threads of the pool that calls, all else is the
//! calling thread's.
//!
//! A row's results have the same bits alone and beside any others, and on every processor that
//! multiplies and adds in one step ([`available`]).

mod attend;
mod numbers;
mod packed;
mod panels;
mod product;
mod rows;
mod stored;

pub use attend::{CachedHeads, attend};
pub use numbers::Numbers;
pub use packed::PackedMatrix;
pub use panels::Side;
pub use rows::{add, add_bias, gelu_tanh, layer_norm, rms_norm, rotate, softcap, swiglu};
pub use stored::Storage;

use crate::{Kernels, kernels};

/// Whether these apply: fast bodies are wanted ([`kernels`]) and the processor has fused
/// multiply-add, without which they would be slow.
pub fn available() -> bool {
    kernels() == Kernels::Fast && fused_multiply_add()
}

#[cfg(target_arch = "x86_64")]
fn fused_multiply_add() -> bool {
    crate::fast::simd::has_avx2()
}

#[cfg(not(target_arch = "x86_64"))]
fn fused_multiply_add() -> bool {
    cfg!(target_arch = "aarch64")
}
