//! What a Parquet file says of its parts, checked before memory is given to them.

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length, RowGroupReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};

/// A page of more bytes than this is not unpacked. Writers make pages of one MiB.
const LARGEST_PAGE: u64 = 256 << 20;

/// A page of more values than this is not read.
const MOST_VALUES: u64 = 16 << 20;

/// A file whose pages are looked at before they are unpacked.
pub(super) struct Guarded(File);

impl Guarded {
    pub(super) fn new(file: File) -> Self {
        Self(file)
    }
}

impl Length for Guarded {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Guarded {
    type T = std::io::Chain<Cursor<Vec<u8>>, BufReader<File>>;

    /// Every page is read through this, from its header on.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut reader = self.0.get_read(start)?;
        let mut head = Vec::new();
        (&mut reader).take(24).read_to_end(&mut head)?;
        if unpacked_size(&head).is_some_and(|size| size > LARGEST_PAGE) {
            return Err(refused("a page is larger than 256 MiB"));
        }
        Ok(Cursor::new(head).chain(reader))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.0.len()) {
            return Err(refused("a part lies beyond the end"));
        }
        self.0.get_bytes(start, length)
    }
}

fn refused(reason: &str) -> ParquetError {
    ParquetError::General(reason.to_owned())
}

/// The unpacked size that a page header states, if this is one: in Thrift's compact protocol its
/// first three fields, integers all, are the page's kind, unpacked size and packed size.
pub(super) fn unpacked_size(head: &[u8]) -> Option<u64> {
    const NEXT_FIELD_I32: u8 = 0x15;
    let mut bytes = head;
    let mut sizes = [0; 3];
    for size in &mut sizes {
        let (&kind, rest) = bytes.split_first()?;
        if kind != NEXT_FIELD_I32 {
            return None;
        }
        (*size, bytes) = varint(rest)?;
    }
    // Zigzag: even numbers are twice the value.
    Some(sizes[1] / 2)
}

pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (i, &byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some((value, &bytes[i + 1..]));
        }
    }
    None
}

/// A row group that hands out guarded pages.
pub(super) struct GuardedGroup<'a>(pub(super) Box<dyn RowGroupReader + 'a>);

impl RowGroupReader for GuardedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let column = self.0.metadata().column(i).column_descr();
        Ok(Box::new(GuardedPages {
            inner: self.0.get_column_page_reader(i)?,
            repeated: column.max_rep_level() > 0,
            optional: column.max_def_level() > 0,
        }))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// The pages of a column, none of which states more values than it can hold.
struct GuardedPages {
    inner: Box<dyn PageReader>,
    repeated: bool,
    optional: bool,
}

impl GuardedPages {
    fn check(&self, page: &Page) -> Result<()> {
        let values = u64::from(page.num_values());
        if values > MOST_VALUES {
            return Err(refused("a page states more than 16 million values"));
        }
        match page {
            // Each value takes a byte or more, but for truth values, which are in no dictionary.
            Page::DictionaryPage { buf, .. } if values > buf.len() as u64 => {
                Err(refused("a dictionary states more values than it has bytes"))
            }
            Page::DataPage { buf, encoding, .. } if counts_values(*encoding) => {
                let mut data = &buf[..];
                for _ in 0..usize::from(self.repeated) + usize::from(self.optional) {
                    data = after_levels(data)?;
                }
                check_count(data, values)
            }
            Page::DataPageV2 {
                buf,
                encoding,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } if counts_values(*encoding) => {
                let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                let data = usize::try_from(levels).ok().and_then(|at| buf.get(at..));
                check_count(data.unwrap_or_default(), values)
            }
            _ => Ok(()),
        }
    }
}

/// Encodings that begin with a number of values of their own, for which room is made.
fn counts_values(encoding: Encoding) -> bool {
    matches!(
        encoding,
        Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY
    )
}

/// What follows levels, which begin with the number of their bytes.
fn after_levels(data: &[u8]) -> Result<&[u8]> {
    let cut = || refused("a page ends inside its levels");
    let (length, rest) = data.split_first_chunk::<4>().ok_or_else(cut)?;
    rest.get(u32::from_le_bytes(*length) as usize..)
        .ok_or_else(cut)
}

/// Block size, blocks and number of values begin what is encoded as differences.
fn check_count(data: &[u8], values: u64) -> Result<()> {
    let count = varint(data)
        .and_then(|(_, rest)| varint(rest))
        .and_then(|(_, rest)| varint(rest));
    match count {
        Some((count, _)) if count > values => {
            Err(refused("a page holds more values than it states"))
        }
        _ => Ok(()),
    }
}

impl Iterator for GuardedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for GuardedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        page.as_ref().map_or(Ok(()), |page| self.check(page))?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}
