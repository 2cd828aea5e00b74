//! The loss of language modelling: pre-training and supervised fine-tuning.

use burn::tensor::{Bool, Int, Tensor};

use crate::logprobs::{distribution, next_tokens};
use crate::masked::{Denominator, count_valid, sum_over, zero_invalid};
use crate::reduction::{Reduction, reduce};

/// Smoothing and averaging.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SftLossConfig {
    /// ε: the share of the target given to all tokens alike; 0 for none.
    pub label_smoothing: f64,
    /// From per-token losses to one; the token mean unless said otherwise.
    pub reduction: Reduction,
}

/// The loss. Everything but `loss` is detached.
#[derive(Clone, Debug)]
pub struct SftLoss {
    /// The reduced cross-entropy.
    pub loss: Tensor<1>,
    /// Σ of the per-token losses of this call.
    pub ce_sum: Tensor<1>,
    /// Targets of this call.
    pub num_tokens: Tensor<1>,
    /// `[batch, time]`: entry t is the loss of the token at t + 1; 0 where it is no target and in
    /// the last column.
    pub per_token_ce: Tensor<2>,
}

/// Cross-entropy of the next token: logits at t predict the token at t + 1, so
/// CE\[b,t\] = −log p(input_ids\[b,t+1\] | logits\[b,t\]) where `loss_mask[b][t + 1]` holds. The
/// mask at position 0 never counts. With label smoothing ε a token's loss is
/// (1 − ε)·CE + ε·(−(1/V) Σ_v log p_v) (Szegedy et al., 2015, section 7).
///
/// `logits` is `[batch, time, vocab]`, the others `[batch, time]`, none of them shifted. The
/// denominator is the reduction's over the *shifted* mask ([`next_tokens`], [`Reduction::count`]).
///
/// # Panics
/// If shapes disagree or ε is not in 0 ≤ ε < 1.
pub fn sft_loss(
    logits: Tensor<3>,
    input_ids: Tensor<2, Int>,
    loss_mask: Tensor<2, Bool>,
    config: &SftLossConfig,
    denominator: Denominator,
) -> SftLoss {
    let epsilon = config.label_smoothing;
    assert!(
        (0.0..1.0).contains(&epsilon),
        "label_smoothing is {epsilon}, wanted at least 0 and less than 1"
    );
    let [_, _, vocab] = logits.dims();
    let (targets, mask) = next_tokens(input_ids, loss_mask);
    let distribution = distribution(logits, &mask, 1.0);
    let mut per_token = distribution.of(targets, &mask).neg();
    if epsilon > 0.0 {
        let spread = distribution.log_p.sum_dim(2).squeeze_dim::<2>(2) * (-epsilon / vocab as f64);
        per_token = per_token * (1.0 - epsilon) + zero_invalid(spread, &mask);
    }
    let loss = reduce(per_token.clone(), &mask, config.reduction, denominator);
    let per_token_ce = per_token.without_autodiff();
    SftLoss {
        loss,
        ce_sum: sum_over(per_token_ce.clone(), &mask),
        num_tokens: count_valid(&mask),
        per_token_ce,
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn one_hot_logits(tokens: [usize; 4], scale: f32) -> Tensor<3> {
        let mut logits = [[[0.0f32; 5]; 4]; 1];
        for (row, token) in logits[0].iter_mut().zip(tokens) {
            row[token] = scale;
        }
        Tensor::from_floats(logits, &Device::flex())
    }

    /// Pitfall: off by one both ways still lets the loss fall. Logits that name the *next* id are
    /// right, those that name the id at their own place or the one before are wrong.
    #[test]
    fn logits_predict_the_token_after_them() {
        let ids = Tensor::<2, Int>::from_ints([[1, 2, 3, 4]], &Device::flex());
        let mask = Tensor::from_bool([[true, false, true, true]], &Device::flex());
        let run = |tokens| {
            let config = SftLossConfig::default();
            sft_loss(
                one_hot_logits(tokens, 50.0),
                ids.clone(),
                mask.clone(),
                &config,
                Denominator::Own,
            )
        };
        let right = run([2, 3, 4, 0]);
        assert_eq!(numbers(right.loss), [0.0]);
        assert_eq!(numbers(right.num_tokens), [2.0]);
        assert_eq!(
            numbers(run([1, 2, 3, 4]).per_token_ce),
            [0.0, 50.0, 50.0, 0.0]
        );
        assert_eq!(numbers(run([0, 1, 2, 3]).ce_sum), [100.0]);
    }

    /// Without smoothing only the target's log-prob counts: 0 times −inf would be NaN.
    #[test]
    fn a_token_that_is_excluded_costs_nothing_without_smoothing() {
        let ids = Tensor::<2, Int>::from_ints([[1, 2]], &Device::flex());
        let mask = Tensor::from_bool([[false, true]], &Device::flex());
        let logits = [[[0.0, f32::NEG_INFINITY, 0.0], [0.0; 3]]];
        let logits = Tensor::from_floats(logits, &Device::flex());
        let config = SftLossConfig::default();
        let out = sft_loss(logits, ids, mask, &config, Denominator::Own);
        assert!((numbers(out.loss)[0] - std::f32::consts::LN_2).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "label_smoothing is 1")]
    fn a_target_without_any_share_is_refused() {
        let ids = Tensor::<2, Int>::from_ints([[1, 2, 3, 4]], &Device::flex());
        let mask = Tensor::from_bool([[true; 4]], &Device::flex());
        let config = SftLossConfig {
            label_smoothing: 1.0,
            ..SftLossConfig::default()
        };
        let logits = one_hot_logits([0; 4], 1.0);
        sft_loss(logits, ids, mask, &config, Denominator::Own);
    }

    #[test]
    fn smoothing_spreads_a_share_over_all_tokens() {
        let ids = Tensor::<2, Int>::from_ints([[1, 2, 3, 4]], &Device::flex());
        let mask = Tensor::from_bool([[false, true, false, false]], &Device::flex());
        let config = SftLossConfig {
            label_smoothing: 0.1,
            ..SftLossConfig::default()
        };
        let out = sft_loss(
            one_hot_logits([2, 0, 0, 0], 10.0),
            ids,
            mask,
            &config,
            Denominator::Own,
        );
        // All log p but the target's are about −10: 0.9 · 0 + 0.1 · 4/5 · 10.
        let small = 4.0 * (-10.0f32).exp();
        let want = small.ln_1p() + 0.1 * 0.8 * 10.0;
        assert!((numbers(out.loss)[0] - want).abs() < 1e-5);
    }
}
