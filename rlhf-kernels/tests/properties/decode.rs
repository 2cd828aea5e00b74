//! What decoding runs on, against the plain bodies.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use rlhf_kernels::decode::{self, CachedHeads, Numbers, PackedMatrix, Side, Storage, attend};
use rlhf_kernels::{AttentionSpan, RopeTables, plain};

use crate::sample::{Sample, assert_close, bits, numbers};

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

/// Matrices `[inputs, outputs]`, every other one given by its columns.
fn sides(weights: &[Vec<f32>], inputs: usize) -> Vec<Vec<f32>> {
    let each = weights.iter().enumerate();
    each.map(|(i, weight)| {
        if i % 2 == 0 {
            return weight.clone();
        }
        let outputs = weight.len() / inputs;
        let columns = (0..outputs).flat_map(|j| (0..inputs).map(move |k| weight[k * outputs + j]));
        columns.collect()
    })
    .collect()
}

proptest! {
    /// Products that the threads share have the bits of those that one thread computes.
    #[test]
    fn shared_products_have_the_same_bits(
        seed: u64, rows in 1usize..20, outputs in 300usize..2000, storage in 0usize..3,
    ) {
        let (mut sample, inputs) = (Sample::new(seed), 400);
        let x = sample.numbers(rows * inputs, 1.0);
        let weight = sample.numbers(inputs * outputs, 1.0);
        let storage = [Storage::F32, Storage::Bf16, Storage::Int8][storage];
        let packed = PackedMatrix::new(inputs, &[Side::Columns(&weight)], storage);
        let product = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![f32::NAN; rows * outputs];
            pool.install(|| packed.product(&x, &mut out));
            bits(&out)
        };
        let alone = product(1);
        prop_assert_eq!(&product(2), &alone);
        prop_assert_eq!(&product(5), &alone);
    }

    #[test]
    fn packed_products_are_the_products(
        seed: u64, rows in 1usize..20, inputs in 1usize..40,
        outputs in proptest::collection::vec(1usize..70, 1..4),
    ) {
        let mut sample = Sample::new(seed);
        let x = sample.numbers(rows * inputs, 1.0);
        let weights: Vec<Vec<f32>> =
            outputs.iter().map(|&n| sample.numbers(inputs * n, 1.0)).collect();
        let stored = sides(&weights, inputs);
        let each = stored.iter().enumerate();
        let given: Vec<Side<'_>> = each
            .map(|(i, w)| if i % 2 == 0 { Side::Columns(w) } else { Side::Rows(w) })
            .collect();
        let packed = PackedMatrix::new(inputs, &given, Storage::F32);
        let all: usize = outputs.iter().sum();
        prop_assert_eq!((packed.inputs(), packed.outputs()), (inputs, all));
        let mut out = vec![f32::NAN; rows * all];
        packed.product(&x, &mut out);
        let mut from = 0;
        for (weight, n) in weights.iter().zip(&outputs) {
            let wanted = plain::linear(
                tensor(&x, [rows, inputs]), [tensor(weight, [inputs, *n])],
            );
            let [wanted] = wanted.map(numbers);
            let found: Vec<f32> =
                out.chunks(all).flat_map(|row| row[from..from + n].to_vec()).collect();
            assert_close("product", &found, &wanted, 1e-5);
            from += n;
        }
        // A row has the same bits alone.
        for (x, wanted) in x.chunks(inputs).zip(out.chunks(all)) {
            let mut alone = vec![f32::NAN; all];
            packed.product(x, &mut alone);
            prop_assert_eq!(bits(&alone), bits(wanted));
        }
    }

    /// Each column of the packed matrix is one whose steps are a 127th of its largest number.
    #[test]
    fn products_with_bytes_are_those_of_the_rounded_matrix(
        seed: u64, rows in 1usize..12, inputs in 1usize..40, outputs in 1usize..70, by_rows: bool,
    ) {
        let mut sample = Sample::new(seed);
        let x = sample.numbers(rows * inputs, 1.0);
        let mut weight = sample.numbers(inputs * outputs, 1.0);
        weight.iter_mut().step_by(outputs).for_each(|w| *w = 0.0);
        let of_column = |column: usize| weight[column..].iter().step_by(outputs);
        let mut rounded = weight.clone();
        for column in 0..outputs {
            let step = of_column(column).fold(0f32, |most, w| most.max(w.abs())) / 127.0;
            let numbers = rounded[column..].iter_mut().step_by(outputs);
            numbers.filter(|w| **w != 0.0).for_each(|w| *w = (*w / step).round_ties_even() * step);
        }
        let transposed: Vec<f32> =
            (0..outputs).flat_map(|column| of_column(column).copied()).collect();
        let side = if by_rows { Side::Rows(&transposed) } else { Side::Columns(&weight) };
        let packed = PackedMatrix::new(inputs, &[side], Storage::Int8);
        let mut out = vec![f32::NAN; rows * outputs];
        packed.product(&x, &mut out);
        let [wanted] =
            plain::linear(tensor(&x, [rows, inputs]), [tensor(&rounded, [inputs, outputs])]);
        assert_close("product", &out, &numbers(wanted), 1e-5);
    }

    #[test]
    fn attention_of_one_token_is_attention(
        seed: u64, kv_heads in 1usize..3, group in 1usize..4, pairs in 1usize..40,
        first in 0usize..70, seen in 1usize..150, room in 0usize..40, capped: bool,
    ) {
        let mut sample = Sample::new(seed);
        let (width, heads, end) = (2 * pairs, kv_heads * group, first + seen);
        let capacity = (end + room).next_multiple_of(16);
        let q = sample.numbers(heads * width, 3.0);
        let by_token = [(); 2].map(|()| sample.numbers(end * kv_heads * width, 1.0));
        // What is not visible may be anything.
        let mut cached = [(); 2].map(|()| vec![f32::NAN; kv_heads * width * capacity]);
        for token in first..end {
            for head in 0..kv_heads {
                for d in 0..width {
                    let from = (token * kv_heads + head) * width + d;
                    cached[0][(head * width + d) * capacity + token] = by_token[0][from];
                    cached[1][(head * capacity + token) * width + d] = by_token[1][from];
                }
            }
        }
        let heads_of = CachedHeads {
            keys: &cached[0],
            values: &cached[1],
            head_dim: width,
            capacity,
            scale: 1.0 / (width as f32).sqrt(),
            softcap: capped.then_some(1.5),
        };
        let mut out = vec![f32::NAN; heads * width];
        attend(&q, &heads_of, first..end, &mut Vec::new(), &mut out);
        let shape = [1, end, kv_heads, width];
        let span = AttentionSpan {
            first_key: Tensor::from_data([[first as i32]], &Device::flex()),
            past: end - 1,
        };
        let (q, k, v) = (
            tensor(&q, [1, 1, heads, width]), tensor(&by_token[0], shape), tensor(&by_token[1], shape),
        );
        let wanted = if capped {
            plain::softcapped_attention(q, k, v, &span, 1.5)
        } else {
            plain::attention(q, k, v, &span)
        };
        assert_close("attention", &out, &numbers(wanted), 1e-5);
    }

    #[test]
    fn rows_are_what_the_tensors_give(seed: u64, rows in 1usize..5, pairs in 1usize..50) {
        let (mut sample, width) = (Sample::new(seed), 2 * pairs);
        let x = sample.numbers(rows * width, 2.0);
        let (weight, bias) = (sample.numbers(width, 1.0), sample.numbers(width, 1.0));
        let (x_t, weight_t) = (tensor(&x, [rows, width]), tensor(&weight, [width]));
        let mut out = vec![f32::NAN; x.len()];
        decode::rms_norm(&x, &weight, 1e-5, &mut out);
        let wanted = plain::rms_norm(x_t.clone(), weight_t.clone(), 1e-5);
        assert_close("rms_norm", &out, &numbers(wanted), 1e-6);
        decode::layer_norm(&x, &weight, &bias, 1e-5, &mut out);
        let wanted = plain::layer_norm(x_t.clone(), weight_t, tensor(&bias, [width]), 1e-5);
        assert_close("layer_norm", &out, &numbers(wanted), 1e-5);

        let mut inner = vec![f32::NAN; rows * pairs];
        decode::swiglu(&x, pairs, &mut inner);
        let half = |from: usize| x_t.clone().narrow(1, from, pairs);
        assert_close("swiglu", &inner, &numbers(plain::swiglu(half(0), half(pairs))), 1e-6);

        out.copy_from_slice(&x);
        decode::gelu_tanh(&mut out);
        assert_close("gelu", &out, &numbers(plain::gelu_tanh(x_t.clone())), 1e-6);
        out.copy_from_slice(&x);
        decode::softcap(&mut out, 1.5);
        assert_close("softcap", &out, &numbers(plain::softcap(x_t.clone(), 1.5)), 1e-6);
        out.copy_from_slice(&x);
        decode::add_bias(&mut out, &bias);
        decode::add(&mut out, &x);
        let wanted = x_t.clone() * 2.0 + tensor(&bias, [1, width]);
        assert_close("sums", &out, &numbers(wanted), 1e-6);

        let (cos, sin) = (sample.numbers(pairs, 1.0), sample.numbers(pairs, 1.0));
        let tables = RopeTables {
            cos: tensor(&cos, [1, 1, pairs]),
            sin: tensor(&sin, [1, 1, pairs]),
        };
        out.copy_from_slice(&x);
        decode::rotate(&mut out, &cos, &sin);
        let wanted = plain::rope(tensor(&x, [1, 1, rows, width]), &tables);
        assert_close("rotation", &out, &numbers(wanted), 1e-6);
    }
}

#[test]
#[allow(deprecated)] // the only other backend that needs no GPU
fn numbers_are_shared_on_flex_and_absent_elsewhere() {
    let x = tensor(&[1.0, 2.0, 3.0, 4.0], [2, 2]);
    let of = |x: Tensor<2>| Numbers::of(x).map(|x| x.to_vec());
    assert_eq!(of(x.clone()), Some(vec![1.0, 2.0, 3.0, 4.0]));
    assert_eq!(of(x.swap_dims(0, 1)), Some(vec![1.0, 3.0, 2.0, 4.0]));
    assert_eq!(of(Tensor::zeros([2, 2], &Device::ndarray())), None);
}

#[test]
fn a_matrix_of_bytes_does_not_hide_what_is_no_number() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let packed = PackedMatrix::new(2, &[Side::Columns(&[1.0, bad, 2.0, 3.0])], Storage::Int8);
        let mut out = [0.0; 2];
        packed.product(&[1.0, 1.0], &mut out);
        assert!(out[0].is_finite() && out[1].is_nan(), "{out:?}");
    }
}
