//! Properties that hold for any file, however damaged or hostile.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rlhf_data::{
    CheckOptions, DataSet, FileRows, OnBadRow, Row, Tokenizer, check_file, check_files,
    load_conversations, load_preferences, load_prompts, read_file,
};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, OnceLock};

/// A well-formed file of each format; mutations of them reach deeper than random bytes.
const SAMPLES: [&str; 18] = [
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
    "prompt,chosen,rejected,chosen_rating\np,a,\"b, \"\"c\"\"\nd\",4.5\nq,é,香,\n",
    "messages\tlabel\n[{\"role\": \"user\", \"content\": \"u\"}, {\"role\": \"assistant\", \
     \"content\": \"a\"}]\tTrue\n",
    "\u{feff}Question,Best Answer,Correct Answers,Incorrect Answers\nq?,b,b; c,x\n",
    "{\"prompt\": \"p\", \"completion\": \"c\", \"label\": true}\n{\"prompt\": \"p\", \
     \"completion\": [{\"role\": \"assistant\", \"content\": \"c\"}], \"label\": 0}\n",
    "{\"instruction\": \"i\", \"input\": \"\", \"response1\": \"a\", \"response2\": \"b\", \
     \"annotator1\": 1, \"annotator2\": 1, \"annotator3\": 0}\n",
    "{\"instruction\": \"i\", \"completions\": [{\"response\": \"a\", \"overall_score\": 1}, \
     {\"response\": \"b\", \"overall_score\": 2.5}]}\n",
    "{\"question_id\": 1, \"turns\": [\"a\", \"b\"], \"reference\": [\"\", \"c\"]}\n",
    "{\"input\": \"i\", \"targets\": {\"choices\": [\"a\", \"b\"], \"labels\": [1, 0]}}\n",
    "{\"prompt\": \"p\", \"instruction_id_list\": [\"a:b\"], \"kwargs\": [{\"n\": 1}]}\n",
];

const NAMES: [&str; 9] = [
    "a.jsonl",
    "a.json",
    "a.txt",
    "a",
    "a.json.gz",
    "a.csv",
    "a.tsv",
    "a.parquet",
    "a.csv.zst",
];

/// Parquet files of a few rows: flat and nested, of either version.
fn parquet_samples() -> &'static [Vec<u8>] {
    static SAMPLES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        use parquet::basic::{Compression, Encoding, ZstdLevel};
        use parquet::file::properties::{WriterProperties, WriterVersion};
        let new = WriterProperties::builder;
        let properties = [
            new().build(),
            new().set_compression(Compression::SNAPPY).build(),
            new()
                .set_compression(Compression::ZSTD(ZstdLevel::default()))
                .set_writer_version(WriterVersion::PARQUET_2_0)
                .build(),
            new()
                .set_dictionary_enabled(false)
                .set_encoding(Encoding::DELTA_BYTE_ARRAY)
                .build(),
        ];
        properties.into_iter().map(parquet_file).collect()
    })
}

fn parquet_file(properties: parquet::file::properties::WriterProperties) -> Vec<u8> {
    use parquet::data_type::{ByteArray, ByteArrayType};
    let schema = "message rows { required binary prompt (UTF8);
        required group messages (LIST) { repeated group list { required group element {
            required binary role (UTF8); required binary content (UTF8); } } } }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let mut bytes = Vec::new();
    let mut file =
        parquet::file::writer::SerializedFileWriter::new(&mut bytes, schema, properties.into())
            .unwrap();
    let mut group = file.next_row_group().unwrap();
    let texts =
        |list: &[&str]| -> Vec<ByteArray> { list.iter().map(|&text| text.into()).collect() };
    let mut write = |values: &[&str], levels: Option<(&[i16], &[i16])>| {
        let mut column = group.next_column().unwrap().unwrap();
        let (defined, repeated) = (levels.map(|l| l.0), levels.map(|l| l.1));
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&texts(values), defined, repeated)
            .unwrap();
        column.close().unwrap();
    };
    write(&["p", "q"], None);
    let levels: (&[i16], &[i16]) = (&[1, 1, 1], &[0, 1, 0]);
    write(&["user", "assistant", "user"], Some(levels));
    write(&["u", "a", "é"], Some(levels));
    group.close().unwrap();
    file.close().unwrap();
    bytes
}

/// Reads the bytes as a file and checks what holds of any.
fn check_bytes(name: &str, bytes: &[u8]) -> FileRows {
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
    assert_eq!((check.rows, &check.bad), (file.rows.len(), &file.bad));
    let data = DataSet::from(&[path]);
    let reports = check_files(&data, CheckOptions::default()).unwrap();
    assert_eq!(reports[0].check, check);
    assert_eq!(reports[0].lengths.is_some(), check.rows > 0);
    // Whoever loads it gets rows or a reason, never something made up.
    let prompts = file.rows.iter().map(|found| match &found.row {
        Row::Text(text) => text.text.lines().count(),
        _ => 1,
    });
    let prompts: usize = prompts.sum();
    for on_bad in [OnBadRow::Fail, OnBadRow::Skip] {
        if let Ok(loaded) = load_prompts(&data, on_bad) {
            assert_eq!(loaded.rows.len(), prompts);
        }
        let counts = [
            load_preferences(&data, on_bad).map(|loaded| loaded.rows.len()),
            load_conversations(&data, on_bad).map(|loaded| loaded.rows.len()),
        ];
        for count in counts.into_iter().flatten() {
            assert_eq!(count, check.rows);
        }
    }
    file
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
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
        check_bytes(name, &zstd(&bytes));
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
        for mut packed in [gzip(sample.as_bytes()), zstd(sample.as_bytes())] {
            mutate(&mut packed, &changes);
            check_bytes(name, &packed);
        }
    }

    #[test]
    fn damaged_parquet_is_read_without_panic(
        sample in 0..4_usize,
        changes in vec(any::<(Index, u8, u8)>(), 1..5),
        tail in 0..40_usize,
    ) {
        let mut bytes = parquet_samples()[sample].clone();
        // Half of the changes near the end, where the file says what it holds.
        let near_end = bytes.len().saturating_sub(40 * tail);
        let mut end = bytes.split_off(near_end);
        mutate(&mut end, &changes);
        bytes.extend(end);
        check_bytes("a.parquet", &bytes);
        check_bytes("a", &gzip(&bytes));
    }

    #[test]
    fn a_field_of_any_kind_makes_a_bad_row_or_a_right_one(
        sample in select(&SAMPLES[..]),
        place in any::<Index>(),
        odd in 0..9_usize,
    ) {
        let lines = sample.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        for mut row in lines.filter(Value::is_object) {
            let object = row.as_object_mut().unwrap();
            let names: Vec<_> = object.keys().cloned().collect();
            let name = place.get(&names);
            let kinds = [
                Value::Null, json!(true), json!(-1e300), json!(""), json!("\u{0}\u{fffd}\r\n"),
                json!([]), json!({}), json!([null, [1], {"role": 3}]), json!([{"role": "user"}]),
            ];
            object.insert(name.clone(), kinds[odd].clone());
            let file = check_bytes("a.jsonl", format!("{row}\n").as_bytes());
            prop_assert_eq!(file.rows.len() + file.bad.len(), 1);
        }
    }

    #[test]
    fn marks_line_ends_and_packing_change_no_row(sample in select(&SAMPLES[..]), name in select(&["a", "a.csv"][..])) {
        // Inside a quoted cell a line break is content.
        let sample = sample.replace("\nd\"", " d\"");
        let plain = check_bytes(name, sample.as_bytes());
        let rows = |file: FileRows| file.rows.into_iter().map(|located| located.row).collect::<Vec<Row>>();
        let plain = rows(plain);
        let unmarked = sample.trim_start_matches('\u{feff}');
        let windows = unmarked.replace("\r\n", "\n").replace('\n', "\r\n");
        let others = [
            format!("\u{feff}{unmarked}").into_bytes(),
            windows.clone().into_bytes(),
            gzip(sample.as_bytes()),
            zstd(windows.as_bytes()),
            [gzip(unmarked.as_bytes()), gzip(b"\n")].concat(),
        ];
        for other in others {
            prop_assert_eq!(&rows(check_bytes(name, &other)), &plain);
        }
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

#[test]
fn what_is_written_wrong_is_said_for_every_layout() {
    let reason = |name: &str, bytes: &[u8]| {
        let file = check_bytes(name, bytes);
        file.bad
            .into_iter()
            .map(|bad| bad.reason)
            .collect::<String>()
    };
    assert!(reason("a.jsonl", b"{\"text\": NaN}").contains("not JSON"));
    assert!(reason("a.jsonl", b"{\"text\": \"\xff\"}").contains("not UTF-8"));
    let deep = format!("{{\"messages\": {}", "[".repeat(200_000));
    assert!(reason("a.jsonl", deep.as_bytes()).contains("recursion"));
    assert!(reason("a.json", b"[{\"text\": \"a\"}").contains("ends inside"));
    let packed = zstd(SAMPLES[0].as_bytes());
    assert!(reason("a", &packed[..packed.len() - 4]).contains("ends early"));
    let packed = gzip(SAMPLES[9].as_bytes());
    assert!(reason("a.csv", &packed[..packed.len() - 4]).contains("ends early"));
    let whole = &parquet_samples()[0];
    assert!(reason("a", &whole[..whole.len() - 9]).contains("not a whole Parquet file"));
    assert!(reason("a.parquet", b"no columns").contains("not a Parquet file"));
    assert!(reason("a", &gzip(&gzip(b"{}"))).contains("packed twice"));
    let again = check_bytes("a", &zstd(whole));
    assert_eq!(again.rows.len() + again.bad.len(), 2, "packed once more");
}
