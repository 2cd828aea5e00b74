//! The parts that blocks are made of: matrices with and without bias, and norms.

use crate::{LoraAdapter, ModelConfig};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use rlhf_kernels::{
    add_linear, add_rms_norm, add_rms_norm_linear, layer_norm, linear, rms_norm, rms_norm_linear,
    swiglu, swiglu_linear,
};
use rlhf_random::Rng;

/// Matrix products of fewer rows than this take another route through the library and round
/// differently; they are filled up, so that a row gets the same bits alone and in any batch.
const MIN_ROWS: usize = 8;

/// `x · w` for `x` `[n, in]`, `w` `[in, out]`.
pub(crate) fn project(x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    let [y] = project_each(x, [w]);
    y
}

/// [`project`] by several matrices.
fn project_each<const N: usize>(x: Tensor<2>, weights: [Tensor<2>; N]) -> [Tensor<2>; N] {
    let [rows, width] = x.dims();
    if rows >= MIN_ROWS {
        return linear(x, weights);
    }
    let fill = Tensor::zeros([MIN_ROWS - rows, width], &x.device());
    linear(Tensor::cat(vec![x, fill], 0), weights).map(|y| y.narrow(0, 0, rows))
}

/// `y + x · w`, as [`project`].
pub(crate) fn add_projected(y: Tensor<2>, x: Tensor<2>, w: Tensor<2>) -> Tensor<2> {
    if x.dims()[0] >= MIN_ROWS {
        return add_linear(y, x, w);
    }
    y + project(x, w)
}

/// `x · weight + bias`, and what the adapters add.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`, where the family has one.
    pub bias: Option<Param<Tensor<1>>>,
    /// Adapters; at most the last one is trained.
    pub adapters: Vec<LoraAdapter>,
}

impl Linear {
    /// `[n, in]` → `[n, out]`. With a stream, a trained adapter drops some of its input.
    pub fn forward(&self, x: Tensor<2>, dropout: Option<&Rng>) -> Tensor<2> {
        let [y] = Self::forward_each([self], x, [dropout]);
        y
    }

    /// [`Self::forward`] of several matrices with one input.
    pub(crate) fn forward_each<const N: usize>(
        linears: [&Self; N],
        x: Tensor<2>,
        dropout: [Option<&Rng>; N],
    ) -> [Tensor<2>; N] {
        let mut products =
            project_each(x.clone(), linears.map(|linear| linear.weight.val())).into_iter();
        std::array::from_fn(|i| {
            let product = products.next().expect("one a matrix");
            linears[i].with_the_rest(product, &x, dropout[i])
        })
    }

    /// [`Self::forward_each`] of the norm of `x`.
    pub(crate) fn normed_each(
        linears: [&Self; 3],
        (norm, config): (&Norm, &ModelConfig),
        x: Tensor<2>,
        dropout: [Option<&Rng>; 3],
    ) -> [Tensor<2>; 3] {
        if norm.serves_matrices_alone(&linears, &x) {
            let (weight, eps) = (norm.applied_weight(config), config.rms_norm_eps);
            let weights = linears.map(|linear| linear.weight.val());
            return Self::biased_each(linears, rms_norm_linear(x, weight, eps, weights));
        }
        Self::forward_each(linears, norm.forward(x, config), dropout)
    }

    /// `x + y`, and [`Self::forward_each`] of its norm.
    pub(crate) fn sum_normed_each(
        linears: [&Self; 2],
        (norm, config): (&Norm, &ModelConfig),
        [x, y]: [Tensor<2>; 2],
        dropout: [Option<&Rng>; 2],
    ) -> (Tensor<2>, [Tensor<2>; 2]) {
        if norm.serves_matrices_alone(&linears, &x) {
            let (weight, eps) = (norm.applied_weight(config), config.rms_norm_eps);
            let weights = linears.map(|linear| linear.weight.val());
            let (sum, products) = add_rms_norm_linear(x, y, weight, eps, weights);
            return (sum, Self::biased_each(linears, products));
        }
        let [sum, normed] = norm.forward_sum(x, y, config);
        (sum, Self::forward_each(linears, normed, dropout))
    }

    /// [`Self::forward`] of `silu(gate) · up`.
    pub(crate) fn gated(&self, [gate, up]: [Tensor<2>; 2], dropout: Option<&Rng>) -> Tensor<2> {
        if self.adapters.is_empty() && up.dims()[0] >= MIN_ROWS {
            return self.biased(swiglu_linear(gate, up, self.weight.val()));
        }
        self.forward(swiglu(gate, up), dropout)
    }

    fn biased_each<const N: usize>(
        linears: [&Self; N],
        products: [Tensor<2>; N],
    ) -> [Tensor<2>; N] {
        let mut products = products.into_iter();
        linears.map(|linear| linear.biased(products.next().expect("one a matrix")))
    }

    fn biased(&self, y: Tensor<2>) -> Tensor<2> {
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze::<2>(),
            None => y,
        }
    }

    /// The product, with what is added to it.
    fn with_the_rest(&self, y: Tensor<2>, x: &Tensor<2>, dropout: Option<&Rng>) -> Tensor<2> {
        let adapters = self.adapters.iter();
        adapters.fold(self.biased(y), |y, adapter| {
            adapter.add_to(y, x.clone(), dropout)
        })
    }

    /// The weight with what the adapters add, `[in, out]`.
    pub fn merged_weight(&self) -> Tensor<2> {
        let products = self.adapters.iter().map(LoraAdapter::product);
        products.fold(self.weight.val(), |weight, product| weight + product)
    }
}

/// A norm over the last axis: LayerNorm where it has a bias, RMSNorm otherwise.
#[derive(Module, Debug)]
pub struct Norm {
    /// `[d]`, as the file holds it.
    pub weight: Param<Tensor<1>>,
    /// `[d]`, of a LayerNorm.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Norm {
    /// Normalises `[…, d]`.
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>, config: &ModelConfig) -> Tensor<D> {
        let (weight, eps) = (self.applied_weight(config), config.rms_norm_eps);
        match &self.bias {
            Some(bias) => layer_norm(x, weight, bias.val(), eps),
            None => rms_norm(x, weight, eps),
        }
    }

    /// Whether nothing but these matrices reads its output, so that one operation serves.
    fn serves_matrices_alone(&self, linears: &[&Linear], x: &Tensor<2>) -> bool {
        let alone = |linear: &&Linear| linear.adapters.is_empty();
        self.bias.is_none() && x.dims()[0] >= MIN_ROWS && linears.iter().all(alone)
    }

    /// The weight that numbers are multiplied with.
    fn applied_weight(&self, config: &ModelConfig) -> Tensor<1> {
        if self.bias.is_none() && config.family.norm_plus_one() {
            self.weight.val() + 1.0
        } else {
            self.weight.val()
        }
    }

    /// `x + y` and what [`Self::forward`] makes of it.
    pub(crate) fn forward_sum<const D: usize>(
        &self,
        x: Tensor<D>,
        y: Tensor<D>,
        config: &ModelConfig,
    ) -> [Tensor<D>; 2] {
        if self.bias.is_none() {
            return add_rms_norm(x, y, self.applied_weight(config), config.rms_norm_eps);
        }
        let sum = x + y;
        [sum.clone(), self.forward(sum, config)]
    }
}
