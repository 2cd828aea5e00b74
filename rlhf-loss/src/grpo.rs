//! The loss of GRPO and its relatives.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::kl::{KlEstimator, kl_estimate};
use crate::masked::{
    Denominator, along_rows, fraction_of, mean_over, mean_over_rows, zero_invalid,
};
use crate::policy::{Surrogate, surrogate};
use crate::reduction::{Reduction, reduce};

/// The KL term of the loss.
#[derive(Clone, Debug)]
pub struct GrpoKl {
    /// `[batch, time]`: log-probs under the reference.
    pub ref_logprobs: Tensor<2>,
    /// The weight of k3(new, reference) at each token; with 0 it is only reported.
    pub beta: f64,
}

/// A batch of responses.
#[derive(Clone, Debug)]
pub struct GrpoInput {
    /// `[batch, time]`: under the policy being trained.
    pub logprobs: Tensor<2>,
    /// `[batch, time]`: under the policy that wrote the tokens.
    pub old_logprobs: Tensor<2>,
    /// `[batch]`: one advantage for each response.
    pub advantages: Tensor<1>,
    /// `[batch, time]`: the response, its end token included.
    pub mask: Tensor<2, Bool>,
    /// The penalty for leaving the reference, if there is one.
    pub kl: Option<GrpoKl>,
}

/// What the ratio of new to old probability is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatioLevel {
    /// ρ = exp(new − old) of each token.
    #[default]
    Token,
    /// ρ = exp(mean of new − old over the row's tokens), the same along the row (GSPO: Zheng et
    /// al., "Group sequence policy optimization", 2025, equation 7).
    Sequence,
}

/// Clip and reduction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrpoLossConfig {
    /// The ratio's lower edge is 1 − this.
    pub clip_low: f64,
    /// The ratio's upper edge is 1 + this; larger than `clip_low` is DAPO's clip-higher.
    pub clip_high: f64,
    /// Token or sequence ratios.
    pub ratio_level: RatioLevel,
    /// From per-token losses to one.
    pub reduction: Reduction,
}

/// The loss and what to log. Everything but `loss` is detached.
#[derive(Clone, Debug)]
pub struct GrpoOutput {
    /// The reduced loss.
    pub loss: Tensor<1>,
    /// `[batch, time]`
    pub per_token_loss: Tensor<2>,
    /// `[batch, time]`, 0 at masked positions.
    pub ratio: Tensor<2>,
    /// The mean over this call's tokens of k3(new, reference); none without a reference.
    pub mean_kl: Option<Tensor<1>>,
    /// The share of this call's tokens whose clipped term is strictly the larger one.
    pub clip_fraction: Tensor<1>,
}

/// Per token max(−A·ρ, −A·clamp(ρ, 1 − clip_low, 1 + clip_high)) + beta · k3(new, reference), with
/// A\[b\] along the row, reduced as asked; the denominator is the reduction's, see
/// [`Reduction::count`] (Shao et al., "DeepSeekMath", 2024, equation 3).
///
/// # Panics
/// If shapes disagree.
pub fn grpo_loss(
    input: GrpoInput,
    config: &GrpoLossConfig,
    denominator: Denominator,
) -> GrpoOutput {
    let GrpoInput {
        logprobs,
        old_logprobs,
        advantages,
        mask,
        kl,
    } = input;
    let [batch, time] = mask.dims();
    assert_shape!(logprobs, [batch, time]);
    assert_shape!(old_logprobs, [batch, time]);
    let difference = logprobs.clone() - old_logprobs.without_autodiff();
    let log_ratio = match config.ratio_level {
        RatioLevel::Token => zero_invalid(difference, &mask),
        RatioLevel::Sequence => along_rows(mean_over_rows(difference, &mask), &mask),
    };
    let ratio = zero_invalid(log_ratio.exp(), &mask);
    let advantages = along_rows(advantages.without_autodiff(), &mask);
    let Surrogate {
        mut per_token,
        clipped,
    } = surrogate(
        ratio.clone(),
        &advantages,
        config.clip_low,
        config.clip_high,
    );
    let mean_kl = kl.map(|GrpoKl { ref_logprobs, beta }| {
        let reference = ref_logprobs.without_autodiff();
        let k3 = kl_estimate(logprobs, reference, &mask, KlEstimator::K3);
        if beta != 0.0 {
            per_token = per_token.clone() + k3.clone() * beta;
        }
        mean_over(k3.without_autodiff(), &mask)
    });
    GrpoOutput {
        loss: reduce(per_token.clone(), &mask, config.reduction, denominator),
        per_token_loss: per_token.without_autodiff(),
        ratio: ratio.without_autodiff(),
        mean_kl,
        clip_fraction: fraction_of(clipped, &mask, Denominator::Own),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn input(new: [[f32; 2]; 2], kl: Option<GrpoKl>) -> GrpoInput {
        let device = Device::flex();
        GrpoInput {
            logprobs: Tensor::from_floats(new, &device),
            old_logprobs: Tensor::from_floats([[-1.0, -1.0], [-1.0, f32::NAN]], &device),
            advantages: Tensor::from_floats([1.0, -1.0], &device),
            mask: Tensor::from_bool([[true, true], [true, false]], &device),
            kl,
        }
    }

    fn config(ratio_level: RatioLevel) -> GrpoLossConfig {
        let reduction = Reduction::TokenMean;
        GrpoLossConfig {
            clip_low: 0.2,
            clip_high: 0.3,
            ratio_level,
            reduction,
        }
    }

    fn close(got: &[f32], want: &[f32]) {
        let near = got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-6);
        assert!(near && got.len() == want.len(), "{got:?} {want:?}");
    }

    /// Pitfall: min in place of max clips the wrong side.
    #[test]
    fn the_clip_takes_away_the_gain_and_never_the_harm() {
        let up = 2.0f32.ln();
        let out = grpo_loss(
            input([[-1.0 + up, -1.0 - up], [-1.0 + up, 7.0]], None),
            &config(RatioLevel::Token),
            Denominator::Own,
        );
        close(&numbers(out.ratio), &[2.0, 0.5, 2.0, 0.0]);
        close(&numbers(out.per_token_loss), &[-1.3, -0.5, 2.0, 0.0]);
        assert!((out.clip_fraction.into_scalar::<f32>() - 1.0 / 3.0).abs() < 1e-6);
        assert!(out.mean_kl.is_none());
    }

    #[test]
    fn a_sequence_ratio_is_the_geometric_mean_of_the_row() {
        let out = grpo_loss(
            input([[-0.8, -1.4], [-1.1, 7.0]], None),
            &config(RatioLevel::Sequence),
            Denominator::Own,
        );
        let row = (-0.1f32).exp();
        close(&numbers(out.ratio), &[row, row, row, 0.0]);
    }

    /// Pitfall: with a weight of 0 the KL is reported and not charged.
    #[test]
    fn beta_zero_only_reports() {
        let kl = |beta| {
            let ref_logprobs = Tensor::from_floats([[0.0, 0.0], [0.0, 1e30]], &Device::flex());
            Some(GrpoKl { ref_logprobs, beta })
        };
        let run = |kl| {
            grpo_loss(
                input([[-1.0; 2]; 2], kl),
                &config(RatioLevel::Token),
                Denominator::Own,
            )
        };
        let k3 = std::f32::consts::E - 2.0;
        let reported = run(kl(0.0));
        assert!((reported.mean_kl.unwrap().into_scalar::<f32>() - k3).abs() < 1e-6);
        close(&numbers(reported.per_token_loss), &[-1.0, -1.0, 1.0, 0.0]);
        let charged = numbers(run(kl(0.5)).per_token_loss);
        close(
            &charged,
            &[-1.0 + 0.5 * k3, -1.0 + 0.5 * k3, 1.0 + 0.5 * k3, 0.0],
        );
    }
}
