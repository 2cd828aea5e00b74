use super::*;
use serde_json::json;
use std::io::Write;

fn read_with(bytes: &[u8], delimiter: u8) -> Vec<(usize, Result<Value, String>)> {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all(bytes).unwrap();
    let mut input = Input::open(file.path()).unwrap();
    input.layout(file.path(), &crate::renames::Renames::default());
    let records = Table::new(&mut input, delimiter).take(1000);
    let plain = |record: Record| {
        let body = record.body.map(|body| match body {
            Body::Object(object) => Value::Object(object),
            other => panic!("{other:?}"),
        });
        (record.line, body)
    };
    records.map(plain).collect()
}

fn read(text: &str) -> Vec<(usize, Result<Value, String>)> {
    read_with(text.as_bytes(), b',')
}

#[test]
fn cells_stand_under_their_columns_whatever_ends_a_line() {
    let wanted = [
        (2, Ok(json!({"a": "1", "b": "x, \"y\"\nz"}))),
        (5, Ok(json!({"a": "", "b": "é"}))),
    ];
    for line in ["\n", "\r\n"] {
        let text = "\u{feff}a, b\n1,\"x, \"\"y\"\"\nz\"\n\n,é\n".replace('\n', line);
        let found = read(&text.replace("\"y\"\"\r\n", "\"y\"\"\n"));
        assert_eq!(found, wanted, "{line:?}");
        assert_eq!(read(text.trim_end()).len(), 2, "no line break at the end");
    }
    assert_eq!(
        read_with(b"a\tb\n1\t2,3\n", b'\t'),
        [(2, Ok(json!({"a": "1", "b": "2,3"})))]
    );
    assert!(read("a,b\n").is_empty());
}

#[test]
fn cells_of_columns_that_hold_no_text_are_read() {
    let text = "messages,chosen_rating,label,prompt,note\n\
                \"[{\"\"role\"\": \"\"user\"\"}]\",4.5,True,[not turns],7\n\
                ,,0,\"[{\"\"role\"\": \"\"user\"\"}]\",[1]\n";
    let found = read(text);
    let turns = json!([{"role": "user"}]);
    let one = json!({"messages": turns, "chosen_rating": 4.5, "label": "True",
                     "prompt": "[not turns]", "note": "7"});
    let two = json!({"messages": null, "chosen_rating": null, "label": "0",
                     "prompt": turns, "note": "[1]"});
    assert_eq!(found, [(2, Ok(one)), (3, Ok(two))]);
}

#[test]
fn broken_tables_say_what_is_wrong() {
    let reason = |text: &[u8]| {
        let found = read_with(text, b',');
        let bad = found
            .into_iter()
            .find_map(|(line, body)| Some((line, body.err()?)));
        bad.unwrap()
    };
    assert_eq!(reason(b"a,b\n1,2\n3\n").0, 3);
    assert!(reason(b"a,b\n1,2,3\n").1.contains("3 cells"));
    assert!(reason(b"a,b\n1,\"open\n2,3\n").1.contains("quoted cell"));
    assert!(reason(b"a,a\n1,2\n").1.contains("`a` twice"));
    assert!(reason(b"a,b\n1,\xff\n").1.contains("cell 2 is not UTF-8"));
    let wide = format!("{}\n", "x,".repeat(20_000));
    assert!(reason(wide.as_bytes()).1.contains("longer"));
}

#[test]
fn a_long_cell_is_read_and_an_endless_one_is_not() {
    let long = "x".repeat(3 << 20);
    let found = read(&format!("a,b\n1,{long}\n2,3\n"));
    assert_eq!(
        found[0].1.as_ref().unwrap()["b"].as_str().unwrap().len(),
        long.len()
    );
    assert_eq!(found[1], (3, Ok(json!({"a": "2", "b": "3"}))));
    let endless = "x".repeat(LONGEST_ROW + 10);
    let found = read(&format!("a,b\n1,{endless}\n2,3\n"));
    assert!(found[0].1.as_ref().unwrap_err().contains("64 MiB"));
    assert_eq!(found[1].1, Ok(json!({"a": "2", "b": "3"})));
}
