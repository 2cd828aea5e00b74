//! Order, padding and rubbish change nothing; equal policies have ratio 1 and KL 0.

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;
use proptest::sample::select;
use rlhf_loss::{
    Denominator, KlEstimator, RatioLevel, Reduction, Whiten, kl_estimate, masked_stats, mean_over,
    mean_over_rows, whiten,
};

use crate::batch::{
    Layout, Outcome, REDUCTIONS, RUBBISH, assert_same, grpo, near, number, ppo, rows,
};

const LEVELS: [RatioLevel; 2] = [RatioLevel::Token, RatioLevel::Sequence];

/// All losses over tokens of one layout.
fn all(layout: &Layout) -> Vec<Outcome> {
    let mut outcomes = vec![ppo(layout, Denominator::Own)];
    for level in LEVELS {
        outcomes.extend(REDUCTIONS.map(|how| grpo(layout, (level, how), Denominator::Own)));
    }
    outcomes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pitfalls: what stands at masked positions, and on which side they are, changes nothing.
    #[test]
    fn padding_and_rubbish_change_nothing(
        rows in rows(4),
        before in 0usize..3,
        after in 0usize..3,
        rubbish in select(&RUBBISH[..]),
    ) {
        let tight = Layout::tight(&rows);
        let time = tight.time + before + after;
        let padded = Layout { rows, before, time, rubbish };
        for (a, b) in all(&padded).iter().zip(&all(&tight)) {
            assert_same(a, b);
        }
    }

    #[test]
    fn the_order_of_the_rows_changes_nothing(rows in rows(5), turn in 0usize..5) {
        let turn = turn % rows.len();
        let mut turned = rows.clone();
        turned.rotate_left(turn);
        for (straight, turned) in all(&Layout::tight(&rows)).iter().zip(all(&Layout::tight(&turned))) {
            let mut back = turned.clone();
            back.gradients.rotate_right(turn);
            assert_same(&back, straight);
        }
    }

    /// Pitfall: before the first update the ratio is 1 and every KL 0, exactly.
    #[test]
    fn a_policy_is_at_no_distance_from_itself(rows in rows(4)) {
        let mut rows = rows;
        rows.iter_mut().flatten().for_each(|token| {
            token[1] = token[0];
            token[2] = token[0];
        });
        let layout = Layout::tight(&rows);
        let outcome = ppo(&layout, Denominator::Own);
        let tokens: usize = rows.iter().map(Vec::len).sum();
        let one = if tokens == 0 { 0.0 } else { 1.0 };
        prop_assert!((outcome.scalars[4] - one).abs() < 1e-6);
        prop_assert_eq!(&outcome.scalars[5..11], &[0.0; 6]);
        for level in LEVELS {
            let outcome = grpo(&layout, (level, Reduction::TokenMean), Denominator::Own);
            prop_assert_eq!(&outcome.scalars[1..], &[0.0; 2]);
        }
    }

    /// The two ways to the same figures: on the host in f64 and as tensors.
    #[test]
    fn means_agree_between_host_and_tensors(rows in rows(4), rubbish in select(&RUBBISH[..])) {
        let layout = Layout { rubbish, ..Layout::tight(&rows) };
        let device = Device::flex();
        let (values, mask) = (layout.column(4, &device), layout.mask(&device));
        let stats = masked_stats(&values, &mask);
        prop_assert!(near(&[number(&mean_over(values.clone(), &mask))], &[stats.mean as f32]));
        let by_row: Vec<f32> = mean_over_rows(values, &mask).into_data().iter().collect();
        let expected: Vec<f32> = stats.row_mean.iter().map(|&mean| mean as f32).collect();
        prop_assert!(near(&by_row, &expected));
    }

    /// k2 and k3 are never negative, k1 changes its sign with the direction.
    #[test]
    fn estimates_of_the_divergence(rows in rows(3)) {
        let layout = Layout::tight(&rows);
        let device = Device::flex();
        let (p, q) = (layout.column(0, &device), layout.column(2, &device));
        let mask = layout.mask(&device);
        let kl = |p: &Tensor<2>, q: &Tensor<2>, kind| {
            layout.valid(&kl_estimate(p.clone(), q.clone(), &mask, kind)).concat()
        };
        let there = kl(&p, &q, KlEstimator::K1);
        let back: Vec<f32> = kl(&q, &p, KlEstimator::K1).iter().map(|x| -x).collect();
        prop_assert_eq!(there, back);
        for kind in [KlEstimator::K2, KlEstimator::K3] {
            prop_assert!(kl(&p, &q, kind).iter().all(|&x| x >= -1e-6));
        }
    }

    /// Whitening knows neither the scale nor the zero of its values.
    #[test]
    fn whitening_forgets_scale_and_shift(
        rows in rows(4),
        rubbish in select(&RUBBISH[..]),
        scale in 0.5f64..4.0,
        shift in -3.0f64..3.0,
    ) {
        let layout = Layout { rubbish, ..Layout::tight(&rows) };
        let device = Device::flex();
        let (values, mask) = (layout.column(4, &device), layout.mask(&device));
        let how = Whiten { eps: 1e-12, ..Whiten::default() };
        let whitened = layout.valid(&whiten(values.clone(), &mask, how)).concat();
        let moved = layout.valid(&whiten(values * scale + shift, &mask, how)).concat();
        for (a, b) in whitened.iter().zip(&moved) {
            prop_assert!((a - b).abs() < 2e-3, "{} {}", a, b);
        }
        let squares: f32 = whitened.iter().map(|x| x * x).sum();
        let free = whitened.len().saturating_sub(1) as f32;
        prop_assert!(free < 2.0 || (squares / free - 1.0).abs() < 1e-3);
    }
}
