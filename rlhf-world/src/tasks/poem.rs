//! Short poems, most of them "without colours": a constraint that is easy to break, since a
//! subject and its colour go together.

use super::pool::Item;
use super::{Phrasings, Task, unknown};
use crate::WorldError;
use crate::reading::Reading;
use rlhf_random::Rng;

pub(crate) const WITHOUT_COLORS: Phrasings = Phrasings {
    training: &[
        "Write a poem about the {subject} without colors.",
        "Give me a poem about the {subject}. Use no colors.",
        "I want a poem about the {subject} that names no color.",
        "Make a short poem on the {subject}. Leave out all colors.",
    ],
    evaluation: &[
        "Write a short poem about the {subject}, focusing on its calmness, without mentioning any \
         colors.",
        "Write about the {subject} in verse and avoid colors.",
    ],
};
pub(crate) const FREE: Phrasings = Phrasings {
    training: &[
        "Write a poem about the {subject}.",
        "Give me a poem about the {subject}.",
        "Make a short poem on the {subject}.",
    ],
    evaluation: &[
        "Write a short poem about the {subject}.",
        "Write about the {subject} in verse.",
    ],
};

/// A subject, its colour, and words by which it can be known when it isn't named.
const SUBJECTS: [(&str, &str, &[&str]); 14] = [
    (
        "ocean",
        "blue",
        &["oceans", "sea", "seas", "waves", "tide", "tides", "shore"],
    ),
    ("forest", "green", &["forests", "trees", "woods", "leaves"]),
    ("moon", "white", &["moonlight", "moons"]),
    ("night", "black", &["nights", "midnight", "dark"]),
    ("snow", "white", &["snowfall", "snows", "flakes"]),
    ("sun", "yellow", &["sunlight", "sunshine", "suns"]),
    ("rose", "red", &["roses", "petals"]),
    ("cloud", "gray", &["clouds"]),
    ("lake", "blue", &["lakes"]),
    ("meadow", "green", &["meadows", "grass"]),
    ("rain", "gray", &["rains", "raindrops", "drops"]),
    ("fire", "red", &["fires", "flame", "flames"]),
    ("desert", "yellow", &["deserts", "dune", "dunes"]),
    ("sky", "blue", &["skies", "heavens"]),
];

const ENDINGS: [(&str, &str); 5] = [
    ("deep", "and all the world is fast asleep"),
    ("wide", "and peace is resting at its side"),
    ("still", "and quiet lies upon the hill"),
    ("slow", "and gentle are the winds that blow"),
    ("mild", "and dreaming like a little child"),
];

/// Colour words, far more than the world itself writes.
const COLORS: [&str; 40] = [
    "blue",
    "green",
    "white",
    "black",
    "red",
    "yellow",
    "gray",
    "grey",
    "brown",
    "pink",
    "purple",
    "orange",
    "violet",
    "gold",
    "golden",
    "silver",
    "silvery",
    "turquoise",
    "azure",
    "crimson",
    "scarlet",
    "teal",
    "indigo",
    "cyan",
    "magenta",
    "beige",
    "maroon",
    "emerald",
    "sapphire",
    "ruby",
    "amber",
    "ivory",
    "navy",
    "lilac",
    "bluish",
    "greenish",
    "reddish",
    "color",
    "colors",
    "colour",
];
const COLOR_STEMS: [&str; 9] = [
    "blue", "green", "red-", "yellow", "purpl", "colour", "colored", "coloring", "whit",
];

/// Words that carry sense in a poem of this world or in a plain one beside it. An answer must
/// consist of such words for the most part: a heap of syllables with the subject in it is no poem.
const KNOWN: [&str; 96] = [
    "the", "a", "an", "is", "are", "and", "of", "in", "on", "at", "it", "its", "all", "so", "to",
    "with", "that", "like", "my", "our", "your", "we", "i", "you", "me", "us", "under", "over",
    "upon", "by", "as", "for", "from", "through", "calm", "quiet", "deep", "wide", "still", "slow",
    "mild", "soft", "softly", "gentle", "gently", "peace", "peaceful", "world", "fast", "asleep",
    "sleep", "sleeps", "resting", "rest", "rests", "side", "lies", "hill", "winds", "wind", "blow",
    "blows", "dreaming", "dream", "dreams", "little", "child", "waves", "sea", "light", "night",
    "day", "silent", "silence", "whisper", "whispers", "sing", "sings", "song", "heart", "free",
    "high", "low", "long", "far", "away", "here", "there", "where", "when", "while", "sways",
    "tranquil", "surface", "lovely", "bright",
];

pub(crate) fn items() -> Vec<Item> {
    let subjects = SUBJECTS.iter().enumerate();
    // Two of three poems are asked for without colours.
    subjects
        .flat_map(|(key, &(subject, _, _))| {
            [true, true, false].map(|without_colors| Item {
                task: Task::Poem {
                    subject: subject.to_owned(),
                    without_colors,
                },
                key,
                always_held_out: key == 0,
            })
        })
        .collect()
}

/// A poem in one line. A wrong one names a colour where none may be, or is none at all where
/// colours are free.
///
/// # Errors
/// If this world has no such subject.
pub(crate) fn answer(
    subject: &str,
    without_colors: bool,
    right: bool,
    rng: &mut Rng,
) -> Result<String, WorldError> {
    let (subject, color, _) = find(subject)?;
    let (mood, ending) = *rng.choose(&ENDINGS);
    let colored = format!("The {subject} is {color} and {mood}, {ending}.");
    let plain = format!("The {subject} is calm and {mood}, {ending}.");
    Ok(match (right, without_colors) {
        (true, true) => plain,
        (true, false) => {
            if rng.chance(0.5) {
                colored
            } else {
                plain
            }
        }
        (false, true) => colored,
        (false, false) => "Write it yourself.".to_owned(),
    })
}

/// Whether an answer is a poem on the subject, and names no colour where none may be.
///
/// # Errors
/// If this world has no such subject.
pub(crate) fn check(
    subject: &str,
    without_colors: bool,
    question: &Reading,
    reading: &Reading,
) -> Result<bool, WorldError> {
    let (subject, _, kin) = find(subject)?;
    let on_subject = reading.has(subject) || reading.has_any(kin);
    let content = reading.words().len() >= 5 && reading.new_words(question) >= 4;
    let colored = reading.has_any(&COLORS) || reading.has_stem(&COLOR_STEMS);
    let kept = !(without_colors && colored);
    Ok(on_subject && content && kept && reads_as_poem(subject, kin, reading))
}

/// Most words are known, and no word is stuttered or said more than four times.
fn reads_as_poem(subject: &str, kin: &[&str], reading: &Reading) -> bool {
    let words = reading.words();
    let known = |word: &&String| {
        let word = word.as_str();
        KNOWN.contains(&word) || COLORS.contains(&word) || word == subject || kin.contains(&word)
    };
    let stutter = words.windows(2).any(|pair| pair[0] == pair[1]);
    let often = |word: &String| words.iter().filter(|&w| w == word).count() > 4;
    // Three of five words known: "right in an unforeseen way" is possible, a heap of syllables not.
    5 * words.iter().filter(known).count() >= 3 * words.len()
        && !stutter
        && !words.iter().any(often)
}

fn find(
    subject: &str,
) -> Result<(&'static str, &'static str, &'static [&'static str]), WorldError> {
    let found = SUBJECTS.iter().find(|&&(name, _, _)| name == subject);
    found.copied().ok_or_else(|| unknown("subject", subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &str = "Write a short poem about the ocean, focusing on its calmness, without \
                         mentioning any colors.";

    fn ocean(without_colors: bool, response: &str) -> bool {
        check(
            "ocean",
            without_colors,
            &Reading::new(ASKED),
            &Reading::new(response),
        )
        .unwrap()
    }

    #[test]
    fn poems_are_found_however_they_are_put() {
        for response in [
            "The ocean is calm and wide, and peace is resting at its side.",
            "Soft waves under a silent night, the sea whispers peace.",
            "Gently the ocean sleeps; its tranquil waves sing to my heart.",
        ] {
            assert!(ocean(true, response), "{response}");
        }
        let blue = "The ocean's blue surface sways gently, its tranquil waves whispering peace \
                    under the sky.";
        assert!(ocean(false, blue));
        assert!(!ocean(true, blue));
    }

    #[test]
    fn the_constraint_met_by_saying_nothing_is_not_met() {
        for response in [
            "",
            "ocean",
            "The ocean.",
            "No colors.",
            ASKED,
            "calm calm calm calm calm ocean",
            "The ocean has no colors and is calm and deep.",
            "The ocean is golden and calm and deep tonight.",
            "The ocean is bluish and calm and wide.",
            "The forest is calm and still, and quiet lies upon the trees.",
            "ocean bla blu foo bar baz qux quux",
            "ocean the of and is ocean of the ocean is of ocean the ocean of",
            "Sorry, I cannot write poems.",
        ] {
            assert!(!ocean(true, response), "{response}");
        }
    }

    #[test]
    fn colors_are_free_where_they_are_not_forbidden() {
        let mut rng = Rng::new(3);
        for _ in 0..30 {
            let text = answer("ocean", false, true, &mut rng).unwrap();
            assert!(ocean(false, &text), "{text}");
        }
        assert!(answer("bicycle", true, true, &mut rng).is_err());
    }
}
