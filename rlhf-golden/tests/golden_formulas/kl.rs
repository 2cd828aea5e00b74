//! Divergences, rewards with a KL penalty, and the adaptive coefficient.

use burn::tensor::Device;
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_loss::{
    AdaptiveKl, KlEstimator, KlRewardConfig, KlRewardInput, MissingEos, kl_estimate, kl_full,
    kl_penalised_rewards, last_valid_index, mean_over, sum_over_rows,
};

use crate::tensors::{Inputs, SetTensors};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "kl_estimators" => estimators(&inputs),
        "kl_full" => full(&inputs),
        "kl_penalised_rewards" => rewards(&inputs),
        "adaptive_kl" => adaptive(case),
        _ => Err(unknown_kind(case)),
    }
}

fn estimators(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let logprobs = inputs.leaf::<2>("logprobs")?;
    let reference = inputs.plain::<2>("ref_logprobs")?;
    let mask = inputs.mask::<2>("mask")?;
    let mut figures = Figures::default();
    for (name, kind) in [
        ("k1", KlEstimator::K1),
        ("k2", KlEstimator::K2),
        ("k3", KlEstimator::K3),
    ] {
        let kl = kl_estimate(logprobs.clone(), reference.clone(), &mask, kind);
        let mean = mean_over(kl.clone(), &mask);
        figures.tensor(name, &kl);
        figures.scalar(&format!("{name}_mean"), &mean);
        figures.tensor(&format!("{name}_sequence_sum"), &sum_over_rows(kl, &mask));
        let gradients = mean.backward();
        figures.gradient(
            &format!("grad_logprobs_of_{name}_mean"),
            &logprobs,
            &gradients,
        );
    }
    Ok(figures)
}

fn full(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let policy = inputs.leaf::<3>("logits")?;
    let reference = inputs.plain::<3>("ref_logits")?;
    let mask = inputs.mask::<2>("mask")?;
    let forward = kl_full(policy.clone(), reference.clone(), &mask);
    let backward = kl_full(reference, policy.clone(), &mask);
    let mut figures = Figures::default();
    for (name, kl) in [("policy_ref", forward), ("ref_policy", backward)] {
        let mean = mean_over(kl.clone(), &mask);
        figures.tensor(&format!("kl_{name}"), &kl);
        figures.scalar(&format!("mean_kl_{name}"), &mean);
        let gradients = mean.backward();
        figures.gradient(
            &format!("grad_logits_of_mean_kl_{name}"),
            &policy,
            &gradients,
        );
    }
    Ok(figures)
}

fn estimator(name: &str) -> Result<KlEstimator, GoldenError> {
    match name {
        "k1" => Ok(KlEstimator::K1),
        "k2" => Ok(KlEstimator::K2),
        "k3" => Ok(KlEstimator::K3),
        _ => Err(GoldenError(format!("no KL estimator is called {name:?}"))),
    }
}

fn rewards(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let case = inputs.case;
    let mask = inputs.mask::<2>("mask")?;
    let has_eos = case
        .find("has_eos")
        .map(|_| inputs.mask::<1>("has_eos"))
        .transpose()?;
    let penalty: Option<f64> = case.get("missing_eos_penalty")?;
    let missing_eos = match (has_eos, penalty) {
        (Some(has_eos), Some(penalty)) => Some(MissingEos { has_eos, penalty }),
        (None, Some(_)) => return Err(GoldenError("a penalty without has_eos".into())),
        (_, None) => None,
    };
    let input = KlRewardInput {
        scores: inputs.plain("scores")?,
        logprobs: inputs.plain("logprobs")?,
        ref_logprobs: inputs.plain("ref_logprobs")?,
        mask: mask.clone(),
        missing_eos,
    };
    let config = KlRewardConfig {
        beta: case.get("beta")?,
        estimator: estimator(&case.get::<String>("estimator")?)?,
        score_clip: case.get("score_clip")?,
    };
    let out = kl_penalised_rewards(input, &config);
    let mut figures = Figures::default();
    figures.tensor("rewards", &out.rewards);
    figures.tensor("kl", &out.kl);
    figures.set("score_index", last_valid_index(&mask));
    figures.tensor("effective_scores", &out.effective_scores);
    figures.tensor("kl_sequence_sum", &out.kl_sequence_sum);
    figures.scalar("mean_kl_sequence_sum", &out.mean_kl_sequence_sum);
    figures.scalar("mean_non_score_reward", &out.mean_non_score_reward);
    figures.tensor("reward_sequence_sum", &sum_over_rows(out.rewards, &mask));
    Ok(figures)
}

fn adaptive(case: &Case) -> Result<Figures, GoldenError> {
    let mut control = AdaptiveKl {
        coef: case.get("init")?,
        target: case.get("target")?,
        horizon: case.get("horizon")?,
    };
    let episodes: usize = case.get("n_steps")?;
    let observed: Vec<f64> = case.get("observed_kl")?;
    let coefs = observed.into_iter().map(|kl| {
        control.observe(kl, episodes);
        control.coef
    });
    let mut figures = Figures::default();
    figures.set("coefs", coefs.collect::<Vec<_>>());
    Ok(figures)
}
