//! Token rewards of PPO on text: a KL penalty at every token, the score at the last.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::kl::{KlEstimator, kl_estimate};
use crate::masked::{last_valid_mask, mean_of, sum_over_rows};

/// What an answer that did not end by itself loses.
#[derive(Clone, Debug)]
pub struct MissingEos {
    /// `[batch]`, `true` where the response ended with an end token.
    pub has_eos: Tensor<1, Bool>,
    /// Subtracted from the score of the others.
    pub penalty: f64,
}

/// One rollout's figures.
#[derive(Clone, Debug)]
pub struct KlRewardInput {
    /// `[batch]`: the score of each response.
    pub scores: Tensor<1>,
    /// `[batch, time]`: log-probs of the response tokens under the policy that wrote them.
    pub logprobs: Tensor<2>,
    /// `[batch, time]`: the same tokens under the reference.
    pub ref_logprobs: Tensor<2>,
    /// `[batch, time]`: the response, its end token included.
    pub mask: Tensor<2, Bool>,
    /// The penalty of unfinished answers, if there is one.
    pub missing_eos: Option<MissingEos>,
}

/// The weights of the reward.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlRewardConfig {
    /// The coefficient of the KL penalty.
    pub beta: f64,
    /// Which estimate of the KL is charged.
    pub estimator: KlEstimator,
    /// Scores are clipped to ± this first.
    pub score_clip: Option<f64>,
}

/// Token rewards and their parts; constants of the update, without autodiff.
#[derive(Clone, Debug)]
pub struct KlRewards {
    /// `[batch, time]`: −beta · kl, plus the score at the row's last valid token.
    pub rewards: Tensor<2>,
    /// `[batch, time]`: the estimate per token.
    pub kl: Tensor<2>,
    /// `[batch]`: scores after clipping and the penalty.
    pub effective_scores: Tensor<1>,
    /// `[batch]`: Σ_t kl.
    pub kl_sequence_sum: Tensor<1>,
    /// The mean of that over all rows: the figure that [`AdaptiveKl`](crate::AdaptiveKl) watches.
    pub mean_kl_sequence_sum: Tensor<1>,
    /// −beta times that.
    pub mean_non_score_reward: Tensor<1>,
}

/// r\[b,t\] = −beta · kl\[b,t\] + (t is the last valid token) · score\[b\] (Ouyang et al., "Training
/// language models to follow instructions with human feedback", 2022, section 3.5).
///
/// A row without tokens gets no score. The KL penalty belongs either here or into the loss, not
/// into both.
///
/// # Panics
/// If shapes disagree or the clip is negative.
pub fn kl_penalised_rewards(input: KlRewardInput, config: &KlRewardConfig) -> KlRewards {
    let [batch, time] = input.mask.dims();
    assert_shape!(input.scores, [batch]);
    let mask = input.mask;
    let logprobs = input.logprobs.without_autodiff();
    let ref_logprobs = input.ref_logprobs.without_autodiff();
    let kl = kl_estimate(logprobs, ref_logprobs, &mask, config.estimator);
    let scores = effective_scores(input.scores, input.missing_eos, config.score_clip);
    let at_end = scores.clone().unsqueeze_dim::<2>(1).expand([batch, time]);
    let at_end = kl.zeros_like().mask_where(last_valid_mask(&mask), at_end);
    let kl_sequence_sum = sum_over_rows(kl.clone(), &mask);
    let mean_kl_sequence_sum = mean_of(kl_sequence_sum.clone());
    KlRewards {
        rewards: kl.clone() * -config.beta + at_end,
        kl,
        effective_scores: scores,
        kl_sequence_sum,
        mean_non_score_reward: mean_kl_sequence_sum.clone() * -config.beta,
        mean_kl_sequence_sum,
    }
}

/// Scores clipped first, then less the penalty where no end token came.
fn effective_scores(
    scores: Tensor<1>,
    missing_eos: Option<MissingEos>,
    clip: Option<f64>,
) -> Tensor<1> {
    let mut scores = scores.without_autodiff();
    if let Some(bound) = clip {
        assert!(bound >= 0.0, "score_clip is {bound}, wanted 0 or more");
        scores = scores.clamp(-bound, bound);
    }
    if let Some(MissingEos { has_eos, penalty }) = missing_eos {
        let [batch] = scores.dims();
        assert_shape!(has_eos, [batch]);
        scores = (scores.clone() - penalty).mask_where(has_eos, scores);
    }
    scores
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn rewards(missing_eos: Option<MissingEos>, score_clip: Option<f64>) -> KlRewards {
        let device = Device::flex();
        let input = KlRewardInput {
            scores: Tensor::from_floats([4.0, -1.0, f32::NAN], &device),
            logprobs: Tensor::from_floats([[-1.0, -1.0], [-2.0, f32::NAN], [1e30; 2]], &device),
            ref_logprobs: Tensor::from_floats([[-1.5, -1.0], [-1.0, 0.0], [0.0; 2]], &device),
            mask: Tensor::from_bool([[true, true], [true, false], [false; 2]], &device),
            missing_eos,
        };
        let config = KlRewardConfig {
            beta: 0.5,
            estimator: KlEstimator::K1,
            score_clip,
        };
        kl_penalised_rewards(input, &config)
    }

    /// Pitfalls: the sign of the penalty; reported KL is the sum over a response averaged over
    /// responses; an empty row has no last token to carry a score.
    #[test]
    fn the_score_stands_at_the_last_valid_token() {
        let out = rewards(None, None);
        assert_eq!(numbers(out.rewards), [-0.25, 4.0, -0.5, 0.0, 0.0, 0.0]);
        assert_eq!(numbers(out.kl_sequence_sum), [0.5, -1.0, 0.0]);
        let mean = numbers(out.mean_kl_sequence_sum)[0];
        assert!((mean + 0.5 / 3.0).abs() < 1e-7);
        assert!((numbers(out.mean_non_score_reward)[0] + 0.5 * mean).abs() < 1e-7);
    }

    #[test]
    fn the_penalty_comes_after_the_clip() {
        let has_eos = Tensor::from_bool([false, true, true], &Device::flex());
        let out = rewards(
            Some(MissingEos {
                has_eos,
                penalty: 1.0,
            }),
            Some(0.75),
        );
        assert_eq!(numbers(out.effective_scores)[..2], [-0.25, -0.75]);
    }

    #[test]
    fn a_clip_of_zero_takes_all_scores_away() {
        let out = rewards(None, Some(0.0));
        assert_eq!(numbers(out.effective_scores)[..2], [0.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "score_clip is -1")]
    fn a_negative_clip_is_refused() {
        rewards(None, Some(-1.0));
    }
}
