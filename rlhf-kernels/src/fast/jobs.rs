//! Running a list of independent pieces of work.

use rayon::prelude::*;

use crate::parts::threads;

/// Numbers that a task of element-wise work takes: they stay in the second-level cache.
pub(crate) const CHUNK: usize = 16_384;

/// Multiplications of a task of a matrix product at least, so that it is worth a thread.
pub(crate) const FEWEST_PRODUCTS: usize = 1 << 18;

/// Does `work` on every job; a single job stays on the calling thread, since waking the pool
/// costs more than a small job.
pub(crate) fn run<T: Send>(jobs: impl Iterator<Item = T>, work: impl Fn(T) + Send + Sync) {
    run_with(jobs, || (), |(), job| work(job));
}

/// As [`run`], with scratch memory that a thread's jobs share.
pub(crate) fn run_with<T: Send, S>(
    jobs: impl Iterator<Item = T>,
    scratch: impl Fn() -> S + Send + Sync,
    work: impl Fn(&mut S, T) + Send + Sync,
) {
    let jobs: Vec<T> = jobs.collect();
    if jobs.len() > 1 && threads() > 1 {
        jobs.into_par_iter().for_each_init(scratch, work);
    } else {
        let mut scratch = scratch();
        for job in jobs {
            work(&mut scratch, job);
        }
    }
}
