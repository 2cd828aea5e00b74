//! How many parts of a piece of work there are to be at once, by the device that works on them.

use crate::device::is_flex;
use burn::tensor::Device;
pub use rlhf_kernels::parts::each_part;

/// Whether work on a device gains by parts: where the CPU computes through `flex`. Every other device
/// spreads each operation itself, the better the larger it is.
pub fn takes_parts(device: &Device) -> bool {
    is_flex(device)
}

/// How many parts can be worked on at once: the threads of the program where a device takes parts,
/// else one.
pub fn cores(device: &Device) -> usize {
    if takes_parts(device) {
        available_cores()
    } else {
        1
    }
}

/// The threads of the program.
#[cfg(feature = "flex")]
pub(crate) fn available_cores() -> usize {
    rayon::current_num_threads()
}

#[cfg(not(feature = "flex"))]
fn available_cores() -> usize {
    1
}

/// Sets the threads of the program; possible before the first operation only. Without it there is
/// one for each core, or as many as `RAYON_NUM_THREADS` says.
///
/// # Errors
/// If threads have been started already, or can't be.
#[cfg(feature = "flex")]
pub fn set_threads(threads: usize) -> Result<(), String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().map_err(|e| e.to_string())
}

/// Threads are those of the feature `flex`.
///
/// # Errors
/// Always.
#[cfg(not(feature = "flex"))]
pub fn set_threads(_: usize) -> Result<(), String> {
    Err("this program was built without the feature `flex`".to_owned())
}

/// A part of fewer rows than this is not worth a core: matrix products are filled up to as many.
const FEWEST_ROWS: usize = 8;

/// How many rows go into a forward pass, at most `most`, so that every core has some. For rows that
/// don't depend on which others they share a batch with.
pub fn rows_at_once(rows: usize, most: usize, device: &Device) -> usize {
    let rows = rows.clamp(1, most.max(1));
    rows.div_ceil(cores(device)).max(FEWEST_ROWS.min(rows))
}
