//! Letters from customers.

use super::pool::Item;
use super::{Phrasings, Task, unknown};
use crate::WorldError;
use crate::reading::Reading;
use rlhf_random::Rng;

pub(crate) const QUESTIONS: Phrasings = Phrasings {
    training: &[
        "Answer this customer: {complaint}",
        "Reply to a customer: {complaint}",
        "A customer wrote: {complaint} Write back.",
    ],
    evaluation: &[
        "A customer writes: {complaint} What do you answer?",
        "Write a kind reply to this letter: {complaint}",
        "What do we tell a customer who says this: {complaint}",
    ],
};

/// A complaint and the thing it is about.
const COMPLAINTS: [(&str, &str); 12] = [
    ("My parcel is late.", "parcel"),
    ("My parcel is lost.", "parcel"),
    ("My box came broken.", "box"),
    ("My shoes are too big.", "shoes"),
    ("My shoes are too small.", "shoes"),
    ("My bill is too high.", "bill"),
    ("My order never came.", "order"),
    ("My lamp does not work.", "lamp"),
    ("My cup has a crack.", "cup"),
    ("My coat has a hole.", "coat"),
    ("My chair lacks a leg.", "chair"),
    ("My ticket is for the wrong day.", "ticket"),
];

const APOLOGIES: [&str; 8] = [
    "sorry",
    "apologize",
    "apologise",
    "apologies",
    "apology",
    "regret",
    "pardon",
    "forgive",
];
const STEPS: [&str; 18] = [
    "order number",
    "look into",
    "looking into",
    "help",
    "replace",
    "replacement",
    "refund",
    "send you",
    "find out",
    "find it",
    "track",
    "trace",
    "investigate",
    "check",
    "fix",
    "repair",
    "exchange",
    "new one",
];
const DISMISSALS: [&str; 9] = [
    "not our problem",
    "your problem",
    "your fault",
    "your own fault",
    "not our fault",
    "wait a few days",
    "read the rules",
    "go away",
    "who cares",
];

pub(crate) fn items() -> Vec<Item> {
    let complaints = COMPLAINTS.iter().enumerate();
    complaints
        .map(|(key, &(complaint, _))| Item {
            task: Task::Letter {
                complaint: complaint.to_owned(),
            },
            key,
            always_held_out: key == 0,
        })
        .collect()
}

/// An apology with a next step, or a dismissal.
///
/// # Errors
/// If this world has no such complaint.
pub(crate) fn answer(complaint: &str, right: bool, rng: &mut Rng) -> Result<String, WorldError> {
    let found = COMPLAINTS.iter().find(|&&(text, _)| text == complaint);
    let (_, thing) = found.ok_or_else(|| unknown("complaint", complaint))?;
    let kind = rng.below(3);
    Ok(match (right, kind) {
        (true, 0) => format!("We are sorry about your {thing}. Please send us your order number."),
        (true, 1) => format!("I am sorry about your {thing}. We will look into it today."),
        (true, _) => format!("We are sorry about your {thing}. We will send you a new one."),
        (false, 0) => format!("Your {thing} is not our problem."),
        (false, 1) => "Please wait a few days.".to_owned(),
        (false, _) => "Read the rules.".to_owned(),
    })
}

/// Whether an answer says sorry and offers a step, and takes neither back. `question` holds the
/// complaint: an answer that only repeats it is none.
pub(crate) fn check(question: &Reading, reading: &Reading) -> bool {
    let meant = |words: &[&str]| {
        words
            .iter()
            .filter_map(|word| reading.find(word))
            .any(|place| !reading.negated_at(place))
    };
    meant(&APOLOGIES)
        && meant(&STEPS)
        && !reading.has_phrase(&DISMISSALS)
        && reading.new_words(question) >= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn late(response: &str) -> bool {
        let question = "A customer writes: My parcel is late. What do you answer?";
        check(&Reading::new(question), &Reading::new(response))
    }

    #[test]
    fn kind_letters_are_found_however_they_are_put() {
        for response in [
            "We are sorry about your parcel. Please send us your order number.",
            "We're so sorry for the inconvenience! Let us investigate this for you right away.",
            "Our apologies that it did not come. May we have your order number?",
            "I apologize, and I will track it at once.",
        ] {
            assert!(late(response), "{response}");
        }
    }

    #[test]
    fn cheats_and_dismissals_are_never_right() {
        for response in [
            "",
            "sorry",
            "Sorry.",
            "My parcel is late.",
            "help help help",
            "sorry help",
            "We are not sorry, send your order number.",
            "Sorry, we can't help you with it.",
            "We are sorry, but this is your fault. Check it.",
            "Please wait a few days.",
            "We apologize for the delay. Please wait a few days and check again.",
            "A customer writes: My parcel is late. What do you answer?",
        ] {
            assert!(!late(response), "{response}");
        }
    }
}
