//! The loss of the value function.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::masked::{Denominator, fraction_of, mean_with, zero_invalid};

/// Values and their targets, each `[batch, time]`.
#[derive(Clone, Debug)]
pub struct ValueInput {
    /// Of the value function being trained.
    pub values: Tensor<2>,
    /// Of the value function at the rollout.
    pub old_values: Tensor<2>,
    /// The targets, from advantages that were not whitened.
    pub returns: Tensor<2>,
    /// The response, its end token included.
    pub mask: Tensor<2, Bool>,
}

/// The value loss and, detached, how often clipping decided it.
#[derive(Clone, Debug)]
pub struct ValueLoss {
    /// ½ mean of the squared error in force.
    pub loss: Tensor<1>,
    /// Tokens whose clipped squared error is strictly the larger one.
    pub clip_fraction: Tensor<1>,
}

/// ½ · mean max((V − R)², (V_c − R)²) with V_c = clamp(V, V_old − clip, V_old + clip), the value
/// loss of the PPO implementations; without a clip ½ · mean (V − R)². Means are over valid tokens,
/// Σ / denominator.
///
/// The clamp is of the value itself: V_old + clamp(V − V_old) rounds inside the band and then
/// counts as clipped. Old values and returns are constants, whatever they carry.
///
/// # Panics
/// If shapes disagree.
pub fn value_loss(input: ValueInput, clip: Option<f64>, denominator: Denominator) -> ValueLoss {
    let ValueInput {
        values,
        old_values,
        returns,
        mask,
    } = input;
    let [batch, time] = mask.dims();
    assert_shape!(values, [batch, time]);
    assert_shape!(old_values, [batch, time]);
    assert_shape!(returns, [batch, time]);
    let values = zero_invalid(values, &mask);
    let old_values = zero_invalid(old_values.without_autodiff(), &mask);
    let returns = zero_invalid(returns.without_autodiff(), &mask);
    let error = square(values.clone() - returns.clone());
    let mut clipped = mask.zeros_like();
    let mut in_force = error.clone();
    if let Some(clip) = clip {
        let near = clamp_between(values, old_values.clone() - clip, old_values + clip);
        let bounded = square(near - returns);
        let free = error.without_autodiff();
        clipped = bounded.clone().without_autodiff().greater(free);
        in_force = in_force.mask_where(clipped.clone(), bounded);
    }
    ValueLoss {
        loss: mean_with(in_force, &mask, denominator) * 0.5,
        clip_fraction: fraction_of(clipped, &mask, denominator),
    }
}

fn square(x: Tensor<2>) -> Tensor<2> {
    x.clone() * x
}

/// `values` where they lie between the bounds, exactly; else the bound, which is a constant.
fn clamp_between(values: Tensor<2>, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<2> {
    let plain = values.clone().without_autodiff();
    let below = plain.clone().lower(lower.clone());
    let above = plain.greater(upper.clone());
    values.mask_where(below, lower).mask_where(above, upper)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn run(values: [f32; 3], old: [f32; 3], returns: [f32; 3]) -> (f32, f32, Vec<f32>) {
        let device = Device::flex();
        let values = Tensor::<2>::from_floats([values], &device.clone().autodiff()).require_grad();
        let input = ValueInput {
            values: values.clone(),
            old_values: Tensor::from_floats([old], &device),
            returns: Tensor::from_floats([returns], &device),
            mask: Tensor::from_bool([[true; 3]], &device),
        };
        let out = value_loss(input, Some(0.2), Denominator::Own);
        let gradients = out.loss.backward();
        let gradient = numbers(values.grad(&gradients).unwrap());
        (
            out.loss.into_scalar(),
            out.clip_fraction.into_scalar(),
            gradient,
        )
    }

    /// A value that ran towards its target beyond the band is held by the band's edge: no gradient.
    /// One that ran away keeps its own error and gradient.
    #[test]
    fn clipping_takes_the_larger_error() {
        let (loss, clipped, gradient) = run([1.0, -1.0, 0.1], [0.0; 3], [1.0; 3]);
        let want = 0.5 * (0.64 + 4.0 + 0.81) / 3.0;
        assert!((loss - want).abs() < 1e-6, "{loss} {want}");
        assert!((clipped - 1.0 / 3.0).abs() < 1e-7);
        let want = [0.0, -2.0 / 3.0, -0.9 / 3.0];
        assert!(
            gradient.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6),
            "{gradient:?}"
        );
    }

    /// The same below the band: the value ran down towards its target.
    #[test]
    fn clipping_holds_on_both_sides() {
        let (loss, clipped, gradient) = run([-1.0, 1.0, 0.0], [0.0; 3], [-2.0, 2.0, 0.0]);
        let want = 0.5 * (1.8f32.powi(2) + 1.8f32.powi(2)) / 3.0;
        assert!((loss - want).abs() < 1e-6, "{loss} {want}");
        assert!((clipped - 2.0 / 3.0).abs() < 1e-6);
        assert_eq!(gradient, [0.0; 3]);
    }

    /// Pitfall: old + clamp(v − old) is inexact inside the band and fakes the clip fraction.
    #[test]
    fn inside_the_band_nothing_counts_as_clipped() {
        let (_, clipped, _) = run([0.1, 0.33, 16.7], [0.2, 0.4, 16.75], [5.0, -7.0, 0.3]);
        assert_eq!(clipped, 0.0);
    }
}
