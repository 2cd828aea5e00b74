//! Products of few rows with a matrix that was laid out for it once.

use std::ops::Range;

use rayon::prelude::*;

use super::vector::{Vector, with_vectors};

/// Columns of a panel.
const WIDTH: usize = 32;

/// One row of a panel: two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([f32; WIDTH]);

/// A matrix `[inputs, outputs]` in panels of 32 columns, each panel's rows one after the other, the
/// last one filled up with zeros: a product reads memory in order, once for every eight rows.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    lines: Vec<Line>,
    inputs: usize,
    outputs: usize,
}

/// A matrix that becomes some columns of a packed one.
#[derive(Clone, Copy, Debug)]
pub enum Side<'a> {
    /// `[inputs, outputs]`, row after row.
    Columns(&'a [f32]),
    /// `[outputs, inputs]`: the columns one after the other, as a tied embedding table has them.
    Rows(&'a [f32]),
}

impl Side<'_> {
    fn len(self) -> usize {
        match self {
            Self::Columns(numbers) | Self::Rows(numbers) => numbers.len(),
        }
    }
}

impl PackedMatrix {
    /// Matrices of `inputs` rows, side by side.
    ///
    /// # Panics
    /// If a matrix is no multiple of `inputs`, which is not 0.
    pub fn new(inputs: usize, sides: &[Side<'_>]) -> Self {
        let whole = |side: &Side<'_>| inputs > 0 && side.len().is_multiple_of(inputs);
        assert!(
            sides.iter().all(whole),
            "a matrix does not have {inputs} rows"
        );
        let outputs = sides.iter().map(|side| side.len() / inputs).sum::<usize>();
        let mut lines = vec![Line([0.0; WIDTH]); outputs.div_ceil(WIDTH) * inputs];
        lines
            .par_chunks_mut(inputs)
            .enumerate()
            .for_each(|(panel, lines)| fill(lines, panel * WIDTH, sides));
        Self {
            lines,
            inputs,
            outputs,
        }
    }

    /// Width of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// One row of [`Side::Rows`], which is column `column` here.
    pub fn column(&self, column: usize, out: &mut [f32]) {
        let lines = &self.lines[column / WIDTH * self.inputs..][..self.inputs];
        for (out, line) in out.iter_mut().zip(lines) {
            *out = line.0[column % WIDTH];
        }
    }

    /// Writes `x · self`: `x` `[rows, inputs]`, `out` `[rows, outputs]`. Each number is one chain of
    /// fused multiply-adds in the order of the inputs.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn product(&self, x: &[f32], out: &mut [f32]) {
        let rows = x.len() / self.inputs;
        assert!(
            x.len() == rows * self.inputs && out.len() == rows * self.outputs,
            "{} numbers by a [{}, {}] matrix do not give {}",
            x.len(),
            self.inputs,
            self.outputs,
            out.len()
        );
        let matrix = self;
        with_vectors!(all_tiles(matrix: &PackedMatrix, x: &[f32], out: &mut [f32]));
    }
}

/// The product in tiles that fit the registers: eight rows by 32 columns with AVX-512, six by 16 with
/// AVX2.
#[inline(always)]
fn all_tiles<V: Vector>(matrix: &PackedMatrix, x: &[f32], out: &mut [f32]) {
    let (inputs, outputs) = (matrix.inputs, matrix.outputs);
    let rows = if V::LEN == 16 { 8 } else { 6 };
    for (panel, lines) in matrix.lines.chunks_exact(inputs).enumerate() {
        for part in (0..WIDTH).step_by(2 * V::LEN) {
            let from = panel * WIDTH + part;
            if from >= outputs {
                break;
            }
            let tile = Tile {
                lines,
                part,
                columns: from..outputs.min(from + 2 * V::LEN),
                outputs,
            };
            let x = x.chunks(rows * inputs);
            for (x, out) in x.zip(out.chunks_mut(rows * outputs)) {
                if tile.columns.len() > V::LEN {
                    tile.write_rows::<V, 2>(x, out);
                } else {
                    tile.write_rows::<V, 1>(x, out);
                }
            }
        }
    }
}

/// Some columns of a product.
struct Tile<'a> {
    /// A panel.
    lines: &'a [Line],
    /// Where the columns start in it.
    part: usize,
    /// Where they are in the output.
    columns: Range<usize>,
    outputs: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn write_rows<V: Vector, const N: usize>(&self, x: &[f32], out: &mut [f32]) {
        match x.len() / self.lines.len() {
            1 => self.write::<V, N, 1>(x, out),
            2 => self.write::<V, N, 2>(x, out),
            3 => self.write::<V, N, 3>(x, out),
            4 => self.write::<V, N, 4>(x, out),
            5 => self.write::<V, N, 5>(x, out),
            6 => self.write::<V, N, 6>(x, out),
            7 => self.write::<V, N, 7>(x, out),
            _ => self.write::<V, N, 8>(x, out),
        }
    }

    /// `ROWS` rows by `N` registers.
    #[inline(always)]
    fn write<V: Vector, const N: usize, const ROWS: usize>(&self, x: &[f32], out: &mut [f32]) {
        let inputs = self.lines.len();
        assert!(x.len() >= ROWS * inputs && self.part + N * V::LEN <= WIDTH);
        let mut sums = [[V::zero(); N]; ROWS];
        for (k, line) in self.lines.iter().enumerate() {
            let line = line.0.as_ptr();
            // SAFETY: the registers' numbers lie within a line, by the assertion.
            let line: [V; N] =
                std::array::from_fn(|n| unsafe { V::load(line.add(self.part + n * V::LEN)) });
            for (row, sums) in sums.iter_mut().enumerate() {
                // SAFETY: `k < inputs` and `row < ROWS`, so this lies within `x`, by the assertion.
                let x = V::splat(unsafe { *x.get_unchecked(row * inputs + k) });
                for (sum, numbers) in sums.iter_mut().zip(line) {
                    *sum = x.mul_add(numbers, *sum);
                }
            }
        }
        for (sums, out) in sums.into_iter().zip(out.chunks_mut(self.outputs)) {
            let out = &mut out[self.columns.clone()];
            let mut numbers = [0f32; WIDTH];
            let to = if out.len() == N * V::LEN {
                out.as_mut_ptr()
            } else {
                numbers.as_mut_ptr()
            };
            for (n, sum) in sums.into_iter().enumerate() {
                // SAFETY: both have place for `N` registers.
                unsafe { sum.store(to.add(n * V::LEN)) };
            }
            if out.len() != N * V::LEN {
                out.copy_from_slice(&numbers[..out.len()]);
            }
        }
    }
}

/// Copies columns `from..from + WIDTH` of matrices that stand side by side.
fn fill(lines: &mut [Line], from: usize, sides: &[Side<'_>]) {
    let inputs = lines.len();
    let mut start = 0;
    for side in sides {
        let width = side.len() / inputs;
        let columns = from.max(start)..(from + WIDTH).min(start + width);
        if !columns.is_empty() {
            let (here, there) = (columns.start - from, columns.start - start);
            let n = columns.len();
            match side {
                Side::Columns(numbers) => {
                    for (line, row) in lines.iter_mut().zip(numbers.chunks_exact(width)) {
                        line.0[here..here + n].copy_from_slice(&row[there..there + n]);
                    }
                }
                Side::Rows(numbers) => {
                    let columns = numbers[there * inputs..].chunks_exact(inputs).take(n);
                    for (j, column) in columns.enumerate() {
                        for (line, number) in lines.iter_mut().zip(column) {
                            line.0[here + j] = *number;
                        }
                    }
                }
            }
        }
        start += width;
    }
}
