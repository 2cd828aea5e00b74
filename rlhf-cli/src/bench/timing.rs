//! Timing a step again and again, and knowing when something else used the machine meanwhile.

use std::time::Instant;

/// Cores used by other processes above which a stretch of steps is set aside.
const DISTURBED: f64 = 0.15;
/// A stretch lasts at least as long: shorter ones can't be told from the clock's ticks.
const STRETCH: f64 = 0.3;
/// Steps at least.
const FEWEST: usize = 3;
/// How much longer than asked for a measurement may wait for a quiet machine.
const PATIENCE: f64 = 2.0;

/// How long the steps took that count.
#[derive(Clone, Debug)]
pub(super) struct Timed {
    /// Of each.
    pub(super) seconds: Vec<f64>,
    pub(super) own_cores: Option<f64>,
    pub(super) other_cores: Option<f64>,
    /// Whether too few steps went undisturbed, so that all are counted.
    pub(super) contended: bool,
}

impl Timed {
    pub(super) fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        }
    }

    pub(super) fn least(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(super) fn mean(&self) -> f64 {
        self.seconds.iter().sum::<f64>() / self.seconds.len() as f64
    }
}

/// Makes steps until undisturbed ones have lasted `seconds`, or all of them twice as long. The first
/// `warm` are not counted.
///
/// # Errors
/// The first error of a step.
pub(super) fn repeat<E>(
    seconds: f64,
    warm: usize,
    mut step: impl FnMut() -> Result<(), E>,
) -> Result<Timed, E> {
    for _ in 0..warm {
        step()?;
    }
    let (begin, whole) = (Instant::now(), Usage::now());
    // Seconds of each step, and whether it was disturbed.
    let mut steps: Vec<(f64, bool)> = Vec::new();
    loop {
        let (stretch, usage, first) = (Instant::now(), Usage::now(), steps.len());
        while steps.len() == first || stretch.elapsed().as_secs_f64() < STRETCH {
            let started = Instant::now();
            step()?;
            steps.push((started.elapsed().as_secs_f64(), false));
        }
        let other = usage.since(stretch).map_or(0.0, |[_, other]| other);
        for (_, disturbed) in &mut steps[first..] {
            *disturbed = other >= DISTURBED;
        }
        let quiet = || steps.iter().filter(|(_, disturbed)| !disturbed);
        let enough = quiet().count() >= FEWEST && quiet().map(|(s, _)| s).sum::<f64>() >= seconds;
        let late = begin.elapsed().as_secs_f64() >= PATIENCE * seconds && steps.len() >= FEWEST;
        if enough || late {
            let contended = quiet().count() < FEWEST;
            let counted = steps
                .iter()
                .filter(|(_, disturbed)| contended || !disturbed);
            let cores = whole.since(begin);
            return Ok(Timed {
                seconds: counted.map(|(s, _)| *s).collect(),
                own_cores: cores.map(|[own, _]| own),
                other_cores: cores.map(|[_, other]| other),
                contended,
            });
        }
    }
}

/// Processor time so far, in the kernel's ticks; none where the system doesn't tell.
struct Usage(Option<[f64; 2]>);

/// The kernel reports processor time in hundredths of a second.
const TICKS: f64 = 100.0;

impl Usage {
    fn now() -> Self {
        Self(own_ticks().zip(machine_ticks()).map(<[f64; 2]>::from))
    }

    /// Cores used by this process and by all others since then.
    fn since(&self, begin: Instant) -> Option<[f64; 2]> {
        let ([own_before, all_before], [own, all]) = (self.0?, Self::now().0?);
        let wall = begin.elapsed().as_secs_f64() * TICKS;
        let own = own - own_before;
        Some([own / wall, ((all - all_before - own) / wall).max(0.0)])
    }
}

fn own_ticks() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in brackets, which may hold spaces.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some(number(11)? + number(12)?)
}

/// All but idle time and waiting for disks.
fn machine_ticks() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let numbers = text.lines().next()?.split_whitespace().skip(1).take(8);
    let numbers: Vec<f64> = numbers.map_while(|field| field.parse().ok()).collect();
    (numbers.len() == 8).then(|| numbers.iter().sum::<f64>() - numbers[3] - numbers[4])
}

/// A size from the process' own status, in MiB: `VmRSS` now, `VmHWM` at its largest.
pub(crate) fn memory_mib(key: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line
        .trim_start_matches(':')
        .split_whitespace()
        .next()?
        .parse()
        .ok()?;
    Some(kib / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_and_errors_end_it() {
        let mut made = 0;
        let timed = repeat(0.01, 2, || {
            made += 1;
            std::thread::sleep(std::time::Duration::from_millis(2));
            Ok::<_, ()>(())
        })
        .unwrap();
        assert!(timed.seconds.len() >= FEWEST && timed.seconds.len() <= made - 2);
        assert!(timed.least() >= 0.002 && timed.least() <= timed.median());
        let mut left = 3;
        let stopped = repeat(10.0, 0, || {
            left -= 1;
            if left == 0 { Err("no more") } else { Ok(()) }
        });
        assert_eq!(stopped.unwrap_err(), "no more");
    }

    #[test]
    fn the_median_of_even_and_odd_counts() {
        let timed = |seconds: &[f64]| Timed {
            seconds: seconds.to_vec(),
            own_cores: None,
            other_cores: None,
            contended: false,
        };
        assert_eq!(timed(&[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(timed(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(timed(&[4.0, 1.0, 1.0]).mean(), 2.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_time_and_memory() {
        assert!(own_ticks().unwrap() <= machine_ticks().unwrap());
        assert!(memory_mib("VmRSS").unwrap() > 1.0);
        assert!(memory_mib("VmRSS").unwrap() <= memory_mib("VmHWM").unwrap());
        assert!(memory_mib("VmNothing").is_none());
    }
}
