//! Statistics of valid positions for logging, computed on the host in f64.

use burn::tensor::{Bool, Tensor, assert_shape};

use crate::host;

/// Figures of the valid positions of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskedStats {
    /// Valid positions.
    pub count: usize,
    /// Their sum.
    pub sum: f64,
    /// Their mean; 0 for none.
    pub mean: f64,
    /// Mean squared deviation; none without a value.
    pub var_biased: Option<f64>,
    /// Squared deviations over n − 1; none for fewer than two values.
    pub var_unbiased: Option<f64>,
    /// Per row, the sum.
    pub row_sum: Vec<f64>,
    /// Per row, the mean; 0 for a row without valid positions.
    pub row_mean: Vec<f64>,
    /// Per row, the valid positions.
    pub row_count: Vec<usize>,
}

/// Counts, sums, means and variances over the valid positions of a `[batch, time]` tensor.
///
/// # Panics
/// If the shapes differ.
pub fn masked_stats(values: &Tensor<2>, mask: &Tensor<2, Bool>) -> MaskedStats {
    let [batch, time] = mask.dims();
    assert_shape!(values, [batch, time]);
    let (x, valid) = (host::floats(values), host::bools(mask));
    let row = |row: usize| {
        let range = row * time..(row + 1) * time;
        range
            .filter(|&i| valid[i])
            .map(|i| x[i])
            .collect::<Vec<f64>>()
    };
    let rows: Vec<Vec<f64>> = (0..batch).map(row).collect();
    let row_sum: Vec<f64> = rows.iter().map(|row| row.iter().sum()).collect();
    let row_count: Vec<usize> = rows.iter().map(Vec::len).collect();
    let count: usize = row_count.iter().sum();
    let sum: f64 = row_sum.iter().sum();
    let mean = sum / count.max(1) as f64;
    let squares: f64 = rows.iter().flatten().map(|x| (x - mean).powi(2)).sum();
    let row_mean = row_sum
        .iter()
        .zip(&row_count)
        .map(|(sum, &n)| sum / n.max(1) as f64)
        .collect();
    MaskedStats {
        count,
        sum,
        mean,
        var_biased: (count > 0).then(|| squares / count as f64),
        var_unbiased: (count > 1).then(|| squares / (count - 1) as f64),
        row_sum,
        row_mean,
        row_count,
    }
}

/// 1 − var(returns − values) / var(returns) over valid positions: how much of the returns the value
/// function foresaw. 1 is all, 0 no more than their mean; none where returns do not vary.
///
/// # Panics
/// If the shapes differ.
pub fn explained_variance(
    values: Tensor<2>,
    returns: Tensor<2>,
    mask: &Tensor<2, Bool>,
) -> Option<f64> {
    let [batch, time] = mask.dims();
    assert_shape!(values, [batch, time]);
    assert_shape!(returns, [batch, time]);
    let returns = returns.without_autodiff();
    let errors = masked_stats(&(returns.clone() - values.without_autodiff()), mask).var_biased?;
    let variance = masked_stats(&returns, mask).var_biased?;
    (variance > 0.0).then(|| 1.0 - errors / variance)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Pitfall: which variance it is has to be said, and neither exists for too few values.
    #[test]
    fn both_variances_and_the_rows() {
        let device = Device::flex();
        let values = Tensor::<2>::from_floats([[1.0, f32::NAN], [4.0, 7.0], [0.0, 9.0]], &device);
        let mask = [[true, false], [true, true], [false, false]];
        let stats = masked_stats(&values, &Tensor::from_bool(mask, &device));
        assert_eq!((stats.count, stats.sum, stats.mean), (3, 12.0, 4.0));
        assert_eq!(
            (stats.var_biased, stats.var_unbiased),
            (Some(6.0), Some(9.0))
        );
        assert_eq!(stats.row_sum, [1.0, 11.0, 0.0]);
        assert_eq!(stats.row_mean, [1.0, 5.5, 0.0]);
        assert_eq!(stats.row_count, [1, 2, 0]);
        let one = Tensor::from_bool([[true, false], [false; 2], [false; 2]], &device);
        let stats = masked_stats(&values, &one);
        assert_eq!((stats.var_biased, stats.var_unbiased), (Some(0.0), None));
        let none = Tensor::from_bool([[false; 2]; 3], &device);
        assert_eq!(masked_stats(&values, &none).var_biased, None);
    }

    #[test]
    fn explained_variance_of_good_useless_and_undefined_predictions() {
        let device = Device::flex();
        let returns = Tensor::<2>::from_floats([[1.0, 5.0, f32::NAN]], &device);
        let mask = Tensor::from_bool([[true, true, false]], &device);
        let of = |values: [f32; 3]| {
            explained_variance(
                Tensor::from_floats([values], &device),
                returns.clone(),
                &mask,
            )
        };
        assert_eq!(of([1.0, 5.0, 9.0]), Some(1.0));
        assert_eq!(of([7.0, 7.0, f32::INFINITY]), Some(0.0));
        assert_eq!(of([5.0, 1.0, 0.0]), Some(-3.0));
        let flat = Tensor::<2>::ones([1, 3], &device);
        assert_eq!(explained_variance(returns.clone(), flat, &mask), None);
        let none = Tensor::from_bool([[false; 3]], &device);
        assert_eq!(
            explained_variance(returns.clone(), returns.clone(), &none),
            None
        );
    }
}
