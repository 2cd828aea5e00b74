//! One large matrix product.

use super::timing::repeat;
use super::{Measured, Size};
use crate::error::CliError;
use burn::tensor::{Device, Tensor, TensorData};

/// Rows and columns of both matrices.
const SIDE: usize = 1024;

/// A product of two square matrices.
pub(super) fn product(size: &Size, device: &Device) -> Result<Measured, CliError> {
    let matrix = |shift: usize| {
        let number = |i: usize| ((i * 7919 + shift) % 2003) as f32 / 1001.5 - 1.0;
        let numbers: Vec<f32> = (0..SIDE * SIDE).map(number).collect();
        Tensor::<2>::from_data(TensorData::new(numbers, [SIDE, SIDE]), device)
    };
    let (a, b) = (matrix(0), matrix(1));
    let timed = repeat(size.seconds, 3, || {
        let product = a.clone().matmul(b.clone());
        // Reading a number waits for a device that works behind one's back.
        product.narrow(0, 0, 1).narrow(1, 0, 1).into_scalar::<f32>();
        Ok::<_, CliError>(())
    })?;
    let gflop = 2.0 * (SIDE as f64).powi(3) / 1e9;
    Ok(Measured::new(
        timed,
        SIDE,
        gflop,
        format!("tokens are rows of [{SIDE}, {SIDE}]"),
    ))
}
