//! ROUGE-L: overlap of a text with a reference by their longest common subsequence (Lin, 2004).

use serde::{Deserialize, Serialize};

/// Precision, recall and F1 of the longest common subsequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RougeL {
    /// LCS / words of the candidate.
    pub precision: f64,
    /// LCS / words of the reference.
    pub recall: f64,
    /// Harmonic mean of both.
    pub f1: f64,
}

/// ROUGE-L of `candidate` against `reference`.
///
/// Words are runs of a–z and 0–9 after lower-casing; every other character separates, and nothing
/// is stemmed. So text in other scripts has no words. If either side has no words all is 0.
pub fn rouge_l(candidate: &str, reference: &str) -> RougeL {
    let (candidate, reference) = (candidate.to_lowercase(), reference.to_lowercase());
    let (candidate, reference) = (words(&candidate), words(&reference));
    let common = longest_common_subsequence(&candidate, &reference) as f64;
    if common == 0.0 {
        return RougeL::default();
    }
    let precision = common / candidate.len() as f64;
    let recall = common / reference.len() as f64;
    RougeL {
        precision,
        recall,
        f1: 2.0 * precision * recall / (precision + recall),
    }
}

/// Mean F1 over pairs of (candidate, reference); `None` of no pairs.
pub fn mean_rouge_l<A: AsRef<str>, B: AsRef<str>>(pairs: &[(A, B)]) -> Option<f64> {
    let total: f64 = pairs
        .iter()
        .map(|(a, b)| rouge_l(a.as_ref(), b.as_ref()).f1)
        .sum();
    (!pairs.is_empty()).then(|| total / pairs.len() as f64)
}

fn words(lower: &str) -> Vec<&str> {
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect()
}

fn longest_common_subsequence(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0usize; b.len() + 1];
    for word in a {
        let mut diagonal = 0;
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if word == other {
                diagonal + 1
            } else {
                above.max(row[j])
            };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(candidate: &str, reference: &str, precision: f64, recall: f64, f1: f64) {
        let r = rouge_l(candidate, reference);
        for (got, expected) in [(r.precision, precision), (r.recall, recall), (r.f1, f1)] {
            assert!(
                (got - expected).abs() < 1e-8,
                "{candidate}: {got} {expected}"
            );
        }
    }

    #[test]
    fn known_overlaps() {
        let (a, b) = (
            "sat then then cat sat then slept and",
            "a mat then on ran a mat then then and",
        );
        check(a, b, 0.5, 0.4, 0.444444444);
        check(
            "ran and the sat sat cat the fast dog and cat sat",
            "and ran mat and a ran cat",
            0.25,
            0.428571429,
            0.315789474,
        );
        check("y y x y y x x y x", "x y y x x y", 0.666666667, 1.0, 0.8);
        check("the the the the", "the", 0.25, 1.0, 0.4);
        check("a b c d", "d c b a", 0.25, 0.25, 0.25);
    }

    #[test]
    fn case_and_punctuation_do_not_count() {
        check("Hello, World!", "hello world", 1.0, 1.0, 1.0);
        check("it's 3.5 km", "it s 3 5 km", 1.0, 1.0, 1.0);
        check("naïve café", "naive cafe", 0.0, 0.0, 0.0);
    }

    #[test]
    fn empty_is_zero() {
        for (a, b) in [
            ("", "some reference"),
            ("some candidate", ""),
            ("", ""),
            ("東京", "東京"),
        ] {
            check(a, b, 0.0, 0.0, 0.0);
        }
        assert_eq!(mean_rouge_l::<&str, &str>(&[]), None);
        let pairs = [
            ("the cat sat on the mat", "the cat is on the mat"),
            ("same text", "same text"),
        ];
        assert!((mean_rouge_l(&pairs).unwrap() - (0.833333333 + 1.0) / 2.0).abs() < 1e-8);
    }
}
