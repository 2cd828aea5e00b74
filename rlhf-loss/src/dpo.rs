//! Direct preference optimisation and its family: losses on pairs from log-probs of policy and
//! reference.

use burn::tensor::activation::{log_sigmoid, relu};
use burn::tensor::{Int, Tensor, assert_shape};

use crate::masked::mean_of;
use crate::preference::share;

/// Which loss of the family. With a = log π/π_ref of the chosen answer, b of the rejected one and
/// h = beta · (a − b):
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum DpoLoss {
    /// −log σ(h) (Rafailov et al., 2023, equation 7).
    #[default]
    Sigmoid,
    /// cDPO: −(1 − ε) log σ(h) − ε log σ(−h), for labels of which a share ε is flipped (Mitchell,
    /// 2023).
    Conservative {
        /// ε, below ½.
        label_smoothing: f64,
    },
    /// (−(1 − ε) log σ(h) + ε log σ(−h)) / (1 − 2ε): unbiased under flipped labels (Chowdhury et
    /// al., "Provably robust DPO", 2024).
    Robust {
        /// ε, below ½.
        label_smoothing: f64,
    },
    /// max(0, 1 − h) (Zhao et al., "SLiC-HF", 2023).
    Hinge,
    /// (a − b − 1/(2 beta))² on summed log-probs (Azar et al., 2023, equation 17).
    IpoSum,
    /// The same with a and b divided by the answers' lengths.
    IpoMean,
    /// −(1 − ε) log σ(h) − ε log σ(−h) with a and b divided by the answers' lengths.
    LengthNormalised {
        /// ε, below ½; 0 for none.
        label_smoothing: f64,
    },
}

impl DpoLoss {
    fn divides_by_length(self) -> bool {
        matches!(self, Self::IpoMean | Self::LengthNormalised { .. })
    }
}

/// Tokens of each pair's answers, each `[pairs]`.
#[derive(Clone, Debug)]
pub struct PairLengths {
    /// Tokens of the chosen answer.
    pub chosen: Tensor<1, Int>,
    /// Tokens of the rejected answer.
    pub rejected: Tensor<1, Int>,
}

/// Log-probs of whole answers, **summed** over their tokens
/// ([`completion_logprobs`](crate::completion_logprobs)), each `[pairs]`.
#[derive(Clone, Debug)]
pub struct DpoInput {
    /// The chosen answer under the policy being trained.
    pub chosen_logps: Tensor<1>,
    /// The rejected answer under the policy being trained.
    pub rejected_logps: Tensor<1>,
    /// The chosen answer under the frozen reference.
    pub ref_chosen_logps: Tensor<1>,
    /// The rejected answer under the frozen reference.
    pub ref_rejected_logps: Tensor<1>,
    /// Read by the length-dividing losses only.
    pub lengths: PairLengths,
}

/// The loss and what to log. Everything but `loss` and `per_pair` is detached.
#[derive(Clone, Debug)]
pub struct DpoOutput {
    /// The mean over pairs.
    pub loss: Tensor<1>,
    /// `[pairs]`
    pub per_pair: Tensor<1>,
    /// `[pairs]`: the implicit reward beta · a.
    pub chosen_rewards: Tensor<1>,
    /// `[pairs]`: the implicit reward beta · b.
    pub rejected_rewards: Tensor<1>,
    /// `[pairs]`: chosen less rejected reward.
    pub margins: Tensor<1>,
    /// Their mean.
    pub mean_margin: Tensor<1>,
    /// The share of pairs with a positive margin.
    pub accuracy: Tensor<1>,
}

/// The loss of the family that `kind` names. Where it divides by lengths, rewards and margins do
/// too. A micro-batch's share of an update is its loss times its part of the pairs.
///
/// # Panics
/// If lengths of vectors differ, or ε is not in 0 ≤ ε < ½.
pub fn dpo_loss(input: DpoInput, beta: f64, kind: DpoLoss) -> DpoOutput {
    let [pairs] = input.chosen_logps.dims();
    assert_shape!(input.rejected_logps, [pairs]);
    assert_shape!(input.ref_chosen_logps, [pairs]);
    assert_shape!(input.ref_rejected_logps, [pairs]);
    let mut a = input.chosen_logps - input.ref_chosen_logps.without_autodiff();
    let mut b = input.rejected_logps - input.ref_rejected_logps.without_autodiff();
    if kind.divides_by_length() {
        a = per_token(a, input.lengths.chosen);
        b = per_token(b, input.lengths.rejected);
    }
    let difference = a.clone() - b.clone();
    let h = difference.clone() * beta;
    let per_pair = match kind {
        DpoLoss::Sigmoid => log_sigmoid(h).neg(),
        DpoLoss::Conservative { label_smoothing }
        | DpoLoss::LengthNormalised { label_smoothing } => smoothed_sigmoid(h, label_smoothing),
        DpoLoss::Robust { label_smoothing } => robust_sigmoid(h, label_smoothing),
        DpoLoss::Hinge => relu(h.neg() + 1.0),
        DpoLoss::IpoSum | DpoLoss::IpoMean => {
            let miss = difference - 0.5 / beta;
            miss.clone() * miss
        }
    };
    let chosen_rewards = a.without_autodiff() * beta;
    let rejected_rewards = b.without_autodiff() * beta;
    let margins = chosen_rewards.clone() - rejected_rewards.clone();
    DpoOutput {
        loss: mean_of(per_pair.clone()),
        per_pair,
        chosen_rewards,
        rejected_rewards,
        mean_margin: mean_of(margins.clone()),
        accuracy: share(margins.clone().greater_elem(0.0)),
        margins,
    }
}

/// Log-probs divided by the number of tokens; an answer without tokens keeps its 0.
pub(crate) fn per_token(logps: Tensor<1>, lengths: Tensor<1, Int>) -> Tensor<1> {
    let [count] = logps.dims();
    assert_shape!(lengths, [count]);
    let lengths = lengths.float().cast(logps.dtype());
    logps / lengths.clamp_min(1.0)
}

/// −(1 − ε) log σ(h) − ε log σ(−h)
pub(crate) fn smoothed_sigmoid(h: Tensor<1>, epsilon: f64) -> Tensor<1> {
    check_smoothing(epsilon);
    if epsilon == 0.0 {
        return log_sigmoid(h).neg();
    }
    log_sigmoid(h.clone()) * -(1.0 - epsilon) - log_sigmoid(h.neg()) * epsilon
}

/// (−(1 − ε) log σ(h) + ε log σ(−h)) / (1 − 2ε)
fn robust_sigmoid(h: Tensor<1>, epsilon: f64) -> Tensor<1> {
    check_smoothing(epsilon);
    let mixed = log_sigmoid(h.clone()) * -(1.0 - epsilon) + log_sigmoid(h.neg()) * epsilon;
    mixed / (1.0 - 2.0 * epsilon)
}

fn check_smoothing(epsilon: f64) {
    assert!(
        (0.0..0.5).contains(&epsilon),
        "label_smoothing is {epsilon}, wanted at least 0 and less than 0.5"
    );
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn run(a: f32, b: f32, beta: f64, kind: DpoLoss) -> DpoOutput {
        let device = Device::flex();
        let input = DpoInput {
            chosen_logps: Tensor::from_floats([-20.0 + a], &device),
            rejected_logps: Tensor::from_floats([-40.0 + b], &device),
            ref_chosen_logps: Tensor::from_floats([-20.0], &device),
            ref_rejected_logps: Tensor::from_floats([-40.0], &device),
            lengths: PairLengths {
                chosen: Tensor::from_ints([4], &device),
                rejected: Tensor::from_ints([8], &device),
            },
        };
        dpo_loss(input, beta, kind)
    }

    fn loss(a: f32, b: f32, beta: f64, kind: DpoLoss) -> f32 {
        run(a, b, beta, kind).loss.into_scalar()
    }

    fn log_sigma(x: f32) -> f32 {
        -(1.0 + (-x).exp()).ln()
    }

    fn close(got: f32, want: f32) {
        assert!(
            (got - want).abs() < 1e-5 * want.abs().max(1.0),
            "{got} {want}"
        );
    }

    #[test]
    fn every_loss_by_hand() {
        // h = 0.5 · (3 + 1) = 2
        let at = |kind| loss(3.0, -1.0, 0.5, kind);
        close(at(DpoLoss::Sigmoid), -log_sigma(2.0));
        close(at(DpoLoss::Hinge), 0.0);
        close(loss(-3.0, 1.0, 0.5, DpoLoss::Hinge), 3.0);
        close(at(DpoLoss::IpoSum), 9.0);
        close(at(DpoLoss::IpoMean), (0.75 + 0.125 - 1.0f32).powi(2));
        let plain = DpoLoss::LengthNormalised {
            label_smoothing: 0.0,
        };
        close(at(plain), -log_sigma(0.4375));
    }

    /// Pitfall: cDPO adds the flipped term, robust DPO subtracts it and divides by 1 − 2ε.
    #[test]
    fn the_two_ways_to_expect_flipped_labels() {
        let (right, flipped) = (log_sigma(2.0), log_sigma(-2.0));
        let conservative = DpoLoss::Conservative {
            label_smoothing: 0.1,
        };
        close(
            loss(3.0, -1.0, 0.5, conservative),
            -0.9 * right - 0.1 * flipped,
        );
        let robust = DpoLoss::Robust {
            label_smoothing: 0.1,
        };
        close(
            loss(3.0, -1.0, 0.5, robust),
            (-0.9 * right + 0.1 * flipped) / 0.8,
        );
    }

    /// Pitfall: summed against averaged log-probs changes what beta means by the length.
    #[test]
    fn rewards_divide_by_length_only_where_the_loss_does() {
        let summed = run(3.0, -1.0, 0.5, DpoLoss::IpoSum);
        close(summed.chosen_rewards.into_scalar(), 1.5);
        close(summed.rejected_rewards.into_scalar(), -0.5);
        close(summed.accuracy.into_scalar(), 1.0);
        let averaged = run(3.0, -1.0, 0.5, DpoLoss::IpoMean);
        close(averaged.chosen_rewards.into_scalar(), 0.375);
        close(averaged.mean_margin.into_scalar(), 0.4375);
    }

    /// At the start policy and reference agree: ln 2, and a tie is not correct.
    #[test]
    fn an_untrained_policy_has_loss_ln_2_and_no_accuracy() {
        let out = run(0.0, 0.0, 0.5, DpoLoss::Sigmoid);
        close(out.loss.into_scalar(), std::f32::consts::LN_2);
        close(out.accuracy.into_scalar(), 0.0);
    }

    #[test]
    #[should_panic(expected = "label_smoothing is -0.1")]
    fn a_negative_share_of_flipped_labels_is_refused() {
        loss(
            0.0,
            0.0,
            0.1,
            DpoLoss::Conservative {
                label_smoothing: -0.1,
            },
        );
    }

    #[test]
    #[should_panic(expected = "label_smoothing is 0.5")]
    fn half_of_the_labels_flipped_says_nothing() {
        loss(
            0.0,
            0.0,
            0.1,
            DpoLoss::Robust {
                label_smoothing: 0.5,
            },
        );
    }
}
