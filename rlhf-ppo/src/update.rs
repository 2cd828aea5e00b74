//! The minibatch steps of one update.

use crate::experience::{Experience, ExperienceRow};
use crate::minibatch::{Minibatch, add};
use crate::{Critic, PpoConfig, PpoError};
use burn::optim::GradientsParams;
use burn::tensor::Device;
use rlhf_data::{PackedRow, Sampler};
use rlhf_model::Transformer;
use rlhf_random::Rng;
use rlhf_train::optim::StepError;
use rlhf_train::{AdamW, TrainError};

/// The networks that are trained and their optimisers.
#[derive(Debug)]
pub struct Trained {
    /// The policy.
    pub policy: Transformer,
    /// Who says what states are worth.
    pub critic: Critic,
    /// The policy's optimiser.
    pub policy_optimiser: AdamW,
    /// The critic's optimiser.
    pub critic_optimiser: AdamW,
}

/// Pre-training text for the PPO-ptx term.
#[derive(Debug)]
pub struct PtxData<'a> {
    /// Packed rows.
    pub rows: &'a [PackedRow],
    /// Where in them the run is.
    pub sampler: &'a mut Sampler,
    /// Rows a gradient step.
    pub batch_size: usize,
}

/// Which update it is, and what its gradient steps are made with.
#[derive(Clone, Copy, Debug)]
pub struct UpdateAt<'a> {
    /// The source of the order of the minibatches.
    pub rng: &'a Rng,
    /// The update, counted from 1.
    pub step: u64,
    /// The factor on the learning rate.
    pub lr_multiplier: f64,
    /// What is taken off every score, and so off a value model's values.
    pub score_offset: f64,
    /// The plain device.
    pub device: &'a Device,
}

/// Means over the gradient steps of one update.
#[derive(Clone, Debug, Default)]
pub struct UpdateFigures {
    /// Names and values, in the order in which people should see them.
    pub values: Vec<(&'static str, f64)>,
    /// Gradient steps made.
    pub minibatches: usize,
    /// approx_kl (k3) of the first minibatch: 0 but for rounding, since nothing has moved yet.
    pub first_approx_kl: f64,
    /// Whether target_kl ended the update early.
    pub stopped_early: bool,
}

impl UpdateFigures {
    fn averaged(mut self) -> Self {
        for (_, value) in &mut self.values {
            *value /= self.minibatches.max(1) as f64;
        }
        self
    }
}

/// Takes the gradient steps of an update: `epochs` passes over its answers in minibatches, in an
/// order drawn anew for each pass, until the KL to the policy that wrote them exceeds `target_kl`.
///
/// # Errors
/// If a loss or a gradient is not finite, or text of the PPO-ptx term can't be used.
pub fn update(
    config: &PpoConfig,
    mut trained: Trained,
    experience: &Experience,
    mut ptx: Option<PtxData<'_>>,
    at: UpdateAt<'_>,
) -> Result<(Trained, UpdateFigures), PpoError> {
    let UpdateAt {
        rng,
        step,
        lr_multiplier,
        score_offset,
        device,
    } = at;
    let mut figures = UpdateFigures::default();
    'epochs: for epoch in 0..config.epochs {
        let mut order: Vec<usize> = (0..experience.rows.len()).collect();
        rng.key("minibatches")
            .key(step)
            .key(epoch)
            .shuffle(&mut order);
        for chosen in order.chunks(config.minibatch_size) {
            let rows: Vec<&ExperienceRow> = chosen.iter().map(|&i| &experience.rows[i]).collect();
            let text = ptx.as_mut().map(PtxData::next_rows).unwrap_or_default();
            let minibatch = Minibatch {
                config,
                rows: &rows,
                text: &text,
                value_offset: trained.critic.offset(score_offset),
                device,
            };
            let mut found = minibatch.gradients(&trained)?;
            if figures.minibatches == 0 {
                figures.first_approx_kl = found.approx_kl;
            } else if found.approx_kl > config.target_kl {
                figures.stopped_early = true;
                break 'epochs;
            }
            TrainError::unless_finite(found.loss, ("ppo", step), chosen)?;
            let norms;
            (trained, norms) = trained
                .step(&mut found.gradients, lr_multiplier)
                .map_err(|e| e.at("ppo", step, chosen))?;
            add(&mut figures.values, &found.figures);
            let [policy_grad_norm, value_grad_norm] = norms;
            let of_step = [
                ("policy_grad_norm", policy_grad_norm),
                ("value_grad_norm", value_grad_norm),
            ];
            add(&mut figures.values, &of_step);
            figures.minibatches += 1;
        }
    }
    Ok((trained, figures.averaged()))
}

impl Trained {
    /// One gradient step of policy and critic; the norms of their gradients, policy's first.
    fn step(
        self,
        gradients: &mut GradientsParams,
        lr_multiplier: f64,
    ) -> Result<(Self, [f64; 2]), StepError> {
        let Self {
            policy,
            critic,
            mut policy_optimiser,
            mut critic_optimiser,
        } = self;
        let (policy, policy_norm) = policy_optimiser.step(policy, gradients, lr_multiplier)?;
        let (critic, critic_norm) = critic_optimiser.step(critic, gradients, lr_multiplier)?;
        let trained = Self {
            policy,
            critic,
            policy_optimiser,
            critic_optimiser,
        };
        Ok((trained, [policy_norm, critic_norm]))
    }
}

impl<'a> PtxData<'a> {
    /// The next rows of text.
    fn next_rows(&mut self) -> Vec<&'a PackedRow> {
        let rows = self.sampler.next_batch(self.batch_size);
        rows.into_iter().map(|i| &self.rows[i]).collect()
    }
}
