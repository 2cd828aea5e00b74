//! KTO: a loss on single answers that were called good or bad.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Bool, Tensor, assert_shape};

use crate::masked::mean_of;

/// Log-probs of whole answers, summed over their tokens.
#[derive(Clone, Debug)]
pub struct KtoInput {
    /// `[batch]`: under the policy being trained.
    pub logps: Tensor<1>,
    /// `[batch]`: under the frozen reference.
    pub ref_logps: Tensor<1>,
    /// `[batch]`: `true` where the answer is desirable.
    pub desirable: Tensor<1, Bool>,
    /// One element: see [`kto_reference_point`].
    pub reference_point: Tensor<1>,
}

/// The weights of KTO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KtoConfig {
    /// How strongly the policy is held to the reference.
    pub beta: f64,
    /// The weight of desirable answers.
    pub desirable_weight: f64,
    /// The weight of the others.
    pub undesirable_weight: f64,
}

/// The loss; `rewards` is detached.
#[derive(Clone, Debug)]
pub struct KtoOutput {
    /// The mean over the batch.
    pub loss: Tensor<1>,
    /// `[batch]`
    pub per_example: Tensor<1>,
    /// `[batch]`: beta · (logps − ref_logps)
    pub rewards: Tensor<1>,
}

/// z0 = max(0, mean(kl_logps − kl_ref_logps)): an estimate of KL(policy ‖ reference) from answers
/// put to the *wrong* prompts of the batch, one element, without gradient.
///
/// Take it over the whole update where that is split into micro-batches.
///
/// # Panics
/// If the lengths differ.
pub fn kto_reference_point(kl_logps: Tensor<1>, kl_ref_logps: Tensor<1>) -> Tensor<1> {
    let [batch] = kl_logps.dims();
    assert_shape!(kl_ref_logps, [batch]);
    mean_of(kl_logps.without_autodiff() - kl_ref_logps.without_autodiff()).clamp_min(0.0)
}

/// With r = logps − ref_logps: desirable_weight · (1 − σ(beta · (r − z0))) for desirable answers,
/// undesirable_weight · (1 − σ(beta · (z0 − r))) for the others, averaged over the batch
/// (Ethayarajh et al., "KTO", 2024, equation 8).
///
/// # Panics
/// If shapes disagree.
pub fn kto_loss(input: KtoInput, config: &KtoConfig) -> KtoOutput {
    let [batch] = input.logps.dims();
    assert_shape!(input.ref_logps, [batch]);
    assert_shape!(input.desirable, [batch]);
    assert_shape!(input.reference_point, [1]);
    let r = input.logps - input.ref_logps.without_autodiff();
    let rewards = r.clone().without_autodiff() * config.beta;
    let gain = (r - input.reference_point.without_autodiff()) * config.beta;
    // 1 − σ(x) = σ(−x), exact also where σ(x) rounds to 1.
    let good = sigmoid(gain.clone().neg()) * config.desirable_weight;
    let bad = sigmoid(gain) * config.undesirable_weight;
    let per_example = bad.mask_where(input.desirable, good);
    KtoOutput {
        loss: mean_of(per_example.clone()),
        per_example,
        rewards,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn vector<const N: usize>(values: [f32; N]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    /// Pitfall: z0 is clamped at 0.
    #[test]
    fn the_reference_point_is_never_negative() {
        let point = |a, b| kto_reference_point(vector(a), vector(b)).into_scalar::<f32>();
        assert_eq!(point([-3.0, -5.0], [-1.0, -1.0]), 0.0);
        assert_eq!(point([-3.0, 0.0], [-4.0, -2.0]), 1.5);
    }

    #[test]
    fn desirable_and_other_answers_pull_in_opposite_directions() {
        let device = Device::flex().autodiff();
        let logps = Tensor::<1>::from_floats([-1.0, -1.0], &device).require_grad();
        let input = KtoInput {
            logps: logps.clone(),
            ref_logps: vector([-2.0, -2.0]),
            desirable: Tensor::from_bool([true, false], &Device::flex()),
            reference_point: vector([0.5]),
        };
        let config = KtoConfig {
            beta: 2.0,
            desirable_weight: 3.0,
            undesirable_weight: 0.5,
        };
        let out = kto_loss(input, &config);
        let gradients = out.loss.backward();
        let sigma = |x: f32| 1.0 / (1.0 + (-x).exp());
        let per_example = numbers(out.per_example);
        assert!((per_example[0] - 3.0 * sigma(-1.0)).abs() < 1e-6);
        assert!((per_example[1] - 0.5 * sigma(1.0)).abs() < 1e-6);
        let gradient = numbers(logps.grad(&gradients).unwrap());
        let slope = sigma(1.0) * sigma(-1.0);
        assert!((gradient[0] + 3.0 * slope).abs() < 1e-6, "{gradient:?}");
        assert!((gradient[1] - 0.5 * slope).abs() < 1e-6, "{gradient:?}");
        assert_eq!(numbers(out.rewards), [2.0, 2.0]);
    }
}
