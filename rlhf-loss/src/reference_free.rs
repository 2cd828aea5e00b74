//! Preference losses that need no reference model: ORPO and SimPO.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, assert_shape};

use crate::dpo::{PairLengths, per_token, smoothed_sigmoid};
use crate::masked::mean_of;
use crate::preference::share;

/// The loss of ORPO and its parts, all of them with their graph.
#[derive(Clone, Debug)]
pub struct OrpoOutput {
    /// nll − lambda · mean(log_sigmoid)
    pub loss: Tensor<1>,
    /// −Σ chosen_logps / Σ chosen_lengths: the supervised part, a mean over this call's tokens.
    pub nll: Tensor<1>,
    /// `[pairs]`: by how much the chosen answer's odds exceed the rejected one's, as a logarithm.
    pub log_odds_ratio: Tensor<1>,
    /// `[pairs]`: log σ of that.
    pub log_sigmoid: Tensor<1>,
}

/// ORPO (Hong et al., 2024, equations 6 and 7): with p = logps / lengths,
/// log-odds = (p_c − p_r) − (log(1 − e^{p_c}) − log(1 − e^{p_r})) and
/// loss = nll − lambda · mean log σ(log-odds).
///
/// Log-probs are summed over the answer, `[pairs]`. An answer more certain than p = −10⁻⁷ is
/// taken as that certain.
///
/// # Panics
/// If the lengths of the vectors differ.
pub fn orpo_loss(
    chosen_logps: Tensor<1>,
    rejected_logps: Tensor<1>,
    lengths: PairLengths,
    lambda: f64,
) -> OrpoOutput {
    let [pairs] = chosen_logps.dims();
    assert_shape!(rejected_logps, [pairs]);
    let tokens = lengths
        .chosen
        .clone()
        .float()
        .cast(chosen_logps.dtype())
        .sum();
    let nll = chosen_logps.clone().sum().neg() / tokens.clamp_min(1.0);
    let chosen = per_token(chosen_logps, lengths.chosen);
    let rejected = per_token(rejected_logps, lengths.rejected);
    let log_odds_ratio =
        chosen.clone() - rejected.clone() - log_one_minus_exp(chosen) + log_one_minus_exp(rejected);
    let log_sigmoid = log_sigmoid(log_odds_ratio.clone());
    let loss = nll.clone() - mean_of(log_sigmoid.clone()) * lambda;
    OrpoOutput {
        loss,
        nll,
        log_odds_ratio,
        log_sigmoid,
    }
}

/// log(1 − e^p) for p < 0. Near 0, where 1 − e^p cancels, by the series of −expm1(p).
fn log_one_minus_exp(p: Tensor<1>) -> Tensor<1> {
    let p = p.clamp_max(-1e-7);
    let near = p.clone().without_autodiff().greater_elem(-0.25);
    let small = p.clone().mask_fill(near.clone().bool_not(), -0.25);
    let large = p.mask_fill(near.clone(), -0.25);
    // −expm1(p) = −p (1 + p/2 (1 + p/3 (1 + p/4 (…)))); the first term left out is below 1e-8.
    let series = (2..=7).rev().fold(small.ones_like(), |rest, k| {
        rest * small.clone() / f64::from(k) + 1.0
    });
    let near_zero = (small.neg() * series).log();
    let far = large.exp().neg().log1p();
    far.mask_where(near, near_zero)
}

/// The settings of SimPO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimpoConfig {
    /// The scale of the rewards.
    pub beta: f64,
    /// The margin by which the chosen answer has to win.
    pub gamma: f64,
    /// ε of flipped labels, below ½; 0 for none.
    pub label_smoothing: f64,
}

/// The loss of SimPO. Everything but `loss` and `per_pair` is detached.
#[derive(Clone, Debug)]
pub struct SimpoOutput {
    /// The mean over pairs.
    pub loss: Tensor<1>,
    /// `[pairs]`
    pub per_pair: Tensor<1>,
    /// `[pairs]`: beta · p of the chosen answer.
    pub chosen_rewards: Tensor<1>,
    /// `[pairs]`: beta · p of the rejected answer.
    pub rejected_rewards: Tensor<1>,
    /// `[pairs]`: chosen less rejected reward, without gamma.
    pub margins: Tensor<1>,
    /// The share of pairs with a positive margin.
    pub accuracy: Tensor<1>,
}

/// SimPO (Meng et al., 2024, equation 6): with p = logps / lengths and
/// h = beta · (p_c − p_r) − gamma, −(1 − ε) log σ(h) − ε log σ(−h), averaged over pairs.
///
/// Log-probs are summed over the answer, `[pairs]`.
///
/// # Panics
/// If the lengths of the vectors differ, or ε is not in 0 ≤ ε < ½.
pub fn simpo_loss(
    chosen_logps: Tensor<1>,
    rejected_logps: Tensor<1>,
    lengths: PairLengths,
    config: &SimpoConfig,
) -> SimpoOutput {
    let [pairs] = chosen_logps.dims();
    assert_shape!(rejected_logps, [pairs]);
    let chosen = per_token(chosen_logps, lengths.chosen) * config.beta;
    let rejected = per_token(rejected_logps, lengths.rejected) * config.beta;
    let h = chosen.clone() - rejected.clone() - config.gamma;
    let per_pair = smoothed_sigmoid(h, config.label_smoothing);
    let chosen_rewards = chosen.without_autodiff();
    let rejected_rewards = rejected.without_autodiff();
    let margins = chosen_rewards.clone() - rejected_rewards.clone();
    SimpoOutput {
        loss: mean_of(per_pair.clone()),
        per_pair,
        chosen_rewards,
        rejected_rewards,
        accuracy: share(margins.clone().greater_elem(0.0)),
        margins,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Pitfall: log(1 − e^p) needs its branches, in value and slope, down to p = −1e-5.
    #[test]
    fn log_one_minus_exp_over_its_range() {
        let device = Device::flex().autodiff();
        for p in [-1e-5f64, -0.01, -0.2499, -0.2501, -0.7, -5.0, -40.0] {
            let at = Tensor::<1>::from_floats([p as f32], &device).require_grad();
            let value = log_one_minus_exp(at.clone());
            let gradients = value.backward();
            let slope = f64::from(at.grad(&gradients).unwrap().into_scalar::<f32>());
            let value = f64::from(value.into_scalar::<f32>());
            let exact = f64::from(p as f32);
            let want = (-exact.exp_m1()).ln();
            assert!(
                (value - want).abs() < 1e-6 * want.abs().max(1.0),
                "{p}: {value} {want}"
            );
            let want = exact.exp() / exact.exp_m1();
            assert!(
                (slope - want).abs() < 2e-6 * want.abs().max(1.0),
                "{p}: {slope} {want}"
            );
        }
    }

    #[test]
    fn certainty_stays_finite() {
        let certain = Tensor::<1>::from_floats([0.0], &Device::flex());
        let value = log_one_minus_exp(certain).into_scalar::<f32>();
        assert!((value - 1e-7f32.ln()).abs() < 1e-4, "{value}");
    }

    /// Pitfall: ORPO averages log-probs by length, its supervised part by all tokens together.
    #[test]
    fn orpo_of_answers_with_equal_odds_is_the_supervised_loss_plus_lambda_ln_2() {
        let device = Device::flex();
        let lengths = PairLengths {
            chosen: Tensor::from_ints([2, 6], &device),
            rejected: Tensor::from_ints([4, 1], &device),
        };
        let chosen = Tensor::from_floats([-1.0, -18.0], &device);
        let rejected = Tensor::from_floats([-2.0, -3.0], &device);
        let out = orpo_loss(chosen, rejected, lengths, 0.5);
        assert_eq!(out.nll.into_scalar::<f32>(), 19.0 / 8.0);
        let want = 19.0 / 8.0 + 0.5 * std::f32::consts::LN_2;
        assert!((out.loss.into_scalar::<f32>() - want).abs() < 1e-6);
    }

    #[test]
    fn simpo_asks_for_the_margin_gamma() {
        let device = Device::flex();
        let lengths = PairLengths {
            chosen: Tensor::from_ints([2], &device),
            rejected: Tensor::from_ints([4], &device),
        };
        let config = SimpoConfig {
            beta: 2.0,
            gamma: 0.5,
            label_smoothing: 0.0,
        };
        let chosen = Tensor::from_floats([-2.0], &device);
        let rejected = Tensor::from_floats([-8.0], &device);
        let out = simpo_loss(chosen, rejected, lengths, &config);
        // rewards −2 and −4, h = 2 − 0.5
        let want = (1.0 + (-1.5f32).exp()).ln();
        assert!((out.loss.into_scalar::<f32>() - want).abs() < 1e-6);
        assert_eq!(out.chosen_rewards.into_scalar::<f32>(), -2.0);
        assert_eq!(out.rejected_rewards.into_scalar::<f32>(), -4.0);
        assert_eq!(out.margins.into_scalar::<f32>(), 2.0);
        assert_eq!(out.accuracy.into_scalar::<f32>(), 1.0);
    }
}
