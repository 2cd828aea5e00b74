//! Matrices side by side, copied into panels.

use rayon::prelude::*;

use super::stored::{Line, Stored, WIDTH};

/// A matrix that becomes some columns of a packed one.
#[derive(Clone, Copy, Debug)]
pub enum Side<'a> {
    /// `[inputs, outputs]`, row after row.
    Columns(&'a [f32]),
    /// `[outputs, inputs]`: the columns one after the other, as a tied embedding table has them.
    Rows(&'a [f32]),
}

impl Side<'_> {
    pub(super) fn len(self) -> usize {
        match self {
            Self::Columns(numbers) | Self::Rows(numbers) => numbers.len(),
        }
    }
}

/// The scale of each column of matrices that stand side by side.
pub(super) fn scales<T: Stored>(inputs: usize, sides: &[Side<'_>]) -> Vec<f32> {
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
pub(super) fn packed<T: Stored>(inputs: usize, sides: &[Side<'_>], scales: &[f32]) -> Vec<Line<T>> {
    let outputs: usize = sides.iter().map(|side| side.len() / inputs).sum();
    let mut lines = vec![Line::zero(); outputs.div_ceil(WIDTH) * inputs];
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
