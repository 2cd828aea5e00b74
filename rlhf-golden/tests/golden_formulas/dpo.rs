//! Losses on preferences without a reward model.

use burn::tensor::{Device, Tensor};
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_loss::{
    DpoInput, DpoLoss, KtoConfig, KtoInput, PairLengths, SimpoConfig, completion_logprobs,
    dpo_loss, kto_loss, kto_reference_point, orpo_loss, simpo_loss,
};

use crate::tensors::{Inputs, SetTensors};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "kto" => kto(&inputs),
        "orpo" => orpo(&inputs),
        "simpo" => simpo(&inputs),
        "dpo_from_logits" => from_logits(&inputs),
        _ => family(&inputs, kind(case)?),
    }
}

/// The member of the family; those without smoothing must be given none.
fn kind(case: &Case) -> Result<DpoLoss, GoldenError> {
    let label_smoothing: f64 = case.get("label_smoothing")?;
    let kind = match case.kind.as_str() {
        "dpo_cdpo" => return Ok(DpoLoss::Conservative { label_smoothing }),
        "dpo_robust" => return Ok(DpoLoss::Robust { label_smoothing }),
        "dpo_norm" => return Ok(DpoLoss::LengthNormalised { label_smoothing }),
        "dpo_sigmoid" => DpoLoss::Sigmoid,
        "dpo_hinge" => DpoLoss::Hinge,
        "dpo_ipo_sum" => DpoLoss::IpoSum,
        "dpo_ipo_mean" => DpoLoss::IpoMean,
        _ => return Err(unknown_kind(case)),
    };
    if label_smoothing != 0.0 {
        return Err(GoldenError(format!(
            "{} takes no label smoothing",
            case.kind
        )));
    }
    Ok(kind)
}

fn lengths(inputs: &Inputs<'_>) -> Result<PairLengths, GoldenError> {
    let (chosen, rejected) = (
        inputs.ints("chosen_lengths")?,
        inputs.ints("rejected_lengths")?,
    );
    Ok(PairLengths { chosen, rejected })
}

fn family(inputs: &Inputs<'_>, kind: DpoLoss) -> Result<Figures, GoldenError> {
    let input = DpoInput {
        chosen_logps: inputs.leaf("chosen_logps")?,
        rejected_logps: inputs.leaf("rejected_logps")?,
        ref_chosen_logps: inputs.plain("ref_chosen_logps")?,
        ref_rejected_logps: inputs.plain("ref_rejected_logps")?,
        lengths: lengths(inputs)?,
    };
    let out = dpo_loss(input.clone(), inputs.case.get("beta")?, kind);
    let mut figures = Figures::default();
    figures.scalar("loss", &out.loss);
    figures.tensor("per_pair", &out.per_pair);
    figures.tensor("chosen_rewards", &out.chosen_rewards);
    figures.tensor("rejected_rewards", &out.rejected_rewards);
    figures.tensor("margins", &out.margins);
    figures.scalar("mean_margin", &out.mean_margin);
    figures.scalar("accuracy", &out.accuracy);
    let gradients = out.loss.backward();
    figures.gradient("grad_chosen_logps", &input.chosen_logps, &gradients);
    figures.gradient("grad_rejected_logps", &input.rejected_logps, &gradients);
    Ok(figures)
}

fn kto(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let case = inputs.case;
    let logps: Tensor<1> = inputs.leaf("logps")?;
    let z0 = kto_reference_point(inputs.plain("kl_logps")?, inputs.plain("kl_ref_logps")?);
    let config = KtoConfig {
        beta: case.get("beta")?,
        desirable_weight: case.get("desirable_weight")?,
        undesirable_weight: case.get("undesirable_weight")?,
    };
    let input = KtoInput {
        logps: logps.clone(),
        ref_logps: inputs.plain("ref_logps")?,
        desirable: inputs.mask("labels")?,
        reference_point: z0.clone(),
    };
    let out = kto_loss(input, &config);
    let mut figures = Figures::default();
    figures.scalar("loss", &out.loss);
    figures.scalar("z0", &z0);
    figures.tensor("per_example", &out.per_example);
    figures.tensor("rewards", &out.rewards);
    figures.gradient("grad_logps", &logps, &out.loss.backward());
    Ok(figures)
}

fn orpo(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (chosen, rejected) = (
        inputs.leaf::<1>("chosen_logps")?,
        inputs.leaf("rejected_logps")?,
    );
    let lambda = inputs.case.get("lambda")?;
    let out = orpo_loss(chosen.clone(), rejected.clone(), lengths(inputs)?, lambda);
    let mut figures = Figures::default();
    figures.scalar("loss", &out.loss);
    figures.scalar("nll", &out.nll);
    figures.tensor("log_odds_ratio", &out.log_odds_ratio);
    figures.tensor("log_sigmoid", &out.log_sigmoid);
    let gradients = out.loss.backward();
    figures.gradient("grad_chosen_logps", &chosen, &gradients);
    figures.gradient("grad_rejected_logps", &rejected, &gradients);
    Ok(figures)
}

fn simpo(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (chosen, rejected) = (
        inputs.leaf::<1>("chosen_logps")?,
        inputs.leaf("rejected_logps")?,
    );
    let config = SimpoConfig {
        beta: inputs.case.get("beta")?,
        gamma: inputs.case.get("gamma")?,
        label_smoothing: inputs.case.get("label_smoothing")?,
    };
    let out = simpo_loss(chosen.clone(), rejected.clone(), lengths(inputs)?, &config);
    let mut figures = Figures::default();
    figures.scalar("loss", &out.loss);
    figures.tensor("per_pair", &out.per_pair);
    figures.tensor("chosen_rewards", &out.chosen_rewards);
    figures.tensor("rejected_rewards", &out.rejected_rewards);
    figures.tensor("margins", &out.margins);
    figures.scalar("accuracy", &out.accuracy);
    let gradients = out.loss.backward();
    figures.gradient("grad_chosen_logps", &chosen, &gradients);
    figures.gradient("grad_rejected_logps", &rejected, &gradients);
    Ok(figures)
}

fn from_logits(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (chosen, rejected) = (
        inputs.leaf::<3>("chosen_logits")?,
        inputs.leaf("rejected_logits")?,
    );
    let logps = |logits: &Tensor<3>, side: &str| -> Result<Tensor<1>, GoldenError> {
        let mask = inputs.mask::<2>(&format!("{side}_mask"))?;
        Ok(completion_logprobs(
            logits.clone(),
            inputs.ints(&format!("{side}_ids"))?,
            &mask,
        ))
    };
    let no_lengths = || Tensor::zeros([1], inputs.device);
    let input = DpoInput {
        chosen_logps: logps(&chosen, "chosen")?,
        rejected_logps: logps(&rejected, "rejected")?,
        ref_chosen_logps: inputs.plain("ref_chosen_logps")?,
        ref_rejected_logps: inputs.plain("ref_rejected_logps")?,
        lengths: PairLengths {
            chosen: no_lengths(),
            rejected: no_lengths(),
        },
    };
    let mut figures = Figures::default();
    figures.tensor("chosen_logps", &input.chosen_logps);
    figures.tensor("rejected_logps", &input.rejected_logps);
    let out = dpo_loss(input, inputs.case.get("beta")?, DpoLoss::Sigmoid);
    figures.scalar("loss", &out.loss);
    let gradients = out.loss.backward();
    figures.gradient("grad_chosen_logits", &chosen, &gradients);
    figures.gradient("grad_rejected_logits", &rejected, &gradients);
    Ok(figures)
}
