//! The formulas of RLHF: log-probs, masked statistics, KL, GAE, policy, value, preference and
//! supervised losses, as plain functions over tensors.
//!
//! - A *mask* is a Bool tensor, `true` where a position counts. What stands at masked positions,
//!   NaN and infinities included, influences neither a result nor a gradient: masked entries are
//!   selected away, never multiplied by zero. Results at masked positions are 0.
//! - A mean over nothing is 0 and has no gradient. What is undefined is an `Option` that is `None`.
//! - Per-token tensors of responses are `[batch, time]`; position t holds the figure of response
//!   token t, and the mask covers the response up to and including its end token. Only functions
//!   that take logits together with the ids of the same sequence shift, through [`next_tokens`].
//! - Scalars are `Tensor<1>` of one element, so that nothing waits for the device inside a step.
//!   Figures for logging are detached. Constants of a step (advantages, returns, whitening, group
//!   baselines, [`masked_stats`]) are computed once on the host in f64: the same bits on every
//!   device.
//! - Every function runs on plain and on autodiff tensors. Shape misuse panics.
//! - Losses over tokens take a [`Denominator`], so that micro-batches of one update add up to the
//!   update; losses over pairs are means over as many pairs as they are given, so a micro-batch's
//!   share is its loss times its part of the update's pairs.
//!
//! ```
//! use burn::tensor::{Device, Tensor};
//! use rlhf_loss::bradley_terry;
//!
//! let device = Device::flex();
//! let chosen = Tensor::<1>::from_floats([1.2, 0.3], &device);
//! let rejected = Tensor::<1>::from_floats([0.2, 0.5], &device);
//! let found = bradley_terry(chosen, rejected, None, 0.0);
//! assert!((found.loss.into_scalar::<f32>() - 0.5557).abs() < 1e-4);
//! ```

mod advantage;
mod dpo;
mod grpo;
mod host;
mod kl;
mod kl_reward;
mod kto;
mod logprobs;
mod masked;
mod policy;
mod preference;
mod reduction;
mod reference_free;
mod returns;
mod stats;
mod supervised;
mod value;

pub use advantage::{
    dr_grpo_advantages, grpo_advantages, grpo_batch_std_advantages, reinforce_pp_advantages,
    reinforce_pp_baseline_advantages, remax_advantages, rloo_advantages,
};
pub use dpo::{DpoInput, DpoLoss, DpoOutput, PairLengths, dpo_loss};
pub use grpo::{GrpoInput, GrpoKl, GrpoLossConfig, GrpoOutput, RatioLevel, grpo_loss};
pub use kl::{AdaptiveKl, KlEstimator, kl_estimate, kl_full};
pub use kl_reward::{KlRewardConfig, KlRewardInput, KlRewards, MissingEos, kl_penalised_rewards};
pub use kto::{KtoConfig, KtoInput, KtoOutput, kto_loss, kto_reference_point};
pub use logprobs::{
    TokenLogprobs, completion_logprobs, next_tokens, sequence_logprobs, token_logprobs,
};
pub use masked::{
    Denominator, count_valid, last_valid, last_valid_index, last_valid_mask, mean_over,
    mean_over_rows, sum_over, sum_over_rows, zero_invalid,
};
pub use policy::{
    PolicyClip, PolicyInput, PolicyLoss, PpoLossConfig, PpoLossInput, PpoLossOutput, policy_loss,
    ppo_loss, ppo_ptx_loss,
};
pub use preference::{
    BradleyTerry, KWise, bradley_terry, k_wise, k_wise_centring, pairs_from_ranks,
};
pub use reduction::{Reduction, reduce};
pub use reference_free::{OrpoOutput, SimpoConfig, SimpoOutput, orpo_loss, simpo_loss};
pub use returns::{Discount, Gae, Whiten, gae, reward_to_go, whiten};
pub use stats::{MaskedStats, explained_variance, masked_stats};
pub use supervised::{SftLoss, SftLossConfig, sft_loss};
pub use value::{ValueInput, ValueLoss, value_loss};
