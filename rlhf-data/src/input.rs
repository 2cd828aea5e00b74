//! The bytes of a file, unpacked, and what they look like.

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
    /// Plain text.
    Paragraphs,
    /// Nothing that can be read; why.
    Unreadable(String),
}

/// A file, gzip taken off, read in chunks. An error ends the data and is kept.
pub(crate) struct Input {
    inner: Box<dyn Read>,
    buffer: Vec<u8>,
    at: usize,
    ended: bool,
    error: Option<io::Error>,
    gzip: bool,
}

impl Input {
    /// Opens a file; gzip is recognised by its first bytes.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut magic = Vec::new();
        (&mut file).take(2).read_to_end(&mut magic)?;
        let gzip = magic == [0x1f, 0x8b];
        let file = io::Cursor::new(magic).chain(file);
        let inner: Box<dyn Read> = if gzip {
            Box::new(flate2::bufread::MultiGzDecoder::new(BufReader::new(file)))
        } else {
            Box::new(file)
        };
        Ok(Self {
            inner,
            buffer: Vec::new(),
            at: 0,
            ended: false,
            error: None,
            gzip,
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
    pub(crate) fn is_gzip(&self) -> bool {
        self.gzip
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
    pub(crate) fn layout(&mut self, path: &Path) -> Layout {
        self.fill(CHUNK);
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
        if self.buffer.is_empty() && self.error.is_some() {
            // The reader of lines reports the error with its place.
            return Layout::Lines;
        }
        layout(&self.buffer[self.at..], path)
    }
}

fn layout(head: &[u8], path: &Path) -> Layout {
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
        _ if matches!(extension.as_str(), "csv" | "tsv") => {
            Layout::Unreadable(format!("a .{extension} file; {WANTED}"))
        }
        _ => Layout::Paragraphs,
    }
}

const WANTED: &str = "JSON lines, a JSON array or plain text is wanted";

/// What a file is that certainly holds no text in UTF-8.
fn foreign(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 6] = [
        (b"PAR1", "a Parquet file"),
        (b"ARROW1", "an Arrow file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"\xff\xfe", "text in UTF-16"),
        (b"\xfe\xff", "text in UTF-16"),
    ];
    let known = known
        .iter()
        .find(|(magic, _)| head.starts_with(magic))
        .map(|(_, name)| *name);
    known.or_else(|| head.contains(&0).then_some("binary data"))
}

/// Whether the first line that is not blank is only the beginning of an object.
fn spread_out(head: &[u8]) -> bool {
    let mut lines = head.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty()) == Some(b"{")
}

/// The last part of the name in lower case, without `.gz`.
fn extension(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.')
        .map(|(_, end)| end.to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_decide_and_names_only_break_ties() {
        let of = |head: &str, name: &str| layout(head.as_bytes(), Path::new(name));
        assert_eq!(of("\n {\"a\": 1}\n", "x"), Layout::Lines);
        assert_eq!(of("{}", "x.txt"), Layout::Lines);
        assert_eq!(of(" [\n {", "x.txt"), Layout::Array);
        assert_eq!(of("[]", "x"), Layout::Array);
        assert_eq!(of("[Enter two men]", "play.txt"), Layout::Paragraphs);
        assert_eq!(of("{ curly } text", "a.txt"), Layout::Paragraphs);
        assert_eq!(of("garbage", "a.jsonl.gz"), Layout::Lines);
        assert_eq!(of("[1, 2]", "a.json"), Layout::Array);
    }

    #[test]
    fn what_is_no_text_is_named() {
        let of = |head: &[u8], name: &str| match layout(head, Path::new(name)) {
            Layout::Unreadable(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(of(b"PAR1\x15", "x.parquet").starts_with("a Parquet file"));
        assert!(of(b"a\0b", "x").starts_with("binary data"));
        assert!(of(b"a,b\n", "X.CSV.gz").starts_with("a .csv file"));
        assert!(of(b" \n", "x").contains("empty"));
        assert!(of(b"{\n  \"a\": 1\n}", "x.json").contains("several lines"));
    }
}
