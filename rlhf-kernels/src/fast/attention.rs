//! Attention forward: 64 queries against the keys that any of them sees.

use std::ops::Range;

use super::buffer::{Unwritten, written};
use super::jobs::run_with;
use super::product::{Matrix, Target, Threads};
use super::simd::{exp, max, simd};
use super::strip::Strip;
use crate::attention::Dims;

/// Queries of one tile: scores exist for a tile of one head at a time.
pub(crate) const TILE: usize = 64;

/// What forward and backward read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) q: &'a [f32],
    pub(crate) k: &'a [f32],
    pub(crate) v: &'a [f32],
    pub(crate) dims: Dims,
    /// `[batch · time]`, each within `0 ..= past + i`.
    pub(crate) first_key: &'a [usize],
    pub(crate) past: usize,
}

impl<'a> Inputs<'a> {
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (self.dims.head_dim as f32).sqrt()
    }

    /// Query heads that read one key head.
    pub(crate) fn group(&self) -> usize {
        self.dims.heads / self.dims.kv_heads
    }

    /// One query head of a tensor shaped as `q`.
    pub(crate) fn query_head(&self, data: &'a [f32], batch: usize, head: usize) -> Strip<'a> {
        let Dims {
            time,
            heads,
            head_dim,
            ..
        } = self.dims;
        let start = batch * time * heads * head_dim + head * head_dim;
        Strip::new(&data[start..], time, heads * head_dim, head_dim)
    }

    /// One key head of `k` or `v`.
    pub(crate) fn key_head(&self, data: &'a [f32], batch: usize, head: usize) -> Strip<'a> {
        let Dims {
            keys,
            kv_heads,
            head_dim,
            ..
        } = self.dims;
        let start = batch * keys * kv_heads * head_dim + head * head_dim;
        Strip::new(&data[start..], keys, kv_heads * head_dim, head_dim)
    }

    /// The keys that query `i` sees.
    pub(crate) fn visible(&self, batch: usize, i: usize) -> Range<usize> {
        self.first_key[batch * self.dims.time + i]..self.past + i + 1
    }

    /// The keys that any query of the tile sees, and perhaps some between that none does.
    pub(crate) fn tile_keys(&self, batch: usize, queries: &Range<usize>) -> Range<usize> {
        let row = batch * self.dims.time;
        let first = &self.first_key[row + queries.start..row + queries.end];
        first.iter().copied().min().unwrap_or(0)..self.past + queries.end
    }
}

simd! {
/// Scores to unnormalised weights, in place: `exp(score − max)` inside `visible`, 0 outside.
/// Returns the log of the sum of exponentials and the factor that normalises the row.
fn soften(scores: &mut [f32], from: usize, to: usize) -> (f32, f32) {
    scores[..from].fill(0.0);
    scores[to..].fill(0.0);
    let visible = &mut scores[from..to];
    let largest = max(visible);
    let mut sums = [0f32; 32];
    let mut chunks = visible.chunks_exact_mut(32);
    for x in chunks.by_ref() {
        for i in 0..32 {
            x[i] = exp(x[i] - largest);
            sums[i] += x[i];
        }
    }
    let mut total: f32 = sums.iter().sum();
    for x in chunks.into_remainder() {
        *x = exp(*x - largest);
        total += *x;
    }
    (largest + total.ln(), 1.0 / total)
}
}

/// The output, shaped as `q`, and for each query and head (`[batch, time, heads]`) the log of
/// the sum of exponentials; NaN marks a query whose output is undefined (see
/// [`crate::attention()`]), which the backward leaves out.
pub(crate) fn forward(inputs: &Inputs<'_>) -> (Vec<f32>, Vec<f32>) {
    let Dims {
        batch,
        time,
        heads,
        head_dim,
        ..
    } = inputs.dims;
    let (row, sums_row) = (time * heads * head_dim, time * heads);
    let mut log_sums = vec![0.0; batch * sums_row];
    if batch * row == 0 {
        return (Vec::new(), log_sums);
    }
    // SAFETY: the tiles cover the output, and a tile writes every head of each of its queries.
    let out = unsafe {
        written(batch * row, |out| {
            let rows = out
                .chunks_mut(row)
                .zip(log_sums.chunks_mut(sums_row))
                .enumerate();
            let tiles = rows.flat_map(|(batch, (out, log_sums))| {
                let out = out.chunks_mut(TILE * heads * head_dim);
                let tiles = out.zip(log_sums.chunks_mut(TILE * heads)).enumerate();
                tiles.map(move |(i, (out, log_sums))| Tile {
                    batch,
                    start: i * TILE,
                    out,
                    log_sums,
                })
            });
            run_with(tiles, Vec::new, |scratch, tile| tile.fill(inputs, scratch));
        })
    };
    (out, log_sums)
}

/// One tile of queries, all heads, and where its results go.
struct Tile<'a> {
    batch: usize,
    start: usize,
    /// `[queries, heads, head_dim]`.
    out: &'a mut Unwritten,
    /// `[queries, heads]`.
    log_sums: &'a mut [f32],
}

impl Tile<'_> {
    fn fill(self, inputs: &Inputs<'_>, scratch: &mut Vec<f32>) {
        let Dims {
            heads,
            kv_heads,
            head_dim,
            ..
        } = inputs.dims;
        let rows = self.log_sums.len() / heads;
        let queries = self.start..self.start + rows;
        let keys = inputs.tile_keys(self.batch, &queries);
        let width = keys.len();
        scratch.resize(rows * width, 0.0);
        for kv_head in 0..kv_heads {
            let k = inputs.key_head(inputs.k, self.batch, kv_head);
            let v = inputs.key_head(inputs.v, self.batch, kv_head);
            // Only rows that hold no number can leak through a weight of 0.
            let clean = k.finite(keys.start, keys.end) && v.finite(keys.start, keys.end);
            let bad_key = |j: usize| !k.finite(j, j + 1) || !v.finite(j, j + 1);
            let v = if clean { v.clone() } else { v.without(bad_key) };
            for head in kv_head * inputs.group()..(kv_head + 1) * inputs.group() {
                let q = inputs.query_head(inputs.q, self.batch, head);
                Target::new(scratch, rows, width).set(
                    q.rows(queries.start, queries.end),
                    k.rows(keys.start, keys.end).t(),
                    inputs.scale(),
                    Threads::One,
                );
                let mut factors = [0.0; TILE];
                for (i, scores) in scratch.chunks_mut(width).take(rows).enumerate() {
                    let visible = inputs.visible(self.batch, queries.start + i);
                    let (from, to) = (visible.start - keys.start, visible.end - keys.start);
                    let (log_sum, factor) = soften(scores, from, to);
                    let defined = log_sum.is_finite() && (clean || !visible.clone().any(bad_key));
                    self.log_sums[i * heads + head] = if defined { log_sum } else { f32::NAN };
                    factors[i] = if defined { factor } else { f32::NAN };
                    if !defined {
                        scores.fill(0.0);
                    }
                }
                let out = &mut self.out[head * head_dim..];
                Target::unwritten(out, rows, head_dim, heads * head_dim).set(
                    Matrix::new(scratch, rows, width, width),
                    v.rows(keys.start, keys.end),
                    1.0,
                    Threads::One,
                );
                for (out, factor) in out.chunks_mut(heads * head_dim).zip(factors) {
                    // SAFETY: the product above wrote these numbers.
                    let out = unsafe { out[..head_dim].assume_init_mut() };
                    out.iter_mut().for_each(|x| *x *= factor);
                }
            }
        }
    }
}
