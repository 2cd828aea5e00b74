//! How memory is taken: training takes and frees the same large blocks again and again, and blocks that
//! go back to the system each time come with new pages, which cost more than what is computed in them.
//!
//! The GNU C library's allocator joins what was freed and gives it out again in any size, so that it holds
//! little more than what is in use, if it is told to keep it; elsewhere mimalloc serves.

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes by which a heap grows at least.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GROWTH: libc::c_int = 16 << 20;

/// Tells the allocator to keep what is freed. To be called before there are threads.
pub(crate) fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "a function of the C library")]
    // SAFETY: it takes two numbers, and sets variables of the allocator that no other thread reads yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, -1);
        libc::mallopt(libc::M_TOP_PAD, GROWTH);
    }
}
