//! A run that is interrupted and continued is the uninterrupted one: weights, both optimisers,
//! samplers, offset and figures.

use crate::tiny::{EvenShare, config, finished, run, weights};
use rlhf_ppo::PpoConfig;
use rlhf_train::{Outcome, checkpoint};

const PLAIN: EvenShare = EvenShare { plus: 0.0 };

fn assert_resumes(config: &PpoConfig, interrupt_at: u64) {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ended, all) = run(config, &PLAIN, whole.path(), 0);
    let want = finished(ended);
    let (ended, before) = run(config, &PLAIN, parts.path(), interrupt_at);
    assert!(matches!(ended, Ok(Outcome::Interrupted { step }) if step == interrupt_at));
    let (ended, after) = run(config, &PLAIN, parts.path(), 0);
    let found = finished(ended);
    assert_eq!(weights(&found), weights(&want));
    assert_eq!(
        (found.steps, found.stopped_at_kl),
        (want.steps, want.stopped_at_kl)
    );
    assert_eq!([before, after].concat(), all);
}

#[test]
fn it_goes_on_to_the_bit() {
    let config = PpoConfig {
        ptx_coef: 0.5,
        target_kl: 0.001,
        ..config()
    };
    assert_resumes(&config, 2);
    assert_resumes(
        &PpoConfig {
            rollouts: 12,
            ..config.clone()
        },
        1,
    );
    assert_resumes(
        &PpoConfig {
            shared_trunk: true,
            ..config
        },
        2,
    );
}

/// The interruption comes in the update whose KL ends the run: the continued run ends too.
#[test]
fn a_run_that_was_over_stays_over() {
    let config = PpoConfig {
        stop_kl: 1e-5,
        steps: 10,
        ..config()
    };
    let dir = tempfile::tempdir().unwrap();
    let over = finished(run(&config, &PLAIN, dir.path(), 0).0).steps;
    assert!(over < 10);
    assert_resumes(&config, over);
}

#[test]
fn the_value_model_does_not_go_on_with_a_fresh_optimiser() {
    let dir = tempfile::tempdir().unwrap();
    drop(run(&config(), &PLAIN, dir.path(), 2));
    let mut saved = checkpoint::latest(dir.path(), "f").unwrap().unwrap();
    let mut groups = Vec::new();
    for name in ["policy", "critic", "policy-adamw", "critic-adamw"] {
        groups.push((name, saved.take(name).unwrap()));
    }
    groups[3].1.clear();
    checkpoint::save(dir.path(), "f", 2, &saved.state, &groups).unwrap();
    let text = run(&config(), &PLAIN, dir.path(), 0)
        .0
        .unwrap_err()
        .to_string();
    assert!(text.contains("head has no moments"), "{text}");
}
