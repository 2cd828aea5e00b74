//! Random tensors, gradients and comparisons.

use burn::tensor::{Device, Tensor, TensorData};

/// A generator of test numbers (SplitMix64).
pub(crate) struct Sample(u64);

impl Sample {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51ed_270b)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// `n` numbers in `−size .. size`.
    pub(crate) fn numbers(&mut self, n: usize, size: f32) -> Vec<f32> {
        (0..n)
            .map(|_| ((self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * size)
            .collect()
    }

    /// A plain tensor on flex with numbers in `−size .. size`.
    pub(crate) fn tensor<const D: usize>(&mut self, shape: [usize; D], size: f32) -> Tensor<D> {
        let values = self.numbers(shape.iter().product(), size);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }
}

/// The same numbers on the autodiff device, tracked or frozen.
pub(crate) fn leaf<const D: usize>(x: &Tensor<D>, tracked: bool) -> Tensor<D> {
    let x = Tensor::from_data(x.to_data(), &Device::flex().autodiff());
    if tracked { x.require_grad() } else { x }
}

/// The numbers in row-major order.
pub(crate) fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

pub(crate) fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Outputs and gradients of one run, of those that there are.
pub(crate) type Results = [Option<Vec<f32>>];

/// The largest difference relative to the largest reference number (at least 1).
pub(crate) fn assert_close(what: &str, found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_close_by(what, found, wanted, largest(wanted), tolerance);
}

/// The same results, or none, each to 3e-6 of the largest number of its reference and of its `terms`
/// (at least 1).
pub(crate) fn assert_same(found: &Results, wanted: &Results, terms: Option<&Results>) {
    assert_eq!(found.len(), wanted.len());
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert_eq!(
            found.is_some(),
            wanted.is_some(),
            "result {i} is there or not"
        );
        if let (Some(found), Some(wanted)) = (found, wanted) {
            let terms = terms.and_then(|terms| terms[i].as_deref());
            let size = largest(wanted).max(largest(terms.unwrap_or_default()));
            assert_close_by(&format!("result {i}"), found, wanted, size, 3e-6);
        }
    }
}

/// From this width of its rows on, a norm's gradient has the size of the two terms whose difference it is.
pub(crate) const WIDE: usize = 8;

/// The norm with a constant in place of the rows' scale: its gradient by x is the first of the two terms of
/// the norm's. In narrow rows the second takes most of it away, in rows of one number all but `eps`, and
/// what two ways of rounding leave can only be measured by the terms.
pub(crate) fn scaled<const D: usize>(x: Tensor<D>, weight: Tensor<D>, eps: f64) -> Tensor<D> {
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (mean_square + eps).sqrt().detach() * weight
}

fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().fold(1f32, |size, x| size.max(x.abs()))
}

fn assert_close_by(what: &str, found: &[f32], wanted: &[f32], size: f32, tolerance: f32) {
    assert_eq!(found.len(), wanted.len(), "{what}: lengths differ");
    for (i, (a, b)) in found.iter().zip(wanted).enumerate() {
        let error = (a - b).abs() / size;
        assert!(
            error <= tolerance,
            "{what}[{i}]: {a} instead of {b}, {error:e} of {size} off"
        );
    }
}

/// `work` in a pool of so many threads.
pub(crate) fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("a pool of threads")
        .install(work)
}
