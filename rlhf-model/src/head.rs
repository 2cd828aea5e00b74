//! A scalar read from hidden states: reward and value models.

use crate::parameters::{Drawn, score_spec};
use crate::transformer::with_fresh_ids;
use crate::{CausalLm, ModelConfig, TokenBatch, Transformer};
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// A transformer with a linear head of one output and no bias, on the hidden states after the
/// final norm (Stiennon et al., 2020).
#[derive(Module, Debug)]
pub struct ScoreModel {
    /// The trunk; it has no output head of its own.
    pub backbone: Transformer,
    /// The head's weight, `[d]`.
    pub head: Param<Tensor<1>>,
}

impl ScoreModel {
    /// Puts a fresh head, σ = 1/√d, on a trunk. All parameters get new ids: the trunk may be a
    /// clone of a policy that is trained beside it.
    pub fn from_backbone(backbone: Transformer, seed: u64) -> Self {
        let backbone = with_fresh_ids(backbone.without_head());
        let config = backbone.config().clone();
        let values = Drawn::new(seed, &config).draw(&score_spec(&config));
        Self {
            head: head_parameter(values, &backbone.device()),
            backbone,
        }
    }

    /// A trunk and the weight of its head, `[d]`, as read from a folder.
    pub(crate) fn from_parts(backbone: Transformer, head: Vec<f32>) -> Self {
        let device = backbone.device();
        Self {
            backbone: backbone.without_head(),
            head: head_parameter(head, &device),
        }
    }

    /// The same model under parameter ids of its own, to be trained beside another that stays.
    pub fn with_fresh_ids(self) -> Self {
        with_fresh_ids(self)
    }

    /// The trunk's configuration.
    pub fn config(&self) -> &ModelConfig {
        self.backbone.config()
    }

    /// The scalar at every column, `[batch, time]`; arbitrary at padding.
    pub fn scores(&self, batch: &TokenBatch) -> Tensor<2> {
        scalar_head(self.backbone.hidden(batch, None), self.head.val())
    }

    /// The scalar at each row's last token, `[batch]`, found by the rows' lengths, never by a
    /// padding id.
    ///
    /// # Panics
    /// If a row has no token.
    pub fn last_token_scores(&self, batch: &TokenBatch) -> Tensor<1> {
        let hidden = self.backbone.hidden(batch, None);
        let [b, t, d] = hidden.dims();
        let last: Vec<i32> = (0..b)
            .map(|row| {
                let last = batch.last_valid(row);
                (row * t + last.unwrap_or_else(|| panic!("row {row} has no token"))) as i32
            })
            .collect();
        let last = Tensor::<1, Int>::from_data(TensorData::new(last, [b]), &batch.device());
        let hidden = hidden.reshape([b * t, d]).select(0, last);
        scalar_head(hidden.reshape([b, 1, d]), self.head.val()).reshape([b])
    }
}

fn head_parameter(values: Vec<f32>, device: &Device) -> Param<Tensor<1>> {
    let shape = [values.len()];
    Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), device))
}

/// `hidden · head`, `[batch, time, d]` and `[d]` → `[batch, time]`.
pub fn scalar_head(hidden: Tensor<3>, head: Tensor<1>) -> Tensor<2> {
    let [b, t, d] = hidden.dims();
    (hidden.reshape([b * t, d]) * head.unsqueeze::<2>())
        .sum_dim(1)
        .reshape([b, t])
}
