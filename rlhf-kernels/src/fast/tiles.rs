//! Matrix products in tiles that stay in the registers: a panel of 32 columns of the right matrix is
//! copied so that its rows lie one after the other, and every few rows of the left one, read where
//! they are, go over it. The scheme is that of Goto and van de Geijn (2008, "Anatomy of
//! high-performance matrix multiplication"), without a copy of the left matrix.
//!
//! Each number is a chain of fused multiply-adds for every [`DEPTH`] terms, in their order, whatever
//! its row and column and whoever computes it, and the chains are added in order.

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::jobs::FEWEST_PRODUCTS;
use super::vector::{Vector, transpose8, with_vectors};
use crate::parts::threads;

/// Columns of a panel.
const WIDTH: usize = 32;
/// Rows of a tile with AVX-512, and a multiple of those of every other.
const ROWS: usize = 12;
/// Rows of a panel: it stays in the second-level cache.
const DEPTH: usize = 512;
/// Tasks a thread, so that one that is held up does not hold up the others.
const TASKS: usize = 4;

/// One row of a panel.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([f32; WIDTH]);

thread_local! {
    /// A panel's memory, kept by each thread.
    static PANEL: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Whether tiles are the fast way on this processor; elsewhere the `gemm` crate's are.
pub(super) fn apply() -> bool {
    #[cfg(target_arch = "x86_64")]
    return super::simd::has_avx2();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Where an operand lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) start: *const f32,
    pub(super) row_stride: usize,
    pub(super) col_stride: usize,
}

impl Operand {
    /// The address of a number.
    #[inline(always)]
    fn at(self, row: usize, col: usize) -> *const f32 {
        self.start
            .wrapping_add(row * self.row_stride + col * self.col_stride)
    }
}

/// `scale · a·b`, written or added to what is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) inner: usize,
    pub(super) a: Operand,
    pub(super) b: Operand,
    pub(super) out: *mut f32,
    /// From a row of the output to the next; columns lie side by side.
    pub(super) out_stride: usize,
    pub(super) scale: f32,
    pub(super) add: bool,
}

// SAFETY: addresses and sizes; who computes the product vouches for what lies there.
unsafe impl Send for Product {}
// SAFETY: as above.
unsafe impl Sync for Product {}

/// A part of the output: rows and columns.
type Part = [Range<usize>; 2];

impl Product {
    /// Computes it, on all threads of the pool or on this one.
    ///
    /// # Safety
    /// The operands' numbers lie where they say, and so does room for the output, which nobody else
    /// reads or writes meanwhile; with `add` it holds numbers.
    pub(super) unsafe fn compute(&self, all_threads: bool) {
        let threads = threads();
        let work = (self.rows.saturating_mul(self.cols)).saturating_mul(self.inner);
        let parts = (work / FEWEST_PRODUCTS).min(TASKS * threads);
        if !all_threads || threads < 2 || parts < 2 {
            return self.part([0..self.rows, 0..self.cols]);
        }
        let parts = self.parts(parts);
        parts.into_par_iter().for_each(|part| self.part(part));
    }

    /// The output in about so many parts: by columns, and by rows too where there are few columns.
    fn parts(&self, wanted: usize) -> Vec<Part> {
        let panels = self.cols.div_ceil(WIDTH).max(1);
        let by_cols = panels.div_ceil(panels.div_ceil(wanted));
        let cols = panels.div_ceil(by_cols) * WIDTH;
        let rows = self.rows.div_ceil(wanted.div_ceil(by_cols));
        let rows = rows.max(1).next_multiple_of(ROWS);
        let ranges = |len: usize, step: usize| {
            let starts = (0..len).step_by(step);
            starts.map(move |from| from..(from + step).min(len))
        };
        ranges(self.cols, cols)
            .flat_map(|cols| ranges(self.rows, rows).map(move |rows| [rows, cols.clone()]))
            .collect()
    }

    fn part(&self, part: Part) {
        let mut panel = PANEL.take();
        let depth = self.inner.min(DEPTH);
        if panel.len() < depth {
            panel.resize(depth, Line([0.0; WIDTH]));
        }
        compute_part(self, part, &mut panel);
        PANEL.set(panel);
    }
}

fn compute_part(product: &Product, part: Part, panel: &mut [Line]) {
    with_vectors!(panels(product: &Product, part: Part, panel: &mut [Line]));
}

/// One panel after the other.
#[inline(always)]
fn panels<V: Vector>(product: &Product, [rows, cols]: Part, panel: &mut [Line]) {
    if product.inner == 0 && !product.add {
        for row in rows {
            let out = product
                .out
                .wrapping_add(row * product.out_stride + cols.start);
            // SAFETY: by the promise of `Product::compute`.
            unsafe { out.write_bytes(0, cols.len()) };
        }
        return;
    }
    for from in cols.clone().step_by(WIDTH) {
        let width = WIDTH.min(cols.end - from);
        for start in (0..product.inner).step_by(DEPTH) {
            let depth = DEPTH.min(product.inner - start);
            let panel = &mut panel[..depth];
            pack::<V>(product.b, [start, from], width, panel);
            for part in (0..width).step_by(2 * V::LEN) {
                let tile = Tile {
                    product,
                    panel,
                    start,
                    part,
                    from: from + part,
                    width: (width - part).min(2 * V::LEN),
                };
                tile.rows::<V>(rows.clone());
            }
        }
    }
}

/// Copies `width` columns of the rows of a panel; what comes after them is left as it is, and what is
/// computed from it is not stored.
#[inline(always)]
fn pack<V: Vector>(b: Operand, [row, col]: [usize; 2], width: usize, panel: &mut [Line]) {
    if b.col_stride == 1 {
        for (k, line) in panel.iter_mut().enumerate() {
            let from = b.at(row + k, col);
            if width == WIDTH {
                // SAFETY: by the promise of `Product::compute`.
                line.0 = unsafe { from.cast::<[f32; WIDTH]>().read_unaligned() };
                continue;
            }
            for j in (0..width / 8 * 8).step_by(8) {
                // SAFETY: as above; a line has room for them.
                unsafe {
                    let eight = from.add(j).cast::<[f32; 8]>().read_unaligned();
                    line.0.as_mut_ptr().add(j).cast::<[f32; 8]>().write(eight);
                }
            }
            for j in width / 8 * 8..width {
                // SAFETY: as above.
                line.0[j] = unsafe { *from.add(j) };
            }
        }
        return;
    }
    // Eight columns by eight rows at a time where columns are contiguous.
    let whole = |n: usize| {
        if V::LEN >= 8 && b.row_stride == 1 {
            n / 8 * 8
        } else {
            0
        }
    };
    let (whole_cols, whole_rows) = (whole(width), whole(panel.len()));
    let to = panel.as_mut_ptr().cast::<f32>();
    for j in (0..whole_cols).step_by(8) {
        for k in (0..whole_rows).step_by(8) {
            // SAFETY: the columns' numbers by the promise of `Product::compute`, and the place in the
            // panel by its length; eight numbers a register at least come with AVX.
            unsafe {
                transpose8(
                    b.at(row + k, col + j),
                    b.col_stride,
                    to.add(k * WIDTH + j),
                    WIDTH,
                );
            }
        }
    }
    for (k, line) in panel.iter_mut().enumerate() {
        let first = if k < whole_rows { whole_cols } else { 0 };
        for j in first..width {
            // SAFETY: by the promise of `Product::compute`.
            line.0[j] = unsafe { *b.at(row + k, col + j) };
        }
    }
}

/// Some columns of a panel, and what they are for.
struct Tile<'a> {
    product: &'a Product,
    panel: &'a [Line],
    /// Which term of the sums the panel begins with.
    start: usize,
    /// Where the columns start in the panel.
    part: usize,
    /// Where they start in the output.
    from: usize,
    width: usize,
}

impl Tile<'_> {
    /// As many rows at a time as the registers hold.
    #[inline(always)]
    fn rows<V: Vector>(&self, rows: Range<usize>) {
        if self.width > V::LEN {
            self.rows_by::<V, 2>(rows);
        } else {
            self.rows_by::<V, 1>(rows);
        }
    }

    #[inline(always)]
    fn rows_by<V: Vector, const N: usize>(&self, mut rows: Range<usize>) {
        while !rows.is_empty() {
            // SAFETY: as many rows are left.
            rows.start += unsafe {
                match rows.len() {
                    12.. if V::LEN == 16 => self.write::<V, N, 12>(rows.start),
                    8.. if V::LEN == 16 => self.write::<V, N, 8>(rows.start),
                    6.. if V::LEN != 16 => self.write::<V, N, 6>(rows.start),
                    4.. => self.write::<V, N, 4>(rows.start),
                    2.. => self.write::<V, N, 2>(rows.start),
                    _ => self.write::<V, N, 1>(rows.start),
                }
            };
        }
    }

    /// `ROWS` rows from `first` on, by `N` registers; returns how many.
    ///
    /// # Safety
    /// There are as many.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "an iterator copies the registers to memory first"
    )]
    unsafe fn write<V: Vector, const N: usize, const ROWS: usize>(&self, first: usize) -> usize {
        let product = self.product;
        assert!(self.part + N * V::LEN <= WIDTH);
        let mut sums = [[V::zero(); N]; ROWS];
        let mut a = product.a.at(first, self.start);
        for line in self.panel {
            let line = line.0.as_ptr();
            // SAFETY: within a line, by the assertion.
            let line: [V; N] =
                std::array::from_fn(|n| unsafe { V::load(line.add(self.part + n * V::LEN)) });
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: by the promises of the caller and of `Product::compute`.
                let x = V::splat(unsafe { *a.add(row * product.a.row_stride) });
                for (sum, numbers) in sums.iter_mut().zip(line) {
                    *sum = x.mul_add(numbers, *sum);
                }
            }
            a = a.wrapping_add(product.a.col_stride);
        }
        let out = product
            .out
            .wrapping_add(first * product.out_stride + self.from);
        let (stride, scale) = (product.out_stride, V::splat(product.scale));
        let add = product.add || self.start > 0;
        // Loops of few instructions, or the sums leave the registers.
        // SAFETY: by the promises of the caller and of `Product::compute`; `numbers` holds a tile.
        unsafe {
            if self.width == N * V::LEN && add {
                for row in 0..ROWS {
                    for n in 0..N {
                        let out = out.add(row * stride + n * V::LEN);
                        sums[row][n].mul_add(scale, V::load(out)).store(out);
                    }
                }
            } else if self.width == N * V::LEN {
                for row in 0..ROWS {
                    for n in 0..N {
                        let number = sums[row][n].mul_add(scale, V::zero());
                        number.store(out.add(row * stride + n * V::LEN));
                    }
                }
            } else {
                let mut numbers = [MaybeUninit::<[f32; WIDTH]>::uninit(); ROWS];
                for row in 0..ROWS {
                    for n in 0..N {
                        let number = sums[row][n].mul_add(scale, V::zero());
                        number.store(numbers[row].as_mut_ptr().cast::<f32>().add(n * V::LEN));
                    }
                }
                self.write_some(&numbers, out, add);
            }
        }
        ROWS
    }

    /// Writes or adds the columns of rows of numbers.
    ///
    /// # Safety
    /// There is room for them, and as many numbers were written.
    #[inline(never)]
    unsafe fn write_some(&self, rows: &[MaybeUninit<[f32; WIDTH]>], out: *mut f32, add: bool) {
        for (i, row) in rows.iter().enumerate() {
            let (row, out) = (
                row.as_ptr().cast::<f32>(),
                out.wrapping_add(i * self.product.out_stride),
            );
            for j in 0..self.width {
                // SAFETY: by the caller's promise.
                unsafe {
                    let before = if add { *out.add(j) } else { 0.0 };
                    *out.add(j) = before + *row.add(j);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of some pattern.
    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// A matrix by its rows, or by its columns, every row or column followed by a gap.
    fn operand(numbers: &[f32], len: usize, by_rows: bool) -> Operand {
        let (row_stride, col_stride) = if by_rows { (len + 3, 1) } else { (1, len + 3) };
        Operand {
            start: numbers.as_ptr(),
            row_stride,
            col_stride,
        }
    }

    fn check([rows, inner, cols]: [usize; 3], [a_rows, b_rows, add]: [bool; 3], scale: f32) {
        let a = numbers((rows + 3) * (inner + 3), 0.7);
        let b = numbers((inner + 3) * (cols + 3), 0.3);
        let before = numbers(rows * cols, 0.1);
        let (of_a, of_b) = (
            operand(&a, if a_rows { inner } else { rows }, a_rows),
            operand(&b, if b_rows { cols } else { inner }, b_rows),
        );
        let product = |threads: usize| {
            let mut out = before.clone();
            let product = Product {
                rows,
                cols,
                inner,
                a: of_a,
                b: of_b,
                out: out.as_mut_ptr(),
                out_stride: cols,
                scale,
                add,
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            // SAFETY: the sizes and strides are those of the vectors.
            pool.expect("a pool")
                .install(|| unsafe { product.compute(true) });
            out
        };
        let found = product(1);
        let at = |numbers: &[f32], of: Operand, row: usize, col: usize| {
            f64::from(numbers[row * of.row_stride + col * of.col_stride])
        };
        for i in 0..rows {
            for j in 0..cols {
                let terms = (0..inner).map(|k| at(&a, of_a, i, k) * at(&b, of_b, k, j));
                let sum = f64::from(scale) * terms.sum::<f64>();
                let wanted = sum
                    + if add {
                        f64::from(before[i * cols + j])
                    } else {
                        0.0
                    };
                let gap = (f64::from(found[i * cols + j]) - wanted).abs();
                assert!(gap < 1e-4, "{rows}×{inner}×{cols} at {i}, {j}: {gap}");
            }
        }
        assert_eq!(product(3), found, "{rows}×{inner}×{cols} by three threads");
    }

    #[test]
    fn every_layout_and_remainder() {
        for a_rows in [false, true] {
            for b_rows in [false, true] {
                for add in [false, true] {
                    let layout = [a_rows, b_rows, add];
                    for rows in 1..=13 {
                        check([rows, 9, 33], layout, 1.0);
                    }
                    for cols in [1, 7, 8, 15, 16, 17, 31, 32, 40, 63, 65] {
                        check([5, 17, cols], layout, 0.3);
                    }
                    for inner in [0, 1, 8, 511, 512, 513, 1030] {
                        check([14, inner, 20], layout, -2.0);
                    }
                }
            }
        }
    }

    /// Many columns, few columns and many rows, one row.
    #[test]
    fn threads_share_products_of_every_shape() {
        for shape in [
            [40, 300, 700],
            [900, 300, 20],
            [1, 600, 5000],
            [700, 600, 1],
            [0, 5, 7],
            [5, 7, 0],
        ] {
            check(shape, [true, true, false], 1.0);
            check(shape, [true, false, true], 1.0);
        }
    }
}
