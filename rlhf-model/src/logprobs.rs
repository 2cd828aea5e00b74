//! Log-probabilities of the tokens of a batch: the one place where logits and targets are
//! shifted against each other.

use crate::{CausalLm, TokenBatch};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use rlhf_kernels::{linear_token_logprobs, linear_token_logprobs_entropy};

/// `log p(id[t+1] | id[..=t])` at a temperature, `[batch, time − 1]`.
///
/// ```text
/// column        0     1     2     3
/// id            The   cat   sat   down
/// hidden        h0    h1    h2   (h3 predicts what comes after: not used)
/// target        cat   sat   down
/// result[t]     p(cat|The)  p(sat|The cat)  p(down|The cat sat)
/// ```
///
/// So the log-probability of the token in column `c` is `result[c − 1]`, and a loss mask over
/// columns is cut to `mask[1..]`. Entries whose target is padding, or the first token of a row
/// (left padding) or of a document (packed rows), are arbitrary numbers: mask them.
///
/// # Panics
/// If the batch has fewer than two columns, or the temperature is not positive.
pub fn token_logprobs<M: CausalLm>(model: &M, batch: &TokenBatch, temperature: f64) -> Tensor<2> {
    let (hidden, targets) = shifted(model.hidden(batch, None), batch);
    let out = head_logprobs(model, hidden, targets, temperature);
    out.reshape([batch.batch_size(), batch.time() - 1])
}

/// [`token_logprobs`] and the entropies of the distributions that they come from, in nats, both
/// `[batch, time − 1]` and differentiable.
///
/// # Panics
/// As [`token_logprobs`].
pub fn token_logprobs_entropy<M: CausalLm>(
    model: &M,
    batch: &TokenBatch,
    temperature: f64,
) -> (Tensor<2>, Tensor<2>) {
    let (hidden, targets) = shifted(model.hidden(batch, None), batch);
    let (logprobs, entropy) = head_logprobs_entropy(model, hidden, targets, temperature);
    let shape = [batch.batch_size(), batch.time() - 1];
    (logprobs.reshape(shape), entropy.reshape(shape))
}

/// The log-probabilities that a model's head gives to `targets` `[n]` from hidden states
/// `[n, d_model]` at a temperature, `[n]`.
///
/// # Panics
/// As [`linear_token_logprobs`].
pub fn head_logprobs<M: CausalLm>(
    model: &M,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> Tensor<1> {
    match model.logit_softcap() {
        None => linear_token_logprobs(hidden, model.head_weight(), targets, temperature),
        Some(_) => gathered(&capped_logprobs(model, hidden, temperature), targets),
    }
}

/// [`head_logprobs`] and the entropies of the distributions, in nats, both `[n]`.
///
/// # Panics
/// As [`linear_token_logprobs`].
pub fn head_logprobs_entropy<M: CausalLm>(
    model: &M,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    if model.logit_softcap().is_none() {
        let weight = model.head_weight();
        return linear_token_logprobs_entropy(hidden, weight, targets, temperature);
    }
    let all = capped_logprobs(model, hidden, temperature);
    let entropy = (all.clone().exp() * all.clone())
        .sum_dim(1)
        .neg()
        .squeeze_dim(1);
    (gathered(&all, targets), entropy)
}

/// The whole distributions of a head with capped logits, `[n, vocab]`.
fn capped_logprobs<M: CausalLm>(model: &M, hidden: Tensor<2>, temperature: f64) -> Tensor<2> {
    let logits = model.logits(hidden.unsqueeze_dim::<3>(0)).squeeze_dim(0);
    log_softmax(logits / temperature, 1)
}

fn gathered(logprobs: &Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let chosen = logprobs.clone().gather(1, targets.unsqueeze_dim::<2>(1));
    chosen.squeeze_dim(1)
}

/// Hidden states of all columns but the last, `[n, d]`, and the ids of all but the first, `[n]`.
fn shifted(hidden: Tensor<3>, batch: &TokenBatch) -> (Tensor<2>, Tensor<1, Int>) {
    let [b, t, d] = hidden.dims();
    assert!(t > 1, "log-probabilities need at least two columns");
    let targets = batch.ids().narrow(1, 1, t - 1).reshape([b * (t - 1)]);
    (
        hidden.narrow(1, 0, t - 1).reshape([b * (t - 1), d]),
        targets,
    )
}
