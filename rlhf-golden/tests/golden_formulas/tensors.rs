//! Tensors from a case's inputs, and figures from tensors.

use burn::tensor::{Bool, Device, Gradients, Int, Tensor, TensorData};
use rlhf_golden::{Case, Figure, Figures, GoldenError};
use serde_json::Value;

/// The numbers of nested lists in row-major order; flags count as 0 and 1.
pub(crate) fn numbers(value: &Value) -> Result<Vec<f64>, GoldenError> {
    match value {
        Value::Array(items) => {
            let parts: Result<Vec<_>, _> = items.iter().map(numbers).collect();
            Ok(parts?.concat())
        }
        _ => value
            .as_f64()
            .map(|number| vec![number])
            .ok_or_else(|| GoldenError(format!("{value} is not a number"))),
    }
}

/// The shape of nested lists, read along the first entries.
fn shape(value: &Value) -> Vec<usize> {
    match value {
        Value::Array(items) => {
            let inner = items.first().map(shape).unwrap_or_default();
            std::iter::once(items.len()).chain(inner).collect()
        }
        _ => Vec::new(),
    }
}

/// Numbers and shape of an input of rank D.
fn read<const D: usize>(case: &Case, name: &str) -> Result<TensorData, GoldenError> {
    tensor_data::<D>(case.value(name)?).map_err(|e| GoldenError(format!("{name}: {e}")))
}

fn tensor_data<const D: usize>(value: &Value) -> Result<TensorData, GoldenError> {
    let (values, shape) = (numbers(value)?, shape(value));
    if shape.len() != D || shape.iter().product::<usize>() != values.len() {
        return Err(GoldenError(format!(
            "shape {shape:?} is not full or not of rank {D}"
        )));
    }
    Ok(TensorData::new(values, shape))
}

/// The inputs of a case as tensors on a device.
pub(crate) struct Inputs<'a> {
    pub(crate) case: &'a Case,
    pub(crate) device: &'a Device,
}

impl Inputs<'_> {
    /// A constant on the plain device.
    pub(crate) fn plain<const D: usize>(&self, name: &str) -> Result<Tensor<D>, GoldenError> {
        let data = read::<D>(self.case, name)?.convert::<f32>();
        Ok(Tensor::from_data(data, self.device))
    }

    /// A constant, where the case has this input.
    pub(crate) fn plain_if_any<const D: usize>(
        &self,
        name: &str,
    ) -> Result<Option<Tensor<D>>, GoldenError> {
        self.case.find(name).map(|_| self.plain(name)).transpose()
    }

    /// A tensor that gradients are asked of.
    pub(crate) fn leaf<const D: usize>(&self, name: &str) -> Result<Tensor<D>, GoldenError> {
        Ok(self.plain::<D>(name)?.autodiff().require_grad())
    }

    /// Ids or counts.
    pub(crate) fn ints<const D: usize>(&self, name: &str) -> Result<Tensor<D, Int>, GoldenError> {
        Ok(Tensor::from_data(
            read::<D>(self.case, name)?.convert::<i64>(),
            self.device,
        ))
    }

    /// A mask or flags.
    pub(crate) fn mask<const D: usize>(&self, name: &str) -> Result<Tensor<D, Bool>, GoldenError> {
        let data = read::<D>(self.case, name)?.convert::<bool>();
        Ok(Tensor::from_data(data, self.device))
    }
}

/// The elements of a tensor as f64.
pub(crate) fn elements<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// A tensor as nested lists.
pub(crate) fn figure<const D: usize>(tensor: &Tensor<D>) -> Figure {
    Figure::shaped(&elements(tensor), &tensor.dims())
}

/// What one-element tensors, tensors and gradients add to figures.
pub(crate) trait SetTensors {
    /// The number in a tensor of one element.
    fn scalar(&mut self, name: &str, tensor: &Tensor<1>);
    /// A whole tensor.
    fn tensor<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>);
    /// The gradient of a leaf; zeros where nothing depends on it.
    fn gradient<const D: usize>(&mut self, name: &str, leaf: &Tensor<D>, gradients: &Gradients);
}

impl SetTensors for Figures {
    fn scalar(&mut self, name: &str, tensor: &Tensor<1>) {
        assert_eq!(tensor.dims(), [1], "{name} is not a scalar");
        self.set(name, elements(tensor)[0]);
    }

    fn tensor<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
        self.set(name, figure(tensor));
    }

    fn gradient<const D: usize>(&mut self, name: &str, leaf: &Tensor<D>, gradients: &Gradients) {
        let zeros = || leaf.zeros_like().without_autodiff();
        self.tensor(name, &leaf.grad(gradients).unwrap_or_else(zeros));
    }
}
