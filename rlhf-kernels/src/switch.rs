//! The process-wide choice between the fast bodies and the plain ones.

use std::sync::atomic::{AtomicBool, Ordering};

/// Which bodies the operations of this crate run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The hand-written ones where they apply (flex, `f32`), else the plain ones.
    #[default]
    Fast,
    /// Plain tensor operations everywhere: slower, and the reference that the fast ones are
    /// tested against.
    Plain,
}

static PLAIN_ONLY: AtomicBool = AtomicBool::new(false);

/// Chooses the bodies for the whole process. Call it before the first operation: a forward and
/// its backward need not run the same bodies, but mixing them changes last bits.
pub fn set_kernels(kernels: Kernels) {
    PLAIN_ONLY.store(kernels == Kernels::Plain, Ordering::Relaxed);
}

/// The choice in force; [`Kernels::Fast`] unless [`set_kernels`] said otherwise.
pub fn kernels() -> Kernels {
    if PLAIN_ONLY.load(Ordering::Relaxed) {
        Kernels::Plain
    } else {
        Kernels::Fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_can_be_chosen_and_left() {
        set_kernels(Kernels::Plain);
        assert_eq!(kernels(), Kernels::Plain);
        set_kernels(Kernels::Fast);
        assert_eq!(kernels(), Kernels::Fast);
    }
}
