//! Building modules from a source of numbers.

use super::{Block, HeadNorms};
use crate::ModelError;
use crate::layers::{Linear, Norm};
use crate::parameters::{BlockSpecs, LayerSpec, ParameterSource, ParameterSpec};
use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

/// Builds modules from a source of numbers.
pub(super) struct Values<'a> {
    pub(super) device: &'a Device,
    pub(super) source: &'a mut dyn ParameterSource,
}

impl Values<'_> {
    pub(super) fn parameter<const D: usize>(
        &mut self,
        spec: &ParameterSpec,
    ) -> Result<Param<Tensor<D>>, ModelError> {
        let data = TensorData::new(self.source.values(spec)?, spec.shape.clone());
        Ok(Param::from_tensor(Tensor::from_data(data, self.device)))
    }

    pub(super) fn optional<const D: usize>(
        &mut self,
        spec: Option<&ParameterSpec>,
    ) -> Result<Option<Param<Tensor<D>>>, ModelError> {
        spec.map(|spec| self.parameter(spec)).transpose()
    }

    fn linear(&mut self, spec: &LayerSpec) -> Result<Linear, ModelError> {
        Ok(Linear {
            weight: self.parameter(&spec.weight)?,
            bias: self.optional(spec.bias.as_ref())?,
            adapters: Vec::new(),
        })
    }

    pub(super) fn norm(&mut self, spec: &LayerSpec) -> Result<Norm, ModelError> {
        Ok(Norm {
            weight: self.parameter(&spec.weight)?,
            bias: self.optional(spec.bias.as_ref())?,
        })
    }

    fn norm_if(&mut self, spec: Option<&LayerSpec>) -> Result<Option<Norm>, ModelError> {
        spec.map(|spec| self.norm(spec)).transpose()
    }

    fn head_norms(&mut self, [q, k]: &[LayerSpec; 2]) -> Result<HeadNorms, ModelError> {
        Ok(HeadNorms {
            q: self.norm(q)?,
            k: self.norm(k)?,
        })
    }

    pub(super) fn block(&mut self, specs: &BlockSpecs) -> Result<Block, ModelError> {
        let input_norm = self.norm(&specs.input_norm)?;
        let qkv = specs.qkv.iter().map(|spec| self.linear(spec));
        let qkv = qkv.collect::<Result<Vec<Linear>, ModelError>>()?;
        let head_norms = specs.head_norms.as_ref();
        Ok(Block {
            input_norm,
            qkv,
            head_norms: head_norms.map(|specs| self.head_norms(specs)).transpose()?,
            o: self.linear(&specs.o)?,
            attention_norm: self.norm_if(specs.attention_norm.as_ref())?,
            feed_forward_norm: self.norm(&specs.feed_forward_norm)?,
            gate: specs
                .gate
                .as_ref()
                .map(|spec| self.linear(spec))
                .transpose()?,
            up: self.linear(&specs.up)?,
            down: self.linear(&specs.down)?,
            output_norm: self.norm_if(specs.output_norm.as_ref())?,
        })
    }
}
