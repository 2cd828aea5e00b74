//! What an update of a stage works on, and what that needs of memory.

use crate::config::Config;
use crate::error::CliError;
use burn::tensor::Device;
use rlhf_model::{LoraConfig, ModelConfig};
use rlhf_train::gradients::Division;
use rlhf_train::memory::{TrainingMemory, TrainingShape, training_memory, unless_too_large};

/// One update of a stage at full lengths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Workload {
    /// Updates.
    pub(crate) steps: u64,
    /// Rows that gradients are taken of, counted once for each pass over them.
    pub(crate) rows: usize,
    /// Of those, as many at a time.
    pub(crate) micro_rows: usize,
    /// Rows that are looked at without gradients, counted once for each network.
    pub(crate) forward_rows: usize,
    /// Of those, as many at a time.
    pub(crate) forward_rows_at_once: usize,
    /// Tokens of a row.
    pub(crate) length: usize,
    /// Tokens of a row whose log-probs are wanted.
    pub(crate) targets: usize,
    /// Answers that are sampled, and their new tokens.
    pub(crate) answers: Option<(usize, usize)>,
    /// Steps of each network's optimiser.
    pub(crate) optimiser_steps: usize,
    /// Networks that are trained side by side.
    pub(crate) networks: usize,
    /// Whether it trains adapters where the settings want them; pre-training never does.
    pub(crate) adapts: bool,
    /// Whole models beside them that are not trained.
    frozen: u64,
    /// Whether the best weights so far are kept.
    keeps_best: bool,
}

impl Workload {
    /// Of a stage whose prompts have so many tokens; none for a stage that does not train.
    pub(crate) fn of(config: &Config, stage: &str, prompt: usize) -> Option<Self> {
        let whole = !config.lora.is_on();
        let plain = Self {
            steps: 0,
            rows: 0,
            micro_rows: 0,
            forward_rows: 0,
            forward_rows_at_once: 0,
            length: 0,
            targets: 0,
            answers: None,
            optimiser_steps: 1,
            networks: 1,
            adapts: true,
            frozen: 0,
            keeps_best: true,
        };
        Some(match stage {
            "pretrain" => Self {
                steps: config.pretrain.steps,
                rows: config.pretrain.batch_size,
                micro_rows: config.pretrain.micro_batch_size,
                length: config.pretrain.sequence_length,
                targets: config.pretrain.sequence_length,
                adapts: false,
                keeps_best: false,
                ..plain
            },
            "sft" => Self {
                steps: config.sft.steps,
                rows: (config.sft.batch_size as f64 * (1.0 + config.sft.pretraining_share))
                    as usize,
                micro_rows: config.sft.micro_batch_size,
                length: config.sft.max_length,
                targets: config.sft.max_length,
                ..plain
            },
            "reward" => Self {
                steps: config.reward.steps,
                rows: config.reward.batch_size.saturating_mul(2),
                micro_rows: config.reward.micro_batch_size.saturating_mul(2),
                length: config.reward.max_length,
                ..plain
            },
            "dpo" => Self {
                steps: config.dpo.steps,
                rows: config.dpo.batch_size.saturating_mul(2),
                micro_rows: config.dpo.micro_batch_size.saturating_mul(2),
                forward_rows: config.dpo.batch_size.saturating_mul(2),
                forward_rows_at_once: config.dpo.micro_batch_size.saturating_mul(2),
                length: config.dpo.max_length,
                targets: config.dpo.max_length,
                frozen: u64::from(whole),
                ..plain
            },
            "ppo" => {
                let (ppo, new) = (&config.ppo, config.ppo.loss.max_new_tokens);
                let minibatches = ppo.rollouts.div_ceil(ppo.minibatch_size.max(1));
                let text = minibatches.saturating_mul(ppo.ptx_batch_size());
                let networks = if ppo.shared_trunk { 1 } else { 2 };
                let spared = usize::from(ppo.sampler_logprobs && !ppo.shared_trunk);
                Self {
                    steps: ppo.steps,
                    rows: (ppo.epochs).saturating_mul(ppo.rollouts.saturating_add(text / networks)),
                    micro_rows: ppo.micro_batch_size.min(ppo.minibatch_size),
                    // Policy, reference, reward model and a value model look at every answer, the
                    // policy not where the sampler's log-probs serve.
                    forward_rows: ppo.rollouts.saturating_mul(2 + networks - spared),
                    forward_rows_at_once: ppo.rollouts,
                    length: prompt.saturating_add(new),
                    targets: new,
                    answers: Some((ppo.rollouts, new)),
                    optimiser_steps: ppo.epochs.saturating_mul(minibatches),
                    networks,
                    adapts: true,
                    // Reference and reward model; with adapters, the policy shares the weights of the
                    // one, and a value model those of the other.
                    frozen: match (whole, ppo.shared_trunk) {
                        (true, _) => 2,
                        (false, true) => 1,
                        (false, false) => 0,
                    },
                    keeps_best: false,
                }
            }
            _ => return None,
        })
    }

    /// What it needs of memory.
    ///
    /// # Errors
    /// If the adapters fit no matrix of the model.
    pub(crate) fn memory(
        &self,
        config: &Config,
        model: &ModelConfig,
        device: &Device,
    ) -> Result<TrainingMemory, CliError> {
        let whole = LoraConfig::default();
        let length = self.length.min(model.max_position_embeddings);
        let parameters = model.num_parameters() * self.networks;
        let rows = [self.rows, length];
        let at_once = Division::at_once(rows, self.micro_rows, self.networks, parameters, device);
        Ok(training_memory(&TrainingShape {
            model,
            lora: if self.adapts { &config.lora } else { &whole },
            gradient_checkpointing: config.memory.gradient_checkpointing,
            trained: self.networks as u64,
            frozen: self.frozen,
            keeps_best: self.keeps_best,
            parts: at_once.parts as u64,
            sums: at_once.sums as u64,
            tokens: at_once.rows.saturating_mul(length) as u64,
            targets: at_once.rows.saturating_mul(self.targets.min(length)) as u64,
        })?)
    }
}

/// Refuses a stage that can't fit into the memory that is free, before anything is loaded.
///
/// # Errors
/// If it can't.
pub(crate) fn refuse_too_large(
    config: &Config,
    stage: &str,
    model: &ModelConfig,
    device: &Device,
) -> Result<(), CliError> {
    let prompt = model.max_position_embeddings.min(128);
    if let (Some(work), Some(free)) = (Workload::of(config, stage, prompt), free_memory()) {
        unless_too_large(stage, &work.memory(config, model, device)?, free)?;
    }
    Ok(())
}

/// Bytes of memory that this process may still take, where the system says so.
pub(crate) fn free_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    let number = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse().ok()
    };
    let limit = number("memory.max").zip(number("memory.current"));
    let left = limit.map_or(u64::MAX, |(most, now)| most.saturating_sub(now));
    Some((kib * 1024).min(left))
}
