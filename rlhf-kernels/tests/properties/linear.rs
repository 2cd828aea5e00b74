//! Products of one input with several matrices.

use burn::tensor::Tensor;
use proptest::prelude::*;
use rlhf_kernels::{add_linear, linear, plain};

use crate::sample::{Sample, assert_close, bits, leaf, numbers, with_threads};

type Body<const N: usize> = fn(Tensor<2>, [Tensor<2>; N]) -> [Tensor<2>; N];

/// Outputs, then the gradients by `x` and the weights that are tracked, of a random linear loss on
/// the outputs that are used.
fn run<const N: usize>(
    (x, weights, probes): &(Tensor<2>, [Tensor<2>; N], [Tensor<2>; N]),
    tracked: u8,
    used: u8,
    body: Body<N>,
) -> Vec<Option<Vec<f32>>> {
    let is = |bits: u8, i: usize| bits >> i & 1 == 1;
    let x = leaf(x, is(tracked, N));
    let leaves: [Tensor<2>; N] = std::array::from_fn(|i| leaf(&weights[i], is(tracked, i)));
    let outputs = body(x.clone(), leaves.clone());
    let mut found: Vec<_> = outputs.iter().map(|y| Some(numbers(y.clone()))).collect();
    let terms = (0..N).filter(|&i| is(used, i));
    let terms = terms.map(|i| (outputs[i].clone() * leaf(&probes[i], false)).sum());
    let loss = terms.reduce(|a, b| a + b).expect("one is used");
    let leaves = leaves.iter().chain([&x]);
    if loss.is_tracked() {
        let grads = loss.backward();
        found.extend(leaves.map(|leaf| leaf.grad(&grads).map(numbers)));
    } else {
        found.extend(leaves.map(|_| None));
    }
    found
}

fn compare<const N: usize>(
    seed: u64,
    [n, width]: [usize; 2],
    widest: usize,
    tracked: u8,
    used: u8,
) {
    let mut sample = Sample::new(seed);
    let out: [usize; N] = std::array::from_fn(|_| 1 + sample.below(widest));
    let case = (
        sample.tensor([n, width], 1.0),
        out.map(|out| sample.tensor([width, out], 1.0)),
        out.map(|out| sample.tensor([n, out], 1.0)),
    );
    // At least one of them.
    let used = match used % (1 << N) {
        0 => 1,
        used => used,
    };
    let fast = run(&case, tracked, used, linear);
    let wanted = run(&case, tracked, used, plain::linear);
    for (i, (fast, wanted)) in fast.iter().zip(&wanted).enumerate() {
        assert_eq!(
            fast.is_some(),
            wanted.is_some(),
            "result {i} is there or not"
        );
        if let (Some(fast), Some(wanted)) = (fast, wanted) {
            assert_close(&format!("result {i}"), fast, wanted, 3e-6);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whichever are frozen, whichever outputs are used.
    #[test]
    fn products_are_the_plain_ones(
        seed: u64, n in 1usize..70, width in 1usize..90, widest in 1usize..90, tracked: u8, used: u8,
    ) {
        compare::<1>(seed, [n, width], widest, tracked, used);
        compare::<2>(seed, [n, width], widest, tracked, used);
        compare::<3>(seed, [n, width], widest, tracked, used);
        compare::<4>(seed, [n, width], widest, tracked, used);
    }
}

/// Output and gradients by `y`, `x` and the weight; `y` is a leaf that is still held, or the only
/// owner of its numbers.
fn run_sum(
    [y, x, weight, probe]: &[Tensor<2>; 4],
    tracked: u8,
    owned: bool,
    body: fn(Tensor<2>, Tensor<2>, Tensor<2>) -> Tensor<2>,
) -> Vec<Option<Vec<f32>>> {
    let is = |i: u8| tracked >> i & 1 == 1;
    let [y, x, weight] = [(y, 0), (x, 1), (weight, 2)].map(|(of, i)| leaf(of, is(i)));
    let onto = if owned { y.clone() * 1.0 } else { y.clone() };
    let out = body(onto, x.clone(), weight.clone());
    let mut found = vec![Some(numbers(out.clone())), Some(numbers(y.clone()))];
    let loss = (out * leaf(probe, false)).sum();
    let leaves = [y, x, weight];
    if loss.is_tracked() {
        let grads = loss.backward();
        found.extend(leaves.iter().map(|leaf| leaf.grad(&grads).map(numbers)));
    } else {
        found.extend(leaves.iter().map(|_| None));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_product_is_added_and_what_it_is_added_to_stays(
        seed: u64, n in 1usize..70, width in 1usize..20, out in 1usize..90, tracked in 0u8..8, owned: bool,
    ) {
        let mut sample = Sample::new(seed);
        let case = [[n, out], [n, width], [width, out], [n, out]].map(|shape| sample.tensor(shape, 1.0));
        let fast = run_sum(&case, tracked, owned, add_linear);
        let wanted = run_sum(&case, tracked, owned, plain::add_linear);
        for (i, (fast, wanted)) in fast.iter().zip(&wanted).enumerate() {
            prop_assert_eq!(fast.is_some(), wanted.is_some(), "result {} is there or not", i);
            if let (Some(fast), Some(wanted)) = (fast, wanted) {
                assert_close(&format!("result {i}"), fast, wanted, 3e-6);
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let mut sample = Sample::new(7);
    let case = (
        sample.tensor([300, 200], 1.0),
        [210, 190].map(|out| sample.tensor([200, out], 1.0)),
        [210, 190].map(|out| sample.tensor([300, out], 1.0)),
    );
    let all = |threads| {
        let found = with_threads(threads, || run(&case, 7, 3, linear));
        let found = found.into_iter().flatten();
        found.map(|values| bits(&values)).collect::<Vec<_>>()
    };
    assert_eq!(all(1), all(2));
    assert_eq!(all(1).len(), 5);
}

#[test]
#[should_panic(expected = "rows of 3 numbers by a 4×5 matrix")]
fn shapes_that_do_not_fit() {
    let mut sample = Sample::new(1);
    linear(sample.tensor([2, 3], 1.0), [sample.tensor([4, 5], 1.0)]);
}
