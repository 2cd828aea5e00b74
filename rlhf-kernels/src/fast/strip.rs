//! One head's rows inside a `[batch, time, heads, head_dim]` slice.

use std::borrow::Cow;

use super::product::Matrix;
use super::simd::{finite, simd};

simd! {
/// Whether all rows of `width`, `stride` apart, are free of infinities and NaN.
fn rows_finite(data: &[f32], stride: usize, width: usize) -> bool {
    data.chunks(stride).all(|row| finite(&row[..width]))
}
}

/// Rows `stride` apart, of `width` numbers each.
#[derive(Clone, Debug)]
pub(crate) struct Strip<'a> {
    data: Cow<'a, [f32]>,
    rows: usize,
    stride: usize,
    width: usize,
}

impl<'a> Strip<'a> {
    /// The rows of `data`, the first at its start.
    pub(crate) fn new(data: &'a [f32], rows: usize, stride: usize, width: usize) -> Self {
        let len = rows.checked_sub(1).map_or(0, |last| last * stride + width);
        Self {
            data: Cow::Borrowed(&data[..len]),
            rows,
            stride,
            width,
        }
    }

    /// Row `i`.
    pub(crate) fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.stride..i * self.stride + self.width]
    }

    /// Rows `from..to` as a matrix.
    pub(crate) fn rows(&self, from: usize, to: usize) -> Matrix<'_> {
        debug_assert!(from < to && to <= self.rows);
        Matrix::new(
            &self.data[from * self.stride..],
            to - from,
            self.width,
            self.stride,
        )
    }

    /// Whether rows `from..to` are free of infinities and NaN.
    pub(crate) fn finite(&self, from: usize, to: usize) -> bool {
        let end = (to - 1) * self.stride + self.width;
        rows_finite(&self.data[from * self.stride..end], self.stride, self.width)
    }

    /// A copy in which the rows that `drop` names are zero.
    pub(crate) fn without(&self, drop: impl Fn(usize) -> bool) -> Strip<'static> {
        let mut data = vec![0.0; self.rows * self.width];
        for (i, out) in data.chunks_mut(self.width).enumerate() {
            if !drop(i) {
                out.copy_from_slice(self.row(i));
            }
        }
        Strip {
            data: Cow::Owned(data),
            rows: self.rows,
            stride: self.width,
            width: self.width,
        }
    }
}
