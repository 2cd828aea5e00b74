use super::*;

const LOGITS: [f32; 6] = [1.0, 3.0, 2.0, -1.0, 3.0, 0.5];

fn kept(config: &SamplingConfig) -> Vec<usize> {
    let probs = filtered_probs(&LOGITS, &[], config);
    assert!((probs.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    (0..probs.len()).filter(|&i| probs[i] > 0.0).collect()
}

#[test]
fn filters_keep_what_they_say() {
    let config = SamplingConfig::default();
    assert_eq!(kept(&config).len(), 6);
    assert_eq!(
        kept(&SamplingConfig {
            top_k: 1,
            ..config.clone()
        }),
        [1, 4]
    );
    assert_eq!(
        kept(&SamplingConfig {
            top_k: 3,
            ..config.clone()
        }),
        [1, 2, 4]
    );
    assert_eq!(
        kept(&SamplingConfig {
            top_p: 0.1,
            ..config.clone()
        }),
        [1]
    );
    assert_eq!(
        kept(&SamplingConfig {
            top_p: 0.5,
            ..config.clone()
        }),
        [1, 4]
    );
    assert_eq!(
        kept(&SamplingConfig {
            min_p: 0.3,
            ..config.clone()
        }),
        [1, 2, 4]
    );
    assert_eq!(
        kept(&SamplingConfig {
            temperature: 0.0,
            ..config
        }),
        [1]
    );
}

#[test]
fn the_penalty_moves_both_signs_down_once() {
    let config = SamplingConfig {
        repetition_penalty: 2.0,
        ..SamplingConfig::default()
    };
    let probs = filtered_probs(&[2.0, -1.0, 0.0], &[0, 1, 1, 9], &config);
    let want = filtered_probs(&[1.0, -2.0, 0.0], &[], &SamplingConfig::default());
    assert_eq!(probs, want);
}

#[test]
fn log_probs_are_those_of_the_unfiltered_distribution() {
    let mut rng = Rng::new(1);
    let config = SamplingConfig {
        temperature: 0.5,
        top_k: 1,
        repetition_penalty: 1.5,
        ..SamplingConfig::default()
    };
    let drawn = Sampler::default()
        .pick(&[0.0, 1.0], &[], &config, &mut rng)
        .unwrap();
    let want = -(1.0f64 + (-2.0f64).exp()).ln();
    assert_eq!(drawn.token, 1);
    assert!((f64::from(drawn.logprob) - want).abs() < 1e-6);
    let greedy = Sampler::default()
        .pick(&[0.0, 1.0], &[], &SamplingConfig::greedy(1), &mut rng)
        .unwrap();
    assert!((f64::from(greedy.logprob) + (1.0f64 + (-1.0f64).exp()).ln()).abs() < 1e-6);
}

#[test]
fn draws_follow_the_probabilities_with_and_without_filters() {
    let plain = SamplingConfig::default();
    let almost = SamplingConfig {
        min_p: 1e-12,
        ..plain.clone()
    };
    for config in [plain, almost] {
        let probs = filtered_probs(&LOGITS, &[], &config);
        let mut counts = [0usize; 6];
        let n = 20_000;
        for i in 0..n {
            let mut rng = Rng::new(3).key(i as u64);
            counts[Sampler::default()
                .pick(&LOGITS, &[], &config, &mut rng)
                .unwrap()
                .token as usize] += 1;
        }
        for (count, p) in counts.iter().zip(&probs) {
            let share = *count as f32 / n as f32;
            assert!((share - p).abs() < 0.015, "{counts:?} {probs:?}");
        }
    }
}

#[test]
fn settings_out_of_range_are_named() {
    type Change = fn(&mut SamplingConfig);
    let cases: [(&str, Change); 6] = [
        ("max_new_tokens", |c| c.max_new_tokens = 0),
        ("temperature", |c| c.temperature = -1.0),
        ("temperature", |c| c.temperature = f64::NAN),
        ("top_p", |c| c.top_p = 0.0),
        ("min_p", |c| c.min_p = 1.5),
        ("repetition_penalty", |c| c.repetition_penalty = 0.0),
    ];
    for (field, change) in cases {
        let mut config = SamplingConfig::default();
        change(&mut config);
        assert!(config.validate().unwrap_err().to_string().contains(field));
    }
    assert!(SamplingConfig::greedy(3).validate().is_ok());
    let nan = Sampler::default().pick(
        &[f32::NAN],
        &[],
        &SamplingConfig::default(),
        &mut Rng::new(0),
    );
    assert!(nan.unwrap_err().to_string().contains("not finite"));
}
