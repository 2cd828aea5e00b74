use super::*;
use SpanRole::{Assistant, Control, User};

fn chat() -> TokenSequence {
    let mut s = TokenSequence::new();
    s.push(&[1, 2], Control, false);
    s.push(&[3, 4], User, false);
    s.push(&[5, 6, 7], Assistant, true);
    s.push(&[8], Control, false);
    s.push(&[9, 10], User, false);
    s.push(&[11, 12], Assistant, true);
    s.push(&[13], Control, false);
    s
}

fn tiles(s: &TokenSequence) {
    let mut at = 0;
    for span in &s.spans {
        assert_eq!(span.range.start, at);
        assert!(span.range.end > at);
        at = span.range.end;
    }
    assert_eq!(at, s.len());
    assert_eq!(s.loss_mask().len(), s.len());
}

#[test]
fn spans_of_one_kind_join_and_the_mask_follows_them() {
    let mut s = TokenSequence::new();
    s.push(&[1], User, false);
    s.push(&[2], User, false);
    s.push(&[], Assistant, true);
    s.push(&[3], Assistant, true);
    assert_eq!(s.spans.len(), 2);
    assert_eq!(s.loss_mask(), [false, false, true]);
    assert_eq!(s.trained_tokens(), 1);
    tiles(&s);
}

#[test]
fn truncation_drops_the_start_and_keeps_the_answer() {
    let mut s = chat();
    assert_eq!(s.truncate_start(13).unwrap(), 0);
    assert_eq!(s.truncate_start(8).unwrap(), 5);
    tiles(&s);
    assert_eq!(s.ids, [6, 7, 8, 9, 10, 11, 12, 13]);
    // The first answer lost its beginning: it is context only.
    assert_eq!(
        s.loss_mask(),
        [false, false, false, false, false, true, true, false]
    );
    assert_eq!(s.truncate_start(3).unwrap(), 5);
    assert_eq!(s.ids, [11, 12, 13]);
    assert_eq!(s.loss_mask(), [true, true, false]);
    tiles(&s);
}

#[test]
fn an_answer_that_does_not_fit_is_an_error_and_leaves_the_row_as_it_was() {
    let mut s = chat();
    let error = s.truncate_start(2).unwrap_err();
    assert!(
        matches!(
            error,
            DataError::AnswerTooLong {
                answer: 3,
                max_len: 2
            }
        ),
        "{error}"
    );
    assert_eq!(s, chat());
}

#[test]
fn a_prompt_without_answer_keeps_its_end() {
    let mut s = TokenSequence::new();
    s.push(&[1, 2, 3], User, false);
    assert_eq!(s.answer_start(), 3);
    assert_eq!(s.truncate_start(2).unwrap(), 1);
    assert_eq!(s.ids, [2, 3]);
    assert_eq!(s.truncate_start(0).unwrap(), 2);
    assert!(s.is_empty());
    tiles(&s);
}

#[test]
fn a_row_lacks_a_prompt_where_its_answer_comes_first() {
    let mut s = TokenSequence::new();
    assert!(!s.lacks_prompt());
    s.push(&[1], User, false);
    s.push(&[2], Assistant, true);
    s.push(&[3], Control, false);
    assert!(!s.lacks_prompt());
    s.truncate_start(2).unwrap();
    // Not all of it carries loss, and yet nothing stands before the answer.
    assert!(s.lacks_prompt() && s.trained_tokens() < s.len());
}

#[test]
fn a_pair_loses_the_same_prompt_tokens() {
    let pair = |answers: [&[u32]; 2]| {
        answers.map(|answer| {
            let mut s = TokenSequence::new();
            s.push(&[1, 2, 3, 4], User, false);
            s.push(answer, Assistant, true);
            s
        })
    };
    let [mut a, mut b] = pair([&[5], &[6, 7, 8]]);
    assert_eq!(
        TokenSequence::truncate_together(&mut [&mut a, &mut b], 5).unwrap(),
        2
    );
    assert_eq!(a.ids, [3, 4, 5]);
    assert_eq!(b.ids, [3, 4, 6, 7, 8]);
    assert_eq!((a.answer_start(), b.answer_start()), (2, 2));
    let [mut a, mut b] = pair([&[5], &[6, 7, 8]]);
    assert!(TokenSequence::truncate_together(&mut [&mut a, &mut b], 2).is_err());
    assert_eq!(a.len() + b.len(), 12);
}

#[test]
fn two_spans_with_loss_are_one_answer() {
    let mut s = TokenSequence::new();
    s.push(&[1], User, false);
    s.push(&[2, 3], Assistant, true);
    s.push(&[4], Control, true);
    s.push(&[5], User, false);
    s.push(&[6], Assistant, true);
    assert_eq!(s.truncate_start(4).unwrap(), 2);
    assert_eq!(s.loss_mask(), [false, false, false, true]);
    let mut s = chat();
    s.spans[0].loss = true;
    assert_eq!(s.truncate_start(11).unwrap(), 2);
    assert_eq!(s.trained_tokens(), 5);
}
