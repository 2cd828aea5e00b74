//! What an implementation of this crate's traits promises, as checks to call from a test.

use crate::{Answer, Judge, RewardSource, Verdict};

/// Checks a [`RewardSource`]: one finite score an answer, the same score alone and in any order.
///
/// # Panics
/// With the broken promise, as a test does.
pub fn reward_source(source: &dyn RewardSource, answers: &[Answer<'_>], tolerance: f32) {
    let scores = source
        .score(answers)
        .expect("the source scores the answers");
    assert_eq!(scores.len(), answers.len(), "one score an answer");
    assert!(
        scores.iter().all(|s| s.is_finite()),
        "finite scores: {scores:?}"
    );
    let mut reversed: Vec<Answer<'_>> = answers.to_vec();
    reversed.reverse();
    let mut backwards = source
        .score(&reversed)
        .expect("the source scores the answers reversed");
    backwards.reverse();
    for (i, answer) in answers.iter().enumerate() {
        let alone = source
            .score(&[*answer])
            .expect("the source scores one answer");
        for other in [alone[0], backwards[i]] {
            let apart = (other - scores[i]).abs();
            assert!(
                apart <= tolerance,
                "answer {i}: {other} here, {} in the batch",
                scores[i]
            );
        }
    }
    assert!(source.score(&[]).expect("no answers, no scores").is_empty());
}

/// Checks a [`Judge`] that claims to be indifferent to the order: swapping a pair swaps its
/// verdict, and an answer against itself is a tie.
///
/// # Panics
/// With the broken promise, as a test does.
pub fn order_free_judge(judge: &dyn Judge, pairs: &[(Answer<'_>, Answer<'_>)]) {
    let verdicts = judge.compare(pairs).expect("the judge compares the pairs");
    let swapped: Vec<_> = pairs.iter().map(|&(a, b)| (b, a)).collect();
    let swapped = judge
        .compare(&swapped)
        .expect("the judge compares the swapped pairs");
    for (i, (one, other)) in verdicts.iter().zip(&swapped).enumerate() {
        assert_eq!(*one, other.swapped(), "pair {i}");
    }
    let same: Vec<_> = pairs.iter().map(|&(a, _)| (a, a)).collect();
    let same = judge
        .compare(&same)
        .expect("the judge compares equal answers");
    assert!(
        same.iter().all(|v| *v == Verdict::Tie),
        "an answer beats itself"
    );
}
