//! Values from a head on the policy: one trunk, one pass, both losses.

use crate::tiny::{
    EvenShare, apart, column, config, critic, device, policy, prompts, run_once, run_with,
    tokenizer, value, weights,
};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use rlhf_model::{CausalLm, TokenBatch, scalar_head};
use rlhf_ppo::experience::{
    Experience, ExperienceRow, RolloutFigures, response_logprobs, response_logprobs_values,
};
use rlhf_ppo::update::{Trained, UpdateAt, update};
use rlhf_ppo::{Critic, PpoConfig, PpoLoss, PpoModels};
use rlhf_random::Rng;
use rlhf_train::parameters::host_values;
use rlhf_train::{AdamW, AdamWConfig};

const PLAIN: EvenShare = EvenShare { plus: 0.0 };

fn shared() -> PpoConfig {
    PpoConfig {
        shared_trunk: true,
        ..config()
    }
}

/// A head that says something.
fn head(width: usize) -> Critic {
    let numbers: Vec<f32> = (0..width).map(|i| (i as f32).sin()).collect();
    Critic::Head(Param::from_tensor(Tensor::from_floats(
        numbers.as_slice(),
        &device(),
    )))
}

#[test]
fn one_pass_says_what_two_say() {
    let (policy, critic) = (policy(), head(16));
    let rows: [(&[u32], usize); 3] = [(&[5, 6, 7, 8], 2), (&[9, 10], 1), (&[1, 2, 3, 4, 5, 6], 5)];
    let [logprobs, values] = response_logprobs_values(&policy, &critic, &rows, 0.7, &device());
    assert_eq!(logprobs, response_logprobs(&policy, &rows, 0.7, &device()));
    let Critic::Head(weight) = &critic else {
        panic!("it is a head");
    };
    for (row, found) in rows.iter().zip(values) {
        let batch = TokenBatch::right_padded(&[row.0], &device());
        let all = host_values(scalar_head(policy.hidden(&batch, None), weight.val()));
        // The state before each response token.
        let want = &all[row.1 - 1..row.0.len() - 1];
        assert_eq!(found.len(), want.len());
        assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}

#[test]
fn the_score_rises() {
    let learning = PpoConfig {
        steps: 25,
        rollouts: 16,
        minibatch_size: 8,
        learning_rate: 0.02,
        ..shared()
    };
    let (result, seen) = run_once(&learning, &PLAIN);
    assert!(result.critic.shares_trunk());
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let scores = column(&seen, "score");
    assert!(mean(&scores[22..]) > mean(&scores[..3]) + 0.2, "{scores:?}");
    let first_kl = column(&seen, "first_approx_kl");
    assert!(first_kl.iter().all(|kl| kl.abs() < 1e-6), "{first_kl:?}");
    assert_eq!(
        column(&seen, "explained_variance")[0],
        0.0,
        "the head says 0 of everything at first"
    );
}

/// Returns that depend on the token before: the head learns them from the policy's states.
#[test]
fn the_values_are_learnt() {
    let mut config = PpoConfig {
        rollouts: 8,
        minibatch_size: 8,
        epochs: 1,
        ..shared()
    };
    (config.loss.value_clip, config.loss.value_coef) = (1.0, 1.0);
    let optimiser = AdamWConfig {
        learning_rate: 0.01,
        ..AdamWConfig::default()
    };
    let mut trained = Trained {
        critic: Critic::on(&policy()).train(),
        policy: policy().train(),
        policy_optimiser: AdamW::new(optimiser),
        critic_optimiser: AdamW::new(optimiser),
    };
    let rows: Vec<Vec<u32>> = (0..8)
        .map(|i| (0..9).map(|t| 5 + (i * t + i) % 7).collect())
        .collect();
    let rows: Vec<(&[u32], usize)> = rows.iter().map(|ids| (ids.as_slice(), 2)).collect();
    let mut losses = Vec::new();
    for step in 1..=80 {
        let (policy, critic) = (trained.policy.valid(), trained.critic.valid());
        let [logprobs, values] = response_logprobs_values(&policy, &critic, &rows, 1.0, &device());
        let even = |id: &u32| if id.is_multiple_of(2) { 1.0 } else { -1.0 };
        let said = rows.iter().zip(logprobs).zip(values);
        let said = said.map(|((row, old_logprobs), old_values)| ExperienceRow {
            ids: row.0.to_vec(),
            prompt_len: row.1,
            advantages: (0..7).map(|t| 0.01 * (t as f32 - 3.0)).collect(),
            returns: row.0[1..8].iter().map(even).collect(),
            old_logprobs,
            old_values,
        });
        let experience = Experience {
            rows: said.collect(),
            figures: NOTHING,
        };
        let at = UpdateAt {
            rng: &Rng::new(1),
            step,
            lr_multiplier: 1.0,
            score_offset: 5.0,
            device: &device(),
        };
        let figures;
        (trained, figures) = update(&config, trained, &experience, None, at).unwrap();
        let of_values = figures
            .values
            .iter()
            .find(|(name, _)| *name == "value_loss");
        losses.push(of_values.unwrap().1);
    }
    // Half of the mean square of ±1, since the head says 0 and no offset is taken off that.
    assert!((losses[0] - 0.5).abs() < 1e-6, "{losses:?}");
    assert!(losses[79] < 0.1, "{losses:?}");
}

/// Of rollouts that nobody made.
const NOTHING: RolloutFigures = RolloutFigures {
    score: 0.0,
    kl: 0.0,
    objective: 0.0,
    response_length: 7.0,
    finished: 1.0,
    explained_variance: None,
    sampler_gap: 0.0,
};

#[test]
fn both_losses_pull_at_the_trunk() {
    let policy_after = |value_coef: f64| {
        let loss = PpoLoss {
            value_coef,
            ..shared().loss
        };
        let config = PpoConfig { loss, ..shared() };
        weights(&run_once(&config, &PLAIN).0)
    };
    let (without, with) = (policy_after(1e-9), policy_after(1.0));
    assert!(apart(&without[0], &with[0]) > 1e-5);
    assert!(
        with[1][0].values.iter().all(|x| *x != 0.0),
        "every number of the head learns"
    );
}

#[test]
fn another_critic_than_the_settings_say_is_refused() {
    let tokenizer = tokenizer();
    let prompts = prompts(&tokenizer);
    let refused = |config: &PpoConfig, critic: Critic| {
        let models = PpoModels {
            policy: policy(),
            critic,
            reward: &PLAIN,
            tokenizer: &tokenizer,
            prompts: &prompts,
            pretraining: &[],
        };
        let dir = tempfile::tempdir().unwrap();
        run_with(config, models, dir.path(), 0)
            .0
            .unwrap_err()
            .to_string()
    };
    let text = refused(&config(), critic(&shared(), &tokenizer));
    assert!(text.contains("ppo.shared_trunk"), "{text}");
    let vocabulary = tokenizer.tokenizer().vocab_size();
    let text = refused(&shared(), Critic::Model(value(vocabulary)));
    assert!(text.contains("ppo.shared_trunk"), "{text}");
    let text = refused(&shared(), head(15));
    assert!(text.contains("reads 15 numbers"), "{text}");
}
