//! What reading and writing a folder takes beside the weights themselves, as the system counts it.
//!
//! Linux forgets and tells a process's peak; elsewhere there is nothing to measure. Each
//! measurement has a process of its own, so that nothing that was freed before is taken again.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

use rlhf_model::device::parse_device;
use rlhf_model::{ModelConfig, Transformer, WeightType, load_model, save_model, save_model_as};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the folder that a child works on.
const FOLDER: &str = "RLHF_MEMORY_TEST_FOLDER";

/// 28 MB in f32; the embedding is a fifth of it, as in published models of this kind.
fn config() -> ModelConfig {
    ModelConfig {
        vocab_size: 6000,
        hidden_size: 256,
        intermediate_size: 768,
        num_hidden_layers: 6,
        num_attention_heads: 4,
        num_key_value_heads: 4,
        ..ModelConfig::default()
    }
}

fn weights() -> f64 {
    4.0 * config().num_parameters() as f64
}

/// A line of `/proc/self/status` in bytes.
fn status(field: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: f64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// By how much memory grows at most while `work` is done, in shares of the weights' size; none
/// where the system does not tell.
fn growth<T>(work: impl FnOnce() -> T) -> Option<f64> {
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS")?;
    let made = work();
    let peak = status("VmHWM")?;
    drop(made);
    Some((peak - before) / weights())
}

/// Runs one test of this program in a process of its own; what it printed.
fn child(test: &str, dir: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(FOLDER, dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// The figure that a child printed after a word.
fn figure(text: &str, word: &str) -> Option<f64> {
    let (_, rest) = text.split_once(&format!("{word}="))?;
    let figure = rest.split_whitespace().next()?;
    (figure != "none").then(|| figure.parse().unwrap())
}

fn print(word: &str, figure: Option<f64>) {
    let shown = figure.map_or_else(|| "none".to_owned(), |x| format!("{x:.3}"));
    println!("{word}={shown}");
}

fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Does nothing unless the test below started it.
#[test]
fn child_reads_and_writes() {
    let Some(dir) = folder_of_child() else { return };
    let device = parse_device("flex").unwrap();
    let mut loaded = None;
    let read = growth(|| loaded = Some(load_model(&dir, &device).unwrap()));
    print("read", read);
    let (model, config) = loaded.unwrap();
    let out = dir.join("written");
    print(
        "write",
        growth(|| save_model(&out, &model, &config).unwrap()),
    );
}

#[test]
fn reading_and_writing_take_no_second_copy_of_the_weights() {
    let device = parse_device("flex").unwrap();
    let config = config();
    let model = Transformer::init(&config, 3, &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for kind in [WeightType::F32, WeightType::Bf16] {
        save_model_as(dir.path(), &model, &config, kind).unwrap();
        let text = child("child_reads_and_writes", dir.path());
        let (Some(read), Some(write)) = (figure(&text, "read"), figure(&text, "write")) else {
            println!("skipped: this system does not tell a process's peak of memory");
            return;
        };
        println!(
            "{}: reading {read:.2}, writing {write:.2} of the weights",
            kind.name()
        );
        // The weights are there at the end, so far less than one means that nothing was measured.
        assert!(
            (0.9..1.2).contains(&read),
            "{kind:?}: reading took {read:.2} of the weights"
        );
        assert!(
            write < 0.3,
            "{kind:?}: writing took {write:.2} of the weights"
        );
    }
}
