//! A matrix with a low-rank adapter. The cases keep matrices as `[out, in]`, the model as `[in, out]`.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor};
use rlhf_golden::{Case, Figures, GoldenError};
use rlhf_model::{Linear, LoraAdapter, LoraScaling};

use crate::tensors::{Inputs, SetTensors};
use crate::unknown_kind;

pub(crate) fn run(case: &Case, device: &Device) -> Result<Figures, GoldenError> {
    if case.kind != "lora" {
        return Err(unknown_kind(case));
    }
    let inputs = Inputs { case, device };
    let transposed = |x: Tensor<2>| x.swap_dims(0, 1);
    let (a, b) = (inputs.leaf::<2>("lora_a")?, inputs.leaf::<2>("lora_b")?);
    let scaling = LoraScaling {
        alpha: case.get("alpha")?,
        rslora: case.get("rslora")?,
    };
    let rank: usize = case.get("rank")?;
    let plain = |name| Ok::<_, GoldenError>(transposed(inputs.plain(name)?));
    let mut adapter = LoraAdapter::new(plain("lora_a")?, plain("lora_b")?, scaling);
    // As parts of the leaves' graph, so that the leaves' gradients can be read.
    adapter.a = Param::initialized(ParamId::new(), transposed(a.clone()));
    adapter.b = Param::initialized(ParamId::new(), transposed(b.clone()));
    if adapter.rank() != rank {
        return Err(GoldenError(format!("A has the rank {}", adapter.rank())));
    }
    let weight = transposed(inputs.plain("weight")?).autodiff();
    let bias = inputs.plain_if_any::<1>("bias")?;
    let linear = Linear {
        weight: Param::initialized(ParamId::new(), weight),
        bias: bias.map(|bias| Param::from_tensor(bias.autodiff())),
        adapters: vec![adapter],
    };
    let output = linear.forward(inputs.plain::<2>("x")?.autodiff(), None);
    let mut figures = Figures::default();
    figures.set("scaling", scaling.factor(rank));
    figures.tensor("merged_weight", &transposed(linear.merged_weight()));
    figures.tensor("output", &output);
    let probe = inputs.plain::<2>("probe")?.autodiff();
    let gradients = (output * probe).sum().backward();
    for (name, leaf) in [("grad_lora_a", &a), ("grad_lora_b", &b)] {
        let gradient = leaf.grad(&gradients);
        let gradient = gradient.ok_or_else(|| GoldenError(format!("{name}: there is none")))?;
        figures.tensor(name, &gradient);
    }
    Ok(figures)
}
