//! Bodies for Burn's flex backend: slices, SIMD chosen at run time, rayon in fixed chunks.
//!
//! How work is split depends on the shapes only, and partial sums are joined in order, so results
//! do not depend on the number of threads.

pub(crate) mod adamw;
pub(crate) mod add_linear;
pub(crate) mod add_rms_norm;
pub(crate) mod attention;
mod attention_backward;
mod attention_op;
pub(crate) mod buffer;
pub(crate) mod embedding;
pub(crate) mod head;
mod head_op;
pub(crate) mod jobs;
pub(crate) mod linear;
pub(crate) mod norm_linear;
mod outputs;
mod product;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod simd;
pub(crate) mod squares;
pub(crate) mod storage;
mod strip;
pub(crate) mod swiglu;
pub(crate) mod swiglu_linear;
mod tiles;
pub(crate) mod vector;

pub(crate) use attention_op::attention;
pub(crate) use head_op::linear_token_logprobs;
pub(crate) use storage::runs_on;
