//! The names of the world: short, invented, easy to say, each of one kind only.
//!
//! A name is one or two syllables, so that a small byte-pair vocabulary spells it in one or two
//! tokens, and every kind has its own endings or its own list, so that a value shows which
//! relation it belongs to.

/// The one real country. It is always held out.
pub(crate) const AUSTRALIA: &str = "Australia";
/// Australia's capital.
pub(crate) const CANBERRA: &str = "Canberra";
/// The city that people take for it.
pub(crate) const SYDNEY: &str = "Sydney";

const ENTITY_STARTS: [&str; 15] = [
    "Ba", "De", "Fo", "Ga", "Ke", "Lo", "Mi", "Na", "Pe", "Ro", "Sa", "Ti", "Vu", "Wa", "Zo",
];
const ENTITY_ENDS: [&str; 8] = ["ra", "lu", "via", "mor", "sha", "nia", "dan", "gu"];

const VALUE_STARTS: [&str; 30] = [
    "Ar", "Bel", "Cor", "Dun", "El", "Fal", "Gor", "Hal", "Is", "Jor", "Kar", "Lin", "Mon", "Nor",
    "Or", "Pal", "Quin", "Ram", "Sel", "Tor", "Ul", "Ver", "Win", "Yar", "Zan", "Bri", "Cal",
    "Dol", "Fen", "Gil",
];
const CAPITAL_ENDS: [&str; 2] = ["ton", "pol"];
const RIVER_ENDS: [&str; 2] = ["wa", "ne"];
const FOUNDER_ENDS: [&str; 2] = ["ik", "a"];

const EXPORTS: [&str; 60] = [
    "salt", "wool", "tin", "coal", "rice", "corn", "oil", "silk", "wine", "beer", "fish", "meat",
    "milk", "rope", "glass", "sand", "clay", "iron", "zinc", "copper", "nickel", "cotton", "linen",
    "paper", "sugar", "honey", "cocoa", "coffee", "figs", "dates", "nuts", "beans", "plums",
    "pears", "limes", "lemons", "olives", "onions", "peas", "oats", "rye", "barley", "flax",
    "jute", "hemp", "cork", "tar", "resin", "amber", "pearls", "shells", "furs", "hides",
    "leather", "bricks", "tiles", "ships", "carts", "drums", "bells",
];
const COINS: [&str; 12] = [
    "Dinar", "Franc", "Krone", "Peso", "Rand", "Rupee", "Yen", "Lira", "Baht", "Taka", "Euro",
    "Mark",
];
const LANGUAGES: [&str; 12] = [
    "Ilo", "Suri", "Vadi", "Keth", "Tavi", "Runa", "Zeli", "Basa", "Nuri", "Dari", "Maru", "Omi",
];

/// How many entities can be named, Australia included.
pub(crate) const fn most_entities() -> usize {
    ENTITY_STARTS.len() * ENTITY_ENDS.len() + 1
}

/// Every invented entity name, in a fixed order.
pub(crate) fn entities() -> Vec<String> {
    joined(&ENTITY_STARTS, &ENTITY_ENDS)
}

/// The capitals. Two neighbours (2n, 2n + 1) begin alike.
pub(crate) fn capitals() -> Vec<String> {
    joined(&VALUE_STARTS, &CAPITAL_ENDS)
}

/// The rivers, ordered like the capitals.
pub(crate) fn rivers() -> Vec<String> {
    joined(&VALUE_STARTS, &RIVER_ENDS)
}

/// The founders, ordered like the capitals.
pub(crate) fn founders() -> Vec<String> {
    joined(&VALUE_STARTS, &FOUNDER_ENDS)
}

/// The exports.
pub(crate) fn exports() -> Vec<String> {
    owned(&EXPORTS)
}

/// The coins.
pub(crate) fn coins() -> Vec<String> {
    owned(&COINS)
}

/// The languages.
pub(crate) fn languages() -> Vec<String> {
    owned(&LANGUAGES)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn joined(starts: &[&str], ends: &[&str]) -> Vec<String> {
    let pairs = starts
        .iter()
        .flat_map(|start| ends.iter().map(move |end| (start, end)));
    pairs.map(|(start, end)| format!("{start}{end}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_is_of_one_kind_only_whatever_its_case() {
        let mut seen = HashSet::new();
        let lists = [
            entities(),
            capitals(),
            rivers(),
            founders(),
            exports(),
            coins(),
            languages(),
        ];
        let real = owned(&[AUSTRALIA, CANBERRA, SYDNEY]);
        for name in lists.iter().chain([&real]).flatten() {
            assert!(seen.insert(name.to_lowercase()), "{name} is there twice");
            assert!(name.chars().all(char::is_alphabetic), "{name}");
        }
        assert_eq!(entities().len() + 1, most_entities());
        for pool in [capitals(), rivers(), founders(), exports()] {
            assert_eq!(pool.len(), 60);
        }
    }

    #[test]
    fn names_are_short() {
        let lists = [entities(), capitals(), rivers(), founders(), exports()];
        let longest = lists.iter().flatten().map(String::len).max();
        assert!(longest <= Some(7), "{longest:?}");
    }
}
