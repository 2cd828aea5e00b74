//! Parameters by their Hugging Face names, in one fixed order.

use crate::parameters::{
    BlockSpecs, LayerSpec, ParameterSpec, embedding_spec, head_spec, norm_spec, positions_spec,
    score_spec, transpose,
};
use crate::{Block, Linear, ModelError, Norm, ScoreModel, Transformer};
use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use std::path::Path;

/// A tensor under its Hugging Face name and in that layout: matrices are `[out, in]`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// For example `model.layers.0.self_attn.q_proj.weight`.
    pub name: String,
    /// The shape in the file.
    pub shape: Vec<usize>,
    /// The numbers, row after row.
    pub values: Vec<f32>,
}

impl NamedTensor {
    /// Lets finite numbers pass: what has diverged must not replace what has not.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] with the first tensor that holds another number, and `path`, where
    /// they were to be written.
    pub fn all_finite(tensors: &[Self], path: &Path) -> Result<(), ModelError> {
        let diverged = |tensor: &&Self| !tensor.values.iter().all(|value| value.is_finite());
        match tensors.iter().find(diverged) {
            None => Ok(()),
            Some(tensor) => Err(ModelError::NotFinite {
                path: path.to_owned(),
                tensor: tensor.name.clone(),
            }),
        }
    }
}

/// A module whose parameters have Hugging Face names.
pub trait NamedParameters: Module {
    /// Shows every parameter once, always in the same order; a tied head is not shown.
    fn visit_named(&self, visit: &mut dyn NamedVisitor);
}

/// What [`NamedParameters::visit_named`] calls.
pub trait NamedVisitor {
    /// A vector under its name; `file_shape` may have one axis more.
    fn vector(&mut self, name: &str, file_shape: &[usize], param: &Param<Tensor<1>>);
    /// A matrix under its name; `transposed` says that the file holds the transpose.
    fn matrix(&mut self, name: &str, transposed: bool, param: &Param<Tensor<2>>);
}

fn matrix(visit: &mut dyn NamedVisitor, spec: &ParameterSpec, param: &Param<Tensor<2>>) {
    visit.matrix(&spec.name, spec.transposed, param);
}

fn vector(visit: &mut dyn NamedVisitor, spec: &ParameterSpec, param: &Param<Tensor<1>>) {
    visit.vector(&spec.name, &spec.file_shape(), param);
}

fn linear(visit: &mut dyn NamedVisitor, spec: &LayerSpec, module: &Linear) {
    matrix(visit, &spec.weight, &module.weight);
    if let (Some(spec), Some(bias)) = (&spec.bias, &module.bias) {
        vector(visit, spec, bias);
    }
}

fn norm(visit: &mut dyn NamedVisitor, spec: &LayerSpec, module: &Norm) {
    vector(visit, &spec.weight, &module.weight);
    if let (Some(spec), Some(bias)) = (&spec.bias, &module.bias) {
        vector(visit, spec, bias);
    }
}

fn block(visit: &mut dyn NamedVisitor, specs: &BlockSpecs, block: &Block) {
    norm(visit, &specs.input_norm, &block.input_norm);
    for (spec, module) in specs.qkv.iter().zip(&block.qkv) {
        linear(visit, spec, module);
    }
    if let (Some([q, k]), Some(norms)) = (&specs.head_norms, &block.head_norms) {
        norm(visit, q, &norms.q);
        norm(visit, k, &norms.k);
    }
    linear(visit, &specs.o, &block.o);
    if let (Some(spec), Some(module)) = (&specs.attention_norm, &block.attention_norm) {
        norm(visit, spec, module);
    }
    norm(visit, &specs.feed_forward_norm, &block.feed_forward_norm);
    if let (Some(spec), Some(module)) = (&specs.gate, &block.gate) {
        linear(visit, spec, module);
    }
    linear(visit, &specs.up, &block.up);
    linear(visit, &specs.down, &block.down);
    if let (Some(spec), Some(module)) = (&specs.output_norm, &block.output_norm) {
        norm(visit, spec, module);
    }
}

impl NamedParameters for Transformer {
    fn visit_named(&self, visit: &mut dyn NamedVisitor) {
        let config = self.config();
        matrix(visit, &embedding_spec(config), &self.embed_tokens);
        if let (Some(spec), Some(table)) = (positions_spec(config), &self.embed_positions) {
            matrix(visit, &spec, table);
        }
        for (i, layer) in self.layers.iter().enumerate() {
            block(visit, &BlockSpecs::new(config, i), layer);
        }
        norm(visit, &norm_spec(config), &self.norm);
        if let Some(head) = &self.lm_head {
            matrix(visit, &head_spec(config), head);
        }
    }
}

impl NamedParameters for ScoreModel {
    fn visit_named(&self, visit: &mut dyn NamedVisitor) {
        self.backbone.visit_named(visit);
        vector(visit, &score_spec(self.config()), &self.head);
    }
}

/// All parameters with their values, in a fixed order.
pub fn named_parameters<M: NamedParameters>(model: &M) -> Vec<NamedTensor> {
    struct Values(Vec<NamedTensor>);
    impl NamedVisitor for Values {
        fn vector(&mut self, name: &str, file_shape: &[usize], param: &Param<Tensor<1>>) {
            let mut tensor = from_vector(name, param.val());
            tensor.shape = file_shape.to_vec();
            self.0.push(tensor);
        }
        fn matrix(&mut self, name: &str, transposed: bool, param: &Param<Tensor<2>>) {
            self.0.push(from_matrix(name, transposed, param.val()));
        }
    }
    let mut values = Values(Vec::new());
    model.visit_named(&mut values);
    values.0
}

/// The gradients of all parameters that have one, under the parameters' names and in the
/// layout of the file.
pub fn named_gradients<M: NamedParameters>(model: &M, grads: &GradientsParams) -> Vec<NamedTensor> {
    struct Gradients<'a>(&'a GradientsParams, Vec<NamedTensor>);
    impl NamedVisitor for Gradients<'_> {
        fn vector(&mut self, name: &str, file_shape: &[usize], param: &Param<Tensor<1>>) {
            if let Some(grad) = self.0.get::<1>(param.id) {
                let mut tensor = from_vector(name, grad);
                tensor.shape = file_shape.to_vec();
                self.1.push(tensor);
            }
        }
        fn matrix(&mut self, name: &str, transposed: bool, param: &Param<Tensor<2>>) {
            if let Some(grad) = self.0.get::<2>(param.id) {
                self.1.push(from_matrix(name, transposed, grad));
            }
        }
    }
    let mut gradients = Gradients(grads, Vec::new());
    model.visit_named(&mut gradients);
    gradients.1
}

/// Which name belongs to which parameter id, in the fixed order: optimiser state is kept by id
/// and saved by name.
pub fn parameter_ids<M: NamedParameters>(model: &M) -> Vec<(String, ParamId)> {
    struct Ids(Vec<(String, ParamId)>);
    impl NamedVisitor for Ids {
        fn vector(&mut self, name: &str, _: &[usize], param: &Param<Tensor<1>>) {
            self.0.push((name.to_owned(), param.id));
        }
        fn matrix(&mut self, name: &str, _: bool, param: &Param<Tensor<2>>) {
            self.0.push((name.to_owned(), param.id));
        }
    }
    let mut ids = Ids(Vec::new());
    model.visit_named(&mut ids);
    ids.0
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn from_vector(name: &str, tensor: Tensor<1>) -> NamedTensor {
    let shape = tensor.dims().to_vec();
    NamedTensor {
        name: name.to_owned(),
        shape,
        values: floats(tensor),
    }
}

pub(super) fn from_matrix(name: &str, transposed: bool, tensor: Tensor<2>) -> NamedTensor {
    let [rows, columns] = tensor.dims();
    let values = floats(tensor);
    if !transposed {
        return NamedTensor {
            name: name.to_owned(),
            shape: vec![rows, columns],
            values,
        };
    }
    let values = transpose(&values, rows, columns);
    NamedTensor {
        name: name.to_owned(),
        shape: vec![columns, rows],
        values,
    }
}
