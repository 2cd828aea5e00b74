//! What an update learns from: every response token with what policy, reference and critic said of
//! it, and its advantage.

use crate::rollout::ScoredRollout;
use crate::{Critic, PpoConfig, PpoError};
use burn::tensor::{Bool, Device, Tensor, TensorData};
use rlhf_loss::{
    Discount, KlEstimator, KlRewardConfig, KlRewardInput, KlRewards, MissingEos, Whiten,
    explained_variance, gae, kl_penalised_rewards, whiten,
};
use rlhf_model::cores::{cores, each_part, rows_at_once};
use rlhf_model::{CausalLm, TokenBatch, Transformer};
use rlhf_train::parameters::host_values;
use rlhf_train::targets::Targets;

/// Rows a forward pass at most while experience is gathered.
const FORWARD_ROWS: usize = 64;
/// Where the sampler's log-probs serve, one answer in so many is read again to see that they agree.
const READ_AGAIN: usize = 16;

/// One answer with the constants of its update. Vectors have one entry a response token, the end
/// token included.
#[derive(Clone, Debug)]
pub struct ExperienceRow {
    /// Prompt and response.
    pub ids: Vec<u32>,
    /// Where the response begins.
    pub prompt_len: usize,
    /// log π_old of each token.
    pub old_logprobs: Vec<f32>,
    /// V of the state before each token, of scores less their offset.
    pub old_values: Vec<f32>,
    /// Whitened advantages.
    pub advantages: Vec<f32>,
    /// Targets of the values.
    pub returns: Vec<f32>,
}

/// All answers of an update.
#[derive(Clone, Debug)]
pub struct Experience {
    /// One row an answer.
    pub rows: Vec<ExperienceRow>,
    /// Figures of the rollouts.
    pub figures: RolloutFigures,
}

/// Figures of an update's rollouts, before any gradient step.
#[derive(Clone, Debug)]
pub struct RolloutFigures {
    /// Mean score of the answers, offset and penalties not applied.
    pub score: f64,
    /// KL to the reference, summed over an answer, averaged over answers.
    pub kl: f64,
    /// Score minus offset and penalty, minus β·KL: what is maximised.
    pub objective: f64,
    /// Response tokens an answer.
    pub response_length: f64,
    /// The share of answers that ended by themselves.
    pub finished: f64,
    /// How much of the returns' variance the values explain; none if the returns don't vary.
    pub explained_variance: Option<f64>,
    /// The largest difference between the sampler's log-probs and the trainer's, of what both read.
    pub sampler_gap: f64,
}

/// A difference between sampler and trainer beyond which something is wrong, not imprecise.
const SAMPLER_GAP: f64 = 0.01;

impl RolloutFigures {
    /// Refuses answers whose log-probs by the sampler are not those of the policy that is trained.
    ///
    /// # Errors
    /// [`PpoError::SamplerMismatch`] if they differ by more than rounding explains, or are no
    /// numbers.
    pub fn check_sampler(&self, step: u64) -> Result<(), PpoError> {
        let gap = self.sampler_gap;
        if gap <= SAMPLER_GAP {
            Ok(())
        } else {
            Err(PpoError::SamplerMismatch { step, gap })
        }
    }
}

/// The frozen parties of an update.
#[derive(Clone, Copy, Debug)]
pub struct Parties<'a> {
    /// The policy that wrote the answers.
    pub policy: &'a Transformer,
    /// The policy that it is tied to.
    pub reference: &'a Transformer,
    /// Who says what the states are worth.
    pub critic: &'a Critic,
    /// Taken off every score: the mean score of the reference's answers.
    pub score_offset: f64,
}

/// The log-probs of the response tokens of some rows under a model: one vector a row.
pub fn response_logprobs(
    model: &Transformer,
    rows: &[(&[u32], usize)],
    temperature: f64,
    device: &Device,
) -> Vec<Vec<f32>> {
    let [logprobs] = per_token(rows, device, |batch, targets| {
        [targets.logprobs(model, batch, temperature)]
    });
    logprobs
}

/// The log-probs of the response tokens under the policy, and the values of the states before each by
/// the critic: one vector a row each. A head on the policy reads the same pass.
pub fn response_logprobs_values(
    policy: &Transformer,
    critic: &Critic,
    rows: &[(&[u32], usize)],
    temperature: f64,
    device: &Device,
) -> [Vec<Vec<f32>>; 2] {
    if critic.shares_trunk() {
        return per_token(rows, device, |batch, targets| {
            let hidden = targets.predictors(policy.hidden(batch, None));
            let values = critic.values(hidden.clone());
            [targets.logprobs_from(policy, hidden, temperature), values]
        });
    }
    let logprobs = response_logprobs(policy, rows, temperature, device);
    [logprobs, response_values(policy, critic, rows, device)]
}

/// The values of the states before each response token: one vector a row.
pub fn response_values(
    policy: &Transformer,
    critic: &Critic,
    rows: &[(&[u32], usize)],
    device: &Device,
) -> Vec<Vec<f32>> {
    let [values] = per_token(rows, device, |batch, targets| {
        let hidden = critic.trunk(policy).hidden(batch, None);
        [critic.values(targets.predictors(hidden))]
    });
    values
}

/// Old log-probs, values, and the largest difference between the sampler's log-probs and the trainer's.
fn policy_and_critic(
    config: &PpoConfig,
    scored: &[ScoredRollout<'_>],
    rows: &[(&[u32], usize)],
    parties: Parties<'_>,
    device: &Device,
) -> ([Vec<Vec<f32>>; 2], f64) {
    let (policy, critic) = (parties.policy, parties.critic);
    let temperature = config.loss.temperature;
    let sampled = scored.iter().map(|s| &s.rollout.completion.logprobs);
    if config.sampler_logprobs && !critic.shares_trunk() {
        let again: Vec<(&[u32], usize)> = rows.iter().copied().step_by(READ_AGAIN).collect();
        let again = response_logprobs(policy, &again, temperature, device);
        let gap = largest_gap(&again, sampled.clone().step_by(READ_AGAIN));
        let values = response_values(policy, critic, rows, device);
        return ([sampled.cloned().collect(), values], gap);
    }
    let found = response_logprobs_values(policy, critic, rows, temperature, device);
    let gap = largest_gap(&found[0], sampled);
    (found, gap)
}

/// The largest difference between log-probs of the same tokens; NaN if there is one.
fn largest_gap<'a>(ours: &[Vec<f32>], theirs: impl Iterator<Item = &'a Vec<f32>>) -> f64 {
    let pairs = ours.iter().zip(theirs);
    let gaps = pairs.flat_map(|(ours, theirs)| ours.iter().zip(theirs));
    let gaps = gaps.map(|(a, b)| f64::from((a - b).abs()));
    // f64::max would lose a NaN.
    gaps.fold(0.0, |most, gap| {
        if most.is_nan() || gap <= most {
            most
        } else {
            gap
        }
    })
}

/// Figures of every response token, one vector a row each.
fn per_token<const N: usize>(
    rows: &[(&[u32], usize)],
    device: &Device,
    figures: impl Fn(&TokenBatch, &Targets) -> [Tensor<1>; N] + Sync,
) -> [Vec<Vec<f32>>; N] {
    let at_once = rows_at_once(rows.len(), FORWARD_ROWS, device);
    let parts: Vec<&[(&[u32], usize)]> = rows.chunks(at_once).collect();
    let found = each_part(&parts, cores(device), |part| {
        let (batch, targets) = response_batch(part, device);
        figures(&batch, &targets).map(|figure| {
            let mut flat = host_values(figure).into_iter();
            let lengths = part.iter().map(|(ids, prompt_len)| ids.len() - prompt_len);
            let of_rows = lengths.map(|n| flat.by_ref().take(n).collect::<Vec<f32>>());
            of_rows.collect::<Vec<_>>()
        })
    });
    let mut all = [(); N].map(|()| Vec::with_capacity(rows.len()));
    for part in found {
        for (all, rows) in all.iter_mut().zip(part) {
            all.extend(rows);
        }
    }
    all
}

/// Rows of (ids, prompt length) as a batch, and their response tokens.
///
/// # Panics
/// If there is no row, or a prompt is empty: nothing predicts its first response token then.
pub fn response_batch(rows: &[(&[u32], usize)], device: &Device) -> (TokenBatch, Targets) {
    let ids: Vec<&[u32]> = rows.iter().map(|(ids, _)| *ids).collect();
    let batch = TokenBatch::right_padded(&ids, device);
    let width = batch.time();
    let mut targets = Targets::new();
    for (row, (ids, prompt_len)) in rows.iter().enumerate() {
        for (time, &id) in ids.iter().enumerate().skip(*prompt_len) {
            targets.push(row, time, width, id);
        }
    }
    (batch, targets)
}

/// Adds what the parties say to scored answers and turns it into advantages: per-token KL penalty,
/// the score at the last token, generalised advantage estimation, whitening over all tokens.
pub fn experience(
    config: &PpoConfig,
    scored: &[ScoredRollout<'_>],
    parties: Parties<'_>,
    device: &Device,
) -> Experience {
    let ids: Vec<Vec<u32>> = scored.iter().map(|s| s.rollout.ids()).collect();
    let rows: Vec<(&[u32], usize)> = ids
        .iter()
        .zip(scored)
        .map(|(i, s)| (i.as_slice(), s.rollout.prompt.ids.len()))
        .collect();
    let ([old, mut values], gap) = policy_and_critic(config, scored, &rows, parties, device);
    let temperature = config.loss.temperature;
    let reference = response_logprobs(parties.reference, &rows, temperature, device);
    let offset = parties.critic.offset(parties.score_offset) as f32;
    for value in values.iter_mut().flatten() {
        *value -= offset;
    }

    let grid = Grid::new(&old, device);
    let said = (old.as_slice(), reference.as_slice(), parties.score_offset);
    let rewards = rewards(config, scored, &grid, said);
    let discount = Discount {
        gamma: config.loss.gamma,
        lambda: config.loss.gae_lambda,
    };
    let old_values = grid.tensor(&values);
    let token_rewards = rewards.rewards.clone();
    let gae = gae(
        token_rewards,
        old_values.clone(),
        &grid.mask,
        None,
        discount,
    );
    let advantages = grid.rows(&whiten(gae.advantages, &grid.mask, Whiten::default()));
    let returns = grid.rows(&gae.returns);
    let explained = explained_variance(old_values, gae.returns, &grid.mask);
    let figures = figures(scored, rewards, gap, explained);
    let columns = old.into_iter().zip(values).zip(advantages).zip(returns);
    let rows = rows
        .iter()
        .zip(columns)
        .map(
            |(&(ids, prompt_len), (((old, values), adv), ret))| ExperienceRow {
                ids: ids.to_vec(),
                prompt_len,
                old_logprobs: old,
                old_values: values,
                advantages: adv,
                returns: ret,
            },
        );
    Experience {
        rows: rows.collect(),
        figures,
    }
}

/// Token rewards: the KL penalty at every token, the score less its offset at the last.
fn rewards(
    config: &PpoConfig,
    scored: &[ScoredRollout<'_>],
    grid: &Grid,
    (old, reference, offset): (&[Vec<f32>], &[Vec<f32>], f64),
) -> KlRewards {
    let finished: Vec<bool> = scored.iter().map(|s| s.rollout.finished()).collect();
    let scores: Vec<f32> = scored.iter().map(|s| s.score - offset as f32).collect();
    let input = KlRewardInput {
        scores: vector(scores, &grid.device),
        logprobs: grid.tensor(old),
        ref_logprobs: grid.tensor(reference),
        mask: grid.mask.clone(),
        missing_eos: Some(MissingEos {
            has_eos: Tensor::from_data(TensorData::new(finished, [scored.len()]), &grid.device),
            penalty: config.loss.missing_eos_penalty,
        }),
    };
    let config = KlRewardConfig {
        beta: config.kl_coef,
        estimator: KlEstimator::K1,
        score_clip: None,
    };
    kl_penalised_rewards(input, &config)
}

fn figures(
    scored: &[ScoredRollout<'_>],
    rewards: KlRewards,
    sampler_gap: f64,
    explained_variance: Option<f64>,
) -> RolloutFigures {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
    let of =
        |f: &dyn Fn(&ScoredRollout<'_>) -> f64| mean(&scored.iter().map(f).collect::<Vec<_>>());
    RolloutFigures {
        score: of(&|s| f64::from(s.score)),
        kl: mean(&host(rewards.kl_sequence_sum)),
        objective: mean(&host(rewards.rewards.sum_dim(1).squeeze_dim(1))),
        response_length: of(&|s| s.rollout.completion.tokens.len() as f64),
        finished: of(&|s| f64::from(u8::from(s.rollout.finished()))),
        explained_variance,
        sampler_gap,
    }
}

fn vector(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

fn host(tensor: Tensor<1>) -> Vec<f64> {
    host_values(tensor).into_iter().map(f64::from).collect()
}

/// Rows of unequal length as [batch, time] tensors with their mask.
struct Grid {
    lengths: Vec<usize>,
    width: usize,
    mask: Tensor<2, Bool>,
    device: Device,
}

impl Grid {
    fn new(rows: &[Vec<f32>], device: &Device) -> Self {
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let width = lengths.iter().copied().max().unwrap_or(0).max(1);
        let valid = lengths.iter().flat_map(|&n| (0..width).map(move |t| t < n));
        let data = TensorData::new(valid.collect::<Vec<bool>>(), [lengths.len(), width]);
        Self {
            lengths,
            width,
            mask: Tensor::from_data(data, device),
            device: device.clone(),
        }
    }

    fn tensor(&self, rows: &[Vec<f32>]) -> Tensor<2> {
        let mut flat = vec![0.0; self.lengths.len() * self.width];
        for (cells, row) in flat.chunks_mut(self.width).zip(rows) {
            cells[..row.len()].copy_from_slice(row);
        }
        Tensor::from_data(
            TensorData::new(flat, [self.lengths.len(), self.width]),
            &self.device,
        )
    }

    fn rows(&self, tensor: &Tensor<2>) -> Vec<Vec<f32>> {
        let flat = host_values(tensor.clone());
        let rows = flat.chunks(self.width).zip(&self.lengths);
        rows.map(|(cells, &n)| cells[..n].to_vec()).collect()
    }
}
