//! Rows of a table.

use burn::tensor::{Int, Tensor};

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// The row of each id: `table` `[vocabulary, d]`, `ids` `[n]` → `[n, d]`.
///
/// Fast: the gradient is added where the table's gradient lies, if an output head that shares it has
/// made one, and to the rows of these ids alone.
///
/// # Panics
/// If an id is outside of the table.
pub fn embedding(table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if fast::runs_on(&table) {
        return fast::embedding::embedding(table, ids);
    }
    plain::embedding(table, ids)
}
