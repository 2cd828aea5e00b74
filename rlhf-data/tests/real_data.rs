//! Real data sets, read from the folder that `RLHF_REAL_DATA` names; skipped where it is unset.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use rlhf_data::{
    Format, OnBadRow, Role, Row, Tokenizer, check_file, load_conversations, load_preferences,
    load_prompts, load_texts, read_file,
};
use std::path::PathBuf;

/// The path of a file, or none with a printed skip.
fn real(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("RLHF_REAL_DATA") else {
        println!("skipped: RLHF_REAL_DATA is not set ({name})");
        return None;
    };
    Some(PathBuf::from(folder).join(name))
}

#[test]
fn alpaca_rows_are_instructions() {
    for (name, rows, with_input) in [("alpaca-en.json", 721, 294), ("alpaca-zh.json", 410, 51)] {
        let Some(path) = real(name) else { return };
        let file = read_file(&path).unwrap();
        assert_eq!(file.format, Some(Format::Instruction));
        assert_eq!((file.rows.len(), file.bad.len()), (rows, 0), "{name}");
        let inputs = file.rows.iter().filter(|located| match &located.row {
            Row::Instruction(row) => row.input.is_some(),
            other => panic!("{other:?}"),
        });
        assert_eq!(inputs.count(), with_input, "{name}");
        // Every row starts on a line of its own `{`.
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(file.rows.iter().all(|r| lines[r.line - 1].trim() == "{"));
        let loaded = load_conversations(&[path], OnBadRow::Fail).unwrap();
        assert_eq!(loaded.rows.len(), rows);
    }
}

#[test]
fn hh_transcripts_are_pairs() {
    let Some(path) = real("hh-rlhf-harmless.jsonl.gz") else {
        return;
    };
    let file = read_file(&path).unwrap();
    assert_eq!(file.format, Some(Format::HhTranscripts));
    assert_eq!(file.rows.len() + file.bad.len(), 800);
    let empty = file.bad.iter().filter(|bad| bad.reason.contains("empty"));
    assert_eq!(empty.count(), 3);
    assert_eq!(file.bad.len(), 3, "{:?}", file.bad);
    for located in &file.rows {
        let Row::Preference(row) = &located.row else {
            panic!("{located:?}")
        };
        assert_eq!(row.prompt.last().map(|m| m.role), Some(Role::User));
        assert!(!row.chosen.is_empty() && row.chosen != row.rejected);
    }
    assert!(load_preferences(std::slice::from_ref(&path), OnBadRow::Fail).is_err());
    let loaded = load_preferences(&[path], OnBadRow::Skip).unwrap();
    assert_eq!((loaded.rows.len(), loaded.skipped), (797, 3));
}

#[test]
fn conversations_and_pairs_of_turns_are_read() {
    let Some(path) = real("chat-sharegpt-multiturn.json") else {
        return;
    };
    let loaded = load_conversations(std::slice::from_ref(&path), OnBadRow::Fail).unwrap();
    assert_eq!(loaded.rows.len(), 260);
    assert!(
        loaded
            .rows
            .iter()
            .all(|row| row.messages.len().is_multiple_of(2))
    );
    assert_eq!(
        load_prompts(&[path], OnBadRow::Fail).unwrap().rows.len(),
        260
    );
    for (name, rows) in [("dpo-sharegpt-en.json", 110), ("dpo-sharegpt-zh.json", 80)] {
        let Some(path) = real(name) else { return };
        assert_eq!(
            load_preferences(&[path], OnBadRow::Skip)
                .unwrap()
                .rows
                .len(),
            rows
        );
    }
    let Some(path) = real("toolcall-sharegpt-en.json") else {
        return;
    };
    let check = check_file(&path).unwrap();
    assert_eq!(check.format.as_deref(), Some("sharegpt"));
    assert_eq!(check.rows + check.bad.len(), 70);
    assert!(
        check
            .bad
            .iter()
            .all(|bad| bad.reason.contains("function_call")),
        "{:?}",
        check.bad
    );
}

#[test]
fn running_text_is_read_and_tokenised() {
    let Some(shakespeare) = real("tinyshakespeare.txt") else {
        return;
    };
    let loaded = load_texts(std::slice::from_ref(&shakespeare), OnBadRow::Fail).unwrap();
    let whole = std::fs::read_to_string(&shakespeare).unwrap();
    let paragraphs: Vec<_> = whole
        .split("\n\n")
        .map(str::trim)
        .filter(|p| !p.is_empty())
        .collect();
    assert_eq!(loaded.rows.len(), paragraphs.len());
    assert!(
        loaded
            .rows
            .iter()
            .zip(&paragraphs)
            .all(|(row, p)| row.text.trim() == *p)
    );

    let Some(c4) = real("c4-text.jsonl") else {
        return;
    };
    let c4 = load_texts(&[c4], OnBadRow::Fail).unwrap();
    assert_eq!(c4.rows.len(), 80);
    let texts: Vec<_> = loaded
        .rows
        .iter()
        .chain(&c4.rows)
        .map(|row| row.text.as_str())
        .collect();
    let tokenizer = Tokenizer::train_bpe(texts.iter().copied(), 1024, &["<|end|>"]).unwrap();
    assert_eq!(tokenizer.vocab_size(), 1024);
    let mut tokens = 0;
    for text in &texts {
        let ids = tokenizer.encode(text).unwrap();
        tokens += ids.len();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), *text);
    }
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    let rate = bytes as f64 / tokens as f64;
    println!("{rate:.2} bytes a token");
    assert!(rate > 2.0, "{rate}");
}

#[test]
fn files_of_other_kinds_are_told_apart() {
    let kinds = [
        ("ultrafeedback-pairs.parquet", None, 0),
        ("TruthfulQA.csv", None, 0),
        ("mt_bench-question.jsonl", None, 0),
        ("hhh_alignment.jsonl", None, 0),
        ("pandalm-human-pairs.json", None, 0),
        ("ifeval-input_data.jsonl", Some("prompt"), 540),
        ("alpaca-original-tiny.json", Some("instruction"), 100),
        ("kto-messages-en.json", Some("conversation"), 80),
    ];
    for (name, format, rows) in kinds {
        let Some(path) = real(name) else { return };
        let check = check_file(&path).unwrap();
        assert_eq!(
            (check.format.as_deref(), check.rows),
            (format, rows),
            "{name} {:?}",
            check.bad
        );
        assert_eq!(check.is_usable(), format.is_some(), "{name}");
    }
}
