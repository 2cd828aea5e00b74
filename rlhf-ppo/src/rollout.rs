//! Answers of the policy and their scores.

use crate::{PpoConfig, PpoError};
use rlhf_data::{ChatTokenizer, Prompt};
use rlhf_model::{Completion, Finish, Generator, ModelError, Request, SamplingConfig};
use rlhf_random::stream;
use rlhf_reward::{Answer, RewardSource, checked_scores};

/// A prompt ready to be asked again and again.
#[derive(Clone, Debug)]
pub struct EncodedPrompt {
    /// The conversation and its row.
    pub prompt: Prompt,
    /// Its ids, the opening of the answer included.
    pub ids: Vec<u32>,
}

/// Prompts as ids. A prompt that would leave no room for an answer loses its start; the second
/// result counts those.
///
/// # Errors
/// If a prompt can't be rendered.
pub fn encode_prompts(
    tokenizer: &ChatTokenizer,
    prompts: &[Prompt],
    max_prompt_tokens: usize,
) -> Result<(Vec<EncodedPrompt>, usize), PpoError> {
    let mut truncated = 0;
    let mut encoded = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let mut ids = tokenizer.encode_prompt(&prompt.messages)?.ids;
        let surplus = ids.len().saturating_sub(max_prompt_tokens);
        truncated += usize::from(surplus > 0);
        ids.drain(..surplus);
        encoded.push(EncodedPrompt {
            prompt: prompt.clone(),
            ids,
        });
    }
    Ok((encoded, truncated))
}

/// One answer of the policy. Its ids are never tokenised again.
#[derive(Clone, Debug)]
pub struct Rollout<'a> {
    /// What was asked.
    pub prompt: &'a EncodedPrompt,
    /// What was answered, with the sampler's log-probs.
    pub completion: Completion,
    /// The answer's text, for rewards that read text.
    pub text: String,
}

impl Rollout<'_> {
    /// Whether the policy ended the answer by itself.
    pub fn finished(&self) -> bool {
        self.completion.finish != Finish::Length
    }

    /// The ids of prompt and answer.
    pub fn ids(&self) -> Vec<u32> {
        [self.prompt.ids.as_slice(), &self.completion.tokens].concat()
    }
}

/// A rollout and its score.
#[derive(Clone, Debug)]
pub struct ScoredRollout<'a> {
    /// The answer.
    pub rollout: Rollout<'a>,
    /// Its reward, before the KL penalty.
    pub score: f32,
}

/// Samples one answer to each prompt. What row i of an update answers depends on the weights, the
/// prompt, `seed`, `step` and i alone.
///
/// # Errors
/// If a prompt is too long, or the generator fails or does not give, for every prompt, at least one
/// token and a log-prob for each.
pub fn rollout<'a>(
    config: &PpoConfig,
    generator: &dyn Generator,
    tokenizer: &ChatTokenizer,
    prompts: &[&'a EncodedPrompt],
    (seed, step): (u64, u64),
) -> Result<Vec<Rollout<'a>>, PpoError> {
    let sampling = SamplingConfig {
        max_new_tokens: config.loss.max_new_tokens,
        temperature: config.loss.temperature,
        stop_ids: tokenizer.eos_id().into_iter().collect(),
        ..SamplingConfig::default()
    };
    let requests = prompts.iter().enumerate();
    let requests = requests
        .map(|(row, p)| Request {
            prompt: &p.ids,
            stream: stream(seed, step, row as u64),
        })
        .collect::<Vec<_>>();
    let completions = generator.generate(&requests, &sampling)?;
    refuse_incomplete(prompts.len(), &completions)?;
    let answers = prompts
        .iter()
        .zip(completions)
        .map(|(&prompt, completion)| {
            let text = tokenizer.tokenizer().decode(&completion.tokens, true)?;
            Ok(Rollout {
                prompt,
                completion,
                text: text.trim().to_owned(),
            })
        });
    answers.collect()
}

fn refuse_incomplete(prompts: usize, completions: &[Completion]) -> Result<(), ModelError> {
    let reason = if completions.len() == prompts {
        let bad = |c: &Completion| c.tokens.is_empty() || c.tokens.len() != c.logprobs.len();
        let Some(i) = completions.iter().position(bad) else {
            return Ok(());
        };
        let (tokens, logprobs) = (completions[i].tokens.len(), completions[i].logprobs.len());
        format!("answer {i} has {tokens} tokens and {logprobs} log-probs; PPO needs one for each")
    } else {
        format!("gave {} answers to {prompts} prompts", completions.len())
    };
    Err(ModelError::Generator { reason })
}

/// Scores the answers.
///
/// # Errors
/// If the reward source fails, or gives something else than one finite number an answer.
pub fn score<'a>(
    source: &dyn RewardSource,
    rollouts: Vec<Rollout<'a>>,
) -> Result<Vec<ScoredRollout<'a>>, PpoError> {
    let answers = rollouts.iter().map(|r| Answer {
        prompt: &r.prompt.prompt.messages,
        response: &r.text,
        tokens: Some(&r.completion.tokens),
        row: &r.prompt.prompt.row,
    });
    let scores = checked_scores(source, &answers.collect::<Vec<_>>())?;
    let scored = rollouts.into_iter().zip(scores);
    Ok(scored
        .map(|(rollout, score)| ScoredRollout { rollout, score })
        .collect())
}
