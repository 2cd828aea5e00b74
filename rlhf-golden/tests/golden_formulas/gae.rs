//! Advantage estimation, whitening and rewards to go.

use burn::tensor::Device;
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_loss::{Discount, Whiten, gae, reward_to_go, whiten};

use crate::tensors::{Inputs, SetTensors};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    let inputs = Inputs { case, device };
    match case.kind.as_str() {
        "gae" => advantages(&inputs),
        "masked_whiten" => whitening(&inputs),
        "reward_to_go" => to_go(&inputs),
        _ => Err(unknown_kind(case)),
    }
}

fn advantages(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let mask = inputs.mask::<2>("mask")?;
    let bootstrap = inputs.plain_if_any::<1>("bootstrap_values")?;
    let discount = Discount {
        gamma: inputs.case.get("gamma")?,
        lambda: inputs.case.get("lambda")?,
    };
    let (rewards, values) = (inputs.plain("rewards")?, inputs.plain("values")?);
    let out = gae(rewards, values, &mask, bootstrap, discount);
    let whitened = |how| whiten(out.advantages.clone(), &mask, how);
    let how = Whiten::default();
    let mut figures = Figures::default();
    figures.tensor("whitened", &whitened(how));
    figures.tensor(
        "whitened_no_shift",
        &whitened(Whiten {
            shift: false,
            ..how
        }),
    );
    figures.tensor(
        "whitened_biased_var",
        &whitened(Whiten {
            biased: true,
            ..how
        }),
    );
    figures.tensor("advantages", &out.advantages);
    figures.tensor("returns", &out.returns);
    Ok(figures)
}

fn whitening(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (values, mask) = (inputs.plain::<2>("values")?, inputs.mask::<2>("mask")?);
    let eps = inputs.case.get("eps")?;
    let mut figures = Figures::default();
    for (name, shift, biased) in [
        ("shift", true, false),
        ("no_shift", false, false),
        ("shift_biased_var", true, true),
        ("no_shift_biased_var", false, true),
    ] {
        figures.tensor(
            name,
            &whiten(values.clone(), &mask, Whiten { shift, biased, eps }),
        );
    }
    Ok(figures)
}

fn to_go(inputs: &Inputs<'_>) -> Result<Figures, GoldenError> {
    let (rewards, mask) = (inputs.plain("rewards")?, inputs.mask("mask")?);
    let mut figures = Figures::default();
    figures.tensor(
        "returns",
        &reward_to_go(rewards, &mask, inputs.case.get("gamma")?),
    );
    Ok(figures)
}
