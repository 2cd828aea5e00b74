//! Advantages in two forms, and group baselines.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rlhf_loss::{
    Discount, dr_grpo_advantages, gae, grpo_advantages, grpo_batch_std_advantages, reward_to_go,
    rloo_advantages,
};

use crate::batch::{Layout, RUBBISH, rows};

/// GAE as a scan over time on tensors: one step for all rows at once, which carries the next valid
/// position's value and advantage where a position is masked.
fn gae_by_scan(
    (rewards, values): (&Tensor<2>, &Tensor<2>),
    mask: &Tensor<2, Bool>,
    bootstrap: &Tensor<1>,
    discount: Discount,
) -> Tensor<2> {
    let [_, time] = mask.dims();
    let at = |tensor: &Tensor<2>, t| tensor.clone().slice_dim(1, t..t + 1);
    let mut next_value = bootstrap.clone().unsqueeze_dim::<2>(1);
    let mut next_advantage = next_value.zeros_like();
    let mut columns = Vec::new();
    for t in (0..time).rev() {
        let valid = mask.clone().slice_dim(1, t..t + 1);
        let value = at(values, t);
        let delta = at(rewards, t) + next_value.clone() * discount.gamma - value.clone();
        let advantage = delta + next_advantage.clone() * (discount.gamma * discount.lambda);
        columns.push(
            advantage
                .zeros_like()
                .mask_where(valid.clone(), advantage.clone()),
        );
        next_advantage = next_advantage.mask_where(valid.clone(), advantage);
        next_value = next_value.mask_where(valid, value);
    }
    columns.reverse();
    Tensor::cat(columns, 1)
}

fn vector(values: Vec<f32>) -> Tensor<1> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
}

fn scores(values: &[Vec<f32>]) -> Tensor<2> {
    let shape = [values.len(), values[0].len()];
    Tensor::from_data(TensorData::new(values.concat(), shape), &Device::flex())
}

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn groups() -> impl Strategy<Value = Vec<Vec<f32>>> {
    (1usize..5, 1usize..6)
        .prop_flat_map(|(prompts, samples)| vec(vec(-9.0f32..9.0, samples), prompts))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The loop over a row on the host against the scan over time on tensors.
    #[test]
    fn loop_form_and_scan_form_of_gae_agree(
        rows in rows(4),
        before in 0usize..2,
        rubbish in select(&RUBBISH[..]),
        gamma in 0.5f64..=1.0,
        lambda in 0.0f64..=1.0,
        after in vec(-2.0f32..2.0, 4),
    ) {
        let tight = Layout::tight(&rows);
        let layout = Layout { before, time: tight.time + before, rubbish, ..tight };
        let device = Device::flex();
        let (rewards, values) = (layout.column(3, &device), layout.column(4, &device));
        let mask = layout.mask(&device);
        let bootstrap = vector(after[..rows.len()].to_vec());
        let discount = Discount { gamma, lambda };
        let scan = gae_by_scan((&rewards, &values), &mask, &bootstrap, discount);
        let looped = gae(rewards.clone(), values.clone(), &mask, Some(bootstrap), discount);
        let (a, b) = (layout.valid(&looped.advantages).concat(), layout.valid(&scan).concat());
        for (a, b) in a.iter().zip(&b) {
            prop_assert!((a - b).abs() < 1e-5, "{} {}", a, b);
        }
        let values = layout.valid(&values.mask_fill(mask.clone().bool_not(), 0.0)).concat();
        let returns = layout.valid(&looped.returns).concat();
        for ((r, a), v) in returns.iter().zip(&a).zip(&values) {
            prop_assert!((r - a - v).abs() < 1e-5);
        }
    }

    /// λ = 1 without bootstrap is the reward to go; its returns do not depend on the values.
    #[test]
    fn lambda_one_is_monte_carlo(rows in rows(3), gamma in 0.5f64..=1.0) {
        let layout = Layout::tight(&rows);
        let device = Device::flex();
        let (rewards, values) = (layout.column(3, &device), layout.column(4, &device));
        let mask = layout.mask(&device);
        let discount = Discount { gamma, lambda: 1.0 };
        let out = gae(rewards.clone(), values, &mask, None, discount);
        let to_go = layout.valid(&reward_to_go(rewards, &mask, gamma)).concat();
        for (a, b) in layout.valid(&out.returns).concat().iter().zip(&to_go) {
            prop_assert!((a - b).abs() < 1e-5, "{} {}", a, b);
        }
    }

    /// A constant on all rewards of a group is no advantage, and advantages of a group sum to 0.
    #[test]
    fn a_baseline_takes_the_common_part_away(groups in groups(), shift in -3.0f32..3.0) {
        let moved: Vec<Vec<f32>> =
            groups.iter().map(|group| group.iter().map(|r| r + shift).collect()).collect();
        let samples = groups[0].len();
        for of in [
            dr_grpo_advantages as fn(Tensor<2>) -> Tensor<2>,
            rloo_advantages,
            |scores| grpo_advantages(scores, 1e-2),
            |scores| grpo_batch_std_advantages(scores, 1e-2),
        ] {
            let (a, b) = (numbers(of(scores(&groups))), numbers(of(scores(&moved))));
            for (a, b) in a.iter().zip(&b) {
                prop_assert!((a - b).abs() < 1e-3, "{} {}", a, b);
            }
            for group in a.chunks(samples) {
                prop_assert!(group.iter().sum::<f32>().abs() < 1e-4);
            }
        }
    }

    /// Pitfalls: equal scores give exactly 0, and so does a group of one.
    #[test]
    fn nothing_to_compare_is_exactly_zero(score in -1e4f32..1e4, samples in 1usize..9) {
        let group = scores(&[vec![score; samples]]);
        prop_assert_eq!(numbers(grpo_advantages(group.clone(), 1e-8)), vec![0.0; samples]);
        prop_assert_eq!(numbers(grpo_batch_std_advantages(group.clone(), 1e-8)), vec![0.0; samples]);
        prop_assert_eq!(numbers(dr_grpo_advantages(group.clone())), vec![0.0; samples]);
        prop_assert_eq!(numbers(rloo_advantages(group)), vec![0.0; samples]);
    }

    /// Leave-one-out is r − mean of the others, by its definition.
    #[test]
    fn leave_one_out_by_definition(group in vec(-9.0f32..9.0, 2..6)) {
        let found = numbers(rloo_advantages(scores(std::slice::from_ref(&group))));
        let total: f32 = group.iter().sum();
        for (a, r) in found.iter().zip(&group) {
            let others = (total - r) / (group.len() - 1) as f32;
            prop_assert!((a - (r - others)).abs() < 1e-4, "{} {}", a, r - others);
        }
    }
}
