//! The bytes of a file, unpacked, and what they look like.

use crate::renames::Renames;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const CHUNK: usize = 64 * 1024;

/// How rows lie in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One JSON object a line.
    Lines,
    /// One JSON array of objects.
    Array,
    /// A table with a header, its cells parted by this byte.
    Table(u8),
    /// Parquet.
    Columns,
    /// Plain text.
    Paragraphs,
    /// Nothing that can be read; why.
    Unreadable(String),
}

/// How a file is packed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// Recognises the packing by a file's first bytes.
    fn of(magic: &[u8]) -> Self {
        if magic.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if magic.starts_with(&ZSTD) {
            Self::Zstd
        } else {
            Self::Plain
        }
    }
}

const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file, gzip or zstd taken off, read in chunks. An error ends the data and is kept.
pub(crate) struct Input {
    inner: Box<dyn Read>,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    error: Option<io::Error>,
    packing: Packing,
}

impl Input {
    /// Opens a file; gzip and zstd are recognised by its first bytes.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut magic = Vec::new();
        (&mut file).take(4).read_to_end(&mut magic)?;
        let packing = Packing::of(&magic);
        let file = BufReader::with_capacity(CHUNK, io::Cursor::new(magic).chain(file));
        let inner: Box<dyn Read> = match packing {
            Packing::Plain => Box::new(file),
            Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
            Packing::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        };
        Ok(Self {
            inner,
            buffer: Vec::new(),
            at: 0,
            ended: false,
            error: None,
            packing,
        })
    }

    /// Bytes that come next, none at the end.
    pub(crate) fn chunk(&mut self) -> &[u8] {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            self.at = 0;
            self.fill(1);
        }
        &self.buffer[self.at..]
    }

    /// Takes bytes off the chunk.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.at = (self.at + bytes).min(self.buffer.len());
    }

    /// What ended the data early, if anything did.
    pub(crate) fn error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    /// Whether an error speaks of the packed data rather than of the system.
    pub(crate) fn is_packed(&self) -> bool {
        self.packing != Packing::Plain
    }

    /// The unpacked data, from the beginning, in a file of its own, which has no name and is gone
    /// with its handle; none if there is more than `most` of it. To be called instead of
    /// [`Self::chunk`].
    pub(crate) fn unpacked(&mut self, most: u64) -> io::Result<Option<File>> {
        let mut file = tempfile::tempfile()?;
        let head = io::Cursor::new(std::mem::take(&mut self.buffer));
        let mut all = head.chain(&mut self.inner).take(most.saturating_add(1));
        let written = io::copy(&mut all, &mut file)?;
        Ok((written <= most).then_some(file))
    }

    fn fill(&mut self, least: usize) {
        while !self.ended && self.buffer.len() < least {
            let old = self.buffer.len();
            self.buffer.resize(old + CHUNK, 0);
            let read = self.inner.read(&mut self.buffer[old..]);
            self.buffer.truncate(old + read.as_ref().map_or(0, |n| *n));
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.ended = true;
                    self.error = Some(e);
                }
            }
        }
    }

    /// Recognises the layout from the beginning and skips a byte-order mark. To be called first.
    pub(crate) fn layout(&mut self, path: &Path, renames: &Renames) -> Layout {
        self.fill(CHUNK);
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
        if self.buffer.is_empty() && self.error.is_some() {
            // The reader of lines reports the error with its place.
            return Layout::Lines;
        }
        layout(&self.buffer[self.at..], path, renames)
    }
}

fn layout(head: &[u8], path: &Path, renames: &Renames) -> Layout {
    if head.starts_with(b"PAR1") {
        return Layout::Columns;
    }
    if let Some(reason) = foreign(head) {
        return Layout::Unreadable(format!("{reason}; {WANTED}"));
    }
    let extension = extension(path);
    let mut rest = head.trim_ascii_start();
    let Some(&first) = rest.first() else {
        return Layout::Unreadable("the file is empty".to_owned());
    };
    rest = rest[1..].trim_ascii_start();
    let json_file = matches!(extension.as_str(), "json" | "jsonl" | "ndjson");
    match (first, rest.first()) {
        (b'{', Some(b'"' | b'}')) if spread_out(head) => Layout::Unreadable(
            "an object spread over several lines; rows are wanted one a line, or as one JSON array"
                .to_owned(),
        ),
        (b'{', Some(b'"' | b'}')) => Layout::Lines,
        (b'[', Some(b'{' | b']')) => Layout::Array,
        (b'[', _) if json_file => Layout::Array,
        _ if json_file => Layout::Lines,
        _ if extension == "tsv" => Layout::Table(b'\t'),
        _ if extension == "csv" => Layout::Table(delimiter(head)),
        _ if extension == "parquet" => Layout::Unreadable(format!(
            "not a Parquet file, whatever its name says; {WANTED}"
        )),
        _ => table_of_known_fields(head, renames).map_or(Layout::Paragraphs, Layout::Table),
    }
}

const WANTED: &str = "JSON lines, a JSON array, CSV, Parquet or plain text is wanted";

/// What a file is that certainly holds no text in UTF-8.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 6] = [
        (b"ARROW1", "an Arrow file"),
        (b"PK\x03\x04", "a zip archive"),
        (&[0x1f, 0x8b], "a file that was packed twice"),
        (&ZSTD, "a file that was packed twice"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"\xfe\xff", "text in UTF-16"),
    ];
    let known = known
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, name)| *name);
    known.or_else(|| head.contains(&0).then_some("binary data"))
}

/// The byte that parts the cells of a table: the one of comma, semicolon and tab that occurs most
/// in its first line.
fn delimiter(head: &[u8]) -> u8 {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    let count = |byte: u8| line.iter().filter(|b| **b == byte).count();
    // Of equally frequent ones the last counts for `max_by_key`, so the comma stands there.
    let candidates = [b'\t', b';', b','];
    candidates
        .into_iter()
        .max_by_key(|byte| count(*byte))
        .unwrap_or(b',')
}

/// The delimiter if the first line is the header of a table of a known format: its name doesn't
/// say what the file is, so its fields must.
fn table_of_known_fields(head: &[u8], renames: &Renames) -> Option<u8> {
    let line = head.split(|b| *b == b'\n').next()?;
    let delimiter = delimiter(line);
    let line = std::str::from_utf8(line).ok()?;
    let names: Vec<&str> = line.trim_end().split(char::from(delimiter)).collect();
    // Prose has a space behind its commas.
    if names.len() < 2 || names.iter().any(|name| name.starts_with(' ')) {
        return None;
    }
    let name = |name: &&str| (name.trim_matches('"').to_owned(), "".into());
    let fields = renames.apply(names.iter().map(name).collect());
    let format = crate::recognise::of_row(&fields)?;
    (format != crate::format::Format::Text).then_some(delimiter)
}

/// Whether the first line that is not blank is only the beginning of an object.
fn spread_out(head: &[u8]) -> bool {
    let mut lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty()) == Some(b"{")
}

/// The last part of the name in lower case, without what says how the file is packed.
fn extension(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let packed = [".gz", ".zst", ".zstd"];
    let plain = packed.iter().find_map(|end| name.strip_suffix(end));
    let name = plain.unwrap_or(&name);
    name.rsplit_once('.')
        .map(|(_, end)| end.to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_decide_and_names_only_break_ties() {
        let of =
            |head: &str, name: &str| layout(head.as_bytes(), Path::new(name), &Renames::default());
        assert_eq!(of("\n {\"a\": 1}\n", "x"), Layout::Lines);
        assert_eq!(of("{}", "x.txt"), Layout::Lines);
        assert_eq!(of(" [\n {", "x.txt"), Layout::Array);
        assert_eq!(of("[]", "x"), Layout::Array);
        assert_eq!(of("[Enter two men]", "play.txt"), Layout::Paragraphs);
        assert_eq!(of("{ curly } text", "a.txt"), Layout::Paragraphs);
        assert_eq!(of("garbage", "a.jsonl.gz"), Layout::Lines);
        assert_eq!(of("[1, 2]", "a.json"), Layout::Array);
        assert_eq!(of("PAR1", "a.json"), Layout::Columns);
    }

    #[test]
    fn tables_are_told_by_their_name_or_their_fields() {
        let of =
            |head: &str, name: &str| layout(head.as_bytes(), Path::new(name), &Renames::default());
        assert_eq!(of("a,b\n", "X.CSV.gz"), Layout::Table(b','));
        assert_eq!(of("text\n", "x.csv"), Layout::Table(b','));
        assert_eq!(of("a;b\n1,2,3\n", "x.csv"), Layout::Table(b';'));
        assert_eq!(of("a;b\n", "x.tsv.zst"), Layout::Table(b'\t'));
        assert_eq!(of("id,prompt,\"completion\"\r\n", "-"), Layout::Table(b','));
        assert_eq!(of("prompt\tcompletion\n", "x"), Layout::Table(b'\t'));
        let renamed = Renames::parse(&["prompt=q", "chosen=good", "rejected=bad"]).unwrap();
        let table = layout(b"q,good,bad\n", Path::new("-"), &renamed);
        assert_eq!(table, Layout::Table(b','));
        for prose in [
            "Well, text, and so on\n",
            "first,text\n",
            "prompt, response\n",
        ] {
            assert_eq!(of(prose, "x"), Layout::Paragraphs);
        }
    }

    #[test]
    fn what_is_no_text_is_named() {
        let of = |head: &[u8], name: &str| match layout(head, Path::new(name), &Renames::default())
        {
            Layout::Unreadable(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(of(b"text", "x.parquet.zst").starts_with("not a Parquet file"));
        assert!(of(&[0x1f, 0x8b, 8], "x.gz").starts_with("a file that was packed twice"));
        assert!(of(b"a\0b", "x").starts_with("binary data"));
        assert!(of(b" \n", "x").contains("empty"));
        assert!(of(b"{\n  \"a\": 1\n}", "x.json").contains("several lines"));
    }
}
