//! What must hold for every family of models: the contracts, packing, folders, gradients.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "not every file needs all of it")]
mod tiny;

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData, bf16};
use rlhf_model::{
    CausalLm, DecodeWeights, Family, Generator, LocalGenerator, LoraConfig, ModelConfig,
    PackedTokens, Request, SamplingConfig, ScoreModel, TokenBatch, Transformer, contract,
    load_model, load_score_model, named_gradients, named_parameters, save_model, save_score_model,
    token_logprobs, token_logprobs_entropy,
};
use tiny::{bits, config, devices, floats, prompts};

/// A small model of a family with all that is particular to it; windows are shorter than rows.
fn config_of(family: Family) -> ModelConfig {
    let llama = ModelConfig { family, ..config() };
    match family {
        Family::Llama | Family::Qwen2 => llama,
        Family::Qwen3 => ModelConfig {
            head_dim: Some(12),
            ..llama
        },
        Family::Mistral => ModelConfig {
            sliding_window: Some(5),
            tie_word_embeddings: false,
            ..llama
        },
        Family::Gemma2 => ModelConfig {
            head_dim: Some(12),
            sliding_window: Some(5),
            query_pre_attn_scalar: Some(10.0),
            attn_logit_softcapping: Some(2.0),
            final_logit_softcapping: Some(3.0),
            ..llama
        },
        Family::Gpt2 => ModelConfig {
            num_key_value_heads: 4,
            ..llama
        },
    }
}

fn model_of(family: Family, device: &Device) -> Transformer {
    Transformer::init(&config_of(family), 7, device).unwrap()
}

#[test]
fn every_family_keeps_the_contracts() {
    for device in devices() {
        for family in Family::ALL {
            let model = model_of(family, &device);
            contract::causal_lm(&model, &prompts()[1..5]);
            contract::generator(&LocalGenerator::new(&model, 3), &prompts()[..5]);
        }
    }
}

/// Greedy and sampled answers over packed weights against those of the forward pass.
fn check_decoding(model: &Transformer, what: &str) {
    // Two prompts are asked for twice, as a group of answers to one prompt is.
    let mut prompts = prompts();
    prompts.extend([prompts[6].clone(), prompts[2].clone(), prompts[6].clone()]);
    let named = prompts.iter().zip(0u64..);
    let requests: Vec<Request<'_>> = named
        .map(|(prompt, stream)| Request { prompt, stream })
        .collect();
    assert!(model.packed(DecodeWeights::F32).is_some(), "{what}");
    for temperature in [0.0, 0.7] {
        let sampling = SamplingConfig {
            max_new_tokens: 9,
            temperature,
            stop_ids: vec![13],
            ..SamplingConfig::default()
        };
        let plain = LocalGenerator::plain(model, 4).generate(&requests, &sampling);
        let packed = LocalGenerator::new(model, 4).generate(&requests, &sampling);
        for (packed, plain) in packed.unwrap().iter().zip(&plain.unwrap()) {
            assert_eq!(packed.tokens, plain.tokens, "{what} at {temperature}");
            assert_eq!(packed.finish, plain.finish);
            for (a, b) in packed.logprobs.iter().zip(&plain.logprobs) {
                assert!((a - b).abs() < 1e-5, "{what} at {temperature}: {a} {b}");
            }
        }
    }
}

#[test]
fn packed_weights_decode_as_the_forward_pass_does() {
    let device = Device::flex();
    for family in Family::ALL {
        let model = model_of(family, &device);
        check_decoding(&model, family.model_type());
        check_decoding(&model_of(family, &device.clone().autodiff()), "tracked");
        let lora = LoraConfig {
            rank: 3,
            ..LoraConfig::default()
        };
        let mut adapted = model.with_lora(&lora, 5).unwrap();
        for linear in adapted.layers.iter_mut().flat_map(|block| &mut block.qkv) {
            for adapter in &mut linear.adapters {
                let b = adapter.b.val();
                adapter.b = Param::from_tensor(b.ones_like() * 0.03);
            }
        }
        check_decoding(&adapted, "adapted");
    }
    let elsewhere = model_of(Family::Llama, &devices()[1]);
    assert!(elsewhere.packed(DecodeWeights::F32).is_none());
}

/// A model whose matrices are numbers of bfloat16 decodes the same from halves.
#[test]
fn rounded_weights_decode_as_the_rounded_model_does() {
    struct Rounded;
    impl ModuleMapper for Rounded {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|x| {
                let (numbers, shape) = (floats(x.clone()), x.shape());
                let rounded = numbers.iter().map(|&x| bf16::from_f32(x).to_f32());
                let data = TensorData::new(rounded.collect::<Vec<f32>>(), shape);
                Tensor::from_data(data, &x.device())
            })
        }
    }
    let sampling = SamplingConfig {
        max_new_tokens: 9,
        temperature: 0.7,
        ..SamplingConfig::default()
    };
    for family in Family::ALL {
        let model = model_of(family, &Device::flex());
        let rounded = model.clone().map(&mut Rounded);
        let prompts = prompts();
        let named = prompts.iter().zip(0u64..);
        let requests: Vec<Request<'_>> = named
            .map(|(prompt, stream)| Request { prompt, stream })
            .collect();
        let answers = |model: &Transformer, weights: DecodeWeights| {
            let generator = LocalGenerator::new(model, 8).with_weights(weights);
            generator.generate(&requests, &sampling).unwrap()
        };
        let exact = answers(&rounded, DecodeWeights::F32);
        assert_eq!(answers(&rounded, DecodeWeights::Bf16), exact, "{family:?}");
        assert_ne!(answers(&model, DecodeWeights::F32), exact, "{family:?}");
    }
}

#[test]
fn packed_documents_equal_separate_rows_in_every_family() {
    let device = Device::flex();
    let rows = [&prompts()[4], &prompts()[9], &prompts()[13]];
    let ids: Vec<u32> = rows.iter().flat_map(|row| row.iter().copied()).collect();
    let starts = [0, rows[0].len(), rows[0].len() + rows[1].len()];
    let packed = PackedTokens {
        ids: &ids,
        segment_starts: &starts,
    };
    let packed = TokenBatch::packed(&[packed], &device).unwrap();
    for family in Family::ALL {
        let model = model_of(family, &device);
        let together = floats(model.hidden(&packed, None));
        let alone = |row: &&Vec<u32>| {
            floats(model.hidden(&TokenBatch::right_padded(&[row], &device), None))
        };
        let apart: Vec<f32> = rows.iter().flat_map(alone).collect();
        for (a, b) in together.iter().zip(&apart) {
            assert!(
                (a - b).abs() < 2e-5 * (1.0 + b.abs()),
                "{family:?}: {a} {b}"
            );
        }
    }
}

#[test]
fn a_window_hides_what_lies_before_it() {
    let device = Device::flex();
    let row: Vec<u32> = (1..30).collect();
    let mut changed = row.clone();
    changed[3] = 44;
    let last = |family: Family, row: &[u32]| {
        let model = model_of(family, &device);
        let hidden = model.hidden(&TokenBatch::right_padded(&[row], &device), None);
        floats(hidden.narrow(1, row.len() - 1, 1))
    };
    // Two blocks with windows of five reach nine tokens back; one without reaches them all.
    let mistral = [&row, &changed].map(|row| bits(&last(Family::Mistral, row)));
    assert_eq!(mistral[0], mistral[1]);
    for family in [Family::Gemma2, Family::Llama] {
        let [a, b] = [&row, &changed].map(|row| bits(&last(family, row)));
        assert_ne!(a, b, "{family:?}");
    }
}

#[test]
fn every_family_comes_back_from_its_folder() {
    let device = Device::flex();
    for family in Family::ALL {
        let (config, model) = (config_of(family), model_of(family, &device));
        let dir = tempfile::tempdir().unwrap();
        save_model(dir.path(), &model, &config).unwrap();
        let (back, read) = load_model(dir.path(), &device).unwrap();
        let width = Some(config.head_dim()).filter(|_| family != Family::Gpt2);
        let written = ModelConfig {
            head_dim: width,
            ..config.clone()
        };
        assert_eq!(read, written, "{family:?}");
        for (a, b) in named_parameters(&model).iter().zip(named_parameters(&back)) {
            assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
            assert_eq!(bits(&a.values), bits(&b.values), "{family:?} {}", a.name);
        }
        let score = ScoreModel::from_backbone(model, 3);
        let dir = tempfile::tempdir().unwrap();
        save_score_model(dir.path(), &score, &config).unwrap();
        let back = load_score_model(dir.path(), &device).unwrap();
        let batch = TokenBatch::right_padded(&prompts()[1..4], &device);
        let [a, b] = [&score, &back].map(|score| bits(&floats(score.last_token_scores(&batch))));
        assert_eq!(a, b, "{family:?}");
        assert!(
            load_model(dir.path(), &device).is_err(),
            "it has a scalar head"
        );
    }
}

#[test]
fn every_parameter_of_every_family_gets_a_gradient() {
    let device = Device::flex().autodiff();
    for family in Family::ALL {
        let model = model_of(family, &device);
        let batch = TokenBatch::right_padded(&prompts()[8..12], &device);
        let (logprobs, entropy) = token_logprobs_entropy(&model, &batch, 0.7);
        let [a, b] = [&logprobs, &token_logprobs(&model, &batch, 0.7)].map(|x| floats(x.clone()));
        assert_eq!(bits(&a), bits(&b), "{family:?}");
        let lowest = floats(entropy.clone())
            .into_iter()
            .fold(f32::INFINITY, f32::min);
        assert!(lowest > 0.0, "{family:?}: {lowest}");
        let loss = logprobs.mean() + entropy.mean();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let grads = named_gradients(&model, &grads);
        let moved = |values: &[f32]| values.iter().any(|x| x.abs() > 1e-9);
        for (grad, parameter) in grads.iter().zip(named_parameters(&model)) {
            assert_eq!(grad.name, parameter.name, "{family:?}");
            // A bias of all keys moves every score of a query alike.
            let keys = grad.name.ends_with("k_proj.bias");
            assert!(keys || moved(&grad.values), "{family:?} {}", grad.name);
        }
        assert_eq!(grads.len(), named_parameters(&model).len(), "{family:?}");
    }
}

#[test]
fn the_number_of_parameters_is_counted() {
    for family in Family::ALL {
        let model = model_of(family, &Device::flex());
        let sizes = named_parameters(&model).into_iter().map(|t| t.values.len());
        assert_eq!(config_of(family).num_parameters(), sizes.sum::<usize>());
    }
}
