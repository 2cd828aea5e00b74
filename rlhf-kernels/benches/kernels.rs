//! How fast the operations are, by themselves: `cargo bench -p rlhf-kernels`.

use divan::Bencher;
use divan::counter::ItemsCount;
use rlhf_kernels::decode::{PackedMatrix, Side};

fn main() {
    divan::main();
}

/// Numbers between −1 and 1.
fn numbers(n: usize) -> Vec<f32> {
    (0..n)
        .map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 1.0)
        .collect()
}

/// Items are floating-point operations.
#[divan::bench(args = [(8, 128, 384), (8, 128, 688), (8, 344, 128), (8, 256, 1376), (8, 688, 256), (16, 576, 1536), (1, 576, 1536), (4, 128, 384), (128, 128, 384)])]
fn packed_product(bencher: Bencher<'_, '_>, (rows, inputs, outputs): (usize, usize, usize)) {
    let weight = numbers(inputs * outputs);
    let packed = PackedMatrix::new(inputs, &[Side::Columns(&weight)]);
    let (x, mut out) = (numbers(rows * inputs), vec![0.0; rows * outputs]);
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| packed.product(divan::black_box(&x), &mut out));
}
