//! Parts of the rows on several threads.

/// Runs `work` on every part, on at most `threads` threads that take one part after the other;
/// results in the order of the parts.
#[cfg(feature = "flex")]
pub(super) fn each<P: Sync, R: Send>(
    parts: &[P],
    threads: usize,
    work: impl Fn(&P) -> R + Sync,
) -> Vec<R> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let threads = threads.min(parts.len());
    if threads < 2 {
        return parts.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(part) = parts.get(at) else {
                return done;
            };
            done.push((at, work(part)));
        }
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| alone(take))).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Vec<(usize, R)>>| {
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    results.sort_by_key(|&(at, _)| at);
    results.into_iter().map(|(_, result)| result).collect()
}

/// Runs `work` in a pool of one thread, so that matrix products inside it do not spread over the
/// other parts' threads.
#[cfg(feature = "flex")]
fn alone<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

/// The threads of this process's pool.
#[cfg(feature = "flex")]
pub(super) fn available() -> usize {
    rayon::current_num_threads()
}

#[cfg(not(feature = "flex"))]
pub(super) fn each<P, R>(parts: &[P], _: usize, work: impl Fn(&P) -> R) -> Vec<R> {
    parts.iter().map(work).collect()
}

#[cfg(not(feature = "flex"))]
pub(super) fn available() -> usize {
    1
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_parts() {
        let parts: Vec<usize> = (0..100).collect();
        for threads in [1, 2, 3, 200] {
            let squares = each(&parts, threads, |&x| x * x);
            assert!(squares.iter().enumerate().all(|(i, &x)| x == i * i));
        }
        assert!(each(&[0usize; 0], 4, |&x| x).is_empty());
    }
}
