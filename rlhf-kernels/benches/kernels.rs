//! How fast the operations are by themselves, fast and plain, forward and with their gradients:
//! `cargo bench -p rlhf-kernels`. A name after `--` chooses some.

use burn::tensor::{Device, Int, Tensor, TensorData};
use divan::Bencher;
use divan::counter::ItemsCount;
use rlhf_kernels::decode::{CachedHeads, PackedMatrix, Side, Storage, attend};
use rlhf_kernels::{
    AdamWStep, AttentionSpan, Moments, RopeTables, adamw, attention, linear, linear_token_logprobs,
    plain, rms_norm, rope, sum_of_squares, swiglu,
};

fn main() {
    divan::main();
}

/// Tokens of a batch: 16 rows of 64.
const ROWS: usize = 16;
const TIME: usize = 64;
const TOKENS: usize = ROWS * TIME;

/// Width, feed-forward width, vocabulary: those of the bench's `tiny` and `small`.
const SIZES: [(usize, usize, usize); 2] = [(128, 344, 512), (256, 688, 2048)];

/// Numbers between −1 and 1.
fn numbers(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 1.0)
        .collect()
}

/// A tensor that gradients are wanted of, or a plain one.
fn tensor<const D: usize>(shape: [usize; D], tracked: bool) -> Tensor<D> {
    let data = TensorData::new(numbers(shape.iter().product()), shape);
    if tracked {
        Tensor::from_data(data, &Device::flex().autodiff()).require_grad()
    } else {
        Tensor::from_data(data, &Device::flex())
    }
}

/// Times a function of some tensors; on tracked ones, with the gradients of the sum of its result.
fn time<const D: usize, T>(bencher: Bencher<'_, '_>, inputs: T, of: impl Fn(&T) -> Tensor<D>) {
    bencher.bench_local(|| {
        let result = of(&inputs);
        if result.is_tracked() {
            divan::black_box(result.sum().backward());
        } else {
            divan::black_box(result);
        }
    });
}

/// One operation: `fast` and `plain`, each forward and with gradients.
macro_rules! operation {
    ($name:ident, |$tracked:ident, $size:ident| $inputs:expr, $fast:expr, $plain:expr) => {
        mod $name {
            use super::*;

            #[divan::bench(args = SIZES, consts = [false, true])]
            fn fast<const TRACKED: bool>(bencher: Bencher<'_, '_>, $size: (usize, usize, usize)) {
                let $tracked = TRACKED;
                time(bencher, $inputs, $fast);
            }

            #[divan::bench(args = SIZES, consts = [false, true])]
            fn plainly<const TRACKED: bool>(
                bencher: Bencher<'_, '_>,
                $size: (usize, usize, usize),
            ) {
                let $tracked = TRACKED;
                time(bencher, $inputs, $plain);
            }
        }
    };
}

operation!(
    rms_norm_of_rows,
    |tracked, size| (tensor([TOKENS, size.0], tracked), tensor([size.0], tracked)),
    |(x, weight)| rms_norm(x.clone(), weight.clone(), 1e-5),
    |(x, weight)| plain::rms_norm(x.clone(), weight.clone(), 1e-5)
);

operation!(
    swiglu_product,
    |tracked, size| [(); 2].map(|()| tensor([TOKENS, size.1], tracked)),
    |[gate, up]| swiglu(gate.clone(), up.clone()),
    |[gate, up]| plain::swiglu(gate.clone(), up.clone())
);

/// Angles for heads of 32.
fn tables() -> RopeTables {
    let positions = [(0..TIME).collect()];
    RopeTables::new(&positions, 32, 10_000.0, &Device::flex())
}

operation!(
    rotary,
    |tracked, size| (tensor([ROWS, TIME, size.0 / 32, 32], tracked), tables()),
    |(x, tables)| rope(x.clone(), tables),
    |(x, tables)| plain::rope(x.clone(), tables)
);

/// Queries, keys and values of heads of 32, and what is seen.
fn heads(width: usize, tracked: bool) -> ([Tensor<4>; 3], AttentionSpan) {
    let heads = [(); 3].map(|()| tensor([ROWS, TIME, width / 32, 32], tracked));
    (heads, AttentionSpan::causal(ROWS, TIME, 0, &Device::flex()))
}

operation!(
    causal_attention,
    |tracked, size| heads(size.0, tracked),
    |([q, k, v], span)| attention(q.clone(), k.clone(), v.clone(), span),
    |([q, k, v], span)| plain::attention(q.clone(), k.clone(), v.clone(), span)
);

operation!(
    shared_products,
    |tracked, size| (
        tensor([TOKENS, size.0], tracked),
        [(); 3].map(|()| tensor([size.0, size.0], tracked)),
    ),
    |(x, weights)| {
        let [q, k, v] = linear(x.clone(), weights.clone());
        q + k + v
    },
    |(x, weights)| {
        let [q, k, v] = plain::linear(x.clone(), weights.clone());
        q + k + v
    }
);

/// Tokens of a vocabulary.
fn targets(vocabulary: usize) -> Tensor<1, Int> {
    let ids: Vec<i32> = (0..TOKENS).map(|i| (i * 31 % vocabulary) as i32).collect();
    Tensor::from_data(TensorData::new(ids, [TOKENS]), &Device::flex())
}

operation!(
    token_logprobs,
    |tracked, size| (
        tensor([TOKENS, size.0], tracked),
        tensor([size.0, size.2], tracked),
        targets(size.2),
    ),
    |(hidden, weight, ids)| linear_token_logprobs(hidden.clone(), weight.clone(), ids.clone(), 1.0),
    |(hidden, weight, ids)| plain::linear_token_logprobs(
        hidden.clone(),
        weight.clone(),
        ids.clone(),
        1.0
    )
);

/// Items are parameters.
#[divan::bench(args = [1 << 16, 1 << 20])]
fn adamw_step(bencher: Bencher<'_, '_>, parameters: usize) {
    let (grad, mut moments) = (tensor([parameters], false), Moments::zeros(parameters));
    let mut param = Some(tensor([parameters], false));
    let step = AdamWStep {
        lr: 1e-5,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.01,
        grad_scale: 1.0,
        step: 10,
    };
    bencher
        .counter(ItemsCount::new(parameters))
        .bench_local(|| {
            let before = param.take().expect("put back every time");
            param = Some(adamw(before, grad.clone(), &mut moments, &step));
        });
}

/// Items are numbers.
#[divan::bench(args = [1 << 16, 1 << 20])]
fn norm_of_gradients(bencher: Bencher<'_, '_>, count: usize) {
    let x: Tensor<1> = tensor([count], false);
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| sum_of_squares(divan::black_box(&x)));
}

/// Rows of `x`, inputs, outputs; items are floating-point operations.
#[divan::bench(args = [(1, 576, 1536), (4, 128, 384), (8, 128, 384), (8, 256, 1376), (256, 128, 384)])]
fn packed_product(bencher: Bencher<'_, '_>, (rows, inputs, outputs): (usize, usize, usize)) {
    let weight = numbers(inputs * outputs);
    let packed = PackedMatrix::new(inputs, &[Side::Columns(&weight)], Storage::F32);
    let (x, mut out) = (numbers(rows * inputs), vec![0.0; rows * outputs]);
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| packed.product(divan::black_box(&x), &mut out));
}

/// One token of eight heads of 32 over so many.
#[divan::bench(args = [16, 64, 256, 1024])]
fn attention_of_a_token(bencher: Bencher<'_, '_>, seen: usize) {
    let (heads, width) = (8, 32);
    let cached = [(); 2].map(|()| numbers(heads * width * seen));
    let cached = CachedHeads {
        keys: &cached[0],
        values: &cached[1],
        head_dim: width,
        capacity: seen,
        scale: 0.2,
        softcap: None,
    };
    let (q, mut out, mut scores) = (numbers(heads * width), vec![0.0; heads * width], Vec::new());
    bencher.bench_local(|| {
        attend(
            divan::black_box(&q),
            &cached,
            0..seen,
            &mut scores,
            &mut out,
        );
    });
}
