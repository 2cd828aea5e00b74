use burn::tensor::Device;
use rlhf_model::*;
use std::time::Instant;
#[test]
fn speed() {
    let device = Device::flex();
    let config = ModelConfig::default();
    let model = Transformer::init(&config, 1, &device).unwrap();
    let prompts: Vec<Vec<u32>> = (0..64u32)
        .map(|i| (0..24 + i % 16).map(|t| (t * 7 + i * 31) % 1024).collect())
        .collect();
    let requests: Vec<Request<'_>> = prompts
        .iter()
        .enumerate()
        .map(|(i, p)| Request {
            prompt: p,
            stream: i as u64,
        })
        .collect();
    for new in [32, 1, 32, 1, 32, 1, 32, 1, 32] {
        let s = SamplingConfig {
            max_new_tokens: new,
            ..SamplingConfig::default()
        };
        let t = Instant::now();
        let n: usize = LocalGenerator::new(&model, 64)
            .generate(&requests, &s)
            .unwrap()
            .iter()
            .map(|a| a.tokens.len())
            .sum();
        let e = t.elapsed().as_secs_f64();
        println!("{new} new: {:.1} ms, {:.0} tok/s", e * 1e3, n as f64 / e);
    }
    // sampler alone
    let logits: Vec<f32> = (0..1024).map(|i| ((i * 37) % 101) as f32 / 10.0).collect();
    let s = SamplingConfig::default();
    let t = Instant::now();
    for i in 0..6400u64 {
        let mut r = rlhf_random::Rng::new(i);
        std::hint::black_box(sample::pick(&logits, &[], &s, &mut r).unwrap());
    }
    println!(
        "sampler: {:.2} us/row",
        t.elapsed().as_secs_f64() / 6400.0 * 1e6
    );
    // stepwise
    let mut cache = model.empty_cache(64, 72);
    let b = TokenBatch::left_padded(&prompts, &device);
    let t = Instant::now();
    let _ = model.hidden(&b, Some(&mut cache));
    println!("padded prefill {:.2} ms", t.elapsed().as_secs_f64() * 1e3);
    let starts: Vec<usize> = (0..64).map(|i| b.row_start(i)).collect();
    let mut best = f64::MAX;
    for _ in 0..30 {
        let t = Instant::now();
        let st = TokenBatch::step(&[5; 64], &starts, cache.len(), &device);
        let h = model.hidden(&st, Some(&mut cache));
        std::hint::black_box(h.into_data());
        best = best.min(t.elapsed().as_secs_f64());
    }
    println!("step {:.0} us", best * 1e6);
}
