use super::*;
use crate::{SpecialTokens, Tokenizer};
use std::path::Path;

fn write(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn reports(files: &[PathBuf], options: CheckOptions<'_>) -> Vec<FileReport> {
    check_files(&files.into(), options).unwrap()
}

#[test]
fn a_file_is_summed_up_in_one_json_object() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), "a.jsonl", "{\"text\": \"a\"}\n{\"text\": 1}\n");
    let check = check_file(&path).unwrap();
    assert!(!check.is_usable());
    let [report] = &reports(std::slice::from_ref(&path), CheckOptions::default())[..] else {
        panic!("one report a file")
    };
    assert_eq!(report.check, check);
    let json = serde_json::to_value(report).unwrap();
    assert_eq!(json["format"], "text");
    assert_eq!(json["rows"], 1);
    assert_eq!(json["bad"][0]["line"], 2);
    assert_eq!(json["bad"][0]["field"], "text");
    assert_eq!(json["lengths"]["unit"], "characters");
    std::fs::write(&path, "{\"text\": \"a\"}\n").unwrap();
    assert!(check_file(&path).unwrap().is_usable());
    assert!(check_file(dir.path().join("none")).is_err());
    assert!(check_file(dir.path()).is_err(), "a folder is no file");
    let none = &reports(&[dir.path().join("none")], CheckOptions::default())[0];
    assert_eq!(none.check.format, None);
    assert!(
        none.check.bad[0].reason.starts_with("can't be read"),
        "{none:?}"
    );
}

#[test]
fn what_is_there_twice_is_counted_within_and_between_files() {
    let dir = tempfile::tempdir().unwrap();
    let row = |q: &str, a: &str| format!("{{\"instruction\": \"{q}\", \"output\": \"{a}\"}}\n");
    let rows = [
        row("Who is it?", "She."),
        row("Who is it?", "She."),
        row("who  is it", "she"),
        row("Who is it?", "He."),
        row("What?", "It."),
        row("?!", "a"),
        row("!!", "a"),
    ];
    let train = write(dir.path(), "train.jsonl", &rows.concat());
    let test = write(
        dir.path(),
        "test.jsonl",
        "{\"prompt\": \"WHO IS IT\"}\n{\"prompt\": \"other\"}\n",
    );
    let other = write(dir.path(), "other.jsonl", &row("Where?", "There."));
    let found = reports(
        &[train.clone(), test.clone(), other],
        CheckOptions::default(),
    );
    let repeats = Repeats {
        exact: 1,
        normalised: 2,
        prompts: 3,
    };
    assert_eq!(found[0].repeats, repeats);
    assert_eq!(found[1].repeats, Repeats::default());
    let overlap = |file: PathBuf| Overlap {
        file,
        exact: 0,
        normalised: 0,
        prompts: 1,
    };
    assert_eq!(found[0].overlaps, [overlap(test)]);
    assert_eq!(found[1].overlaps, [overlap(train.clone())]);
    assert!(found[2].overlaps.is_empty());
    let copy = write(dir.path(), "copy.json.txt", &rows[0]);
    let found = reports(&[train, copy], CheckOptions::default());
    let shared = &found[0].overlaps[0];
    assert_eq!((shared.exact, shared.normalised, shared.prompts), (1, 1, 1));
}

#[test]
fn scripts_and_ratings_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let pair = |chosen: u8, rejected: u8| {
        format!(
            "{{\"prompt\": \"您好 ab\", \"chosen\": \"é1\", \"rejected\": \"Я!\", \
             \"chosen_rating\": {chosen}, \"rejected_rating\": {rejected}}}\n"
        )
    };
    let text = [pair(1, 1), pair(2, 1), pair(1, 3), pair(1, 1)].concat();
    let path = write(dir.path(), "a.jsonl", &text);
    let found = &reports(&[path], CheckOptions::default())[0];
    assert_eq!(found.check.format.as_deref(), Some("ultrafeedback"));
    assert_eq!((found.equal_ratings, found.reversed_ratings), (2, 1));
    let shares: Vec<_> = found
        .scripts
        .iter()
        .map(|s| (s.script.as_str(), s.share))
        .collect();
    assert_eq!(
        shares,
        [("Latin", 0.5), ("Han", 2.0 / 6.0), ("Cyrillic", 1.0 / 6.0)]
    );
}

#[test]
fn lengths_are_those_of_the_models_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let bpe = Tokenizer::train_bpe(std::iter::once("abc"), 260, &["<|end|>", "<|a|>"]).unwrap();
    let template = "{% for m in messages %}{% if m.role == 'assistant' %}<|a|>{% endif %}\
                    {{ m.content }}<|end|>{% endfor %}\
                    {% if add_generation_prompt %}<|a|>{% endif %}";
    let special = SpecialTokens {
        eos: Some("<|end|>".into()),
        ..SpecialTokens::default()
    };
    let chat = ChatTokenizer::new(bpe, template, special).unwrap();
    let options = CheckOptions {
        tokenizer: Some(&chat),
        max_length: Some(8),
    };
    // Question, end, start of the answer, answer, end.
    let rows = "{\"instruction\": \"xyz\", \"output\": \"xy\"}\n\
                {\"instruction\": \"xyzxyz\", \"output\": \"xy\"}\n\
                {\"instruction\": \"x\", \"output\": \"xyzxyzxyz\"}\n";
    let path = write(dir.path(), "a.jsonl", rows);
    let found = reports(&[path], options);
    let lengths = found[0].lengths.as_ref().unwrap();
    assert_eq!(lengths.unit, "tokens");
    assert_eq!((lengths.min, lengths.p50, lengths.max), (8, 11, 13));
    assert_eq!((lengths.truncated, lengths.too_long), (Some(1), Some(1)));
    let text = write(dir.path(), "b.jsonl", "{\"text\": \"xyz\"}\n");
    let found = reports(&[text], options);
    assert!(found[0].lengths.as_ref().unwrap().max >= 3);
}
