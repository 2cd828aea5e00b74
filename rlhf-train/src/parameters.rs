//! A module's parameters by name, on the host: for checkpoints, which keep any module's tensors under
//! its own field names and in its own layout. Model folders for others are written by
//! [`rlhf_model::save_model`], under Hugging Face's names and in their layout.

use crate::TrainError;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use std::collections::BTreeMap;

pub use rlhf_model::NamedTensor;

/// Every float parameter of a module, in the module's order, named by the path of its fields.
pub fn named_parameters<M: Module>(module: &M) -> Vec<NamedTensor> {
    read(module, false)
}

/// The parameters of a module that are trained, as [`named_parameters`]: what a checkpoint keeps.
pub fn trained_parameters<M: Module>(module: &M) -> Vec<NamedTensor> {
    read(module, true)
}

fn read<M: Module>(module: &M, trained_only: bool) -> Vec<NamedTensor> {
    let mut reader = Reader {
        path: Vec::new(),
        found: Vec::new(),
        trained_only,
    };
    module.visit(&mut reader);
    reader.found
}

/// The module with its parameters replaced by those of the same names; whether a parameter is
/// trained, and its identity, stay. Frozen parameters of a module that is trained may be absent
/// and stay as they are.
///
/// # Errors
/// A text that lists every missing, surplus or misshaped tensor.
pub fn with_parameters<M: Module>(module: M, tensors: Vec<NamedTensor>) -> Result<M, String> {
    let given = tensors.into_iter().map(|t| (t.name.clone(), t)).collect();
    let mut writer = Writer {
        path: Vec::new(),
        given,
        wrong: Vec::new(),
    };
    let module = module.map(&mut writer);
    let surplus = writer.given.keys().map(|name| format!("{name} is unknown"));
    let wrong: Vec<String> = writer.wrong.iter().cloned().chain(surplus).collect();
    if wrong.is_empty() {
        Ok(module)
    } else {
        Err(wrong.join("; "))
    }
}

/// A module with the trained parameters that [`trained_parameters`] took from it earlier.
///
/// # Panics
/// If they are another module's.
pub fn with_trained<M: Module>(module: M, tensors: Vec<NamedTensor>) -> M {
    with_parameters(module, tensors).expect("parameters that this module had")
}

/// The numbers of a tensor in f32.
///
/// # Panics
/// If the device can't give them, which means that it is gone.
pub fn host_values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    let data = tensor.into_data().convert::<f32>();
    data.try_to_vec().expect("converted to f32 above")
}

struct Reader {
    path: Vec<String>,
    found: Vec<NamedTensor>,
    trained_only: bool,
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        if self.trained_only && !tensor.is_require_grad() {
            return;
        }
        let shape = tensor.dims().to_vec();
        let values = host_values(tensor.without_autodiff());
        self.found.push(NamedTensor {
            name: self.path.join("."),
            shape,
            values,
        });
    }
}

struct Writer {
    path: Vec<String>,
    given: BTreeMap<String, NamedTensor>,
    wrong: Vec<String>,
}

impl ModuleMapper for Writer {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let name = self.path.join(".");
        let Some(given) = self.given.remove(&name) else {
            let tensor = param.val();
            let frozen = tensor.device().is_autodiff() && !tensor.is_require_grad();
            if !frozen {
                self.wrong.push(format!("{name} is missing"));
            }
            return param;
        };
        let (id, old, mapper) = param.consume();
        let new = if given.shape == old.dims() {
            replace(&old, given.values)
        } else {
            self.wrong
                .push(format!("{name} is {:?}, not {:?}", given.shape, old.dims()));
            old
        };
        Param::from_mapped_value(id, new, mapper)
    }
}

/// A tensor of new numbers with the device and the tracking of an old one.
fn replace<const D: usize>(old: &Tensor<D>, values: Vec<f32>) -> Tensor<D> {
    let device = old.device();
    let tracked = old.is_require_grad();
    let plain = device.clone().without_autodiff();
    let new = Tensor::from_data(TensorData::new(values, old.dims()), &plain);
    if device.is_autodiff() {
        new.autodiff().set_require_grad(tracked)
    } else {
        new
    }
}

/// The error of a checkpoint whose tensors don't fit the module.
pub(crate) fn misfit(path: &std::path::Path, what: &str, reason: String) -> TrainError {
    TrainError::Checkpoint {
        path: path.to_owned(),
        reason: format!("{what} does not fit this model: {reason}; start over with --fresh"),
    }
}
