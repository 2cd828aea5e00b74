//! Rows by index, wherever they are kept.

use crate::error::DataError;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A fixed number of rows that can be read in any order, as often as wanted, from any thread.
pub trait RowSource: Send + Sync {
    /// What a row is.
    type Row;

    /// The number of rows; it doesn't change.
    fn len(&self) -> usize;

    /// The row of an index, the same one every time.
    ///
    /// # Errors
    /// What went wrong where the rows are kept.
    ///
    /// # Panics
    /// If the index is not below `len()`, as slices do.
    fn get(&self, index: usize) -> Result<Self::Row, DataError>;

    /// Whether there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone + Send + Sync> RowSource for Vec<T> {
    type Row = T;

    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, index: usize) -> Result<T, DataError> {
        Ok(self[index].clone())
    }
}

impl<S: RowSource + ?Sized> RowSource for &S {
    type Row = S::Row;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<S::Row, DataError> {
        (**self).get(index)
    }
}

impl<S: RowSource + ?Sized> RowSource for Box<S> {
    type Row = S::Row;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<S::Row, DataError> {
        (**self).get(index)
    }
}

/// Checks that a source keeps the promises of [`RowSource`]; for the tests of whoever implements
/// it.
///
/// # Panics
/// If it does not, saying which promise was broken.
pub fn check_row_source<S>(source: &S)
where
    S: RowSource + ?Sized,
    S::Row: PartialEq + Debug + Send,
{
    let len = source.len();
    assert_eq!(source.is_empty(), len == 0, "`is_empty` and `len` disagree");
    let row = |index: usize| source.get(index).expect("a row within bounds can be read");
    let first: Vec<_> = (0..len).map(row).collect();
    for index in (0..len).rev() {
        assert_eq!(
            row(index),
            first[index],
            "row {index} differs when it is read again"
        );
    }
    let elsewhere = std::thread::scope(|scope| {
        scope
            .spawn(|| (0..len).map(row).collect::<Vec<_>>())
            .join()
            .expect("reading in a thread")
    });
    assert_eq!(elsewhere, first, "another thread reads other rows");
    assert_eq!(source.len(), len, "`len` changed by reading");
    let beyond = catch_unwind(AssertUnwindSafe(|| source.get(len).is_ok()));
    assert!(beyond.is_err(), "an index beyond the rows must panic");
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(std::sync::atomic::AtomicUsize);

    impl RowSource for Broken {
        type Row = usize;

        fn len(&self) -> usize {
            2
        }

        fn get(&self, index: usize) -> Result<usize, DataError> {
            assert!(index < 2);
            Ok(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        }
    }

    #[test]
    fn rows_in_memory_keep_the_promises() {
        let rows = vec!["a".to_owned(), "b".to_owned()];
        check_row_source(&rows);
        check_row_source(&&rows);
        let boxed: Box<dyn RowSource<Row = String>> = Box::new(rows);
        check_row_source(&boxed);
        check_row_source(&Vec::<u8>::new());
    }

    #[test]
    #[should_panic(expected = "differs when it is read again")]
    fn a_source_that_changes_is_caught() {
        check_row_source(&Broken(0.into()));
    }
}
