use super::*;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;

const SCHEMA: &str = "message rows {
    optional binary prompt (UTF8);
    optional double chosen_rating;
    required boolean label;
    optional group messages (LIST) { repeated group list { optional group element {
        optional binary role (UTF8); optional binary content (UTF8); } } }
}";

/// Three rows in two groups, the second one without prompt and rating.
fn written(properties: WriterProperties) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties.into()).unwrap();
    let texts = |list: &[&str]| -> Vec<ByteArray> { list.iter().map(|&t| t.into()).collect() };
    for n in [2, 1] {
        let filled: &[i16] = if n == 2 { &[1, 0] } else { &[1] };
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&texts(&["é"]), Some(filled), None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<DoubleType>();
        typed
            .write_batch(&[if n == 2 { 0.1 } else { f64::NAN }], Some(filled), None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let labels = [true, false];
        column
            .typed::<BoolType>()
            .write_batch(&labels[..n], None, None)
            .unwrap();
        column.close().unwrap();
        for values in [["user", "assistant"], ["u", "a"]] {
            let mut column = group.next_column().unwrap().unwrap();
            let typed = column.typed::<ByteArrayType>();
            // Two turns in the first row, no list in the second.
            let (defined, repeated): (&[i16], &[i16]) = if n == 2 {
                (&[4, 4, 0], &[0, 1, 0])
            } else {
                (&[4, 4], &[0, 1])
            };
            typed
                .write_batch(&texts(&values), Some(defined), Some(repeated))
                .unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn read(bytes: &[u8]) -> Result<Vec<Record>, String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    ParquetRows::open(file).map(|rows| rows.take(1000).collect())
}

fn objects(bytes: &[u8]) -> Vec<Value> {
    let object = |record: Record| match record.body.unwrap() {
        Body::Object(object) => Value::Object(object),
        other => panic!("{other:?}"),
    };
    read(bytes).unwrap().into_iter().map(object).collect()
}

#[test]
fn rows_are_objects_whatever_packs_their_columns() {
    let turns = json!([{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]);
    let wanted = [
        json!({"prompt": "é", "chosen_rating": 0.1, "label": true, "messages": turns}),
        json!({"prompt": null, "chosen_rating": null, "label": false, "messages": null}),
        json!({"prompt": "é", "chosen_rating": null, "label": true, "messages": turns}),
    ];
    let packings = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(Default::default()),
    ];
    for packing in packings {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let properties = WriterProperties::builder()
                .set_compression(packing)
                .set_writer_version(version);
            let bytes = written(properties.build());
            assert_eq!(objects(&bytes), wanted, "{packing} {version:?}");
        }
    }
    for encoding in [
        Encoding::DELTA_LENGTH_BYTE_ARRAY,
        Encoding::DELTA_BYTE_ARRAY,
    ] {
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let prompt = parquet::schema::types::ColumnPath::from("prompt");
        let properties = properties.set_column_encoding(prompt, encoding).build();
        assert_eq!(objects(&written(properties)), wanted, "{encoding}");
    }
    let lines: Vec<_> = read(&written(WriterProperties::default())).unwrap();
    assert!(lines.iter().map(|record| record.line).eq(1..=3));
}

#[test]
fn a_packing_that_is_not_built_in_is_named() {
    let bytes = written(WriterProperties::builder().build());
    assert!(read(&bytes[..bytes.len() - 3]).is_err());
    assert!(read(b"PAR1").is_err());
    assert!(read(b"PAR1\x01\x00\x00\x00PAR1").is_err());
    assert!(read(b"PAR1\xff\xff\xff\xffPAR1").is_err());
}

#[test]
fn pages_that_lie_about_their_size_get_no_memory() {
    let size = |bytes: &[u8]| guard::unpacked_size(bytes);
    assert_eq!(size(&[0x15, 0, 0x15, 20, 0x15, 20, 0x2c]), Some(10));
    assert_eq!(
        size(&[0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 2]),
        Some(0x7fff_ffff)
    );
    assert_eq!(size(b"PAR1"), None);
    assert_eq!(size(&[0x15, 0x80, 0x80]), None);

    // The first page's header of the first column states almost two GiB.
    let mut bytes = written(
        WriterProperties::builder()
            .set_dictionary_enabled(false)
            .build(),
    );
    let head = [0x15, 0, 0x15];
    let at = bytes.windows(3).position(|w| w == head).unwrap();
    let rest = bytes.split_off(at + 3);
    bytes.extend([0xfe, 0xff, 0xff, 0xff, 0x0f]);
    bytes.extend(&rest[1..]);
    let found = read(&bytes);
    let refused = |record: &Record| record.body.as_ref().is_err_and(|r| r.contains("256 MiB"));
    assert!(found.is_err() || found.unwrap().iter().any(refused));
}

#[test]
fn bytes_that_are_no_text_are_not_taken_for_it() {
    assert_eq!(
        value(&Field::Bytes(ByteArray::from(vec![0xff, 0]))),
        json!({"bytes": 2})
    );
    assert_eq!(
        value(&Field::Bytes(ByteArray::from(Bytes::from_static(b"a")))),
        json!("a")
    );
    assert_eq!(value(&Field::Float(0.1)), json!(0.1));
    assert_eq!(value(&Field::Double(f64::INFINITY)), Value::Null);
}

#[test]
fn fields_within_fields_without_end_are_refused() {
    use parquet::basic::{Repetition, Type as Physical};
    use parquet::schema::types::Type;
    let deep = |depth: usize| {
        let leaf = Type::primitive_type_builder("f", Physical::BOOLEAN);
        let mut field = Arc::new(leaf.with_repetition(Repetition::REQUIRED).build().unwrap());
        for _ in 0..depth {
            let group = Type::group_type_builder("f").with_repetition(Repetition::REQUIRED);
            field = Arc::new(group.with_fields(vec![field]).build().unwrap());
        }
        let rows = Type::group_type_builder("rows").with_fields(vec![field]);
        let schema = Arc::new(rows.build().unwrap());
        let mut bytes = Vec::new();
        let properties = Arc::new(WriterProperties::default());
        let mut writer = SerializedFileWriter::new(&mut bytes, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<BoolType>()
            .write_batch(&[true], None, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        bytes
    };
    assert_eq!(read(&deep(20)).unwrap().len(), 1);
    // Writing follows the fields too, with a stack of its own.
    let big = std::thread::Builder::new().stack_size(256 << 20);
    let bytes = big.spawn(move || deep(20_000)).unwrap().join().unwrap();
    let Err(reason) = read(&bytes) else {
        panic!("it is read")
    };
    assert!(reason.contains("20001 deep"), "{reason}");
}
