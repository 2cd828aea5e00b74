//! Attention backward: weights are recomputed tile by tile from the saved log sums.

use std::ops::Range;

use super::attention::{Inputs, TILE};
use super::buffer::{Shared, written};
use super::jobs::run_with;
use super::product::{Matrix, Target, Threads};
use super::simd::{dot, exp, simd};
use super::strip::Strip;
use crate::attention::Dims;

/// What the backward reads beside the inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved<'a> {
    pub(crate) out: &'a [f32],
    pub(crate) log_sums: &'a [f32],
    pub(crate) grad: &'a [f32],
}

/// Which gradients are needed, or those gradients.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ByInput<T> {
    pub(crate) q: T,
    pub(crate) k: T,
    pub(crate) v: T,
}

simd! {
/// Scores to weights: `exp(score − log_sum)` inside the range, 0 outside.
fn weights_row(scores: &mut [f32], visible: Range<usize>, log_sum: f32) {
    scores[..visible.start].fill(0.0);
    scores[visible.end..].fill(0.0);
    for x in &mut scores[visible] {
        *x = exp(*x - log_sum);
    }
}
}

simd! {
/// Gradients by weight to gradients by score: `w · (g − delta) · scale` inside the range, 0
/// outside, `delta = out · grad` of the row.
fn score_row(grads: &mut [f32], weights: &[f32], visible: Range<usize>, delta: f32, scale: f32) {
    grads[..visible.start].fill(0.0);
    grads[visible.end..].fill(0.0);
    for (g, w) in grads[visible.clone()].iter_mut().zip(&weights[visible]) {
        *g = *w * (*g - delta) * scale;
    }
}
}

simd! { fn row_dot(a: &[f32], b: &[f32]) -> f32 { dot(a, b) } }

/// The gradients that `needed` asks for (the others empty), shaped as the inputs.
pub(crate) fn backward(
    inputs: &Inputs<'_>,
    saved: &Saved<'_>,
    needed: ByInput<bool>,
) -> ByInput<Vec<f32>> {
    let Dims {
        batch, kv_heads, ..
    } = inputs.dims;
    let zeroed = |needed: bool, len: usize| vec![0.0; if needed { len } else { 0 }];
    let mut dk = zeroed(needed.k, inputs.k.len());
    let mut dv = zeroed(needed.v, inputs.v.len());
    if inputs.q.is_empty() {
        return ByInput {
            q: Vec::new(),
            k: dk,
            v: dv,
        };
    }
    let (to_k, to_v) = (Shared::new(&mut dk), Shared::new(&mut dv));
    let fill = |to_q: Shared| {
        let outputs = ByInput {
            q: to_q,
            k: to_k,
            v: to_v,
        };
        let jobs = (0..batch * kv_heads).map(|i| (i / kv_heads, i % kv_heads));
        run_with(
            jobs,
            Default::default,
            |scratch: &mut [Vec<f32>; 2], (batch, kv_head)| {
                KeyHead {
                    inputs,
                    saved,
                    needed,
                    outputs,
                    batch,
                    kv_head,
                }
                .run(scratch);
            },
        );
    };
    let q_len = if needed.q { inputs.q.len() } else { 0 };
    // SAFETY: each query belongs to one tile, each query head to one key head, and the product
    // of the tile writes it.
    let dq = unsafe { written(q_len, |dq| fill(Shared::unwritten(dq))) };
    ByInput {
        q: dq,
        k: dk,
        v: dv,
    }
}

/// One key head of one row: all query heads that read it.
struct KeyHead<'a> {
    inputs: &'a Inputs<'a>,
    saved: &'a Saved<'a>,
    needed: ByInput<bool>,
    outputs: ByInput<Shared>,
    batch: usize,
    kv_head: usize,
}

/// The operands of one query head, free of numbers that could leak through a zero.
struct Operands<'a> {
    head: usize,
    q: Strip<'a>,
    k: Strip<'a>,
    v: Strip<'a>,
    grad: Strip<'a>,
}

impl KeyHead<'_> {
    fn run(&self, scratch: &mut [Vec<f32>; 2]) {
        let inputs = self.inputs;
        let Dims { time, keys, .. } = inputs.dims;
        let v = inputs.key_head(inputs.v, self.batch, self.kv_head);
        let k = inputs.key_head(inputs.k, self.batch, self.kv_head);
        let k = if k.finite(0, keys) {
            k
        } else {
            k.without(|j| !k.finite(j, j + 1))
        };
        for head in self.kv_head * inputs.group()..(self.kv_head + 1) * inputs.group() {
            let mut q = inputs.query_head(inputs.q, self.batch, head);
            let mut grad = inputs.query_head(self.saved.grad, self.batch, head);
            let undefined = |i: usize| self.log_sum(head, i).is_nan();
            if (0..time).any(undefined) {
                q = q.without(undefined);
                grad = grad.without(undefined);
            }
            let operands = Operands {
                head,
                q,
                k: k.clone(),
                v: v.clone(),
                grad,
            };
            for start in (0..time).step_by(TILE) {
                self.tile(&operands, start..(start + TILE).min(time), scratch);
            }
        }
    }

    fn log_sum(&self, head: usize, i: usize) -> f32 {
        let Dims { time, heads, .. } = self.inputs.dims;
        self.saved.log_sums[(self.batch * time + i) * heads + head]
    }

    fn tile(&self, x: &Operands<'_>, queries: Range<usize>, scratch: &mut [Vec<f32>; 2]) {
        let keys = self.inputs.tile_keys(self.batch, &queries);
        let (rows, width) = (queries.len(), keys.len());
        let [weights, by_score] = scratch;
        weights.resize(rows * width, 0.0);
        by_score.resize(rows * width, 0.0);
        let (q, grad) = (
            x.q.rows(queries.start, queries.end),
            x.grad.rows(queries.start, queries.end),
        );
        let (k, v) = (
            x.k.rows(keys.start, keys.end),
            x.v.rows(keys.start, keys.end),
        );
        let by_scores = self.needed.q || self.needed.k;
        Target::new(weights, rows, width).set(q, k.t(), self.inputs.scale(), Threads::One);
        if by_scores {
            Target::new(by_score, rows, width).set(grad, v.t(), 1.0, Threads::One);
        }
        let out = self.inputs.query_head(self.saved.out, self.batch, x.head);
        let pairs = weights.chunks_mut(width).zip(by_score.chunks_mut(width));
        for (i, (weights, by_score)) in queries.clone().zip(pairs) {
            let log_sum = self.log_sum(x.head, i);
            if log_sum.is_nan() {
                weights.fill(0.0);
                by_score.fill(0.0);
                continue;
            }
            let visible = self.inputs.visible(self.batch, i);
            let visible = visible.start - keys.start..visible.end - keys.start;
            weights_row(weights, visible.clone(), log_sum);
            if by_scores {
                let delta = row_dot(out.row(i), x.grad.row(i));
                score_row(by_score, weights, visible, delta, self.inputs.scale());
            }
        }
        let weights = Matrix::new(weights, rows, width, width);
        let by_score = Matrix::new(by_score, rows, width, width);
        self.collect(x.head, [queries, keys], [weights, by_score], [q, k, grad]);
    }

    /// Writes the tile's gradients by query and adds its gradients by key and value.
    fn collect(
        &self,
        head: usize,
        [queries, keys]: [Range<usize>; 2],
        [weights, by_score]: [Matrix<'_>; 2],
        [q, k, grad]: [Matrix<'_>; 3],
    ) {
        let d = self.inputs.dims;
        let (query_stride, key_stride) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
        let to_query = (self.batch * d.time + queries.start) * query_stride + head * d.head_dim;
        let to_key = (self.batch * d.keys + keys.start) * key_stride + self.kv_head * d.head_dim;
        let query_rows = [queries.len(), d.head_dim, query_stride];
        let key_rows = [keys.len(), d.head_dim, key_stride];
        // SAFETY: this task alone handles this key head of this row and the query heads that
        // read it; the buffers outlive the tasks, and those of keys and values were zeroed.
        unsafe {
            if self.needed.v {
                let dv = Target::shared(self.outputs.v, to_key, key_rows, true);
                dv.add(weights.t(), grad, 1.0, Threads::One);
            }
            if self.needed.k {
                let dk = Target::shared(self.outputs.k, to_key, key_rows, true);
                dk.add(by_score.t(), q, 1.0, Threads::One);
            }
            if self.needed.q {
                let dq = Target::shared(self.outputs.q, to_query, query_rows, false);
                dq.set(by_score, k, 1.0, Threads::One);
            }
        }
    }
}
