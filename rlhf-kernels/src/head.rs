//! The language-model head: log-probabilities of given tokens straight from hidden states.

use burn::tensor::{Int, Tensor};

#[cfg(feature = "flex")]
use crate::fast;
use crate::plain;

/// Numbers of logits that are kept from forward to backward (256 MiB); more are computed again, a
/// chunk of rows at a time.
pub const KEPT_LOGITS: usize = 1 << 26;

/// `log softmax(hidden · weight / temperature)[target]` of each row.
///
/// `hidden` `[n, d]`, `weight` `[d, v]` (a transposed view of tied embeddings is read in place),
/// `targets` `[n]` → `[n]`, in nats.
///
/// Fast: when a gradient is needed the logits `[n, v]` are kept once, up to 256 MiB of them, and
/// turned into their own gradient in place; otherwise they exist for a chunk of rows at a time,
/// and are computed again for the gradient. The forward gives a
/// row the same bits alone and in any batch once `v > 256`.
///
/// # Panics
/// If shapes do not fit, a target is outside `0..v`, or the temperature is not positive.
pub fn linear_token_logprobs(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if fast::runs_on(&hidden) && fast::runs_on(&weight) {
        check(&hidden, &weight, &targets, temperature);
        let out = fast::linear_token_logprobs(hidden, weight, targets, temperature, false);
        return out.squeeze_dim(0);
    }
    plain::linear_token_logprobs(hidden, weight, targets, temperature)
}

/// [`linear_token_logprobs`] and the entropy `−Σ p·log p` of each row, in nats, both `[n]`.
///
/// Both are differentiable; the entropy's gradient by logit `j` (at temperature 1) is
/// `−p_j · (log p_j + H)`.
///
/// # Panics
/// As [`linear_token_logprobs`].
pub fn linear_token_logprobs_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    #[cfg(feature = "flex")]
    if fast::runs_on(&hidden) && fast::runs_on(&weight) {
        check(&hidden, &weight, &targets, temperature);
        let out = fast::linear_token_logprobs(hidden, weight, targets, temperature, true);
        let row = |i| out.clone().narrow(0, i, 1).squeeze_dim(0);
        return (row(0), row(1));
    }
    plain::linear_token_logprobs_entropy(hidden, weight, targets, temperature)
}

pub(crate) fn check(
    hidden: &Tensor<2>,
    weight: &Tensor<2>,
    targets: &Tensor<1, Int>,
    temperature: f64,
) {
    let ([n, d], [rows, vocab], [given]) = (hidden.dims(), weight.dims(), targets.dims());
    assert!(
        d == rows && n == given && vocab > 0,
        "token log-probs: hidden [{n}, {d}], weight [{rows}, {vocab}], targets [{given}] do not fit"
    );
    assert!(
        temperature > 0.0 && temperature.is_finite(),
        "token log-probs: temperature {temperature} is not positive"
    );
}
