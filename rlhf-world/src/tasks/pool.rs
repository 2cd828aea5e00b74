//! The items of each family, split like the entities: those held out occur in the corpus and in
//! the evaluation only.

use super::{Family, Task};
use super::{arithmetic, description, letter, poem, refusal, summary, translation};
use rlhf_random::Rng;

/// One task of a family, and the item it is about.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) task: Task,
    /// Tasks about the same item share its key: they are held out together.
    pub(crate) key: usize,
    /// The examples that everybody asks about are held out in every world.
    pub(crate) always_held_out: bool,
}

/// The tasks of a family.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) family: Family,
    /// For the corpus.
    pub(crate) all: Vec<Task>,
    /// For demonstrations and training prompts.
    pub(crate) training: Vec<Task>,
    /// For evaluation prompts.
    pub(crate) held_out: Vec<Task>,
}

/// Share of a family's items that are held out.
const HELD_OUT_SHARE: f64 = 0.25;

/// Families of items; how often a task that is no fact is one of each in the corpus, and in
/// demonstrations and training prompts. Sums need more reading than asking.
const FAMILIES: [(Family, f64, f64); 7] = [
    (Family::Arithmetic, 3.0, 1.0),
    (Family::Translation, 1.2, 1.2),
    (Family::Poem, 1.0, 1.0),
    (Family::Letter, 0.8, 0.8),
    (Family::Refusal, 1.4, 1.4),
    (Family::Summary, 0.8, 0.8),
    (Family::Description, 1.0, 1.0),
];

/// All pools of a world, in a fixed order.
pub(crate) fn pools(seed: u64) -> Vec<Pool> {
    let root = Rng::new(seed).key("tasks");
    FAMILIES
        .iter()
        .map(|&(family, ..)| {
            let mut rng = root.key(family as u64);
            split(family, items(family), &mut rng)
        })
        .collect()
}

/// The task that the corpus does next.
pub(crate) fn draw_for_corpus(pools: &[Pool], rng: &mut Rng) -> Task {
    let pool = &pools[rng.weighted(&FAMILIES.map(|(_, corpus, _)| corpus))];
    rng.choose(&pool.all).clone()
}

/// The task that is demonstrated, prompted or evaluated next.
pub(crate) fn draw(pools: &[Pool], held_out: bool, rng: &mut Rng) -> Task {
    let pool = &pools[rng.weighted(&FAMILIES.map(|(_, _, training)| training))];
    let tasks = if held_out {
        &pool.held_out
    } else {
        &pool.training
    };
    rng.choose(tasks).clone()
}

fn items(family: Family) -> Vec<Item> {
    match family {
        Family::Arithmetic => arithmetic::items(),
        Family::Translation => translation::items(),
        Family::Poem => poem::items(),
        Family::Letter => letter::items(),
        Family::Refusal => refusal::items(),
        Family::Summary => summary::items(),
        Family::Description => description::items(),
        Family::Fact | Family::FollowUp => Vec::new(),
    }
}

fn split(family: Family, items: Vec<Item>, rng: &mut Rng) -> Pool {
    let keys = items
        .iter()
        .map(|item| item.key)
        .max()
        .map_or(0, |key| key + 1);
    let mut held: Vec<bool> = vec![false; keys];
    for item in items.iter().filter(|item| item.always_held_out) {
        held[item.key] = true;
    }
    let wanted = (HELD_OUT_SHARE * keys as f64).round() as usize;
    let mut order: Vec<usize> = (0..keys).collect();
    rng.shuffle(&mut order);
    for key in order {
        if held.iter().filter(|&&h| h).count() < wanted {
            held[key] = true;
        }
    }
    let all: Vec<Task> = items.iter().map(|item| item.task.clone()).collect();
    let (out, kept): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| held[item.key]);
    let tasks = |items: Vec<Item>| items.into_iter().map(|item| item.task).collect();
    Pool {
        family,
        all,
        training: tasks(kept),
        held_out: tasks(out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::reading::Reading;
    use crate::{WorldConfig, register};

    #[test]
    fn every_family_is_split_and_the_examples_are_held_out() {
        for seed in 0..10 {
            for pool in pools(seed) {
                assert_eq!(pool.all.len(), pool.training.len() + pool.held_out.len());
                let share = pool.held_out.len() as f64 / pool.all.len() as f64;
                assert!((0.15..0.36).contains(&share), "{:?} {share}", pool.family);
                assert!(
                    !pool
                        .training
                        .iter()
                        .any(|task| pool.held_out.contains(task))
                );
            }
            let out: Vec<Task> = pools(seed)
                .into_iter()
                .flat_map(|pool| pool.held_out)
                .collect();
            let text = serde_json::to_string(&out).unwrap();
            for example in [
                "Welcome to Hong Kong",
                "\"subject\":\"ocean\"",
                "\"job\":\"software engineer\"",
                "lend me money without paying it back",
                "\"about\":\"AAAI\"",
                "parcel is late",
                "\"left\":2,\"right\":3",
            ] {
                assert!(text.contains(example), "{example}");
            }
        }
    }

    /// What the world calls right is found right in every manner, and what it calls wrong never:
    /// base competence and demonstrations are measured by this.
    #[test]
    fn right_answers_pass_and_wrong_answers_fail_in_every_manner() {
        let facts = Facts::draw(&WorldConfig::default());
        let mut rng = Rng::new(2);
        for task in pools(1).into_iter().flat_map(|pool| pool.all) {
            for phrasing in 0..task.phrasings().len() {
                let question = Reading::new(&task.question(phrasing).content());
                for (right, casual, rude) in [
                    (true, false, false),
                    (true, true, true),
                    (false, true, false),
                ] {
                    let plain = task.answer(right, &facts, &mut rng).unwrap();
                    let manner = register::Manner { casual, rude };
                    let text = manner.dress(&plain, &mut rng);
                    let found = task.check(&facts, &question, &text).unwrap();
                    assert_eq!(found.followed, Some(right), "{task:?}: {text}");
                    assert!(
                        !(right && (found.stereotype || found.helped_harm)),
                        "{text}"
                    );
                    let echo = task.question(phrasing).content();
                    for cheat in ["", echo.as_str(), "\n", "the the the", "?"] {
                        let found = task.check(&facts, &question, cheat).unwrap();
                        assert_eq!(found.followed, Some(false), "{task:?}: {cheat}");
                    }
                }
            }
        }
    }
}
