//! Products of what is made again on the way back: of a norm, of a sum's norm, of a gated product.

use burn::tensor::Tensor;
use proptest::prelude::*;
use rlhf_kernels::{
    add_rms_norm, add_rms_norm_linear, linear, plain, rms_norm, rms_norm_linear, swiglu,
    swiglu_linear,
};

use crate::sample::{Sample, WIDE, assert_same, bits, leaf, numbers, scaled, with_threads};

/// Outputs, then the gradients by the inputs that are tracked, of a random linear loss on the outputs
/// that are used. Gradients of zeros count as none: a graph may go as far as an input or not.
fn run<const I: usize, const O: usize>(
    (inputs, probes): &([Tensor<2>; I], [Tensor<2>; O]),
    tracked: u8,
    used: u8,
    body: impl Fn([Tensor<2>; I]) -> [Tensor<2>; O],
) -> Vec<Option<Vec<f32>>> {
    let is = |bits: u8, i: usize| bits >> i & 1 == 1;
    let leaves: [Tensor<2>; I] = std::array::from_fn(|i| leaf(&inputs[i], is(tracked, i)));
    let outputs = body(leaves.clone());
    let mut found: Vec<_> = outputs.iter().map(|y| Some(numbers(y.clone()))).collect();
    let terms = (0..O).filter(|&i| is(used, i));
    let terms = terms.map(|i| (outputs[i].clone() * leaf(&probes[i], false)).sum());
    let loss = terms.reduce(|a, b| a + b).expect("one is used");
    if loss.is_tracked() {
        let grads = loss.backward();
        let of = |leaf: &Tensor<2>| leaf.grad(&grads).map(numbers);
        let some = |values: &Vec<f32>| values.iter().any(|x| *x != 0.0);
        found.extend(leaves.iter().map(|leaf| of(leaf).filter(some)));
    } else {
        found.extend(leaves.iter().map(|_| None));
    }
    found
}

/// The bits of a case's results.
fn all_bits(found: Vec<Option<Vec<f32>>>) -> Vec<Option<Vec<u32>>> {
    let found = found.into_iter();
    found
        .map(|values| values.map(|values| bits(&values)))
        .collect()
}

const EPS: f64 = 1e-5;

/// A row as a norm's weight.
fn row(norm: Tensor<2>) -> Tensor<1> {
    let [_, width] = norm.dims();
    norm.reshape([width])
}

type Normed = ([Tensor<2>; 5], [Tensor<2>; 3]);

fn norm_case(sample: &mut Sample, [n, width]: [usize; 2], widest: usize) -> Normed {
    let out: [usize; 3] = std::array::from_fn(|_| 1 + sample.below(widest));
    let [a, b, c] = out.map(|out| sample.tensor([width, out], 1.0));
    let inputs = [
        sample.tensor([n, width], 3.0),
        sample.tensor([1, width], 2.0),
        a,
        b,
        c,
    ];
    (inputs, out.map(|out| sample.tensor([n, out], 1.0)))
}

/// A case with a weight of its own for each row, so that the gradient by it is not their sum but what is
/// summed.
fn rows_apart((mut inputs, probes): Normed, norm: usize) -> Normed {
    let [n, _] = inputs[0].dims();
    inputs[norm] = inputs[norm].clone().repeat(&[n, 1]);
    (inputs, probes)
}

fn norm_fast([x, norm, a, b, c]: [Tensor<2>; 5]) -> [Tensor<2>; 3] {
    rms_norm_linear(x, row(norm), EPS, [a, b, c])
}

fn sum_case(sample: &mut Sample, [n, width]: [usize; 2], widest: usize) -> Normed {
    let ([x, norm, a, b, _], [of_a, of_b, _]) = norm_case(sample, [n, width], widest);
    let [y, of_sum] = [3.0, 1.0].map(|size| sample.tensor([n, width], size));
    ([x, y, norm, a, b], [of_sum, of_a, of_b])
}

fn sum_fast([x, y, norm, a, b]: [Tensor<2>; 5]) -> [Tensor<2>; 3] {
    let (sum, [a, b]) = add_rms_norm_linear(x, y, row(norm), EPS, [a, b]);
    [sum, a, b]
}

fn gated_case(
    sample: &mut Sample,
    [n, width, out]: [usize; 3],
) -> ([Tensor<2>; 3], [Tensor<2>; 1]) {
    let inputs = [
        sample.tensor([n, width], 10.0),
        sample.tensor([n, width], 2.0),
        sample.tensor([width, out], 1.0),
    ];
    (inputs, [sample.tensor([n, out], 1.0)])
}

fn gated_fast([gate, up, weight]: [Tensor<2>; 3]) -> [Tensor<2>; 1] {
    [swiglu_linear(gate, up, weight)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whichever inputs are frozen, whichever outputs are used; to the bit what the operations of which
    /// they are made give one after the other.
    #[test]
    fn products_of_a_norm(
        seed: u64, n in 1usize..150, width in 1usize..90, widest in 1usize..90, tracked in 0u8..32,
        used in 1u8..8,
    ) {
        let case = norm_case(&mut Sample::new(seed), [n, width], widest);
        let fast = run(&case, tracked, used, norm_fast);
        let plain = run(&case, tracked, used, |[x, norm, a, b, c]| {
            plain::rms_norm_linear(x, row(norm), EPS, [a, b, c])
        });
        let terms = (width < WIDE).then(|| {
            run(&rows_apart(case.clone(), 1), tracked, used, |[x, norm, a, b, c]| {
                plain::linear(scaled(x, norm, EPS), [a, b, c])
            })
        });
        assert_same(&fast, &plain, terms.as_deref());
        let steps = run(&case, tracked, used, |[x, norm, a, b, c]| {
            linear(rms_norm(x, row(norm), EPS), [a, b, c])
        });
        prop_assert_eq!(all_bits(fast), all_bits(steps));
    }

    #[test]
    fn products_of_the_norm_of_a_sum(
        seed: u64, n in 1usize..150, width in 1usize..90, widest in 1usize..90, tracked in 0u8..32,
        used in 1u8..8,
    ) {
        let case = sum_case(&mut Sample::new(seed), [n, width], widest);
        let fast = run(&case, tracked, used, sum_fast);
        let plain = run(&case, tracked, used, |[x, y, norm, a, b]| {
            let (sum, [a, b]) = plain::add_rms_norm_linear(x, y, row(norm), EPS, [a, b]);
            [sum, a, b]
        });
        let terms = (width < WIDE).then(|| {
            run(&rows_apart(case.clone(), 2), tracked, used, |[x, y, norm, a, b]| {
                let sum = x + y;
                let [a, b] = plain::linear(scaled(sum.clone(), norm, EPS), [a, b]);
                [sum, a, b]
            })
        });
        assert_same(&fast, &plain, terms.as_deref());
        let steps = run(&case, tracked, used, |[x, y, norm, a, b]| {
            let [sum, normed] = add_rms_norm(x, y, row(norm), EPS);
            let [a, b] = linear(normed, [a, b]);
            [sum, a, b]
        });
        prop_assert_eq!(all_bits(fast), all_bits(steps));
    }

    #[test]
    fn the_product_of_a_gated_product(
        seed: u64, n in 1usize..150, width in 1usize..90, out in 1usize..90, tracked in 0u8..8,
    ) {
        let case = gated_case(&mut Sample::new(seed), [n, width, out]);
        let fast = run(&case, tracked, 1, gated_fast);
        let plain = run(&case, tracked, 1, |[gate, up, weight]| {
            [plain::swiglu_linear(gate, up, weight)]
        });
        // The gradient by a weight of few numbers is a sum over the rows, which may be of no size beside
        // what is summed.
        let terms = (width * out < WIDE).then(|| {
            let absolute = (case.0.clone().map(Tensor::abs), case.1.clone().map(Tensor::abs));
            run(&absolute, tracked, 1, |[gate, up, weight]| {
                [plain::swiglu_linear(gate, up, weight)]
            })
        });
        assert_same(&fast, &plain, terms.as_deref());
        let steps = run(&case, tracked, 1, |[gate, up, weight]| {
            linear(swiglu(gate, up), [weight])
        });
        prop_assert_eq!(all_bits(fast), all_bits(steps));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let mut sample = Sample::new(9);
    let norm = norm_case(&mut sample, [300, 200], 210);
    let sum = sum_case(&mut sample, [300, 200], 210);
    let gated = gated_case(&mut sample, [300, 200, 210]);
    let all = |threads| {
        with_threads(threads, || {
            let norm = run(&norm, 31, 7, norm_fast);
            let (sum, gated) = (run(&sum, 31, 7, sum_fast), run(&gated, 7, 1, gated_fast));
            all_bits([norm, sum, gated].concat())
        })
    };
    assert_eq!(all(1), all(2));
    assert!(all(1).iter().all(Option::is_some));
}

#[test]
#[should_panic(expected = "rows of 3 numbers by a 4×5 matrix")]
fn shapes_that_do_not_fit() {
    let mut sample = Sample::new(1);
    let [gate, up] = [(); 2].map(|()| sample.tensor([2, 3], 1.0));
    swiglu_linear(gate, up, sample.tensor([4, 5], 1.0));
}
