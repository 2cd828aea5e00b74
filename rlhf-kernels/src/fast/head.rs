//! Token log-probabilities from hidden states, over slices.

use super::buffer::{Unwritten, written};
use super::jobs::run;
use super::product::{Matrix, Target, Threads};
use super::simd::{exp, max, simd};
use crate::KEPT_LOGITS;

/// Rows a task takes once the logits exist.
const ROWS: usize = 16;

/// Numbers of logits that a forward without gradient holds at a time.
const CHUNK_NUMBERS: usize = 1 << 22;

/// What forward and backward read. `hidden` is `[n, d]`, `weight` `[d, v]` in any layout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    pub(crate) hidden: &'a [f32],
    pub(crate) weight: Matrix<'a>,
    pub(crate) targets: &'a [usize],
    pub(crate) width: usize,
    pub(crate) vocab: usize,
    pub(crate) temperature: f32,
}

/// The three numbers of a row that are kept: log-probability of the target, entropy, and the log
/// of the sum of exponentials of `logits / temperature`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RowResult {
    pub(crate) logprob: f32,
    pub(crate) entropy: f32,
    pub(crate) log_sum: f32,
}

simd! {
/// Log sum of exponentials and entropy. With `e_j = exp(z_j − max)` the entropy is
/// `ln Σe − Σ e·(z − max) / Σe`.
fn row_sums(z: &[f32]) -> (f32, f32) {
    let largest = max(z);
    let (mut sums, mut weighted) = ([0f32; 32], [0f32; 32]);
    let mut chunks = z.chunks_exact(32);
    for z in chunks.by_ref() {
        for i in 0..32 {
            let e = exp(z[i] - largest);
            sums[i] += e;
            weighted[i] += e * (z[i] - largest);
        }
    }
    let (mut total, mut along): (f32, f32) = (sums.iter().sum(), weighted.iter().sum());
    for z in chunks.remainder() {
        let e = exp(z - largest);
        total += e;
        along += e * (z - largest);
    }
    (largest + total.ln(), total.ln() - along / total)
}
}

simd! {
/// `logits / T` to the gradient by it, in place: `p·(−g − h·(log p + H))`; the target's `+ g`
/// is the caller's.
fn gradient_row(z: &mut [f32], row: RowResult, by_logprob: f32, by_entropy: f32) {
    for z in z {
        let logprob = *z - row.log_sum;
        *z = exp(logprob) * (-by_logprob - by_entropy * (logprob + row.entropy));
    }
}
}

impl<'a> Inputs<'a> {
    fn len(&self) -> usize {
        self.targets.len()
    }

    /// `hidden · weight / T` of rows `from..to` into the start of `out`, which has room for at
    /// least two rows: a product of one row takes another route through `gemm` and rounds
    /// differently, so a lone row is computed twice.
    fn logits(&self, from: usize, to: usize, out: &mut Unwritten) {
        let hidden = &self.hidden[from * self.width..to * self.width];
        let (rows, stride) = if to - from == 1 {
            (2, 0)
        } else {
            (to - from, self.width)
        };
        let hidden = Matrix::strided(hidden, [rows, self.width], [stride, 1]);
        let target = Target::unwritten(out, rows, self.vocab, self.vocab);
        target.set(hidden, self.weight, 1.0 / self.temperature, Threads::All);
    }

    fn row_results(&self, from: usize, logits: &[f32], out: &mut [RowResult]) {
        let jobs = logits
            .chunks(ROWS * self.vocab)
            .zip(out.chunks_mut(ROWS))
            .enumerate();
        run(jobs, |(i, (logits, out))| {
            let targets = &self.targets[from + i * ROWS..];
            for ((z, out), target) in logits.chunks(self.vocab).zip(out).zip(targets) {
                let (log_sum, entropy) = row_sums(z);
                *out = RowResult {
                    logprob: z[*target] - log_sum,
                    entropy,
                    log_sum,
                };
            }
        });
    }

    /// Rows whose logits exist at a time where those of all are not kept.
    fn chunk_rows(&self) -> usize {
        (CHUNK_NUMBERS / self.vocab).clamp(ROWS, 512)
    }

    /// Whether the logits of all rows are few enough to be kept for the backward pass.
    pub(crate) fn are_kept(&self) -> bool {
        self.len() * self.vocab <= KEPT_LOGITS
    }

    /// All rows, with the logits for a chunk of rows at a time.
    pub(crate) fn forward(&self) -> Vec<RowResult> {
        let mut results = vec![RowResult::default(); self.len()];
        let rows = self.chunk_rows().min(self.len());
        let mut logits = Vec::with_capacity(rows.max(2) * self.vocab);
        for (i, results) in results.chunks_mut(rows.max(1)).enumerate() {
            let from = i * rows;
            self.logits(from, from + results.len(), logits.spare_capacity_mut());
            // SAFETY: the product wrote these rows.
            let logits = unsafe {
                logits.spare_capacity_mut()[..results.len() * self.vocab].assume_init_ref()
            };
            self.row_results(from, logits, results);
        }
        results
    }

    /// All rows, and `logits / T` of all rows for [`Inputs::backward`].
    pub(crate) fn forward_keeping(&self) -> (Vec<RowResult>, Vec<f32>) {
        if self.len() == 0 {
            return (Vec::new(), Vec::new());
        }
        let rows = self.len().max(2);
        // SAFETY: the product writes all rows, and two if there is one.
        let mut logits =
            unsafe { written(rows * self.vocab, |out| self.logits(0, self.len(), out)) };
        logits.truncate(self.len() * self.vocab);
        let mut results = vec![RowResult::default(); self.len()];
        self.row_results(0, &logits, &mut results);
        (results, logits)
    }

    /// Turns the kept logits into the gradient by `logits / T`.
    pub(crate) fn logit_gradients(
        &self,
        logits: &mut [f32],
        results: &[RowResult],
        by_logprob: &[f32],
        by_entropy: &[f32],
    ) {
        let rows = logits.chunks_mut(ROWS * self.vocab).enumerate();
        run(rows, |(i, logits)| {
            for (j, z) in logits.chunks_mut(self.vocab).enumerate() {
                let row = i * ROWS + j;
                let by_entropy = by_entropy.get(row).copied().unwrap_or(0.0);
                if by_logprob[row] == 0.0 && by_entropy == 0.0 {
                    z.fill(0.0);
                    continue;
                }
                gradient_row(z, results[row], by_logprob[row], by_entropy);
                z[self.targets[row]] += by_logprob[row];
            }
        });
    }

    /// The gradient by `hidden`, `[n, d]`.
    pub(crate) fn gradient_of_hidden(&self, by_logit: &[f32]) -> Vec<f32> {
        let (n, d) = (self.len(), self.width);
        let by_logit = Matrix::new(by_logit, n, self.vocab, self.vocab);
        // SAFETY: the product writes the whole buffer.
        unsafe {
            written(n * d, |out| {
                let out = Target::unwritten(out, n, d, d);
                out.set(
                    by_logit,
                    self.weight.t(),
                    1.0 / self.temperature,
                    Threads::All,
                );
            })
        }
    }

    /// The gradient by `weight`: `[d, v]`, or its transpose `[v, d]` if `transposed`.
    pub(crate) fn gradient_of_weight(&self, by_logit: &[f32], transposed: bool) -> Vec<f32> {
        let (n, d, v) = (self.len(), self.width, self.vocab);
        let by_logit = Matrix::new(by_logit, n, v, v);
        let hidden = Matrix::new(self.hidden, n, d, d);
        let scale = 1.0 / self.temperature;
        // SAFETY: the product writes the whole buffer.
        unsafe {
            written(d * v, |out| {
                if transposed {
                    let out = Target::unwritten(out, v, d, d);
                    out.set(by_logit.t(), hidden, scale, Threads::All);
                } else {
                    let out = Target::unwritten(out, d, v, v);
                    out.set(hidden.t(), by_logit, scale, Threads::All);
                }
            })
        }
    }

    /// Adds the gradient by `weight` to one that is laid out as [`Self::gradient_of_weight`] does.
    fn add_gradient_of_weight(&self, by_logit: &[f32], transposed: bool, sum: &mut [f32]) {
        let (n, d, v) = (self.len(), self.width, self.vocab);
        let by_logit = Matrix::new(by_logit, n, v, v);
        let hidden = Matrix::new(self.hidden, n, d, d);
        let scale = 1.0 / self.temperature;
        if transposed {
            Target::new(sum, v, d).add(by_logit.t(), hidden, scale, Threads::All);
        } else {
            Target::new(sum, d, v).add(hidden.t(), by_logit, scale, Threads::All);
        }
    }

    /// The gradients by `hidden` and by `weight`, those that are wanted, with the logits computed
    /// again for `rows` rows at a time.
    pub(crate) fn gradients_in_chunks(
        &self,
        results: &[RowResult],
        (by_logprob, by_entropy): (&[f32], &[f32]),
        wanted: Wanted,
        rows: Option<usize>,
    ) -> (Option<Vec<f32>>, Option<Vec<f32>>) {
        let rows = rows.unwrap_or_else(|| self.chunk_rows());
        let mut of_hidden = wanted.hidden.then(|| Vec::with_capacity(self.hidden.len()));
        let zeros = || vec![0.0; self.width * self.vocab];
        let mut of_weight = wanted.weight.then(zeros);
        for from in (0..self.len()).step_by(rows) {
            let to = (from + rows).min(self.len());
            let chunk = Self {
                hidden: &self.hidden[from * self.width..to * self.width],
                targets: &self.targets[from..to],
                ..*self
            };
            let (_, mut logits) = chunk.forward_keeping();
            let by_entropy = by_entropy.get(from..to).unwrap_or_default();
            chunk.logit_gradients(
                &mut logits,
                &results[from..to],
                &by_logprob[from..to],
                by_entropy,
            );
            if let Some(of_hidden) = &mut of_hidden {
                of_hidden.extend(chunk.gradient_of_hidden(&logits));
            }
            if let Some(of_weight) = &mut of_weight {
                chunk.add_gradient_of_weight(&logits, wanted.transposed, of_weight);
            }
        }
        (of_hidden, of_weight)
    }
}

/// Which gradients are asked for, and whether that of the weight is `[v, d]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) hidden: bool,
    pub(crate) weight: bool,
    pub(crate) transposed: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_in_chunks_are_those_of_all_rows_at_once() {
        let (n, d, v) = (11, 5, 37);
        let numbers = |n: usize, step: f32| (0..n).map(|i| (i as f32 * step).sin()).collect();
        let (hidden, weight): (Vec<f32>, Vec<f32>) = (numbers(n * d, 0.7), numbers(d * v, 0.3));
        let targets: Vec<usize> = (0..n).map(|i| i * 3 % v).collect();
        let (by_logprob, by_entropy): (Vec<f32>, Vec<f32>) = (numbers(n, 0.9), numbers(n, 1.1));
        for transposed in [false, true] {
            let matrix = if transposed {
                Matrix::new(&weight, v, d, d).t()
            } else {
                Matrix::new(&weight, d, v, v)
            };
            let inputs = Inputs {
                hidden: &hidden,
                weight: matrix,
                targets: &targets,
                width: d,
                vocab: v,
                temperature: 0.7,
            };
            let (results, mut logits) = inputs.forward_keeping();
            inputs.logit_gradients(&mut logits, &results, &by_logprob, &by_entropy);
            let whole = [
                inputs.gradient_of_hidden(&logits),
                inputs.gradient_of_weight(&logits, transposed),
            ];
            let wanted = Wanted {
                hidden: true,
                weight: true,
                transposed,
            };
            for rows in [1, 4, 11, 40] {
                let by = (by_logprob.as_slice(), by_entropy.as_slice());
                let found = inputs.gradients_in_chunks(&results, by, wanted, Some(rows));
                let found = [found.0.unwrap(), found.1.unwrap()];
                for (found, whole) in found.iter().zip(&whole) {
                    assert_eq!(found.len(), whole.len());
                    let gaps = found.iter().zip(whole).map(|(a, b)| (a - b).abs());
                    assert!(gaps.fold(0.0, f32::max) < 1e-5, "{rows} rows");
                }
            }
            let none = Wanted {
                hidden: false,
                weight: false,
                transposed,
            };
            let by = (by_logprob.as_slice(), [].as_slice());
            assert_eq!(
                inputs.gradients_in_chunks(&results, by, none, None),
                (None, None)
            );
        }
    }
}
