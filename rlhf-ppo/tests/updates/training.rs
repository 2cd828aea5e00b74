//! Whole runs: what they reach, what holds them, and what they refuse.

use crate::tiny::{
    EvenShare, apart, column, config, critic, finished, policy, prompts, run, run_once, run_with,
    tokenizer, value, weights,
};
use rlhf_ppo::{Critic, PpoConfig, PpoError, PpoModels};
use rlhf_train::TrainError;
use rlhf_train::parameters::named_parameters;

const PLAIN: EvenShare = EvenShare { plus: 0.0 };

fn learning() -> PpoConfig {
    PpoConfig {
        steps: 25,
        rollouts: 16,
        minibatch_size: 8,
        learning_rate: 0.02,
        ..config()
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_score_rises_and_the_first_minibatch_starts_at_ratio_1() {
    let (result, seen) = run_once(&learning(), &PLAIN);
    let scores = column(&seen, "score");
    let (before, after) = (mean(&scores[..3]), mean(&scores[22..]));
    assert!(
        before < 0.6 && after > before + 0.2,
        "{before} to {after}: {scores:?}"
    );
    assert!(
        column(&seen, "first_approx_kl")
            .iter()
            .all(|kl| kl.abs() < 1e-6)
    );
    assert!(column(&seen, "sampler_gap").iter().all(|gap| *gap < 1e-4));
    let kl = column(&seen, "kl");
    assert_eq!(
        kl[0], 0.0,
        "before the first step the policy is the reference"
    );
    assert!(kl[24] > 0.05, "the reference moved with the policy: {kl:?}");
    assert_eq!((result.steps, result.stopped_at_kl), (25, None));
}

/// One minibatch an update: the reported ratio is that of the first minibatch.
#[test]
fn the_ratio_of_the_only_minibatch_is_1() {
    let one = PpoConfig {
        minibatch_size: 8,
        epochs: 1,
        ..config()
    };
    let (_, seen) = run_once(&one, &PLAIN);
    for (name, want) in [("ratio", 1.0), ("approx_kl", 0.0), ("clip_fraction", 0.0)] {
        let found = column(&seen, name);
        assert!(
            found.iter().all(|x| (x - want).abs() < 1e-5),
            "{name}: {found:?}"
        );
    }
    assert_eq!(column(&seen, "minibatches"), [1.0; 4]);
}

#[test]
fn a_high_price_of_kl_holds_the_policy() {
    let (_, free) = run_once(&learning(), &PLAIN);
    let (_, held) = run_once(
        &PpoConfig {
            kl_coef: 5.0,
            ..learning()
        },
        &PLAIN,
    );
    let late = |seen: &[_]| mean(&column(seen, "kl")[15..]);
    assert!(
        late(&held) < 0.3 * late(&free),
        "{} and {}",
        late(&held),
        late(&free)
    );
}

/// Policy and value model are trained in place; the models they came from are not.
#[test]
fn the_reference_does_not_change() {
    let tokenizer = tokenizer();
    let (policy, prompts) = (policy(), prompts(&tokenizer));
    let critic = critic(&config(), &tokenizer);
    let before = [named_parameters(&policy), named_parameters(&critic)];
    let models = PpoModels {
        policy: policy.clone(),
        critic: critic.clone(),
        reward: &PLAIN,
        tokenizer: &tokenizer,
        prompts: &prompts,
        pretraining: &[],
    };
    let dir = tempfile::tempdir().unwrap();
    let result = finished(run_with(&config(), models, dir.path(), 0).0);
    assert_eq!(
        [named_parameters(&policy), named_parameters(&critic)],
        before
    );
    for (trained, before) in weights(&result).iter().zip(&before) {
        assert!(apart(trained, before) > 1e-4);
    }
}

/// With the offset, γ = λ = 1 and one update, the policy learns the same from shifted rewards.
#[test]
fn a_constant_on_all_rewards_teaches_the_policy_nothing_else() {
    let mut config = PpoConfig {
        steps: 1,
        warmup_steps: 0,
        ..config()
    };
    (config.loss.gamma, config.loss.gae_lambda) = (1.0, 1.0);
    let policy = |plus| weights(&run_once(&config, &EvenShare { plus }).0)[0].clone();
    let (plain, shifted) = (policy(0.0), policy(4.0));
    let moved = apart(&plain, &named_parameters(&crate::tiny::policy()));
    assert!(
        moved > 1e-3 && apart(&plain, &shifted) < 0.02 * moved,
        "{}",
        apart(&plain, &shifted)
    );
}

#[test]
fn the_pretraining_term_has_a_say_and_needs_text() {
    let with = PpoConfig {
        ptx_coef: 1.0,
        ..config()
    };
    let (result, seen) = run_once(&with, &PLAIN);
    let (plain, _) = run_once(&config(), &PLAIN);
    assert!(apart(&weights(&result)[0], &weights(&plain)[0]) > 1e-4);
    let loss = column(&seen, "ptx_loss");
    assert!(loss[3] < loss[0], "{loss:?}");
    let tokenizer = tokenizer();
    let prompts = prompts(&tokenizer);
    let models = |of_value: usize| PpoModels {
        policy: policy(),
        critic: Critic::Model(value(of_value)),
        reward: &PLAIN,
        tokenizer: &tokenizer,
        prompts: &prompts,
        pretraining: &[],
    };
    let dir = tempfile::tempdir().unwrap();
    let vocabulary = tokenizer.tokenizer().vocab_size();
    let text = run_with(&with, models(vocabulary), dir.path(), 0)
        .0
        .unwrap_err()
        .to_string();
    assert!(text.contains("ppo.ptx_coef"), "{text}");
    let text = run_with(&config(), models(99), dir.path(), 0)
        .0
        .unwrap_err()
        .to_string();
    assert!(text.contains("vocabulary of 99"), "{text}");
    let none = PpoModels {
        prompts: &[],
        ..models(vocabulary)
    };
    let text = run_with(&config(), none, dir.path(), 0)
        .0
        .unwrap_err()
        .to_string();
    assert!(text.contains("no prompt"), "{text}");
}

#[test]
fn answers_of_one_token_are_learnt_from() {
    let mut config = PpoConfig {
        steps: 12,
        rollouts: 16,
        minibatch_size: 16,
        ..learning()
    };
    config.loss.max_new_tokens = 1;
    let (_, seen) = run_once(&config, &PLAIN);
    assert_eq!(column(&seen, "response_length"), [1.0; 12]);
    assert!(
        seen.iter()
            .all(|m| m.values.iter().all(|(_, x)| x.is_finite()))
    );
    let scores = column(&seen, "score");
    assert!(mean(&scores[8..]) > mean(&scores[..4]), "{scores:?}");
}

#[test]
fn too_large_a_kl_ends_the_run_or_the_update() {
    let end = PpoConfig {
        stop_kl: 0.02,
        ..learning()
    };
    let (result, seen) = run_once(&end, &PLAIN);
    let kl = column(&seen, "kl");
    let (last, others) = kl.split_last().unwrap();
    assert!(
        *last > 0.02 && others.iter().all(|kl| *kl <= 0.02),
        "{kl:?}"
    );
    assert!(result.steps < 25 && result.steps == kl.len() as u64);
    assert_eq!(result.stopped_at_kl, Some(*last));
    let early = PpoConfig {
        target_kl: 1e-6,
        epochs: 4,
        steps: 3,
        ..learning()
    };
    let (_, seen) = run_once(&early, &PLAIN);
    assert_eq!(column(&seen, "stopped_early"), [1.0; 3]);
    assert!(
        column(&seen, "minibatches")
            .iter()
            .all(|n| (1.0..8.0).contains(n))
    );
}

#[test]
fn a_loss_that_is_no_number_stops_the_run() {
    let config = PpoConfig {
        learning_rate: 1e60,
        warmup_steps: 0,
        ..config()
    };
    let dir = tempfile::tempdir().unwrap();
    let error = run(&config, &PLAIN, dir.path(), 0).0.unwrap_err();
    let PpoError::Train(TrainError::NotFinite {
        stage,
        step,
        what,
        rows,
    }) = &error
    else {
        panic!("{error}");
    };
    assert_eq!((stage.as_str(), *step, *what), ("ppo", 1, "the loss"));
    assert_eq!(rows.split(", ").count(), 4, "{rows}");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let with = |change: fn(&mut PpoConfig)| {
        let mut config = config();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    };
    config().validate().unwrap();
    assert!(with(|c| c.minibatch_size = 3).contains("ppo.rollouts"));
    assert!(with(|c| c.minibatch_size = 16).contains("ppo.rollouts"));
    assert!(with(|c| c.epochs = 0).contains("ppo.epochs"));
    assert!(with(|c| c.micro_batch_size = 0).contains("ppo.micro_batch_size"));
    assert!(with(|c| c.kl_coef = f64::NAN).contains("ppo.kl_coef"));
    assert!(with(|c| c.ptx_coef = -1.0).contains("ppo.ptx_coef"));
    assert!(with(|c| c.learning_rate = 0.0).contains("ppo.learning_rate"));
    assert!(with(|c| c.loss.temperature = 0.0).contains("ppo.loss.temperature"));
    assert!(with(|c| c.loss.gae_lambda = 1.1).contains("ppo.loss.gae_lambda"));
    assert!(with(|c| c.loss.max_new_tokens = 0).contains("ppo.loss.max_new_tokens"));
    assert!(with(|c| c.loss.clip_range = 0.0).contains("ppo.loss.clip_range"));
    assert!(with(|c| c.loss.max_grad_norm = -1.0).contains("ppo.loss.max_grad_norm"));
    assert!(with(|c| c.stop_kl = f64::NAN).contains("stop_kl"));
    assert_eq!(
        PpoConfig {
            steps: u64::MAX,
            ptx_coef: 1.0,
            ..config()
        }
        .ptx_rows(),
        usize::MAX
    );
}
