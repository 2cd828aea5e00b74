//! Sums and means over the valid positions of a `[batch, time]` tensor.

use burn::tensor::{Bool, DType, Int, Tensor, assert_shape};

use crate::host;

/// What a sum over valid positions is divided by.
///
/// An optimiser step made of several micro-batches is only equal to the whole batch when every
/// micro-batch divides by the count of the *whole* update; the mean of per-micro-batch means is
/// another figure as soon as lengths differ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Denominator {
    /// The count of this call's own mask.
    #[default]
    Own,
    /// The count over all micro-batches of the update, known before the first backward pass.
    Whole(f64),
}

impl Denominator {
    /// `sum` over the count; 0 where the count is 0.
    ///
    /// # Panics
    /// If a given count is negative or not finite.
    pub(crate) fn divide(self, sum: Tensor<1>, own: impl FnOnce() -> Tensor<1>) -> Tensor<1> {
        match self {
            Self::Own => sum / own().clamp_min(1.0),
            Self::Whole(count) => {
                assert!(
                    count.is_finite() && count >= 0.0,
                    "denominator is {count}, wanted the number of valid positions in the update"
                );
                sum / count.max(1.0)
            }
        }
    }
}

/// `values` with 0 at masked positions; no gradient reaches those, whatever they hold.
///
/// # Panics
/// If the shapes differ.
pub fn zero_invalid<const D: usize>(values: Tensor<D>, mask: &Tensor<D, Bool>) -> Tensor<D> {
    assert_eq!(
        values.dims(),
        mask.dims(),
        "the mask needs the shape of the values"
    );
    values.mask_fill(mask.clone().bool_not(), 0.0)
}

/// The mask as 0 and 1 in the given element type.
pub(crate) fn mask_as<const D: usize>(mask: &Tensor<D, Bool>, dtype: DType) -> Tensor<D> {
    mask.clone().float().cast(dtype)
}

/// The number of valid positions, as a tensor of one element.
pub fn count_valid(mask: &Tensor<2, Bool>) -> Tensor<1> {
    mask.clone().float().sum_dim(1).sum()
}

/// Σ over the valid positions of the batch.
///
/// # Panics
/// If the shapes differ.
pub fn sum_over(values: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    zero_invalid(values, mask).sum_dim(1).sum()
}

/// The mean over the valid positions of the whole batch: Σ over valid / number valid.
///
/// # Panics
/// If the shapes differ.
pub fn mean_over(values: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    mean_with(values, mask, Denominator::Own)
}

/// Σ over valid positions / denominator.
pub(crate) fn mean_with(
    values: Tensor<2>,
    mask: &Tensor<2, Bool>,
    denominator: Denominator,
) -> Tensor<1> {
    let dtype = values.dtype();
    denominator.divide(sum_over(values, mask), || count_valid(mask).cast(dtype))
}

/// The share of valid positions at which `flag` holds.
pub(crate) fn fraction_of(
    flag: Tensor<2, Bool>,
    mask: &Tensor<2, Bool>,
    denominator: Denominator,
) -> Tensor<1> {
    mean_with(flag.float(), mask, denominator)
}

/// Per row, Σ over its valid positions: `[batch]`.
///
/// # Panics
/// If the shapes differ.
pub fn sum_over_rows(values: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    zero_invalid(values, mask).sum_dim(1).squeeze_dim(1)
}

/// Per row, the mean over its valid positions: `[batch]`; 0 for a row without any.
///
/// # Panics
/// If the shapes differ.
pub fn mean_over_rows(values: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    let count = mask_as(mask, values.dtype()).sum_dim(1).squeeze_dim::<1>(1);
    sum_over_rows(values, mask) / count.clamp_min(1.0)
}

/// The mean over the entries of a vector; 0 for an empty one.
pub(crate) fn mean_of(values: Tensor<1>) -> Tensor<1> {
    let [count] = values.dims();
    values.sum() / count.max(1) as f64
}

/// Per row the index of its last valid position, `None` for a row without any. Reads the mask to
/// the host.
///
/// Only the mask tells where a sequence ends: counting tokens that differ from the padding id is
/// wrong with left padding, and where padding and end token share an id.
pub fn last_valid_index(mask: &Tensor<2, Bool>) -> Vec<Option<usize>> {
    let [batch, time] = mask.dims();
    if time == 0 {
        return vec![None; batch];
    }
    let flags = host::bools(mask);
    flags
        .chunks(time)
        .map(|row| row.iter().rposition(|&valid| valid))
        .collect()
}

/// `true` at the last valid position of each row only.
pub fn last_valid_mask(mask: &Tensor<2, Bool>) -> Tensor<2, Bool> {
    let [batch, time] = mask.dims();
    let device = mask.device();
    let place = Tensor::<1, Int>::arange(1..time as i64 + 1, &device).unsqueeze_dim::<2>(0);
    let place = place
        .expand([batch, time])
        .mask_fill(mask.clone().bool_not(), 0);
    let last = place.clone().max_dim(1).expand([batch, time]);
    place.equal(last).bool_and(mask.clone())
}

/// Per row the value at its last valid position: `[batch]`; 0 for a row without any. Everything
/// stays on the device and gradients flow to the positions read.
///
/// # Panics
/// If the shapes differ.
pub fn last_valid(values: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    sum_over_rows(values, &last_valid_mask(mask))
}

/// A value per row, repeated along the row: `[batch]` to `[batch, time]`, 0 at masked positions.
///
/// # Panics
/// If the number of rows differs.
pub(crate) fn along_rows(values: Tensor<1>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    let [batch, time] = mask.dims();
    assert_shape!(values, [batch]);
    zero_invalid(values.unsqueeze_dim::<2>(1).expand([batch, time]), mask)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::host::numbers;

    fn mask(rows: [[bool; 3]; 2]) -> Tensor<2, Bool> {
        Tensor::from_bool(rows, &Device::flex())
    }

    /// Pitfall: multiplying by the mask keeps inf · 0 = NaN.
    #[test]
    fn masked_nan_and_infinities_are_selected_away() {
        let device = Device::flex().autodiff();
        let values = [
            [1.0, f32::NAN, 3.0],
            [f32::INFINITY, f32::NEG_INFINITY, 5.0],
        ];
        let values = Tensor::<2>::from_floats(values, &device).require_grad();
        let mask = mask([[true, false, true], [false, false, true]]);
        let mean = mean_over(values.clone(), &mask);
        let gradients = mean.backward();
        assert_eq!(numbers(mean), [3.0]);
        let third = 1.0 / 3.0;
        let gradient = numbers(values.grad(&gradients).unwrap());
        assert_eq!(gradient, [third, 0.0, third, 0.0, 0.0, third]);
    }

    /// Pitfall: a mean over an empty mask is 0/0.
    #[test]
    fn a_mean_over_nothing_is_zero_with_zero_gradient() {
        let device = Device::flex().autodiff();
        let values = Tensor::<2>::ones([2, 3], &device).require_grad();
        let mean = mean_over(values.clone(), &mask([[false; 3]; 2]));
        let gradients = mean.backward();
        assert_eq!(numbers(mean), [0.0]);
        assert_eq!(numbers(values.grad(&gradients).unwrap().abs().sum()), [0.0]);
    }

    /// Pitfall: the mean of per-row means is not the mean over tokens.
    #[test]
    fn token_mean_and_row_means_differ_on_unequal_rows() {
        let values = Tensor::from_floats([[1.0, 2.0, 3.0], [8.0, 0.0, 0.0]], &Device::flex());
        let mask = mask([[true; 3], [true, false, false]]);
        assert_eq!(numbers(mean_over(values.clone(), &mask)), [3.5]);
        assert_eq!(numbers(mean_over_rows(values, &mask)), [2.0, 8.0]);
    }

    /// Pitfall: the last token by counting breaks with left padding.
    #[test]
    fn the_last_valid_position_is_read_from_the_mask() {
        let values = Tensor::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::flex());
        let left_and_right = mask([[false, true, true], [true, true, false]]);
        assert_eq!(last_valid_index(&left_and_right), [Some(2), Some(1)]);
        assert_eq!(
            numbers(last_valid(values.clone(), &left_and_right)),
            [3.0, 5.0]
        );
        let hole_and_empty = mask([[true, false, true], [false; 3]]);
        assert_eq!(last_valid_index(&hole_and_empty), [Some(2), None]);
        assert_eq!(numbers(last_valid(values, &hole_and_empty)), [3.0, 0.0]);
    }

    #[test]
    fn a_given_denominator_replaces_the_own_count_and_zero_gives_zero() {
        let values = Tensor::<2>::ones([2, 3], &Device::flex());
        let all = mask([[true; 3]; 2]);
        let mean = |denominator| numbers(mean_with(values.clone(), &all, denominator));
        assert_eq!(mean(Denominator::Own), [1.0]);
        assert_eq!(mean(Denominator::Whole(12.0)), [0.5]);
        let none = mask([[false; 3]; 2]);
        assert_eq!(
            numbers(mean_with(values.clone(), &none, Denominator::Whole(0.0))),
            [0.0]
        );
    }

    #[test]
    fn rows_without_positions_have_no_last_one() {
        let nothing = Tensor::<2>::zeros([2, 0], &Device::flex());
        assert_eq!(last_valid_index(&nothing.equal_elem(0.0)), [None, None]);
    }

    #[test]
    #[should_panic(expected = "denominator is inf")]
    fn an_infinite_denominator_is_refused() {
        mean_with(
            Tensor::ones([2, 3], &Device::flex()),
            &mask([[true; 3]; 2]),
            Denominator::Whole(f64::INFINITY),
        );
    }

    #[test]
    #[should_panic(expected = "denominator is -1")]
    fn a_negative_denominator_is_refused() {
        mean_with(
            Tensor::ones([2, 3], &Device::flex()),
            &mask([[true; 3]; 2]),
            Denominator::Whole(-1.0),
        );
    }

    #[test]
    #[should_panic(expected = "shape of the values")]
    fn a_mask_of_another_shape_is_refused() {
        zero_invalid(Tensor::ones([2, 4], &Device::flex()), &mask([[true; 3]; 2]));
    }
}
