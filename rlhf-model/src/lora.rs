//! Low-rank adapters (Hu et al., 2021, "LoRA: Low-rank adaptation of large language models").
//!
//! A matrix `W` `[in, out]` that is frozen gets a product of two thin ones beside it:
//! `x·W + (x·A)·B·s`. The sum is never formed while training, so no gradient of the size of `W`
//! exists. `B` starts at 0: a fresh adapter changes nothing.
//!
//! Adapters stack: training on from an adapted model leaves its adapters frozen and adds one more,
//! so that the model it started from is still there as the reference.

mod config;
mod model;

pub use config::LoraConfig;

use crate::layers::{add_projected, project};
use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use rlhf_random::Rng;

/// A matrix's adapter.
#[derive(Module, Debug)]
pub struct LoraAdapter {
    /// `[in, rank]`.
    pub a: Param<Tensor<2>>,
    /// `[rank, out]`.
    pub b: Param<Tensor<2>>,
    #[module(skip)]
    scaling: LoraScaling,
    #[module(skip)]
    dropout: f64,
    #[module(skip)]
    trained: bool,
}

/// The factor on an adapter's product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LoraScaling {
    /// What is divided by the rank, or by its root.
    pub alpha: f64,
    /// alpha/√rank in place of alpha/rank (Kalajdzievski, 2023, "A rank stabilization scaling
    /// factor for fine-tuning with LoRA").
    pub rslora: bool,
}

impl LoraScaling {
    /// The factor for a rank.
    pub fn factor(self, rank: usize) -> f64 {
        let rank = rank as f64;
        self.alpha / if self.rslora { rank.sqrt() } else { rank }
    }
}

impl LoraAdapter {
    /// A frozen adapter of these matrices, `[in, rank]` and `[rank, out]`.
    ///
    /// # Panics
    /// If their ranks differ.
    pub fn new(a: Tensor<2>, b: Tensor<2>, scaling: LoraScaling) -> Self {
        assert_eq!(a.dims()[1], b.dims()[0], "the ranks of A and B differ");
        Self {
            a: Param::from_tensor(a),
            b: Param::from_tensor(b),
            scaling,
            dropout: 0.0,
            trained: false,
        }
        .no_grad()
    }

    /// The rank.
    pub fn rank(&self) -> usize {
        self.a.dims()[1]
    }

    /// The factor's settings.
    pub fn scaling(&self) -> LoraScaling {
        self.scaling
    }

    /// The share of the input's numbers that training drops.
    pub fn dropout(&self) -> f64 {
        self.dropout
    }

    /// Whether it is trained, and so no part of the reference.
    pub fn is_trained(&self) -> bool {
        self.trained
    }

    /// Whether training passes drop some of its input.
    fn drops(&self) -> bool {
        self.trained && self.dropout > 0.0
    }

    /// `y + (x·A)·B·s`: `y` `[n, out]`, `x` `[n, in]`. With a stream, some of `x` is dropped.
    pub(crate) fn add_to(&self, y: Tensor<2>, x: Tensor<2>, dropout: Option<&Rng>) -> Tensor<2> {
        let x = match dropout {
            Some(rng) if self.drops() => dropped(x, self.dropout, rng.clone()),
            _ => x,
        };
        // The factor goes where the numbers are few.
        let low = project(x, self.a.val()) * self.scaling.factor(self.rank());
        add_projected(y, low, self.b.val())
    }

    /// `A·B·s`, `[in, out]`.
    pub(crate) fn product(&self) -> Tensor<2> {
        self.a.val().matmul(self.b.val()) * self.scaling.factor(self.rank())
    }
}

/// `x` with a share `p` of its numbers set to 0 and the others divided by 1 − p.
fn dropped(x: Tensor<2>, p: f64, mut rng: Rng) -> Tensor<2> {
    let [rows, width] = x.dims();
    let kept = (1.0 / (1.0 - p)) as f32;
    let factor = |_| if rng.chance(p) { 0.0 } else { kept };
    let factors: Vec<f32> = (0..rows * width).map(factor).collect();
    let device = x.device().without_autodiff();
    x * Tensor::from_data(TensorData::new(factors, [rows, width]), &device)
}

#[cfg(test)]
mod tests;
