//! Decoding over packed weights, on the CPU: no tensors, no allocation per token.
//!
//! A step is a list of tokens, each of which knows its row's place in the cache and its position
//! there: whole prompts, or one new token for every row. What a token gives depends on its own row
//! only, so rows come and go as they like.

mod forward;
mod lane;
mod slot;
mod weights;

use super::{Completion, Request};
use crate::cores::{available_cores, each_part};
use crate::{ModelError, SamplingConfig};
use lane::{Lane, Queue};
pub use weights::PackedModel;

/// Rows of a core at least where the weights do not stay in the caches. Fewer are one core's, with
/// all of them at every product: so each number is read from memory once, not once for each core.
const ROWS: usize = 16;
impl PackedModel {
    /// Completes requests, at most `batch_size` at a time.
    pub(super) fn complete(
        &self,
        requests: &[Request<'_>],
        config: &SamplingConfig,
        batch_size: usize,
    ) -> Result<Vec<Completion>, ModelError> {
        let longest = requests.iter().map(|request| request.prompt.len()).max();
        let angles = self.angles(longest.unwrap_or(0) + config.max_new_tokens);
        let queue = Queue::new(requests);
        let rows = requests.len().min(batch_size);
        let of_a_lane = if self.large { ROWS } else { 1 };
        let cores = available_cores();
        let lanes: Vec<usize> = (0..cores.min(rows.div_ceil(of_a_lane))).collect();
        let slots = rows.div_ceil(lanes.len().max(1));
        let results = each_part(&lanes, cores, |_| {
            Lane::new(self, &angles, slots, config).run(&queue)
        });
        let mut answers: Vec<Option<Completion>> = vec![None; requests.len()];
        for result in results {
            for (index, answer) in result? {
                answers[index] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }
}
