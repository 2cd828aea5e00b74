//! No file takes more memory than its rows deserve. In a program of its own, as what is measured is
//! the whole program.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use rlhf_data::{CheckOptions, DataSet, FileReport, check_files};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The most memory that the program ever had, in MiB.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let size = line.unwrap().split_whitespace().nth(1).unwrap();
    size.parse::<usize>().unwrap() / 1024
}

fn report(path: &Path) -> FileReport {
    let data = DataSet::from(&[path.to_owned()]);
    check_files(&data, CheckOptions::default())
        .unwrap()
        .remove(0)
}

/// `times` the chunk between a start and an end.
fn repeated(out: &mut impl Write, [start, chunk, end]: [&str; 3], times: usize) -> io::Result<()> {
    out.write_all(start.as_bytes())?;
    for _ in 0..times {
        out.write_all(chunk.as_bytes())?;
    }
    out.write_all(end.as_bytes())
}

fn gzip(path: PathBuf, parts: [&str; 3], times: usize) -> PathBuf {
    let file = File::create(&path).unwrap();
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    repeated(&mut packer, parts, times).unwrap();
    packer.finish().unwrap();
    path
}

fn zstd(path: PathBuf, parts: [&str; 3], times: usize) -> PathBuf {
    let file = File::create(&path).unwrap();
    let mut packer = zstd::Encoder::new(file, 1).unwrap();
    repeated(&mut packer, parts, times).unwrap();
    packer.finish().unwrap();
    path
}

/// A Parquet file of one row with so many equal bytes, in one page.
fn parquet(path: PathBuf, bytes: usize) -> PathBuf {
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::{ByteArray, ByteArrayType};
    use parquet::file::properties::{EnabledStatistics, WriterProperties};
    let schema = "message rows { required binary text (UTF8); }";
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_dictionary_enabled(false)
        .build();
    let file = File::create(&path).unwrap();
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(file, schema.into(), properties.into())
            .unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let value = ByteArray::from(vec![b'a'; bytes]);
    column
        .typed::<ByteArrayType>()
        .write_batch(&[value], None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    path
}

#[test]
fn memory_follows_the_rows_and_not_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let refused = |path: PathBuf, reason: &str| {
        let bad = report(&path).check.bad;
        assert!(
            bad[0].reason.contains(reason),
            "{}: {bad:?}",
            path.display()
        );
    };
    // A megabyte that packs well.
    let filler = "a".repeat(1 << 20);
    let long = ["{\"text\": \"", filler.as_str(), "\"}\n"];
    // Far more rows than fit, written out: 100 MiB.
    let row = format!("{{\"text\": \"{}\"}}\n", "b".repeat(1000));
    let many = ["", &row.repeat(1000), ""];

    let before = peak();
    let path = at("many.jsonl");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    repeated(&mut file, many, 100).unwrap();
    file.flush().unwrap();
    let found = report(&path);
    assert_eq!((found.check.rows, found.check.bad.len()), (100_000, 0));
    assert_eq!(found.repeats.exact, 99_999);
    let grown = peak() - before;
    assert!(grown < 20, "{grown} MiB for rows of a kilobyte");

    let path = zstd(at("many.jsonl.zst"), many, 100);
    assert_eq!(report(&path).check.rows, 100_000);
    let table = ["text,n\n", "one,1\n\"two\nlines\",2\n", ""];
    let path = gzip(at("many.csv.gz"), table, 100_000);
    assert_eq!(report(&path).check.rows, 200_000);
    let grown = peak() - before;
    assert!(grown < 30, "{grown} MiB for packed rows");

    refused(
        gzip(at("endless.jsonl.gz"), long, 400),
        "longer than 64 MiB",
    );
    refused(
        zstd(
            at("endless.json.zst"),
            ["[{\"text\": \"", &filler, "\"}]"],
            400,
        ),
        "longer than",
    );
    refused(
        gzip(at("endless.csv.gz"), ["text,n\n\"", &filler, "\",1\n"], 400),
        "longer than",
    );
    refused(
        zstd(at("endless.txt.zst"), ["", &filler, "\n"], 400),
        "longer than",
    );
    let zeros = "0,".repeat(1 << 19);
    let values = ["{\"text\": \"a\", \"tokens\": [", zeros.as_str(), "0]}\n"];
    refused(gzip(at("values.jsonl.gz"), values, 2), "1048576 values");
    let grown = peak() - before;
    assert!(grown < 400, "{grown} MiB for rows of 100 MiB");
    a_page_of_parquet_is_unpacked_only_if_it_is_not_too_large(dir.path());
}

/// What writes such a page needs its memory too, so this comes last.
fn a_page_of_parquet_is_unpacked_only_if_it_is_not_too_large(dir: &Path) {
    let small = report(&parquet(dir.join("small.parquet"), 1 << 20));
    assert_eq!((small.check.rows, small.check.bad.len()), (1, 0));
    let large = report(&parquet(dir.join("large.parquet"), 300 << 20));
    assert!(
        large.check.bad[0].reason.contains("256 MiB"),
        "{:?}",
        large.check.bad
    );
}
