use burn::tensor::Device;

use super::*;
use crate::host::numbers;

fn one(logits: [f32; 3], target: i32, temperature: f64) -> TokenLogprobs {
    let device = Device::flex();
    let logits = Tensor::from_floats([[logits]], &device);
    let target = Tensor::<2, Int>::from_ints([[target]], &device);
    token_logprobs(
        logits,
        target,
        &Tensor::from_bool([[true]], &device),
        temperature,
    )
}

/// Pitfall: log(softmax(x)) underflows.
#[test]
fn far_below_the_largest_logit_log_probs_stay_exact() {
    let out = one([80.0, -80.0, 0.0], 1, 1.0);
    assert_eq!(numbers(out.logprobs), [-160.0]);
    assert_eq!(numbers(out.logsumexp), [80.0]);
    assert!(numbers(out.entropy)[0].abs() < 1e-30);
}

#[test]
fn the_temperature_divides_before_the_softmax() {
    let out = one([2.0, 0.0, 0.0], 0, 2.0);
    let e = std::f32::consts::E;
    assert!((numbers(out.logprobs)[0] - (e / (e + 2.0)).ln()).abs() < 1e-6);
    assert!((numbers(out.logsumexp)[0] - (e + 2.0).ln()).abs() < 1e-6);
}

/// Pitfall: entropy from filtered logits gives 0 · (−inf) = NaN.
#[test]
fn tokens_of_probability_zero_add_nothing_to_the_entropy() {
    let device = Device::flex().autodiff();
    let logits = [[[0.0, f32::NEG_INFINITY, 0.0]]];
    let logits = Tensor::<3>::from_floats(logits, &device).require_grad();
    let plain = Device::flex();
    let target = Tensor::<2, Int>::from_ints([[0]], &plain);
    let mask = Tensor::from_bool([[true]], &plain);
    let entropy = token_logprobs(logits.clone(), target, &mask, 1.0).entropy;
    let gradients = entropy.backward();
    assert!((numbers(entropy)[0] - 2.0f32.ln()).abs() < 1e-6);
    let gradient = numbers(logits.grad(&gradients).unwrap());
    assert!(gradient.iter().all(|g| g.abs() < 1e-6), "{gradient:?}");
}

/// Pitfall: a mask after the softmax leaves NaN in the gradient.
#[test]
fn rubbish_at_masked_positions_reaches_no_gradient() {
    let device = Device::flex().autodiff();
    let rubbish = [f32::NAN, f32::INFINITY, 1e30];
    let logits = Tensor::<3>::from_floats([[[1.0, 0.0, 0.0], rubbish]], &device).require_grad();
    let plain = Device::flex();
    let targets = Tensor::<2, Int>::from_ints([[0, -7]], &plain);
    let mask = Tensor::from_bool([[true, false]], &plain);
    let out = token_logprobs(logits.clone(), targets, &mask, 1.0);
    let total = out.logprobs.sum() + out.entropy.sum() + out.logsumexp.sum();
    let gradient = numbers(logits.grad(&total.backward()).unwrap());
    assert!(gradient[..3].iter().all(|g| g.is_finite()), "{gradient:?}");
    assert_eq!(gradient[3..], [0.0; 3]);
}

/// Pitfall: shift in one place. The mask of the first token never counts, nor does the last place.
#[test]
fn targets_are_the_ids_one_to_the_left() {
    let device = Device::flex();
    let ids = Tensor::<2, Int>::from_ints([[10, 11, 12, 13]], &device);
    let mask = Tensor::from_bool([[true, false, true, true]], &device);
    let (targets, mask) = next_tokens(ids, mask);
    let targets: Vec<i64> = targets.into_data().iter::<i64>().collect();
    assert_eq!(targets[..3], [11, 12, 13]);
    let mask: Vec<bool> = mask.into_data().iter::<bool>().collect();
    assert_eq!(mask, [false, true, true, false]);
}

#[test]
fn one_token_has_no_target() {
    let device = Device::flex();
    let ids = Tensor::<2, Int>::from_ints([[3]], &device);
    let (_, mask) = next_tokens(ids, Tensor::from_bool([[true]], &device));
    assert_eq!(mask.into_data().iter::<bool>().collect::<Vec<_>>(), [false]);
}

#[test]
#[should_panic(expected = "temperature is 0")]
fn temperature_zero_has_no_log_probs() {
    one([0.0; 3], 0, 0.0);
}

#[test]
#[should_panic(expected = "temperature is inf")]
fn an_infinite_temperature_is_refused() {
    one([0.0; 3], 0, f64::INFINITY);
}
