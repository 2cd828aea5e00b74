//! Perplexity and bits per byte of a corpus.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

/// How well a model predicts a corpus.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perplexity {
    /// −Σ log p / number of tokens, in nats.
    pub nll_per_token: f64,
    /// exp of `nll_per_token`. Comparable only between models of one tokenizer.
    pub perplexity: f64,
    /// −Σ log p / (ln 2 · bytes): comparable between tokenizers. `None` if the bytes are 0.
    pub bits_per_byte: Option<f64>,
    /// `nll_per_token` / ln 2.
    pub bits_per_token: f64,
}

/// Perplexity over a corpus: `token_logprobs[document][token]` are natural log-probabilities of the
/// predicted tokens, `num_bytes[document]` the UTF-8 bytes that those tokens stand for.
///
/// Sums are taken over the whole corpus before dividing; a mean of the documents' perplexities
/// would be another number. `None` without tokens.
pub fn perplexity<D: AsRef<[f64]>>(token_logprobs: &[D], num_bytes: &[u64]) -> Option<Perplexity> {
    let tokens: usize = token_logprobs.iter().map(|d| d.as_ref().len()).sum();
    let documents = token_logprobs
        .iter()
        .map(|d| d.as_ref().iter().sum::<f64>());
    perplexity_of_totals(
        -documents.sum::<f64>(),
        tokens as u64,
        num_bytes.iter().sum(),
    )
}

/// Perplexity from the sums over a corpus: `nll` = −Σ log p in nats; `None` for 0 tokens.
pub fn perplexity_of_totals(nll: f64, tokens: u64, bytes: u64) -> Option<Perplexity> {
    if tokens == 0 {
        return None;
    }
    let nll_per_token = nll / tokens as f64;
    Some(Perplexity {
        nll_per_token,
        perplexity: nll_per_token.exp(),
        bits_per_byte: (bytes > 0).then(|| nll / (LN_2 * bytes as f64)),
        bits_per_token: nll_per_token / LN_2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_is_summed_before_it_is_divided() {
        let documents = [
            vec![-3.3419, -4.5084, -1.7748, -0.4613, -0.3613],
            vec![-0.5196],
            vec![
                -0.7062, -1.6307, -0.609, -3.054, -1.5749, -1.4627, -1.162, -0.778, -0.8182,
            ],
        ];
        let p = perplexity(&documents, &[17, 3, 40]).unwrap();
        assert!((p.nll_per_token - 1.51753333).abs() < 1e-8);
        assert!((p.perplexity - 4.56096094).abs() < 1e-8);
        assert!((p.bits_per_byte.unwrap() - 0.547334454).abs() < 1e-8);
        assert!((p.bits_per_token - 2.18933781).abs() < 1e-8);
    }

    #[test]
    fn certainty_and_nothing() {
        let p = perplexity(&[[0.0, 0.0, 0.0]], &[6]).unwrap();
        assert_eq!((p.perplexity, p.bits_per_byte), (1.0, Some(0.0)));
        assert_eq!(perplexity::<Vec<f64>>(&[], &[]), None);
        assert_eq!(perplexity(&[Vec::new()], &[3]), None);
        assert_eq!(perplexity(&[[-1.0]], &[0]).unwrap().bits_per_byte, None);
    }
}
