//! What reading and writing a folder takes beside the weights themselves, as the system counts it.
//!
//! Linux forgets and tells a process's peak; elsewhere there is nothing to measure. Each
//! measurement has a process of its own, so that nothing that was freed before is taken again.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

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

/// Does nothing unless the test below started it.
#[test]
fn child_is_lied_to() {
    let Some(dir) = folder_of_child() else { return };
    let device = parse_device("flex").unwrap();
    let refused = growth(|| {
        let error = load_model(&dir, &device).unwrap_err();
        assert!(error.to_string().contains(&dir.display().to_string()));
    });
    print("refused", refused);
}

#[test]
fn a_folder_that_lies_about_its_size_takes_no_memory() {
    let device = parse_device("flex").unwrap();
    let config = ModelConfig {
        vocab_size: 64,
        hidden_size: 16,
        intermediate_size: 16,
        num_hidden_layers: 1,
        ..config()
    };
    let model = Transformer::init(&config, 3, &device).unwrap();
    let dir = tempfile::tempdir().unwrap();
    save_model(dir.path(), &model, &config).unwrap();
    let path = |name: &str| dir.path().join(name);
    let good = ["config.json", "model.safetensors"].map(|name| std::fs::read(path(name)).unwrap());
    let settings = |field: &str, value: u64| {
        let mut config: serde_json::Value = serde_json::from_slice(&good[0]).unwrap();
        config[field] = value.into();
        config.to_string().into_bytes()
    };
    let long_header = [&99_999_999_u64.to_le_bytes()[..], &good[1][8..]].concat();
    let end = 8 + u64::from_le_bytes(good[1][..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(good[1][8..end].to_vec()).unwrap();
    let header = header.replacen("[64,16]", "[9999999999,16]", 1);
    let length = (header.len() as u64).to_le_bytes();
    let huge_tensor = [&length[..], header.as_bytes(), &good[1][end..]].concat();
    for (what, config, file) in [
        ("a long header", good[0].clone(), long_header),
        ("a huge tensor", good[0].clone(), huge_tensor),
        (
            "10^12 tokens",
            settings("vocab_size", 1_000_000_000_000),
            good[1].clone(),
        ),
        (
            "60 million tokens",
            settings("vocab_size", 60_000_000),
            good[1].clone(),
        ),
        (
            "long rows",
            settings("intermediate_size", 60_000_000),
            good[1].clone(),
        ),
        (
            "many positions",
            settings("max_position_embeddings", 1 << 40),
            good[1].clone(),
        ),
    ] {
        std::fs::write(path("config.json"), config).unwrap();
        std::fs::write(path("model.safetensors"), file).unwrap();
        let text = child("child_is_lied_to", dir.path());
        let Some(taken) = figure(&text, "refused").map(|share| share * weights()) else {
            println!("skipped: this system does not tell a process's peak of memory");
            return;
        };
        assert!(taken < 4e6, "{what}: {taken} bytes");
    }
}
