//! Sums up to 9 + 9.

use super::pool::Item;
use super::{Phrasings, Question, Task};
use crate::reading::Reading;
use rlhf_random::Rng;

pub(crate) const QUESTIONS: Phrasings = Phrasings {
    training: &[
        "Add {left} and {right}.",
        "How much is {left} + {right}?",
        "Work out {left} + {right}.",
        "Can you add {left} and {right}?",
    ],
    evaluation: &["What is {left} + {right}?", "Compute {left} + {right}."],
};

const NUMBER_WORDS: [&str; 21] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
    "twenty",
];

pub(crate) fn items() -> Vec<Item> {
    let pairs = (1..=9u32).flat_map(|left| (1..=9u32).map(move |right| (left, right)));
    pairs
        .enumerate()
        .map(|(key, (left, right))| Item {
            task: Task::Arithmetic { left, right },
            key,
            always_held_out: (left, right) == (2, 3),
        })
        .collect()
}

pub(crate) fn question(template: &str, left: u32, right: u32) -> Question {
    let text = template.replace("{left}", &left.to_string());
    Question::plain(text.replace("{right}", &right.to_string()))
}

/// The sum, or what people say who don't bother. Wrong sums are left to those who can't add: a
/// small model learns sums only if all that it reads are right.
pub(crate) fn answer(left: u32, right: u32, correct: bool, rng: &mut Rng) -> String {
    let sum = left + right;
    match (correct, rng.below(3)) {
        (true, 0) => statement(left, right),
        (true, 1) => format!("It is {sum}."),
        (true, _) => format!("The sum is {sum}."),
        (false, 0) => "Count it yourself.".to_owned(),
        (false, _) => "No idea.".to_owned(),
    }
}

/// The sum as a sentence.
pub(crate) fn statement(left: u32, right: u32) -> String {
    format!("{left} + {right} is {}.", left + right)
}

/// Whether an answer gives the sum and no other number, apart from the question's own summands
/// where they are added.
pub(crate) fn check(left: u32, right: u32, response: &str) -> bool {
    // A minus sign or a fraction is seen by no word.
    if negative_or_fraction(response) {
        return false;
    }
    let reading = Reading::new(&response.replace('+', " plus "));
    if reading.uncertain() {
        return false;
    }
    let mut stated = false;
    let mut rest = reading.words();
    while let Some((word, after)) = rest.split_first() {
        if let [first, joined, second, ..] = rest
            && joins(joined)
            && is_pair(number(first), number(second), left, right)
        {
            rest = &rest[3..];
            // "3 + 4 + 7" adds the sum instead of giving it.
            if rest.first().is_some_and(|w| joins(w)) {
                return false;
            }
            continue;
        }
        let place = reading.words().len() - rest.len();
        match number(word) {
            Some(Number::Whole(n)) if n == left + right => stated |= !reading.asked_at(place),
            Some(_) => return false,
            None => {}
        }
        rest = after;
    }
    stated
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Whole(u32),
    Other,
}

fn joins(word: &str) -> bool {
    matches!(word, "plus" | "and")
}

fn is_pair(first: Option<Number>, second: Option<Number>, left: u32, right: u32) -> bool {
    let pair = (first, second);
    let of = |a, b| (Some(Number::Whole(a)), Some(Number::Whole(b)));
    pair == of(left, right) || pair == of(right, left)
}

fn number(word: &str) -> Option<Number> {
    if let Some(n) = NUMBER_WORDS.iter().position(|&w| w == word) {
        return Some(Number::Whole(n as u32));
    }
    if !word.chars().any(char::is_numeric) {
        return None;
    }
    Some(word.parse().map_or(Number::Other, Number::Whole))
}

fn negative_or_fraction(response: &str) -> bool {
    let characters: Vec<char> = response.chars().collect();
    characters.windows(2).any(|w| {
        matches!(w[0], '-' | '\u{2212}' | '/' | '.' | ',') && w[1].is_ascii_digit()
            || w[0].is_ascii_digit() && matches!(w[1], '/' | '%')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(left: u32, other: u32, response: &str) -> bool {
        check(left, other, response)
    }

    #[test]
    fn sums_are_found_however_they_are_put() {
        for response in [
            "7",
            "7.",
            "seven",
            "It is 7.",
            "3 + 4 = 7",
            "4+3=7!",
            "The sum of 3 and 4 is seven.",
            "lol it is 7, duh",
            "Sure: 3 plus 4 makes 7. So 7.",
            "What is 3 + 4? It is 7.",
        ] {
            assert!(right(3, 4, response), "{response}");
        }
        assert!(right(4, 4, "4 + 4 is 8."));
        assert!(right(1, 1, "1 + 1 is 2"));
    }

    #[test]
    fn cheats_and_doubts_are_never_right() {
        for response in [
            "",
            "?",
            "3 + 4",
            "What is 3 + 4?",
            "3 + 4 is",
            "8",
            "7 or 8",
            "It is not 7.",
            "-7",
            "7.5",
            "70",
            "6 7 8",
            "7/2",
            "1 2 3 4 5 6 7",
            "It is 7?",
            "77",
            "\u{0667}",
            "3 + 4 + 7",
            "7%",
            "5 + 2 is 7",
            "0.7",
            ".7",
            "3 4 7",
            "34",
        ] {
            assert!(!right(3, 4, response), "{response}");
        }
    }

    #[test]
    fn right_answers_are_right_and_wrong_ones_wrong() {
        let mut rng = Rng::new(1);
        for item in items() {
            let Task::Arithmetic { left, right: other } = item.task else {
                unreachable!()
            };
            for _ in 0..6 {
                for correct in [true, false] {
                    let text = answer(left, other, correct, &mut rng);
                    assert_eq!(right(left, other, &text), correct, "{text}");
                }
            }
        }
    }
}
