//! The figures of each kind of suite, from what a model said about each row.

use serde::{Deserialize, Serialize};

use crate::bootstrap::{cluster_bootstrap, paired_difference, paired_ratio};
use crate::calibration::reward_model_calibration;
use crate::choice::{ChoiceQuestion, truthfulqa_mc};
use crate::error::EvalError;
use crate::figure::{Figure, Metrics};
use crate::rouge::rouge_l;
use crate::win_rate::Outcome;

/// How intervals are resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resampling {
    /// Number of resamples.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self {
            resamples: 2000,
            seed: 0,
        }
    }
}

impl Resampling {
    /// [`cluster_bootstrap`] with these settings.
    pub fn mean<K: Ord>(&self, values: &[(K, f64)]) -> Option<Figure> {
        cluster_bootstrap(values, self.resamples, self.seed)
    }

    /// [`paired_ratio`] with these settings.
    pub fn ratio<K: Ord>(&self, first: &[(K, f64)], second: &[(K, f64)]) -> Option<Figure> {
        paired_ratio(first, second, self.resamples, self.seed)
    }

    /// [`paired_difference`] with these settings.
    pub fn difference<K: Ord>(&self, first: &[(K, f64)], second: &[(K, f64)]) -> Option<Figure> {
        paired_difference(first, second, self.resamples, self.seed)
    }

    fn each(&self, values: &[f64]) -> Option<Figure> {
        let rows: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
        self.mean(&rows)
    }
}

/// What a model said about one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DocumentLogprobs {
    /// Natural log-probability of each predicted token.
    pub logprobs: Vec<f64>,
    /// UTF-8 bytes of the document.
    pub bytes: u64,
}

fn named(figures: impl IntoIterator<Item = (&'static str, Option<Figure>)>) -> Metrics {
    let known = figures
        .into_iter()
        .filter_map(|(name, f)| Some((name.to_owned(), f?)));
    known.collect()
}

/// `nll_per_token`, `perplexity` and `bits_per_byte` of a corpus, with intervals over documents;
/// empty without tokens. `n` counts tokens, for `bits_per_byte` documents.
pub fn perplexity_metrics(documents: &[DocumentLogprobs], resampling: Resampling) -> Metrics {
    let rows = documents.iter().enumerate();
    let tokens = rows
        .clone()
        .flat_map(|(d, doc)| doc.logprobs.iter().map(move |lp| (d, -lp)));
    let nll = resampling.mean(&tokens.collect::<Vec<_>>());
    let perplexity = nll.map(|f| Figure {
        value: f.value.exp(),
        low: f.low.map(f64::exp),
        high: f.high.map(f64::exp),
        n: f.n,
    });
    let bits = |doc: &DocumentLogprobs| -doc.logprobs.iter().sum::<f64>() / std::f64::consts::LN_2;
    let bits: Vec<(usize, f64)> = rows.clone().map(|(d, doc)| (d, bits(doc))).collect();
    let bytes: Vec<(usize, f64)> = rows.map(|(d, doc)| (d, doc.bytes as f64)).collect();
    let bits_per_byte = nll.and_then(|_| resampling.ratio(&bits, &bytes));
    named([
        ("nll_per_token", nll),
        ("perplexity", perplexity),
        ("bits_per_byte", bits_per_byte),
    ])
}

/// `mc1` and `mc2` with intervals over questions; empty without questions.
///
/// # Errors
/// Those of [`truthfulqa_mc`].
pub fn choice_metrics(
    questions: &[ChoiceQuestion],
    resampling: Resampling,
) -> Result<Metrics, EvalError> {
    let scores = truthfulqa_mc(questions)?;
    Ok(named([
        ("mc1", resampling.each(&scores.mc1_each)),
        ("mc2", resampling.each(&scores.mc2_each)),
    ]))
}

/// `rouge_l_f1`, `rouge_l_precision` and `rouge_l_recall` of (response, reference) pairs.
pub fn rouge_metrics<A: AsRef<str>, B: AsRef<str>>(
    pairs: &[(A, B)],
    resampling: Resampling,
) -> Metrics {
    let scores: Vec<_> = pairs
        .iter()
        .map(|(a, b)| rouge_l(a.as_ref(), b.as_ref()))
        .collect();
    let each = |f: fn(&crate::rouge::RougeL) -> f64| {
        resampling.each(&scores.iter().map(f).collect::<Vec<_>>())
    };
    named([
        ("rouge_l_f1", each(|r| r.f1)),
        ("rouge_l_precision", each(|r| r.precision)),
        ("rouge_l_recall", each(|r| r.recall)),
    ])
}

/// `accuracy` (with an interval over clusters), `accuracy_ties_half`, and, without intervals,
/// `ece`, `max_calibration_error`, `brier`, `nll` of a reward model from (cluster, margin) rows;
/// empty without rows. Ten bins.
///
/// # Errors
/// A margin that is not finite.
pub fn preference_metrics<K: Ord>(
    margins: &[(K, f64)],
    resampling: Resampling,
) -> Result<Metrics, EvalError> {
    let plain: Vec<f64> = margins.iter().map(|(_, m)| *m).collect();
    let Some(c) = reward_model_calibration(&plain, 10)? else {
        return Ok(Metrics::new());
    };
    let rows = |score: fn(f64) -> f64| -> Vec<(&K, f64)> {
        margins.iter().map(|(k, m)| (k, score(*m))).collect()
    };
    let strict = rows(|m| f64::from(u8::from(m > 0.0)));
    let half = rows(|m| Outcome::of_scores(m, 0.0).score());
    let bare = |value| Some(Figure::bare(value, margins.len()));
    Ok(named([
        ("accuracy", resampling.mean(&strict)),
        ("accuracy_ties_half", resampling.mean(&half)),
        ("ece", bare(c.ece)),
        ("max_calibration_error", bare(c.max_calibration_error)),
        ("brier", bare(c.brier)),
        ("nll", bare(c.nll)),
    ]))
}

/// `win_rate` (ties ½) and `tie_share` of (cluster, outcome) rows, with intervals over clusters;
/// empty without rows.
pub fn comparison_metrics<K: Ord>(outcomes: &[(K, Outcome)], resampling: Resampling) -> Metrics {
    let rows = |score: fn(Outcome) -> f64| -> Option<Figure> {
        resampling.mean(
            &outcomes
                .iter()
                .map(|(k, o)| (k, score(*o)))
                .collect::<Vec<_>>(),
        )
    };
    named([
        ("win_rate", rows(Outcome::score)),
        (
            "tie_share",
            rows(|o| f64::from(u8::from(o == Outcome::Tie))),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const R: Resampling = Resampling {
        resamples: 200,
        seed: 1,
    };

    #[test]
    fn corpus_figures_agree_with_perplexity() {
        let documents: Vec<DocumentLogprobs> = [
            (vec![-3.3419, -4.5084, -1.7748, -0.4613, -0.3613], 17),
            (vec![-0.5196], 3),
            (
                vec![
                    -0.7062, -1.6307, -0.609, -3.054, -1.5749, -1.4627, -1.162, -0.778, -0.8182,
                ],
                40,
            ),
        ]
        .into_iter()
        .map(|(logprobs, bytes)| DocumentLogprobs { logprobs, bytes })
        .collect();
        let m = perplexity_metrics(&documents, R);
        assert!((m["nll_per_token"].value - 1.51753333).abs() < 1e-8);
        assert!((m["perplexity"].value - 4.56096094).abs() < 1e-8);
        assert!((m["bits_per_byte"].value - 0.547334454).abs() < 1e-8);
        assert_eq!((m["nll_per_token"].n, m["bits_per_byte"].n), (15, 3));
        assert!(m["perplexity"].low.unwrap() < 4.5 && m["perplexity"].high.unwrap() > 4.6);
        assert!(perplexity_metrics(&[], R).is_empty());
    }

    #[test]
    fn preferences_and_comparisons() {
        let margins = [("a", 2.0), ("a", 1.0), ("b", -1.0), ("b", 0.0)];
        let m = preference_metrics(&margins, R).unwrap();
        assert_eq!(
            (m["accuracy"].value, m["accuracy_ties_half"].value),
            (0.5, 0.625)
        );
        assert_eq!(m["ece"].low, None);
        assert!(preference_metrics::<u8>(&[], R).unwrap().is_empty());
        assert!(preference_metrics(&[("a", f64::INFINITY)], R).is_err());
        let outcomes = [
            (1, Outcome::Win),
            (2, Outcome::Tie),
            (3, Outcome::Win),
            (4, Outcome::Loss),
        ];
        let m = comparison_metrics(&outcomes, R);
        assert_eq!((m["win_rate"].value, m["tie_share"].value), (0.625, 0.25));
    }

    #[test]
    fn overlap_and_choices() {
        let m = rouge_metrics(&[("a b c d", "d c b a"), ("same text", "same text")], R);
        assert_eq!(m["rouge_l_f1"].value, 0.625);
        let q = ChoiceQuestion {
            logprobs: vec![-1.0, -2.0],
            correct: vec![true, false],
            best: 0,
        };
        let m = choice_metrics(&[q], R).unwrap();
        assert_eq!(m["mc1"], Figure::bare(1.0, 1));
        assert!((m["mc2"].value - 0.731058579).abs() < 1e-8);
    }
}
