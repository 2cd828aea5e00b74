//! Products of few rows with a matrix that was laid out for it once.

use std::ops::Range;

use burn::tensor::bf16;
use rayon::prelude::*;

use super::vector::{Vector, with_vectors};

/// Columns of a panel.
const WIDTH: usize = 32;

/// One row of a panel: whole cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line<T>([T; WIDTH]);

/// A number as it is stored.
trait Stored: Copy + Default + Send + Sync {
    /// The nearest.
    fn of(x: f32) -> Self;

    /// A register of them.
    ///
    /// # Safety
    /// As many lie at the address.
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

impl Stored for f32 {
    fn of(x: f32) -> Self {
        x
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: by the caller's promise.
        unsafe { V::load(from) }
    }
}

impl Stored for bf16 {
    fn of(x: f32) -> Self {
        Self::from_f32(x)
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: by the caller's promise; the type is a `u16` to the memory.
        unsafe { V::load_bf16(from.cast()) }
    }
}

/// How the numbers of a packed matrix are stored; products are summed in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// As they are.
    #[default]
    F32,
    /// Rounded to bfloat16: half of the memory, eight bits of precision.
    Bf16,
}

#[derive(Clone, Debug)]
enum Lines {
    F32(Vec<Line<f32>>),
    Bf16(Vec<Line<bf16>>),
}

/// A matrix `[inputs, outputs]` in panels of 32 columns, each panel's rows one after the other, the
/// last one filled up with zeros: a product reads memory in order, once for every eight rows.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    lines: Lines,
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
    pub fn new(inputs: usize, sides: &[Side<'_>], storage: Storage) -> Self {
        let whole = |side: &Side<'_>| inputs > 0 && side.len().is_multiple_of(inputs);
        assert!(
            sides.iter().all(whole),
            "a matrix does not have {inputs} rows"
        );
        Self {
            lines: match storage {
                Storage::F32 => Lines::F32(packed(inputs, sides)),
                Storage::Bf16 => Lines::Bf16(packed(inputs, sides)),
            },
            inputs,
            outputs: sides.iter().map(|side| side.len() / inputs).sum(),
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
        let sizes = [self.inputs, self.outputs];
        match &self.lines {
            Lines::F32(lines) => of_f32(lines, sizes, x, out),
            Lines::Bf16(lines) => of_bf16(lines, sizes, x, out),
        }
    }
}

fn of_f32(lines: &[Line<f32>], sizes: [usize; 2], x: &[f32], out: &mut [f32]) {
    with_vectors!(all_tiles(lines: &[Line<f32>], sizes: [usize; 2], x: &[f32], out: &mut [f32]));
}

fn of_bf16(lines: &[Line<bf16>], sizes: [usize; 2], x: &[f32], out: &mut [f32]) {
    with_vectors!(
        all_tiles(lines: &[Line<bf16>], sizes: [usize; 2], x: &[f32], out: &mut [f32])
    );
}

/// The product in tiles that fit the registers: eight rows by 32 columns with AVX-512, six by 16 with
/// AVX2.
#[inline(always)]
fn all_tiles<V: Vector>(
    lines: &[Line<impl Stored>],
    [inputs, outputs]: [usize; 2],
    x: &[f32],
    out: &mut [f32],
) {
    let rows = if V::LEN == 16 { 8 } else { 6 };
    for (panel, lines) in lines.chunks_exact(inputs).enumerate() {
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
struct Tile<'a, T> {
    /// A panel.
    lines: &'a [Line<T>],
    /// Where the columns start in it.
    part: usize,
    /// Where they are in the output.
    columns: Range<usize>,
    outputs: usize,
}

impl<T: Stored> Tile<'_, T> {
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
                std::array::from_fn(|n| unsafe { T::load(line.add(self.part + n * V::LEN)) });
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

/// The panels of matrices that stand side by side.
fn packed<T: Stored>(inputs: usize, sides: &[Side<'_>]) -> Vec<Line<T>> {
    let outputs: usize = sides.iter().map(|side| side.len() / inputs).sum();
    let mut lines = vec![Line([T::default(); WIDTH]); outputs.div_ceil(WIDTH) * inputs];
    lines
        .par_chunks_mut(inputs)
        .enumerate()
        .for_each(|(panel, lines)| fill(lines, panel * WIDTH, sides));
    lines
}

/// Copies columns `from..from + WIDTH` of matrices that stand side by side.
fn fill<T: Stored>(lines: &mut [Line<T>], from: usize, sides: &[Side<'_>]) {
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
                        let numbers = line.0[here..here + n].iter_mut().zip(&row[there..]);
                        numbers.for_each(|(to, number)| *to = T::of(*number));
                    }
                }
                Side::Rows(numbers) => {
                    let columns = numbers[there * inputs..].chunks_exact(inputs).take(n);
                    for (j, column) in columns.enumerate() {
                        for (line, number) in lines.iter_mut().zip(column) {
                            line.0[here + j] = T::of(*number);
                        }
                    }
                }
            }
        }
        start += width;
    }
}
