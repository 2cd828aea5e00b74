//! The settings of PPO.

use rlhf_train::{AdamWConfig, TrainError};
use serde::{Deserialize, Serialize};

/// How many answers, how often, how far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoConfig {
    /// Updates, each with fresh answers.
    pub steps: u64,
    /// Answers an update.
    pub rollouts: usize,
    /// Answers a gradient step.
    pub minibatch_size: usize,
    /// Answers a forward pass of a gradient step; the step is the same whatever it is.
    pub micro_batch_size: usize,
    /// Passes over an update's answers.
    pub epochs: usize,
    /// The learning rate of policy and critic.
    pub learning_rate: f64,
    /// Updates in which the rate climbs from 0.
    pub warmup_steps: u64,
    /// β: the price of a nat of KL to the reference policy.
    pub kl_coef: f64,
    /// The weight of the pre-training loss (PPO-ptx); 0 leaves it out.
    pub ptx_coef: f64,
    /// An update's remaining minibatches are left out once its KL to the rollout policy is above
    /// this.
    pub target_kl: f64,
    /// Training ends once the KL to the reference policy, summed over an answer, is above this.
    pub stop_kl: f64,
    /// Whether the values come from a head on the policy's own hidden states, which starts at 0,
    /// instead of a value model that starts as the reward model: half the work of an update, and one
    /// trunk that both losses pull at.
    pub shared_trunk: bool,
    /// Whether the log-probs by which answers were drawn serve as the old ones, without a pass of the
    /// policy over the answers. They agree with the trainer's to rounding, which one answer in 16 is read
    /// again for to see. A shared trunk reads all answers anyway, and its log-probs serve.
    pub sampler_logprobs: bool,
    /// Updates between checkpoints; 0 saves only when interrupted.
    pub checkpoint_every: u64,
    /// The loss and what it is made of.
    pub loss: PpoLoss,
}

/// The constants of the loss and of the answers that it is taken on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PpoLoss {
    /// New tokens of an answer at most.
    pub max_new_tokens: usize,
    /// The temperature of sampling and of all log-probs. Truncated sampling (top-k, top-p, min-p)
    /// is not offered: it would bias the ratio.
    pub temperature: f64,
    /// The probability ratio is clipped to 1 ± this.
    pub clip_range: f64,
    /// New values are clipped to the old ± this.
    pub value_clip: f64,
    /// The weight of the value loss.
    pub value_coef: f64,
    /// The weight of the entropy bonus.
    pub entropy_coef: f64,
    /// γ: the discount a token.
    pub gamma: f64,
    /// λ of generalised advantage estimation.
    pub gae_lambda: f64,
    /// Taken off the score of an answer that does not end.
    pub missing_eos_penalty: f64,
    /// The bound on the global norm of the gradients, policy and critic each.
    pub max_grad_norm: f64,
}

impl Default for PpoConfig {
    fn default() -> Self {
        Self {
            steps: 100,
            rollouts: 64,
            minibatch_size: 32,
            micro_batch_size: 64,
            epochs: 2,
            learning_rate: 1e-4,
            warmup_steps: 5,
            kl_coef: 0.05,
            ptx_coef: 0.5,
            target_kl: 0.3,
            stop_kl: 2.0,
            shared_trunk: false,
            sampler_logprobs: false,
            checkpoint_every: 25,
            loss: PpoLoss::default(),
        }
    }
}

impl Default for PpoLoss {
    fn default() -> Self {
        Self {
            max_new_tokens: 40,
            temperature: 1.0,
            clip_range: 0.2,
            value_clip: 0.2,
            value_coef: 0.1,
            entropy_coef: 0.0,
            gamma: 1.0,
            gae_lambda: 0.95,
            missing_eos_penalty: 1.0,
            max_grad_norm: 1.0,
        }
    }
}

impl PpoConfig {
    /// The optimiser of policy and critic: no weight decay, which would pull away from the
    /// reference.
    pub(crate) fn optimiser(&self) -> AdamWConfig {
        AdamWConfig {
            learning_rate: self.learning_rate,
            beta2: 0.95,
            weight_decay: 0.0,
            max_grad_norm: self.loss.max_grad_norm,
            ..AdamWConfig::default()
        }
    }

    /// Rows of pre-training text a gradient step.
    pub fn ptx_batch_size(&self) -> usize {
        if self.ptx_coef > 0.0 {
            (self.minibatch_size / 2).max(1)
        } else {
            0
        }
    }

    /// Rows of pre-training text that a whole run may draw.
    pub fn ptx_rows(&self) -> usize {
        let minibatches = self.epochs * self.rollouts.div_ceil(self.minibatch_size.max(1));
        (self.steps as usize).saturating_mul(minibatches * self.ptx_batch_size())
    }

    /// Refuses settings that can't be used.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self) -> Result<(), TrainError> {
        let refuse =
            |key: &str, reason: &str| Err(TrainError::config(format!("ppo.{key}"), reason));
        let counts = [
            ("rollouts", self.rollouts),
            ("minibatch_size", self.minibatch_size),
            ("micro_batch_size", self.micro_batch_size),
            ("epochs", self.epochs),
        ];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return refuse(key, "must be at least 1");
        }
        if !self.rollouts.is_multiple_of(self.minibatch_size) {
            let sizes = format!(
                "{} answers don't divide into minibatches of {}; make rollouts a multiple of \
                 ppo.minibatch_size",
                self.rollouts, self.minibatch_size
            );
            return refuse("rollouts", &sizes);
        }
        let not_below_0 = [
            ("kl_coef", self.kl_coef),
            ("ptx_coef", self.ptx_coef),
            ("loss.value_clip", self.loss.value_clip),
            ("loss.value_coef", self.loss.value_coef),
            ("loss.entropy_coef", self.loss.entropy_coef),
            ("loss.missing_eos_penalty", self.loss.missing_eos_penalty),
        ];
        if let Some((key, _)) = not_below_0
            .iter()
            .find(|(_, v)| !(*v >= 0.0 && v.is_finite()))
        {
            return refuse(key, "must be 0 or above");
        }
        if !(self.loss.temperature > 0.0 && self.loss.temperature.is_finite()) {
            return refuse(
                "loss.temperature",
                "must be above 0: a greedy policy has no gradient",
            );
        }
        if self.loss.max_new_tokens == 0 {
            return refuse("loss.max_new_tokens", "must be at least 1");
        }
        let above_0 = [
            ("loss.clip_range", self.loss.clip_range),
            ("loss.max_grad_norm", self.loss.max_grad_norm),
        ];
        if let Some((key, _)) = above_0.iter().find(|(_, v)| v.is_nan() || *v <= 0.0) {
            return refuse(key, "must be above 0");
        }
        let shares = [
            ("loss.gamma", self.loss.gamma),
            ("loss.gae_lambda", self.loss.gae_lambda),
        ];
        if let Some((key, _)) = shares.iter().find(|(_, v)| !(0.0..=1.0).contains(v)) {
            return refuse(key, "must be between 0 and 1");
        }
        if self.target_kl.is_nan() || self.stop_kl.is_nan() {
            return refuse("target_kl", "target_kl and stop_kl must be numbers");
        }
        self.optimiser().validate("ppo")
    }
}
