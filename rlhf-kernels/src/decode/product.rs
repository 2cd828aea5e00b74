//! Products of some rows with panels, in tiles that fit the registers.

use std::ops::Range;

use burn::tensor::bf16;

use super::stored::{Line, Stored, WIDTH};
use crate::fast::buffer::Shared;
use crate::fast::vector::{Vector, prefetch, with_vectors};

/// How many rows of a panel ahead memory is asked for.
const DISTANCE: usize = 32;

/// Where panels are written: columns of the output from `from` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) out: Shared,
    /// As the matrix has them.
    pub(super) scales: &'a [f32],
    /// Width of the output.
    pub(super) outputs: usize,
    pub(super) from: usize,
    /// Whether memory is asked for ahead.
    pub(super) ahead: bool,
}

pub(super) fn of_f32(lines: &[Line<f32>], inputs: usize, x: &[f32], place: Place<'_>) {
    with_vectors!(all_tiles(lines: &[Line<f32>], inputs: usize, x: &[f32], place: Place<'_>));
}

pub(super) fn of_bf16(lines: &[Line<bf16>], inputs: usize, x: &[f32], place: Place<'_>) {
    with_vectors!(all_tiles(lines: &[Line<bf16>], inputs: usize, x: &[f32], place: Place<'_>));
}

pub(super) fn of_int8(lines: &[Line<i8>], inputs: usize, x: &[f32], place: Place<'_>) {
    with_vectors!(all_tiles(lines: &[Line<i8>], inputs: usize, x: &[f32], place: Place<'_>));
}

/// The product in tiles that fit the registers: eight rows by 32 columns with AVX-512, six by 16 with
/// AVX2.
#[inline(always)]
fn all_tiles<V: Vector>(lines: &[Line<impl Stored>], inputs: usize, x: &[f32], place: Place<'_>) {
    let rows = if V::LEN == 16 { 8 } else { 6 };
    for (panel, lines) in lines.chunks_exact(inputs).enumerate() {
        for part in (0..WIDTH).step_by(2 * V::LEN) {
            let from = place.from + panel * WIDTH + part;
            if from >= place.outputs {
                break;
            }
            let tile = Tile {
                lines,
                part,
                columns: from..place.outputs.min(from + 2 * V::LEN),
                place,
            };
            for (i, x) in x.chunks(rows * inputs).enumerate() {
                if tile.columns.len() > V::LEN {
                    tile.write_rows::<V, 2>(x, i * rows);
                } else {
                    tile.write_rows::<V, 1>(x, i * rows);
                }
            }
        }
    }
}

/// Some columns of a product.
struct Tile<'a, T: Stored> {
    /// A panel.
    lines: &'a [Line<T>],
    /// Where the columns start in it.
    part: usize,
    /// Where they are in the output.
    columns: Range<usize>,
    place: Place<'a>,
}

impl<T: Stored> Tile<'_, T> {
    /// The product of rows `from` and after.
    #[inline(always)]
    fn write_rows<V: Vector, const N: usize>(&self, x: &[f32], from: usize) {
        match x.len() / self.lines.len() {
            1 => self.write::<V, N, 1>(x, from),
            2 => self.write::<V, N, 2>(x, from),
            3 => self.write::<V, N, 3>(x, from),
            4 => self.write::<V, N, 4>(x, from),
            5 => self.write::<V, N, 5>(x, from),
            6 => self.write::<V, N, 6>(x, from),
            7 => self.write::<V, N, 7>(x, from),
            _ => self.write::<V, N, 8>(x, from),
        }
    }

    /// `ROWS` rows by `N` registers.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "an iterator copies the registers to memory first"
    )]
    fn write<V: Vector, const N: usize, const ROWS: usize>(&self, x: &[f32], from: usize) {
        let inputs = self.lines.len();
        assert!(x.len() >= ROWS * inputs && self.part + N * V::LEN <= WIDTH);
        let mut sums = [[V::zero(); N]; ROWS];
        for (k, line) in self.lines.iter().enumerate() {
            let line = line.1.as_ptr();
            if self.place.ahead {
                prefetch(line.wrapping_add(DISTANCE * WIDTH));
            }
            // SAFETY: the registers' numbers lie within a line, by the assertion.
            let line: [V; N] =
                std::array::from_fn(|n| unsafe { T::load(line.add(self.part + n * V::LEN)) });
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `k < inputs` and `row < ROWS`, so this lies within `x`, by the assertion.
                let x = V::splat(unsafe { *x.get_unchecked(row * inputs + k) });
                for (sum, numbers) in sums.iter_mut().zip(line) {
                    *sum = x.mul_add(numbers, *sum);
                }
            }
        }
        let (width, stride) = (self.columns.len(), self.place.outputs);
        let reach = (ROWS - 1) * stride + width;
        let mut out = self.place.out.at(from * stride + self.columns.start, reach);
        let whole = width == N * V::LEN && self.place.scales.is_empty();
        for row in 0..ROWS {
            if whole {
                for n in 0..N {
                    // SAFETY: within `reach`, and nobody else writes these columns.
                    unsafe { sums[row][n].store(out.add(n * V::LEN)) };
                }
            } else {
                self.write_some(sums[row], out);
            }
            out = out.wrapping_add(stride);
        }
    }

    /// Writes the columns' numbers of one row, times their scales.
    #[inline(always)]
    fn write_some<V: Vector, const N: usize>(&self, sums: [V; N], out: *mut f32) {
        let mut numbers = [0f32; WIDTH];
        for (n, sum) in sums.into_iter().enumerate() {
            // SAFETY: `N` registers fit a panel's width.
            unsafe { sum.store(numbers.as_mut_ptr().add(n * V::LEN)) };
        }
        let scales = self.place.scales.get(self.columns.clone());
        for (x, scale) in numbers.iter_mut().zip(scales.unwrap_or_default()) {
            *x *= scale;
        }
        // SAFETY: the caller has place for the columns there.
        unsafe { out.copy_from_nonoverlapping(numbers.as_ptr(), self.columns.len()) };
    }
}
