//! Adapters on a whole model.

use super::{LoraAdapter, LoraConfig, LoraScaling};
use crate::parameters::{BlockSpecs, LayerSpec};
use crate::{Block, Linear, ModelConfig, ModelError, ScoreModel, Transformer};
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use rlhf_random::Rng;

impl Transformer {
    /// The model with its weights frozen and a fresh adapter on each matrix that the settings
    /// name. `A` is uniform within ±1/√in (PEFT's start), from the seed and the matrix's name
    /// alone; `B` is 0.
    ///
    /// # Errors
    /// [`ModelError::Config`] if the settings can't be used or a pattern fits no matrix.
    pub fn with_lora(self, config: &LoraConfig, seed: u64) -> Result<Self, ModelError> {
        config.validate()?;
        let names = module_names(self.config());
        let chosen = config.chosen(&names)?;
        let mut model = self.no_grad();
        let rng = Rng::new(seed).key("lora");
        let chosen = names.iter().zip(chosen);
        for (linear, (name, chosen)) in model.linears_mut().into_iter().zip(chosen) {
            for earlier in &mut linear.adapters {
                earlier.trained = false;
            }
            if chosen {
                let adapter = LoraAdapter::fresh(linear, config, rng.key(name.as_str()));
                linear.adapters.push(adapter);
            }
        }
        Ok(model)
    }

    /// The frozen policy that training starts from: a copy that is not trained, its trained
    /// adapters off. The weights are shared, not copied.
    pub fn reference(&self) -> Self {
        let mut model = self.valid();
        for linear in model.linears_mut() {
            linear.adapters.retain(|adapter| !adapter.trained);
        }
        model
    }

    /// The model with the products of its adapters added to its weights.
    pub fn merged(mut self) -> Self {
        for linear in self.linears_mut() {
            linear.merge();
        }
        self
    }

    /// Whether some matrix has an adapter.
    pub fn has_adapters(&self) -> bool {
        self.adapters().next().is_some()
    }

    /// Whether training passes drop anything.
    pub(crate) fn has_dropout(&self) -> bool {
        self.adapters().any(LoraAdapter::drops)
    }

    fn adapters(&self) -> impl Iterator<Item = &LoraAdapter> {
        let linears = self.layers.iter().flat_map(Block::linears);
        linears.flat_map(|linear| &linear.adapters)
    }

    /// Names, as in Hugging Face's modules, and matrices, in one order.
    pub(crate) fn named_linears(&self) -> Vec<(String, &Linear)> {
        let linears = self.layers.iter().flat_map(Block::linears);
        module_names(self.config())
            .into_iter()
            .zip(linears)
            .collect()
    }

    /// The matrices of all blocks, in the order of [`Self::named_linears`].
    pub(crate) fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.layers
            .iter_mut()
            .flat_map(Block::linears_mut)
            .collect()
    }
}

impl ScoreModel {
    /// As [`Transformer::with_lora`]; the head is trained beside the adapters.
    ///
    /// # Errors
    /// As [`Transformer::with_lora`].
    pub fn with_lora(self, config: &LoraConfig, seed: u64) -> Result<Self, ModelError> {
        Ok(Self {
            backbone: self.backbone.with_lora(config, seed)?,
            head: self.head,
        })
    }

    /// As [`Transformer::dropping`].
    pub fn dropping(self, rng: Rng) -> Self {
        Self {
            backbone: self.backbone.dropping(rng),
            head: self.head,
        }
    }

    /// As [`Transformer::merged`].
    pub fn merged(self) -> Self {
        Self {
            backbone: self.backbone.merged(),
            head: self.head,
        }
    }
}

impl Block {
    fn linears(&self) -> Vec<&Linear> {
        let into = self.qkv.iter().chain([&self.o]);
        into.chain(&self.gate)
            .chain([&self.up, &self.down])
            .collect()
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let into = self.qkv.iter_mut().chain([&mut self.o]);
        into.chain(&mut self.gate)
            .chain([&mut self.up, &mut self.down])
            .collect()
    }
}

/// The matrices of a block.
fn linear_specs(config: &ModelConfig, layer: usize) -> impl Iterator<Item = LayerSpec> {
    let specs = BlockSpecs::new(config, layer);
    let linears = specs.qkv.into_iter().chain([specs.o]).chain(specs.gate);
    linears.chain([specs.up, specs.down])
}

/// The names of the matrices of all blocks.
fn module_names(config: &ModelConfig) -> Vec<String> {
    let of_block = |layer| linear_specs(config, layer);
    let name = |spec: LayerSpec| {
        let name = spec.weight.name;
        name.strip_suffix(".weight").unwrap_or(&name).to_owned()
    };
    (0..config.num_hidden_layers)
        .flat_map(of_block)
        .map(name)
        .collect()
}

impl LoraConfig {
    /// Numbers in the adapters of a model of this shape; all its weights' where there are none.
    ///
    /// # Errors
    /// [`ModelError::Config`] if a pattern fits no matrix.
    pub fn num_trained(&self, config: &ModelConfig) -> Result<usize, ModelError> {
        if !self.is_on() {
            return Ok(config.num_parameters());
        }
        let chosen = self.chosen(&module_names(config))?;
        let of_block = |layer| linear_specs(config, layer).map(|spec| spec.weight.shape);
        let shapes = (0..config.num_hidden_layers).flat_map(of_block);
        let chosen = shapes.zip(chosen).filter(|(_, chosen)| *chosen);
        let widths = chosen.map(|(shape, _)| shape.iter().sum::<usize>());
        Ok(self.rank * widths.sum::<usize>())
    }
}

impl Linear {
    fn merge(&mut self) {
        if self.adapters.is_empty() {
            return;
        }
        self.weight = Param::from_tensor(self.merged_weight());
        self.adapters.clear();
    }
}

impl LoraAdapter {
    fn fresh(linear: &Linear, config: &LoraConfig, mut rng: Rng) -> Self {
        let [width, out] = linear.weight.dims();
        let (rank, bound) = (config.rank, 1.0 / (width as f64).sqrt());
        let a = (0..width * rank).map(|_| (bound * (2.0 * rng.uniform() - 1.0)) as f32);
        let device = linear.weight.val().device();
        Self {
            a: matrix(a.collect(), [width, rank], &device),
            b: matrix(vec![0.0; rank * out], [rank, out], &device),
            scaling: LoraScaling {
                alpha: config.alpha,
                rslora: config.rslora,
            },
            dropout: config.dropout,
            trained: true,
        }
    }
}

fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}
