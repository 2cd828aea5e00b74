//! The parts that blocks are made of: matrices with and without bias, and norms.

use crate::ModelConfig;
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use rlhf_kernels::{layer_norm, rms_norm};

/// Matrix products of fewer rows than this take another route through the library and round
/// differently; they are filled up, so that a row gets the same bits alone and in any batch.
const MIN_ROWS: usize = 8;

/// `x · w` for `x` `[n, in]`, `w` `[in, out]`.
pub(crate) fn project(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    let [rows, width] = x.dims();
    if rows >= MIN_ROWS {
        return x.matmul(w);
    }
    let fill = Tensor::zeros([MIN_ROWS - rows, width], &x.device());
    Tensor::cat(vec![x, fill], 0).matmul(w).narrow(0, 0, rows)
}

/// `x · weight + bias`.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`, where the family has one.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// `[n, in]` → `[n, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = project(x, self.weight.val());
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze::<2>(),
            None => y,
        }
    }
}

/// A norm over the last axis: LayerNorm where it has a bias, RMSNorm otherwise.
#[derive(Module, Debug)]
pub struct Norm {
    /// `[d]`, as the file holds it.
    pub weight: Param<Tensor<1>>,
    /// `[d]`, of a LayerNorm.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Norm {
    /// Normalises `[…, d]`.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>, config: &ModelConfig) -> Tensor<D> {
        let (weight, eps) = (self.weight.val(), config.rms_norm_eps);
        match &self.bias {
            Some(bias) => layer_norm(x, weight, bias.val(), eps),
            None if config.family.norm_plus_one() => rms_norm(x, weight + 1.0, eps),
            None => rms_norm(x, weight, eps),
        }
    }
}
