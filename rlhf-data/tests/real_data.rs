//! Real data sets, read from the folder that `RLHF_REAL_DATA` names; skipped where it is unset.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use rlhf_data::{
    DataSet, Format, OnBadRow, Role, Row, Tokenizer, check_file, load_conversations,
    load_preferences, load_prompts, load_texts, read_file,
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
    // Tools that a row declares would not reach the model.
    let check = check_file(&path).unwrap();
    assert_eq!(check.format.as_deref(), Some("sharegpt"));
    assert_eq!((check.rows, check.bad.len()), (33, 37), "{:?}", check.bad);
    assert!(check.bad.iter().all(|bad| bad.field == "tools"));
    let data = DataSet::open(&[path], &["tools="], 0).unwrap();
    let loaded = load_conversations(&data, OnBadRow::Fail).unwrap();
    assert_eq!(loaded.rows.len(), 70);
    let turns = loaded.rows.iter().flat_map(|row| &row.messages);
    assert!(turns.filter(|turn| turn.role == Role::Tool).count() > 10);
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
fn every_file_is_recognised_and_its_bad_rows_are_those_that_are_known() {
    let kinds = [
        ("TruthfulQA.csv", "truthfulqa", 817, 0),
        ("alpaca-en.json", "instruction", 721, 0),
        ("alpaca-original-tiny.json", "instruction", 100, 0),
        ("alpaca-zh.json", "instruction", 410, 0),
        ("c4-text.jsonl", "text", 80, 0),
        ("chat-sharegpt-multiturn.json", "sharegpt", 260, 0),
        ("dpo-sharegpt-en.json", "preference", 110, 0),
        ("dpo-sharegpt-zh.json", "preference", 80, 0),
        ("hh-rlhf-harmless.jsonl.gz", "hh-rlhf", 797, 3),
        ("hhh_alignment.jsonl", "hhh-alignment", 138, 0),
        ("ifeval-input_data.jsonl", "ifeval", 540, 0),
        ("kto-messages-en.json", "kto", 80, 0),
        ("mt_bench-question.jsonl", "mt-bench", 80, 0),
        // 70 ties, 6 truth values and 10 empty texts for responses.
        ("pandalm-human-pairs.json", "pandalm", 369, 86),
        ("rtp-insult.txt", "plain-text", 1, 0),
        ("toolcall-sharegpt-en.json", "sharegpt", 33, 37),
        ("ultrafeedback-pairs.parquet", "ultrafeedback", 319, 1),
    ];
    for (name, format, rows, bad) in kinds {
        let Some(path) = real(name) else { return };
        let check = check_file(&path).unwrap();
        let found = (check.format.as_deref(), check.rows, check.bad.len());
        assert_eq!(found, (Some(format), rows, bad), "{name} {:?}", check.bad);
    }
}

#[test]
fn every_file_of_the_folder_has_a_format() {
    let Some(folder) = real("") else { return };
    let data = DataSet::open::<&str>(&[folder], &[], 0).unwrap();
    assert!(data.files().len() >= 20);
    for file in data.files() {
        assert!(
            check_file(file).unwrap().format.is_some(),
            "{}",
            file.name.display()
        );
    }
}

#[test]
fn labels_ratings_and_votes_are_read() {
    let Some(path) = real("kto-messages-en.json") else {
        return;
    };
    let file = read_file(&path).unwrap();
    let wanted = file.rows.iter().filter(|located| match &located.row {
        Row::Feedback(row) => row.label,
        other => panic!("{other:?}"),
    });
    assert_eq!(wanted.count(), 43);
    let refused = load_conversations(&[path], OnBadRow::Fail).unwrap_err();
    assert!(refused.to_string().contains("KTO trains on"), "{refused}");

    let Some(path) = real("ultrafeedback-pairs.parquet") else {
        return;
    };
    let pairs = load_preferences(&[path], OnBadRow::Skip).unwrap().rows;
    let equal = pairs
        .iter()
        .filter(|p| p.chosen_rating == p.rejected_rating);
    assert_eq!(equal.count(), 38, "39 with the pair of equal answers");
    assert!(pairs.iter().all(|p| p.chosen_rating >= p.rejected_rating));
}
