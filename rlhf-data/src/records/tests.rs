use super::*;
use std::io::Write;

fn with_input<T>(bytes: &[u8], read: impl FnOnce(&mut Input) -> T) -> T {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().write_all(bytes).unwrap();
    let mut input = Input::open(file.path()).unwrap();
    input.layout(file.path(), &crate::renames::Renames::default());
    read(&mut input)
}

fn plain(records: impl Iterator<Item = Record>) -> Vec<(usize, String)> {
    let text = |record: Record| match record.body {
        Ok(Body::Bytes(bytes)) => (record.line, String::from_utf8_lossy(&bytes).into_owned()),
        Ok(body) => panic!("{body:?}"),
        Err(reason) => (record.line, format!("! {reason}")),
    };
    records.take(100).map(text).collect()
}

fn lines(bytes: &[u8]) -> Vec<(usize, String)> {
    with_input(bytes, |input| plain(Lines::new(input)))
}

fn elements(bytes: &[u8]) -> Vec<(usize, String)> {
    with_input(bytes, |input| plain(Elements::new(input)))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn own(expected: &[(usize, &str)]) -> Vec<(usize, String)> {
    expected
        .iter()
        .map(|(line, text)| (*line, (*text).to_owned()))
        .collect()
}

#[test]
fn lines_are_counted_and_blank_ones_left_out() {
    let text = b"\xef\xbb\xbf{\"a\"\r\n\n  \r\n{\"b\"\nlast";
    assert_eq!(
        lines(text),
        own(&[(1, "{\"a\""), (4, "{\"b\""), (5, "last")])
    );
    assert_eq!(lines(b"one\n"), own(&[(1, "one")]));
    assert!(lines(b"").is_empty());
}

#[test]
fn lines_longer_than_a_chunk_stay_whole() {
    let long = "x".repeat(200_000);
    let text = format!("{long}\n{long}");
    let read = lines(text.as_bytes());
    assert_eq!(read, [(1, long.clone()), (2, long)]);
}

#[test]
fn elements_start_where_their_first_byte_stands() {
    let text = b"\n[\n  {\"a\": [1, {}],\n \"b\": \"]},\\\"\"},\r\n\n  {\"c\":\n 1}, 3\n]\n";
    let read = elements(text);
    let starts: Vec<_> = read.iter().map(|(line, _)| *line).collect();
    assert_eq!(starts, [3, 6, 7]);
    assert_eq!(read[0].1, "{\"a\": [1, {}],\n \"b\": \"]},\\\"\"}");
    assert_eq!(read[2].1, "3\n");
    assert!(elements(b"[ ]").is_empty());
}

#[test]
fn broken_arrays_say_what_is_wrong() {
    let last = |text: &[u8]| elements(text).pop().unwrap();
    assert_eq!(
        last(b"[{}\n, {\"a"),
        (2, "! the file ends inside this row".into())
    );
    assert!(last(b"[{},\n").1.contains("before the closing"));
    assert!(last(b"[").1.contains("before the closing"));
    assert!(last(b"[{},]").1.contains("comma"));
    assert!(
        elements(b"[{},,{}]")[1]
            .1
            .contains("missing before the comma")
    );
    assert!(last(b"[{}]\n{}").1.contains("more after"));
    assert_eq!(
        elements(b"[{\"a\": 1}{\"b\": 2}]"),
        own(&[(1, "{\"a\": 1}{\"b\": 2}")])
    );
    assert_eq!(elements(b"[}}, {}]"), own(&[(1, "}}"), (1, "{}")]));
}

#[test]
fn paragraphs_are_runs_of_lines() {
    let read = |bytes: &[u8]| with_input(bytes, |input| plain(Paragraphs::new(input)));
    let text = b"\n\none\r\n two \r\n \t\r\n\r\nthree";
    assert_eq!(read(text), own(&[(3, "one\n two "), (7, "three")]));
    assert!(read(b"\n \n").is_empty());
}

#[test]
fn gzip_is_unpacked_and_its_end_is_checked() {
    let text: String = (0..5000).map(|i| format!("line {}\n", i * 7919)).collect();
    let packed = gzip(text.as_bytes());
    assert_eq!(lines(&packed)[7], (8, format!("line {}", 7 * 7919)));
    let mut two = gzip(b"a\n");
    two.extend(gzip(b"b\n"));
    assert_eq!(lines(&two), own(&[(1, "a"), (2, "b")]));
    for cut in [3, 12, packed.len() / 2, packed.len() - 4] {
        let all = with_input(&packed[..cut], |input| {
            Lines::new(input).collect::<Vec<_>>()
        });
        let last = all.last().unwrap();
        let reason = last.body.as_ref().unwrap_err();
        assert!(reason.contains("ends early"), "{cut}: {reason}");
        assert_eq!(all.iter().filter(|r| r.body.is_err()).count(), 1);
    }
    let array = gzip(b"[{\"a\": 1}, {\"b\": 2}]");
    let cut = &array[..array.len() - 9];
    assert!(
        elements(cut)
            .iter()
            .any(|(_, text)| text.contains("ends early"))
    );
}

#[test]
fn a_row_beyond_the_limit_is_not_kept() {
    let mut collected = Collected::default();
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..=(LONGEST_ROW >> 20) {
        collected.extend(&chunk);
    }
    assert!(collected.bytes.capacity() == 0 && !collected.is_empty());
    assert!(collected.take().unwrap_err().contains("64 MiB"));
    assert!(collected.is_empty());
}
