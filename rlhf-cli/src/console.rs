//! What people see: results on stdout, everything else on stderr.

mod progress;

pub(crate) use progress::ProgressSink;

use crate::error::CliError;
use std::io::{self, Write};

/// Prints a result, with a line break behind it. A reader that went away is no error.
///
/// # Errors
/// If stdout can't be written.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| CliError::failure(format!("stdout: {e}"))),
    }
}

/// Says something on stderr. If nobody can be told, nothing is lost.
pub(crate) fn say(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Prints an error and its hints.
pub(crate) fn print_error(error: &CliError) {
    say(&error.to_string());
}

/// Seconds as people say them: `8s`, `3m20s`, `2h05m`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.round().max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}
