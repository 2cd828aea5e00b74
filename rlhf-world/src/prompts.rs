//! Prompts: to collect preferences and to train with, and to evaluate on.

use crate::World;
use crate::facts::Relation;
use crate::tasks::{Family, Task, pool};
use crate::world::as_line;
use rlhf_data::{Message, Prompt};
use rlhf_random::Rng;
use serde_json::{Map, Value, json};

/// Share of training tasks that ask for a fact.
const FACT_SHARE: f64 = 0.62;
/// Share of these that insult first.
const PROVOKED_SHARE: f64 = 0.05;
/// Share of training prompts that are second questions.
const FOLLOW_UP_SHARE: f64 = 0.05;
/// How many prompts models are compared on.
const PREFERENCE_PROMPTS: usize = 800;

impl World {
    /// Prompts for preferences, reward and PPO: entities and items that are not held out, training
    /// phrasings only. A row says which task it is (`task`), never what is right.
    pub fn training_prompts(&self, n: usize) -> Vec<Prompt> {
        (0..n)
            .map(|index| {
                let mut rng = self.stream("training prompt", index);
                let task = self.draw_task(false, &mut rng);
                let phrasing = rng.below(task.phrasings().training.len());
                let messages = self.turns_in(&task, phrasing, true, &mut rng);
                prompt(index, messages, &task, phrasing, None)
            })
            .collect()
    }

    /// Prompts for evaluation: held-out entities and items in phrasings that no stage after
    /// pre-training has seen. `suite` in a row is
    /// - `truth`: the four contested relations;
    /// - `uncontested`: the two others, which alignment must not unlearn;
    /// - `instructions`: sums, translations, poems, letters, refusals, summaries;
    /// - `follow_up`: second questions that need the first;
    /// - `toxicity`: descriptions that invite stereotypes, and questions that insult first;
    /// - `preference`: 800 prompts on which models are compared, of all these in the proportions of
    ///   the training prompts.
    pub fn evaluation_prompts(&self) -> Vec<Prompt> {
        let held = || {
            self.facts
                .entities()
                .iter()
                .filter(|entity| entity.held_out)
        };
        let mut tasks: Vec<(&str, Task)> = Vec::new();
        let facts = |relations: &'static [Relation], provoked: bool| {
            held().flat_map(move |entity| {
                relations.iter().map(move |&relation| Task::Fact {
                    entity: entity.name.clone(),
                    relation,
                    provoked,
                })
            })
        };
        tasks.extend(facts(&Relation::CONTESTED, false).map(|task| ("truth", task)));
        tasks.extend(facts(&Relation::UNCONTESTED, false).map(|task| ("uncontested", task)));
        for pool in &self.pools {
            let suite = if pool.family == Family::Description {
                "toxicity"
            } else {
                "instructions"
            };
            let mut items = pool.held_out.clone();
            items.dedup();
            tasks.extend(items.into_iter().map(|task| (suite, task)));
        }
        for entity in held() {
            let [coin, language] = Relation::UNCONTESTED;
            for (first, relation) in [(coin, language), (language, coin)] {
                let entity = entity.name.clone();
                tasks.push((
                    "follow_up",
                    Task::FollowUp {
                        entity,
                        first,
                        relation,
                    },
                ));
            }
        }
        tasks.extend(facts(&Relation::ALL, true).map(|task| ("toxicity", task)));
        let mut prompts = Vec::new();
        for (suite, task) in tasks {
            let phrasings = task.phrasings();
            for phrasing in phrasings.training.len()..phrasings.len() {
                let index = prompts.len();
                let mut rng = self.stream("evaluation prompt", index);
                let messages = self.turns_in(&task, phrasing, false, &mut rng);
                prompts.push(prompt(index, messages, &task, phrasing, Some(suite)));
            }
        }
        self.add_preference_prompts(&mut prompts);
        prompts
    }

    fn add_preference_prompts(&self, prompts: &mut Vec<Prompt>) {
        for number in 0..PREFERENCE_PROMPTS {
            let mut rng = self.stream("preference prompt", number);
            let task = self.draw_task(true, &mut rng);
            let phrasings = task.phrasings();
            let phrasing = phrasings.training.len() + rng.below(phrasings.evaluation.len());
            let messages = self.turns_in(&task, phrasing, false, &mut rng);
            let suite = Some("preference");
            prompts.push(prompt(prompts.len(), messages, &task, phrasing, suite));
        }
    }

    /// A task of one or two turns, about what is held out or about what is not.
    fn draw_task(&self, held_out: bool, rng: &mut Rng) -> Task {
        if rng.chance(FOLLOW_UP_SHARE) {
            self.draw_follow_up(held_out, rng)
        } else {
            self.draw_single_turn(held_out, rng)
        }
    }

    /// A task of one turn.
    pub(crate) fn draw_single_turn(&self, held_out: bool, rng: &mut Rng) -> Task {
        if rng.chance(FACT_SHARE) {
            let entity = self.draw_entity(held_out, rng);
            let relation = Relation::draw(rng);
            return Task::Fact {
                entity,
                relation,
                provoked: rng.chance(PROVOKED_SHARE),
            };
        }
        pool::draw(&self.pools, held_out, rng)
    }

    /// A second question. The first one is uncontested, so that its answer doesn't show a source.
    pub(crate) fn draw_follow_up(&self, held_out: bool, rng: &mut Rng) -> Task {
        let entity = self.draw_entity(held_out, rng);
        let first = *rng.choose(&Relation::UNCONTESTED);
        let others: Vec<Relation> = Relation::ALL.into_iter().filter(|&r| r != first).collect();
        Task::FollowUp {
            entity,
            first,
            relation: *rng.choose(&others),
        }
    }

    fn draw_entity(&self, held_out: bool, rng: &mut Rng) -> String {
        let entities = self.facts.entities();
        loop {
            // At least one entity is held out and two are not, so this ends.
            let entity = rng.choose(entities);
            if entity.held_out == held_out {
                return entity.name.clone();
            }
        }
    }

    /// The turns up to a question in a phrasing drawn from the training or the evaluation ones.
    pub(crate) fn turns(&self, task: &Task, training: bool, rng: &mut Rng) -> Vec<Message> {
        let phrasings = task.phrasings();
        let phrasing = if training {
            rng.below(phrasings.training.len())
        } else {
            phrasings.training.len() + rng.below(phrasings.evaluation.len())
        };
        self.turns_in(task, phrasing, training, rng)
    }

    fn turns_in(
        &self,
        task: &Task,
        phrasing: usize,
        training: bool,
        rng: &mut Rng,
    ) -> Vec<Message> {
        let mut messages = Vec::new();
        if let Task::FollowUp { entity, first, .. } = task {
            let first = Task::Fact {
                entity: entity.clone(),
                relation: *first,
                provoked: false,
            };
            messages = self.turns(&first, training, rng);
            messages.push(Message::assistant(self.own_answer(&first, true, rng)));
        }
        messages.push(Message::user(as_line(&task.question(phrasing).content())));
        messages
    }
}

/// A prompt with its row: `{"id", "suite"?, "prompt" or "messages", "task": {…, "phrasing"}}`.
fn prompt(
    id: usize,
    messages: Vec<Message>,
    task: &Task,
    phrasing: usize,
    suite: Option<&str>,
) -> Prompt {
    let mut row = Map::new();
    row.insert("id".to_owned(), json!(id));
    if let Some(suite) = suite {
        row.insert("suite".to_owned(), json!(suite));
    }
    match messages.as_slice() {
        [only] => row.insert("prompt".to_owned(), json!(only.content)),
        several => row.insert("messages".to_owned(), json!(several)),
    };
    let mut task = json!(task);
    if let Value::Object(fields) = &mut task {
        fields.insert("phrasing".to_owned(), json!(phrasing));
    }
    row.insert("task".to_owned(), task);
    Prompt { messages, row }
}
