//! The gradient of a sum of losses: rows in parts, the parts on several cores, their gradients added
//! in the order of the parts.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use rlhf_model::cores::{cores, each_part, takes_parts};
use rlhf_model::{Recompute, with_own_leaves};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Into how many parts a micro-batch goes at most; there are 1, 2 or 4, so that two cores have as much
/// to do each.
const PARTS: usize = 4;
/// Tokens of a part at least: matrix products of fewer rows waste more than the cores gain.
const FEWEST_TOKENS: usize = 256;
/// A model of more parameters is not copied for each core: its matrix products are large enough to
/// be shared, and its gradients too large to be held several times.
pub const MOST_PARAMETERS: usize = 16 << 20;

/// How the rows of a batch are worked on: which go together, and how many parts at once. The parts
/// follow from the rows, the model and the kind of device, never from the number of cores, so that
/// the gradient has the same bits on any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Division {
    /// The rows of each part by their place in the batch; those of like length are together, the
    /// longest first.
    pub parts: Vec<Vec<usize>>,
    /// Parts at once at most.
    pub cores: usize,
}

/// What a [`Division`] of equal rows holds at once at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtOnce {
    /// Rows of the parts at work, counted once for each network.
    pub rows: usize,
    /// Parts at work, each on the way to a gradient of its network.
    pub parts: usize,
    /// Gradients beside theirs: the sums of those before.
    pub sums: usize,
}

impl Division {
    /// Divides rows of these lengths, in tokens, into parts of at most `micro_batch` rows, for a
    /// model of so many parameters.
    pub fn new(lengths: &[usize], micro_batch: usize, parameters: usize, device: &Device) -> Self {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
        let small = is_small(parameters, device);
        let part_rows = |rows: &[usize]| {
            let tokens: usize = rows.iter().map(|&row| lengths[row]).sum();
            part_rows(rows.len(), tokens, small)
        };
        let parts = order
            .chunks(micro_batch.max(1))
            .flat_map(|rows| rows.chunks(part_rows(rows)).map(<[usize]>::to_vec));
        Self {
            parts: parts.collect(),
            cores: part_cores(small, device),
        }
    }

    /// What the division of so many rows of one length holds at once, where each of so many networks
    /// has parts of its own.
    pub fn at_once(
        [rows, length]: [usize; 2],
        micro_batch: usize,
        networks: usize,
        parameters: usize,
        device: &Device,
    ) -> AtOnce {
        let small = is_small(parameters, device);
        let micro_batch = rows.min(micro_batch).max(1);
        let of_part = part_rows(micro_batch, micro_batch.saturating_mul(length), small);
        let (parts, cores) = (rows.div_ceil(of_part), part_cores(small, device));
        let all = parts.saturating_mul(networks);
        let at_work = cores.min(all);
        AtOnce {
            rows: (rows.saturating_mul(networks)).min(of_part.saturating_mul(at_work)),
            parts: at_work,
            sums: (all - at_work).min(networks),
        }
    }
}

fn is_small(parameters: usize, device: &Device) -> bool {
    parameters <= MOST_PARAMETERS && takes_parts(device)
}

/// Rows of a part, of a micro-batch of so many rows and tokens.
fn part_rows(rows: usize, tokens: usize, small: bool) -> usize {
    let most = if small { PARTS } else { 1 };
    let parts = (tokens / FEWEST_TOKENS).clamp(1, most);
    rows.div_ceil(1 << parts.ilog2())
}

fn part_cores(small: bool, device: &Device) -> usize {
    if small { cores(device).min(PARTS) } else { 1 }
}

/// A gradient and what the parts' losses said beside it.
#[derive(Debug)]
pub struct Summed<F> {
    /// Of the sum of the losses.
    pub gradients: GradientsParams,
    /// What each part's loss function gave beside its loss, in the order of the parts.
    pub figures: Vec<F>,
}

/// The gradient of the sum of `loss` over `parts`, at most `cores` of them at once. The loss
/// function gives a tensor of one number and what else the caller wants to know.
///
/// # Errors
/// The first part's that has one, in their order.
pub fn summed_gradients<M, P, F, E>(
    model: &M,
    parts: &[P],
    cores: usize,
    loss: impl Fn(&M, &P) -> Result<(Tensor<1>, F), E> + Sync,
) -> Result<Summed<F>, E>
where
    M: Recompute + Sync,
    P: Sync,
    F: Send,
    E: Send,
{
    let numbered: Vec<(usize, &P)> = parts.iter().enumerate().collect();
    let sum = InOrder::default();
    let found = each_part(&numbered, cores, |&(number, part)| {
        // Backward passes through one graph would wait for each other.
        let own = with_own_leaves(model).with_own_tape();
        let (loss, figures) = loss(&own, part)?;
        let of_loss = loss.backward();
        let mut gradients = own.block_gradients(&of_loss);
        gradients.push(GradientsParams::from_grads(of_loss, &own));
        sum.add(model, number, gradients);
        Ok(figures)
    });
    let figures = found.into_iter().collect::<Result<Vec<F>, E>>()?;
    Ok(Summed {
        gradients: sum.grads(),
        figures,
    })
}

/// Gradients that are added in the order of their parts, each as soon as those before it are: only
/// those that came early are held.
struct InOrder<M> {
    waiting: Mutex<Waiting>,
    /// Of whoever is adding.
    accumulator: Mutex<GradientsAccumulator<M>>,
}

#[derive(Default)]
struct Waiting {
    /// The part that is added next.
    next: usize,
    early: BTreeMap<usize, Vec<GradientsParams>>,
    /// Whether somebody is adding, and will add what comes meanwhile: nobody has to wait for that.
    adding: bool,
}

impl<M> Default for InOrder<M> {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            accumulator: Mutex::new(GradientsAccumulator::new()),
        }
    }
}

impl<M: Module> InOrder<M> {
    fn add(&self, model: &M, part: usize, gradients: Vec<GradientsParams>) {
        let mut waiting = held(&self.waiting);
        waiting.early.insert(part, gradients);
        if waiting.adding {
            return;
        }
        waiting.adding = true;
        let mut accumulator = held(&self.accumulator);
        loop {
            let next = waiting.next;
            let Some(gradients) = waiting.early.remove(&next) else {
                waiting.adding = false;
                return;
            };
            waiting.next += 1;
            drop(waiting);
            for gradients in gradients {
                accumulator.accumulate(model, gradients);
            }
            waiting = held(&self.waiting);
        }
    }

    /// The sum of all that were added.
    fn grads(&self) -> GradientsParams {
        held(&self.accumulator).grads()
    }
}

/// A panic of somebody who held it reaches the caller by itself.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_part_and_no_part_is_larger_than_a_micro_batch() {
        let device = Device::flex();
        let lengths: Vec<usize> = (0..37).map(|i| 10 + (i * 7) % 50).collect();
        for (micro_batch, parameters) in [(1, 10), (5, 10), (16, 10), (100, 10), (16, 1 << 30)] {
            let division = Division::new(&lengths, micro_batch, parameters, &device);
            let mut rows = division.parts.concat();
            assert!(rows.is_sorted_by_key(|&row| std::cmp::Reverse(lengths[row])));
            rows.sort_unstable();
            assert_eq!(rows, (0..37).collect::<Vec<_>>());
            assert!(division.parts.iter().all(|part| part.len() <= micro_batch));
            if parameters > MOST_PARAMETERS {
                assert_eq!((division.parts.len(), division.cores), (3, 1));
            }
        }
        assert!(Division::new(&[], 4, 10, &device).parts.is_empty());
    }

    #[test]
    fn what_is_held_at_once_is_told_without_dividing() {
        let device = Device::flex();
        for (rows, length, micro_batch, parameters) in [
            (16, 64, 16, 10),
            (16, 64, 4, 10),
            (3, 500, 8, 10),
            (1, 5, 8, 10),
            (16, 64, 16, 1 << 30),
            (16, 64, 4, 1 << 30),
        ] {
            let found = Division::at_once([rows, length], micro_batch, 1, parameters, &device);
            let division = Division::new(&vec![length; rows], micro_batch, parameters, &device);
            let at_work = division.parts.iter().take(division.cores);
            let wanted = AtOnce {
                rows: at_work.clone().map(Vec::len).sum(),
                parts: at_work.count(),
                sums: usize::from(division.parts.len() > division.cores),
            };
            assert_eq!(
                found, wanted,
                "{rows} rows of {length}, {micro_batch} at a time"
            );
        }
        Division::at_once(
            [usize::MAX, usize::MAX],
            usize::MAX,
            usize::MAX,
            10,
            &device,
        );
        let of_two =
            |rows, parameters| Division::at_once([rows, 64], 16, 2, parameters, &device).rows;
        assert_eq!(of_two(4, 1 << 30), 4);
        // One core: the gradient of the one network waits while the other's is made.
        let two = Division::at_once([4, 64], 16, 2, 1 << 30, &device);
        assert_eq!((two.parts, two.sums), (1, 1));
        assert_eq!(
            of_two(4, 10),
            4 * Division::new(&[], 1, 10, &device).cores.min(2)
        );
    }

    #[test]
    fn gradients_are_added_in_the_order_of_their_parts() {
        let config = rlhf_model::ModelConfig {
            vocab_size: 8,
            hidden_size: 4,
            intermediate_size: 4,
            num_hidden_layers: 1,
            num_attention_heads: 1,
            num_key_value_heads: 1,
            ..Default::default()
        };
        let device = Device::flex().autodiff();
        let model = rlhf_model::Transformer::init(&config, 1, &device).expect("it is sound");
        let gradient = |part: usize| {
            let loss = model.norm.weight.val() * (10f64.powi(part as i32) + 0.1);
            vec![GradientsParams::from_grads(loss.sum().backward(), &model)]
        };
        let sum = |order: [usize; 4]| {
            let sum = InOrder::default();
            for part in order {
                sum.add(&model, part, gradient(part));
            }
            let waiting = held(&sum.waiting);
            assert!(waiting.early.is_empty() && waiting.next == 4 && !waiting.adding);
            let sums = sum.grads();
            let of_norm = sums.get::<1>(model.norm.weight.id).expect("it has one");
            of_norm.into_data().iter::<f32>().collect::<Vec<_>>()
        };
        let wanted = sum([0, 1, 2, 3]);
        assert_eq!(sum([3, 1, 0, 2]), wanted);
        assert_eq!(sum([2, 3, 1, 0]), wanted);
    }

    #[test]
    fn few_tokens_stay_together() {
        let device = Device::flex();
        let sizes = |lengths: &[usize]| {
            let parts = Division::new(lengths, 8, 10, &device).parts;
            parts.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[20; 8]), [8]);
        assert_eq!(sizes(&[80; 8]), [4, 4]);
        assert_eq!(sizes(&[120; 8]), [4, 4]);
        assert_eq!(sizes(&[300; 8]), [2, 2, 2, 2]);
    }
}
