//! AdamW against its formula written out, and what it refuses.

use crate::tiny::device;
use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use rlhf_train::optim::{StepError, clip_coefficient};
use rlhf_train::parameters::{host_values, named_parameters};
use rlhf_train::{AdamW, AdamWConfig};
use std::path::Path;

#[derive(Module, Debug)]
struct Three {
    matrix: Param<Tensor<2>>,
    vector: Param<Tensor<1>>,
    late: Param<Tensor<2>>,
}

fn matrix(values: [f32; 4]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [2, 2]), &device())
}

fn vector(values: [f32; 2]) -> Tensor<1> {
    Tensor::from_floats(values, &device())
}

fn three() -> Three {
    Three {
        matrix: Param::from_tensor(matrix([0.5, -1.0, 2.0, 0.1])),
        vector: Param::from_tensor(vector([1.0, -3.0])),
        late: Param::from_tensor(matrix([4.0; 4])),
    }
    .train()
}

/// Gradients that are exactly these numbers.
fn gradients(module: &Three, of: ([f32; 4], [f32; 2]), late: Option<[f32; 4]>) -> GradientsParams {
    let mut loss =
        (module.matrix.val() * matrix(of.0)).sum() + (module.vector.val() * vector(of.1)).sum();
    if let Some(late) = late {
        loss = loss + (module.late.val() * matrix(late)).sum();
    }
    GradientsParams::from_grads(loss.backward(), module)
}

/// One parameter by the formula, in f64.
struct Formula {
    w: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
    decay: f64,
}

impl Formula {
    fn new(w: &[f32], decay: f64) -> Self {
        let w: Vec<f64> = w.iter().map(|&x| f64::from(x)).collect();
        Self {
            m: vec![0.0; w.len()],
            v: vec![0.0; w.len()],
            w,
            decay,
        }
    }

    fn step(&mut self, c: &AdamWConfig, gradient: &[f32], scale: f64, (t, lr): (i32, f64)) {
        for (i, &g) in gradient.iter().enumerate() {
            let g = f64::from(g) * scale;
            self.m[i] = c.beta1 * self.m[i] + (1.0 - c.beta1) * g;
            self.v[i] = c.beta2 * self.v[i] + (1.0 - c.beta2) * g * g;
            let m = self.m[i] / (1.0 - c.beta1.powi(t));
            let v = self.v[i] / (1.0 - c.beta2.powi(t));
            self.w[i] -= lr * self.decay * self.w[i];
            self.w[i] -= lr * m / (v.sqrt() + c.eps);
        }
    }

    fn assert_is(&self, values: &[f32], what: &str) {
        for (want, &found) in self.w.iter().zip(values) {
            assert!(
                (want - f64::from(found)).abs() < 2e-6,
                "{what}: {found}, not {want}"
            );
        }
    }
}

const STEPS: [([f32; 4], [f32; 2]); 4] = [
    ([0.1, -0.2, 0.3, 0.05], [0.4, -0.1]),
    ([9.0, 3.0, -4.0, 1.0], [-6.0, 2.0]),
    ([-0.3, 0.2, 0.1, 0.7], [0.2, 0.2]),
    ([0.0, 0.5, -0.5, 0.1], [-0.4, 0.3]),
];

/// Clipped by one norm over all tensors, decayed only where it is a matrix, and left alone where
/// there is no gradient.
#[test]
fn updates_follow_the_formula() {
    let config = AdamWConfig {
        learning_rate: 0.05,
        weight_decay: 0.3,
        ..AdamWConfig::default()
    };
    let mut module = three();
    let mut optimiser = AdamW::new(config);
    let mut of_matrix = Formula::new(&host_values(module.matrix.val()), 0.3);
    let mut of_vector = Formula::new(&host_values(module.vector.val()), 0.0);
    let mut after_first = Vec::new();
    for (i, of) in STEPS.into_iter().enumerate() {
        let late = (i == 0).then_some([0.2, 0.0, 0.0, 0.0]);
        let mut found = gradients(&module, of, late);
        let all = of.0.iter().chain(&of.1).chain(late.iter().flatten());
        let norm = all.map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let multiplier = 1.0 - 0.2 * i as f64;
        let found_norm;
        (module, found_norm) = optimiser.step(module, &mut found, multiplier).unwrap();
        assert!(
            (found_norm - norm).abs() < 1e-5 * norm,
            "{found_norm}, not {norm}"
        );
        let scale = clip_coefficient(norm, config.max_grad_norm);
        let when = (i as i32 + 1, 0.05 * multiplier);
        of_matrix.step(&config, &of.0, scale, when);
        of_vector.step(&config, &of.1, scale, when);
        of_matrix.assert_is(&host_values(module.matrix.val()), "matrix");
        of_vector.assert_is(&host_values(module.vector.val()), "vector");
        let late = host_values(module.late.val());
        if i == 0 {
            after_first = late;
        } else {
            assert_eq!(late, after_first, "a tensor without a gradient moved");
        }
    }
    assert!(
        after_first[0] < 3.96 && after_first[1] < 4.0,
        "{after_first:?}"
    );
    assert_eq!(optimiser.updates(), 4);
}

#[test]
fn a_loss_without_a_link_is_refused_at_the_first_update() {
    for late in [None, Some([0.0; 4])] {
        let module = three();
        let mut found = gradients(&module, STEPS[0], late);
        let error = AdamW::new(AdamWConfig::default())
            .step(module, &mut found, 1.0)
            .unwrap_err();
        assert_eq!(error, StepError::NoGradient("late".into()));
        let text = error.at("sft", 1, &[0]).to_string();
        assert!(text.contains("sft: no gradient reaches late"), "{text}");
    }
    let mut module = three();
    module.late = module.late.set_require_grad(false);
    let mut found = gradients(&module, STEPS[0], None);
    let (module, _) = AdamW::new(AdamWConfig::default())
        .step(module, &mut found, 1.0)
        .unwrap();
    assert_eq!(
        host_values(module.late.val()),
        [4.0; 4],
        "a frozen tensor moved"
    );
}

/// Even if it comes with a gradient, which counts for nothing then.
#[test]
fn a_frozen_tensor_is_left_as_it_is() {
    let config = AdamWConfig::default();
    let step = |late, frozen: bool| {
        let module = three();
        let mut found = gradients(&module, STEPS[0], late);
        let late = module.late.clone().set_require_grad(!frozen);
        let module = Three { late, ..module };
        AdamW::new(config).step(module, &mut found, 1.0).unwrap()
    };
    let (with, norm) = step(Some([5.0; 4]), true);
    let (without, same_norm) = step(None, true);
    assert_eq!(norm, same_norm);
    assert_eq!(host_values(with.late.val()), [4.0; 4]);
    for (a, b) in named_parameters(&with)
        .iter()
        .zip(named_parameters(&without))
    {
        assert_eq!(a.values, b.values, "{}", a.name);
    }
    let (trained, norm) = step(Some([5.0; 4]), false);
    assert!(norm > same_norm);
    assert!(host_values(trained.late.val()).iter().all(|&w| w < 4.0));
}

#[test]
fn a_gradient_that_is_no_number_is_refused() {
    for bad in [f32::NAN, f32::INFINITY] {
        let module = three();
        let mut found = gradients(&module, ([bad, 0.0, 0.0, 0.0], [1.0; 2]), Some([1.0; 4]));
        let error = AdamW::new(AdamWConfig::default())
            .step(module, &mut found, 1.0)
            .unwrap_err();
        let text = error.at("ppo", 7, &[0, 4]).to_string();
        assert!(
            text.contains("step 7: the gradient is not finite"),
            "{text}"
        );
        assert!(text.contains("rows 1, 5"), "{text}");
    }
}

#[test]
fn moments_that_are_missing_or_strange_are_refused() {
    let config = AdamWConfig::default();
    let module = three();
    let mut found = gradients(&module, STEPS[0], Some([1.0; 4]));
    let mut optimiser = AdamW::new(config);
    let (module, _) = optimiser.step(module, &mut found, 1.0).unwrap();
    let state = optimiser.state(&module);
    assert_eq!(state.len(), 2 * named_parameters(&module).len());
    let restore = |state| AdamW::restore(config, 1, &module, state, Path::new("there"));
    assert_eq!(restore(state.clone()).unwrap().state(&module), state);
    let mut missing = state.clone();
    missing.retain(|t| t.name != "vector.second");
    let text = restore(missing).unwrap_err().to_string();
    assert!(
        text.contains("vector has no moments of 2 numbers"),
        "{text}"
    );
    assert!(
        restore(Vec::new()).is_err(),
        "a fresh optimiser in the middle of a run"
    );
    let mut long = state.clone();
    long[0].values.push(0.0);
    assert!(restore(long).is_err());
    let mut strange = state;
    strange[0].name = "other.first".into();
    let text = restore(strange).unwrap_err().to_string();
    assert!(text.contains("other.first is unknown"), "{text}");
}
