//! Losses of the reward model and where its score is read.

use burn::tensor::{Device, Tensor, TensorData};
use rlhf_golden::{Case, Figure, Figures, GoldenError};
use rlhf_loss::{bradley_terry, k_wise, last_valid, last_valid_index, pairs_from_ranks};

use crate::tensors::{Inputs, SetTensors, elements, numbers};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "bradley_terry" => pairs(&inputs),
        "k_wise" => rankings(&inputs),
        "last_valid_token" => last_token(&inputs),
        _ => Err(unknown_kind(case)),
    }
}

fn pairs(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (chosen, rejected) = (inputs.leaf::<1>("chosen")?, inputs.leaf::<1>("rejected")?);
    let margin = inputs.plain_if_any::<1>("margin")?;
    let centre_coef = inputs.case.get("centre_coef")?;
    let out = bradley_terry(chosen.clone(), rejected.clone(), margin, centre_coef);
    let mut figures = Figures::default();
    figures.scalar("loss", &out.loss);
    figures.tensor("per_pair", &out.per_pair);
    figures.scalar("mean_margin", &out.mean_margin);
    figures.scalar("accuracy", &out.accuracy);
    figures.scalar("accuracy_ties_half", &out.accuracy_ties_half);
    let gradients = out.loss.backward();
    figures.gradient("grad_chosen", &chosen, &gradients);
    figures.gradient("grad_rejected", &rejected, &gradients);
    Ok(figures)
}

fn rankings(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let template = inputs.case.value("scores")?;
    let scores: Vec<f32> = numbers(template)?
        .iter()
        .map(|&score| score as f32)
        .collect();
    let count = scores.len();
    let data = TensorData::new(scores, [count]);
    let scores = Tensor::<1>::from_data(data, inputs.device)
        .autodiff()
        .require_grad();
    let ranks: Vec<Vec<i64>> = inputs.case.get("ranks")?;
    let mut first = 0;
    let mut pairs = Vec::new();
    for ranks in &ranks {
        let of_prompt = pairs_from_ranks(ranks).into_iter();
        pairs.push(
            of_prompt
                .map(|(i, j)| (first + i, first + j))
                .collect::<Vec<_>>(),
        );
        first += ranks.len();
    }
    let out = k_wise(scores.clone(), &pairs);
    let mut figures = Figures::default();
    figures.scalar("loss", &out.loss);
    figures.tensor("per_prompt", &out.per_prompt);
    figures.scalar("accuracy", &out.accuracy);
    figures.set("num_pairs", out.num_pairs);
    let gradients = out.loss.backward();
    let gradient = scores
        .grad(&gradients)
        .unwrap_or_else(|| scores.zeros_like());
    figures.set("grad_scores", Figure::like(&elements(&gradient), template));
    Ok(figures)
}

fn last_token(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    inputs
        .case
        .without_effect(&["input_ids", "pad_token_id", "eos_token_id"]);
    let (scores, mask) = (
        inputs.plain::<2>("scores")?,
        inputs.mask::<2>("attention_mask")?,
    );
    let index = last_valid_index(&mask);
    let scores = elements(&last_valid(scores, &mask));
    let scores = index
        .iter()
        .zip(scores)
        .map(|(index, score)| index.map(|_| score));
    let mut figures = Figures::default();
    figures.set("score", scores.collect::<Vec<_>>());
    figures.set("index", index);
    Ok(figures)
}
