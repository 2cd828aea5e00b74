//! How far a stage is.

use super::{duration, say};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rlhf_train::{MetricSink, Metrics};
use std::io::{self, IsTerminal};
use std::time::Instant;

/// The figures that a progress line shows, as far as a record has them.
const SHOWN: [&str; 5] = ["loss", "score", "kl", "accuracy", "tokens_per_s"];

/// Shows the progress of a stage on stderr: a bar on a terminal, else a line every tenth of the
/// stage, nothing where quiet.
#[derive(Debug)]
pub(crate) struct ProgressSink {
    mode: Mode,
    stage: Option<Stage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Quiet,
    Lines,
    Bar,
}

#[derive(Debug)]
struct Stage {
    name: String,
    total: u64,
    /// Where this process took the stage up.
    first: u64,
    started: Instant,
    /// Tenths of the stage that a line was printed for.
    tenths: u64,
    bar: Option<ProgressBar>,
}

impl Stage {
    fn new(name: &str, done: u64, total: u64, bar: bool) -> Self {
        let bar = bar.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(
                "{prefix:>8} {bar:30} {pos}/{len} {rate} {eta} left  {msg}",
            );
            bar.set_style(
                style
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .with_key("rate", rate),
            );
            bar.set_prefix(name.to_owned());
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        let tenths = (10 * done).checked_div(total).unwrap_or(0);
        Self {
            name: name.to_owned(),
            total,
            first: done,
            started: Instant::now(),
            tenths,
            bar,
        }
    }

    /// Seconds that the rest takes at the pace so far.
    fn left(&self, done: u64) -> f64 {
        let made = done.saturating_sub(self.first).max(1) as f64;
        self.started.elapsed().as_secs_f64() / made * self.total.saturating_sub(done) as f64
    }
}

impl ProgressSink {
    /// A sink that prints nothing where `quiet`.
    pub(crate) fn new(quiet: bool) -> Self {
        let mode = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Bar,
            (false, false) => Mode::Lines,
        };
        Self { mode, stage: None }
    }

    /// Shows that `done` of `total` parts of a stage are done.
    pub(crate) fn advance(&mut self, name: &str, done: u64, total: u64) {
        self.show(name, (done, total), "", None);
    }

    /// Prints a line between or above the progress.
    pub(crate) fn note(&self, text: &str) {
        match (self.mode, self.stage.as_ref().and_then(|s| s.bar.as_ref())) {
            (Mode::Quiet, _) => {}
            (_, Some(bar)) => bar.println(text),
            _ => say(text),
        }
    }

    fn show(&mut self, name: &str, (done, total): (u64, u64), message: &str, note: Option<String>) {
        if self.mode == Mode::Quiet {
            return;
        }
        if self.stage.as_ref().is_none_or(|s| s.name != name) {
            let first = done.saturating_sub(1);
            self.stage = Some(Stage::new(name, first, total, self.mode == Mode::Bar));
        }
        if let Some(note) = note {
            self.note(&note);
        }
        let Some(stage) = &mut self.stage else { return };
        let line = |stage: &Stage, left: &str| {
            let text = format!("{name}: {done}/{total}{left}  {message}");
            say(if stage.total == 0 {
                name
            } else {
                text.trim_end()
            });
        };
        if let Some(bar) = &stage.bar {
            bar.set_message(message.to_owned());
            bar.set_position(done);
            if done >= total {
                bar.finish_and_clear();
                line(stage, "");
            }
        } else if total > 0 && 10 * done / total > stage.tenths {
            stage.tenths = 10 * done / total;
            let left = match done {
                _ if done >= total => String::new(),
                _ => format!(", {} left", duration(stage.left(done))),
            };
            line(stage, &left);
        }
        if done >= total {
            self.stage = None;
        }
    }
}

impl MetricSink for ProgressSink {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        let shown = SHOWN
            .iter()
            .filter_map(|name| metrics.get(name).map(|v| figure(name, v)));
        let shown = shown.collect::<Vec<_>>().join("  ");
        let evaluation: Vec<String> = metrics
            .values
            .iter()
            .filter(|(name, _)| name.starts_with("eval_"))
            .map(|(name, value)| figure(name, *value))
            .collect();
        let note = (!evaluation.is_empty()).then(|| {
            format!(
                "{}: step {}: {}",
                metrics.stage,
                metrics.step,
                evaluation.join("  ")
            )
        });
        self.show(&metrics.stage, (metrics.step, metrics.total), &shown, note);
        Ok(())
    }
}

/// Steps a second, with one decimal.
fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // A bar that can't be written is not worth an error.
    write!(out, "{:.1}/s", state.per_sec()).ok();
}

fn figure(name: &str, value: f64) -> String {
    match name {
        "tokens_per_s" => format!("{value:.0} tokens/s"),
        _ => format!("{name} {value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rlhf_train::metrics;

    #[test]
    fn a_sink_takes_any_record_in_every_mode() {
        for mode in [Mode::Quiet, Mode::Lines, Mode::Bar] {
            let mut sink = ProgressSink { mode, stage: None };
            metrics::contract(&mut sink);
            sink.advance("empty", 0, 0);
            let record = Metrics::new("other", 5, 10).with("eval_loss", 1.0);
            sink.record(&record).unwrap();
            assert_eq!(
                sink.stage.is_some(),
                mode != Mode::Quiet,
                "5 of 10 is under way"
            );
        }
    }

    #[test]
    fn the_time_left_counts_from_where_the_process_took_over() {
        let mut stage = Stage::new("s", 90, 100, false);
        stage.started -= std::time::Duration::from_secs(10);
        assert!(
            (stage.left(95) - 10.0).abs() < 1.0,
            "5 took 10 s, 5 are left"
        );
        assert_eq!(stage.tenths, 9);
    }
}
