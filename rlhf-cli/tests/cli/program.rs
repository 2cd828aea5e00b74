//! Runs the program.

use serde_json::Value;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

/// What a call left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    /// Each line of stdout as JSON.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Checks that the call was refused as the caller's mistake, with a hint, in these words.
    pub(crate) fn refused(&self, wanted: &[&str]) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert!(self.stderr.contains("\nhint: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for words in wanted {
            assert!(
                self.stderr.contains(words),
                "{words:?} is missing in\n{}",
                self.stderr
            );
        }
    }

    /// Checks that the words of the call were refused, which says how to get help.
    pub(crate) fn refused_by_parser(&self) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.stderr.contains("--help"), "{}", self.stderr);
    }

    /// Checks that the call succeeded.
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.stderr);
        self
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Runs `rlhf` with arguments.
pub(crate) fn rlhf(args: &[&str]) -> Finished {
    rlhf_with(args, "", &[])
}

/// Runs `rlhf` with arguments, this on stdin, and environment variables.
pub(crate) fn rlhf_with(args: &[&str], input: &str, variables: &[(&str, &str)]) -> Finished {
    let mut child = started(args, variables);
    // A program that reads no input may be gone before it is written.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap().into()
}

/// Starts `rlhf`.
pub(crate) fn started(args: &[&str], variables: &[(&str, &str)]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rlhf"))
        .args(args)
        .env_remove("BURN_DEVICE")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}
