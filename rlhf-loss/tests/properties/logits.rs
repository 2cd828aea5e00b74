//! Functions of logits: a constant added to a position's logits changes nothing, rubbish at masked
//! positions reaches neither value nor gradient.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rlhf_loss::{
    Denominator, Reduction, SftLossConfig, completion_logprobs, kl_full, mean_over, next_tokens,
    sft_loss, token_logprobs,
};

use crate::batch::{RUBBISH, near};

const TIME: usize = 4;
const VOCAB: usize = 5;

/// A position: its logits, its token and whether it counts.
type Place = (Vec<f32>, i64, bool);

fn places() -> impl Strategy<Value = Vec<Vec<Place>>> {
    let place = (vec(-6.0f32..6.0, VOCAB), 0..VOCAB as i64, any::<bool>());
    vec(vec(place, TIME), 1..4)
}

struct Batch {
    logits: Tensor<3>,
    ids: Tensor<2, Int>,
    mask: Tensor<2, Bool>,
}

fn batch(places: &[Vec<Place>]) -> Batch {
    let plain = Device::flex();
    let flat = || places.iter().flatten();
    let logits: Vec<f32> = flat().flat_map(|place| place.0.clone()).collect();
    let (ids, mask): (Vec<i64>, Vec<bool>) = flat().map(|place| (place.1, place.2)).unzip();
    let shape = [places.len(), TIME];
    let data = TensorData::new(logits, [places.len(), TIME, VOCAB]);
    Batch {
        logits: Tensor::from_data(data, &plain.clone().autodiff()).require_grad(),
        ids: Tensor::from_data(TensorData::new(ids, shape), &plain),
        mask: Tensor::from_data(TensorData::new(mask, shape), &plain),
    }
}

/// Values and gradients of everything that takes logits: log-probs and entropy of the positions
/// themselves, the divergence from other logits, and the shifted supervised and sequence figures.
fn everything(batch: &Batch, shifted: bool) -> Vec<f32> {
    let Batch { logits, ids, mask } = batch;
    let mut found = Vec::new();
    let mut add = |loss: Tensor<1>| {
        let gradients = loss.backward();
        found.push(loss.into_scalar::<f32>());
        found.extend(
            logits
                .grad(&gradients)
                .expect("tracked")
                .into_data()
                .iter::<f32>(),
        );
    };
    if shifted {
        for reduction in [Reduction::TokenMean, Reduction::SequenceMeanTokenMean] {
            let config = SftLossConfig {
                label_smoothing: 0.1,
                reduction,
            };
            let (ids, mask) = (ids.clone(), mask.clone());
            add(sft_loss(logits.clone(), ids, mask, &config, Denominator::Own).loss);
        }
        add(completion_logprobs(logits.clone(), ids.clone(), mask).sum());
    } else {
        let out = token_logprobs(logits.clone(), ids.clone(), mask, 0.7);
        add(mean_over(out.logprobs * 2.0 + out.entropy, mask));
        let other = logits.clone().without_autodiff().flip([2]);
        add(mean_over(
            kl_full(logits.clone(), other.clone(), mask),
            mask,
        ));
        add(mean_over(kl_full(other, logits.clone(), mask), mask));
    }
    found
}

/// The positions whose logits predict a token that counts.
fn predicting(row: &[Place], t: usize, shifted: bool) -> bool {
    if shifted {
        row.get(t + 1).is_some_and(|next| next.2)
    } else {
        row[t].2
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn rubbish_in_logits_that_predict_nothing_changes_nothing(
        places in places(),
        rubbish in select(&RUBBISH[..]),
    ) {
        for shifted in [false, true] {
            let mut spoilt = places.clone();
            for row in &mut spoilt {
                let before = row.clone();
                for (t, place) in row.iter_mut().enumerate() {
                    if !predicting(&before, t, shifted) {
                        place.0.fill(rubbish);
                    }
                }
            }
            let (a, b) = (everything(&batch(&spoilt), shifted), everything(&batch(&places), shifted));
            prop_assert!(near(&a, &b), "{:?}\n{:?}", a, b);
        }
    }

    #[test]
    fn a_constant_on_the_logits_of_a_position_changes_nothing(
        places in places(),
        shift in -50.0f32..50.0,
    ) {
        let mut moved = places.clone();
        for (t, place) in moved.iter_mut().flatten().enumerate() {
            let by = shift * (t % 3) as f32;
            place.0.iter_mut().for_each(|logit| *logit += by);
        }
        for shifted in [false, true] {
            let (a, b) = (everything(&batch(&moved), shifted), everything(&batch(&places), shifted));
            for (a, b) in a.iter().zip(&b) {
                prop_assert!((a - b).abs() < 5e-4, "{} {}", a, b);
            }
        }
    }

    /// Pitfall: scale each micro-batch by its own share of the step's tokens.
    #[test]
    fn supervised_micro_batches_add_up(places in places(), at in 1usize..3) {
        prop_assume!(at < places.len());
        for reduction in [Reduction::TokenMean, Reduction::SequenceMeanTokenMean] {
            let config = SftLossConfig { label_smoothing: 0.0, reduction };
            let run = |part: &[Vec<Place>], by| {
                let Batch { logits, ids, mask } = batch(part);
                let loss = sft_loss(logits.clone(), ids, mask, &config, by).loss;
                let gradients = loss.backward();
                let gradient = logits.grad(&gradients).expect("tracked").into_data();
                (loss.into_scalar::<f32>(), gradient.iter::<f32>().collect::<Vec<_>>())
            };
            let all = batch(&places);
            let count = reduction.count(&next_tokens(all.ids, all.mask).1);
            let (whole, gradient) = run(&places, Denominator::Own);
            let (first, mut gradients) = run(&places[..at], Denominator::Whole(count));
            let (second, others) = run(&places[at..], Denominator::Whole(count));
            gradients.extend(others);
            prop_assert!(near(&[first + second], &[whole]));
            prop_assert!(near(&gradients, &gradient));
        }
    }

    /// Probabilities of all tokens sum to 1, and the entropy is at most log V.
    #[test]
    fn log_probs_are_of_a_distribution(logits in vec(-6.0f32..6.0, VOCAB), temperature in 0.2f64..3.0) {
        let places: Vec<Place> = (0..VOCAB as i64).map(|id| (logits.clone(), id, true)).collect();
        let plain = Device::flex();
        let flat: Vec<f32> = places.iter().flat_map(|place| place.0.clone()).collect();
        let logits = Tensor::<3>::from_data(TensorData::new(flat, [1, VOCAB, VOCAB]), &plain);
        let ids = Tensor::<2, Int>::from_data(TensorData::new((0..VOCAB as i64).collect(), [1, VOCAB]), &plain);
        let mask = Tensor::from_data(TensorData::new(vec![true; VOCAB], [1, VOCAB]), &plain);
        let out = token_logprobs(logits, ids, &mask, temperature);
        let total: f32 = out.logprobs.exp().sum().into_scalar();
        prop_assert!((total - 1.0).abs() < 1e-5, "{}", total);
        let entropy: f32 = out.entropy.mean().into_scalar();
        prop_assert!(entropy >= -1e-6 && entropy <= (VOCAB as f32).ln() + 1e-5);
    }
}
