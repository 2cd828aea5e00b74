//! A tensor's numbers, read in place.

use burn::tensor::Tensor;

use crate::fast::{self, storage};

/// The numbers of a tensor, row after row; shared with it, not copied, where it holds them so.
#[derive(Clone, Debug)]
pub struct Numbers(storage::FlexFloat);

impl Numbers {
    /// Those of a tensor on flex in `f32`, tracked or not; `None` of any other.
    pub fn of<const D: usize>(tensor: Tensor<D>) -> Option<Self> {
        fast::runs_on(&tensor).then(|| Self(storage::dense(storage::into_flex(tensor))))
    }
}

impl std::ops::Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        storage::numbers(&self.0)
    }
}
