//! AdamW with decoupled weight decay (Loshchilov and Hutter 2019).

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// The numbers of one update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment, for example 0.9.
    pub beta1: f64,
    /// Decay of the second moment, for example 0.999 or 0.95.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay: the parameter is scaled by `1 − lr · weight_decay`. 0 for norms.
    pub weight_decay: f64,
    /// Updates made to this parameter including this one: the first has 1.
    pub step: u64,
    /// The gradient is multiplied by this first: the coefficient of norm clipping.
    pub grad_scale: f64,
}

/// The running moments of one parameter, in its row-major order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// Running mean of the gradient.
    pub first: Vec<f32>,
    /// Running mean of its square.
    pub second: Vec<f32>,
}

impl Moments {
    /// The state before the first update of a parameter of `len` numbers.
    pub fn zeros(len: usize) -> Self {
        Self {
            first: vec![0.0; len],
            second: vec![0.0; len],
        }
    }
}

/// One AdamW update of `param` by `grad`, the new parameter returned and `moments` moved on.
///
/// With `g = grad · grad_scale`: `m ← β₁m + (1−β₁)g`, `v ← β₂v + (1−β₂)g²`,
/// `p ← p·(1 − lr·wd) − lr · m̂ / (sqrt(v̂) + eps)`, hats divided by `1 − βᵗ`.
/// Fast: works in place if the tensor is the only owner of its numbers, and copies once if not.
///
/// # Panics
/// If shapes differ, `moments` has another length, or a tensor lives on an autodiff device
/// (take `inner()` first).
pub fn adamw<const D: usize>(
    param: Tensor<D>,
    grad: Tensor<D>,
    moments: &mut Moments,
    step: &AdamWStep,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if fast::runs_on(&param) && fast::runs_on(&grad) {
        check(&param, &grad, moments);
        return fast::adamw::adamw(param, grad, moments, step);
    }
    plain::adamw(param, grad, moments, step)
}

pub(crate) fn check<const D: usize>(param: &Tensor<D>, grad: &Tensor<D>, moments: &Moments) {
    assert_eq!(
        param.dims(),
        grad.dims(),
        "adamw: parameter and gradient differ in shape"
    );
    let len = param.shape().num_elements();
    assert!(
        moments.first.len() == len && moments.second.len() == len,
        "adamw: moments of {} and {} numbers for a parameter of {len}",
        moments.first.len(),
        moments.second.len()
    );
    assert!(
        !param.device().is_autodiff() && !grad.device().is_autodiff(),
        "adamw: takes tensors of the plain device"
    );
}

/// The step's numbers in the precision of the parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coefficients {
    grad_scale: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    keep: f32,
    rate: f32,
    root_scale: f32,
    eps: f32,
}

impl Coefficients {
    pub(crate) fn new(step: &AdamWStep) -> Self {
        let t = step.step as f64;
        let (correct1, correct2) = (1.0 - step.beta1.powf(t), 1.0 - step.beta2.powf(t));
        Self {
            grad_scale: step.grad_scale as f32,
            beta1: step.beta1 as f32,
            one_minus_beta1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            one_minus_beta2: (1.0 - step.beta2) as f32,
            keep: (1.0 - step.lr * step.weight_decay) as f32,
            rate: (step.lr / correct1) as f32,
            root_scale: (1.0 / correct2.sqrt()) as f32,
            eps: step.eps as f32,
        }
    }

    /// Updates slices of one length; element by element, so any split gives the same bits.
    #[inline(always)]
    pub(crate) fn update(
        self,
        param: &mut [f32],
        grad: &[f32],
        first: &mut [f32],
        second: &mut [f32],
    ) {
        let len = param.len();
        let (grad, first, second) = (&grad[..len], &mut first[..len], &mut second[..len]);
        for i in 0..len {
            let g = grad[i] * self.grad_scale;
            let m = self.beta1 * first[i] + self.one_minus_beta1 * g;
            let v = self.beta2 * second[i] + self.one_minus_beta2 * (g * g);
            first[i] = m;
            second[i] = v;
            param[i] =
                param[i] * self.keep - self.rate * m / (v.sqrt() * self.root_scale + self.eps);
        }
    }
}
