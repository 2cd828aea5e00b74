//! From per-token losses to one number: four ways that weigh long answers differently.

use burn::tensor::{Bool, Tensor};

use crate::host;
use crate::masked::{Denominator, mask_as, mean_over_rows, mean_with, sum_over, sum_over_rows};

/// How per-token losses become one loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Σ over all valid tokens / their number: each token weighs the same (DAPO, 2025).
    #[default]
    TokenMean,
    /// The mean over non-empty rows of the row's mean: each answer weighs the same (GRPO, 2024).
    SequenceMeanTokenMean,
    /// The mean over non-empty rows of the row's sum.
    SequenceMeanTokenSum,
    /// Σ over all valid tokens / (rows · max_length), empty rows included: no length bias
    /// (Dr. GRPO, 2025).
    ConstantLength {
        /// The longest response that generation allows, in tokens.
        max_length: usize,
    },
}

impl Reduction {
    /// What [`Denominator::Whole`] has to hold for this reduction, counted over `mask`; the counts
    /// of several micro-batches add up. Reads the mask to the host.
    pub fn count(self, mask: &Tensor<2, Bool>) -> f64 {
        let [batch, time] = mask.dims();
        let flags = host::bools(mask);
        match self {
            Self::TokenMean => flags.iter().filter(|&&valid| valid).count() as f64,
            Self::SequenceMeanTokenMean | Self::SequenceMeanTokenSum => {
                let rows = flags.chunks(time.max(1));
                rows.filter(|row| row.contains(&true)).count() as f64
            }
            Self::ConstantLength { max_length } => (batch * max_length) as f64,
        }
    }
}

/// The loss of a `[batch, time]` tensor of per-token losses.
///
/// # Panics
/// If the shapes differ, or a given denominator is negative or not finite.
pub fn reduce(
    per_token: Tensor<2>,
    mask: &Tensor<2, Bool>,
    reduction: Reduction,
    denominator: Denominator,
) -> Tensor<1> {
    let dtype = per_token.dtype();
    let non_empty_rows = || {
        let counts = mask_as(mask, dtype).sum_dim(1);
        counts.clamp_max(1.0).sum()
    };
    match reduction {
        Reduction::TokenMean => mean_with(per_token, mask, denominator),
        Reduction::SequenceMeanTokenMean => {
            denominator.divide(mean_over_rows(per_token, mask).sum(), non_empty_rows)
        }
        Reduction::SequenceMeanTokenSum => {
            denominator.divide(sum_over_rows(per_token, mask).sum(), non_empty_rows)
        }
        Reduction::ConstantLength { max_length } => {
            let [batch, _] = mask.dims();
            let whole = match denominator {
                Denominator::Own => Denominator::Whole((batch * max_length) as f64),
                given @ Denominator::Whole(_) => given,
            };
            whole.divide(sum_over(per_token, mask), non_empty_rows)
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn example() -> (Tensor<2>, Tensor<2, Bool>) {
        let device = Device::flex();
        let losses = Tensor::from_floats([[1.0, 2.0, 6.0], [5.0, 9.0, 9.0], [7.0; 3]], &device);
        let mask = [[true, true, true], [true, false, false], [false; 3]];
        (losses, Tensor::from_bool(mask, &device))
    }

    /// Pitfall: sequence-mean, token-mean and constant-length weigh long answers differently.
    #[test]
    fn the_four_reductions_of_one_batch() {
        let (losses, mask) = example();
        let loss = |reduction| {
            reduce(losses.clone(), &mask, reduction, Denominator::Own).into_scalar::<f32>()
        };
        assert_eq!(loss(Reduction::TokenMean), 14.0 / 4.0);
        assert_eq!(loss(Reduction::SequenceMeanTokenMean), (3.0 + 5.0) / 2.0);
        assert_eq!(loss(Reduction::SequenceMeanTokenSum), (9.0 + 5.0) / 2.0);
        assert_eq!(
            loss(Reduction::ConstantLength { max_length: 7 }),
            14.0 / 21.0
        );
    }

    #[test]
    fn counts_are_what_the_own_denominator_divides_by() {
        let (losses, mask) = example();
        for (reduction, count) in [
            (Reduction::TokenMean, 4.0),
            (Reduction::SequenceMeanTokenMean, 2.0),
            (Reduction::SequenceMeanTokenSum, 2.0),
            (Reduction::ConstantLength { max_length: 7 }, 21.0),
        ] {
            assert_eq!(reduction.count(&mask), count);
            let own = reduce(losses.clone(), &mask, reduction, Denominator::Own);
            let half = reduce(
                losses.clone(),
                &mask,
                reduction,
                Denominator::Whole(2.0 * count),
            );
            assert_eq!(own.into_scalar::<f32>(), 2.0 * half.into_scalar::<f32>());
        }
    }
}
