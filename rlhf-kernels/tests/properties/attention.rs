//! Attention: masks, grouped heads, rubbish at hidden places.

use burn::tensor::{Device, Int, Tensor, TensorData};
use proptest::prelude::*;
use rlhf_kernels::{AttentionSpan, attention, plain};

use crate::sample::{Sample, assert_close, bits, leaf, numbers, with_threads};

type Body = fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionSpan) -> Tensor<4>;

/// One call: operands, first keys, and the weights of a linear loss.
struct Case {
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    probe: Tensor<4>,
    first_key: Vec<i64>,
    past: usize,
}

#[derive(Clone, Copy, Debug)]
enum Mask {
    Causal,
    LeftPadded,
    Packed,
    Window,
    SelfOnly,
    Ragged,
}

const MASKS: [Mask; 6] = [
    Mask::Causal,
    Mask::LeftPadded,
    Mask::Packed,
    Mask::Window,
    Mask::SelfOnly,
    Mask::Ragged,
];

fn first_keys(mask: Mask, time: usize, past: usize, sample: &mut Sample) -> Vec<i64> {
    let pick = sample.below(time + past);
    let firsts = (0..time).map(|i| {
        let at = past + i;
        match mask {
            Mask::Causal => 0,
            Mask::LeftPadded => pick.min(at),
            Mask::Packed => at - at % (pick + 1),
            Mask::Window => at.saturating_sub(pick),
            Mask::SelfOnly => at,
            Mask::Ragged => sample.below(at + 1),
        }
    });
    firsts.map(|first| first as i64).collect()
}

impl Case {
    fn new(seed: u64, [batch, time, kv, group, dim]: [usize; 5], past: usize, mask: Mask) -> Self {
        let mut sample = Sample::new(seed);
        // One unused place behind the last key, as in a cache with room.
        let keys = [batch, past + time + 1, kv, dim];
        let queries = [batch, time, kv * group, dim];
        let first_key = (0..batch)
            .flat_map(|_| first_keys(mask, time, past, &mut sample))
            .collect();
        Self {
            q: sample.tensor(queries, 3.0),
            k: sample.tensor(keys, 2.0),
            v: sample.tensor(keys, 2.0),
            probe: sample.tensor(queries, 1.0),
            first_key,
            past,
        }
    }

    fn span(&self) -> AttentionSpan {
        let [batch, time, ..] = self.q.dims();
        let data = TensorData::new(self.first_key.clone(), [batch, time]);
        let first_key = Tensor::<2, Int>::from_data(data, &Device::flex());
        AttentionSpan {
            first_key,
            past: self.past,
        }
    }

    /// The output and the gradients of the operands that `tracked` names.
    fn run(&self, body: Body, tracked: [bool; 3]) -> Vec<Option<Vec<f32>>> {
        let [q, k, v] = [
            (&self.q, tracked[0]),
            (&self.k, tracked[1]),
            (&self.v, tracked[2]),
        ]
        .map(|(x, t)| leaf(x, t));
        let out = body(q.clone(), k.clone(), v.clone(), &self.span());
        let found = numbers(out.clone());
        let grads = (out * leaf(&self.probe, false)).sum().backward();
        let grad = |x: Tensor<4>| x.grad(&grads).map(numbers);
        vec![Some(found), grad(q), grad(k), grad(v)]
    }
}

fn assert_same(found: &[Option<Vec<f32>>], wanted: &[Option<Vec<f32>>]) {
    for (name, (found, wanted)) in ["out", "dq", "dk", "dv"]
        .iter()
        .zip(found.iter().zip(wanted))
    {
        assert_eq!(found.is_some(), wanted.is_some(), "{name} is there or not");
        if let (Some(found), Some(wanted)) = (found, wanted) {
            assert_close(name, found, wanted, 5e-6);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn it_is_the_plain_one(
        seed: u64, batch in 1usize..4, time in 1usize..150, kv in 1usize..3, group in 1usize..4,
        dim in 4usize..33, past in prop_oneof![Just(0usize), 1usize..80], mask in 0usize..6,
        frozen in 0usize..4,
    ) {
        let case = Case::new(seed, [batch, time, kv, group, 2 * dim], past, MASKS[mask]);
        let tracked = [frozen != 0, frozen != 1, frozen != 2];
        assert_same(&case.run(attention, tracked), &case.run(plain::attention, tracked));
    }

    #[test]
    fn rubbish_before_the_first_key_changes_nothing(
        seed: u64, time in 2usize..140, group in 1usize..3, dim in 1usize..5, kind in 0usize..4,
    ) {
        let rubbish = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30][kind];
        let mut case = Case::new(seed, [2, time, 2, group, 8 * dim], 0, Mask::LeftPadded);
        let padding: Vec<usize> =
            case.first_key.chunks(time).map(|first| first[time - 1] as usize).collect();
        for (row, pad) in padding.iter().enumerate() {
            case.probe = fill(case.probe, row, 0..*pad, 0.0);
        }
        for body in [attention as Body, plain::attention] {
            let clean = case.run(body, [true; 3]);
            let mut dirty = Case { q: case.q.clone(), k: case.k.clone(), v: case.v.clone(),
                probe: case.probe.clone(), first_key: case.first_key.clone(), past: 0 };
            for (row, pad) in padding.iter().enumerate() {
                dirty.q = fill(dirty.q, row, 0..*pad, rubbish);
                dirty.k = fill(dirty.k, row, 0..*pad, rubbish);
                dirty.v = fill(dirty.v, row, 0..*pad, rubbish);
                // The place behind the last key is hidden from everyone.
                dirty.k = fill(dirty.k, row, time..time + 1, rubbish);
                dirty.v = fill(dirty.v, row, time..time + 1, rubbish);
            }
            let dirty = dirty.run(body, [true; 3]);
            for (i, (clean, dirty)) in clean.iter().zip(&dirty).enumerate() {
                let (clean, dirty) = (clean.as_ref().unwrap(), dirty.as_ref().unwrap());
                let width = clean.len() / 2;
                for (row, pad) in padding.iter().enumerate() {
                    let places = if i < 2 { time } else { time + 1 };
                    let valid = row * width + pad * (width / places)..(row + 1) * width;
                    prop_assert_eq!(&clean[valid.clone()], &dirty[valid], "result {}", i);
                }
            }
        }
    }
}

/// `x` with places `range` of a row replaced.
fn fill(x: Tensor<4>, row: usize, range: std::ops::Range<usize>, value: f32) -> Tensor<4> {
    let [_, _, heads, dim] = x.dims();
    if range.is_empty() {
        return x;
    }
    x.slice_fill([row..row + 1, range, 0..heads, 0..dim], value)
}

#[test]
fn a_query_that_sees_rubbish_is_nan_and_passes_no_gradient() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut case = Case::new(3, [1, 70, 1, 2, 16], 0, Mask::Causal);
        case.v = fill(case.v, 0, 68..69, bad);
        for body in [attention as Body, plain::attention] {
            let found: Vec<Vec<f32>> = case.run(body, [true; 3]).into_iter().flatten().collect();
            let row = 2 * 16;
            assert!(found[0][..68 * row].iter().all(|x| x.is_finite()));
            assert!(found[0][68 * row..].iter().all(|x| x.is_nan()));
            assert!(found[1..].iter().flatten().all(|x| x.is_finite()));
            assert!(found[1][68 * row..].iter().all(|x| *x == 0.0));
        }
    }
}

#[test]
fn values_by_hand() {
    let device = Device::flex();
    let tensor = |x: [f32; 3]| Tensor::<1>::from_floats(x, &device).reshape([1, 3, 1, 1]);
    let (q, k, v) = (
        tensor([1.0, 1.0, 2.0]),
        tensor([0.0, 2f32.ln(), 0.0]),
        tensor([1.0, 4.0, 7.0]),
    );
    let causal = AttentionSpan::causal(1, 3, 0, &device);
    let found = numbers(attention(q.clone(), k.clone(), v.clone(), &causal));
    assert_close("causal", &found, &[1.0, 3.0, 4.0], 1e-6);
    // First keys outside of their range are moved to its ends.
    let first_key = Tensor::<2, Int>::from_data([[-5, 9, 1]], &device);
    let found = numbers(attention(q, k, v, &AttentionSpan { first_key, past: 0 }));
    assert_close(
        "clamped",
        &found,
        &[1.0, 4.0, (4.0 * 4.0 + 7.0) / 5.0],
        1e-6,
    );
}

#[test]
fn a_row_gives_the_same_bits_alone_and_at_any_number_of_threads() {
    for mask in MASKS {
        let case = Case::new(7, [5, 75, 2, 2, 24], 9, mask);
        let all = bits(&numbers(attention(
            case.q.clone(),
            case.k.clone(),
            case.v.clone(),
            &case.span(),
        )));
        let span = case.span();
        let width = all.len() / 5;
        for row in 0..5 {
            let [q, k, v] = [&case.q, &case.k, &case.v].map(|x| x.clone().narrow(0, row, 1));
            let first_key = span.first_key.clone().narrow(0, row, 1);
            let alone = attention(q, k, v, &AttentionSpan { first_key, past: 9 });
            assert_eq!(bits(&numbers(alone)), all[row * width..(row + 1) * width]);
        }
        let run = || -> Vec<Vec<u32>> {
            case.run(attention, [true; 3])
                .into_iter()
                .map(|x| bits(&x.unwrap()))
                .collect()
        };
        assert_eq!(with_threads(1, run), with_threads(2, run));
    }
}

#[test]
#[allow(deprecated)] // the only other backend that needs no GPU
fn other_devices_run_the_plain_body() {
    let case = Case::new(9, [2, 5, 2, 2, 8], 3, Mask::Window);
    let device = Device::ndarray();
    let [q, k, v] = [&case.q, &case.k, &case.v].map(|x| Tensor::from_data(x.to_data(), &device));
    let first_key = Tensor::<2, Int>::from_data(case.span().first_key.to_data(), &device);
    let found = attention(q, k, v, &AttentionSpan { first_key, past: 3 });
    assert!(found.device() == device);
    let wanted = case.run(attention, [false, false, true])[0]
        .clone()
        .unwrap();
    assert_close("out", &numbers(found), &wanted, 5e-6);
}

#[test]
#[should_panic(expected = "need more than")]
fn too_few_keys_are_refused() {
    let device = Device::flex();
    let x = Tensor::<4>::zeros([1, 3, 1, 2], &device);
    let _ = attention(
        x.clone(),
        x.clone(),
        x,
        &AttentionSpan::causal(1, 3, 1, &device),
    );
}
