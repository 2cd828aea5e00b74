//! Reading tensors to the host and writing them back: for the constants of a step, which are
//! computed in f64 whatever the device.

use burn::tensor::{Bool, Tensor, TensorData};

/// The elements in row-major order, as f64.
pub(crate) fn floats<const D: usize>(values: &Tensor<D>) -> Vec<f64> {
    values.to_data().iter::<f64>().collect()
}

/// The elements of a mask in row-major order.
pub(crate) fn bools<const D: usize>(mask: &Tensor<D, Bool>) -> Vec<bool> {
    mask.to_data().iter::<bool>().collect()
}

/// The elements as the tests compare them.
#[cfg(test)]
pub(crate) fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// `values` in the shape, element type and on the device of `like`, without autodiff.
pub(crate) fn tensor_like<const D: usize>(values: &[f64], like: &Tensor<D>) -> Tensor<D> {
    let device = like.clone().without_autodiff().device();
    let data = TensorData::new(values.to_vec(), like.dims());
    Tensor::from_data(data, (&device, like.dtype()))
}
