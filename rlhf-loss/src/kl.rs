//! How far the policy has moved from the reference.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::logprobs::distribution;
use crate::masked::zero_invalid;

/// An estimate of KL(policy ‖ reference) from one sampled token, with d = log π − log π_ref
/// (J. Schulman, "Approximating KL divergence", 2020).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KlEstimator {
    /// d: unbiased, of large variance; the one for rewards. As a loss term its expected gradient
    /// is zero on-policy.
    #[default]
    K1,
    /// d²/2: biased, of small variance; its gradient is that of the KL.
    K2,
    /// e^{−d} − 1 + d: unbiased and never negative.
    K3,
}

/// The estimate at each token, `[batch, time]`: k1 = d, k2 = d²/2 or k3 = e^{−d} − 1 + d with
/// d = logprobs − ref_logprobs, taken before any exponential at valid positions only. Nothing is
/// clamped.
///
/// # Panics
/// If the shapes differ.
pub fn kl_estimate(
    logprobs: Tensor<2>,
    ref_logprobs: Tensor<2>,
    mask: &Tensor<2, Bool>,
    estimator: KlEstimator,
) -> Tensor<2> {
    let [batch, time] = mask.dims();
    assert_shape!(logprobs, [batch, time]);
    assert_shape!(ref_logprobs, [batch, time]);
    let d = zero_invalid(logprobs - ref_logprobs, mask);
    match estimator {
        KlEstimator::K1 => d,
        KlEstimator::K2 => d.clone() * d * 0.5,
        KlEstimator::K3 => d.clone().neg().exp() - 1.0 + d,
    }
}

/// KL(p ‖ q) = Σ_v p_v (log p_v − log q_v) of the whole distribution at each position,
/// `[batch, time]`, from the logits `[batch, time, vocab]` of p and of q.
///
/// A token that p excludes (logit −inf) adds nothing.
///
/// # Panics
/// If shapes disagree.
pub fn kl_full(logits: Tensor<3>, other_logits: Tensor<3>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    assert_eq!(
        logits.dims(),
        other_logits.dims(),
        "both logits need one shape"
    );
    let log_p = distribution(logits, mask, 1.0).log_p;
    let log_q = distribution(other_logits, mask, 1.0).log_p;
    let p = log_p.clone().exp();
    let impossible = p.clone().equal_elem(0.0);
    let log_ratio = (log_p - log_q).mask_fill(impossible, 0.0);
    zero_invalid((p * log_ratio).sum_dim(2).squeeze_dim::<2>(2), mask)
}

/// The coefficient of the KL penalty, steered towards a target (Ziegler et al., "Fine-tuning
/// language models from human preferences", 2019, section 2.2).
///
/// It is state: save it with a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveKl {
    /// The coefficient in force.
    pub coef: f64,
    /// The KL aimed at, in nats per response: a sum over its tokens, averaged over responses.
    pub target: f64,
    /// Episodes over which a saturated error of 0.2 changes the coefficient by 20 %.
    pub horizon: f64,
}

impl AdaptiveKl {
    /// After observing `kl` over `episodes` responses:
    /// coef ← coef · (1 + clip(kl/target − 1, ±0.2) · episodes / horizon).
    pub fn observe(&mut self, kl: f64, episodes: usize) {
        let error = (kl / self.target - 1.0).clamp(-0.2, 0.2);
        self.coef *= 1.0 + error * episodes as f64 / self.horizon;
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn pair() -> (Tensor<2>, Tensor<2>, Tensor<2, Bool>) {
        let device = Device::flex();
        let mask = Tensor::from_bool([[true, true, false]], &device);
        let policy = Tensor::from_floats([[-1.0, -3.0, f32::NAN]], &device);
        let reference = Tensor::from_floats([[-2.0, -1.0, 1e30]], &device);
        (policy, reference, mask)
    }

    /// Pitfall: a flipped sign of k1 pays for drifting; a swapped exponent in k3 estimates the
    /// other direction.
    #[test]
    fn signs_and_exponents() {
        let (policy, reference, mask) = pair();
        let kl = |kind| numbers(kl_estimate(policy.clone(), reference.clone(), &mask, kind));
        assert_eq!(kl(KlEstimator::K1), [1.0, -2.0, 0.0]);
        assert_eq!(kl(KlEstimator::K2), [0.5, 2.0, 0.0]);
        let e = std::f32::consts::E;
        let k3 = kl(KlEstimator::K3);
        assert!((k3[0] - 1.0 / e).abs() < 1e-6, "{k3:?}");
        assert!((k3[1] - (e * e - 3.0)).abs() < 1e-5, "{k3:?}");
        assert_eq!(k3[2], 0.0);
    }

    #[test]
    fn the_full_divergence_has_a_direction_and_ignores_what_p_excludes() {
        let device = Device::flex();
        let mask = Tensor::from_bool([[true]], &device);
        let sure = Tensor::from_floats([[[0.0, f32::NEG_INFINITY]]], &device);
        let even = Tensor::from_floats([[[3.0, 3.0]]], &device);
        let kl = numbers(kl_full(sure, even, &mask));
        assert!((kl[0] - 2.0f32.ln()).abs() < 1e-6, "{kl:?}");
    }

    /// Pitfall: the controller clips the proportional error and counts in episodes.
    #[test]
    fn the_controller_saturates() {
        let mut control = AdaptiveKl {
            coef: 0.1,
            target: 6.0,
            horizon: 1000.0,
        };
        control.observe(600.0, 100);
        assert!((control.coef - 0.1 * 1.02).abs() < 1e-12);
        control.observe(0.0, 100);
        assert!((control.coef - 0.1 * 1.02 * 0.98).abs() < 1e-12);
        control.observe(6.6, 100);
        assert!((control.coef - 0.1 * 1.02 * 0.98 * 1.01).abs() < 1e-12);
    }
}
