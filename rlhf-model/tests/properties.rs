//! What must hold for any rows: padding, batch mates and caches change nothing.

mod tiny;

use burn::tensor::{Device, Tensor};
use proptest::prelude::*;
use rlhf_model::{
    CausalLm, ModelConfig, PackedTokens, SamplingConfig, ScoreModel, TokenBatch, Transformer,
    contract, load_model, named_parameters, sample, save_model, token_logprobs,
    token_logprobs_entropy,
};
use tiny::{bits, config, devices, floats, model, prompts};

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(x, y)| (x - y).abs() <= 2e-5 * (1.0 + y.abs()))
}

/// The hidden states of a row's own tokens.
fn row_hidden(model: &Transformer, batch: &TokenBatch, row: usize) -> Vec<f32> {
    let hidden = model.hidden(batch, None).narrow(0, row, 1);
    floats(hidden.narrow(1, batch.row_start(row), batch.lengths()[row]))
}

fn row() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..50, 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn padding_and_batch_mates_change_nothing(rows in prop::collection::vec(row(), 1..5)) {
        for device in devices() {
            let model = model(&device);
            let right = TokenBatch::right_padded(&rows, &device);
            let left = TokenBatch::left_padded(&rows, &device);
            let turned: Vec<Vec<u32>> = rows.iter().rev().cloned().collect();
            let turned = TokenBatch::right_padded(&turned, &device);
            for (i, row) in rows.iter().enumerate() {
                let alone = TokenBatch::right_padded(&[row], &device);
                let want = row_hidden(&model, &alone, 0);
                prop_assert!(close(&row_hidden(&model, &right, i), &want));
                prop_assert!(close(&row_hidden(&model, &left, i), &want));
                prop_assert!(close(&row_hidden(&model, &turned, rows.len() - 1 - i), &want));
            }
        }
    }

    #[test]
    fn packed_documents_equal_separate_rows(rows in prop::collection::vec(row(), 1..4)) {
        let device = Device::flex();
        let model = model(&device);
        let ids = rows.concat();
        let starts: Vec<usize> = rows
            .iter()
            .scan(0, |at, row| { let start = *at; *at += row.len(); Some(start) })
            .collect();
        let packed = PackedTokens { ids: &ids, segment_starts: &starts };
        let packed = TokenBatch::packed(&[packed], &device).unwrap();
        let together = floats(model.hidden(&packed, None));
        let apart: Vec<f32> = rows
            .iter()
            .flat_map(|row| floats(model.hidden(&TokenBatch::right_padded(&[row], &device), None)))
            .collect();
        prop_assert!(close(&together, &apart));
    }

    #[test]
    fn a_mask_decides_and_masked_ids_do_not_matter(row in row(), before in 0usize..4, junk in 0u32..9999) {
        let device = Device::flex();
        let model = model(&device);
        let mut ids = vec![junk; before];
        ids.extend(&row);
        ids.push(junk);
        let mask: Vec<bool> =
            (0..ids.len()).map(|i| i >= before && i < before + row.len()).collect();
        let batch = TokenBatch::from_mask(&[ids], &[mask], &device).unwrap();
        let alone = TokenBatch::right_padded(&[&row], &device);
        prop_assert!(close(&row_hidden(&model, &batch, 0), &row_hidden(&model, &alone, 0)));
    }

    #[test]
    fn a_saved_model_has_the_same_bits(seed in any::<u64>(), tie_word_embeddings in any::<bool>()) {
        let device = Device::flex();
        let config = ModelConfig { tie_word_embeddings, ..config() };
        let model = Transformer::init(&config, seed, &device).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save_model(dir.path(), &model, &config).unwrap();
        let (back, _) = load_model(dir.path(), &device).unwrap();
        for (a, b) in named_parameters(&model).iter().zip(named_parameters(&back)) {
            prop_assert_eq!(&a.name, &b.name);
            prop_assert_eq!(bits(&a.values), bits(&b.values));
        }
    }

    #[test]
    fn filtered_probabilities_are_a_distribution_over_what_is_kept(
        logits in prop::collection::vec(-8f32..8.0, 1..40),
        previous in prop::collection::vec(0u32..40, 0..10),
        (temperature, top_k) in (0.05f64..3.0, 0usize..50),
        (top_p, min_p, penalty) in (0.01f64..=1.0, 0.0f64..=1.0, 0.5f64..2.0),
    ) {
        let off = SamplingConfig { temperature, repetition_penalty: penalty, ..SamplingConfig::default() };
        let all = sample::filtered_probs(&logits, &previous, &off);
        let on = SamplingConfig { top_k, top_p, min_p, ..off };
        let kept = sample::filtered_probs(&logits, &previous, &on);
        prop_assert!((kept.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let count = kept.iter().filter(|&&p| p > 0.0).count();
        prop_assert!(count >= 1);
        // What is kept are the largest, in the proportions that they had.
        let least = (0..all.len()).filter(|&i| kept[i] > 0.0).map(|i| all[i]).fold(1.0, f32::min);
        for i in 0..all.len() {
            if all[i] > least * 1.0001 { prop_assert!(kept[i] > 0.0); }
            for j in 0..all.len() {
                if kept[i] > 0.0 && kept[j] > 0.0 {
                    prop_assert!((kept[i] * all[j] - kept[j] * all[i]).abs() < 1e-5);
                }
            }
        }
        let greedy = SamplingConfig { temperature: 0.0, ..on };
        prop_assert_eq!(sample::filtered_probs(&logits, &previous, &greedy).iter().filter(|&&p| p == 1.0).count(), 1);
    }
}

#[test]
fn the_transformer_keeps_its_contract_tied_or_not() {
    for device in devices() {
        for tie_word_embeddings in [true, false] {
            let config = ModelConfig {
                tie_word_embeddings,
                ..config()
            };
            let model = Transformer::init(&config, 3, &device).unwrap();
            contract::causal_lm(&model, &prompts()[1..5]);
        }
    }
}

#[test]
fn weights_are_the_same_on_all_devices_and_follow_the_rules() {
    let [flex, ndarray] = devices();
    let config = ModelConfig {
        tie_word_embeddings: false,
        hidden_size: 64,
        ..config()
    };
    let a = named_parameters(&Transformer::init(&config, 7, &flex).unwrap());
    let b = named_parameters(&Transformer::init(&config, 7, &ndarray).unwrap());
    assert_eq!(a, b);
    assert_eq!(
        a.iter().map(|t| t.values.len()).sum::<usize>(),
        config.num_parameters()
    );
    let other = named_parameters(&Transformer::init(&config, 8, &flex).unwrap());
    assert_ne!(a, other);
    let sigma = |name: &str| {
        let values = &a.iter().find(|t| t.name.contains(name)).unwrap().values;
        (values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32).sqrt()
    };
    for (name, want) in [
        ("embed_tokens", 0.5),
        ("q_proj", 0.125),
        ("o_proj", 0.0625),
        ("down_proj", 1.0 / 48f32.sqrt() / 2.0),
        ("lm_head", 0.02),
        ("layernorm", 1.0),
    ] {
        assert!(
            (sigma(name) / want - 1.0).abs() < 0.06,
            "{name}: {} {want}",
            sigma(name)
        );
    }
}

#[test]
fn every_parameter_gets_a_gradient_and_entropies_agree_with_the_logits() {
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let model = model(&device);
    let batch = TokenBatch::right_padded(&prompts()[..4], &device);
    let (logprobs, entropy) = token_logprobs_entropy(&model, &batch, 0.7);
    let same = token_logprobs(&model, &batch, 0.7);
    assert!(close(&floats(logprobs.clone()), &floats(same)));
    let logits = model.valid_logits(&batch);
    let p = burn::tensor::activation::softmax(logits.clone() / 0.7, 2);
    let want = -(p.clone() * p.log()).sum_dim(2);
    let [b, t, _] = want.dims();
    let want = floats(want.narrow(1, 0, t - 1).reshape([b, t - 1]));
    assert!(close(&floats(entropy.clone()), &want));
    let loss = (logprobs + entropy).sum();
    let grads = burn::optim::GradientsParams::from_grads(loss.backward(), &model);
    let named = rlhf_model::named_gradients(&model, &grads);
    assert_eq!(named.len(), rlhf_model::parameter_ids(&model).len());
    for grad in named {
        assert!(grad.values.iter().any(|&g| g != 0.0), "{}", grad.name);
    }
    let score = ScoreModel::from_backbone(model, 1);
    let loss = score.last_token_scores(&batch).sum();
    let grads = burn::optim::GradientsParams::from_grads(loss.backward(), &score);
    let named = rlhf_model::named_gradients(&score, &grads);
    assert_eq!(named.len(), rlhf_model::parameter_ids(&score).len());
}

trait ValidLogits {
    fn valid_logits(&self, batch: &TokenBatch) -> Tensor<3>;
}

impl ValidLogits for Transformer {
    fn valid_logits(&self, batch: &TokenBatch) -> Tensor<3> {
        use burn::module::Module;
        self.valid().forward(batch)
    }
}
