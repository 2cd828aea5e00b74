//! Generation: its contract, its exactness, and what it refuses.

mod tiny;

use burn::tensor::Device;
use rlhf_model::{
    Finish, Generator, LocalGenerator, ModelConfig, Request, SamplingConfig, ScriptedGenerator,
    TokenBatch, Transformer, contract, token_logprobs,
};
use tiny::{bits, config, devices, floats, model, prompts};

fn requests(prompts: &[Vec<u32>]) -> Vec<Request<'_>> {
    let named = prompts.iter().zip(5..);
    named
        .map(|(prompt, stream)| Request { prompt, stream })
        .collect()
}

#[test]
fn the_local_generator_keeps_its_contract() {
    for device in devices() {
        let model = model(&device);
        contract::generator(&LocalGenerator::new(&model, 3), &prompts()[..7]);
        contract::generator(&Box::new(LocalGenerator::new(&model, 64)), &prompts()[..7]);
    }
    let scripted = ScriptedGenerator::new(vec![vec![1, 2, 3], vec![7, 7, 7, 7, 7]]);
    contract::generator(&&scripted, &prompts()[..7]);
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch() {
    let sampling = SamplingConfig {
        max_new_tokens: 40,
        temperature: 2.0,
        stop_ids: vec![13],
        ..SamplingConfig::default()
    };
    check_bits(config(), &sampling);
    // Wide enough for the blocked and threaded routes of the matrix product.
    let wide = ModelConfig {
        num_hidden_layers: 2,
        num_key_value_heads: 2,
        tie_word_embeddings: false,
        ..ModelConfig::default()
    };
    let short = SamplingConfig {
        max_new_tokens: 12,
        ..sampling
    };
    check_bits(wide, &short);
}

/// The answers of the prompts, alone and in batches of several sizes and orders.
fn check_bits(config: ModelConfig, sampling: &SamplingConfig) {
    let device = Device::flex();
    let model = Transformer::init(&config, 11, &device).expect("a sound configuration");
    let prompts = prompts();
    let requests = requests(&prompts);
    let run = |size: usize, requests: &[Request<'_>]| {
        let generator = LocalGenerator::new(&model, size);
        generator
            .generate(requests, sampling)
            .expect("prompts that fit")
    };
    let alone: Vec<_> = requests.iter().map(|r| run(1, &[*r]).remove(0)).collect();
    let lengths: Vec<usize> = alone.iter().map(|a| a.tokens.len()).collect();
    assert!(lengths.contains(&sampling.max_new_tokens), "{lengths:?}");
    for size in [2, 3, 7, 16] {
        for turned in [false, true] {
            let order = (0..16).map(|i| if turned { 15 - i } else { i * 5 % 16 });
            let order: Vec<usize> = order.collect();
            let batch: Vec<Request<'_>> = order.iter().map(|&i| requests[i]).collect();
            for (&i, answer) in order.iter().zip(run(size, &batch)) {
                assert_eq!(
                    answer.tokens, alone[i].tokens,
                    "row {i} in batches of {size}"
                );
                let (got, want) = (bits(&answer.logprobs), bits(&alone[i].logprobs));
                assert_eq!(got, want, "row {i} in batches of {size}");
            }
        }
    }
    // More and less left padding: the same row beside ever longer ones.
    for length in [24, 60, 65, 130] {
        let long: Vec<u32> = (0..length).map(|t| t % 50).collect();
        let long = Request {
            prompt: &long,
            stream: 1,
        };
        let answers = run(2, &[requests[3], long]);
        let (got, want) = (bits(&answers[0].logprobs), bits(&alone[3].logprobs));
        assert_eq!(got, want, "beside {length} tokens");
    }
}

#[test]
fn finished_rows_leave_and_the_others_go_on() {
    let model = model(&Device::flex());
    let prompts = prompts();
    let sampling = SamplingConfig {
        max_new_tokens: 40,
        temperature: 2.0,
        stop_ids: vec![13, 14],
        extra_stop_ids: vec![15],
        ..SamplingConfig::default()
    };
    let answers = LocalGenerator::new(&model, 16).generate(&requests(&prompts), &sampling);
    let answers = answers.unwrap();
    let mut seen = [0; 3];
    for answer in &answers {
        let last = answer.tokens.last().copied().unwrap_or_default();
        let (kind, fits) = match answer.finish {
            Finish::Eos => (0, last == 13 || last == 14),
            Finish::Stop => (1, last == 15),
            Finish::Length => (2, answer.tokens.len() == 40),
        };
        seen[kind] += 1;
        assert!(fits, "{answer:?}");
        let inner = &answer.tokens[..answer.tokens.len() - 1];
        assert!(!inner.iter().any(|token| (13..=15).contains(token)));
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[test]
fn rescoring_gives_the_log_probabilities_of_generation() {
    for device in devices() {
        let model = model(&device);
        let prompts = prompts();
        let requests = requests(&prompts);
        for temperature in [0.0, 0.3, 0.6, 1.0, 1.5] {
            let config = SamplingConfig {
                max_new_tokens: 12,
                temperature,
                ..SamplingConfig::default()
            };
            let answers = LocalGenerator::new(&model, 8)
                .generate(&requests, &config)
                .unwrap();
            let rows: Vec<Vec<u32>> = prompts
                .iter()
                .zip(&answers)
                .map(|(p, a)| [p.as_slice(), &a.tokens].concat())
                .collect();
            for batch in [
                TokenBatch::right_padded(&rows, &device),
                TokenBatch::left_padded(&rows, &device),
            ] {
                let t = config.logprob_temperature();
                let scored = floats(token_logprobs(&model, &batch, t));
                for (i, answer) in answers.iter().enumerate() {
                    let first = batch.row_start(i) + prompts[i].len() - 1;
                    let at = i * (batch.time() - 1) + first;
                    for (got, want) in scored[at..].iter().zip(&answer.logprobs) {
                        assert!((got - want).abs() <= 1e-5, "T {temperature}: {got} {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn prompts_that_cannot_be_continued_are_errors() {
    let device = Device::flex();
    let model = model(&device);
    let generator = LocalGenerator::new(&model, 4);
    let config = SamplingConfig {
        max_new_tokens: 100,
        ..SamplingConfig::default()
    };
    let message = |prompt: &[u32]| {
        let requests = [
            Request {
                prompt: &[1],
                stream: 0,
            },
            Request { prompt, stream: 0 },
        ];
        generator
            .generate(&requests, &config)
            .unwrap_err()
            .to_string()
    };
    assert!(message(&[]).contains("prompt 1: is empty"));
    let long = message(&[1; 101]);
    for part in ["101 tokens", "max_new_tokens 100", "200"] {
        assert!(long.contains(part), "{long}");
    }
    assert!(message(&[50]).contains("vocabulary of 50"));
    let fits = [Request {
        prompt: &[1; 100],
        stream: 0,
    }];
    assert_eq!(
        generator.generate(&fits, &config).unwrap()[0].tokens.len(),
        100
    );
}
