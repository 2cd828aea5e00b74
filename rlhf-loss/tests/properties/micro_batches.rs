//! Micro-batches of one update add up to the update.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::collection::vec;
use proptest::prelude::*;
use rlhf_loss::{Denominator, RatioLevel, Reduction, bradley_terry, k_wise};

use crate::batch::{Layout, Outcome, REDUCTIONS, Row, assert_same, grpo, near, ppo, rows};

/// The sum of what each part found, its rows after one another.
fn sum(parts: &[Outcome], scalars: usize) -> Outcome {
    let mut total = Outcome {
        scalars: vec![0.0; scalars],
        gradients: Vec::new(),
    };
    for part in parts {
        for (sum, x) in total.scalars.iter_mut().zip(&part.scalars) {
            *sum += x;
        }
        total.gradients.extend(part.gradients.clone());
    }
    total
}

/// The rows in two micro-batches, each padded to its own longest row.
fn split(rows: &[Row], at: usize) -> [Layout; 2] {
    [Layout::tight(&rows[..at]), Layout::tight(&rows[at..])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Pitfall: the mean of per-micro-batch means is another loss when lengths differ.
    #[test]
    fn ppo_in_micro_batches(rows in rows(6), at in 1usize..6) {
        prop_assume!(at < rows.len());
        let tokens: usize = rows.iter().map(Vec::len).sum();
        let whole = ppo(&Layout::tight(&rows), Denominator::Own);
        let parts = split(&rows, at).map(|part| ppo(&part, Denominator::Whole(tokens as f64)));
        assert_same(&sum(&parts, whole.scalars.len()), &whole);
    }

    #[test]
    fn grpo_in_micro_batches(rows in rows(6), at in 1usize..6) {
        prop_assume!(at < rows.len());
        let device = Device::flex();
        for reduction in REDUCTIONS {
            let how = (RatioLevel::Token, reduction);
            let parts = split(&rows, at);
            let counts = parts.each_ref().map(|part| reduction.count(&part.mask(&device)));
            let by = Denominator::Whole(counts.iter().sum());
            let mut whole = grpo(&Layout::tight(&rows), how, Denominator::Own);
            let parts = parts.map(|part| grpo(&part, how, by));
            // Divergence and clip fraction are always the call's own means.
            whole.scalars.truncate(1);
            assert_same(&sum(&parts, 1), &whole);
        }
    }

    /// One row alone under each reduction but the constant length: the two sequence means are the
    /// token mean and the token sum.
    #[test]
    fn reductions_of_a_single_row(rows in rows(1)) {
        let layout = Layout::tight(&rows);
        let loss = |reduction| {
            grpo(&layout, (RatioLevel::Token, reduction), Denominator::Own).scalars[0]
        };
        let mean = loss(Reduction::TokenMean);
        prop_assert!(near(&[loss(Reduction::SequenceMeanTokenMean)], &[mean]));
        let sum = loss(Reduction::SequenceMeanTokenSum);
        prop_assert!(near(&[sum], &[mean * rows[0].len() as f32]));
        let constant = loss(Reduction::ConstantLength { max_length: 9 });
        prop_assert!(near(&[constant], &[sum / 9.0]));
    }

    /// A part's share of a mean over pairs is its loss times its part of the pairs; a constant
    /// added to all scores changes nothing.
    #[test]
    fn bradley_terry_in_micro_batches_and_shifted(
        pairs in vec((-5.0f32..5.0, -5.0f32..5.0), 2..7),
        at in 1usize..6,
        shift in -3.0f32..3.0,
    ) {
        prop_assume!(at < pairs.len());
        let (whole, gradient) = on_pairs(&pairs, 0.0);
        let (first, mut gradients) = on_pairs(&pairs[..at], 0.0);
        let (second, others) = on_pairs(&pairs[at..], 0.0);
        let share = at as f32 / pairs.len() as f32;
        let summed = first * share + second * (1.0 - share);
        prop_assert!((summed - whole).abs() < 2e-6 * whole.max(1.0), "{} {}", summed, whole);
        gradients.iter_mut().for_each(|g| *g *= share);
        gradients.extend(others.iter().map(|g| g * (1.0 - share)));
        prop_assert!(near(&gradients, &gradient));
        let (shifted, _) = on_pairs(&pairs, shift);
        prop_assert!((shifted - whole).abs() < 1e-5, "{} {}", shifted, whole);
    }

    /// Two answers ranked are a pair.
    #[test]
    fn k_wise_of_two_is_bradley_terry(pairs in vec((-5.0f32..5.0, -5.0f32..5.0), 1..6)) {
        let scores: Vec<f32> = pairs.iter().flat_map(|&(c, r)| [c, r]).collect();
        let count = scores.len();
        let scores = Tensor::<1>::from_data(TensorData::new(scores, [count]), &Device::flex());
        let indices: Vec<_> = (0..pairs.len()).map(|i| vec![(2 * i, 2 * i + 1)]).collect();
        let (loss, _) = on_pairs(&pairs, 0.0);
        prop_assert!(near(&[k_wise(scores, &indices).loss.into_scalar()], &[loss]));
    }
}

/// The loss on pairs of scores moved by a constant, and the gradient of the chosen ones.
fn on_pairs(pairs: &[(f32, f32)], shift: f32) -> (f32, Vec<f32>) {
    let device = Device::flex().autodiff();
    let side = |of: fn(&(f32, f32)) -> f32| {
        let values: Vec<f32> = pairs.iter().map(|pair| of(pair) + shift).collect();
        Tensor::<1>::from_data(TensorData::new(values, [pairs.len()]), &device).require_grad()
    };
    let chosen = side(|pair| pair.0);
    let out = bradley_terry(chosen.clone(), side(|pair| pair.1), None, 0.0);
    let gradients = out.loss.backward();
    let gradient = chosen.grad(&gradients).expect("the loss depends on it");
    (
        out.loss.into_scalar(),
        gradient.into_data().iter().collect(),
    )
}
