//! Replies from a list, for tests of whatever uses a [`Generator`].

use super::row::finish_of;
use super::{Completion, Finish, Generator, Request};
use crate::{ModelError, SamplingConfig};

/// A generator that answers from a script. A request's reply is the one for its prompt, or else
/// number `stream % replies` of the list, cut at end tokens and at `max_new_tokens`; every
/// log-probability is 0, as the script is certain.
#[derive(Clone, Debug, Default)]
pub struct ScriptedGenerator {
    replies: Vec<Vec<u32>>,
    by_prompt: Vec<(Vec<u32>, Vec<u32>)>,
}

impl ScriptedGenerator {
    /// Replies that requests choose from by their stream.
    pub fn new(replies: Vec<Vec<u32>>) -> Self {
        Self {
            replies,
            by_prompt: Vec::new(),
        }
    }

    /// Adds the reply to one prompt.
    #[must_use]
    pub fn reply_to(mut self, prompt: &[u32], reply: &[u32]) -> Self {
        self.by_prompt.push((prompt.to_vec(), reply.to_vec()));
        self
    }

    fn reply(&self, request: &Request<'_>) -> Option<&[u32]> {
        let by_prompt = self
            .by_prompt
            .iter()
            .find(|(prompt, _)| prompt == request.prompt);
        if let Some((_, reply)) = by_prompt {
            return Some(reply);
        }
        let at = request.stream.checked_rem(self.replies.len() as u64)?;
        self.replies.get(at as usize).map(Vec::as_slice)
    }
}

impl Generator for ScriptedGenerator {
    fn generate(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
    ) -> Result<Vec<Completion>, ModelError> {
        config.validate()?;
        let mut answers = Vec::with_capacity(requests.len());
        for (index, request) in requests.iter().enumerate() {
            let refuse = |reason: &str| ModelError::Prompt {
                index,
                reason: reason.to_owned(),
            };
            if request.prompt.is_empty() {
                return Err(refuse("is empty; give at least one token"));
            }
            let reply = self.reply(request).filter(|reply| !reply.is_empty());
            let reply = reply.ok_or_else(|| refuse("the script holds no reply for it"))?;
            let mut tokens = Vec::new();
            let mut finish = Finish::Length;
            for &token in reply {
                tokens.push(token);
                if let Some(end) = finish_of(token, tokens.len(), config) {
                    finish = end;
                    break;
                }
            }
            answers.push(Completion {
                logprobs: vec![0.0; tokens.len()],
                tokens,
                finish,
            });
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_by_prompt_or_stream_and_end_where_they_should() {
        let script =
            ScriptedGenerator::new(vec![vec![1, 2, 3], vec![4, 9, 5]]).reply_to(&[7], &[8]);
        let config = SamplingConfig {
            max_new_tokens: 3,
            stop_ids: vec![9],
            extra_stop_ids: vec![8],
            ..SamplingConfig::default()
        };
        let request = |prompt, stream| Request { prompt, stream };
        let requests = [
            request(&[1][..], 0),
            request(&[1][..], 1),
            request(&[7][..], 0),
        ];
        let answers = script.generate(&requests, &config).unwrap();
        let tokens: Vec<&[u32]> = answers.iter().map(|a| a.tokens.as_slice()).collect();
        assert_eq!(tokens, [&[1, 2, 3][..], &[4, 9], &[8]]);
        let finish: Vec<Finish> = answers.iter().map(|a| a.finish).collect();
        assert_eq!(finish, [Finish::Length, Finish::Eos, Finish::Stop]);
        assert!(
            ScriptedGenerator::default()
                .generate(&requests, &config)
                .is_err()
        );
    }
}
