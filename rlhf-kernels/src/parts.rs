//! Independent parts of a piece of work, each on a core of its own.
//!
//! Inside one small matrix product two cores get in each other's way; each with rows of its own they
//! don't. A core that finds no part left helps the others with theirs. What a part computes never
//! depends on how many threads there are.

#[cfg(feature = "flex")]
pub use pool::threads;

/// Does `work` on every part, on at most `cores` threads of the pool that take one part after the
/// other; the results come in the order of the parts. The fast kernels of a part run on its thread,
/// and on those too that have no part. Parts inside of a part, and all without the feature `flex`,
/// come one after the other.
///
/// # Panics
/// If `work` does.
pub fn each_part<P: Sync, R: Send>(
    parts: &[P],
    cores: usize,
    work: impl Fn(&P) -> R + Sync,
) -> Vec<R> {
    #[cfg(feature = "flex")]
    if cores > 1 && !parts.is_empty() && !pool::in_part() {
        return pool::each_part(parts, cores.min(parts.len()), work);
    }
    #[cfg(not(feature = "flex"))]
    let _ = cores;
    parts.iter().map(work).collect()
}

#[cfg(feature = "flex")]
mod pool {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::{Mutex, PoisonError};

    /// Threads of the pool that have found no part left while others have theirs.
    static FREE: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static IN_PART: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether this thread works on a part.
    pub(super) fn in_part() -> bool {
        IN_PART.get()
    }

    /// How many threads an operation may expect to share: in a part, its own and those without one.
    pub fn threads() -> usize {
        if in_part() {
            1 + FREE.load(Relaxed)
        } else {
            rayon::current_num_threads()
        }
    }

    /// The first parts always go to the same threads: the allocator keeps memory by thread, and what they
    /// take is what they have freed the last time.
    pub(super) fn each_part<P: Sync, R: Send>(
        parts: &[P],
        workers: usize,
        work: impl Fn(&P) -> R + Sync,
    ) -> Vec<R> {
        let workers = workers.min(rayon::current_num_threads());
        let (next, done) = (AtomicUsize::new(workers), Mutex::new(Vec::new()));
        let free = Freed::default();
        rayon::broadcast(|thread| {
            if thread.index() < workers {
                let _here = InPart::enter();
                let mut at = thread.index();
                while let Some(part) = parts.get(at) {
                    let result = (at, work(part));
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(result);
                    at = next.fetch_add(1, Relaxed);
                }
            }
            free.add_one();
        });
        let mut done: Vec<(usize, R)> = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|&(at, _)| at);
        done.into_iter().map(|(_, result)| result).collect()
    }

    /// Marks this thread as one that works on a part, until it is dropped.
    struct InPart {
        before: bool,
    }

    impl InPart {
        fn enter() -> Self {
            Self {
                before: IN_PART.replace(true),
            }
        }
    }

    impl Drop for InPart {
        fn drop(&mut self) {
            IN_PART.set(self.before);
        }
    }

    /// How many threads one call has freed; they are taken back with it.
    #[derive(Default)]
    struct Freed(AtomicUsize);

    impl Freed {
        fn add_one(&self) {
            self.0.fetch_add(1, Relaxed);
            FREE.fetch_add(1, Relaxed);
        }
    }

    impl Drop for Freed {
        fn drop(&mut self) {
            FREE.fetch_sub(self.0.load(Relaxed), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// One test at a time: free threads are counted for the whole program, those of another test too.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn results_come_in_the_order_of_the_parts() {
        let _alone = alone();
        let parts: Vec<usize> = (0..100).collect();
        for cores in [1, 2, 3, 200] {
            let squares = each_part(&parts, cores, |&x| x * x);
            assert!(squares.iter().enumerate().all(|(i, &x)| x == i * i));
        }
        assert!(each_part(&[0usize; 0], 4, |&x| x).is_empty());
    }

    #[test]
    fn parts_inside_of_parts_come_one_after_the_other() {
        let _alone = alone();
        let sums = each_part(&[1usize, 2], 2, |&x| {
            each_part(&[x, 10 * x], 2, |&y| y)
                .into_iter()
                .sum::<usize>()
        });
        assert_eq!(sums, [11, 22]);
    }

    #[cfg(feature = "flex")]
    #[test]
    fn a_thread_without_a_part_helps_the_others() {
        let _alone = alone();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build();
        let pool = pool.expect("three threads can be had");
        let wait_for = |wanted| {
            while threads() != wanted {
                std::thread::yield_now();
            }
        };
        pool.install(|| {
            assert_eq!(threads(), 3);
            // The third thread has no part; that of the short part is free in the end.
            each_part(&["short", "long"], 2, |&part| match part {
                "short" => wait_for(2),
                _ => wait_for(3),
            });
            assert_eq!(threads(), 3);
        });
    }

    #[test]
    #[should_panic(expected = "part 3")]
    fn a_panic_reaches_the_caller() {
        let _alone = alone();
        each_part(&[1, 2, 3], 2, |&x| assert!(x < 3, "part {x}"));
    }
}
