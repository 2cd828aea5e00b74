//! How element-wise work is cut: chunks that stay in the second-level cache.

/// Numbers a task takes.
pub(crate) const CHUNK: usize = 16_384;
