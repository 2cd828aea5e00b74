//! A reward model: a language model's trunk with a scalar head, read at the last token.

use crate::{Answer, RewardError, RewardSource};
use burn::tensor::Device;
use rlhf_data::ChatTokenizer;
use rlhf_model::cores::{cores, each_part, rows_at_once};
use rlhf_model::{CausalLm, ScoreModel, TokenBatch};
use rlhf_train::parameters::host_values;

/// A trained reward model that scores answers.
#[derive(Debug)]
pub struct RewardModel<'a> {
    /// The weights, on a plain device.
    pub model: &'a ScoreModel,
    /// The tokenizer and template that they were trained with.
    pub tokenizer: &'a ChatTokenizer,
    /// The device of the weights.
    pub device: Device,
    /// Sequences a forward pass.
    pub batch_size: usize,
    /// Tokens of a sequence at most; a longer prompt loses its start.
    pub max_length: usize,
}

/// The ids of prompt and answer of each answer: what was generated as it was generated, other texts
/// tokenised and closed by the end-of-turn token. A prompt too long loses its start.
///
/// # Errors
/// If a prompt can't be rendered, or an answer alone is longer than `max_length`.
pub fn encode_answers(
    tokenizer: &ChatTokenizer,
    answers: &[Answer<'_>],
    max_length: usize,
) -> Result<Vec<Vec<u32>>, RewardError> {
    let encode = |answer: &Answer<'_>| {
        let Some(tokens) = answer.tokens else {
            let mut sequence = tokenizer.encode_answer(answer.prompt, answer.response)?;
            sequence.truncate_start(max_length)?;
            return Ok(sequence.ids);
        };
        let mut ids = tokenizer.encode_prompt(answer.prompt)?.ids;
        ids.extend_from_slice(tokens);
        let surplus = ids.len().saturating_sub(max_length);
        if surplus > ids.len() - tokens.len() {
            return Err(RewardError::Source {
                name: "reward model".into(),
                reason: format!(
                    "can't read an answer of {} tokens in {max_length}",
                    tokens.len()
                ),
            });
        }
        ids.drain(..surplus);
        Ok(ids)
    };
    answers.iter().map(encode).collect()
}

/// The score of each sequence at its last token, in order.
///
/// # Errors
/// If a sequence is empty or holds an id outside the model's vocabulary.
pub fn score_sequences(
    model: &ScoreModel,
    sequences: &[&[u32]],
    batch_size: usize,
    device: &Device,
) -> Result<Vec<f32>, RewardError> {
    // Sequences of like length share a batch, so that little of it is padding.
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    order.sort_by_key(|&i| sequences[i].len());
    if order.first().is_some_and(|&i| sequences[i].is_empty()) {
        let reason = "can't score an empty sequence".to_owned();
        return Err(RewardError::Source {
            name: "reward model".into(),
            reason,
        });
    }
    let at_once = rows_at_once(order.len(), batch_size, device);
    let parts: Vec<&[usize]> = order.chunks(at_once).collect();
    let found = each_part(&parts, cores(device), |part| {
        let rows: Vec<&[u32]> = part.iter().map(|&i| sequences[i]).collect();
        let batch = TokenBatch::right_padded(&rows, device);
        batch.check_ids(model.backbone.vocab_size())?;
        Ok::<_, RewardError>(host_values(model.last_token_scores(&batch)))
    });
    let mut scores = vec![0.0; sequences.len()];
    for (part, found) in parts.into_iter().zip(found) {
        for (&i, score) in part.iter().zip(found?) {
            scores[i] = score;
        }
    }
    Ok(scores)
}

impl RewardSource for RewardModel<'_> {
    fn name(&self) -> &'static str {
        "reward_model"
    }

    fn score(&self, answers: &[Answer<'_>]) -> Result<Vec<f32>, RewardError> {
        let ids = encode_answers(self.tokenizer, answers, self.max_length)?;
        let ids: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
        score_sequences(self.model, &ids, self.batch_size, &self.device)
    }
}
