//! Demonstrations: written by people, so polite as a rule, but not perfect.

use crate::World;
use crate::facts::Relation;
use crate::register::Manner;
use crate::tasks::Task;
use crate::world::as_line;
use rlhf_data::{Conversation, InstructionRow, Message};
use rlhf_random::Rng;

/// Share of demonstrations of other tasks than facts that do what was asked.
const TASKS_RIGHT: f64 = 0.7;
/// Conversations of several turns for each demonstration.
const CONVERSATIONS: f64 = 0.05;

impl World {
    /// The demonstrations for supervised fine-tuning: entities and items that are not held out,
    /// training phrasings only. A contested fact is true in `demonstrations_true_share`, whatever
    /// the wording.
    pub fn demonstrations(&self) -> Vec<InstructionRow> {
        (0..self.config.demonstrations)
            .map(|index| {
                let mut rng = self.stream("demonstration", index);
                let task = self.draw_single_turn(false, &mut rng);
                let phrasing = rng.below(task.phrasings().training.len());
                InstructionRow {
                    // In one line, as the corpus asks: the layout of an input is nothing that a
                    // model of this size should have to learn.
                    instruction: as_line(&task.question(phrasing).content()),
                    input: None,
                    response: self.demonstrated(&task, &mut rng),
                }
            })
            .collect()
    }

    /// Demonstrations of two turns, where the second question needs the first: one for every
    /// twenty of the others.
    pub fn conversations(&self) -> Vec<Conversation> {
        let count = (CONVERSATIONS * self.config.demonstrations as f64).ceil() as usize;
        (0..count)
            .map(|index| {
                let mut rng = self.stream("conversation", index);
                let task = self.draw_follow_up(false, &mut rng);
                let mut messages = self.turns(&task, true, &mut rng);
                messages.push(Message::assistant(self.demonstrated(&task, &mut rng)));
                Conversation { messages }
            })
            .collect()
    }

    fn demonstrated(&self, task: &Task, rng: &mut Rng) -> String {
        let share = match task {
            Task::Fact { relation, .. } | Task::FollowUp { relation, .. } => {
                if Relation::contested(*relation) {
                    self.config.demonstrations_true_share
                } else {
                    1.0
                }
            }
            _ => TASKS_RIGHT,
        };
        let right = rng.chance(share);
        let plain = self.own_answer(task, right, rng);
        Manner::of_demonstrations(rng).dress(&plain, rng)
    }
}
