//! Token log-probabilities and entropies.

use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use rlhf_kernels::{linear_token_logprobs, linear_token_logprobs_entropy, plain};

use crate::sample::{Sample, assert_close, bits, leaf, numbers, with_threads};

type Body = fn(Tensor<2>, Tensor<2>, Tensor<1, Int>, f64) -> (Tensor<1>, Tensor<1>);

struct Case {
    hidden: Tensor<2>,
    /// `[v, d]`: used transposed, or copied into `[d, v]`.
    embeddings: Tensor<2>,
    tied: bool,
    targets: Vec<i64>,
    temperature: f64,
    probes: [Tensor<1>; 2],
}

impl Case {
    fn new(seed: u64, n: usize, d: usize, v: usize) -> Self {
        let mut sample = Sample::new(seed);
        Self {
            hidden: sample.tensor([n, d], 2.0),
            embeddings: sample.tensor([v, d], 1.0),
            tied: false,
            targets: (0..n).map(|_| sample.below(v) as i64).collect(),
            temperature: 0.7,
            probes: [sample.tensor([n], 1.0), sample.tensor([n], 1.0)],
        }
    }

    fn targets(&self) -> Tensor<1, Int> {
        let data = TensorData::new(self.targets.clone(), [self.targets.len()]);
        Tensor::from_data(data, &Device::flex())
    }

    /// Log-probs, entropies and the gradients by hidden states and embeddings.
    fn run(&self, body: Body, tracked: (bool, bool)) -> Vec<Option<Vec<f32>>> {
        let hidden = leaf(&self.hidden, tracked.0);
        let stored = if self.tied {
            self.embeddings.clone()
        } else {
            Tensor::from_data(
                self.embeddings.clone().transpose().to_data(),
                &Device::flex(),
            )
        };
        let stored = leaf(&stored, tracked.1);
        let weight = if self.tied {
            stored.clone().transpose()
        } else {
            stored.clone()
        };
        let (logprobs, entropy) = body(hidden.clone(), weight, self.targets(), self.temperature);
        let found = (numbers(logprobs.clone()), numbers(entropy.clone()));
        let [p, h] = [leaf(&self.probes[0], false), leaf(&self.probes[1], false)];
        let grads = ((logprobs * p).sum() + (entropy * h).sum()).backward();
        vec![
            Some(found.0),
            Some(found.1),
            hidden.grad(&grads).map(numbers),
            stored.grad(&grads).map(numbers),
        ]
    }
}

/// The single-output function in the shape of the other.
fn logprobs_only(
    h: Tensor<2>,
    w: Tensor<2>,
    t: Tensor<1, Int>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    let logprobs = linear_token_logprobs(h, w, t, temperature);
    (logprobs.clone(), logprobs.zeros_like())
}

fn plain_logprobs_only(
    h: Tensor<2>,
    w: Tensor<2>,
    t: Tensor<1, Int>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    let logprobs = plain::linear_token_logprobs(h, w, t, temperature);
    (logprobs.clone(), logprobs.zeros_like())
}

fn assert_same(found: &[Option<Vec<f32>>], wanted: &[Option<Vec<f32>>]) {
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(
            found.is_some(),
            wanted.is_some(),
            "result {i} is there or not"
        );
        if let (Some(found), Some(wanted)) = (found, wanted) {
            assert_close(&format!("result {i}"), found, wanted, 3e-6);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn it_is_the_plain_one(
        seed: u64, n in 1usize..80, d in 1usize..40, v in 1usize..400, tied: bool, frozen in 0usize..3,
    ) {
        let case = Case { tied, ..Case::new(seed, n, d, v) };
        let tracked = (frozen != 0, frozen != 1);
        assert_same(
            &case.run(linear_token_logprobs_entropy, tracked),
            &case.run(plain::linear_token_logprobs_entropy, tracked),
        );
        assert_same(&case.run(logprobs_only, tracked), &case.run(plain_logprobs_only, tracked));
    }

    #[test]
    fn a_row_gives_the_same_bits_alone(seed: u64, n in 2usize..70, d in 1usize..50, v in 257usize..600) {
        let case = Case::new(seed, n, d, v);
        let weight = case.embeddings.clone().transpose();
        for weight in [weight.clone(), Tensor::from_data(weight.to_data(), &Device::flex())] {
            let run = |hidden, targets| {
                numbers(linear_token_logprobs(hidden, weight.clone(), targets, 1.0))
            };
            let all = run(case.hidden.clone(), case.targets());
            for row in [0, n / 2, n - 1] {
                let alone = run(case.hidden.clone().narrow(0, row, 1), case.targets().narrow(0, row, 1));
                prop_assert_eq!(bits(&alone), bits(&all[row..=row]));
            }
            // With a gradient to come the logits are made in one product: still the same bits.
            let tracked = leaf(&case.hidden, true);
            let kept = linear_token_logprobs(tracked, weight.clone(), case.targets(), 1.0);
            prop_assert_eq!(bits(&numbers(kept)), bits(&all));
        }
    }
}

#[test]
fn far_logits_stay_finite_and_exact() {
    // Two tokens, 180 apart: the near one is certain, the far one's log-probability is −180.
    let device = Device::flex();
    let hidden = leaf(&Tensor::<2>::from_floats([[90.0], [90.0]], &device), true);
    let weight = Tensor::<2>::from_floats([[1.0, -1.0]], &device);
    let targets = Tensor::<1, Int>::from_ints([0, 1], &device);
    let (logprobs, entropy) = linear_token_logprobs_entropy(hidden.clone(), weight, targets, 1.0);
    assert_eq!(numbers(logprobs.clone()), [0.0, -180.0]);
    assert_eq!(numbers(entropy.clone()), [0.0, 0.0]);
    let grads = (logprobs.sum() + entropy.sum()).backward();
    assert_eq!(numbers(hidden.grad(&grads).unwrap()), [0.0, -2.0]);
}

#[test]
fn uniform_rows_have_the_entropy_of_their_size() {
    let device = Device::flex();
    let (hidden, weight) = (
        Tensor::<2>::zeros([3, 4], &device),
        Tensor::<2>::ones([4, 50], &device),
    );
    let targets = Tensor::<1, Int>::from_ints([0, 49, 7], &device);
    let (logprobs, entropy) = linear_token_logprobs_entropy(hidden, weight, targets, 1.0);
    assert_close("log-probs", &numbers(logprobs), &[-(50f32.ln()); 3], 1e-6);
    assert_close("entropy", &numbers(entropy), &[50f32.ln(); 3], 1e-6);
}

#[test]
fn threads_do_not_change_a_bit() {
    let case = Case::new(2, 150, 64, 700);
    let run = || -> Vec<Vec<u32>> {
        let found = case.run(linear_token_logprobs_entropy, (true, true));
        found.into_iter().map(|x| bits(&x.unwrap())).collect()
    };
    assert_eq!(with_threads(1, run), with_threads(2, run));
}

#[test]
#[should_panic(expected = "outside of the vocabulary")]
fn a_target_outside_of_the_vocabulary_is_refused() {
    let case = Case {
        targets: vec![3, 9],
        ..Case::new(1, 2, 4, 9)
    };
    let weight = case.embeddings.clone().transpose();
    let _ = linear_token_logprobs(case.hidden.clone(), weight, case.targets(), 1.0);
}
