//! Properties that hold for any file, however damaged or hostile.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rlhf_data::{Tokenizer, check_file, read_file};
use std::io::Write;

/// A well-formed file of each format; mutations of them reach deeper than random bytes.
const SAMPLES: [&str; 9] = [
    "{\"text\": \"one\\n\"}\n{\"text\": \"two\"}\n",
    "[\n  {\"instruction\": \"i\", \"input\": \"\", \"output\": \"o\"},\n  {\"instruction\": \"i\", \
     \"output\": \"香\"}\n]\n",
    "{\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\", \"metadata\": {\"group\": 1}}\n",
    "{\"chosen\": \"\\n\\nHuman: h\\n\\nAssistant: a\", \"rejected\": \"\\n\\nHuman: h\\n\\n\
     Assistant: b\"}\n",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}]}\n{\"prompt\": \"p\"}\n",
    "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \
     \"content\": \"a\"}]}\r\n",
    "[{\"conversations\": [{\"from\": \"human\", \"value\": \"h\"}, {\"from\": \"gpt\", \
     \"value\": \"g\"}]}]",
    "{\"prompt\": \"p\", \"response\": \"r\", \"tokens\": [1, 2], \"finish\": \"eos\"}\n",
    "A paragraph\nof lines.\n\nAnother one.\n",
];

const NAMES: [&str; 6] = ["a.jsonl", "a.json", "a.txt", "a", "a.json.gz", "a.csv"];

/// Reads the bytes as a file and checks what holds of any.
fn check_bytes(name: &str, bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let file = read_file(&path).unwrap();
    assert!(
        !file.rows.is_empty() || !file.bad.is_empty(),
        "a file says something"
    );
    let lines: Vec<_> = file.rows.iter().map(|row| row.line).collect();
    assert!(lines.is_sorted() && lines.first().is_none_or(|line| *line >= 1));
    assert!(file.bad.is_sorted_by_key(|bad| bad.line));
    assert!(
        file.bad
            .iter()
            .all(|bad| bad.line >= 1 && !bad.reason.is_empty())
    );
    let check = check_file(&path).unwrap();
    assert_eq!((check.rows, check.bad), (file.rows.len(), file.bad));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

/// Bytes replaced, put in, or cut off.
fn mutate(bytes: &mut Vec<u8>, changes: &[(Index, u8, u8)]) {
    for (place, kind, byte) in changes {
        if bytes.is_empty() {
            return;
        }
        let at = place.index(bytes.len());
        match kind % 4 {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 => drop(bytes.remove(at)),
            _ if *kind > 200 => bytes.truncate(at),
            _ => bytes.insert(at, b"\"{}[],:\\\n0"[usize::from(*byte) % 10]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in vec(any::<u8>(), 0..300), name in select(&NAMES[..])) {
        check_bytes(name, &bytes);
        check_bytes(name, &gzip(&bytes));
    }

    #[test]
    fn damaged_files_are_read_without_panic(
        sample in select(&SAMPLES[..]),
        name in select(&NAMES[..]),
        changes in vec(any::<(Index, u8, u8)>(), 0..6),
    ) {
        let mut plain = sample.as_bytes().to_vec();
        mutate(&mut plain, &changes);
        check_bytes(name, &plain);
        let mut packed = gzip(sample.as_bytes());
        mutate(&mut packed, &changes);
        check_bytes(name, &packed);
    }

    #[test]
    fn damaged_tokenizers_are_refused_or_work(changes in vec(any::<(Index, u8, u8)>(), 1..4)) {
        let trained = Tokenizer::train_bpe(std::iter::once("the the cat cat"), 300, &["<|end|>"]).unwrap();
        let mut json = trained.to_json().into_bytes();
        mutate(&mut json, &changes);
        if let Ok(tokenizer) = Tokenizer::from_bytes(&json) {
            let ids = tokenizer.encode("the cat\n12 é").unwrap_or_default();
            tokenizer.decode(&ids, false).ok();
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_packed_endless_line_does_not_fill_the_memory() {
    let peak = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM"))
            .unwrap()
            .to_owned();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<usize>()
            .unwrap()
            / 1024
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb.jsonl.gz");
    let file = std::fs::File::create(&path).unwrap();
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packer.write_all(b"{\"text\": \"").unwrap();
    let chunk = vec![b'a'; 1 << 20];
    for _ in 0..400 {
        packer.write_all(&chunk).unwrap();
    }
    packer.finish().unwrap();
    let before = peak();
    let check = check_file(&path).unwrap();
    assert!(
        check.bad[0].reason.contains("longer than 64 MiB"),
        "{:?}",
        check.bad
    );
    let grown = peak() - before;
    assert!(grown < 250, "{grown} MiB for a line of 400");
}
