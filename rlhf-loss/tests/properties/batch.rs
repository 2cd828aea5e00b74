//! Random batches of responses, and what is compared between two runs.

use burn::tensor::{Bool, Device, Tensor, TensorData};
use proptest::collection::vec;
use proptest::prelude::*;
use rlhf_loss::{
    Denominator, GrpoInput, GrpoKl, GrpoLossConfig, PpoLossConfig, PpoLossInput, PpoLossOutput,
    RatioLevel, Reduction, grpo_loss, ppo_loss,
};

/// Columns of one response token: new, old and reference log-prob, advantage, value, old value,
/// return, entropy.
pub(crate) const COLUMNS: usize = 8;

/// A response: its tokens, each with all columns.
pub(crate) type Row = Vec<[f32; COLUMNS]>;

/// Between one and `rows` responses of 0 to 5 tokens with ordinary figures.
pub(crate) fn rows(rows: usize) -> impl Strategy<Value = Vec<Row>> {
    let token = [
        -4.0f32..0.0,
        -4.0f32..0.0,
        -4.0f32..0.0,
        -2.0f32..2.0,
        -2.0f32..2.0,
        -2.0f32..2.0,
        -2.0f32..2.0,
        0.0f32..2.0,
    ];
    vec(vec(token, 0..6), 1..=rows)
}

/// What stands at positions that do not count.
pub(crate) const RUBBISH: [f32; 6] = [0.0, f32::NAN, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY];

/// Rows in a `[batch, time]` layout: `before` masked positions, the row, masked positions up to
/// `time`, all masked positions filled with `rubbish`.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) rows: Vec<Row>,
    pub(crate) before: usize,
    pub(crate) time: usize,
    pub(crate) rubbish: f32,
}

impl Layout {
    /// Right-padded with zeros to the longest row.
    pub(crate) fn tight(rows: &[Row]) -> Self {
        let time = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        Self {
            rows: rows.to_vec(),
            before: 0,
            time,
            rubbish: 0.0,
        }
    }

    fn shape(&self) -> [usize; 2] {
        [self.rows.len(), self.time]
    }

    fn row_of(&self, row: usize, place: usize) -> Option<&[f32; COLUMNS]> {
        place
            .checked_sub(self.before)
            .and_then(|token| self.rows[row].get(token))
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let [batch, time] = self.shape();
        (0..batch).flat_map(move |row| (0..time).map(move |place| (row, place)))
    }

    pub(crate) fn column(&self, column: usize, device: &Device) -> Tensor<2> {
        let values = self
            .places()
            .map(|(row, place)| self.row_of(row, place).map_or(self.rubbish, |t| t[column]));
        let data = TensorData::new(values.collect::<Vec<f32>>(), self.shape());
        Tensor::from_data(data, device)
    }

    pub(crate) fn mask(&self, device: &Device) -> Tensor<2, Bool> {
        let flags = self
            .places()
            .map(|(row, place)| self.row_of(row, place).is_some());
        Tensor::from_data(
            TensorData::new(flags.collect::<Vec<bool>>(), self.shape()),
            device,
        )
    }

    /// The entries of a `[batch, time]` result row by row, without the masked ones, which have to
    /// be 0.
    pub(crate) fn valid(&self, result: &Tensor<2>) -> Vec<Vec<f32>> {
        let values: Vec<f32> = result.to_data().iter::<f32>().collect();
        let mut valid = vec![Vec::new(); self.rows.len()];
        for ((row, place), value) in self.places().zip(values) {
            match self.row_of(row, place) {
                Some(_) => valid[row].push(value),
                None => assert_eq!(value, 0.0, "a masked position holds {value}"),
            }
        }
        valid
    }
}

/// What a loss made of a batch: the loss, figures of the whole batch, and gradients by row.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) scalars: Vec<f32>,
    pub(crate) gradients: Vec<Vec<f32>>,
}

/// The number in a tensor of one element.
pub(crate) fn number(tensor: &Tensor<1>) -> f32 {
    tensor.clone().into_scalar()
}

pub(crate) const PPO: PpoLossConfig = PpoLossConfig {
    clip_low: 0.2,
    clip_high: 0.3,
    dual_clip: Some(3.0),
    value_clip: Some(0.4),
    value_coef: 0.5,
    entropy_coef: 0.01,
};

/// PPO's loss, its averages, and the gradients of log-probs, values and entropies.
pub(crate) fn ppo(layout: &Layout, denominator: Denominator) -> Outcome {
    let plain = Device::flex();
    let train = plain.clone().autodiff();
    let leaf = |column| layout.column(column, &train).require_grad();
    let fixed = |column| layout.column(column, &plain);
    let input = PpoLossInput {
        logprobs: leaf(0),
        old_logprobs: fixed(1),
        advantages: fixed(3),
        values: leaf(4),
        old_values: fixed(5),
        returns: fixed(6),
        entropy: leaf(7),
        mask: layout.mask(&plain),
    };
    let out = ppo_loss(input.clone(), &PPO, denominator);
    let gradients = out.total_loss.backward();
    layout.valid(&out.ratio);
    layout.valid(&out.per_token_policy_loss);
    let by_row = [input.logprobs, input.values, input.entropy]
        .map(|leaf| layout.valid(&leaf.grad(&gradients).expect("the loss depends on it")));
    Outcome {
        scalars: [&out.total_loss]
            .into_iter()
            .chain(ppo_figures(&out))
            .map(number)
            .collect(),
        gradients: join(by_row),
    }
}

/// What PPO's loss says beside the loss itself.
pub(crate) fn ppo_figures(out: &PpoLossOutput) -> [&Tensor<1>; 11] {
    [
        &out.policy_loss,
        &out.value_loss,
        &out.entropy,
        &out.mean_ratio,
        &out.approx_kl_k1,
        &out.approx_kl_k2,
        &out.approx_kl_k3,
        &out.clip_fraction,
        &out.ratio_outside_fraction,
        &out.dual_clip_fraction,
        &out.value_clip_fraction,
    ]
}

/// The gradients of several tensors, one vector for each row.
fn join<const N: usize>(tensors: [Vec<Vec<f32>>; N]) -> Vec<Vec<f32>> {
    let rows = tensors[0].len();
    (0..rows)
        .map(|row| tensors.iter().flat_map(|t| t[row].clone()).collect())
        .collect()
}

/// GRPO's loss with a KL term under one reduction, and the gradients of the log-probs. The
/// advantage of a row is that of its first token.
pub(crate) fn grpo(layout: &Layout, how: (RatioLevel, Reduction), by: Denominator) -> Outcome {
    let plain = Device::flex();
    let logprobs = layout.column(0, &plain.clone().autodiff()).require_grad();
    let of_row = |row: &Row| row.first().map_or(layout.rubbish, |token| token[3]);
    let advantages: Vec<f32> = layout.rows.iter().map(of_row).collect();
    let count = advantages.len();
    let input = GrpoInput {
        logprobs: logprobs.clone(),
        old_logprobs: layout.column(1, &plain),
        advantages: Tensor::from_data(TensorData::new(advantages, [count]), &plain),
        mask: layout.mask(&plain),
        kl: Some(GrpoKl {
            ref_logprobs: layout.column(2, &plain),
            beta: 0.1,
        }),
    };
    let (ratio_level, reduction) = how;
    let config = GrpoLossConfig {
        clip_low: 0.2,
        clip_high: 0.3,
        ratio_level,
        reduction,
    };
    let out = grpo_loss(input, &config, by);
    let gradients = out.loss.backward();
    layout.valid(&out.per_token_loss);
    let mean_kl = out.mean_kl.expect("there is a reference");
    let gradients = layout.valid(&logprobs.grad(&gradients).expect("the loss depends on it"));
    Outcome {
        scalars: [out.loss, mean_kl, out.clip_fraction]
            .each_ref()
            .map(number)
            .to_vec(),
        gradients,
    }
}

/// The ways to reduce GRPO's loss.
pub(crate) const REDUCTIONS: [Reduction; 4] = [
    Reduction::TokenMean,
    Reduction::SequenceMeanTokenMean,
    Reduction::SequenceMeanTokenSum,
    Reduction::ConstantLength { max_length: 9 },
];

/// Whether figures agree to 1e-6, or relative to their size where that is above 1.
pub(crate) fn near(a: &[f32], b: &[f32]) -> bool {
    let close = |(x, y): (&f32, &f32)| (x - y).abs() <= 1e-6 * y.abs().max(1.0);
    a.len() == b.len() && a.iter().zip(b).all(close)
}

/// Asserts that two runs found the same, gradients included.
pub(crate) fn assert_same(a: &Outcome, b: &Outcome) {
    assert!(
        near(&a.scalars, &b.scalars),
        "{:?}\n{:?}",
        a.scalars,
        b.scalars
    );
    assert_eq!(a.gradients.len(), b.gradients.len());
    for (a, b) in a.gradients.iter().zip(&b.gradients) {
        assert!(near(a, b), "{a:?}\n{b:?}");
    }
}
