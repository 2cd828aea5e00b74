//! From tensors to slices and back.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind, Flex, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor, TensorData};

use crate::{Kernels, kernels};

/// A float tensor of the flex backend.
pub(crate) type FlexFloat = FloatTensor<Flex>;

/// Whether the fast bodies apply to this tensor: on flex, tracked or not, in `f32`.
pub(crate) fn runs_on<const D: usize>(x: &Tensor<D>) -> bool {
    let on_flex = |kind: &DispatchTensorKind| matches!(kind, DispatchTensorKind::Flex(_));
    kernels() == Kernels::Fast
        && x.dtype() == DType::F32
        && match x.clone().into_dispatch().kind {
            DispatchTensorKind::Autodiff(inner) => on_flex(&inner),
            kind => on_flex(&kind),
        }
}

/// The same numbers side by side in row-major order; copies only if they are not.
pub(crate) fn dense(x: FlexFloat) -> FlexFloat {
    if x.as_slice::<f32>().is_some() {
        x
    } else {
        x.to_contiguous()
    }
}

/// The numbers of a [`dense`] tensor.
pub(crate) fn numbers(x: &FlexFloat) -> &[f32] {
    x.as_slice().expect("the tensor was made dense")
}

/// The numbers of a [`dense`] tensor, to be changed: a copy of them where others hold them too.
pub(crate) fn numbers_mut(x: &mut FlexFloat) -> &mut [f32] {
    let range = x.layout().contiguous_offsets();
    let (start, end) = range.expect("the tensor was made dense");
    &mut x.storage_mut::<f32>()[start..end]
}

/// A tensor that takes over the vector.
pub(crate) fn tensor(values: Vec<f32>, shape: Shape) -> FlexFloat {
    FlexFloat::from_data(TensorData::new(values, shape))
}

/// Integers of either width.
pub(crate) fn integers(x: &IntTensor<Flex>) -> Vec<i64> {
    let x = x.to_contiguous();
    match x.dtype() {
        DType::I64 => x.storage::<i64>().to_vec(),
        DType::I32 => x.storage::<i32>().iter().map(|&i| i64::from(i)).collect(),
        _ => x.into_data().iter::<i64>().collect(),
    }
}

/// The flex tensor inside a tensor for which [`runs_on`] holds, without its graph.
pub(crate) fn into_flex<const D: usize>(x: Tensor<D>) -> FlexFloat {
    let inner = match x.into_dispatch().kind {
        DispatchTensorKind::Autodiff(inner) => *inner,
        kind => kind,
    };
    match inner {
        DispatchTensorKind::Flex(BackendTensor::Float(x)) => x,
        DispatchTensorKind::Flex(BackendTensor::Autodiff(x)) => x.into_primitive(),
        _ => unreachable!("the caller asked runs_on first"),
    }
}

/// Zeros of the shape of `x`.
pub(super) fn zeros(x: &FlexFloat) -> FlexFloat {
    let shape = x.shape();
    tensor(vec![0.0; shape.num_elements()], shape)
}

/// Back to a plain tensor.
pub(crate) fn from_flex<const D: usize>(x: FlexFloat) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(x));
    Tensor::from_dispatch(DispatchTensor {
        kind,
        autodiff: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_fast_bodies_serve_flex_in_f32_tracked_or_not() {
        let device = Device::flex();
        assert!(runs_on(&Tensor::<2>::zeros([2, 3], &device)));
        let tracked = Tensor::<2>::ones([2, 3], &device.clone().autodiff()).require_grad();
        assert!(runs_on(&tracked) && runs_on(&(tracked.clone() * 2.0)));
        assert_eq!(numbers(&into_flex(tracked)), [1.0; 6]);
        assert!(!runs_on(&Tensor::<2>::zeros([2, 3], (&device, DType::F64))));
    }

    #[test]
    #[allow(deprecated)] // the only other backend that needs no GPU
    fn other_backends_get_the_plain_bodies() {
        assert!(!runs_on(&Tensor::<2>::zeros([2, 3], &Device::ndarray())));
        assert!(!runs_on(&Tensor::<2>::zeros(
            [2, 3],
            &Device::ndarray().autodiff()
        )));
    }
}
