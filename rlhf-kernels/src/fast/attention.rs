//! Attention forward: 64 queries against the keys that any of them sees.

use std::ops::Range;

use super::buffer::{Unwritten, written};
use super::jobs::run_with;
use super::product::{Matrix, Target, Threads};
use super::simd::{exp, max, simd};
use super::strip::Strip;
use crate::attention::Dims;

/// Queries of one tile: scores exist for a tile of one head at a time.
pub(crate) const TILE: usize = 32;

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

/// One key head as a tile sees it.
struct KeyHead<'a> {
    k: Strip<'a>,
    /// Rows of `bad` are zero.
    v: Strip<'a>,
    /// The tile's keys with an infinity or NaN in key or value, ascending: only these could leak
    /// through a weight of 0.
    bad: Vec<usize>,
    keys: Range<usize>,
}

impl<'a> KeyHead<'a> {
    fn new(inputs: &Inputs<'a>, batch: usize, head: usize, keys: Range<usize>) -> Self {
        let (k, v) = (
            inputs.key_head(inputs.k, batch, head),
            inputs.key_head(inputs.v, batch, head),
        );
        if k.finite(keys.start, keys.end) && v.finite(keys.start, keys.end) {
            return Self {
                k,
                v,
                bad: Vec::new(),
                keys,
            };
        }
        let is_bad = |j: &usize| !k.finite(*j, j + 1) || !v.finite(*j, j + 1);
        let bad: Vec<usize> = keys.clone().filter(is_bad).collect();
        let v = v.without(|j| bad.binary_search(&j).is_ok());
        Self { k, v, bad, keys }
    }
}

impl Tile<'_> {
    fn fill(mut self, inputs: &Inputs<'_>, scratch: &mut Vec<f32>) {
        let Dims {
            heads, kv_heads, ..
        } = inputs.dims;
        let rows = self.log_sums.len() / heads;
        let keys = inputs.tile_keys(self.batch, &(self.start..self.start + rows));
        scratch.resize(rows * keys.len(), 0.0);
        for kv_head in 0..kv_heads {
            let key_head = KeyHead::new(inputs, self.batch, kv_head, keys.clone());
            for head in kv_head * inputs.group()..(kv_head + 1) * inputs.group() {
                let factors = self.weights(inputs, &key_head, head, scratch);
                self.output(inputs, &key_head, head, (scratch, factors));
            }
        }
    }

    /// Fills `scratch` with the unnormalised weights of one head, stores the log sums and returns
    /// the factors that normalise, NaN for undefined rows.
    fn weights(
        &mut self,
        inputs: &Inputs<'_>,
        key_head: &KeyHead<'_>,
        head: usize,
        scratch: &mut [f32],
    ) -> [f32; TILE] {
        let (heads, keys) = (inputs.dims.heads, &key_head.keys);
        let rows = self.log_sums.len() / heads;
        let q = inputs.query_head(inputs.q, self.batch, head);
        Target::new(scratch, rows, keys.len()).set(
            q.rows(self.start, self.start + rows),
            key_head.k.rows(keys.start, keys.end).t(),
            inputs.scale(),
            Threads::One,
        );
        let mut factors = [f32::NAN; TILE];
        for (i, scores) in scratch.chunks_mut(keys.len()).enumerate() {
            let visible = inputs.visible(self.batch, self.start + i);
            let (from, to) = (visible.start - keys.start, visible.end - keys.start);
            let (log_sum, factor) = soften(scores, from, to);
            let sees_bad = key_head.bad.iter().any(|j| visible.contains(j));
            if log_sum.is_finite() && !sees_bad {
                self.log_sums[i * heads + head] = log_sum;
                factors[i] = factor;
            } else {
                self.log_sums[i * heads + head] = f32::NAN;
                scores.fill(0.0);
            }
        }
        factors
    }

    /// Writes the output of one head from its unnormalised weights and their factors.
    fn output(
        &mut self,
        inputs: &Inputs<'_>,
        key_head: &KeyHead<'_>,
        head: usize,
        (weights, factors): (&[f32], [f32; TILE]),
    ) {
        let Dims {
            heads, head_dim, ..
        } = inputs.dims;
        let (rows, keys) = (self.log_sums.len() / heads, &key_head.keys);
        let out = &mut self.out[head * head_dim..];
        Target::unwritten(out, rows, head_dim, heads * head_dim).set(
            Matrix::new(weights, rows, keys.len(), keys.len()),
            key_head.v.rows(keys.start, keys.end),
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
