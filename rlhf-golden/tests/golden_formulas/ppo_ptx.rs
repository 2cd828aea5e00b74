//! PPO with pre-training gradients mixed in.

use burn::tensor::Device;
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_loss::{Denominator, SftLossConfig, ppo_loss, ppo_ptx_loss, sft_loss};

use crate::tensors::{Inputs, SetTensors};
use crate::{ppo, unknown_kind};

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    if case.kind != "ppo_ptx" {
        return Err(unknown_kind(case));
    }
    let inputs = Inputs { case, device };
    let input = ppo::input(&inputs, inputs.leaf("logprobs")?, inputs.leaf("entropy")?)?;
    let ppo = ppo_loss(input.clone(), &ppo::config(case)?, Denominator::Own);
    let lm_logits = inputs.leaf::<3>("lm_logits")?;
    let (ids, mask) = (inputs.ints("lm_input_ids")?, inputs.mask("lm_loss_mask")?);
    let lm = sft_loss(
        lm_logits.clone(),
        ids,
        mask,
        &SftLossConfig::default(),
        Denominator::Own,
    );
    let mut figures = Figures::default();
    figures.scalar("ppo_loss", &ppo.total_loss);
    figures.scalar("lm_loss", &lm.loss);
    figures.scalar("lm_num_tokens", &lm.num_tokens);
    let total = ppo_ptx_loss(ppo.total_loss, lm.loss, case.get("ptx_coef")?);
    figures.scalar("total_loss", &total);
    let gradients = total.backward();
    figures.gradient("grad_logprobs", &input.logprobs, &gradients);
    figures.gradient("grad_values", &input.values, &gradients);
    figures.gradient("grad_entropy", &input.entropy, &gradients);
    figures.gradient("grad_lm_logits", &lm_logits, &gradients);
    Ok(figures)
}
