//! Numbers as a packed matrix holds them.

use burn::tensor::bf16;

use crate::fast::vector::Vector;

/// Columns of a panel.
pub(super) const WIDTH: usize = 32;

/// One row of a panel: whole cache lines, or half of one.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Line<T: Stored>([T::Aligned; 0], pub(super) [T; WIDTH]);

impl<T: Stored> Line<T> {
    pub(super) fn zero() -> Self {
        Self([], [T::default(); WIDTH])
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct WholeLine;

#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct HalfLine;

/// A number as it is stored.
pub(super) trait Stored: Copy + Default + Send + Sync {
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
