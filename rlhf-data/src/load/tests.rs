use super::*;
use std::path::PathBuf;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

#[test]
fn rows_of_all_files_come_in_order() {
    let files = Files::new();
    let a = files.file("a.jsonl", "{\"text\": \"1\"}\n{\"text\": \"2\"}\n");
    let b = files.file("b.txt", "3\n\n4\n");
    let loaded = load_texts(&[a, b], OnBadRow::Fail).unwrap();
    let texts: Vec<_> = loaded.rows.iter().map(|row| row.text.as_str()).collect();
    assert_eq!((texts, loaded.skipped), (vec!["1", "2", "3", "4"], 0));
}

#[test]
fn bad_rows_are_refused_or_counted() {
    let files = Files::new();
    let text = "{\"text\": \"1\"}\n{\"text\": 2}\n{\"text\": \"\"}\n";
    let path = files.file("a.jsonl", text);
    let error = load_texts(std::slice::from_ref(&path), OnBadRow::Fail)
        .unwrap_err()
        .to_string();
    let expected =
        "a.jsonl:2: field `text`: found the number 2, text is wanted (and 1 more bad row)";
    assert!(error.ends_with(expected), "{error}");
    let loaded = load_texts(std::slice::from_ref(&path), OnBadRow::Skip).unwrap();
    assert_eq!((loaded.rows.len(), loaded.skipped), (1, 2));
    let none = files.file("none.jsonl", "{\"text\": 2}\n");
    let error = load_texts(&[none], OnBadRow::Skip).unwrap_err();
    assert!(
        matches!(error, DataError::NoRows { skipped: 1, .. }),
        "{error}"
    );
    assert!(matches!(
        load_texts(&[], OnBadRow::Fail),
        Err(DataError::NoRows { .. })
    ));
}

#[test]
fn a_format_that_does_not_serve_is_named() {
    let files = Files::new();
    let path = files.file("a.jsonl", "{\"prompt\": \"p\"}\n");
    let error = load_preferences(std::slice::from_ref(&path), OnBadRow::Skip).unwrap_err();
    let expected = "the rows are of the format `prompt`, but preference, hh-rlhf, ultrafeedback or pandalm rows are wanted";
    assert!(error.to_string().contains(expected), "{error}");
    assert!(load_texts(std::slice::from_ref(&path), OnBadRow::Fail).is_err());
    assert!(load_responses(&[path], OnBadRow::Fail).is_err());
    let unknown = files.file("b.jsonl", "{\"turns\": []}\n");
    let error = load_prompts(&[unknown], OnBadRow::Skip).unwrap_err();
    assert!(matches!(error, DataError::UnknownFormat { .. }), "{error}");
}

#[test]
fn the_lines_of_plain_text_are_prompts_and_its_paragraphs_text() {
    let files = Files::new();
    let text = "\u{feff}So I was like\r\n* a list\n\nThe man then\n";
    let path = [files.file("a.txt", text)];
    let prompts = load_prompts(&path, OnBadRow::Fail).unwrap().rows;
    let texts: Vec<_> = prompts
        .iter()
        .map(|p| p.messages[0].content.as_str())
        .collect();
    assert_eq!(texts, ["So I was like", "* a list", "The man then"]);
    assert_eq!(prompts[2].row["prompt"], "The man then");
    assert_eq!(load_texts(&path, OnBadRow::Fail).unwrap().rows.len(), 2);
    let rows = files.file("a.jsonl", "{\"text\": \"a\\nb\"}\n");
    let refused = load_prompts(&[rows], OnBadRow::Fail).unwrap_err();
    assert!(matches!(
        refused,
        DataError::WrongFormat { found: "text", .. }
    ));
}

#[test]
fn prompts_come_from_every_format_with_turns() {
    let files = Files::new();
    let rows = [
        r#"{"prompt": "p", "id": 1}"#,
        r#"{"instruction": "p", "output": "o", "id": 1}"#,
        r#"{"prompt": "p", "chosen": "a", "rejected": "b", "id": 1}"#,
        r#"{"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "a"}],
            "id": 1}"#,
        r#"{"prompt": "p", "response": "r", "id": 1}"#,
    ];
    let paths: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| files.file(&format!("{i}.json"), &format!("[{row}]")))
        .collect();
    let loaded = load_prompts(&paths, OnBadRow::Fail).unwrap();
    assert_eq!(loaded.rows.len(), rows.len());
    for prompt in loaded.rows {
        assert_eq!(prompt.messages, [Message::user("p")]);
        assert_eq!(prompt.row["id"], 1, "the whole row is kept");
    }
    assert_eq!(
        load_responses(&paths[4..], OnBadRow::Fail).unwrap().rows[0].response,
        "r"
    );
}

#[test]
fn conversations_come_from_instructions_too() {
    let files = Files::new();
    let path = files.file(
        "a.jsonl",
        "{\"instruction\": \"i\", \"input\": \"x\", \"output\": \"o\"}",
    );
    let loaded = load_conversations(&[path], OnBadRow::Fail).unwrap();
    assert_eq!(
        loaded.rows[0].messages,
        [Message::user("i\n\nx"), Message::assistant("o")]
    );
}
