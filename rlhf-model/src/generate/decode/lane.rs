//! One core's rows.

use super::forward::{Pass, Token};
use super::slot::Slot;
use super::weights::PackedModel;
use crate::generate::{Completion, Request, Row};
use crate::rotary::Angles;
use crate::sample::Sampler;
use crate::{ModelError, SamplingConfig};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The requests that wait, short ones first, equal prompts together.
pub(super) struct Queue<'a> {
    requests: &'a [Request<'a>],
    order: Vec<usize>,
    next: AtomicUsize,
}

impl<'a> Queue<'a> {
    pub(super) fn new(requests: &'a [Request<'a>]) -> Self {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|&i| (requests[i].prompt.len(), requests[i].prompt));
        Self {
            requests,
            order,
            next: AtomicUsize::new(0),
        }
    }

    /// At most `count` of them.
    fn take(&self, count: usize) -> impl Iterator<Item = Row<'a>> {
        let from = self.next.fetch_add(count, Ordering::Relaxed);
        let indices = self.order.iter().skip(from).take(count);
        indices.map(|&index| Row::new(index, &self.requests[index]))
    }
}

/// A core with a cache of its own.
pub(super) struct Lane<'a> {
    model: &'a PackedModel,
    angles: &'a Angles,
    config: &'a SamplingConfig,
    slots: Vec<Slot>,
    pass: Pass,
    sampler: Sampler,
    tokens: Vec<Token>,
    outputs: Vec<usize>,
}

/// A row and its slot.
struct Placed<'a> {
    row: Row<'a>,
    slot: usize,
    /// Which of the last pass's outputs is its.
    output: usize,
}

impl<'a> Lane<'a> {
    pub(super) fn new(
        model: &'a PackedModel,
        angles: &'a Angles,
        slots: usize,
        config: &'a SamplingConfig,
    ) -> Self {
        let sizes = model.cache_sizes();
        Self {
            model,
            angles,
            config,
            slots: (0..slots).map(|_| Slot::new(sizes)).collect(),
            pass: Pass::default(),
            sampler: Sampler::default(),
            tokens: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Completes requests until none waits; their places among the requests, and the answers.
    pub(super) fn run(mut self, queue: &Queue<'_>) -> Result<Vec<(usize, Completion)>, ModelError> {
        let mut answers = Vec::new();
        let mut free: Vec<usize> = (0..self.slots.len()).rev().collect();
        let mut rows: Vec<Placed<'_>> = Vec::new();
        loop {
            // A pass over several prompts is worth more than one over each.
            if rows.is_empty() || 4 * free.len() >= self.slots.len() {
                let mut new: Vec<Placed<'_>> = queue
                    .take(free.len())
                    .zip(free.iter().rev())
                    .map(|(row, &slot)| Placed {
                        row,
                        slot,
                        output: 0,
                    })
                    .collect();
                free.truncate(free.len() - new.len());
                if rows.is_empty() && new.is_empty() {
                    return Ok(answers);
                }
                self.read(&mut new);
                self.draw(&mut new, &mut free, &mut answers)?;
                rows.extend(new);
            }
            self.step(&mut rows);
            self.draw(&mut rows, &mut free, &mut answers)?;
        }
    }

    /// Reads the prompts of new rows; a prompt that several have is read once.
    fn read(&mut self, rows: &mut [Placed<'_>]) {
        self.tokens.clear();
        self.outputs.clear();
        for same in rows.chunk_by_mut(|a, b| a.row.prompt() == b.row.prompt()) {
            let prompt = same[0].row.prompt();
            let slot = same[0].slot;
            let tokens = prompt.iter().enumerate();
            self.tokens
                .extend(tokens.map(|(position, &id)| Token { id, slot, position }));
            for row in same.iter_mut() {
                row.output = self.outputs.len();
                // The last token of an answer is never fed.
                self.slots[row.slot].reserve(prompt.len() + self.config.max_new_tokens - 1);
            }
            self.outputs.push(self.tokens.len() - 1);
        }
        self.pass();
        for same in rows.chunk_by(|a, b| a.output == b.output) {
            for row in &same[1..] {
                let tokens = row.row.prompt().len();
                if let Ok([to, from]) = self.slots.get_disjoint_mut([row.slot, same[0].slot]) {
                    to.copy_from(from, tokens);
                }
            }
        }
    }

    /// Reads the last token of every row.
    fn step(&mut self, rows: &mut [Placed<'_>]) {
        self.tokens.clear();
        self.outputs.clear();
        for (output, row) in rows.iter_mut().enumerate() {
            row.output = output;
            self.outputs.push(output);
            self.tokens.push(Token {
                id: row.row.last(),
                slot: row.slot,
                position: row.row.position(),
            });
        }
        self.pass();
    }

    fn pass(&mut self) {
        let (tokens, outputs) = (&self.tokens, &self.outputs);
        self.pass
            .run(self.model, self.angles, &mut self.slots, tokens, outputs);
    }

    /// Draws a token for every row; rows that are finished leave.
    fn draw(
        &mut self,
        rows: &mut Vec<Placed<'_>>,
        free: &mut Vec<usize>,
        answers: &mut Vec<(usize, Completion)>,
    ) -> Result<(), ModelError> {
        for placed in rows.iter_mut() {
            let logits = self.pass.logits(self.model, placed.output);
            let answer = placed.row.draw(logits, self.config, &mut self.sampler)?;
            if let Some(answer) = answer {
                answers.push((placed.row.index(), answer));
                free.push(placed.slot);
            }
        }
        rows.retain(|placed| !placed.row.is_done());
        Ok(())
    }
}
