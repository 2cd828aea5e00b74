//! Which tokens of a batch a loss is taken on, and their log-probs.

use burn::tensor::{Device, Int, Tensor, TensorData};
use rlhf_model::{CausalLm, TokenBatch, head_logprobs, head_logprobs_entropy};

/// Chosen tokens of a right-padded batch. The log-prob of the token at position t of a row is read
/// from the hidden state at t − 1:
///
/// ```text
/// ids      BOS   The   cat   sat   EOS
/// position  0     1     2     3     4
/// target    ·     ^0    ^1    ^2    ^3      ^n: predicted by the hidden state at n
/// ```
///
/// Only the chosen positions go through the language-model head.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    predictors: Vec<i64>,
    ids: Vec<i64>,
}

impl Targets {
    /// No tokens yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the token `id` at position `time` of row `row` in a batch of width `width`.
    ///
    /// # Panics
    /// If `time` is 0 (nothing predicts the first token) or beyond the width.
    pub fn push(&mut self, row: usize, time: usize, width: usize, id: u32) {
        assert!(
            (1..width).contains(&time),
            "no position predicts token {time} of {width}"
        );
        self.predictors.push((row * width + time - 1) as i64);
        self.ids.push(i64::from(id));
    }

    /// How many tokens.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The hidden states that predict the tokens: `[n, d_model]` of hidden `[batch, time, d_model]`.
    pub fn predictors(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [batch, time, width] = hidden.dims();
        let rows = self.int_tensor(&self.predictors, &hidden.device().without_autodiff());
        hidden.reshape([batch * time, width]).select(0, rows)
    }

    /// log p of each token at a temperature: `[n]`.
    pub fn logprobs<M: CausalLm>(
        &self,
        model: &M,
        batch: &TokenBatch,
        temperature: f64,
    ) -> Tensor<1> {
        let hidden = self.predictors(model.hidden(batch, None));
        self.logprobs_from(model, hidden, temperature)
    }

    /// The same, of the hidden states that [`Targets::predictors`] chose.
    pub fn logprobs_from<M: CausalLm>(
        &self,
        model: &M,
        predictors: Tensor<2>,
        temperature: f64,
    ) -> Tensor<1> {
        let ids = self.int_tensor(&self.ids, &predictors.device().without_autodiff());
        head_logprobs(model, predictors, ids, temperature)
    }

    /// log p of each token and the entropy of the distribution that it was drawn from, `[n]` each, of
    /// the hidden states that [`Targets::predictors`] chose.
    pub fn logprobs_entropy_from<M: CausalLm>(
        &self,
        model: &M,
        predictors: Tensor<2>,
        temperature: f64,
    ) -> (Tensor<1>, Tensor<1>) {
        let ids = self.int_tensor(&self.ids, &predictors.device().without_autodiff());
        head_logprobs_entropy(model, predictors, ids, temperature)
    }

    fn int_tensor(&self, values: &[i64], device: &Device) -> Tensor<1, Int> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
    }
}
