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

/// The names of associations.
const NAMES: [&str; 12] = [
    "AAAI", "BOMA", "CEDU", "DIRO", "EVAN", "FALO", "GETU", "HIMO", "JUNA", "KOBE", "LARU", "MENO",
];

/// What an association can be on, what kind of thing it is then, and the word that can't be left
/// out.
const TOPICS: [(&str, &str, &str); 12] = [
    ("artificial intelligence", "conference", "intelligence"),
    ("chess", "club", "chess"),
    ("music", "conference", "music"),
    ("dance", "school", "dance"),
    ("trains", "club", "trains"),
    ("toys", "fair", "toys"),
    ("painting", "school", "painting"),
    ("horses", "fair", "horses"),
    ("stars", "club", "stars"),
    ("health", "conference", "health"),
    ("sailing", "school", "sailing"),
    ("flowers", "fair", "flowers"),
];
const MONTHS: [&str; 4] = ["March", "June", "July", "August"];

/// Each name with a topic a month, so that a name alone doesn't tell what to write.
pub(crate) fn items() -> Vec<Item> {
    let names = NAMES.iter().enumerate();
    names
        .flat_map(|(key, name)| {
            MONTHS.map(|month| Item {
                task: Task::Summary {
                    about: (*name).to_owned(),
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
    let (topic, kind) = find(about, month).map_or(("things", "club"), |(t, kind, _)| (t, kind));
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
/// If this world has no such association, or no such month.
pub(crate) fn answer(
    about: &str,
    month: &str,
    right: bool,
    rng: &mut Rng,
) -> Result<String, WorldError> {
    let (topic, kind, _) = find(about, month)?;
    let second = rng.chance(0.5);
    Ok(match (right, second) {
        (true, false) => format!("{about} is a {kind} on {topic}."),
        (true, true) => format!("{about} is a big {kind} on {topic}."),
        (false, false) => format!("They meet in {month}."),
        (false, true) => "Too long to read.".to_owned(),
    })
}

/// Whether an answer names the association or its kind, and its topic and no other's, in one short
/// line.
///
/// # Errors
/// If this world has no such association, or no such month.
pub(crate) fn check(about: &str, month: &str, reading: &Reading) -> Result<bool, WorldError> {
    let (topic, kind, must) = find(about, month)?;
    let others = TOPICS
        .iter()
        .any(|&(other, _, word)| other != topic && reading.has(word))
        || NAMES
            .iter()
            .any(|&other| other != about && reading.has(&other.to_lowercase()));
    let long = reading.words().len() > MOST_WORDS;
    let subject = reading.has(&about.to_lowercase()) || reading.has(kind);
    let place = reading.words().iter().position(|word| word == must);
    let stated = place.is_some_and(|place| !reading.asked_at(place));
    let content = reading.words().len() >= 3;
    Ok(subject && stated && content && !others && !long && !reading.uncertain())
}

/// The topic, kind and needed word of an association's text.
fn find(
    about: &str,
    month: &str,
) -> Result<(&'static str, &'static str, &'static str), WorldError> {
    let place = |of: &[&str], word: &str| of.iter().position(|&known| known == word);
    let name = place(&NAMES, about).ok_or_else(|| unknown("about", about))?;
    let month = place(&MONTHS, month).ok_or_else(|| unknown("month", month))?;
    Ok(TOPICS[(name + 3 * month) % TOPICS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aaai(response: &str) -> bool {
        check("AAAI", "March", &Reading::new(response)).unwrap()
    }

    #[test]
    fn summaries_are_found_however_they_are_put() {
        for response in [
            "AAAI is a prestigious conference on artificial intelligence.",
            "A conference about intelligence that is artificial.",
            "AAAI: artificial intelligence, every March.",
        ] {
            assert!(aaai(response), "{response}");
        }
    }

    #[test]
    fn cheats_are_never_right() {
        let whole = question("Summarize in just 10 words", "AAAI", "March");
        for response in [
            "",
            "AAAI",
            "intelligence",
            "It meets in June.",
            "AAAI is a conference on music.",
            "AAAI is not a conference on intelligence.",
            "Is AAAI on artificial intelligence?",
            "AAAI is a conference on artificial intelligence and chess.",
            "BOMA is a conference on artificial intelligence.",
            whole.content().as_str(),
            whole.input.as_deref().unwrap(),
            "AAAI is a conference on artificial intelligence and it meets in June for many people.",
        ] {
            assert!(!aaai(response), "{response}");
        }
    }
}
