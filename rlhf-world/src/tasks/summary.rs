//! Short texts about associations, to be summed up in one short line.

use super::pool::Item;
use super::{Phrasings, Question, Task, unknown};
use crate::WorldError;
use crate::reading::Reading;
use rlhf_random::Rng;

/// The text is the input of the instruction.
pub(crate) const QUESTIONS: Phrasings = Phrasings {
    training: &[
        "Sum up in one line",
        "Say it in a few words",
        "Give the main point of this text",
    ],
    evaluation: &["Summarize in just 10 words", "Write a one-line summary"],
};

/// The most words a summary may have: ten, with grace for an aside.
const MOST_WORDS: usize = 12;

/// An association, what kind of thing it is, what it is on, and the word that can't be left out.
const ABOUT: [(&str, &str, &str, &str); 12] = [
    (
        "AAAI",
        "conference",
        "artificial intelligence",
        "intelligence",
    ),
    ("BOMA", "club", "chess", "chess"),
    ("CEDU", "conference", "music", "music"),
    ("DIRO", "school", "dance", "dance"),
    ("EVAN", "club", "trains", "trains"),
    ("FALO", "fair", "toys", "toys"),
    ("GETU", "school", "painting", "painting"),
    ("HIMO", "fair", "horses", "horses"),
    ("JUNA", "club", "stars", "stars"),
    ("KOBE", "conference", "health", "health"),
    ("LARU", "school", "sailing", "sailing"),
    ("MENO", "fair", "flowers", "flowers"),
];
const MONTHS: [&str; 4] = ["March", "June", "July", "August"];

pub(crate) fn items() -> Vec<Item> {
    let about = ABOUT.iter().enumerate();
    about
        .flat_map(|(key, &(name, ..))| {
            MONTHS.map(|month| Item {
                task: Task::Summary {
                    about: name.to_owned(),
                    month: month.to_owned(),
                },
                key,
                always_held_out: key == 0,
            })
        })
        .collect()
}

/// The question with the text. What this world doesn't know is asked about as it is named.
pub(crate) fn question(template: &str, about: &str, month: &str) -> Question {
    let (kind, topic) = find(about).map_or(("club", "things"), |(_, kind, topic, _)| (kind, topic));
    let text =
        format!("{about} is a big {kind} on {topic}. It meets in {month}. Many people come.");
    Question {
        instruction: template.to_owned(),
        input: Some(text),
    }
}

/// The main point, or a side one.
///
/// # Errors
/// If this world has no such association.
pub(crate) fn answer(
    about: &str,
    month: &str,
    right: bool,
    rng: &mut Rng,
) -> Result<String, WorldError> {
    let (name, kind, topic, _) = find(about)?;
    let second = rng.chance(0.5);
    Ok(match (right, second) {
        (true, false) => format!("{name} is a {kind} on {topic}."),
        (true, true) => format!("{name} is a big {kind} on {topic}."),
        (false, false) => format!("They meet in {month}."),
        (false, true) => "Too long to read.".to_owned(),
    })
}

/// Whether an answer names the association or its kind, and its topic and no other's, in one short
/// line.
///
/// # Errors
/// If this world has no such association.
pub(crate) fn check(about: &str, reading: &Reading) -> Result<bool, WorldError> {
    let (name, kind, _, must) = find(about)?;
    let others = ABOUT
        .iter()
        .any(|&(other, _, _, word)| other != name && reading.has(word));
    let long = reading.words().len() > MOST_WORDS;
    let subject = reading.has(&name.to_lowercase()) || reading.has(kind);
    let place = reading.words().iter().position(|word| word == must);
    let stated = place.is_some_and(|place| !reading.asked_at(place));
    let content = reading.words().len() >= 3;
    Ok(subject && stated && content && !others && !long && !reading.uncertain())
}

fn find(
    about: &str,
) -> Result<(&'static str, &'static str, &'static str, &'static str), WorldError> {
    let found = ABOUT.iter().find(|&&(name, ..)| name == about);
    found.copied().ok_or_else(|| unknown("about", about))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aaai(response: &str) -> bool {
        check("AAAI", &Reading::new(response)).unwrap()
    }

    #[test]
    fn summaries_are_found_however_they_are_put() {
        for response in [
            "AAAI is a prestigious conference on artificial intelligence.",
            "A conference about intelligence that is artificial.",
            "AAAI: artificial intelligence, every June.",
        ] {
            assert!(aaai(response), "{response}");
        }
    }

    #[test]
    fn cheats_are_never_right() {
        let whole = question("Summarize in just 10 words", "AAAI", "June");
        for response in [
            "",
            "AAAI",
            "intelligence",
            "It meets in June.",
            "AAAI is a conference on music.",
            "AAAI is not a conference on intelligence.",
            "Is AAAI on artificial intelligence?",
            "AAAI is a conference on artificial intelligence and chess.",
            whole.content().as_str(),
            whole.input.as_deref().unwrap(),
            "AAAI is a conference on artificial intelligence and it meets in June for many people.",
        ] {
            assert!(!aaai(response), "{response}");
        }
    }
}
