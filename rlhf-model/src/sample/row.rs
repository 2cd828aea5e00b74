//! Softmax of one row of logits on the host, for drawing: read once, no allocation beyond the
//! exponentials, and the same bits whatever else is in the batch.

/// Entries whose exponentials are summed together before they enter the total.
const BLOCK: usize = 64;
const LANES: usize = 16;

/// The exponentials `exp((z − max) / T)` of a row and their sums by block.
pub(super) struct SoftmaxRow<'a> {
    logits: &'a [f32],
    max: f32,
    temperature: f64,
    exps: &'a [f32],
    blocks: &'a [f32],
    total: f64,
}

/// Memory for a row's exponentials.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    exps: Vec<f32>,
    blocks: Vec<f32>,
}

impl<'a> SoftmaxRow<'a> {
    /// `None` if the row is empty or its softmax is not a number.
    pub(super) fn new(
        logits: &'a [f32],
        temperature: f64,
        buffers: &'a mut Buffers,
    ) -> Option<Self> {
        let max = maximum(logits);
        let scale = (1.0 / temperature) as f32;
        let Buffers { exps, blocks } = buffers;
        exps.clear();
        exps.extend(
            logits
                .iter()
                .map(|&z| exp_of_nonpositive((z - max) * scale)),
        );
        blocks.clear();
        blocks.extend(exps.chunks(BLOCK).map(block_sum));
        let total: f64 = blocks.iter().map(|&s| f64::from(s)).sum();
        // A NaN anywhere reaches the total: comparisons with NaN are false.
        (max.is_finite() && total >= 0.5 && total.is_finite()).then_some(Self {
            logits,
            max,
            temperature,
            exps,
            blocks,
            total,
        })
    }

    /// `log softmax(logits / T)[token]`.
    pub(super) fn logprob(&self, token: usize) -> f32 {
        let z = f64::from(self.logits[token]) - f64::from(self.max);
        (z / self.temperature - self.total.ln()) as f32
    }

    /// The first of the largest logits.
    pub(super) fn argmax(&self) -> usize {
        self.logits.iter().position(|&z| z == self.max).unwrap_or(0)
    }

    /// The token where the running sum of probabilities, in the order of ids, first exceeds
    /// `uniform` in `[0, 1)`.
    pub(super) fn draw(&self, uniform: f64) -> usize {
        let mut left = uniform * self.total;
        let mut last = 0;
        for (b, &sum) in self.blocks.iter().enumerate() {
            if left >= f64::from(sum) {
                left -= f64::from(sum);
                continue;
            }
            for (i, &p) in self.exps[b * BLOCK..].iter().take(BLOCK).enumerate() {
                if p > 0.0 {
                    last = b * BLOCK + i;
                    if left < f64::from(p) {
                        return last;
                    }
                }
                left -= f64::from(p);
            }
            // The block's sum was rounded up past its entries: its last one takes the rest.
            return last;
        }
        self.exps.iter().rposition(|&p| p > 0.0).unwrap_or(0)
    }
}

fn maximum(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks
        .remainder()
        .iter()
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (m, &v) in lanes.iter_mut().zip(chunk) {
            *m = if v > *m { v } else { *m };
        }
    }
    lanes.into_iter().fold(rest, f32::max)
}

fn block_sum(x: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (s, &v) in lanes.iter_mut().zip(chunk) {
            *s += v;
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// `exp(x)` for `x ≤ 0` by range reduction to `2^n · e^r`, `|r| ≤ ln2/2`, and a polynomial of
/// degree 6; relative error below 2e-7. Written without branches so that the compiler vectorises
/// it; values below −87 count as 0, NaN stays NaN.
fn exp_of_nonpositive(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to a whole number
    let n = x.max(-87.0) * std::f32::consts::LOG2_E + ROUND;
    let whole = n - ROUND;
    let r = x.max(-87.0) - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let p = 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    let scaled = f32::from_bits(p.to_bits().wrapping_add(n.to_bits() << 23));
    if x > -87.0 {
        scaled
    } else if x <= -87.0 {
        0.0
    } else {
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_exact_to_rounding() {
        for i in 0..87_000 {
            let x = -(i as f32) / 1000.0;
            let (got, want) = (f64::from(exp_of_nonpositive(x)), f64::from(x).exp());
            assert!((got - want).abs() <= 3e-7 * want, "exp({x}): {got} {want}");
        }
        assert_eq!(exp_of_nonpositive(0.0), 1.0);
        assert_eq!(exp_of_nonpositive(-1e30), 0.0);
        assert_eq!(exp_of_nonpositive(f32::NEG_INFINITY), 0.0);
        assert!(exp_of_nonpositive(f32::NAN).is_nan());
    }

    #[test]
    fn drawing_inverts_the_running_sum() {
        let logits: Vec<f32> = (0..200).map(|i| ((i * 37) % 23) as f32 / 5.0).collect();
        let mut buffers = Buffers::default();
        let row = SoftmaxRow::new(&logits, 0.7, &mut buffers).unwrap();
        let mut before = 0.0;
        for token in 0..logits.len() {
            let p = f64::from(row.logprob(token)).exp();
            assert_eq!(row.draw(before + 0.5 * p), token);
            before += p;
        }
        assert!((before - 1.0).abs() < 1e-5);
        assert_eq!(row.draw(0.0), 0);
        assert_eq!(row.draw(1.0 - f64::EPSILON), logits.len() - 1);
    }

    #[test]
    fn impossible_tokens_are_never_drawn() {
        let mut logits = vec![f32::NEG_INFINITY; 130];
        logits[3] = 1.0;
        logits[70] = 1.0;
        let mut buffers = Buffers::default();
        let row = SoftmaxRow::new(&logits, 1.0, &mut buffers).unwrap();
        assert_eq!(
            [0.0, 0.49, 0.51, 0.999_999_999].map(|u| row.draw(u)),
            [3, 3, 70, 70]
        );
    }

    #[test]
    fn a_row_that_is_no_distribution_is_refused() {
        let refused =
            |logits: &[f32]| SoftmaxRow::new(logits, 1.0, &mut Buffers::default()).is_none();
        assert!(refused(&[]));
        assert!(refused(&[1.0, f32::NAN, 0.0]));
        assert!(refused(&[1.0, f32::INFINITY]));
        assert!(refused(&[f32::NEG_INFINITY; 3]));
    }
}
