//! Independent parts of a piece of work, each on a core of its own.
//!
//! Inside one small matrix product two cores get in each other's way; each with rows of its own they
//! don't. What a part computes never depends on how many threads there are.

use crate::device::is_flex;
use burn::tensor::Device;

/// Whether work on a device gains by parts: where the CPU computes through `flex`. Every other device
/// spreads each operation itself, the better the larger it is.
pub fn takes_parts(device: &Device) -> bool {
    is_flex(device)
}

/// How many parts can be worked on at once: the threads of the program where a device takes parts,
/// else one.
pub fn cores(device: &Device) -> usize {
    if takes_parts(device) {
        pools::threads()
    } else {
        1
    }
}

/// The threads of the program.
#[cfg(feature = "flex")]
pub(crate) fn available_cores() -> usize {
    pools::threads()
}

/// Sets the threads of the program; possible before the first operation only. Without it there is
/// one for each core, or as many as `RAYON_NUM_THREADS` says.
///
/// # Errors
/// If threads have been started already, or can't be.
pub fn set_threads(threads: usize) -> Result<(), String> {
    pools::set_threads(threads)
}

/// A part of fewer rows than this is not worth a core: matrix products are filled up to as many.
const FEWEST_ROWS: usize = 8;

/// How many rows go into a forward pass, at most `most`, so that every core has some. For rows that
/// don't depend on which others they share a batch with.
pub fn rows_at_once(rows: usize, most: usize, device: &Device) -> usize {
    let rows = rows.clamp(1, most.max(1));
    rows.div_ceil(cores(device)).max(FEWEST_ROWS.min(rows))
}

/// Does `work` on every part, on at most `cores` threads that take one part after the other; the
/// results come in the order of the parts. With fewer parts than cores, each part's operations
/// share the threads that are left over.
///
/// # Panics
/// If `work` does.
pub fn each_part<P: Sync, R: Send>(
    parts: &[P],
    cores: usize,
    work: impl Fn(&P) -> R + Sync,
) -> Vec<R> {
    let workers = cores.min(parts.len());
    if cores < 2 {
        return parts.iter().map(work).collect();
    }
    if workers < 2 {
        return pools::inside(|| parts.iter().map(&work).collect());
    }
    pools::each(parts, workers, cores / workers, work)
}

#[cfg(feature = "flex")]
mod pools {
    use rayon::{ThreadPool, ThreadPoolBuilder};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};

    /// Pools that were made. They stay: a thread that ends gives its memory back, and the next one
    /// would have to ask for it again.
    static POOLS: Mutex<Vec<Pools>> = Mutex::new(Vec::new());

    struct Pools {
        /// Threads of each.
        threads: usize,
        pools: Arc<[ThreadPool]>,
    }

    pub(super) fn threads() -> usize {
        rayon::current_num_threads()
    }

    pub(super) fn set_threads(threads: usize) -> Result<(), String> {
        let pool = ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global().map_err(|e| e.to_string())
    }

    /// None where the system gives no more threads.
    fn pools(workers: usize, threads: usize) -> Option<Arc<[ThreadPool]>> {
        let mut known = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        let fit = |known: &&Pools| known.threads == threads && known.pools.len() == workers;
        if let Some(found) = known.iter().find(fit) {
            return Some(Arc::clone(&found.pools));
        }
        let pool = || ThreadPoolBuilder::new().num_threads(threads).build().ok();
        let pools: Arc<[ThreadPool]> = (0..workers).map(|_| pool()).collect::<Option<_>>()?;
        known.push(Pools {
            threads,
            pools: Arc::clone(&pools),
        });
        Some(pools)
    }

    /// On a thread of the pool that it is called from, or of the program's: what it shares then is
    /// at hand for the others, who need not be woken from outside.
    pub(super) fn inside<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        rayon::scope(|_| work())
    }

    pub(super) fn each<P: Sync, R: Send>(
        parts: &[P],
        workers: usize,
        threads: usize,
        work: impl Fn(&P) -> R + Sync,
    ) -> Vec<R> {
        let Some(pools) = pools(workers, threads) else {
            return parts.iter().map(work).collect();
        };
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let take = || {
            while let Some(part) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                parts.get(at).map(|part| (at, part))
            } {
                let result = (part.0, work(part.1));
                done.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(result);
            }
        };
        in_all(&pools, &take);
        let mut done: Vec<(usize, R)> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|&(at, _)| at);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Runs `work` once in every pool at the same time.
    fn in_all(pools: &[ThreadPool], work: &(impl Fn() + Sync)) {
        if let Some((pool, others)) = pools.split_first() {
            pool.in_place_scope(|scope| {
                scope.spawn(|_| work());
                in_all(others, work);
            });
        }
    }
}

#[cfg(not(feature = "flex"))]
mod pools {
    pub(super) fn threads() -> usize {
        1
    }

    pub(super) fn set_threads(_: usize) -> Result<(), String> {
        Err("this program was built without the feature `flex`".to_owned())
    }

    pub(super) fn inside<R>(work: impl FnOnce() -> R) -> R {
        work()
    }

    pub(super) fn each<P, R>(parts: &[P], _: usize, _: usize, work: impl Fn(&P) -> R) -> Vec<R> {
        parts.iter().map(work).collect()
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_parts() {
        let parts: Vec<usize> = (0..100).collect();
        for cores in [1, 2, 3, 200] {
            let squares = each_part(&parts, cores, |&x| x * x);
            assert!(squares.iter().enumerate().all(|(i, &x)| x == i * i));
        }
        assert!(each_part(&[0usize; 0], 4, |&x| x).is_empty());
    }

    #[test]
    fn parts_inside_of_parts_and_threads_left_over() {
        let sums = each_part(&[1usize, 2], 6, |&x| {
            assert_eq!(pools::threads(), 3);
            each_part(&[x, 10 * x], 3, |&y| y)
                .into_iter()
                .sum::<usize>()
        });
        assert_eq!(sums, [11, 22]);
    }

    #[test]
    #[should_panic(expected = "part 3")]
    fn a_panic_reaches_the_caller() {
        each_part(&[1, 2, 3], 2, |&x| assert!(x < 3, "part {x}"));
    }
}
