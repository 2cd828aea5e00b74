//! Advantages without a value function, and the loss of GRPO.

use burn::tensor::{Device, Tensor};
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_loss::{
    Denominator, GrpoInput, GrpoKl, GrpoLossConfig, KlEstimator, KlRewardConfig, KlRewardInput,
    RatioLevel, Reduction, Whiten, dr_grpo_advantages, grpo_advantages, grpo_batch_std_advantages,
    grpo_loss, kl_penalised_rewards, reinforce_pp_advantages, reinforce_pp_baseline_advantages,
    remax_advantages, rloo_advantages,
};

use crate::tensors::{Inputs, SetTensors};
use crate::unknown_kind;

const BIASED: Whiten = Whiten {
    shift: true,
    biased: true,
    eps: 1e-8,
};

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "reinforce_pp_advantages" => return reinforce_pp(&inputs),
        "reinforce_pp_baseline_advantages" => return reinforce_pp_baseline(&inputs),
        "grpo_loss" => return loss(&inputs),
        _ => {}
    }
    let scores = || inputs.plain::<2>("scores");
    let advantages = match case.kind.as_str() {
        "grpo_advantages" => grpo_advantages(scores()?, case.get("eps")?),
        "grpo_batch_std_advantages" => grpo_batch_std_advantages(scores()?, case.get("eps")?),
        "dr_grpo_advantages" => dr_grpo_advantages(scores()?),
        "rloo_advantages" => rloo_advantages(scores()?),
        "remax_advantages" => remax_advantages(scores()?, inputs.plain("greedy_scores")?),
        _ => return Err(unknown_kind(case)),
    };
    let mut figures = Figures::default();
    figures.tensor("advantages", &advantages);
    Ok(figures)
}

fn reinforce_pp(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let mask = inputs.mask::<2>("mask")?;
    let input = KlRewardInput {
        scores: inputs.plain("scores")?,
        logprobs: inputs.plain("logprobs")?,
        ref_logprobs: inputs.plain("ref_logprobs")?,
        mask: mask.clone(),
        missing_eos: None,
    };
    let config = KlRewardConfig {
        beta: inputs.case.get("beta")?,
        estimator: KlEstimator::K1,
        score_clip: None,
    };
    let rewards = kl_penalised_rewards(input, &config).rewards;
    let gamma = inputs.case.get("gamma")?;
    let unbiased = reinforce_pp_advantages(rewards.clone(), &mask, gamma, Whiten::default());
    let biased = reinforce_pp_advantages(rewards, &mask, gamma, BIASED);
    let mut figures = Figures::default();
    figures.tensor("returns", &unbiased.returns);
    figures.tensor("advantages", &unbiased.advantages);
    figures.tensor("advantages_biased_var", &biased.advantages);
    Ok(figures)
}

fn reinforce_pp_baseline(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (scores, mask) = (inputs.plain::<2>("scores")?, inputs.mask::<2>("mask")?);
    let run = |how| reinforce_pp_baseline_advantages(scores.clone(), &mask, how);
    let mut figures = Figures::default();
    figures.tensor("advantages", &run(Whiten::default()));
    figures.tensor("advantages_biased_var", &run(BIASED));
    Ok(figures)
}

fn ratio_level(name: &str) -> Result<RatioLevel, GoldenError> {
    match name {
        "token" => Ok(RatioLevel::Token),
        "sequence" => Ok(RatioLevel::Sequence),
        _ => Err(GoldenError(format!("no ratio level is called {name:?}"))),
    }
}

fn loss(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let case = inputs.case;
    let logprobs: Tensor<2> = inputs.leaf("logprobs")?;
    let kl = GrpoKl {
        ref_logprobs: inputs.plain("ref_logprobs")?,
        beta: case.get("beta")?,
    };
    let input = GrpoInput {
        logprobs: logprobs.clone(),
        old_logprobs: inputs.plain("old_logprobs")?,
        advantages: inputs.plain("advantages")?,
        mask: inputs.mask("mask")?,
        kl: Some(kl),
    };
    let (clip_low, clip_high) = (case.get("clip_low")?, case.get("clip_high")?);
    let ratio_level = ratio_level(&case.get::<String>("ratio_level")?)?;
    let max_length = case.get("max_length")?;
    let mut figures = Figures::default();
    for (name, reduction) in [
        ("token_mean", Reduction::TokenMean),
        ("seq_mean_token_mean", Reduction::SequenceMeanTokenMean),
        ("seq_mean_token_sum", Reduction::SequenceMeanTokenSum),
        ("constant_length", Reduction::ConstantLength { max_length }),
    ] {
        let config = GrpoLossConfig {
            clip_low,
            clip_high,
            ratio_level,
            reduction,
        };
        let out = grpo_loss(input.clone(), &config, Denominator::Own);
        figures.scalar(&format!("loss_{name}"), &out.loss);
        let gradients = out.loss.backward();
        figures.gradient(&format!("grad_logprobs_{name}"), &logprobs, &gradients);
        figures.tensor("per_token_loss", &out.per_token_loss);
        figures.tensor("ratio", &out.ratio);
        figures.scalar("clip_fraction", &out.clip_fraction);
        if let Some(mean_kl) = out.mean_kl {
            figures.scalar("mean_kl", &mean_kl);
        }
    }
    Ok(figures)
}
