//! Supervised fine-tuning: answers only, the best weights kept, resumable.

use crate::tiny::{At, CONTEXT, demonstration, demonstrations, documents, model, run};
use rlhf_data::{SpanRole, TokenSequence};
use rlhf_model::{NamedTensor, Transformer};
use rlhf_random::Rng;
use rlhf_train::parameters::named_parameters;
use rlhf_train::sft::fit_demonstrations;
use rlhf_train::{Kept, Metrics, Outcome, SftConfig, SftData, TrainError, checkpoint, sft};
use std::path::Path;

fn config() -> SftConfig {
    SftConfig {
        steps: 6,
        batch_size: 6,
        micro_batch_size: 4,
        max_length: CONTEXT,
        learning_rate: 0.01,
        warmup_steps: 2,
        evaluate_every: 2,
        checkpoint_every: 2,
        pretraining_share: 0.5,
        ..SftConfig::default()
    }
}

type Result<T> = std::result::Result<T, TrainError>;

fn go(
    config: &SftConfig,
    dir: &Path,
    at: At,
) -> (Result<Outcome<Kept<Transformer>>>, Vec<Metrics>) {
    let (demonstrations, pretraining) = (demonstrations(30), documents(10));
    let data = SftData {
        demonstrations: &demonstrations,
        pretraining: &pretraining,
    };
    run(dir, at, |ctx| sft(config, data, model(), ctx))
}

fn finished(outcome: Result<Outcome<Kept<Transformer>>>) -> Vec<NamedTensor> {
    match outcome.unwrap() {
        Outcome::Finished(kept) => named_parameters(&kept.model),
        Outcome::Interrupted { step } => panic!("interrupted at {step}"),
    }
}

fn sorted(mut tensors: Vec<NamedTensor>) -> Vec<NamedTensor> {
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    tensors
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let (outcome, all) = go(&config(), tempfile::tempdir().unwrap().path(), At::Never);
    let want = finished(outcome);
    for stop in [At::Interrupt(3), At::Break(5)] {
        let dir = tempfile::tempdir().unwrap();
        let (_, before) = go(&config(), dir.path(), stop);
        let (outcome, after) = go(&config(), dir.path(), At::Never);
        assert_eq!(finished(outcome), want);
        assert_eq!(after, all[6 - after.len()..]);
        assert!(before.len() + after.len() >= 6 && after.len() < 4);
    }
}

/// Too high a rate: the held-out loss falls and rises again. What is returned are the weights of
/// the best measurement, to the bit, though the optimiser works in place.
#[test]
fn the_best_held_out_weights_are_kept() {
    let config = SftConfig {
        steps: 40,
        learning_rate: 0.01,
        evaluate_every: 1,
        checkpoint_every: 0,
        pretraining_share: 0.0,
        ..config()
    };
    let (outcome, seen) = go(&config, tempfile::tempdir().unwrap().path(), At::Never);
    let of = |m: &Metrics| m.get("eval_loss").unwrap();
    let best = seen.iter().min_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
    let losses: Vec<f64> = seen.iter().map(of).collect();
    assert!(
        best.step > 1 && best.step < 40,
        "best at {}, so nothing is shown: {losses:?}",
        best.step
    );
    assert!(of(best) < of(&seen[0]) && of(&seen[39]) > of(best));
    assert_eq!(seen[39].get("best_eval_loss"), Some(of(best)));
    assert!(matches!(&outcome, Ok(Outcome::Finished(kept)) if kept.step == best.step));
    let dir = tempfile::tempdir().unwrap();
    let (outcome_there, _) = go(&config, dir.path(), At::Interrupt(best.step));
    assert!(matches!(outcome_there, Ok(Outcome::Interrupted { .. })));
    let mut saved = checkpoint::latest(dir.path(), "f").unwrap().unwrap();
    let there = saved.take("model").unwrap();
    assert_eq!(sorted(finished(outcome)), sorted(there));
}

#[test]
fn rows_that_are_all_prompt_or_all_answer_are_named() {
    let mut rng = Rng::new(3);
    let good = demonstration(&mut rng, 3, 2);
    let (only_prompt, only_answer) = (demonstration(&mut rng, 4, 0), demonstration(&mut rng, 0, 4));
    let message = |bad: TokenSequence| {
        let rows = [good.clone(), bad];
        fit_demonstrations(&rows, 16).unwrap_err().to_string()
    };
    let text = message(only_prompt);
    assert!(
        text.contains("demonstration 2: no token of it carries loss"),
        "{text}"
    );
    let text = message(only_answer);
    assert!(
        text.contains("demonstration 2: all its tokens carry loss"),
        "{text}"
    );
    let mut first_only = TokenSequence::new();
    first_only.push(&[1], SpanRole::Assistant, true);
    first_only.push(&[2, 3], SpanRole::User, false);
    assert!(message(first_only).contains("demonstration 2: no token of it carries loss"));
    let text = message(demonstration(&mut rng, 3, 17));
    assert!(
        text.contains("demonstration 2") && text.contains("17"),
        "{text}"
    );
    let text = message(demonstration(&mut rng, 3, 16));
    assert!(text.contains("its answer fills the 16 tokens"), "{text}");
}

#[test]
fn a_long_prompt_loses_its_start_and_is_counted() {
    let mut rng = Rng::new(4);
    let (long, short) = (
        demonstration(&mut rng, 20, 3),
        demonstration(&mut rng, 5, 3),
    );
    let (rows, truncated) = fit_demonstrations(&[long.clone(), short.clone()], 8).unwrap();
    assert_eq!(truncated, 1);
    assert_eq!(rows[0].ids, long.ids[15..]);
    assert_eq!(
        rows[0].loss_mask,
        [false, false, false, false, false, true, true, true]
    );
    assert_eq!(rows[1].ids, short.ids);
    let dir = tempfile::tempdir().unwrap();
    let demonstrations = [long.clone(), short, long];
    let data = SftData {
        demonstrations: &demonstrations,
        pretraining: &[],
    };
    let config = SftConfig {
        max_length: 8,
        steps: 1,
        ..config()
    };
    let (outcome, seen) = run(dir.path(), At::Never, |ctx| {
        sft(&config, data, model(), ctx)
    });
    finished(outcome);
    assert_eq!(seen[0].get("truncated_prompts"), Some(2.0));
}

#[test]
fn a_gradient_that_is_no_number_names_the_demonstrations() {
    let dir = tempfile::tempdir().unwrap();
    let config = SftConfig {
        learning_rate: 1e30,
        warmup_steps: 3,
        checkpoint_every: 0,
        ..config()
    };
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
    assert_eq!((stage.as_str(), *step, *what), ("sft", 3, "the gradient"));
    let rows: Vec<usize> = rows.split(", ").map(|r| r.parse().unwrap()).collect();
    assert!(
        rows.len() == 6 && rows.iter().all(|r| (1..=30).contains(r)),
        "{rows:?}"
    );
    assert_eq!(
        checkpoint::latest(dir.path(), "f").unwrap().unwrap().step,
        1
    );
}

#[test]
fn too_little_and_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let one = demonstrations(1);
    let data = SftData {
        demonstrations: &one,
        pretraining: &[],
    };
    let (outcome, _) = run(dir.path(), At::Never, |ctx| {
        sft(&config(), data, model(), ctx)
    });
    assert!(outcome.unwrap_err().to_string().contains("at least 2"));
    let none = SftConfig {
        steps: 0,
        ..config()
    };
    let untouched = finished(go(&none, dir.path(), At::Never).0);
    assert_eq!(untouched, named_parameters(&model()));
    let mut rng = Rng::new(6);
    let long = [
        demonstration(&mut rng, CONTEXT, 3),
        demonstration(&mut rng, 3, 3),
    ];
    let data = SftData {
        demonstrations: &long,
        pretraining: &[],
    };
    let config = SftConfig {
        max_length: 64,
        ..config()
    };
    let (outcome, _) = run(dir.path(), At::Never, |ctx| {
        sft(&config, data, model(), ctx)
    });
    let text = outcome.unwrap_err().to_string();
    assert!(
        text.contains("sft.max_length") && text.contains("27 tokens"),
        "{text}"
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for bad in [
        SftConfig {
            max_length: 1,
            ..config()
        },
        SftConfig {
            evaluate_every: 0,
            ..config()
        },
        SftConfig {
            pretraining_share: -1.0,
            ..config()
        },
        SftConfig {
            micro_batch_size: 0,
            ..config()
        },
    ] {
        assert!(
            matches!(bad.validate(), Err(TrainError::Config { .. })),
            "{bad:?}"
        );
    }
}
