//! Rows of token ids as one rectangle, with the masks that go with them.

use crate::ModelError;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use std::ops::Range;

/// Rows of tokens padded to one length, `[batch, time]`. Everything that a model has to know
/// about padding and about several documents in one row is decided here, from the rows
/// themselves, never from a padding id:
///
/// - `ids`: the tokens; padding holds id 0 and influences nothing;
/// - `positions`: 0, 1, 2, … from the start of the row's tokens, or of the document in a packed row;
/// - `first_key`: the column of the first token that a query may attend to. The last one is the
///   query itself. A padded query sees itself only, so its softmax is never empty.
///
/// The tensors live on the plain device: only weights carry automatic differentiation.
#[derive(Clone, Debug)]
pub struct TokenBatch {
    time: usize,
    spans: Vec<Range<usize>>,
    host_ids: Vec<u32>,
    positions: Vec<u32>,
    ids: Tensor<2, Int>,
    first_key: Tensor<2, Int>,
}

/// A row made of several documents, for [`TokenBatch::packed`].
#[derive(Clone, Copy, Debug)]
pub struct PackedTokens<'a> {
    /// The documents' tokens, one document after the other.
    pub ids: &'a [u32],
    /// Where each document starts; ascending, the first is 0.
    pub segment_starts: &'a [usize],
}

/// The host side of a batch while it is being laid out.
struct Layout {
    time: usize,
    spans: Vec<Range<usize>>,
    ids: Vec<u32>,
    positions: Vec<u32>,
    first_key: Vec<i32>,
}

impl Layout {
    /// All padding: every query sees itself only.
    fn padding(batch: usize, time: usize) -> Self {
        assert!(batch > 0, "a batch needs at least one row");
        let time = time.max(1);
        let first_key = (0..batch).flat_map(|_| 0..time as i32).collect();
        Self {
            time,
            spans: Vec::with_capacity(batch),
            ids: vec![0; batch * time],
            positions: vec![0; batch * time],
            first_key,
        }
    }

    /// Puts the next row's tokens at column `start`.
    fn push(&mut self, start: usize, tokens: &[u32]) {
        let at = self.spans.len() * self.time + start;
        self.ids[at..at + tokens.len()].copy_from_slice(tokens);
        for i in 0..tokens.len() {
            self.positions[at + i] = i as u32;
            self.first_key[at + i] = start as i32;
        }
        self.spans.push(start..start + tokens.len());
    }

    fn finish(self, device: &Device) -> TokenBatch {
        let device = device.clone().without_autodiff();
        let shape = [self.spans.len(), self.time];
        let ids: Vec<i32> = self.ids.iter().map(|&id| id as i32).collect();
        TokenBatch {
            time: self.time,
            spans: self.spans,
            host_ids: self.ids,
            positions: self.positions,
            ids: Tensor::from_data(TensorData::new(ids, shape), &device),
            first_key: Tensor::from_data(TensorData::new(self.first_key, shape), &device),
        }
    }
}

impl TokenBatch {
    /// Rows that start in column 0, filled up at the end.
    ///
    /// # Panics
    /// If there is no row.
    pub fn right_padded<R: AsRef<[u32]>>(rows: &[R], device: &Device) -> Self {
        let time = longest(rows);
        let mut layout = Layout::padding(rows.len(), time);
        rows.iter().for_each(|row| layout.push(0, row.as_ref()));
        layout.finish(device)
    }

    /// Rows that end in the last column, filled up at the start: what decoding needs.
    ///
    /// # Panics
    /// If there is no row.
    pub fn left_padded<R: AsRef<[u32]>>(rows: &[R], device: &Device) -> Self {
        let time = longest(rows);
        let mut layout = Layout::padding(rows.len(), time);
        for row in rows {
            layout.push(layout.time - row.as_ref().len(), row.as_ref());
        }
        layout.finish(device)
    }

    /// Rows of several documents, filled up at the end. Positions start again with each
    /// document, and no token sees a token of another one.
    ///
    /// # Errors
    /// [`ModelError::Mask`] where `segment_starts` is not `0, …` ascending and inside the row.
    ///
    /// # Panics
    /// If there is no row.
    pub fn packed(rows: &[PackedTokens<'_>], device: &Device) -> Result<Self, ModelError> {
        let time = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let mut layout = Layout::padding(rows.len(), time);
        for (b, row) in rows.iter().enumerate() {
            layout.push(0, row.ids);
            let starts = row.segment_starts;
            let ascending = starts.windows(2).all(|w| w[0] < w[1]);
            let inside = starts.last().is_none_or(|&last| last < row.ids.len());
            if !ascending || !inside || starts.first().is_some_and(|&first| first != 0) {
                let reason = "segment starts must ascend from 0 and lie inside the row";
                return Err(ModelError::Mask { row: b, reason });
            }
            for (i, &start) in starts.iter().enumerate() {
                let end = starts.get(i + 1).copied().unwrap_or(row.ids.len());
                for t in start..end {
                    layout.positions[b * layout.time + t] = (t - start) as u32;
                    layout.first_key[b * layout.time + t] = start as i32;
                }
            }
        }
        Ok(layout.finish(device))
    }

    /// Rows of equal length with a mask that says which tokens count; the ids elsewhere are not
    /// looked at.
    ///
    /// # Errors
    /// [`ModelError::Mask`] if rows and masks differ in length, or if a row's ones are not one
    /// run: positions would then be ambiguous.
    ///
    /// # Panics
    /// If there is no row.
    pub fn from_mask<R, M>(ids: &[R], mask: &[M], device: &Device) -> Result<Self, ModelError>
    where
        R: AsRef<[u32]>,
        M: AsRef<[bool]>,
    {
        let time = longest(ids);
        let mut layout = Layout::padding(ids.len(), time);
        for (row, ids) in ids.iter().map(AsRef::as_ref).enumerate() {
            let mask = mask.get(row).map(AsRef::as_ref).unwrap_or_default();
            if ids.len() != time || mask.len() != time {
                let reason = "ids and mask must have the same length in every row";
                return Err(ModelError::Mask { row, reason });
            }
            let start = mask.iter().position(|&m| m).unwrap_or(0);
            let length = mask[start..].iter().take_while(|&&m| m).count();
            if mask[start + length..].contains(&true) {
                return Err(ModelError::Mask {
                    row,
                    reason: "the ones must be one run",
                });
            }
            layout.push(start, &ids[start..start + length]);
        }
        Ok(layout.finish(device))
    }

    /// One new token for each row of a cache that holds `past` columns: column `past`, which
    /// sees everything from the row's own start on.
    ///
    /// # Panics
    /// If there is no row, if the lengths differ, or if a start lies beyond `past`.
    pub fn step(tokens: &[u32], starts: &[usize], past: usize, device: &Device) -> Self {
        assert_eq!(tokens.len(), starts.len(), "one start for each row");
        let mut layout = Layout::padding(tokens.len(), 1);
        for (b, (&token, &start)) in tokens.iter().zip(starts).enumerate() {
            assert!(
                start <= past,
                "row {b} starts at {start}, after the cache's {past} columns"
            );
            layout.push(0, &[token]);
            layout.positions[b] = (past - start) as u32;
            layout.first_key[b] = start as i32;
        }
        layout.finish(device)
    }

    /// Number of rows.
    pub fn batch_size(&self) -> usize {
        self.spans.len()
    }

    /// Number of columns, padding included.
    pub fn time(&self) -> usize {
        self.time
    }

    /// Number of tokens of each row.
    pub fn lengths(&self) -> Vec<usize> {
        self.spans.iter().map(|span| span.len()).collect()
    }

    /// The column of a row's first token.
    pub fn row_start(&self, row: usize) -> usize {
        self.spans[row].start
    }

    /// The column of a row's last token; `None` for a row without tokens.
    pub fn last_valid(&self, row: usize) -> Option<usize> {
        let span = &self.spans[row];
        (!span.is_empty()).then(|| span.end - 1)
    }

    /// A row's tokens, without padding.
    pub fn host_ids(&self, row: usize) -> &[u32] {
        let span = &self.spans[row];
        &self.host_ids[row * self.time..][span.clone()]
    }

    /// Checks that all ids are in a vocabulary, before they reach an embedding.
    ///
    /// # Errors
    /// [`ModelError::Prompt`] names the row and the id.
    pub fn check_ids(&self, vocab_size: usize) -> Result<(), ModelError> {
        for index in 0..self.batch_size() {
            let unknown = |id: &&u32| **id as usize >= vocab_size;
            if let Some(id) = self.host_ids(index).iter().find(unknown) {
                let reason = outside(*id, vocab_size);
                return Err(ModelError::Prompt { index, reason });
            }
        }
        Ok(())
    }

    /// Positions of all columns, row after row; 0 at padding.
    pub fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The ids, `[batch, time]`; 0 at padding.
    pub fn ids(&self) -> Tensor<2, Int> {
        self.ids.clone()
    }

    /// The first column that each query may see, `[batch, time]`.
    pub fn first_key(&self) -> Tensor<2, Int> {
        self.first_key.clone()
    }

    /// True where there is a token, `[batch, time]`.
    pub fn valid_mask(&self) -> Tensor<2, Bool> {
        let mask: Vec<bool> = self
            .spans
            .iter()
            .flat_map(|s| (0..self.time).map(|t| s.contains(&t)))
            .collect();
        let shape = [self.batch_size(), self.time];
        Tensor::from_data(TensorData::new(mask, shape), &self.device())
    }

    /// The plain device that the tensors live on.
    pub fn device(&self) -> Device {
        self.ids.device()
    }
}

/// What to say about an id that no embedding has.
pub(crate) fn outside(id: u32, vocab_size: usize) -> String {
    format!(
        "holds token {id}, outside the model's vocabulary of {vocab_size}; use the tokenizer of \
         the model's folder"
    )
}

fn longest<R: AsRef<[u32]>>(rows: &[R]) -> usize {
    rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests;
