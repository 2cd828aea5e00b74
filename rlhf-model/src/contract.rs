//! Tests that every implementation of this crate's traits must pass. Call them from a test of
//! the implementing crate; they panic with what was violated.

use crate::{CausalLm, Completion, Finish, Generator, Request, SamplingConfig, TokenBatch};
use burn::tensor::Tensor;

/// Two routes to the same number may differ by this much.
const TOLERANCE: f32 = 1e-4;

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

fn assert_close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}: different sizes");
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!(
            (x - y).abs() <= TOLERANCE * (1.0 + y.abs()),
            "{what}: {x} and {y} at {i}"
        );
    }
}

/// The logits of a row's own tokens, `[length, vocab]`.
fn row_logits<M: CausalLm>(model: &M, batch: &TokenBatch, row: usize) -> Vec<f32> {
    let logits = model.forward(batch).narrow(0, row, 1);
    let (start, length) = (batch.row_start(row), batch.lengths()[row]);
    floats(logits.narrow(1, start, length))
}

/// What a [`CausalLm`] promises, tried on rows of different lengths (at least two rows, each of
/// at least two tokens, ids below the vocabulary's size): shapes fit, logits are hidden states
/// times the head's weight, the future changes nothing, neither padding side nor batch mates
/// matter, and decoding with a cache gives what the whole row gives.
///
/// # Panics
/// With what was violated.
pub fn causal_lm<M: CausalLm>(model: &M, rows: &[Vec<u32>]) {
    let device = model.device();
    let right = TokenBatch::right_padded(rows, &device);
    let left = TokenBatch::left_padded(rows, &device);
    let (b, t, d) = (right.batch_size(), right.time(), model.d_model());
    let hidden = model.hidden(&right, None);
    assert_eq!(
        hidden.dims(),
        [b, t, d],
        "hidden states are [batch, time, d_model]"
    );
    assert_eq!(
        model.head_weight().dims(),
        [d, model.vocab_size()],
        "head is [d_model, vocab]"
    );
    let logits = model.logits(hidden.clone());
    assert_eq!(
        logits.dims(),
        [b, t, model.vocab_size()],
        "logits are [batch, time, vocab]"
    );
    let product = hidden.reshape([b * t, d]).matmul(model.head_weight());
    let product = match model.logit_softcap() {
        Some(cap) => rlhf_kernels::softcap(product, cap),
        None => product,
    };
    assert_close(
        &floats(product),
        &floats(logits),
        "logits are hidden · head_weight",
    );
    for (i, row) in rows.iter().enumerate() {
        let alone = TokenBatch::right_padded(&[row], &device);
        let want = row_logits(model, &alone, 0);
        assert_close(&row_logits(model, &right, i), &want, "right padding");
        assert_close(&row_logits(model, &left, i), &want, "left padding");
        let shorter = TokenBatch::right_padded(&[&row[..row.len() - 1]], &device);
        let got = row_logits(model, &shorter, 0);
        assert_close(
            &got,
            &want[..got.len()],
            "the last token changes earlier logits",
        );
        assert_close(&cached_logits(model, row), &want, "decoding with a cache");
    }
}

/// Logits of a row: the first token alone, then the others one by one.
fn cached_logits<M: CausalLm>(model: &M, row: &[u32]) -> Vec<f32> {
    let device = model.device();
    let mut cache = model.empty_cache(1, row.len());
    let first = TokenBatch::left_padded(&[&row[..1]], &device);
    let mut logits = floats(model.logits(model.hidden(&first, Some(&mut cache))));
    for &token in &row[1..] {
        let step = TokenBatch::step(&[token], &[0], cache.len(), &device);
        logits.extend(floats(model.logits(model.hidden(&step, Some(&mut cache)))));
    }
    logits
}

/// What a [`Generator`] promises, tried on prompts that it can continue (at least two, of
/// different lengths, each at least one token): one completion a request and in order, tokens and
/// log-probabilities of equal length, the limit kept, end tokens last and named, the same answer
/// again, alone, and in another order; an empty prompt is an error.
///
/// # Panics
/// With what was violated.
pub fn generator<G: Generator>(generator: &G, prompts: &[Vec<u32>]) {
    let config = SamplingConfig {
        max_new_tokens: 4,
        ..SamplingConfig::default()
    };
    let requests: Vec<Request<'_>> = prompts
        .iter()
        .enumerate()
        .map(|(i, prompt)| Request {
            prompt,
            stream: 100 + i as u64,
        })
        .collect();
    let run = |requests: &[Request<'_>], config: &SamplingConfig| {
        generator
            .generate(requests, config)
            .expect("the generator continues the prompts")
    };
    let answers = run(&requests, &config);
    assert_eq!(answers.len(), requests.len(), "one completion a request");
    answers
        .iter()
        .for_each(|answer| check_answer(answer, &config));
    assert_eq!(run(&requests, &config), answers, "the same answer again");
    for (request, answer) in requests.iter().zip(&answers) {
        assert_same(&run(&[*request], &config)[0], answer, "alone");
    }
    let reversed: Vec<Request<'_>> = requests.iter().rev().copied().collect();
    let mut back = run(&reversed, &config);
    back.reverse();
    for (back, answer) in back.iter().zip(&answers) {
        assert_same(back, answer, "in another order");
    }
    check_ends(generator, &requests, &answers, &config);
    assert!(run(&[], &config).is_empty(), "no request, no completion");
    let empty = [Request {
        prompt: &[],
        stream: 0,
    }];
    assert!(
        generator.generate(&empty, &config).is_err(),
        "an empty prompt is an error"
    );
    let none = SamplingConfig {
        max_new_tokens: 0,
        ..config
    };
    assert!(
        generator.generate(&requests, &none).is_err(),
        "0 new tokens is an error"
    );
}

/// Equal tokens; log-probabilities may differ by rounding.
fn assert_same(a: &Completion, b: &Completion, what: &str) {
    assert_eq!(
        (&a.tokens, a.finish),
        (&b.tokens, b.finish),
        "the same answer {what}"
    );
    assert_close(&a.logprobs, &b.logprobs, what);
}

fn check_answer(answer: &Completion, config: &SamplingConfig) {
    let n = answer.tokens.len();
    assert_eq!(answer.logprobs.len(), n, "a log-probability for each token");
    assert!(
        n > 0 && n <= config.max_new_tokens,
        "{n} tokens, not 1 to the limit"
    );
    assert!(
        answer.logprobs.iter().all(|&lp| lp <= 1e-6),
        "a log-probability above 0"
    );
}

/// Makes the first token of the first answer an end token, of both kinds.
fn check_ends<G: Generator>(
    generator: &G,
    requests: &[Request<'_>],
    answers: &[Completion],
    config: &SamplingConfig,
) {
    let end = answers[0].tokens[0];
    let eos = SamplingConfig {
        stop_ids: vec![end],
        ..config.clone()
    };
    let stop = SamplingConfig {
        extra_stop_ids: vec![end],
        ..config.clone()
    };
    for (config, finish) in [(eos, Finish::Eos), (stop, Finish::Stop)] {
        let ended = generator
            .generate(requests, &config)
            .expect("end tokens change no prompt");
        for (now, before) in ended.iter().zip(answers) {
            let at = before.tokens.iter().position(|&token| token == end);
            let length = at.map_or(before.tokens.len(), |at| at + 1);
            assert_eq!(
                now.tokens,
                before.tokens[..length],
                "an answer ends with its end token"
            );
            let want = if at.is_some() { finish } else { before.finish };
            assert_eq!(now.finish, want, "the reason for the end");
        }
    }
}
