//! Pre-training: it learns, it goes on where it was, and it stops when something is wrong.

use crate::tiny::{At, CONTEXT, documents, model, run};
use burn::module::Module;
use rlhf_model::{ModelError, NamedTensor, Transformer};
use rlhf_train::parameters::named_parameters;
use rlhf_train::{
    Metrics, Outcome, PretrainConfig, RunContext, Schedule, TrainError, checkpoint, pretrain,
};
use std::path::Path;

fn config() -> PretrainConfig {
    PretrainConfig {
        steps: 6,
        batch_size: 4,
        micro_batch_size: 3,
        sequence_length: 16,
        learning_rate: 0.01,
        warmup_steps: 2,
        checkpoint_every: 2,
        ..PretrainConfig::default()
    }
}

type Result<T> = std::result::Result<T, TrainError>;

fn go(config: &PretrainConfig, dir: &Path, at: At) -> (Result<Outcome<Transformer>>, Vec<Metrics>) {
    run(dir, at, |ctx: &mut RunContext<'_>| {
        pretrain(config, &documents(30), model(), ctx)
    })
}

fn finished(outcome: Result<Outcome<Transformer>>) -> Vec<NamedTensor> {
    match outcome.unwrap() {
        Outcome::Finished(model) => named_parameters(&model),
        Outcome::Interrupted { step } => panic!("interrupted at {step}"),
    }
}

#[test]
fn it_learns_and_its_records_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = PretrainConfig {
        steps: 40,
        learning_rate: 0.02,
        ..config()
    };
    let (outcome, seen) = go(&config, dir.path(), At::Never);
    finished(outcome);
    let of = |step: usize, name: &str| seen[step].get(name).unwrap();
    assert!(
        of(39, "loss") < of(0, "loss") - 0.5,
        "{} to {}",
        of(0, "loss"),
        of(39, "loss")
    );
    assert_eq!(of(0, "learning_rate"), 0.0);
    assert_eq!(of(2, "learning_rate"), 0.02);
    assert!(of(39, "learning_rate") < 0.002);
    assert!(
        seen.iter()
            .enumerate()
            .all(|(i, m)| m.step == i as u64 + 1 && m.total == 40)
    );
}

/// Interrupted and continued, or broken off after a checkpoint and continued: the same bits.
#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (outcome, all) = go(&config(), whole.path(), At::Never);
    let want = finished(outcome);
    let (outcome, before) = go(&config(), parts.path(), At::Interrupt(3));
    assert!(matches!(outcome, Ok(Outcome::Interrupted { step: 3 })));
    let (outcome, after) = go(&config(), parts.path(), At::Never);
    assert_eq!(finished(outcome), want);
    assert_eq!([before, after].concat(), all);

    let broken = tempfile::tempdir().unwrap();
    let (outcome, _) = go(&config(), broken.path(), At::Break(5));
    assert!(outcome.unwrap_err().to_string().contains("no room"));
    let (outcome, after) = go(&config(), broken.path(), At::Never);
    assert_eq!(finished(outcome), want);
    assert_eq!(after, all[4..], "it goes on from the checkpoint at step 4");
}

#[test]
fn an_interruption_at_the_last_step_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, _) = go(&config(), dir.path(), At::Interrupt(6));
    assert!(matches!(outcome, Ok(Outcome::Interrupted { step: 6 })));
    let (outcome, seen) = go(&config(), dir.path(), At::Never);
    let (again, _) = go(&config(), tempfile::tempdir().unwrap().path(), At::Never);
    assert_eq!(finished(outcome), finished(again));
    assert!(seen.is_empty());
}

#[test]
fn an_optimiser_without_its_moments_does_not_go_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(go(&config(), dir.path(), At::Interrupt(3)));
    let mut saved = checkpoint::latest(dir.path(), "f").unwrap().unwrap();
    let groups = [
        ("model", saved.take("model").unwrap()),
        ("adamw", Vec::new()),
    ];
    checkpoint::save(dir.path(), "f", 3, &saved.state, &groups).unwrap();
    let text = go(&config(), dir.path(), At::Never)
        .0
        .unwrap_err()
        .to_string();
    assert!(text.contains("the optimiser does not fit"), "{text}");
    assert!(text.contains("embed_tokens has no moments"), "{text}");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let config = diverging(0);
    go(&config, dir.path(), At::Interrupt(1)).0.unwrap();
    let error = go(&config, dir.path(), At::Never).0.unwrap_err();
    let TrainError::NotFinite {
        stage,
        step,
        what,
        rows,
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((stage.as_str(), *step, *what), ("pretrain", 3, "the loss"));
    assert_eq!(rows.split(", ").count(), 4, "{rows}");
    let saved = checkpoint::latest(dir.path(), "f").unwrap().unwrap();
    assert_eq!(saved.step, 1);
}

/// The first update has rate 0; the second leaves no finite weights behind.
fn diverging(checkpoint_every: u64) -> PretrainConfig {
    PretrainConfig {
        learning_rate: 1e60,
        warmup_steps: 3,
        schedule: Schedule::Constant,
        checkpoint_every,
        ..config()
    }
}

#[test]
fn weights_that_are_no_numbers_replace_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let error = go(&diverging(1), dir.path(), At::Never).0.unwrap_err();
    let refused = matches!(error, TrainError::Model(ModelError::NotFinite { .. }));
    assert!(refused, "{error}");
    assert!(error.to_string().contains("step-000002"), "{error}");
    let mut saved = checkpoint::latest(dir.path(), "f").unwrap().unwrap();
    assert_eq!(saved.step, 1);
    let in_order = |mut weights: Vec<NamedTensor>| {
        weights.sort_by(|a, b| a.name.cmp(&b.name));
        weights
    };
    let weights = in_order(saved.take("model").unwrap());
    assert_eq!(weights, in_order(named_parameters(&model().train())));
}

#[test]
fn nothing_to_do_and_more_than_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let none = PretrainConfig {
        steps: 0,
        ..config()
    };
    let untouched = finished(go(&none, dir.path(), At::Never).0);
    assert_eq!(untouched, named_parameters(&model().valid()));
    let large = PretrainConfig {
        batch_size: 100,
        steps: 2,
        ..config()
    };
    finished(go(&large, dir.path(), At::Never).0);
    let (outcome, _) = run(dir.path(), At::Never, |ctx| {
        pretrain(&config(), &[], model(), ctx)
    });
    assert!(outcome.unwrap_err().to_string().contains("no text"));
    let long = PretrainConfig {
        sequence_length: CONTEXT + 1,
        ..config()
    };
    let text = go(&long, dir.path(), At::Never).0.unwrap_err().to_string();
    assert!(
        text.contains("pretrain.sequence_length") && text.contains("24"),
        "{text}"
    );
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let with = |change: fn(&mut PretrainConfig)| {
        let mut config = config();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    assert!(with(|c| c.batch_size = 0).contains("pretrain.batch_size"));
    assert!(with(|c| c.sequence_length = 1).contains("pretrain.sequence_length"));
    assert!(with(|c| c.learning_rate = f64::NAN).contains("pretrain.learning_rate"));
    assert!(with(|c| c.floor = 1.5).contains("pretrain.floor"));
    assert!(with(|c| c.beta2 = 1.0).contains("pretrain.beta2"));
    assert!(with(|c| c.weight_decay = -0.1).contains("pretrain.weight_decay"));
    assert!(with(|c| c.max_grad_norm = 0.0).contains("pretrain.max_grad_norm"));
}
