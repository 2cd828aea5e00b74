//! Direct preference optimisation: it starts at ln 2, learns, goes on where it was, and its updates
//! don't depend on how they are divided.

use crate::tiny::{At, CONTEXT, VOCAB, demonstration, device, model, run};
use burn::module::Module;
use rlhf_data::{SpanRole, TokenSequence};
use rlhf_model::{NamedTensor, TokenBatch, Transformer, token_logprobs};
use rlhf_random::Rng;
use rlhf_train::parameters::named_parameters;
use rlhf_train::{
    DpoConfig, Kept, Metrics, Outcome, PreferencePair, Schedule, TrainError, checkpoint, dpo,
};
use std::path::Path;

/// The better answer repeats the prompt's last token, the worse one says another.
fn sequences(n: usize) -> Vec<(TokenSequence, TokenSequence)> {
    let mut rng = Rng::new(3).key("pairs");
    let mut one = |i: usize| {
        let prompt = demonstration(&mut rng, 3 + i % 5, 0);
        let last = prompt.ids[prompt.len() - 1];
        let answer = |token: u32, length: usize| {
            let mut sequence = prompt.clone();
            sequence.push(
                &vec![token % VOCAB as u32; length],
                SpanRole::Assistant,
                true,
            );
            sequence
        };
        (answer(last, 1 + i % 3), answer(last + 7, 1 + (i / 2) % 4))
    };
    (0..n).map(&mut one).collect()
}

fn pairs(n: usize) -> Vec<PreferencePair> {
    let both = sequences(n).into_iter();
    both.map(|(chosen, rejected)| PreferencePair::new(chosen, rejected))
        .collect()
}

fn config() -> DpoConfig {
    DpoConfig {
        steps: 6,
        batch_size: 8,
        micro_batch_size: 5,
        max_length: CONTEXT,
        learning_rate: 0.01,
        warmup_steps: 2,
        evaluate_every: 2,
        checkpoint_every: 2,
        ..DpoConfig::default()
    }
}

type Trained = Result<Outcome<Kept<Transformer>>, TrainError>;

fn go(config: &DpoConfig, dir: &Path, at: At) -> (Trained, Vec<Metrics>) {
    run(dir, at, |ctx| dpo(config, &pairs(60), model(), ctx))
}

fn once(config: &DpoConfig) -> (Vec<NamedTensor>, Vec<Metrics>) {
    let dir = tempfile::tempdir().unwrap();
    let (outcome, seen) = go(config, dir.path(), At::Never);
    (finished(outcome), seen)
}

fn finished(outcome: Trained) -> Vec<NamedTensor> {
    match outcome.unwrap() {
        Outcome::Finished(kept) => named_parameters(&kept.model),
        Outcome::Interrupted { step } => panic!("interrupted at {step}"),
    }
}

#[test]
fn it_starts_at_ln_2_and_learns_what_is_preferred() {
    let config = DpoConfig {
        steps: 60,
        batch_size: 16,
        evaluate_every: 10,
        ..config()
    };
    let (_, seen) = once(&config);
    let of = |step: usize, name: &str| seen[step].get(name).unwrap();
    assert!((of(0, "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    assert!(of(0, "margin").abs() < 1e-6 && of(0, "accuracy") <= 1.0);
    assert!(of(59, "eval_loss") < 0.5, "{}", of(59, "eval_loss"));
    assert!(of(59, "eval_accuracy") > 0.9);
    assert!(of(59, "margin") > 0.5);
    let margin = of(59, "chosen_reward") - of(59, "rejected_reward");
    assert!((margin - of(59, "margin")).abs() < 1e-9);
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let whole = once(&config());
    for step in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let (first, mut seen) = go(&config(), dir.path(), At::Interrupt(step));
        assert!(matches!(first.unwrap(), Outcome::Interrupted { step: s } if s == step));
        let (second, rest) = go(&config(), dir.path(), At::Never);
        seen.extend(rest);
        assert_eq!((finished(second), seen), whole);
    }
}

#[test]
fn micro_batches_add_up() {
    let of = |micro_batch_size: usize| {
        let config = DpoConfig {
            micro_batch_size,
            label_smoothing: 0.1,
            sft_coef: 0.5,
            ..config()
        };
        once(&config).1
    };
    for (one, all) in of(1).iter().zip(&of(100)) {
        for name in ["loss", "grad_norm", "chosen_nll", "margin"] {
            let [a, b] = [one, all].map(|m| m.get(name).unwrap());
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{name}: {a} {b}");
        }
    }
}

/// The first update's loss with both extra terms, computed from whole-row log-probs.
#[test]
fn smoothing_and_the_language_model_term_are_what_they_say() {
    let settings = DpoConfig {
        steps: 1,
        batch_size: 55,
        label_smoothing: 0.2,
        sft_coef: 0.3,
        ..config()
    };
    let (_, seen) = once(&settings);
    let nll = seen[0].get("chosen_nll").unwrap();
    let want = std::f64::consts::LN_2 + 0.3 * nll;
    assert!((seen[0].get("loss").unwrap() - want).abs() < 1e-6);
    // The batch is all pairs but the few held out, so its mean is near that of all.
    let chosen: Vec<TokenSequence> = sequences(60).into_iter().map(|(c, _)| c).collect();
    let ids: Vec<&[u32]> = chosen.iter().map(|c| c.ids.as_slice()).collect();
    let batch = TokenBatch::right_padded(&ids, &device());
    let logprobs = token_logprobs(&model().valid(), &batch, 1.0);
    let logprobs: Vec<f64> = logprobs.into_data().iter::<f64>().collect();
    let (mut sum, mut count) = (0.0, 0.0);
    for (row, sequence) in chosen.iter().enumerate() {
        for (t, loss) in sequence.loss_mask().into_iter().enumerate().skip(1) {
            if loss {
                sum -= logprobs[row * (batch.time() - 1) + t - 1];
                count += 1.0;
            }
        }
    }
    assert!((nll - sum / count).abs() < 0.1, "{nll} {}", sum / count);
}

#[test]
fn what_diverges_stops_with_its_pairs_and_keeps_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let config = DpoConfig {
        learning_rate: 1e60,
        warmup_steps: 3,
        schedule: Schedule::Constant,
        checkpoint_every: 0,
        evaluate_every: 100,
        ..config()
    };
    go(&config, dir.path(), At::Interrupt(1)).0.unwrap();
    let error = go(&config, dir.path(), At::Never).0.unwrap_err();
    let TrainError::NotFinite {
        stage, step, rows, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((stage.as_str(), *step), ("dpo", 3));
    assert_eq!(rows.split(", ").count(), 8, "{rows}");
    let saved = checkpoint::latest(dir.path(), "f").unwrap().unwrap();
    assert_eq!(saved.step, 1);
}

#[test]
fn too_little_and_settings_that_make_no_sense_are_refused_by_name() {
    let with = |pairs: &[PreferencePair]| {
        let dir = tempfile::tempdir().unwrap();
        let (outcome, _) = run(dir.path(), At::Never, |ctx| {
            dpo(&config(), pairs, model(), ctx)
        });
        outcome.unwrap_err().to_string()
    };
    assert!(with(&pairs(1)).contains("1 pairs"));
    let mut empty = pairs(3);
    let prompt = demonstration(&mut Rng::new(1), 4, 0);
    empty[1] = PreferencePair::new(prompt.clone(), prompt);
    assert!(with(&empty).contains("pair 2"), "{}", with(&empty));
    let long = demonstration(&mut Rng::new(1), 4, CONTEXT);
    empty[1] = PreferencePair::new(long.clone(), long);
    assert!(with(&empty).contains("dpo.max_length"));
    let refused = |change: fn(&mut DpoConfig)| {
        let mut config = config();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    config().validate().unwrap();
    assert!(refused(|c| c.batch_size = 0).contains("dpo.batch_size"));
    assert!(refused(|c| c.max_length = 1).contains("dpo.max_length"));
    assert!(refused(|c| c.beta = 0.0).contains("dpo.beta"));
    assert!(refused(|c| c.beta = f64::NAN).contains("dpo.beta"));
    assert!(refused(|c| c.label_smoothing = 0.5).contains("dpo.label_smoothing"));
    assert!(refused(|c| c.sft_coef = -1.0).contains("dpo.sft_coef"));
    assert!(refused(|c| c.evaluate_every = 0).contains("dpo.evaluate_every"));
    assert!(refused(|c| c.learning_rate = -1.0).contains("dpo.learning_rate"));
}
