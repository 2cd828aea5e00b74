//! RMSNorm, SwiGLU and rotary positions.

use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use rlhf_kernels::{RopeTables, add_rms_norm, embedding, plain, rms_norm, rope, swiglu};

use crate::sample::{
    Sample, WIDE, assert_close, assert_same, bits, leaf, numbers, scaled, with_threads,
};

/// Output and gradients of a function of two tensors, by a random linear loss.
fn run_two<const A: usize, const B: usize>(
    a: (&Tensor<A>, bool),
    b: (&Tensor<B>, bool),
    probe: &Tensor<A>,
    f: impl Fn(Tensor<A>, Tensor<B>) -> Tensor<A>,
) -> [Option<Vec<f32>>; 3] {
    let (a, b) = (leaf(a.0, a.1), leaf(b.0, b.1));
    let out = f(a.clone(), b.clone());
    let found = numbers(out.clone());
    let grads = (out * leaf(probe, false)).sum().backward();
    [
        Some(found),
        a.grad(&grads).map(numbers),
        b.grad(&grads).map(numbers),
    ]
}

/// RMSNorm and its gradients by x and the weight in f64, each with the size of the terms in its sums.
fn norm_by_formula(x: &[f32], w: &[f32], g: &[f32], eps: f64) -> [Vec<(f64, f64)>; 3] {
    let n = w.len();
    let all = |numbers: &[f32]| numbers.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    let (x, w, g) = (all(x), all(w), all(g));
    let (mut out, mut by_x, mut by_w) = (Vec::new(), Vec::new(), vec![(0.0, 0.0); n]);
    for (x, g) in x.chunks(n).zip(g.chunks(n)) {
        let r = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / n as f64 + eps).sqrt();
        let products: Vec<f64> = (0..n).map(|i| g[i] * w[i] * x[i]).collect();
        let along = products.iter().sum::<f64>() * r.powi(3) / n as f64;
        let along_size = products.iter().map(|p| p.abs()).sum::<f64>() * r.powi(3) / n as f64;
        for i in 0..n {
            let normed = x[i] * r;
            out.push((normed * w[i], (normed * w[i]).abs()));
            let first = r * g[i] * w[i];
            by_x.push((first - x[i] * along, first.abs() + x[i].abs() * along_size));
            by_w[i].0 += g[i] * normed;
            by_w[i].1 += (g[i] * normed).abs();
        }
    }
    [out, by_x, by_w]
}

const TRACKED: [(bool, bool); 3] = [(true, true), (true, false), (false, true)];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn rms_norm_is_the_plain_one(
        seed: u64, rows in 1usize..150, width in 1usize..100, which in 0usize..3,
    ) {
        let mut sample = Sample::new(seed);
        let (x, w) = (sample.tensor([1, rows, width], 3.0), sample.tensor([width], 2.0));
        let (probe, (tx, tw)) = (sample.tensor([1, rows, width], 1.0), TRACKED[which]);
        let fast = run_two((&x, tx), (&w, tw), &probe, |x, w| rms_norm(x, w, 1e-5));
        let plain = run_two((&x, tx), (&w, tw), &probe, |x, w| plain::rms_norm(x, w, 1e-5));
        let terms = (width < WIDE)
            .then(|| run_two((&x, tx), (&w, tw), &probe, |x, w| scaled(x, w.unsqueeze(), 1e-5)));
        assert_same(&fast, &plain, terms.as_ref().map(|terms| &terms[..]));
    }

    /// Rows of any width, with numbers down to those that `eps` outweighs, by both ways.
    #[test]
    fn norms_follow_the_formula(
        seed: u64, rows in 1usize..150, width in 1usize..100, exponent in -5i32..4,
    ) {
        const EPS: f64 = 1e-5;
        let mut sample = Sample::new(seed);
        let x = sample.tensor([1, rows, width], 3.0 * 10f32.powi(exponent));
        let (w, probe) = (sample.tensor([width], 2.0), sample.tensor([1, rows, width], 1.0));
        let [host_x, host_probe] = [&x, &probe].map(|x| numbers(x.clone()));
        let wanted = norm_by_formula(&host_x, &numbers(w.clone()), &host_probe, EPS);
        let ways: [fn(Tensor<3>, Tensor<1>, f64) -> Tensor<3>; 2] = [rms_norm, plain::rms_norm];
        for (way, norm) in ways.into_iter().enumerate() {
            let found = run_two((&x, true), (&w, true), &probe, |x, w| norm(x, w, EPS));
            for (part, (found, wanted)) in found.into_iter().zip(&wanted).enumerate() {
                for (&found, &(wanted, size)) in found.unwrap().iter().zip(wanted) {
                    let error = (f64::from(found) - wanted).abs();
                    prop_assert!(
                        error <= 3e-6 * size + 1e-30,
                        "way {way}, result {part}: {found} instead of {wanted}, of {size}"
                    );
                }
            }
        }
    }

    /// Whichever of x, y and the weight are frozen, whichever outputs are used, whoever else holds y.
    #[test]
    fn add_rms_norm_is_the_plain_one(
        seed: u64, rows in 1usize..150, width in 1usize..100, tracked in 1u8..8, used in 1u8..4,
        held: bool,
    ) {
        let mut sample = Sample::new(seed);
        let terms = [(); 2].map(|()| sample.tensor([1, rows, width], 3.0));
        let weight = sample.tensor([width], 2.0);
        let probes = [(); 2].map(|()| sample.tensor([1, rows, width], 1.0));
        let run = |body: fn(Tensor<3>, Tensor<3>, Tensor<1>, f64) -> [Tensor<3>; 2]| {
            let is = |bits: u8, i: usize| bits >> i & 1 == 1;
            let x = leaf(&terms[0], is(tracked, 0));
            let y = leaf(&terms[1], is(tracked, 1));
            let w = leaf(&weight, is(tracked, 2));
            let given = if held { y.clone() } else { y.clone() * 1.0 };
            let out = body(x.clone(), given, w.clone(), 1e-5);
            let mut found: Vec<_> = out.iter().map(|out| Some(numbers(out.clone()))).collect();
            found.push(Some(numbers(y.clone())));
            let losses = (0..2).filter(|&i| is(used, i));
            let losses = losses.map(|i| (out[i].clone() * leaf(&probes[i], false)).sum());
            let loss = losses.reduce(|a, b| a + b).expect("one is used");
            if loss.is_tracked() {
                let grads = loss.backward();
                found.extend([x.grad(&grads).map(numbers), y.grad(&grads).map(numbers)]);
                found.push(w.grad(&grads).map(numbers));
            } else {
                found.extend([None, None, None]);
            }
            found
        };
        // A sum alone has no gradient by the weight: there may be none, or zeros.
        let nonzero = |found: Vec<Option<Vec<f32>>>| {
            let some = |values: &Vec<f32>| values.iter().any(|x| *x != 0.0);
            found.into_iter().map(|values| values.filter(some)).collect::<Vec<_>>()
        };
        let terms = (width < WIDE).then(|| nonzero(run(|x, y, weight, eps| {
            let sum = x + y;
            [sum.clone(), scaled(sum, weight.unsqueeze(), eps)]
        })));
        let (fast, plain) = (nonzero(run(add_rms_norm)), nonzero(run(plain::add_rms_norm)));
        assert_same(&fast, &plain, terms.as_deref());
    }

    #[test]
    fn swiglu_is_the_plain_one(
        seed: u64, rows in 1usize..120, width in 1usize..300, which in 0usize..3,
    ) {
        let mut sample = Sample::new(seed);
        let (a, b) = (sample.tensor([rows, width], 20.0), sample.tensor([rows, width], 2.0));
        let (probe, (ta, tb)) = (sample.tensor([rows, width], 1.0), TRACKED[which]);
        let fast = run_two((&a, ta), (&b, tb), &probe, swiglu);
        let plain = run_two((&a, ta), (&b, tb), &probe, plain::swiglu);
        assert_same(&fast, &plain, None);
    }

    /// The table may be read by something else too, as by an output head, before or after; repeated ids
    /// add up as Burn adds them, to the bit.
    #[test]
    fn embedding_is_the_plain_one(
        seed: u64, vocabulary in 1usize..40, n in 1usize..60, width in 1usize..70, other in 0usize..3,
        tracked: bool,
    ) {
        let mut sample = Sample::new(seed);
        let table = sample.tensor([vocabulary, width], 2.0);
        let (probe, of_head) = (sample.tensor([n, width], 1.0), sample.tensor([n, vocabulary], 1.0));
        let ids: Vec<i64> = (0..n).map(|_| sample.below(vocabulary) as i64).collect();
        let ids = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), &Device::flex());
        let run = |body: fn(Tensor<2>, Tensor<1, Int>) -> Tensor<2>| {
            let leaf_table = leaf(&table, tracked);
            let head = |x: Tensor<2>| (x.matmul(leaf_table.clone().transpose()) * leaf(&of_head, false)).sum();
            let out = body(leaf_table.clone(), ids.clone());
            let found = numbers(out.clone());
            let loss = (out.clone() * leaf(&probe, false)).sum();
            let loss = match other {
                0 => loss,
                1 => loss + head(out),
                _ => loss + head(leaf(&probe, false)),
            };
            let grads = loss.is_tracked().then(|| loss.backward());
            (bits(&found), grads.and_then(|g| leaf_table.grad(&g)).map(|g| bits(&numbers(g + 0.0))))
        };
        let (fast, plain) = (run(embedding), run(plain::embedding));
        prop_assert_eq!(fast.1.is_some(), tracked);
        prop_assert_eq!(fast, plain);
    }

    #[test]
    fn rope_is_the_plain_one(
        seed: u64, batch in 1usize..4, time in 1usize..40, heads in 1usize..4,
        half in 1usize..33, one_row: bool,
    ) {
        let mut sample = Sample::new(seed);
        let shape = [batch, time, heads, 2 * half];
        let rows = if one_row { 1 } else { batch };
        let positions: Vec<Vec<usize>> =
            (0..rows).map(|_| (0..time).map(|_| sample.below(2000)).collect()).collect();
        let tables = RopeTables::new(&positions, 2 * half, 10_000.0, &Device::flex());
        let (x, probe) = (sample.tensor(shape, 2.0), sample.tensor(shape, 1.0));
        let other = sample.tensor([1], 1.0);
        let fast = run_two((&x, true), (&other, false), &probe, |x, _| rope(x, &tables));
        let plain = run_two((&x, true), (&other, false), &probe, |x, _| plain::rope(x, &tables));
        assert_same(&fast, &plain, None);
    }

    #[test]
    fn a_row_gives_the_same_bits_alone(seed: u64, rows in 2usize..200, width in 1usize..80) {
        let mut sample = Sample::new(seed);
        let (x, w) = (sample.tensor([rows, width], 3.0), sample.tensor([width], 2.0));
        let (norm, gated) = (rms_norm(x.clone(), w.clone(), 1e-6), swiglu(x.clone(), x.clone()));
        let row = sample.below(rows);
        let alone = x.clone().narrow(0, row, 1);
        let of = |x: Tensor<2>| bits(&numbers(x.narrow(0, row, 1)));
        prop_assert_eq!(of(norm), bits(&numbers(rms_norm(alone.clone(), w, 1e-6))));
        prop_assert_eq!(of(gated), bits(&numbers(swiglu(alone.clone(), alone))));
    }
}

#[test]
#[should_panic(expected = "id 7 is outside of the vocabulary 0..7")]
fn an_id_outside_of_the_table() {
    let ids = Tensor::<1, Int>::from_data([3, 7], &Device::flex());
    embedding(Tensor::zeros([7, 2], &Device::flex()), ids);
}

#[test]
fn rope_turns_the_pairs_of_the_halves() {
    let tables = RopeTables::new(&[vec![0, 3]], 4, 100.0, &Device::flex());
    let x = Tensor::<1>::from_floats([1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0], &Device::flex());
    let found = numbers(rope(x.reshape([1, 2, 1, 4]), &tables));
    let (a, b) = (3f64, 0.3f64); // 3 · 100^0 and 3 · 100^(−2/4)
    let wanted = [
        a.cos() - 3.0 * a.sin(),
        2.0 * b.cos() - 4.0 * b.sin(),
        3.0 * a.cos() + a.sin(),
        4.0 * b.cos() + 2.0 * b.sin(),
    ];
    assert_eq!(found[..4], [1.0, 2.0, 3.0, 4.0]);
    assert_close("rotated", &found[4..], &wanted.map(|x| x as f32), 1e-6);
}

#[test]
fn views_are_read_as_they_look() {
    let mut sample = Sample::new(5);
    let x = sample.tensor([40, 30], 2.0);
    let w = sample.tensor([40], 2.0);
    let turned = x.swap_dims(0, 1).narrow(0, 3, 20);
    assert_close(
        "norm",
        &numbers(rms_norm(turned.clone(), w.clone(), 1e-5)),
        &numbers(plain::rms_norm(turned.clone(), w, 1e-5)),
        1e-6,
    );
    let prefix = turned.clone().narrow(1, 0, 7);
    assert_close(
        "gated",
        &numbers(swiglu(prefix.clone(), prefix.clone())),
        &numbers(plain::swiglu(prefix.clone(), prefix)),
        1e-6,
    );
}

#[test]
fn threads_do_not_change_a_bit() {
    let run = || {
        let mut sample = Sample::new(11);
        let (x, w) = (sample.tensor([700, 96], 3.0), sample.tensor([96], 2.0));
        let probe = sample.tensor([700, 96], 1.0);
        let norm = run_two((&x, true), (&w, true), &probe, |x, w| rms_norm(x, w, 1e-5));
        let gated = run_two((&x, true), (&probe, true), &probe, swiglu);
        norm.into_iter()
            .chain(gated)
            .map(|x| bits(&x.unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(with_threads(1, run), with_threads(2, run));
    assert_eq!(with_threads(1, run), with_threads(5, run));
}
