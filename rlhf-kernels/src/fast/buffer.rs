//! New buffers that are written once instead of being zeroed first.

use std::mem::MaybeUninit;

/// A slice whose numbers have not been written yet.
pub(crate) type Unwritten = [MaybeUninit<f32>];

/// A new vector of `len` numbers, all written by `fill`.
///
/// # Safety
/// `fill` must write every element before it returns.
pub(crate) unsafe fn written(len: usize, fill: impl FnOnce(&mut Unwritten)) -> Vec<f32> {
    let mut out = Vec::with_capacity(len);
    fill(&mut out.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is `len`, and the caller vouches that all of it was written.
    unsafe { out.set_len(len) };
    out
}

/// One output buffer that several tasks write at once, each its own interleaved part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: a pointer and a length; whoever turns them into a place to write vouches for it there.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(buffer: &mut [f32]) -> Self {
        Self {
            start: buffer.as_mut_ptr(),
            len: buffer.len(),
        }
    }

    pub(crate) fn unwritten(buffer: &mut Unwritten) -> Self {
        Self {
            start: buffer.as_mut_ptr().cast(),
            len: buffer.len(),
        }
    }

    /// The address of element `offset`, from which `reach` elements lie inside the buffer.
    pub(crate) fn at(self, offset: usize, reach: usize) -> *mut f32 {
        assert!(
            offset + reach <= self.len,
            "a task's part lies outside of its buffer"
        );
        // SAFETY: inside the allocation by the assertion.
        unsafe { self.start.add(offset) }
    }
}
