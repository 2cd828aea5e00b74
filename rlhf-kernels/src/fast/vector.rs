//! Registers of several numbers, for loops that the compiler does not keep in them by itself.

/// Some numbers side by side in a register.
pub(crate) trait Vector: Copy {
    /// How many.
    const LEN: usize;

    /// All zero.
    fn zero() -> Self;

    /// All the same.
    fn splat(x: f32) -> Self;

    /// The numbers at an address.
    ///
    /// # Safety
    /// `LEN` numbers lie there.
    unsafe fn load(from: *const f32) -> Self;

    /// The numbers whose upper halves lie at an address.
    ///
    /// # Safety
    /// `LEN` halves lie there.
    unsafe fn load_bf16(from: *const u16) -> Self;

    /// Whole numbers at an address.
    ///
    /// # Safety
    /// `LEN` of them lie there.
    unsafe fn load_i8(from: *const i8) -> Self;

    /// Writes the numbers to an address.
    ///
    /// # Safety
    /// `LEN` numbers have place there.
    unsafe fn store(self, to: *mut f32);

    /// `self · y + z`, rounded once.
    fn mul_add(self, y: Self, z: Self) -> Self;
}

/// Numbers without a register of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain([f32; 4]);

impl Vector for Plain {
    const LEN: usize = 4;

    #[inline(always)]
    fn zero() -> Self {
        Self([0.0; 4])
    }

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: by the caller's promise.
        Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self {
        // SAFETY: by the caller's promise.
        let halves = unsafe { from.cast::<[u16; 4]>().read_unaligned() };
        Self(halves.map(|half| f32::from_bits(u32::from(half) << 16)))
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: by the caller's promise.
        Self(unsafe { from.cast::<[i8; 4]>().read_unaligned() }.map(f32::from))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn mul_add(self, y: Self, z: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(y.0[i], z.0[i])))
    }
}

/// Asks for the cache lines of two registers' numbers at an address, which need not be valid.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every x86-64 has the instruction, and it never faults.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(at.cast());
            _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(64));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Eight columns of eight contiguous numbers each, `from_stride` apart, to eight rows `to_stride` apart.
///
/// # Safety
/// The numbers lie there, and so does room for them. The processor has AVX, where there is such a
/// thing.
#[inline(always)]
pub(crate) unsafe fn transpose8(
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
            _mm256_unpackhi_ps, _mm256_unpacklo_ps,
        };
        // SAFETY: by the caller's promise.
        unsafe {
            // Written out: closures would not be compiled for AVX.
            let c0 = _mm256_loadu_ps(from);
            let c1 = _mm256_loadu_ps(from.add(from_stride));
            let c2 = _mm256_loadu_ps(from.add(2 * from_stride));
            let c3 = _mm256_loadu_ps(from.add(3 * from_stride));
            let c4 = _mm256_loadu_ps(from.add(4 * from_stride));
            let c5 = _mm256_loadu_ps(from.add(5 * from_stride));
            let c6 = _mm256_loadu_ps(from.add(6 * from_stride));
            let c7 = _mm256_loadu_ps(from.add(7 * from_stride));
            // Pairs of columns, then fours, then all eight.
            let (low01, high01) = (_mm256_unpacklo_ps(c0, c1), _mm256_unpackhi_ps(c0, c1));
            let (low23, high23) = (_mm256_unpacklo_ps(c2, c3), _mm256_unpackhi_ps(c2, c3));
            let (low45, high45) = (_mm256_unpacklo_ps(c4, c5), _mm256_unpackhi_ps(c4, c5));
            let (low67, high67) = (_mm256_unpacklo_ps(c6, c7), _mm256_unpackhi_ps(c6, c7));
            let a0 = _mm256_shuffle_ps::<0x44>(low01, low23);
            let a1 = _mm256_shuffle_ps::<0xee>(low01, low23);
            let a2 = _mm256_shuffle_ps::<0x44>(high01, high23);
            let a3 = _mm256_shuffle_ps::<0xee>(high01, high23);
            let b0 = _mm256_shuffle_ps::<0x44>(low45, low67);
            let b1 = _mm256_shuffle_ps::<0xee>(low45, low67);
            let b2 = _mm256_shuffle_ps::<0x44>(high45, high67);
            let b3 = _mm256_shuffle_ps::<0xee>(high45, high67);
            _mm256_storeu_ps(to, _mm256_permute2f128_ps::<0x20>(a0, b0));
            _mm256_storeu_ps(to.add(to_stride), _mm256_permute2f128_ps::<0x20>(a1, b1));
            _mm256_storeu_ps(
                to.add(2 * to_stride),
                _mm256_permute2f128_ps::<0x20>(a2, b2),
            );
            _mm256_storeu_ps(
                to.add(3 * to_stride),
                _mm256_permute2f128_ps::<0x20>(a3, b3),
            );
            _mm256_storeu_ps(
                to.add(4 * to_stride),
                _mm256_permute2f128_ps::<0x31>(a0, b0),
            );
            _mm256_storeu_ps(
                to.add(5 * to_stride),
                _mm256_permute2f128_ps::<0x31>(a1, b1),
            );
            _mm256_storeu_ps(
                to.add(6 * to_stride),
                _mm256_permute2f128_ps::<0x31>(a2, b2),
            );
            _mm256_storeu_ps(
                to.add(7 * to_stride),
                _mm256_permute2f128_ps::<0x31>(a3, b3),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    for column in 0..8 {
        for row in 0..8 {
            // SAFETY: by the caller's promise.
            unsafe { *to.add(row * to_stride + column) = *from.add(column * from_stride + row) };
        }
    }
}

/// Implements [`Vector`] for a register type by its instructions. They are only run in functions
/// compiled for processors that have them, into which all this is inlined.
#[cfg(target_arch = "x86_64")]
macro_rules! registers {
    ($type:ty, $len:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident,
        $halves:ident, $widen:ident, $shift:ident, $cast:ident, $bytes:ident, $integers:ident,
        $floats:ident) => {
        impl Vector for $type {
            const LEN: usize = $len;

            #[inline(always)]
            fn zero() -> Self {
                // SAFETY: the processor has these registers, or this type would not be used.
                unsafe { $zero() }
            }

            #[inline(always)]
            fn splat(x: f32) -> Self {
                // SAFETY: as above.
                unsafe { $splat(x) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: as above, and by the caller's promise.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn load_bf16(from: *const u16) -> Self {
                // SAFETY: as above, and by the caller's promise.
                unsafe { $cast($shift::<16>($widen($halves(from.cast())))) }
            }

            #[inline(always)]
            unsafe fn load_i8(from: *const i8) -> Self {
                // SAFETY: as above, and by the caller's promise.
                unsafe { $floats($integers($bytes(from.cast()))) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: as above, and by the caller's promise.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            fn mul_add(self, y: Self, z: Self) -> Self {
                // SAFETY: the processor has these registers, or this type would not be used.
                unsafe { $fma(self, y, z) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _mm_loadl_epi64, _mm_loadu_si128, _mm256_castsi256_ps,
        _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32,
        _mm256_storeu_ps, _mm512_castsi512_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
        _mm512_cvtepu16_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_slli_epi32, _mm512_storeu_ps,
    };

    use super::Vector;

    registers!(
        __m256,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm_loadu_si128,
        _mm256_cvtepu16_epi32,
        _mm256_slli_epi32,
        _mm256_castsi256_ps,
        _mm_loadl_epi64,
        _mm256_cvtepi8_epi32,
        _mm256_cvtepi32_ps
    );
    registers!(
        __m512,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm256_loadu_si256,
        _mm512_cvtepu16_epi32,
        _mm512_slli_epi32,
        _mm512_castsi512_ps,
        _mm_loadu_si128,
        _mm512_cvtepi8_epi32,
        _mm512_cvtepi32_ps
    );
}

/// Calls a generic function with the widest registers that the processor has; all that it calls in
/// its loops must be `#[inline(always)]`.
macro_rules! with_vectors {
    ($function:ident($($arg:ident: $type:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            fn avx512($($arg: $type),*) { $function::<std::arch::x86_64::__m512>($($arg),*); }

            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) { $function::<std::arch::x86_64::__m256>($($arg),*); }

            if $crate::fast::simd::has_avx512() {
                // SAFETY: the features that the function was compiled for are present.
                return unsafe { avx512($($arg),*) };
            }
            if $crate::fast::simd::has_avx2() {
                // SAFETY: as above.
                return unsafe { avx2($($arg),*) };
            }
        }
        $function::<$crate::fast::vector::Plain>($($arg),*);
    }};
}
pub(crate) use with_vectors;
