use super::*;
use std::io::Write;

fn read(name: &str, bytes: &[u8]) -> FileRows {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    read_file(&path).unwrap()
}

fn lines(file: &FileRows) -> Vec<usize> {
    file.rows.iter().map(|row| row.line).collect()
}

#[test]
fn lines_an_array_and_gzip_give_the_same_rows() {
    let objects = ["{\"text\": \"a\"}", "{\"text\": \"b\\n\"}"];
    let jsonl = objects.join("\r\n");
    let array = format!("\u{feff}[\n{}\n]\n", objects.join(",\n"));
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(jsonl.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let first = read("a.jsonl", jsonl.as_bytes());
    assert_eq!(first.format, Some(Format::Text));
    assert_eq!(lines(&first), [1, 2]);
    let texts = |file: &FileRows| file.rows.iter().map(|r| r.row.clone()).collect::<Vec<_>>();
    for (name, bytes, at) in [
        ("b.json", array.as_bytes(), [2, 3]),
        ("c.bin", packed.as_slice(), [1, 2]),
    ] {
        let other = read(name, bytes);
        assert_eq!(texts(&other), texts(&first), "{name}");
        assert_eq!(lines(&other), at);
        assert!(other.bad.is_empty());
    }
}

#[test]
fn a_row_of_another_format_is_bad_and_named() {
    let text = "{\"prompt\": \"p\", \"chosen\": \"a\"}\n\
                {\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\"}\n\
                {\"text\": \"t\"}\n\
                {\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": true}\n\
                nonsense\n\
                {\"prompt\": \"p\", \"chosen\": \"a\", \"rejected\": \"b\", \"rejected\": \"c\"}\n\
                {\"prompt\": \"p\", \"chosen\": NaN, \"rejected\": \"b\"}\n[1]\n{\"prompt\": \"p";
    let mut bytes = text.as_bytes().to_vec();
    bytes.extend(b"\n{\"prompt\": \"\xff\"}\n");
    let file = read("p.jsonl", &bytes);
    assert_eq!(file.format, Some(Format::Preference));
    assert_eq!(lines(&file), [2]);
    let bad: Vec<_> = file
        .bad
        .iter()
        .map(|b| (b.line, b.field.as_str()))
        .collect();
    let expected = [
        (1, "rejected"),
        (3, "chosen"),
        (4, "rejected"),
        (5, ""),
        (6, ""),
        (7, ""),
        (8, ""),
        (9, ""),
        (10, ""),
    ];
    assert_eq!(bad, expected);
    let reason = |i: usize| file.bad[i].reason.as_str();
    assert_eq!(reason(0), "is missing");
    assert!(reason(2).contains("found the truth value true, text is wanted"));
    assert!(reason(3).contains("not JSON"));
    assert!(reason(4).contains("`rejected` occurs twice"));
    assert!(reason(6).contains("a JSON object is wanted"));
    assert!(
        reason(8).contains("not UTF-8 at its byte 13"),
        "{}",
        reason(8)
    );
}

#[test]
fn an_unknown_format_says_which_fields_it_found() {
    let file = read(
        "x.jsonl",
        b"{\"turns\": [1], \"reference\": 2}\n{\"turns\": []}\n",
    );
    assert_eq!((file.format, file.rows.len(), file.bad.len()), (None, 0, 1));
    assert!(
        file.bad[0].reason.contains("`turns`, `reference`"),
        "{}",
        file.bad[0].reason
    );
    for (bytes, reason) in [(&b""[..], "empty"), (b"[]", "no rows"), (b"\0\0", "binary")] {
        let file = read("x", bytes);
        assert_eq!((file.format, file.bad.len()), (None, 1));
        assert!(
            file.bad[0].reason.contains(reason),
            "{}",
            file.bad[0].reason
        );
    }
}

#[test]
fn plain_text_is_cut_at_blank_lines() {
    let file = read("t.txt", "First\r\nline\r\n\r\n[Second] 香港\n".as_bytes());
    assert_eq!(file.format, Some(Format::PlainText));
    let texts: Vec<_> = file
        .rows
        .iter()
        .map(|row| match &row.row {
            Row::Text(text) => text.text.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(texts, ["First\nline", "[Second] 香港"]);
    assert_eq!(lines(&file), [1, 4]);
    let broken = read("t.txt", b"good\n\nbad \xff\n");
    assert_eq!((broken.rows.len(), broken.bad[0].line), (1, 3));
}

#[test]
fn rows_read_before_the_format_was_decided_keep_their_order() {
    let mut text = String::from("{\"a\": 1}\n");
    for i in 0..100 {
        text += &format!("{{\"prompt\": \"{i}\"}}\n");
    }
    let file = read("p.jsonl", text.as_bytes());
    assert_eq!(file.format, Some(Format::Prompt));
    assert!(lines(&file).into_iter().eq(2..=101));
    assert_eq!(
        (file.bad[0].line, file.bad[0].field.as_str()),
        (1, "prompt")
    );
}

#[test]
fn a_file_of_rubbish_is_given_up() {
    let file = read("r.jsonl", "x\n".repeat(30_000).as_bytes());
    assert!(file.bad.len() < 10_100, "{}", file.bad.len());
    assert!(file.bad.last().unwrap().reason.contains("given up"));
}

#[test]
fn a_missing_file_is_an_error_with_its_name() {
    let error = read_file(Path::new("no/such.jsonl")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("no/such.jsonl: can't be read"),
        "{error}"
    );
}
