//! Matrix products over slices with any strides.

use std::marker::PhantomData;

use gemm::Parallelism;

use super::buffer::{Shared, Unwritten};
use super::tiles::{self, Operand, Product};
use crate::parts::threads;

/// A read-only matrix inside a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows `row_stride` apart, columns side by side.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize, row_stride: usize) -> Self {
        Self::strided(data, [rows, cols], [row_stride, 1])
    }

    /// Any strides, in elements; a row stride of 0 repeats one row.
    pub(crate) fn strided(data: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        let ([rows, cols], [row_stride, col_stride]) = (shape, strides);
        if rows > 0 && cols > 0 {
            let last = (rows - 1) * row_stride + (cols - 1) * col_stride;
            assert!(
                last < data.len(),
                "a {rows}×{cols} matrix lies outside of its slice"
            );
        }
        Self {
            data,
            rows,
            cols,
            row_stride,
            col_stride,
        }
    }

    pub(crate) fn rows(self) -> usize {
        self.rows
    }

    pub(crate) fn cols(self) -> usize {
        self.cols
    }

    fn operand(self) -> Operand {
        Operand {
            start: self.data.as_ptr(),
            row_stride: self.row_stride,
            col_stride: self.col_stride,
        }
    }

    /// The transposed matrix, no number moved.
    pub(crate) fn t(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// Where a product is written: rows `row_stride` apart, columns side by side.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    start: *mut f32,
    rows: usize,
    cols: usize,
    row_stride: usize,
    written: bool,
    buffer: PhantomData<&'a mut [f32]>,
}

impl<'a> Target<'a> {
    /// A whole `rows × cols` slice.
    pub(crate) fn new(data: &'a mut [f32], rows: usize, cols: usize) -> Self {
        assert!(
            rows * cols <= data.len(),
            "a product does not fit its buffer"
        );
        Self::at(data.as_mut_ptr(), [rows, cols, cols], true)
    }

    /// Rows `row_stride` apart in memory that holds nothing yet; [`Target::set`] writes it.
    pub(crate) fn unwritten(
        data: &'a mut Unwritten,
        rows: usize,
        cols: usize,
        row_stride: usize,
    ) -> Self {
        let fits = rows == 0 || cols == 0 || (rows - 1) * row_stride + cols <= data.len();
        assert!(
            fits && cols <= row_stride,
            "a product does not fit its buffer"
        );
        Self::at(data.as_mut_ptr().cast(), [rows, cols, row_stride], false)
    }

    /// Part of a buffer that other tasks write at the same time; `layout` is rows, columns and
    /// the row stride.
    ///
    /// # Safety
    /// The buffer outlives the target, and nothing else reads or writes these rows and columns
    /// while the target exists. With `written`, they hold numbers already.
    pub(crate) unsafe fn shared(
        buffer: Shared,
        offset: usize,
        layout: [usize; 3],
        written: bool,
    ) -> Self {
        let [rows, cols, row_stride] = layout;
        let reach = if rows == 0 {
            0
        } else {
            (rows - 1) * row_stride + cols
        };
        Self::at(buffer.at(offset, reach), layout, written)
    }

    fn at(start: *mut f32, [rows, cols, row_stride]: [usize; 3], written: bool) -> Self {
        Self {
            start,
            rows,
            cols,
            row_stride,
            written,
            buffer: PhantomData,
        }
    }

    /// Writes `scale · a·b`.
    pub(crate) fn set(self, a: Matrix<'_>, b: Matrix<'_>, scale: f32, threads: Threads) {
        self.product(a, b, scale, threads, false);
    }

    /// Adds `scale · a·b` to the numbers there.
    pub(crate) fn add(self, a: Matrix<'_>, b: Matrix<'_>, scale: f32, threads: Threads) {
        assert!(
            self.written,
            "a product is added to memory that was never written"
        );
        self.product(a, b, scale, threads, true);
    }

    fn product(self, a: Matrix<'_>, b: Matrix<'_>, scale: f32, threads: Threads, add: bool) {
        assert!(
            a.rows == self.rows && b.cols == self.cols && a.cols == b.rows,
            "a {}×{} by {}×{} product does not fit {}×{}",
            a.rows,
            a.cols,
            b.rows,
            b.cols,
            self.rows,
            self.cols
        );
        // SAFETY: the sizes agree by the assertion; each matrix lies inside its slice by its
        // constructor, and the target is exclusively ours by the constructor's borrow or promise.
        // Without `add` the target is not read.
        unsafe {
            if tiles::apply() {
                let product = Product {
                    rows: self.rows,
                    cols: self.cols,
                    inner: a.cols,
                    a: a.operand(),
                    b: b.operand(),
                    out: self.start,
                    out_stride: self.row_stride,
                    scale,
                    add,
                };
                return product.compute(matches!(threads, Threads::All));
            }
            gemm::gemm(
                self.rows,
                self.cols,
                a.cols,
                self.start,
                1,
                self.row_stride as isize,
                add,
                a.data.as_ptr(),
                a.col_stride as isize,
                a.row_stride as isize,
                b.data.as_ptr(),
                b.col_stride as isize,
                b.row_stride as isize,
                1.0,
                scale,
                false,
                false,
                false,
                threads.parallelism(),
            );
        }
    }
}

/// Who computes a product.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Threads {
    /// The calling thread: inside a task of the pool.
    One,
    /// All threads that can be had. The result has the same bits.
    All,
}

impl Threads {
    fn parallelism(self) -> Parallelism {
        match (self, threads()) {
            (Self::All, threads) if threads > 1 => Parallelism::Rayon(threads),
            _ => Parallelism::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_transposes_and_sums() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let (m, mut out) = (Matrix::new(&a, 2, 3, 3), [0.0; 4]);
        Target::new(&mut out, 2, 2).set(m, m.t(), 2.0, Threads::One);
        assert_eq!(out, [28.0, 64.0, 64.0, 154.0]);
        Target::new(&mut out, 2, 2).add(m, m.t(), 1.0, Threads::All);
        assert_eq!(out, [42.0, 96.0, 96.0, 231.0]);
        let twice = Matrix::strided(&a, [2, 3], [0, 1]);
        Target::new(&mut out, 2, 2).set(twice, m.t(), 1.0, Threads::One);
        assert_eq!(out, [14.0, 32.0, 14.0, 32.0]);
    }

    #[test]
    #[should_panic(expected = "lies outside")]
    fn a_matrix_never_leaves_its_slice() {
        let _ = Matrix::new(&[0.0; 5], 2, 3, 3);
    }
}
