//! Log-probs and entropies of tokens, from logits.

use burn::tensor::{Bool, Int, Tensor, assert_shape};

use crate::masked::{sum_over_rows, zero_invalid};

/// Per-token figures of a batch, each `[batch, time]` and 0 at masked positions.
#[derive(Clone, Debug)]
pub struct TokenLogprobs {
    /// log p(target) under the tempered distribution.
    pub logprobs: Tensor<2>,
    /// log Σ exp of the tempered logits.
    pub logsumexp: Tensor<2>,
    /// −Σ p log p of the tempered distribution.
    pub entropy: Tensor<2>,
}

/// Log-softmax of logits / temperature at the valid positions, and its log-sum-exp.
pub(crate) struct Distribution {
    /// `[batch, time, vocab]`
    pub(crate) log_p: Tensor<3>,
    /// `[batch, time, 1]`
    pub(crate) logsumexp: Tensor<3>,
}

/// The distributions of a batch. Masked rows of logits are replaced by zeros before anything is
/// exponentiated, so that rubbish there can't reach a gradient.
pub(crate) fn distribution(
    logits: Tensor<3>,
    mask: &Tensor<2, Bool>,
    temperature: f64,
) -> Distribution {
    let [batch, time, vocab] = logits.dims();
    assert_shape!(mask, [batch, time]);
    assert!(
        temperature.is_finite() && temperature > 0.0,
        "temperature is {temperature}, wanted a positive number"
    );
    let masked = mask
        .clone()
        .bool_not()
        .unsqueeze_dim::<3>(2)
        .expand([batch, time, vocab]);
    let z = logits.mask_fill(masked, 0.0) / temperature;
    let largest = z.clone().detach().max_dim(2);
    let shifted = z - largest.clone();
    let log_sum = shifted.clone().exp().sum_dim(2).log();
    Distribution {
        log_p: shifted - log_sum.clone(),
        logsumexp: log_sum + largest,
    }
}

impl Distribution {
    /// log p of the target at each position; the index at masked positions is never read.
    pub(crate) fn of(&self, targets: Tensor<2, Int>, mask: &Tensor<2, Bool>) -> Tensor<2> {
        let [batch, time] = mask.dims();
        assert_shape!(targets, [batch, time]);
        let targets = targets.mask_fill(mask.clone().bool_not(), 0);
        let picked = self.log_p.clone().gather(2, targets.unsqueeze_dim::<3>(2));
        zero_invalid(picked.squeeze_dim::<2>(2), mask)
    }

    /// −Σ p log p. A token of probability 0 adds nothing, also where its log-prob is −inf.
    fn entropy(&self, mask: &Tensor<2, Bool>) -> Tensor<2> {
        let p = self.log_p.clone().exp();
        let impossible = p.clone().equal_elem(0.0);
        let log_p = self.log_p.clone().mask_fill(impossible, 0.0);
        zero_invalid((p * log_p).sum_dim(2).neg().squeeze_dim::<2>(2), mask)
    }
}

/// Log-probs, log-sum-exps and entropies: with z = logits / temperature,
/// logprobs\[b,t\] = z\[target\] − log Σ exp z and entropy = −Σ p log p.
///
/// `logits` is `[batch, time, vocab]` and `targets[b][t]` is the token that `logits[b][t]`
/// predicts: nothing is shifted here. The temperature has to be the one that the tokens were
/// sampled at, else the ratio of a policy to itself is not 1; top-k and top-p are not folded in.
/// A logit of −inf is a token of probability 0; a row of nothing else has no distribution.
///
/// # Panics
/// If shapes disagree, or the temperature is not a positive number.
pub fn token_logprobs(
    logits: Tensor<3>,
    targets: Tensor<2, Int>,
    mask: &Tensor<2, Bool>,
    temperature: f64,
) -> TokenLogprobs {
    let distribution = distribution(logits, mask, temperature);
    TokenLogprobs {
        logprobs: distribution.of(targets, mask),
        entropy: distribution.entropy(mask),
        logsumexp: zero_invalid(distribution.logsumexp.squeeze_dim::<2>(2), mask),
    }
}

/// Per row, the log-prob of its valid tokens together: Σ_t logprobs\[b,t\], `[batch]`.
///
/// # Panics
/// If the shapes differ.
pub fn sequence_logprobs(logprobs: Tensor<2>, mask: &Tensor<2, Bool>) -> Tensor<1> {
    sum_over_rows(logprobs, mask)
}

/// The targets of a causal language model: logits at t predict token t + 1.
///
/// ```text
/// position      0    1    2    3
/// ids           A    B    C    D        mask   . . x x     (C and D are trained on)
/// targets       B    C    D    –        mask   . x x .
/// ```
///
/// Both are `[batch, time]`. The last position predicts nothing and is masked; the mask at
/// position 0 of the input has no logits that predict it and so never counts.
///
/// # Panics
/// If the shapes differ.
pub fn next_tokens(
    ids: Tensor<2, Int>,
    mask: Tensor<2, Bool>,
) -> (Tensor<2, Int>, Tensor<2, Bool>) {
    let [batch, time] = ids.dims();
    assert_shape!(mask, [batch, time]);
    let place = Tensor::<1, Int>::arange(0..time as i64, &mask.device());
    let has_next = place
        .lower_elem(time as i64 - 1)
        .unsqueeze_dim::<2>(0)
        .expand([batch, time]);
    (ids.roll_dim(-1, 1), mask.roll_dim(-1, 1).bool_and(has_next))
}

/// Per row, the log-prob of its masked-in tokens given everything before them: shifted by
/// [`next_tokens`], summed, `[batch]`.
///
/// `mask` marks the tokens of the answer within `ids`.
///
/// # Panics
/// If shapes disagree.
pub fn completion_logprobs(
    logits: Tensor<3>,
    ids: Tensor<2, Int>,
    mask: &Tensor<2, Bool>,
) -> Tensor<1> {
    let (targets, mask) = next_tokens(ids, mask.clone());
    sequence_logprobs(distribution(logits, &mask, 1.0).of(targets, &mask), &mask)
}

#[cfg(test)]
mod tests;
