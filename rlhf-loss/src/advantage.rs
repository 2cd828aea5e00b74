//! Advantages from scores of whole responses: constants of an update, computed on the host in f64.
//!
//! Scores are `[prompt, sample]`: the samples of one prompt stand side by side.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::host;
use crate::masked::along_rows;
use crate::returns::{Gae, Whiten, reward_to_go, whiten};

/// Each group of scores replaced by what `of_group` makes of it.
fn per_group(scores: &Tensor<2>, of_group: impl Fn(&[f64]) -> Vec<f64>) -> Tensor<2> {
    let [_, samples] = scores.dims();
    let values = host::floats(scores);
    let groups = values.chunks(samples.max(1));
    host::tensor_like(&groups.flat_map(of_group).collect::<Vec<_>>(), scores)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// √(Σ (x − mean)² / (n − 1)); 0 for a single value.
fn unbiased_std(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (squares / values.len().saturating_sub(1).max(1) as f64).sqrt()
}

/// (r − mean) / (std + eps) within the group, unbiased std, `[prompt, sample]` (Shao et al.,
/// "DeepSeekMath", 2024, section 4.1.2). A group of one, or of equal scores, gives exactly 0.
pub fn grpo_advantages(scores: Tensor<2>, eps: f64) -> Tensor<2> {
    per_group(&scores, |group| {
        let (mean, std) = (mean(group), unbiased_std(group));
        group.iter().map(|r| (r - mean) / (std + eps)).collect()
    })
}

/// (r − mean of the group) / (std of all scores + eps), unbiased std, `[prompt, sample]`.
pub fn grpo_batch_std_advantages(scores: Tensor<2>, eps: f64) -> Tensor<2> {
    let std = unbiased_std(&host::floats(&scores));
    per_group(&scores, |group| {
        let mean = mean(group);
        group.iter().map(|r| (r - mean) / (std + eps)).collect()
    })
}

/// r − mean of the group, `[prompt, sample]` (Liu et al., "Understanding R1-Zero-like training",
/// 2025).
pub fn dr_grpo_advantages(scores: Tensor<2>) -> Tensor<2> {
    per_group(&scores, |group| {
        let mean = mean(group);
        group.iter().map(|r| r - mean).collect()
    })
}

/// r − mean of the *other* samples, `[prompt, sample]` (Ahmadian et al., "Back to basics", 2024,
/// equation 7). A group of one has no others and gives 0.
pub fn rloo_advantages(scores: Tensor<2>) -> Tensor<2> {
    per_group(&scores, |group| {
        let others = group.len().saturating_sub(1).max(1) as f64;
        let scale = group.len() as f64 / others;
        let mean = mean(group);
        group.iter().map(|r| (r - mean) * scale).collect()
    })
}

/// r − the score of the prompt's greedy answer, `[prompt, sample]` (Li et al., "ReMax", 2023,
/// equation 5). `greedy_scores` is `[prompt]`.
///
/// # Panics
/// If there is not one greedy score for each prompt.
pub fn remax_advantages(scores: Tensor<2>, greedy_scores: Tensor<1>) -> Tensor<2> {
    let [prompts, samples] = scores.dims();
    assert_shape!(greedy_scores, [prompts]);
    let greedy = host::floats(&greedy_scores);
    let scores_on_host = host::floats(&scores);
    let differences = scores_on_host
        .iter()
        .enumerate()
        .map(|(i, r)| r - greedy[i / samples]);
    host::tensor_like(&differences.collect::<Vec<_>>(), &scores)
}

/// REINFORCE++ (Hu, 2025): the discounted reward to go of token rewards, as `returns`, and the same
/// whitened over all valid tokens, as `advantages`. No value function.
///
/// `rewards` come from [`kl_penalised_rewards`](crate::kl_penalised_rewards).
///
/// # Panics
/// If the shapes differ.
pub fn reinforce_pp_advantages(
    rewards: Tensor<2>,
    mask: &Tensor<2, Bool>,
    gamma: f64,
    how: Whiten,
) -> Gae {
    let returns = reward_to_go(rewards, mask, gamma);
    Gae {
        advantages: whiten(returns.clone(), mask, how),
        returns,
    }
}

/// REINFORCE++ with a group baseline (Hu, 2025): score − group mean on each valid token of row
/// prompt · samples + sample, whitened over all valid tokens. `mask` is
/// `[prompts · samples, time]`, as is the result.
///
/// # Panics
/// If there is not one row of the mask for each score.
pub fn reinforce_pp_baseline_advantages(
    scores: Tensor<2>,
    mask: &Tensor<2, Bool>,
    how: Whiten,
) -> Tensor<2> {
    let [prompts, samples] = scores.dims();
    let centred = dr_grpo_advantages(scores).reshape([prompts * samples]);
    whiten(along_rows(centred, mask), mask, how)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn scores<const N: usize, const M: usize>(values: [[f32; N]; M]) -> Tensor<2> {
        Tensor::from_floats(values, &Device::flex())
    }

    /// Pitfall: rounding of 1e-8 over std + 1e-6 gives 1e-2. 0.1 and 0.7 have no exact binary form.
    #[test]
    fn equal_scores_give_exactly_zero() {
        for value in [0.1, 0.7, 1e-7, 12345.678] {
            let equal = scores([[value; 7], [value; 7]]);
            assert_eq!(numbers(grpo_advantages(equal.clone(), 1e-6)), [0.0; 14]);
            assert_eq!(
                numbers(grpo_batch_std_advantages(equal.clone(), 1e-6)),
                [0.0; 14]
            );
            assert_eq!(numbers(dr_grpo_advantages(equal.clone())), [0.0; 14]);
            assert_eq!(numbers(rloo_advantages(equal)), [0.0; 14]);
        }
    }

    /// Pitfalls: std with n − 1 on a group of one is NaN; leave-one-out divides by 0.
    #[test]
    fn a_group_of_one_gives_zero() {
        let alone = scores([[3.0], [-2.0]]);
        assert_eq!(numbers(grpo_advantages(alone.clone(), 1e-4)), [0.0; 2]);
        assert_eq!(numbers(rloo_advantages(alone.clone())), [0.0; 2]);
        assert_eq!(numbers(dr_grpo_advantages(alone)), [0.0; 2]);
    }

    #[test]
    fn two_groups_by_hand() {
        let two = scores([[0.0, 2.0, 4.0], [1.0, 1.0, 4.0]]);
        assert_eq!(
            numbers(dr_grpo_advantages(two.clone())),
            [-2.0, 0.0, 2.0, -1.0, -1.0, 2.0]
        );
        assert_eq!(
            numbers(rloo_advantages(two.clone())),
            [-3.0, 0.0, 3.0, -1.5, -1.5, 3.0]
        );
        let root3 = 3.0f32.sqrt();
        let want = [-1.0, 0.0, 1.0, -1.0 / root3, -1.0 / root3, 2.0 / root3];
        assert_eq!(numbers(grpo_advantages(two.clone(), 0.0)), want);
        let greedy = Tensor::from_floats([1.0, 3.0], &Device::flex());
        let remax = numbers(remax_advantages(two.clone(), greedy));
        assert_eq!(remax, [-1.0, 1.0, 3.0, -2.0, -2.0, 1.0]);
        let all = numbers(grpo_batch_std_advantages(two, 0.0));
        let std = 2.8f32.sqrt();
        assert!((all[0] + 2.0 / std).abs() < 1e-6, "{all:?}");
    }

    /// eps is added to the deviation, outside the root.
    #[test]
    fn eps_bounds_what_a_small_deviation_gives() {
        let two = scores([[0.0, 2.0, 4.0], [1.0, 1.0, 4.0]]);
        let of_group = numbers(grpo_advantages(two.clone(), 2.0));
        assert_eq!(of_group[..3], [-0.5, 0.0, 0.5]);
        let of_all = numbers(grpo_batch_std_advantages(two, 2.0));
        let want = 2.0 / (2.8f32.sqrt() + 2.0);
        assert!((of_all[2] - want).abs() < 1e-6, "{of_all:?}");
    }

    /// Returns 2, 2 and 4: mean 8/3, squared deviations 8/3, unbiased variance 4/3.
    #[test]
    fn rewards_to_go_are_whitened_over_all_valid_tokens() {
        let rewards = scores([[1.0, 2.0], [4.0, f32::NAN]]);
        let mask = Tensor::from_bool([[true, true], [true, false]], &Device::flex());
        let how = Whiten {
            eps: 0.0,
            ..Whiten::default()
        };
        let out = reinforce_pp_advantages(rewards, &mask, 0.5, how);
        assert_eq!(numbers(out.returns), [2.0, 2.0, 4.0, 0.0]);
        let std = (4.0f32 / 3.0).sqrt();
        let want = [-2.0 / 3.0 / std, -2.0 / 3.0 / std, 4.0 / 3.0 / std, 0.0];
        let out = numbers(out.advantages);
        assert!(
            out.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6),
            "{out:?}"
        );
    }

    #[test]
    fn the_baseline_form_spreads_each_score_over_its_own_row() {
        let mask = [[true, true], [true, false]];
        let mask = Tensor::from_bool(mask, &Device::flex());
        let how = Whiten {
            eps: 0.0,
            ..Whiten::default()
        };
        let out = numbers(reinforce_pp_baseline_advantages(
            scores([[0.0, 2.0]]),
            &mask,
            how,
        ));
        // −1, −1 and 1: mean −1/3, squared deviations 8/3, unbiased variance 4/3.
        let std = (4.0f32 / 3.0).sqrt();
        let want = [-2.0 / 3.0 / std, -2.0 / 3.0 / std, 4.0 / 3.0 / std, 0.0];
        assert!(
            out.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6),
            "{out:?}"
        );
    }
}
