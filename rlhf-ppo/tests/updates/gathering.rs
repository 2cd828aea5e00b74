//! Answers, their scores, and what an update makes of them.

use crate::tiny::{CONTEXT, EvenShare, config, critic, device, policy, prompts, tokenizer};
use rlhf_data::{Message, Prompt};
use rlhf_model::{
    Completion, Generator, LocalGenerator, ModelError, Request, SamplingConfig, ScriptedGenerator,
    TokenBatch, token_logprobs,
};
use rlhf_ppo::experience::{Experience, ExperienceRow, Parties, experience, response_logprobs};
use rlhf_ppo::rollout::{EncodedPrompt, encode_prompts, rollout, score};
use rlhf_ppo::{PpoConfig, PpoError};
use rlhf_reward::{Answer, RewardError, RewardSource};
use rlhf_train::parameters::host_values;
use serde_json::Map;

/// Answers, scores and experience of the untrained models with a generator and an offset.
fn gather(
    config: &PpoConfig,
    generator: &dyn Generator,
    reward: EvenShare,
    score_offset: f64,
) -> Result<Experience, PpoError> {
    let (tokenizer, policy) = (tokenizer(), policy());
    let critic = critic(config, &tokenizer);
    let prompts = prompts(&tokenizer);
    let asked: Vec<&EncodedPrompt> = prompts.iter().collect();
    let answers = rollout(config, generator, &tokenizer, &asked, (3, 1))?;
    let scored = score(&reward, answers)?;
    let parties = Parties {
        policy: &policy,
        reference: &policy,
        critic: &critic,
        score_offset,
    };
    Ok(experience(config, &scored, parties, &device()))
}

const PLAIN: EvenShare = EvenShare { plus: 0.0 };

#[test]
fn answers_do_not_depend_on_how_many_are_generated_at_once() {
    let (tokenizer, policy, config) = (tokenizer(), policy(), config());
    let prompts = prompts(&tokenizer);
    let asked: Vec<&EncodedPrompt> = prompts.iter().collect();
    let ask = |batch_size| {
        let generator = LocalGenerator::new(&policy, batch_size);
        let answers = rollout(&config, &generator, &tokenizer, &asked, (3, 1)).unwrap();
        answers
            .into_iter()
            .map(|a| (a.text, a.completion))
            .collect::<Vec<_>>()
    };
    let whole = ask(8);
    for batch_size in [1, 3, 100] {
        assert_eq!(ask(batch_size), whole, "{batch_size} at once");
    }
    let elsewhere = rollout(
        &config,
        &LocalGenerator::new(&policy, 8),
        &tokenizer,
        &asked[..2],
        (3, 1),
    );
    let elsewhere: Vec<Completion> = elsewhere
        .unwrap()
        .into_iter()
        .map(|a| a.completion)
        .collect();
    assert_eq!(
        elsewhere,
        whole[..2]
            .iter()
            .map(|(_, c)| c.clone())
            .collect::<Vec<_>>()
    );
    let generator = LocalGenerator::new(&policy, 8);
    let later = rollout(&config, &generator, &tokenizer, &asked, (3, 2)).unwrap();
    assert!(
        later.iter().zip(&whole).any(|(a, b)| a.completion != b.1),
        "the step has no say"
    );
}

/// The trainer's log-probs of the sampled tokens are the sampler's, at any temperature.
#[test]
fn sampler_and_trainer_agree() {
    for temperature in [0.3, 0.6, 1.0, 1.5] {
        let mut config = config();
        config.loss.temperature = temperature;
        let policy = policy();
        let found = gather(&config, &LocalGenerator::new(&policy, 3), PLAIN, 0.0).unwrap();
        let gap = found.figures.sampler_gap;
        assert!(gap < 1e-4, "{gap} at {temperature}");
        found.figures.check_sampler(1).unwrap();
        assert_eq!(found.figures.kl, 0.0, "the policy is its own reference");
        let complete = |r: &ExperienceRow| r.ids.len() == r.prompt_len + r.old_logprobs.len();
        assert!(
            found.rows.iter().all(complete),
            "a log-prob for each response token"
        );
    }
}

/// Response log-probs are those that the plain shifted forward pass gives, row by row.
#[test]
fn response_logprobs_are_aligned() {
    let policy = policy();
    let rows: [(&[u32], usize); 3] = [(&[5, 6, 7, 8], 2), (&[9, 10], 1), (&[1, 2, 3, 4, 5, 6], 5)];
    for (row, found) in rows
        .iter()
        .zip(response_logprobs(&policy, &rows, 0.7, &device()))
    {
        let batch = TokenBatch::right_padded(&[row.0], &device());
        let all = host_values(token_logprobs(&policy, &batch, 0.7));
        let want = &all[row.1 - 1..];
        assert_eq!(found.len(), row.0.len() - row.1);
        assert!(
            found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5),
            "{found:?} {want:?}"
        );
    }
}

/// Old log-probs that are the sampler's are those of a pass of the policy, but for rounding.
#[test]
fn the_samplers_logprobs_serve() {
    let policy = policy();
    let found = |sampler_logprobs| {
        let config = PpoConfig {
            sampler_logprobs,
            ..config()
        };
        let found = gather(&config, &LocalGenerator::new(&policy, 3), PLAIN, 0.25).unwrap();
        found.figures.check_sampler(1).unwrap();
        found
    };
    let (own, sampled) = (found(false), found(true));
    let mut differ = false;
    for (own, sampled) in own.rows.iter().zip(&sampled.rows) {
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&own.old_logprobs, &sampled.old_logprobs));
        assert!(close(&own.returns, &sampled.returns));
        assert_eq!(own.old_values, sampled.old_values);
        differ |= own.old_logprobs != sampled.old_logprobs;
    }
    assert!(differ, "they come from two passes");
}

/// A generator whose log-probs are not those of the policy.
struct Misaligned<'a> {
    inner: LocalGenerator<'a, rlhf_model::Transformer>,
    spoil: fn(&mut Vec<f32>),
}

impl Generator for Misaligned<'_> {
    fn generate(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
    ) -> Result<Vec<Completion>, ModelError> {
        let mut answers = self.inner.generate(requests, config)?;
        answers
            .iter_mut()
            .for_each(|a| (self.spoil)(&mut a.logprobs));
        Ok(answers)
    }
}

#[test]
fn a_misaligned_sampler_stops_the_run() {
    let policy = policy();
    let spoilt_for = |spoil, config: PpoConfig| {
        let generator = Misaligned {
            inner: LocalGenerator::new(&policy, 8),
            spoil,
        };
        gather(&config, &generator, PLAIN, 0.0)
    };
    let spoilt = |spoil| spoilt_for(spoil, config());
    let spoils: [fn(&mut Vec<f32>); 3] = [
        |l| l.rotate_right(1),
        |l| l.iter_mut().for_each(|x| *x -= 0.05),
        |l| l[0] = f32::NAN,
    ];
    for spoil in spoils {
        let error = spoilt(spoil).unwrap().figures.check_sampler(7).unwrap_err();
        assert!(
            matches!(error, PpoError::SamplerMismatch { step: 7, .. }),
            "{error}"
        );
    }
    // Where they serve as the old ones, too.
    let trusting = PpoConfig {
        sampler_logprobs: true,
        ..config()
    };
    for spoil in spoils {
        let found = spoilt_for(spoil, trusting.clone()).unwrap();
        found.figures.check_sampler(7).unwrap_err();
    }
    let error = spoilt(|l| l.truncate(1)).unwrap_err();
    assert!(error.to_string().contains("one for each"), "{error}");
    spoilt(|_| {}).unwrap().figures.check_sampler(7).unwrap();
}

/// Replies are scripted, so what is learnt from is known.
#[test]
fn an_answer_cut_off_pays_and_the_last_token_gets_the_score() {
    let tokenizer = tokenizer();
    let end = tokenizer.eos_id().unwrap();
    let script = ScriptedGenerator::new(vec![vec![10, end], vec![10, 12, 13, 14, 15, 16, 17]]);
    let mut config = config();
    (config.kl_coef, config.loss.gamma, config.loss.gae_lambda) = (0.5, 1.0, 1.0);
    config.loss.missing_eos_penalty = 3.0;
    let found = gather(&config, &script, PLAIN, 0.25).unwrap();
    let cut = found
        .rows
        .iter()
        .filter(|r| r.old_logprobs.len() == 6)
        .count();
    assert!(cut > 0 && cut < 8, "{cut} of 8 were cut");
    let ended = (8 - cut) as f64;
    assert!((found.figures.finished - ended / 8.0).abs() < 1e-12);
    assert!((found.figures.response_length - (2.0 * ended + 6.0 * cut as f64) / 8.0).abs() < 1e-12);
    // The reference is the policy itself: no KL is charged. λ = 1: every return is the whole reward.
    let even = |ids: &[u32]| ids.iter().filter(|&&t| t % 2 == 0).count() as f32 / ids.len() as f32;
    for row in &found.rows {
        let answer = &row.ids[row.prompt_len..];
        let penalty = if answer.len() == 6 { 3.0 } else { 0.0 };
        let want = even(answer) - 0.25 - penalty;
        assert!(
            row.returns.iter().all(|r| (r - want).abs() < 1e-5),
            "{:?} {want}",
            row.returns
        );
    }
    let advantages: Vec<f32> = found
        .rows
        .iter()
        .flat_map(|r| r.advantages.clone())
        .collect();
    let n = advantages.len() as f32;
    let mean = advantages.iter().sum::<f32>() / n;
    let variance = advantages.iter().map(|a| (a - mean).powi(2)).sum::<f32>() / n;
    assert!(
        mean.abs() < 1e-5 && (variance - 1.0).abs() < 0.1,
        "{mean} {variance}"
    );
}

/// The offset takes a constant off the rewards again: with γ = λ = 1 the advantages, and so the
/// policy's gradient, are the same. Only the value targets' distance from the values differs.
#[test]
fn a_constant_on_all_rewards_changes_no_advantage() {
    let policy = policy();
    let mut config = config();
    (config.loss.gamma, config.loss.gae_lambda) = (1.0, 1.0);
    let with = |plus: f32| {
        let generator = LocalGenerator::new(&policy, 8);
        gather(&config, &generator, EvenShare { plus }, f64::from(plus)).unwrap()
    };
    let (plain, shifted) = (with(0.0), with(10.0));
    for (a, b) in plain.rows.iter().zip(&shifted.rows) {
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(
            close(&a.advantages, &b.advantages),
            "{:?} {:?}",
            a.advantages,
            b.advantages
        );
        assert!(close(&a.returns, &b.returns));
    }
    assert!((plain.figures.objective - shifted.figures.objective).abs() < 1e-5);
    assert!((shifted.figures.score - plain.figures.score - 10.0).abs() < 1e-5);
}

struct Broken;

impl RewardSource for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }
    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        Ok(vec![f32::NAN; answers.len()])
    }
}

#[test]
fn bad_scores_and_prompts_are_errors() {
    let (tokenizer, policy, config) = (tokenizer(), policy(), config());
    let generator = LocalGenerator::new(&policy, 8);
    let of_prompts = prompts(&tokenizer);
    let asked: Vec<&EncodedPrompt> = of_prompts.iter().take(2).collect();
    let answers = rollout(&config, &generator, &tokenizer, &asked, (1, 1)).unwrap();
    let text = score(&Broken, answers).unwrap_err().to_string();
    assert!(text.contains("`broken` gave NaN for answer 0"), "{text}");
    let mut bad = of_prompts[0].clone();
    for ids in [vec![], vec![7; CONTEXT]] {
        bad.ids = ids;
        assert!(rollout(&config, &generator, &tokenizer, &[&bad], (1, 1)).is_err());
    }
    let long = Prompt {
        messages: vec![Message::user("x".repeat(40))],
        row: Map::new(),
    };
    let (encoded, truncated) = encode_prompts(&tokenizer, std::slice::from_ref(&long), 10).unwrap();
    let whole = tokenizer.encode_prompt(&long.messages).unwrap().ids;
    assert_eq!(
        (truncated, encoded[0].ids.as_slice()),
        (1, &whole[whole.len() - 10..])
    );
}
