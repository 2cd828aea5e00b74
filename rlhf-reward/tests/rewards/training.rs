//! Training a reward model: it learns what separates the answers, and goes on where it was.

use crate::tiny::{CONTEXT, backbone, device, run, tokenizer, user};
use rlhf_data::{ChatTokenizer, Comparison};
use rlhf_model::{NamedTensor, ScoreModel};
use rlhf_random::Rng;
use rlhf_reward::{
    EncodedComparison, RewardConfig, RewardError, RewardSummary, encode_comparisons,
    evaluate_comparisons, train_reward,
};
use rlhf_train::parameters::named_parameters;
use rlhf_train::{Kept, Metrics, Outcome, Schedule, TrainError, checkpoint};
use std::path::Path;

/// Answers with "good" in them beat those with "bad"; those with neither lie between.
fn comparisons(n: usize) -> Vec<Comparison> {
    let mut rng = Rng::new(4).key("comparisons");
    let mut noise = |word: &str| {
        let letters: String = (0..2 + rng.below(4))
            .map(|_| *rng.choose(&['x', 'y', 'z']))
            .collect();
        format!("{letters} {word} {letters}")
    };
    let mut one = |i: usize| {
        let prompt = user(&noise("q"));
        let (good, bad, neither) = (noise("good"), noise("bad"), noise("w"));
        let (responses, pairs) = match i % 3 {
            0 => (vec![bad, good], vec![(1, 0)]),
            1 => (vec![good, neither], vec![(0, 1)]),
            _ => (vec![neither, good, bad], vec![(1, 0), (1, 2), (0, 2)]),
        };
        Comparison {
            prompt,
            responses,
            pairs,
        }
    };
    (0..n).map(&mut one).collect()
}

fn encoded(tokenizer: &ChatTokenizer, n: usize) -> Vec<EncodedComparison> {
    encode_comparisons(tokenizer, &comparisons(n), CONTEXT).unwrap()
}

fn config() -> RewardConfig {
    RewardConfig {
        steps: 6,
        batch_size: 8,
        micro_batch_size: 5,
        max_length: CONTEXT,
        learning_rate: 0.01,
        warmup_steps: 2,
        evaluate_every: 2,
        checkpoint_every: 2,
        ..RewardConfig::default()
    }
}

type Trained = Result<Outcome<(Kept<ScoreModel>, RewardSummary)>, RewardError>;

fn go(config: &RewardConfig, dir: &Path, interrupt_at: u64) -> (Trained, Vec<Metrics>) {
    let tokenizer = tokenizer();
    let rows = encoded(&tokenizer, 60);
    let backbone = backbone(tokenizer.tokenizer().vocab_size());
    run(dir, interrupt_at, |ctx| {
        train_reward(config, &rows, backbone, ctx)
    })
}

fn finished(outcome: Trained) -> (Vec<NamedTensor>, RewardSummary) {
    match outcome.unwrap() {
        Outcome::Finished((kept, summary)) => (named_parameters(&kept.model), summary),
        Outcome::Interrupted { step } => panic!("interrupted at {step}"),
    }
}

#[test]
fn it_learns_what_separates_the_answers() {
    let dir = tempfile::tempdir().unwrap();
    let config = RewardConfig {
        steps: 60,
        evaluate_every: 10,
        checkpoint_every: 0,
        ..config()
    };
    let (outcome, seen) = go(&config, dir.path(), 0);
    let Outcome::Finished((kept, summary)) = outcome.unwrap() else {
        panic!("interrupted")
    };
    assert!(seen[59].get("loss").unwrap() < 0.5 * seen[0].get("loss").unwrap());
    let measurements: Vec<f64> = seen.iter().filter_map(|m| m.get("eval_loss")).collect();
    assert_eq!(measurements.len(), 6);
    let best = measurements.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(
        summary.loss, best,
        "the best measurement is what is returned"
    );
    let (model, step) = (kept.model, kept.step as usize);
    assert_eq!(measurements[step / 10 - 1], best);
    let tokenizer = tokenizer();
    let fresh = encoded(&tokenizer, 200);
    let fresh: Vec<&EncodedComparison> = fresh[60..].iter().collect();
    let found = evaluate_comparisons(&model, &fresh, 16, &device()).unwrap();
    assert!(found.accuracy() > 0.9, "{found:?}");
    assert_eq!(
        found,
        evaluate_comparisons(&model, &fresh, 16, &device()).unwrap()
    );
    assert!(
        found.mean_score.abs() < 3.0,
        "centring holds the scores: {found:?}"
    );
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (outcome, all) = go(&config(), whole.path(), 0);
    let want = finished(outcome);
    let (outcome, before) = go(&config(), parts.path(), 3);
    assert!(matches!(outcome, Ok(Outcome::Interrupted { step: 3 })));
    let (outcome, after) = go(&config(), parts.path(), 0);
    assert_eq!(finished(outcome), want);
    assert_eq!([before, after].concat(), all);
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = RewardConfig {
        learning_rate: 1e60,
        warmup_steps: 3,
        schedule: Schedule::Constant,
        checkpoint_every: 0,
        evaluate_every: 100,
        ..config()
    };
    go(&config, dir.path(), 1).0.unwrap();
    let error = go(&config, dir.path(), 0).0.unwrap_err();
    let RewardError::Train(TrainError::NotFinite {
        stage,
        step,
        what,
        rows,
    }) = &error
    else {
        panic!("{error}");
    };
    assert_eq!((stage.as_str(), *step, *what), ("reward", 3, "the loss"));
    assert_eq!(rows.split(", ").count(), 8);
    assert_eq!(
        checkpoint::latest(dir.path(), "f").unwrap().unwrap().step,
        1
    );
}

#[test]
fn comparisons_without_a_pair_are_no_evidence() {
    let tokenizer = tokenizer();
    let mut without = comparisons(3);
    without.iter_mut().take(2).for_each(|c| c.pairs.clear());
    let rows = encode_comparisons(&tokenizer, &without, CONTEXT).unwrap();
    let backbone = backbone(tokenizer.tokenizer().vocab_size());
    let model = ScoreModel::from_backbone(backbone.clone(), 1);
    let measure =
        |rows: &[&EncodedComparison]| evaluate_comparisons(&model, rows, 2, &device()).unwrap();
    let (all, one) = (
        measure(&[&rows[0], &rows[1], &rows[2]]),
        measure(&[&rows[2]]),
    );
    assert!(
        (all.loss - one.loss).abs() < 1e-6,
        "they lower the loss: {all:?} and {one:?}"
    );
    assert_eq!((all.correct, all.pairs), (one.correct, one.pairs));
    let none = measure(&[]);
    assert_eq!(
        (none.loss, none.accuracy(), none.mean_score),
        (0.0, 0.0, 0.0)
    );
    let dir = tempfile::tempdir().unwrap();
    let (outcome, _) = run(dir.path(), 0, |ctx| {
        train_reward(&config(), &rows, backbone, ctx)
    });
    let text = outcome.unwrap_err().to_string();
    assert!(text.contains("1 prompts with a preference"), "{text}");
}

#[test]
fn what_does_not_fit_is_named() {
    let tokenizer = tokenizer();
    let mut long = comparisons(2);
    long[1].responses[0] = "x".repeat(30);
    let text = encode_comparisons(&tokenizer, &long, 20)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("comparison 2") && text.contains("31"),
        "{text}"
    );
    let rows = encode_comparisons(&tokenizer, &long, 200).unwrap();
    long[0].prompt = user(&"y".repeat(CONTEXT));
    let longer = encode_comparisons(&tokenizer, &long, 200).unwrap();
    let backbone = || backbone(tokenizer.tokenizer().vocab_size());
    let dir = tempfile::tempdir().unwrap();
    let none = RewardConfig {
        steps: 0,
        ..config()
    };
    let (outcome, _) = run(dir.path(), 0, |ctx| {
        train_reward(&none, &rows, backbone(), ctx)
    });
    finished(outcome);
    let (outcome, _) = run(dir.path(), 0, |ctx| {
        train_reward(&none, &longer, backbone(), ctx)
    });
    assert!(
        outcome
            .unwrap_err()
            .to_string()
            .contains("reward.max_length")
    );
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for bad in [
        RewardConfig {
            batch_size: 0,
            ..config()
        },
        RewardConfig {
            max_length: 1,
            ..config()
        },
        RewardConfig {
            centre_coef: -1.0,
            ..config()
        },
        RewardConfig {
            learning_rate: 0.0,
            ..config()
        },
        RewardConfig {
            evaluate_every: 0,
            ..config()
        },
    ] {
        assert!(
            matches!(bad.validate(), Err(TrainError::Config { .. })),
            "{bad:?}"
        );
    }
}
