//! The minibatch steps of one update.

use crate::experience::{Experience, ExperienceRow, response_batch, values_at};
use crate::{PpoConfig, PpoError};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use rlhf_data::{PackedRow, Sampler};
use rlhf_loss::{Denominator, PpoLossConfig, PpoLossInput, PpoLossOutput, ppo_loss};
use rlhf_model::{ScoreModel, Transformer};
use rlhf_random::Rng;
use rlhf_train::optim::StepError;
use rlhf_train::supervised::{scalar, supervised_loss, trained_tokens};
use rlhf_train::{AdamW, TrainError};

/// The networks that are trained and their optimisers.
#[derive(Debug)]
pub struct Trained {
    /// The policy.
    pub policy: Transformer,
    /// The value model.
    pub value: ScoreModel,
    /// The policy's optimiser.
    pub policy_optimiser: AdamW,
    /// The value model's optimiser.
    pub value_optimiser: AdamW,
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
    /// What is taken off every score, and so off the values.
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
    fn add(&mut self, figures: Vec<(&'static str, f64)>) {
        if self.values.is_empty() {
            self.values = figures;
        } else {
            for ((_, sum), (_, value)) in self.values.iter_mut().zip(figures) {
                *sum += value;
            }
        }
        self.minibatches += 1;
    }

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
            let (mut loss, output) = minibatch_loss(config, &trained, &rows, score_offset, device);
            let approx_kl = scalar(&output.approx_kl_k3);
            if figures.minibatches == 0 {
                figures.first_approx_kl = approx_kl;
            } else if approx_kl > config.target_kl {
                figures.stopped_early = true;
                break 'epochs;
            }
            let mut found = figures_of(&output);
            if let Some(ptx) = &mut ptx {
                let ptx_loss = ptx.loss(&trained.policy, device)?;
                found.push(("ptx_loss", scalar(&ptx_loss)));
                loss = loss + ptx_loss * config.ptx_coef;
            }
            TrainError::unless_finite(scalar(&loss), ("ppo", step), chosen)?;
            let norms;
            (trained, norms) = trained
                .step(loss, lr_multiplier)
                .map_err(|e| e.at("ppo", step, chosen))?;
            found.extend([
                ("policy_grad_norm", norms[0]),
                ("value_grad_norm", norms[1]),
            ]);
            figures.add(found);
        }
    }
    Ok((trained, figures.averaged()))
}

impl Trained {
    /// One gradient step of both networks; the norms of their gradients, policy's first.
    fn step(self, loss: Tensor<1>, lr_multiplier: f64) -> Result<(Self, [f64; 2]), StepError> {
        let Self {
            policy,
            value,
            mut policy_optimiser,
            mut value_optimiser,
        } = self;
        let mut gradients = loss.backward();
        let of_policy = GradientsParams::from_module(&mut gradients, &policy);
        let of_value = GradientsParams::from_module(&mut gradients, &value);
        let (policy, policy_norm) = policy_optimiser.step(policy, of_policy, lr_multiplier)?;
        let (value, value_norm) = value_optimiser.step(value, of_value, lr_multiplier)?;
        let trained = Self {
            policy,
            value,
            policy_optimiser,
            value_optimiser,
        };
        Ok((trained, [policy_norm, value_norm]))
    }
}

impl PtxData<'_> {
    /// The token-mean loss of the next rows of text.
    fn loss(&mut self, policy: &Transformer, device: &Device) -> Result<Tensor<1>, TrainError> {
        let rows = self.sampler.next_batch(self.batch_size);
        let rows: Vec<&PackedRow> = rows.into_iter().map(|i| &self.rows[i]).collect();
        let tokens = rows.iter().map(|r| trained_tokens(r)).sum::<usize>().max(1);
        supervised_loss(policy, &rows, tokens, device)
    }
}

fn figures_of(output: &PpoLossOutput) -> Vec<(&'static str, f64)> {
    vec![
        ("policy_loss", scalar(&output.policy_loss)),
        ("value_loss", scalar(&output.value_loss)),
        ("entropy", scalar(&output.entropy)),
        ("approx_kl", scalar(&output.approx_kl_k3)),
        ("clip_fraction", scalar(&output.clip_fraction)),
        ("ratio", scalar(&output.mean_ratio)),
    ]
}

/// The loss of some answers: clipped policy and value losses and the entropy bonus, means over
/// their tokens.
fn minibatch_loss(
    config: &PpoConfig,
    trained: &Trained,
    rows: &[&ExperienceRow],
    score_offset: f64,
    device: &Device,
) -> (Tensor<1>, PpoLossOutput) {
    let of_rows: Vec<(&[u32], usize)> = rows
        .iter()
        .map(|r| (r.ids.as_slice(), r.prompt_len))
        .collect();
    let (batch, targets) = response_batch(&of_rows, device);
    let (logprobs, entropy) =
        targets.logprobs_entropy(&trained.policy, &batch, config.loss.temperature);
    let values = values_at(&trained.value, &batch, &targets) - score_offset;
    let n = targets.len();
    let constant = |of: fn(&ExperienceRow) -> &[f32]| {
        let flat: Vec<f32> = rows.iter().flat_map(|r| of(r).iter().copied()).collect();
        Tensor::<2>::from_data(TensorData::new(flat, [1, n]), device)
    };
    let input = PpoLossInput {
        logprobs: logprobs.reshape([1, n]),
        old_logprobs: constant(|r| &r.old_logprobs),
        advantages: constant(|r| &r.advantages),
        values: values.reshape([1, n]),
        old_values: constant(|r| &r.old_values),
        returns: constant(|r| &r.returns),
        entropy: entropy.reshape([1, n]),
        mask: Tensor::<2, Bool>::from_data(TensorData::new(vec![true; n], [1, n]), device),
    };
    let loss_config = PpoLossConfig {
        clip_low: config.loss.clip_range,
        clip_high: config.loss.clip_range,
        dual_clip: None,
        value_clip: Some(config.loss.value_clip),
        value_coef: config.loss.value_coef,
        entropy_coef: config.loss.entropy_coef,
    };
    let output = ppo_loss(input, &loss_config, Denominator::Own);
    (output.total_loss.clone(), output)
}
