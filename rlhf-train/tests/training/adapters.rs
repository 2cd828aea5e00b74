//! Low-rank adapters in training: the weights stay, the adapters learn, a run goes on where it was.

use crate::tiny::{At, CONTEXT, demonstrations, documents, model, run};
use burn::module::Module;
use burn::optim::GradientsParams;
use rlhf_data::PackedRow;
use rlhf_model::{LoraConfig, NamedTensor, Transformer};
use rlhf_train::optim::StepError;
use rlhf_train::parameters::named_parameters;
use rlhf_train::supervised::{row_of, supervised_gradients};
use rlhf_train::{AdamW, AdamWConfig, Kept, Metrics, Outcome, SftConfig, SftData, checkpoint, sft};
use std::path::Path;

fn lora(dropout: f64) -> LoraConfig {
    LoraConfig {
        rank: 3,
        dropout,
        ..LoraConfig::default()
    }
}

fn adapted(dropout: f64) -> Transformer {
    model().with_lora(&lora(dropout), 4).unwrap()
}

fn config() -> SftConfig {
    SftConfig {
        steps: 6,
        batch_size: 8,
        micro_batch_size: 3,
        max_length: CONTEXT,
        learning_rate: 0.02,
        warmup_steps: 2,
        evaluate_every: 2,
        checkpoint_every: 2,
        pretraining_share: 0.0,
        ..SftConfig::default()
    }
}

fn go(model: Transformer, dir: &Path, at: At) -> (Outcome<Kept<Transformer>>, Vec<Metrics>) {
    let rows = demonstrations(60);
    let data = SftData {
        demonstrations: &rows,
        pretraining: &[],
    };
    let (outcome, seen) = run(dir, at, |ctx| sft(&config(), data, model, ctx));
    (outcome.unwrap(), seen)
}

fn finished(outcome: Outcome<Kept<Transformer>>) -> Transformer {
    match outcome {
        Outcome::Finished(kept) => kept.model,
        Outcome::Interrupted { step } => panic!("interrupted at {step}"),
    }
}

fn is_adapter(tensor: &NamedTensor) -> bool {
    tensor.name.contains(".adapters.")
}

#[test]
fn the_weights_stay_to_the_bit_and_the_adapters_learn() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, seen) = go(adapted(0.0), dir.path(), At::Never);
    let after = named_parameters(&finished(outcome));
    let before = named_parameters(&adapted(0.0));
    assert_eq!(after.len(), before.len());
    for (after, before) in after.iter().zip(&before) {
        let same = after.values == before.values;
        assert_eq!(same, !is_adapter(after), "{}", after.name);
    }
    let loss = |metrics: &Metrics| metrics.get("eval_loss");
    let evaluated: Vec<f64> = seen.iter().filter_map(loss).collect();
    assert!(evaluated.last() < evaluated.first(), "{evaluated:?}");
}

#[test]
fn a_resumed_run_with_dropout_equals_an_uninterrupted_one() {
    let whole_dir = tempfile::tempdir().unwrap();
    let (whole, all) = go(adapted(0.2), whole_dir.path(), At::Never);
    let dir = tempfile::tempdir().unwrap();
    let (first, mut seen) = go(adapted(0.2), dir.path(), At::Interrupt(3));
    assert!(matches!(first, Outcome::Interrupted { step: 3 }));
    let mut saved = checkpoint::latest(dir.path(), "f").unwrap().unwrap();
    for group in ["model", "best"] {
        let tensors = saved.take(group).unwrap();
        assert!(
            !tensors.is_empty() && tensors.iter().all(is_adapter),
            "{group}"
        );
    }
    let (second, rest) = go(adapted(0.2), dir.path(), At::Never);
    seen.extend(rest);
    assert_eq!(seen, all);
    let named = |model: Outcome<Kept<Transformer>>| named_parameters(&finished(model));
    assert_eq!(named(second), named(whole));
    // Dropout is not without effect.
    let dir = tempfile::tempdir().unwrap();
    let (_, other) = go(adapted(0.0), dir.path(), At::Never);
    assert_ne!(other, all);
}

#[test]
fn a_first_factor_without_gradient_is_noticed_in_the_second_update() {
    let rows: Vec<PackedRow> = documents(4).iter().map(row_of).collect();
    let rows: Vec<&PackedRow> = rows.iter().collect();
    let device = crate::tiny::device();
    let mut model = adapted(0.0).train();
    let mut optimiser = AdamW::new(AdamWConfig::default());
    let mut found = supervised_gradients(&model, &rows, 4, &device).unwrap();
    (model, _) = optimiser.step(model, &mut found.gradients, 1.0).unwrap();
    let mut found = supervised_gradients(&model, &rows, 4, &device).unwrap();
    let a = model.layers[1].up.adapters[0].a.id;
    assert!(found.gradients.remove::<2>(a).is_some());
    let error = optimiser
        .step(model, &mut found.gradients, 1.0)
        .unwrap_err();
    let StepError::NoGradient(names) = error else {
        panic!("{error:?}");
    };
    assert_eq!(names, "layers.1.up.adapters.0.a");
    // Without any gradient for the second factors the first update is refused.
    let mut none = GradientsParams::new();
    let mut optimiser = AdamW::new(AdamWConfig::default());
    let error = optimiser
        .step(adapted(0.0).train(), &mut none, 1.0)
        .unwrap_err();
    assert!(
        matches!(error, StepError::NoGradient(names) if names.ends_with("more") && names.contains("adapters.0.b"))
    );
}
