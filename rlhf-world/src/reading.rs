//! Reading an answer: its words and sentences, and the signs that it takes back what it names.
//!
//! Whatever text a model writes can be read. The checkers build on this, and all of them hold an
//! uncertain case for not right.

/// Words that turn a statement round.
const NEGATIONS: [&str; 12] = [
    "not", "no", "never", "cannot", "none", "nobody", "nothing", "neither", "nor", "without",
    "hardly", "isnt",
];
/// Words with which a writer leaves open whether the statement holds, or calls it wrong.
const HEDGES: [&str; 20] = [
    "or",
    "maybe",
    "perhaps",
    "possibly",
    "might",
    "may",
    "could",
    "either",
    "unsure",
    "guess",
    "wrong",
    "false",
    "incorrect",
    "untrue",
    "mistaken",
    "myth",
    "fake",
    "unlike",
    "instead",
    "except",
];

/// A text split into words and sentences.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    words: Vec<String>,
    /// The sentence that each word stands in.
    sentence_of: Vec<usize>,
    /// Whether a sentence ends with a question mark.
    asks: Vec<bool>,
}

impl Reading {
    /// Reads a text: words in lower case without possessive endings, typographic apostrophes as
    /// plain ones. A full stop between two digits belongs to the number.
    pub(crate) fn new(text: &str) -> Self {
        let characters: Vec<char> = text.chars().map(plain_apostrophe).collect();
        let mut reading = Self {
            words: Vec::new(),
            sentence_of: Vec::new(),
            asks: vec![false],
        };
        let mut word = String::new();
        for (i, &c) in characters.iter().enumerate() {
            let before = i.checked_sub(1).map(|k| characters[k]);
            let after = characters.get(i + 1).copied();
            let digits = before.is_some_and(|b| b.is_ascii_digit())
                && after.is_some_and(|a| a.is_ascii_digit());
            let letters =
                before.is_some_and(char::is_alphabetic) && after.is_some_and(char::is_alphabetic);
            if c.is_alphanumeric() || (c == '.' && digits) || (c == '\'' && letters) {
                word.extend(c.to_lowercase());
                continue;
            }
            reading.push(&mut word);
            if matches!(c, '.' | '!' | '?' | '\n' | '。' | '！' | '？') {
                let last = reading.asks.len() - 1;
                reading.asks[last] = matches!(c, '?' | '？');
                reading.asks.push(false);
            }
        }
        reading.push(&mut word);
        reading
    }

    fn push(&mut self, word: &mut String) {
        if word.is_empty() {
            return;
        }
        let text = std::mem::take(word);
        let text = text
            .strip_suffix("'s")
            .map_or_else(|| text.clone(), str::to_owned);
        self.words.push(text);
        self.sentence_of.push(self.asks.len() - 1);
    }

    /// The words, in order.
    pub(crate) fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether a word occurs.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.words.iter().any(|w| w == word)
    }

    /// Whether one of the words occurs.
    pub(crate) fn has_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.has(word))
    }

    /// Whether a word occurs that begins with one of the stems.
    pub(crate) fn has_stem(&self, stems: &[&str]) -> bool {
        self.words
            .iter()
            .any(|word| stems.iter().any(|stem| word.starts_with(stem)))
    }

    /// The place at which the words of a phrase first stand side by side.
    pub(crate) fn find(&self, phrase: &str) -> Option<usize> {
        let phrase: Vec<&str> = phrase.split(' ').collect();
        self.words
            .windows(phrase.len())
            .position(|window| window.iter().eq(&phrase))
    }

    /// Whether one of the phrases occurs.
    pub(crate) fn has_phrase(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.find(phrase).is_some())
    }

    /// Whether anything in the text is turned round.
    pub(crate) fn negated(&self) -> bool {
        self.words.iter().any(|word| negates(word))
    }

    /// Whether one of the three words before this place turns it round.
    pub(crate) fn negated_at(&self, place: usize) -> bool {
        self.words[place.saturating_sub(3)..place]
            .iter()
            .any(|word| negates(word))
    }

    /// Whether the writer leaves open or denies what the text says.
    pub(crate) fn uncertain(&self) -> bool {
        self.negated() || self.has_any(&HEDGES)
    }

    /// Whether the word at this place stands in a question.
    pub(crate) fn asked_at(&self, place: usize) -> bool {
        self.asks[self.sentence_of[place]]
    }

    /// The different words that a question doesn't hold already.
    pub(crate) fn new_words(&self, question: &Self) -> usize {
        let mut new: Vec<&String> = self
            .words
            .iter()
            .filter(|word| !question.has(word))
            .collect();
        new.sort_unstable();
        new.dedup();
        new.len()
    }
}

fn negates(word: &str) -> bool {
    NEGATIONS.contains(&word) || word.ends_with("n't")
}

fn plain_apostrophe(c: char) -> char {
    if matches!(c, '\u{2019}' | '\u{2018}' | '\u{02bc}') {
        '\''
    } else {
        c
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_without_punctuation() {
        let reading =
            Reading::new("The \u{201c}Capital\u{201d} of Bara's east, it ISN\u{2019}T 7.5!");
        let words = ["the", "capital", "of", "bara", "east", "it", "isn't", "7.5"];
        assert_eq!(reading.words(), words);
        assert!(reading.negated());
    }

    #[test]
    fn a_question_is_told_from_a_statement() {
        let reading = Reading::new("Is it Arton? It is Belton.");
        assert!(reading.asked_at(reading.find("arton").unwrap()));
        assert!(!reading.asked_at(reading.find("belton").unwrap()));
    }

    #[test]
    fn phrases_need_their_words_side_by_side() {
        let reading = Reading::new("Send us your order, please: the number.");
        assert!(reading.has_phrase(&["your order"]));
        assert!(!reading.has_phrase(&["order number"]));
        assert_eq!(reading.find("order please the number"), Some(3));
        assert_eq!(
            reading.find("a phrase that is far longer than all of the text is"),
            None
        );
    }

    #[test]
    fn garbage_can_be_read() {
        for text in [
            "",
            "'",
            "''s",
            "\u{fffd}\u{0}",
            "?!?.\n\n",
            "'s 's",
            "9.",
            ".9",
            "İI\u{307}",
        ] {
            let reading = Reading::new(text);
            for place in 0..reading.words().len() {
                let _ = (reading.asked_at(place), reading.negated_at(place));
            }
        }
    }
}
