//! AdamW with one global gradient norm.

use crate::TrainError;
use crate::parameters::{NamedTensor, misfit};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use rlhf_kernels::{AdamWStep, Moments, adamw, sum_of_squares};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The settings of AdamW (Loshchilov and Hutter, 2019, "Decoupled weight decay regularization").
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// The rate that a schedule's multiplier scales.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay of matrices; vectors (norms, biases) never decay.
    pub weight_decay: f64,
    /// The bound on the norm of all gradients together.
    pub max_grad_norm: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            learning_rate: 3e-4,
            beta1: 0.9,
            beta2: 0.98,
            eps: 1e-8,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
        }
    }
}

impl AdamWConfig {
    /// Refuses settings that can't be used; `stage` is the section that they stand in.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self, stage: &str) -> Result<(), TrainError> {
        let refuse =
            |key: &str, reason: &str| Err(TrainError::config(format!("{stage}.{key}"), reason));
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return refuse("learning_rate", "must be above 0");
        }
        if !(0.0..1.0).contains(&self.beta2) {
            return refuse("beta2", "must be at least 0 and below 1");
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return refuse("weight_decay", "must not be below 0");
        }
        // Infinity is allowed: no clipping.
        if self.max_grad_norm.is_nan() || self.max_grad_norm <= 0.0 {
            return refuse("max_grad_norm", "must be above 0");
        }
        Ok(())
    }
}

/// min(1, max_norm / (norm + 1e-6)): the factor on all gradients that bounds their joint norm.
pub fn clip_coefficient(norm: f64, max_norm: f64) -> f64 {
    (max_norm / (norm + 1e-6)).min(1.0)
}

/// One step of an exponential moving average of weights: e ← decay·e + (1 − decay)·w.
pub fn ema(average: &mut [f64], weights: &[f64], decay: f64) {
    for (e, w) in average.iter_mut().zip(weights) {
        *e = decay * *e + (1.0 - decay) * w;
    }
}

/// AdamW and its state. A parameter that is frozen or has no gradient is left as it is: no step, no
/// decay.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    updates: u64,
    moments: HashMap<ParamId, Moments>,
    second_factors: SecondFactors,
}

/// Whether the second matrices of adapters, which start at 0, have moved in this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecondFactors {
    Start,
    JustMoved,
    Moved,
}

impl AdamW {
    /// An optimiser that has made no update.
    pub fn new(config: AdamWConfig) -> Self {
        Self {
            config,
            updates: 0,
            moments: HashMap::new(),
            second_factors: SecondFactors::Start,
        }
    }

    /// The settings.
    pub fn config(&self) -> &AdamWConfig {
        &self.config
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Makes one update with the rate `learning_rate · lr_multiplier`, the gradients clipped by
    /// their one global norm. Returns the module and the norm before clipping.
    ///
    /// # Errors
    /// If the norm is not finite (the module is dropped then; the last checkpoint is what remains),
    /// or if at the first update a trainable parameter has no gradient. (That of an adapter's first
    /// matrix is 0 as long as the second one is: it is looked at once that has moved.)
    pub fn step<M: Module>(
        &mut self,
        module: M,
        gradients: &mut GradientsParams,
        lr_multiplier: f64,
    ) -> Result<(M, f64), StepError> {
        let mut norms = Norms {
            gradients,
            moments: &mut self.moments,
            path: Vec::new(),
            sum: 0.0,
            without: Vec::new(),
            first_factors: Vec::new(),
        };
        module.visit(&mut norms);
        let norm = norms.sum.sqrt();
        if !norm.is_finite() {
            return Err(StepError::NotFinite);
        }
        let mut without = Vec::new();
        if self.updates == 0 {
            without.extend(norms.without);
        }
        if self.second_factors == SecondFactors::JustMoved {
            without.extend(norms.first_factors);
        }
        if !without.is_empty() {
            return Err(StepError::NoGradient(listed(&without)));
        }
        self.second_factors = match self.second_factors {
            SecondFactors::Start if lr_multiplier > 0.0 => SecondFactors::JustMoved,
            SecondFactors::JustMoved => SecondFactors::Moved,
            same => same,
        };
        self.updates += 1;
        let grad_scale = clip_coefficient(norm, self.config.max_grad_norm);
        let step = AdamWStep {
            lr: self.config.learning_rate * lr_multiplier,
            beta1: self.config.beta1,
            beta2: self.config.beta2,
            eps: self.config.eps,
            weight_decay: self.config.weight_decay,
            step: self.updates,
            grad_scale,
        };
        let mut update = Update {
            optimiser: self,
            gradients,
            step,
        };
        Ok((module.map(&mut update), norm))
    }

    /// The moments by parameter name, `….first` and `….second`, for a checkpoint.
    pub fn state<M: Module>(&self, module: &M) -> Vec<NamedTensor> {
        let mut names = Names::default();
        module.visit(&mut names);
        let mut tensors = Vec::new();
        for Named { name, id, .. } in names.found {
            if let Some(m) = self.moments.get(&id) {
                for (part, values) in [("first", &m.first), ("second", &m.second)] {
                    let shape = vec![values.len()];
                    tensors.push(NamedTensor {
                        name: format!("{name}.{part}"),
                        shape,
                        values: values.clone(),
                    });
                }
            }
        }
        tensors
    }

    /// An optimiser that goes on from a checkpoint.
    ///
    /// # Errors
    /// If the moments don't belong to this module, or a tensor that was trained has none and would
    /// silently start afresh; `path` is named.
    pub fn restore<M: Module>(
        config: AdamWConfig,
        updates: u64,
        module: &M,
        tensors: Vec<NamedTensor>,
        path: &Path,
    ) -> Result<Self, TrainError> {
        let mut given: BTreeMap<String, Vec<f32>> =
            tensors.into_iter().map(|t| (t.name, t.values)).collect();
        let mut names = Names::default();
        module.visit(&mut names);
        let (mut moments, mut wrong) = (HashMap::new(), Vec::new());
        for Named {
            name,
            id,
            size,
            trained,
        } in names.found
        {
            let first = given.remove(&format!("{name}.first"));
            let second = given.remove(&format!("{name}.second"));
            match (first, second) {
                (Some(first), Some(second)) if first.len() == size && second.len() == size => {
                    moments.insert(id, Moments { first, second });
                }
                (None, None) if updates == 0 || !trained => {}
                _ => wrong.push(format!("{name} has no moments of {size} numbers")),
            }
        }
        wrong.extend(given.into_keys().map(|name| format!("{name} is unknown")));
        if !wrong.is_empty() {
            return Err(misfit(path, "the optimiser", wrong.join("; ")));
        }
        Ok(Self {
            config,
            updates,
            moments,
            second_factors: SecondFactors::Start,
        })
    }
}

/// The first few names, and how many there are.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = names[..names.len().min(SHOWN)].join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}

/// Why an update could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepError {
    /// The gradient norm is infinite or no number.
    NotFinite,
    /// These trainable parameters have no gradient, or one of zeros.
    NoGradient(String),
}

impl StepError {
    /// The error of a stage.
    pub fn at(self, stage: &str, step: u64, rows: &[usize]) -> TrainError {
        match self {
            Self::NotFinite => TrainError::not_finite("the gradient", (stage, step), rows),
            Self::NoGradient(names) => TrainError::NoGradient {
                stage: stage.to_owned(),
                names,
            },
        }
    }
}

/// What is looked at and made ready before any parameter changes.
struct Norms<'a> {
    gradients: &'a GradientsParams,
    moments: &'a mut HashMap<ParamId, Moments>,
    path: Vec<String>,
    sum: f64,
    /// Trained parameters without a gradient but for the first matrices of adapters, which follow.
    without: Vec<String>,
    first_factors: Vec<String>,
}

impl Norms<'_> {
    /// Whether the parameter at hand is the first matrix of an adapter.
    fn at_first_factor(&self) -> bool {
        let adapters = self.path.iter().any(|field| field == "adapters");
        adapters && self.path.last().is_some_and(|field| field == "a")
    }
}

impl ModuleVisitor for Norms<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.val().is_require_grad() {
            return;
        }
        let gradient = self.gradients.get::<D>(param.id);
        if let Some(gradient) = &gradient {
            // All of them before the first gradient is freed: its memory stays in one piece with that of
            // the others, for the activations of the next step.
            let size = gradient.shape().num_elements();
            let moments = self.moments.entry(param.id);
            moments.or_insert_with(|| Moments::zeros(size));
        }
        let squares = gradient.map(|g| sum_of_squares(&g));
        if squares.is_none_or(|s| s == 0.0) {
            let path = self.path.join(".");
            if self.at_first_factor() {
                self.first_factors.push(path);
            } else {
                self.without.push(path);
            }
        }
        self.sum += squares.unwrap_or(0.0);
    }
}

struct Update<'a> {
    optimiser: &'a mut AdamW,
    gradients: &'a mut GradientsParams,
    step: AdamWStep,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let gradient = self.gradients.remove::<D>(id);
        let tracked = tensor.is_require_grad();
        let moments = self.optimiser.moments.get_mut(&id).filter(|_| tracked);
        let (Some(gradient), Some(moments)) = (gradient, moments) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let mut step = self.step;
        if D < 2 {
            step.weight_decay = 0.0;
        }
        let updated = adamw(
            tensor.without_autodiff(),
            gradient.without_autodiff(),
            moments,
            &step,
        );
        let updated = updated.autodiff().set_require_grad(tracked);
        Param::from_mapped_value(id, updated, mapper)
    }
}

/// What a parameter is called and how large it is.
struct Named {
    name: String,
    id: ParamId,
    size: usize,
    trained: bool,
}

#[derive(Default)]
struct Names {
    path: Vec<String>,
    found: Vec<Named>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }
    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        self.found.push(Named {
            name: self.path.join("."),
            id: param.id,
            size: tensor.shape().num_elements(),
            trained: tensor.is_require_grad(),
        });
    }
}
