//! Collecting preferences: sample several answers to a prompt and have them ranked.

use crate::RewardError;
use rlhf_data::{ChatTokenizer, Message, Prompt};
use rlhf_model::{Generator, Request, SamplingConfig};
use rlhf_random::stream;
use rlhf_train::TrainError;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The settings of collecting preferences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// Prompts to ask; fewer if there are fewer.
    pub prompts: usize,
    /// Answers a prompt (K).
    pub samples: usize,
    /// The sampling temperature.
    pub temperature: f64,
    /// New tokens of an answer at most.
    pub max_new_tokens: usize,
    /// Answers generated at once.
    pub batch_size: usize,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self {
            prompts: 1200,
            samples: 4,
            temperature: 1.0,
            max_new_tokens: 40,
            batch_size: 128,
        }
    }
}

impl CollectConfig {
    /// Refuses settings that can't be used.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse =
            |key: &str, reason: &str| Err(TrainError::config(format!("collect.{key}"), reason));
        if self.samples < 2 {
            return refuse(
                "samples",
                "must be at least 2, so that there is something to compare",
            );
        }
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return refuse(
                "temperature",
                "must be above 0: greedy answers are all the same",
            );
        }
        Ok(())
    }
}

/// One sampled answer.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its text, without control tokens.
    pub text: String,
    /// Whether the model ended it by itself.
    pub finished: bool,
}

/// Samples `config.samples` answers to each of some prompts. Answer k to prompt i depends on the
/// seed, i and k alone. `progress` is told how many prompts are done.
///
/// # Errors
/// If a setting can't be used, a prompt can't be rendered, is too long, or the generator fails.
pub fn sample_candidates(
    config: &CollectConfig,
    prompts: &[Prompt],
    tokenizer: &ChatTokenizer,
    generator: &dyn Generator,
    (seed, progress): (u64, &mut dyn FnMut(usize)),
) -> Result<Vec<Vec<Candidate>>, RewardError> {
    config.validate()?;
    let sampling = SamplingConfig {
        max_new_tokens: config.max_new_tokens,
        temperature: config.temperature,
        stop_ids: tokenizer.eos_id().into_iter().collect(),
        ..SamplingConfig::default()
    };
    let mut found = Vec::with_capacity(prompts.len());
    let at_once = (config.batch_size / config.samples).max(1);
    for (part, some) in prompts.chunks(at_once).enumerate() {
        let encoded = some.iter().map(|p| tokenizer.encode_prompt(&p.messages));
        let encoded = encoded.collect::<Result<Vec<_>, _>>()?;
        let mut requests = Vec::with_capacity(some.len() * config.samples);
        for (i, sequence) in encoded.iter().enumerate() {
            for k in 0..config.samples {
                let row = (part * at_once + i) as u64;
                requests.push(Request {
                    prompt: &sequence.ids,
                    stream: stream(seed, row, k as u64),
                });
            }
        }
        let completions = generator.generate(&requests, &sampling)?;
        for answers in completions.chunks(config.samples) {
            let candidate = |c: &rlhf_model::Completion| {
                let text = tokenizer
                    .tokenizer()
                    .decode(&c.tokens, true)?
                    .trim()
                    .to_owned();
                Ok(Candidate {
                    text,
                    finished: c.finish != rlhf_model::Finish::Length,
                })
            };
            found.push(
                answers
                    .iter()
                    .map(candidate)
                    .collect::<Result<_, RewardError>>()?,
            );
        }
        progress(found.len());
    }
    Ok(found)
}

/// The preference rows that a ranking gives: one for each pair of answers whose ranks and texts
/// differ, all with the same `metadata.group`, as `rlhf reward` and others read them. An empty
/// answer is no answer and takes part in no pair. A smaller rank is better.
///
/// # Panics
/// If there is not one rank for each text.
pub fn preference_rows(
    prompt: &Prompt,
    texts: &[String],
    ranks: &[usize],
    group: &str,
) -> Vec<Value> {
    assert_eq!(texts.len(), ranks.len(), "one rank for each text");
    let mut rows = Vec::new();
    for (i, chosen) in texts.iter().enumerate() {
        for (j, rejected) in texts.iter().enumerate() {
            let differ = ranks[i] < ranks[j] && chosen != rejected;
            if differ && !chosen.is_empty() && !rejected.is_empty() {
                let mut row = Map::new();
                row.insert("prompt".into(), prompt_value(&prompt.messages));
                row.insert("chosen".into(), chosen.clone().into());
                row.insert("rejected".into(), rejected.clone().into());
                row.insert("metadata".into(), json!({ "group": group }));
                rows.push(Value::Object(row));
            }
        }
    }
    rows
}

/// A prompt of one user turn as its text, any other as its messages.
fn prompt_value(messages: &[Message]) -> Value {
    match messages {
        [only] if only.role == rlhf_data::Role::User => only.content.clone().into(),
        _ => json!(messages),
    }
}
