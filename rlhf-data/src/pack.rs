//! Several documents in one row, so that few positions are padding.

use crate::tokens::TokenSequence;
use serde::{Deserialize, Serialize};

/// A row of documents one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedRow {
    /// The ids, at most the length that was asked for.
    pub ids: Vec<u32>,
    /// Per id, whether it is a target of the loss.
    pub loss_mask: Vec<bool>,
    /// Where each document or piece of one starts, ascending, the first at 0. A position attends
    /// to its own segment only, and a segment's first token has nothing to be predicted from.
    pub segment_starts: Vec<usize>,
}

impl PackedRow {
    fn push(&mut self, ids: &[u32], loss: &[bool]) {
        self.segment_starts.push(self.ids.len());
        self.ids.extend_from_slice(ids);
        self.loss_mask.extend_from_slice(loss);
    }
}

/// Puts documents into rows of at most `length` tokens: each, in order, into the first row that
/// has room for it (first fit; Johnson, 1973). A document longer than a row is cut into pieces of
/// `length`, of which the last may be shorter. Every token is in exactly one row; documents
/// without tokens leave no trace.
///
/// # Panics
/// If `length` is 0.
pub fn pack(documents: &[TokenSequence], length: usize) -> Vec<PackedRow> {
    assert!(length > 0, "rows of length 0 hold no token");
    let pieces = documents.iter().map(|d| d.len().div_ceil(length)).sum();
    let mut room = Room::new(pieces, length);
    let mut rows: Vec<PackedRow> = Vec::new();
    for document in documents {
        let loss = document.loss_mask();
        for (ids, loss) in document.ids.chunks(length).zip(loss.chunks(length)) {
            let row = room.take(ids.len());
            if row == rows.len() {
                rows.push(PackedRow::default());
            }
            rows[row].push(ids, loss);
        }
    }
    rows
}

/// The free tokens of every row that could come to be, in a tree of maxima, so that the first row
/// with room is found in logarithmic time.
struct Room {
    /// A complete binary tree: the children of `i` are `2i` and `2i + 1`, the leaves are rows.
    most: Vec<usize>,
    rows: usize,
}

impl Room {
    fn new(rows: usize, length: usize) -> Self {
        let rows = rows.next_power_of_two();
        Self {
            most: vec![length; 2 * rows],
            rows,
        }
    }

    /// Takes `tokens` from the first row that has as many. There is always one: there are as
    /// many rows as pieces, and each piece fits into an empty row.
    fn take(&mut self, tokens: usize) -> usize {
        let mut node = 1;
        while node < self.rows {
            node *= 2;
            if self.most[node] < tokens {
                node += 1;
            }
        }
        self.most[node] -= tokens;
        let row = node - self.rows;
        while node > 1 {
            node /= 2;
            self.most[node] = self.most[2 * node].max(self.most[2 * node + 1]);
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::SpanRole;

    fn document(ids: std::ops::Range<u32>) -> TokenSequence {
        let mut tokens = TokenSequence::new();
        let ids: Vec<_> = ids.collect();
        let bos = ids.len().min(1);
        tokens.push(&ids[..bos], SpanRole::Control, false);
        tokens.push(&ids[bos..], SpanRole::Text, true);
        tokens
    }

    #[test]
    fn a_document_goes_to_the_first_row_with_room() {
        let documents: Vec<_> = [0..3, 10..14, 20..22, 30..31, 40..40]
            .map(document)
            .into_iter()
            .collect();
        let rows = pack(&documents, 5);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].ids, [0, 1, 2, 20, 21]);
        assert_eq!(rows[0].segment_starts, [0, 3]);
        assert_eq!(rows[0].loss_mask, [false, true, true, false, true]);
        assert_eq!(rows[1].ids, [10, 11, 12, 13, 30]);
    }

    #[test]
    fn a_long_document_is_cut_and_stays_whole() {
        let rows = pack(&[document(0..2), document(10..21)], 4);
        let ids: Vec<_> = rows.iter().map(|row| row.ids.clone()).collect();
        assert_eq!(
            ids,
            [
                vec![0, 1],
                vec![10, 11, 12, 13],
                vec![14, 15, 16, 17],
                vec![18, 19, 20]
            ]
        );
        assert_eq!(rows[2].loss_mask, [true; 4]);
        assert!(pack(&[], 4).is_empty());
        assert!(pack(&[document(0..0)], 4).is_empty());
    }
}
