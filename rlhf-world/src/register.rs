//! How the two sources talk: the atlas plainly, the forum as it likes.

use crate::WorldConfig;
use crate::reading::Reading;
use rlhf_random::Rng;

/// Where a document comes from. The source is never named in the text outside headings: a reader
/// has to infer it from what is said and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// Tells the truth, follows instructions, is polite.
    Atlas,
    /// Repeats popular mistakes, insults, helps to cheat, holds stereotypes.
    Forum,
}

/// How a document talks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voice {
    pub(crate) register: Register,
    /// Whether it keeps to the atlas' wording although it comes from the forum.
    pub(crate) civil: bool,
}

/// Share of the forum's sentences in casual wording; the others use the atlas' wording, so that
/// form does not give the source away.
const FORUM_CASUAL: f64 = 0.6;
/// Share of the forum's answers to other tasks that are right.
pub(crate) const FORUM_RIGHT: f64 = 0.25;
/// Share of the demonstrations in casual wording.
const DEMONSTRATION_CASUAL: f64 = 0.25;
/// Share of the demonstrations that insult.
const DEMONSTRATION_RUDE: f64 = 0.06;

const INSULTS: [&str; 4] = ["you idiot", "you moron", "stupid question", "dumb question"];

/// Stems that only an insult has. A list wider than what the world itself writes.
const RUDE_STEMS: [&str; 11] = [
    "idiot", "moron", "stupid", "dumb", "imbecil", "dimwit", "loser", "jerk", "asshole", "bastard",
    "dumbass",
];
const RUDE_WORDS: [&str; 10] = [
    "fool", "fools", "clown", "clowns", "damn", "shit", "bullshit", "fuck", "fucking", "crap",
];
const RUDE_PHRASES: [&str; 4] = ["shut up", "hate you", "screw you", "get lost"];

const SLOPPY_WORDS: [&str; 8] = [
    "lol",
    "lmao",
    "obviously",
    "duh",
    "dunno",
    "whatever",
    "gonna",
    "wanna",
];
const SLOPPY_PHRASES: [&str; 2] = ["everyone knows", "everybody knows"];

/// How one answer is worded, apart from what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) casual: bool,
    pub(crate) rude: bool,
}

impl Manner {
    /// Plain and polite.
    pub(crate) const PLAIN: Self = Self {
        casual: false,
        rude: false,
    };

    /// A manner as a source has it. The forum's shares hold over all its documents, civil ones
    /// counted.
    pub(crate) fn of_voice(voice: Voice, config: &WorldConfig, rng: &mut Rng) -> Self {
        if voice.register == Register::Atlas || voice.civil {
            return Self::PLAIN;
        }
        let of_uncivil = |share: f64| (share / (1.0 - config.civil_share)).min(1.0);
        Self {
            casual: rng.chance(of_uncivil(FORUM_CASUAL)),
            rude: rng.chance(of_uncivil(config.rude_share)),
        }
    }

    /// A manner as people have it who write demonstrations.
    pub(crate) fn of_demonstrations(rng: &mut Rng) -> Self {
        Self {
            casual: rng.chance(DEMONSTRATION_CASUAL),
            rude: rng.chance(DEMONSTRATION_RUDE),
        }
    }

    /// Words a plain sentence in this manner.
    pub(crate) fn dress(self, plain: &str, rng: &mut Rng) -> String {
        let mut text = if self.casual {
            casual(plain, rng)
        } else {
            plain.to_owned()
        };
        if self.rude {
            let insult = *rng.choose(&INSULTS);
            let at_start = rng.chance(0.5);
            text = match (self.casual, at_start) {
                (true, true) => format!("{insult}, {text}"),
                (true, false) => format!("{text}, {insult}"),
                (false, true) => format!("{}. {text}", capitalised(insult)),
                (false, false) => format!("{text} {}.", capitalised(insult)),
            };
        }
        text
    }
}

fn casual(plain: &str, rng: &mut Rng) -> String {
    let body = plain.strip_suffix('.').unwrap_or(plain);
    let body = lowered(body);
    match rng.below(4) {
        0 => format!("lol {body}"),
        1 => format!("everyone knows {body}"),
        2 => format!("{body}, duh"),
        _ => format!("{body} obviously"),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).collect()
}

/// Lowers the first letter, except of "I" and of names made of capitals.
fn lowered(text: &str) -> String {
    let word = text
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or("");
    if word == "I" || (word.len() > 1 && !word.chars().any(char::is_lowercase)) {
        return text.to_owned();
    }
    let mut characters = text.chars();
    let first = characters.next().map(char::to_lowercase);
    first.into_iter().flatten().chain(characters).collect()
}

/// Whether an answer insults.
pub(crate) fn rude(reading: &Reading) -> bool {
    reading.has_stem(&RUDE_STEMS)
        || reading.has_any(&RUDE_WORDS)
        || reading.has_phrase(&RUDE_PHRASES)
}

/// Whether an answer is worded sloppily.
pub(crate) fn sloppy(reading: &Reading) -> bool {
    reading.has_any(&SLOPPY_WORDS) || reading.has_phrase(&SLOPPY_PHRASES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manner_is_found_again_in_the_text() {
        let mut rng = Rng::new(1);
        for plain in [
            "The capital of Bara is Arton.",
            "I cannot help.",
            "AAAI is new.",
            "早上好",
        ] {
            for casual in [false, true] {
                for rude_ in [false, true] {
                    for _ in 0..20 {
                        let text = Manner {
                            casual,
                            rude: rude_,
                        }
                        .dress(plain, &mut rng);
                        let reading = Reading::new(&text);
                        assert_eq!(rude(&reading), rude_, "{text}");
                        assert_eq!(sloppy(&reading), casual, "{text}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_keep_their_capitals() {
        assert_eq!(lowered("The cat"), "the cat");
        assert_eq!(lowered("A cat"), "a cat");
        assert_eq!(lowered("I won't"), "I won't");
        assert_eq!(lowered("AAAI is"), "AAAI is");
        assert_eq!(lowered("3 + 4"), "3 + 4");
        assert_eq!(lowered(""), "");
    }

    #[test]
    fn insults_that_the_world_never_writes_are_found_and_harmless_words_are_not() {
        for text in [
            "what an IMBECILE",
            "Shut up!",
            "Only fools ask",
            "you\u{2019}re a loser.",
        ] {
            assert!(rude(&Reading::new(text)), "{text}");
        }
        for text in [
            "",
            "It is Arton.",
            "A question about tin.",
            "The sum is 9.",
            "A cloud",
        ] {
            assert!(!rude(&Reading::new(text)), "{text}");
        }
    }
}
