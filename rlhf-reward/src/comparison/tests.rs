//! The loss of comparisons against the formulas, and its micro-batches against the whole.

use super::*;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use rlhf_loss::bradley_terry;
use rlhf_model::{ModelConfig, Transformer, named_gradients};
use rlhf_random::Rng;
use rlhf_train::parameters::host_values;

fn device() -> Device {
    Device::flex()
}

fn model() -> ScoreModel {
    let config = ModelConfig {
        vocab_size: 24,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        max_position_embeddings: 32,
        ..ModelConfig::default()
    };
    ScoreModel::from_backbone(Transformer::init(&config, 2, &device()).unwrap(), 2)
}

/// Prompts with two to four answers of unequal length, ranked in order.
fn rows(n: usize) -> Vec<EncodedComparison> {
    let mut rng = Rng::new(9);
    let mut row = |i: usize| {
        let answers = 2 + i % 3;
        let mut ids = || {
            (0..3 + rng.below(8))
                .map(|_| rng.below(24) as u32)
                .collect()
        };
        let sequences: Vec<Vec<u32>> = (0..answers).map(|_| ids()).collect();
        let pairs = (0..answers).flat_map(|b| (b + 1..answers).map(move |w| (b, w)));
        EncodedComparison {
            sequences,
            pairs: pairs.collect(),
        }
    };
    (0..n).map(&mut row).collect()
}

fn sizes(rows: &[EncodedComparison]) -> (usize, usize) {
    (rows.len(), rows.iter().map(|r| r.pairs.len()).sum())
}

fn loss(rows: &[EncodedComparison], centre_coef: f64) -> f64 {
    let of: Vec<&EncodedComparison> = rows.iter().collect();
    let loss = comparison_loss(&model(), &of, sizes(rows), centre_coef, &device()).unwrap();
    f64::from(loss.into_scalar::<f32>())
}

/// Scores of each comparison's answers, each sequence by itself.
fn scores(rows: &[EncodedComparison]) -> Vec<Vec<f64>> {
    let alone = |ids: &Vec<u32>| {
        let batch = TokenBatch::right_padded(&[ids], &device());
        f64::from(host_values(model().last_token_scores(&batch))[0])
    };
    rows.iter()
        .map(|r| r.sequences.iter().map(alone).collect())
        .collect()
}

/// Every prompt weighs the same, each of its pairs 1/C(K, 2); the centring term is a mean over
/// pairs.
#[test]
fn the_loss_is_the_k_wise_formula() {
    let (rows, coef) = (rows(7), 0.3);
    let (mut ranked, mut centre) = (0.0, 0.0);
    for (row, scores) in rows.iter().zip(scores(&rows)) {
        let k = row.sequences.len() as f64;
        for &(b, w) in &row.pairs {
            let margin = scores[b] - scores[w];
            ranked += (1.0 + (-margin).exp()).ln() / (k * (k - 1.0) / 2.0);
            centre += (scores[b] + scores[w]).powi(2);
        }
    }
    let ranked = ranked / rows.len() as f64;
    let centre = coef * centre / sizes(&rows).1 as f64;
    assert!((loss(&rows, 0.0) - ranked).abs() < 1e-5);
    assert!((loss(&rows, coef) - ranked - centre).abs() < 1e-5);
    let of: Vec<&EncodedComparison> = rows.iter().collect();
    let summary = evaluate_comparisons(&model(), &of, 4, &device()).unwrap();
    assert!((summary.loss - ranked).abs() < 1e-5);
    assert_eq!(summary.pairs, sizes(&rows).1);
}

#[test]
fn with_one_pair_a_prompt_it_is_bradley_terry() {
    let rows: Vec<EncodedComparison> = rows(9).into_iter().step_by(3).collect();
    let found = scores(&rows);
    let column = |i: usize| {
        let column: Vec<f32> = found.iter().map(|s| s[i] as f32).collect();
        Tensor::<1>::from_floats(column.as_slice(), &device())
    };
    let want = bradley_terry(column(0), column(1), None, 0.2)
        .loss
        .into_scalar::<f32>();
    assert!((loss(&rows, 0.2) - f64::from(want)).abs() < 1e-5);
}

#[test]
fn micro_batches_add_up_to_the_whole() {
    let (model, rows) = (model().train(), rows(8));
    let of: Vec<&EncodedComparison> = rows.iter().collect();
    let gradients = |micro: usize| {
        let (mut accumulator, mut total) = (GradientsAccumulator::new(), 0.0);
        for part in of.chunks(micro) {
            let loss = comparison_loss(&model, part, sizes(&rows), 0.1, &device()).unwrap();
            total += f64::from(loss.clone().without_autodiff().into_scalar::<f32>());
            accumulator.accumulate(&model, GradientsParams::from_grads(loss.backward(), &model));
        }
        let named = named_gradients(&model, &accumulator.grads());
        (
            total,
            named
                .into_iter()
                .flat_map(|t| t.values)
                .collect::<Vec<f32>>(),
        )
    };
    let (loss, whole) = gradients(8);
    assert!(whole.iter().any(|g| g.abs() > 1e-3));
    for micro in [4, 1, 3] {
        let (l, parts) = gradients(micro);
        assert!((l - loss).abs() < 1e-6, "{micro} at a time: {l} and {loss}");
        let apart = whole
            .iter()
            .zip(&parts)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(
            apart <= 1e-6,
            "{micro} at a time: gradients differ by {apart}"
        );
    }
}

#[test]
fn a_hopeless_margin_has_a_finite_loss() {
    assert_eq!(negative_log_sigmoid(-1e4), 1e4);
    assert_eq!(negative_log_sigmoid(1e4), 0.0);
    assert!((negative_log_sigmoid(0.0) - std::f64::consts::LN_2).abs() < 1e-15);
}
