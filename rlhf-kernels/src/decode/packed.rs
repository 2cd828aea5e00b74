//! Products of few rows with a matrix that was laid out for it once.

use std::ops::Range;

use burn::tensor::bf16;
use rayon::prelude::*;

use crate::fast::buffer::Shared;
use crate::fast::vector::{Vector, prefetch, with_vectors};

/// Columns of a panel.
const WIDTH: usize = 32;
/// How many rows of a panel ahead memory is asked for.
const DISTANCE: usize = 32;

/// One row of a panel: whole cache lines, or half of one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Line<T: Stored>([T::Aligned; 0], [T; WIDTH]);

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct WholeLine;

#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct HalfLine;

/// A number as it is stored.
trait Stored: Copy + Default + Send + Sync {
    /// What a panel's rows begin with.
    type Aligned: Copy + Send + Sync;

    /// The scale of a column whose largest number has this absolute value.
    fn scale(largest: f32) -> f32 {
        let _ = largest;
        1.0
    }

    /// The nearest.
    fn of(x: f32) -> Self;

    /// A register of them.
    ///
    /// # Safety
    /// As many lie at the address.
    unsafe fn load<V: Vector>(from: *const Self) -> V;
}

impl Stored for f32 {
    type Aligned = WholeLine;

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
    type Aligned = WholeLine;

    fn of(x: f32) -> Self {
        Self::from_f32(x)
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: by the caller's promise; the type is a `u16` to the memory.
        unsafe { V::load_bf16(from.cast()) }
    }
}

impl Stored for i8 {
    type Aligned = HalfLine;

    /// NaN of a column that holds anything but numbers, so that its outputs are none either.
    fn scale(largest: f32) -> f32 {
        match largest {
            0.0 => 1.0,
            _ if largest.is_finite() => largest / 127.0,
            _ => f32::NAN,
        }
    }

    fn of(x: f32) -> Self {
        x.round_ties_even() as Self
    }

    #[inline(always)]
    unsafe fn load<V: Vector>(from: *const Self) -> V {
        // SAFETY: by the caller's promise.
        unsafe { V::load_i8(from) }
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
    /// Rounded to 255 steps of a column's own size: a quarter of the memory.
    Int8,
}

#[derive(Clone, Debug)]
enum Lines {
    F32(Vec<Line<f32>>),
    Bf16(Vec<Line<bf16>>),
    Int8(Vec<Line<i8>>),
}

/// A matrix `[inputs, outputs]` in panels of 32 columns, each panel's rows one after the other, the
/// last one filled up with zeros: a product reads memory in order, once for every eight rows.
#[derive(Clone, Debug)]
pub struct PackedMatrix {
    lines: Lines,
    /// What a column's numbers are to be multiplied with; empty where that is 1.
    scales: Vec<f32>,
    inputs: usize,
    outputs: usize,
    streamed: bool,
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
        let (lines, scales) = match storage {
            Storage::F32 => (Lines::F32(packed(inputs, sides, &[])), Vec::new()),
            Storage::Bf16 => (Lines::Bf16(packed(inputs, sides, &[])), Vec::new()),
            Storage::Int8 => {
                let scales = scales::<i8>(inputs, sides);
                (Lines::Int8(packed(inputs, sides, &scales)), scales)
            }
        };
        Self {
            lines,
            scales,
            inputs,
            streamed: false,
            outputs: sides.iter().map(|side| side.len() / inputs).sum(),
        }
    }

    /// One of many that are read in turn and do not stay in the caches together: their memory is
    /// asked for ahead, since processors do not look ahead into the next page.
    pub fn streamed(self, streamed: bool) -> Self {
        Self { streamed, ..self }
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
        let place = Place {
            out: Shared::new(out),
            scales: &self.scales,
            outputs: self.outputs,
            from: 0,
            ahead: self.streamed,
        };
        match &self.lines {
            Lines::F32(lines) => shared(lines, x, place, self.inputs, of_f32),
            Lines::Bf16(lines) => shared(lines, x, place, self.inputs, of_bf16),
            Lines::Int8(lines) => shared(lines, x, place, self.inputs, of_int8),
        }
    }
}

/// Multiplications of a thread's part of a product at least; waking one costs as much as some 100,000.
const FEWEST: usize = 1 << 18;
/// Parts of a product for each thread, so that one that is held up does not hold up the others.
const PARTS: usize = 2;

/// Does the panels in runs that the threads share.
fn shared<T: Stored>(
    lines: &[Line<T>],
    x: &[f32],
    place: Place<'_>,
    inputs: usize,
    product: fn(&[Line<T>], usize, &[f32], Place<'_>),
) {
    let panels = lines.len() / inputs;
    let threads = rayon::current_num_threads();
    let parts = (panels * WIDTH * x.len() / FEWEST).clamp(1, PARTS * threads);
    if threads < 2 || parts < 2 {
        return product(lines, inputs, x, place);
    }
    let run = panels.div_ceil(parts);
    lines
        .par_chunks(run * inputs)
        .enumerate()
        .for_each(|(part, lines)| {
            let from = part * run * WIDTH;
            product(lines, inputs, x, Place { from, ..place });
        });
}

/// Where panels are written: columns of the output from `from` on.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    out: Shared,
    /// As the matrix has them.
    scales: &'a [f32],
    /// Width of the output.
    outputs: usize,
    from: usize,
    /// Whether memory is asked for ahead.
    ahead: bool,
}

fn of_f32(lines: &[Line<f32>], inputs: usize, x: &[f32], place: Place<'_>) {
    with_vectors!(all_tiles(lines: &[Line<f32>], inputs: usize, x: &[f32], place: Place<'_>));
}

fn of_bf16(lines: &[Line<bf16>], inputs: usize, x: &[f32], place: Place<'_>) {
    with_vectors!(all_tiles(lines: &[Line<bf16>], inputs: usize, x: &[f32], place: Place<'_>));
}

fn of_int8(lines: &[Line<i8>], inputs: usize, x: &[f32], place: Place<'_>) {
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

/// The scale of each column of matrices that stand side by side.
fn scales<T: Stored>(inputs: usize, sides: &[Side<'_>]) -> Vec<f32> {
    // Absolute values are compared by their bits, in which NaN is larger than any number.
    let magnitude = |x: &f32| x.abs().to_bits();
    let mut scales = Vec::new();
    for side in sides {
        let width = side.len() / inputs;
        let mut largest = vec![0; width];
        match side {
            Side::Columns(numbers) => {
                for row in numbers.chunks_exact(width.max(1)) {
                    let both = largest.iter_mut().zip(row);
                    both.for_each(|(largest, x)| *largest = magnitude(x).max(*largest));
                }
            }
            Side::Rows(numbers) => {
                for (largest, column) in largest.iter_mut().zip(numbers.chunks_exact(inputs)) {
                    *largest = column.iter().map(magnitude).max().unwrap_or(0);
                }
            }
        }
        scales.extend(
            largest
                .into_iter()
                .map(|bits| T::scale(f32::from_bits(bits))),
        );
    }
    scales
}

/// The panels of matrices that stand side by side, each number divided by the scale of its column
/// where there are scales.
fn packed<T: Stored>(inputs: usize, sides: &[Side<'_>], scales: &[f32]) -> Vec<Line<T>> {
    let outputs: usize = sides.iter().map(|side| side.len() / inputs).sum();
    let mut lines = vec![Line([], [T::default(); WIDTH]); outputs.div_ceil(WIDTH) * inputs];
    lines
        .par_chunks_mut(inputs)
        .enumerate()
        .for_each(|(panel, lines)| fill(lines, panel * WIDTH, sides, scales));
    lines
}

/// Copies columns `from..from + WIDTH` of matrices that stand side by side.
fn fill<T: Stored>(lines: &mut [Line<T>], from: usize, sides: &[Side<'_>], scales: &[f32]) {
    let inputs = lines.len();
    let stored = |number: f32, column: usize| match scales.get(column) {
        Some(scale) => T::of(number / scale),
        None => T::of(number),
    };
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
                        let numbers = line.1[here..here + n].iter_mut().zip(&row[there..]);
                        for (column, (to, number)) in columns.clone().zip(numbers) {
                            *to = stored(*number, column);
                        }
                    }
                }
                Side::Rows(numbers) => {
                    let each = numbers[there * inputs..].chunks_exact(inputs).take(n);
                    for (j, numbers) in each.enumerate() {
                        for (line, number) in lines.iter_mut().zip(numbers) {
                            line.1[here + j] = stored(*number, columns.start + j);
                        }
                    }
                }
            }
        }
        start += width;
    }
}
