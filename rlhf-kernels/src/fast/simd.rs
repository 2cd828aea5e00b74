//! One loop body compiled for the baseline, AVX2 and AVX-512, chosen at run time.
//!
//! The bodies keep 32 partial sums whatever the width of the registers and never contract
//! `a * b + c`, so the three versions give the same bits.

/// Wraps a function body so that it is compiled once per instruction set.
///
/// Everything the body calls in its loops must be `#[inline(always)]`, or it is compiled for the
/// baseline. The check costs a load and a branch a call: wrap a row or a chunk, not a number.
macro_rules! simd {
    ($(#[$meta:meta])* fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$meta])*
        pub(crate) fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $out)? { body($($arg),*) }

                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $out)? { body($($arg),*) }

                if $crate::fast::simd::has_avx512() {
                    // SAFETY: the features that the function was compiled for are present.
                    return unsafe { avx512($($arg),*) };
                }
                if $crate::fast::simd::has_avx2() {
                    // SAFETY: the features that the function was compiled for are present.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use simd;

#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && has_avx2()
}

#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

simd! {
/// Adds `y` to `x`.
fn add_row(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}
}

/// Partial sums kept side by side: two AVX-512 registers.
pub(crate) const LANES: usize = 32;

/// `e^x` to about 1e-7 of the value; 0 below −87.3, `e^88` above 88, NaN stays NaN.
///
/// Range reduction by multiples of `ln 2` in two parts, then the minimax polynomial of the Cephes
/// library (Moshier). Branch-free, so that loops around it become vector code.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the low bits
    let clamped = x.clamp(-87.3, 88.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let e = p * r * r + r + 1.0;
    let value = e * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < -87.3 { 0.0 } else { value }
}

/// `1 / (1 + e^−x)`.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `Σ a·b` in 32 partial sums; the slices have one length.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (mut a, mut b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in a.by_ref().zip(b.by_ref()) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let mut total: f32 = sums.iter().sum();
    for (a, b) in a.remainder().iter().zip(b.remainder()) {
        total += a * b;
    }
    total
}

/// `Σ a·b·c` as [`dot`].
#[inline(always)]
pub(crate) fn dot3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (mut a, mut b, mut c) = (
        a.chunks_exact(LANES),
        b.chunks_exact(LANES),
        c.chunks_exact(LANES),
    );
    for ((a, b), c) in a.by_ref().zip(b.by_ref()).zip(c.by_ref()) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i] * c[i];
        }
    }
    let mut total: f32 = sums.iter().sum();
    for ((a, b), c) in a.remainder().iter().zip(b.remainder()).zip(c.remainder()) {
        total += a * b * c;
    }
    total
}

/// The largest number, NaN ignored; −∞ of nothing.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut best = [f32::NEG_INFINITY; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for x in chunks.by_ref() {
        for i in 0..LANES {
            best[i] = if x[i] > best[i] { x[i] } else { best[i] };
        }
    }
    let rest = chunks.remainder().iter().copied();
    best.iter()
        .copied()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a })
}

/// Whether no number is infinite or NaN.
#[inline(always)]
pub(crate) fn finite(x: &[f32]) -> bool {
    // The bits of |x|, compared as integers: one plain maximum, no branch in the loop.
    let largest = x
        .iter()
        .fold(0u32, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
    largest < 0x7f80_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    simd! { fn exp_all(x: &mut [f32]) { for x in x { *x = exp(*x) } } }

    #[test]
    fn exp_is_as_exact_as_f32_allows() {
        let arguments: Vec<f32> = (-87_200..=87_900).map(|i| i as f32 * 1e-3).collect();
        let mut values = arguments.clone();
        exp_all(&mut values);
        for (x, y) in arguments.iter().zip(&values) {
            let exact = f64::from(*x).exp();
            let error = (f64::from(*y) - exact).abs() / exact;
            assert!(error < 1.5e-7, "exp({x}) = {y}, {error:e} off");
        }
    }

    #[test]
    fn exp_at_the_edges() {
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert!(exp(1e30).is_finite() && exp(1e30) > 1e38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn vector_versions_give_the_bits_of_the_baseline() {
        let mut values: Vec<f32> = (0..1000).map(|i| i as f32 * 0.17 - 80.0).collect();
        let baseline: Vec<f32> = values.iter().map(|x| exp(*x)).collect();
        exp_all(&mut values);
        assert_eq!(values, baseline);
    }

    #[test]
    fn finite_sees_every_kind_of_bad_number() {
        let mut x = [1e38f32; 70];
        assert!(finite(&x));
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            x[69] = bad;
            assert!(!finite(&x));
        }
        assert_eq!(max(&[f32::NAN, -3.0, 2.0]), 2.0);
    }
}
