//! The clipped policy loss and the whole of PPO's loss.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::masked::{Denominator, fraction_of, mean_with, zero_invalid};
use crate::value::{ValueInput, value_loss};

/// Log-probs and advantages of a batch of response tokens, each `[batch, time]`.
#[derive(Clone, Debug)]
pub struct PolicyInput {
    /// Under the policy being trained.
    pub logprobs: Tensor<2>,
    /// Under the policy that wrote the tokens, by the same forward pass.
    pub old_logprobs: Tensor<2>,
    /// Used as they are given: whiten them over the whole update before.
    pub advantages: Tensor<2>,
    /// The response, its end token included.
    pub mask: Tensor<2, Bool>,
}

/// Where the ratio of new to old probability stops to pay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolicyClip {
    /// The band's lower edge is 1 − low.
    pub low: f64,
    /// The band's upper edge is 1 + high.
    pub high: f64,
    /// c > 1: with a negative advantage a token's loss is at most −A·c (Ye et al., "Mastering
    /// complex control in MOBA games with deep reinforcement learning", 2020).
    pub dual: Option<f64>,
}

/// The policy loss. Everything but `loss` is detached.
#[derive(Clone, Debug)]
pub struct PolicyLoss {
    /// The mean over valid tokens.
    pub loss: Tensor<1>,
    /// `[batch, time]`
    pub per_token: Tensor<2>,
    /// `[batch, time]`: exp(logprobs − old_logprobs), 0 at masked positions.
    pub ratio: Tensor<2>,
    /// The mean ratio.
    pub mean_ratio: Tensor<1>,
    /// mean(old − new)
    pub approx_kl_k1: Tensor<1>,
    /// ½ mean((new − old)²)
    pub approx_kl_k2: Tensor<1>,
    /// mean(ratio − 1 − log ratio)
    pub approx_kl_k3: Tensor<1>,
    /// Tokens whose clipped term is strictly the larger one, before dual clipping.
    pub clip_fraction: Tensor<1>,
    /// Tokens whose ratio lies outside the band, whichever way the advantage points.
    pub ratio_outside_fraction: Tensor<1>,
    /// Tokens at which dual clipping is active.
    pub dual_clip_fraction: Tensor<1>,
}

/// Per-token losses of the clipped surrogate, and where its clipped term is in force.
pub(crate) struct Surrogate {
    pub(crate) per_token: Tensor<2>,
    pub(crate) clipped: Tensor<2, Bool>,
}

/// max(−A·ρ, −A·clamp(ρ, 1 − low, 1 + high)); `advantages` holds no rubbish and is a constant.
pub(crate) fn surrogate(
    ratio: Tensor<2>,
    advantages: &Tensor<2>,
    low: f64,
    high: f64,
) -> Surrogate {
    let bounded = ratio.clone().clamp(1.0 - low, 1.0 + high);
    let free_loss = (advantages.clone() * ratio).neg();
    let bounded_loss = (advantages.clone() * bounded).neg();
    let clipped = bounded_loss
        .clone()
        .without_autodiff()
        .greater(free_loss.clone().without_autodiff());
    Surrogate {
        per_token: free_loss.mask_where(clipped.clone(), bounded_loss),
        clipped,
    }
}

/// Where the ratio lies outside 1 − low ..= 1 + high.
fn outside(ratio: &Tensor<2>, clip: &PolicyClip) -> Tensor<2, Bool> {
    let below = ratio.clone().lower_elem(1.0 - clip.low);
    below.bool_or(ratio.clone().greater_elem(1.0 + clip.high))
}

/// The clipped surrogate of PPO (Schulman et al., 2017, equation 7), as a loss: with
/// ρ = exp(logprobs − old_logprobs), per token ℓ = max(−A·ρ, −A·clamp(ρ, 1 − low, 1 + high)); with
/// a dual clip c and A < 0, ℓ = min(ℓ, −A·c). The loss and the figures are means over valid
/// tokens, Σ / denominator.
///
/// `old_logprobs` and `advantages` are constants, whatever they carry.
///
/// # Panics
/// If shapes disagree.
pub fn policy_loss(input: PolicyInput, clip: &PolicyClip, denominator: Denominator) -> PolicyLoss {
    let PolicyInput {
        logprobs,
        old_logprobs,
        advantages,
        mask,
    } = input;
    let [batch, time] = mask.dims();
    assert_shape!(logprobs, [batch, time]);
    assert_shape!(old_logprobs, [batch, time]);
    let advantages = zero_invalid(advantages.without_autodiff(), &mask);
    let log_ratio = zero_invalid(logprobs - old_logprobs.without_autodiff(), &mask);
    let ratio = zero_invalid(log_ratio.clone().exp(), &mask);
    let Surrogate {
        mut per_token,
        clipped,
    } = surrogate(ratio.clone(), &advantages, clip.low, clip.high);
    let mut dual = mask.zeros_like();
    if let Some(bound) = clip.dual {
        let most = advantages.clone() * -bound;
        let over = per_token.clone().without_autodiff().greater(most.clone());
        dual = advantages.lower_elem(0.0).bool_and(over);
        per_token = per_token.mask_where(dual.clone(), most);
    }
    let loss = mean_with(per_token.clone(), &mask, denominator);
    let (d, ratio) = (log_ratio.without_autodiff(), ratio.without_autodiff());
    let mean = |values| mean_with(values, &mask, denominator);
    let fraction = |flag| fraction_of(flag, &mask, denominator);
    PolicyLoss {
        loss,
        per_token: per_token.without_autodiff(),
        mean_ratio: mean(ratio.clone()),
        approx_kl_k1: mean(d.clone().neg()),
        approx_kl_k2: mean(d.clone() * d.clone() * 0.5),
        approx_kl_k3: mean(ratio.clone() - 1.0 - d),
        clip_fraction: fraction(clipped),
        ratio_outside_fraction: fraction(outside(&ratio, clip)),
        dual_clip_fraction: fraction(dual),
        ratio,
    }
}

/// A batch of response tokens with what policy and value function say about them, each
/// `[batch, time]`.
#[derive(Clone, Debug)]
pub struct PpoLossInput {
    /// Under the policy being trained.
    pub logprobs: Tensor<2>,
    /// Under the policy that wrote the tokens.
    pub old_logprobs: Tensor<2>,
    /// Used as they are given.
    pub advantages: Tensor<2>,
    /// Of the value function being trained: `values[b][t]` belongs to the state before token t.
    pub values: Tensor<2>,
    /// Of the value function at the rollout.
    pub old_values: Tensor<2>,
    /// The value function's targets.
    pub returns: Tensor<2>,
    /// Of the policy being trained, at each position.
    pub entropy: Tensor<2>,
    /// The response, its end token included.
    pub mask: Tensor<2, Bool>,
}

/// Clips and weights of PPO's loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PpoLossConfig {
    /// The ratio's lower edge is 1 − this.
    pub clip_low: f64,
    /// The ratio's upper edge is 1 + this.
    pub clip_high: f64,
    /// See [`PolicyClip::dual`].
    pub dual_clip: Option<f64>,
    /// How far from its old value a value may move before it stops to pay.
    pub value_clip: Option<f64>,
    /// The weight of the value loss.
    pub value_coef: f64,
    /// The weight of the entropy bonus.
    pub entropy_coef: f64,
}

/// PPO's loss and what to log. Everything but `total_loss` is detached.
#[derive(Clone, Debug)]
pub struct PpoLossOutput {
    /// policy_loss + value_coef · value_loss − entropy_coef · entropy
    pub total_loss: Tensor<1>,
    /// The mean clipped surrogate.
    pub policy_loss: Tensor<1>,
    /// ½ mean of the (clipped) squared error.
    pub value_loss: Tensor<1>,
    /// The mean entropy.
    pub entropy: Tensor<1>,
    /// `[batch, time]`: exp(logprobs − old_logprobs), 0 at masked positions.
    pub ratio: Tensor<2>,
    /// `[batch, time]`
    pub per_token_policy_loss: Tensor<2>,
    /// The mean ratio.
    pub mean_ratio: Tensor<1>,
    /// mean(old − new)
    pub approx_kl_k1: Tensor<1>,
    /// ½ mean((new − old)²)
    pub approx_kl_k2: Tensor<1>,
    /// mean(ratio − 1 − log ratio)
    pub approx_kl_k3: Tensor<1>,
    /// See [`PolicyLoss::clip_fraction`].
    pub clip_fraction: Tensor<1>,
    /// See [`PolicyLoss::ratio_outside_fraction`].
    pub ratio_outside_fraction: Tensor<1>,
    /// See [`PolicyLoss::dual_clip_fraction`].
    pub dual_clip_fraction: Tensor<1>,
    /// Tokens whose clipped squared error is strictly the larger one.
    pub value_clip_fraction: Tensor<1>,
}

/// PPO's loss (Schulman et al., 2017, equation 9):
/// policy_loss + value_coef · value_loss − entropy_coef · mean entropy; see [`policy_loss`] and
/// [`value_loss`]. All means are over valid tokens, Σ / denominator.
///
/// # Panics
/// If shapes disagree.
pub fn ppo_loss(
    input: PpoLossInput,
    config: &PpoLossConfig,
    denominator: Denominator,
) -> PpoLossOutput {
    let PpoLossInput {
        logprobs,
        old_logprobs,
        advantages,
        mask,
        ..
    } = input;
    let entropy = mean_with(input.entropy, &mask, denominator);
    let value = ValueInput {
        values: input.values,
        old_values: input.old_values,
        returns: input.returns,
        mask: mask.clone(),
    };
    let value = value_loss(value, config.value_clip, denominator);
    let policy = PolicyInput {
        logprobs,
        old_logprobs,
        advantages,
        mask,
    };
    let clip = PolicyClip {
        low: config.clip_low,
        high: config.clip_high,
        dual: config.dual_clip,
    };
    let policy = policy_loss(policy, &clip, denominator);
    let mut total_loss = policy.loss.clone() + value.loss.clone() * config.value_coef;
    if config.entropy_coef != 0.0 {
        total_loss = total_loss - entropy.clone() * config.entropy_coef;
    }
    PpoLossOutput {
        total_loss,
        policy_loss: policy.loss.without_autodiff(),
        value_loss: value.loss.without_autodiff(),
        entropy: entropy.without_autodiff(),
        ratio: policy.ratio,
        per_token_policy_loss: policy.per_token,
        mean_ratio: policy.mean_ratio,
        approx_kl_k1: policy.approx_kl_k1,
        approx_kl_k2: policy.approx_kl_k2,
        approx_kl_k3: policy.approx_kl_k3,
        clip_fraction: policy.clip_fraction,
        ratio_outside_fraction: policy.ratio_outside_fraction,
        dual_clip_fraction: policy.dual_clip_fraction,
        value_clip_fraction: value.clip_fraction,
    }
}

/// PPO with pre-training gradients mixed in (Ouyang et al., 2022, equation 2):
/// ppo_loss + ptx_coef · lm_loss, where the language-model loss is a mean over its own tokens
/// ([`sft_loss`](crate::sft_loss)).
pub fn ppo_ptx_loss(ppo_loss: Tensor<1>, lm_loss: Tensor<1>, ptx_coef: f64) -> Tensor<1> {
    ppo_loss + lm_loss * ptx_coef
}

#[cfg(test)]
mod tests;
