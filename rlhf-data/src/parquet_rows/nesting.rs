//! How deep a Parquet file's fields lie within each other, found without following them: readers
//! follow them by recursion, and a file may state more levels than a stack has room for.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// Fields deeper than this are in no data set.
const DEEPEST: usize = 100;

/// Refuses a file whose fields lie too deep. What else may be wrong with it is left to its reader.
pub(super) fn refuse_deep(file: &File) -> io::Result<Result<(), String>> {
    let mut file = file;
    let length = file.seek(SeekFrom::End(0))?;
    let Some(tail_at) = length.checked_sub(8) else {
        return Ok(Ok(()));
    };
    file.seek(SeekFrom::Start(tail_at))?;
    let mut tail = [0; 4];
    file.read_exact(&mut tail)?;
    let size = u64::from(u32::from_le_bytes(tail));
    let Some(start) = tail_at.checked_sub(size) else {
        return Ok(Ok(()));
    };
    file.seek(SeekFrom::Start(start))?;
    let mut footer = Vec::new();
    file.take(size).read_to_end(&mut footer)?;
    Ok(match depth(&footer) {
        Some(depth) if depth > DEEPEST => Err(format!(
            "its fields lie {depth} deep in each other, and {DEEPEST} are allowed"
        )),
        _ => Ok(()),
    })
}

/// The depth of the schema in a footer; none if it is not to be understood.
fn depth(footer: &[u8]) -> Option<usize> {
    let mut thrift = Thrift(footer);
    let mut id = 0;
    loop {
        let kind = thrift.field(&mut id)?;
        if id == 2 && kind == LIST {
            break;
        }
        thrift.skip(kind, 0)?;
    }
    let (count, kind) = thrift.list()?;
    if kind != STRUCT {
        return None;
    }
    // Of each open group, how many of its fields are still to come.
    let (mut open, mut deepest): (Vec<u64>, usize) = (Vec::new(), 0);
    for _ in 0..count {
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        let children = thrift.children()?;
        if children > 0 {
            open.push(children);
            deepest = deepest.max(open.len());
        }
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Some(deepest)
}

const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Thrift's compact protocol, as far as it takes to skip what is not wanted.
struct Thrift<'a>(&'a [u8]);

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn varint(&mut self) -> Option<u64> {
        let (value, rest) = super::guard::varint(self.0)?;
        self.0 = rest;
        Some(value)
    }

    fn drop_bytes(&mut self, count: u64) -> Option<()> {
        self.0 = self.0.get(usize::try_from(count).ok()?..)?;
        Some(())
    }

    /// The next field's kind, 0 at the end of the struct, and its number in `id`.
    fn field(&mut self, id: &mut u64) -> Option<u8> {
        let head = self.byte()?;
        *id = match head >> 4 {
            0 if head != 0 => self.varint()? / 2,
            step => *id + u64::from(step),
        };
        match head & 0x0f {
            0 if head != 0 => None,
            kind => Some(kind),
        }
    }

    /// The number of a list's elements and their kind.
    fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Some((count, head & 0x0f))
    }

    /// Reads a field of the schema and says how many fields it holds.
    fn children(&mut self) -> Option<u64> {
        let (mut id, mut children) = (0, 0);
        loop {
            match self.field(&mut id)? {
                0 => return Some(children),
                5 if id == 5 => children = self.varint()? / 2,
                kind => self.skip(kind, 0)?,
            }
        }
    }

    fn skip(&mut self, kind: u8, level: usize) -> Option<()> {
        if level > 16 {
            return None;
        }
        match kind {
            1 | 2 => Some(()),
            3 => self.drop_bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.drop_bytes(8),
            8 => {
                let length = self.varint()?;
                self.drop_bytes(length)
            }
            LIST | 10 => {
                let (count, kind) = self.list()?;
                // Truth values take no byte as fields and one as elements.
                let kind = if kind <= 2 { 3 } else { kind };
                (0..count).try_for_each(|_| self.skip(kind, level + 1))
            }
            STRUCT => {
                let mut id = 0;
                loop {
                    match self.field(&mut id)? {
                        0 => return Some(()),
                        kind => self.skip(kind, level + 1)?,
                    }
                }
            }
            _ => None,
        }
    }
}
