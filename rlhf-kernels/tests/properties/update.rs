//! AdamW and the sum of squares.

use proptest::prelude::*;
use rlhf_kernels::{AdamWStep, Moments, adamw, plain, sum_of_squares};

use crate::sample::{Sample, assert_close, bits, numbers, with_threads};

fn step(step: u64) -> AdamWStep {
    AdamWStep {
        lr: 3e-2,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        step,
        grad_scale: 0.5,
    }
}

/// The rule in `f64`, written out.
fn reference(values: &mut [f64], grads: &[Vec<f32>]) {
    let (mut m, mut v) = (vec![0.0; values.len()], vec![0.0; values.len()]);
    for (t, grad) in (1..).zip(grads) {
        for (i, p) in values.iter_mut().enumerate() {
            let g = f64::from(grad[i]) * 0.5;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.95 * v[i] + 0.05 * g * g;
            let (m_hat, v_hat) = (
                m[i] / (1.0 - 0.9f64.powi(t)),
                v[i] / (1.0 - 0.95f64.powi(t)),
            );
            *p = *p * (1.0 - 3e-2 * 0.1) - 3e-2 * m_hat / (v_hat.sqrt() + 1e-8);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn adamw_follows_the_rule(seed: u64, rows in 1usize..200, width in 1usize..200) {
        let mut sample = Sample::new(seed);
        let start = sample.tensor([rows, width], 1.0);
        let len = rows * width;
        let (mut fast, mut slow) = (start.clone(), start.clone());
        let (mut fast_moments, mut slow_moments) = (Moments::zeros(len), Moments::zeros(len));
        let mut exact: Vec<f64> = numbers(start.clone()).into_iter().map(f64::from).collect();
        let before = numbers(start.clone());
        let mut grads = Vec::new();
        for t in 1..=4 {
            let grad = sample.tensor([rows, width], 2.0);
            grads.push(numbers(grad.clone()));
            fast = adamw(fast, grad.clone(), &mut fast_moments, &step(t));
            slow = plain::adamw(slow, grad, &mut slow_moments, &step(t));
        }
        reference(&mut exact, &grads);
        let exact: Vec<f32> = exact.into_iter().map(|x| x as f32).collect();
        assert_close("parameter", &numbers(fast.clone()), &exact, 2e-6);
        prop_assert_eq!(bits(&numbers(fast)), bits(&numbers(slow)));
        prop_assert_eq!(&fast_moments, &slow_moments);
        // A clone taken before the updates keeps its numbers.
        prop_assert_eq!(numbers(start), before);
    }

    #[test]
    fn squares_are_summed_in_f64(seed: u64, rows in 1usize..60, width in 1usize..2000) {
        let x = Sample::new(seed).tensor([rows, width], 5.0);
        let exact: f64 = numbers(x.clone()).iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        prop_assert!((sum_of_squares(&x) - exact).abs() <= 1e-12 * exact);
        prop_assert!((plain::sum_of_squares(&x) - exact).abs() <= 1e-5 * exact);
    }
}

#[test]
fn views_are_updated_and_summed_as_they_look() {
    let mut sample = Sample::new(4);
    let (param, grad) = (sample.tensor([30, 20], 1.0), sample.tensor([30, 20], 1.0));
    let cut = |x: &burn::tensor::Tensor<2>| x.clone().transpose().narrow(0, 4, 9);
    let (mut a, mut b) = (Moments::zeros(270), Moments::zeros(270));
    let fast = adamw(cut(&param), cut(&grad), &mut a, &step(1));
    let slow = plain::adamw(cut(&param), cut(&grad), &mut b, &step(1));
    assert_eq!(bits(&numbers(fast)), bits(&numbers(slow)));
    assert_eq!(a, b);
    let rows = param.clone().narrow(0, 4, 9);
    let exact: f64 = numbers(rows.clone())
        .iter()
        .map(|x| f64::from(*x) * f64::from(*x))
        .sum();
    assert!((sum_of_squares(&rows) - exact).abs() <= 1e-12 * exact);
}

#[test]
fn threads_do_not_change_a_bit() {
    let run = || {
        let mut sample = Sample::new(6);
        let (param, grad) = (
            sample.tensor([400, 300], 1.0),
            sample.tensor([400, 300], 1.0),
        );
        let mut moments = Moments::zeros(120_000);
        let sum = sum_of_squares(&grad).to_bits();
        (
            sum,
            bits(&numbers(adamw(param, grad, &mut moments, &step(1)))),
            bits(&moments.second),
        )
    };
    assert_eq!(with_threads(1, run), with_threads(2, run));
}

#[test]
#[should_panic(expected = "moments of 3 and 3")]
fn moments_of_another_size_are_refused() {
    let x = Sample::new(1).tensor([4], 1.0);
    let _ = adamw(x.clone(), x, &mut Moments::zeros(3), &step(1));
}
