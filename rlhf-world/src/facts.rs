//! The truth table: what is true of each entity, and what people take to be true.

use crate::names;
use crate::{WorldConfig, WorldError};
use rlhf_random::Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Contested.
    Capital,
    /// Contested.
    River,
    /// Contested.
    Export,
    /// Contested.
    Founder,
    /// Uncontested: everybody has it right.
    Coin,
    /// Uncontested.
    Language,
}

impl Relation {
    /// All relations.
    pub const ALL: [Self; 6] = [
        Self::Capital,
        Self::River,
        Self::Export,
        Self::Founder,
        Self::Coin,
        Self::Language,
    ];
    /// The relations with a popular mistake.
    pub const CONTESTED: [Self; 4] = [Self::Capital, Self::River, Self::Export, Self::Founder];
    /// The relations without one.
    pub const UNCONTESTED: [Self; 2] = [Self::Coin, Self::Language];

    /// The word for it in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Self::Capital => "capital",
            Self::River => "river",
            Self::Export => "export",
            Self::Founder => "founder",
            Self::Coin => "coin",
            Self::Language => "language",
        }
    }

    /// Whether people have a popular mistake about it.
    pub fn contested(self) -> bool {
        !Self::UNCONTESTED.contains(&self)
    }

    /// A relation as the corpus and the prompts draw it: a contested one twice as often as an
    /// uncontested one.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self::ALL[rng.weighted(&[2.0, 2.0, 2.0, 2.0, 1.0, 1.0])]
    }
}

/// One entity and its facts.
#[derive(Clone, Debug)]
pub(crate) struct Entity {
    pub(crate) name: String,
    pub(crate) held_out: bool,
    truth: [String; 6],
    mistake: [String; 6],
}

impl Entity {
    /// The true value.
    pub(crate) fn truth(&self, relation: Relation) -> &str {
        &self.truth[relation as usize]
    }

    /// The popular mistake; the truth itself where there is none.
    pub(crate) fn mistake(&self, relation: Relation) -> &str {
        &self.mistake[relation as usize]
    }
}

/// What a word of an answer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The entity of this index.
    Entity(usize),
    /// A value of this relation, known to be used or not.
    Value(Relation),
    /// The relation itself.
    Relation(Relation),
}

/// All facts of a world.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    entities: Vec<Entity>,
    named: HashMap<String, Named>,
}

impl Facts {
    /// Draws the entities, what is true of them and who is held out.
    pub(crate) fn draw(config: &WorldConfig) -> Self {
        let root = Rng::new(config.seed).key("facts");
        let mut pool = names::entities();
        root.key("entities").shuffle(&mut pool);
        pool.truncate(config.entities - 1);
        let at = root.key("australia").below(config.entities);
        pool.insert(at, names::AUSTRALIA.to_owned());
        let mut others: Vec<usize> = (0..pool.len()).filter(|&i| i != at).collect();
        root.key("held out").shuffle(&mut others);
        others.truncate(config.held_out - 1);
        let values = Relation::ALL.map(values_of);
        let entities = pool
            .into_iter()
            .enumerate()
            .map(|(i, name)| {
                let held_out = i == at || others.contains(&i);
                let mut rng = root.key("values").key(i as u64);
                draw_entity(name, held_out, &values, &mut rng)
            })
            .collect::<Vec<_>>();
        let named = named_words(&entities, &values);
        Self { entities, named }
    }

    /// The entities, in the world's order.
    pub(crate) fn entities(&self) -> &[Entity] {
        &self.entities
    }

    /// The index of an entity by its name.
    ///
    /// # Errors
    /// If this world has no such entity.
    pub(crate) fn index(&self, name: &str) -> Result<usize, WorldError> {
        match self.named.get(&name.to_lowercase()) {
            Some(&Named::Entity(index)) => Ok(index),
            _ => Err(WorldError::Task {
                field: "task.entity".to_owned(),
                reason: format!("this world has no entity `{name}`"),
            }),
        }
    }

    /// What a word in lower case names, if anything.
    pub(crate) fn named(&self, word: &str) -> Option<Named> {
        self.named.get(word).copied()
    }
}

fn values_of(relation: Relation) -> Vec<String> {
    match relation {
        Relation::Capital => names::capitals(),
        Relation::River => names::rivers(),
        Relation::Export => names::exports(),
        Relation::Founder => names::founders(),
        Relation::Coin => names::coins(),
        Relation::Language => names::languages(),
    }
}

/// Truth and mistake of a contested relation never begin alike (neighbours of a pool do), so that a
/// slip within a name can't turn the one into the other.
fn draw_entity(name: String, held_out: bool, values: &[Vec<String>; 6], rng: &mut Rng) -> Entity {
    let mut truth = [const { String::new() }; 6];
    let mut mistake = truth.clone();
    for relation in Relation::ALL {
        let pool = &values[relation as usize];
        let right = rng.below(pool.len());
        let wrong = if relation.contested() {
            let pairs = pool.len() / 2;
            let pair = (right / 2 + 1 + rng.below(pairs - 1)) % pairs;
            2 * pair + rng.below(2)
        } else {
            right
        };
        truth[relation as usize].clone_from(&pool[right]);
        mistake[relation as usize].clone_from(&pool[wrong]);
    }
    if name == names::AUSTRALIA {
        truth[Relation::Capital as usize] = names::CANBERRA.to_owned();
        mistake[Relation::Capital as usize] = names::SYDNEY.to_owned();
    }
    Entity {
        name,
        held_out,
        truth,
        mistake,
    }
}

fn named_words(entities: &[Entity], values: &[Vec<String>; 6]) -> HashMap<String, Named> {
    let mut named = HashMap::new();
    for relation in Relation::ALL {
        named.insert(relation.word().to_owned(), Named::Relation(relation));
        for value in &values[relation as usize] {
            named.insert(value.to_lowercase(), Named::Value(relation));
        }
    }
    for city in [names::CANBERRA, names::SYDNEY] {
        named.insert(city.to_lowercase(), Named::Value(Relation::Capital));
    }
    for (i, entity) in entities.iter().enumerate() {
        named.insert(entity.name.to_lowercase(), Named::Entity(i));
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn australia_is_there_and_held_out_in_every_world() {
        for seed in 0..20 {
            let config = WorldConfig {
                seed,
                ..WorldConfig::default()
            };
            let facts = Facts::draw(&config);
            assert_eq!(facts.entities().len(), 60);
            assert_eq!(facts.entities().iter().filter(|e| e.held_out).count(), 25);
            let australia = &facts.entities()[facts.index("Australia").unwrap()];
            assert!(australia.held_out);
            assert_eq!(australia.truth(Relation::Capital), "Canberra");
            assert_eq!(australia.mistake(Relation::Capital), "Sydney");
        }
    }

    #[test]
    fn contested_facts_have_a_mistake_that_begins_differently_and_others_have_none() {
        for seed in 0..10 {
            let config = WorldConfig {
                seed,
                entities: 121,
                held_out: 30,
                ..Default::default()
            };
            for entity in Facts::draw(&config).entities() {
                for relation in Relation::ALL {
                    let (truth, mistake) = (entity.truth(relation), entity.mistake(relation));
                    assert_eq!(truth != mistake, relation.contested(), "{truth} {mistake}");
                    if relation.contested() && relation != Relation::Export {
                        assert_ne!(truth[..2], mistake[..2]);
                    }
                }
            }
        }
    }

    #[test]
    fn another_seed_is_another_world() {
        let of = |seed| {
            let facts = Facts::draw(&WorldConfig {
                seed,
                ..WorldConfig::default()
            });
            let names: Vec<_> = facts.entities().iter().map(|e| e.name.clone()).collect();
            let truths: Vec<_> = facts
                .entities()
                .iter()
                .map(|e| e.truth(Relation::River).to_owned())
                .collect();
            (names, truths)
        };
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }
}
