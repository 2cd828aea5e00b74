//! Sampling answers, prompts included.

use super::timing::repeat;
use super::{Measured, Size, Subject, random_rows};
use crate::error::CliError;
use rlhf_model::{Completion, Generator, LocalGenerator, ModelError, Request, SamplingConfig};
use rlhf_random::{Rng, stream};

/// Answers of full length from the model's own distribution, and with top-p 0.9.
pub(super) fn generate(subject: &Subject, size: &Size) -> Result<Vec<Measured>, CliError> {
    let prompts = random_rows(
        &mut Rng::new(1),
        size.batch,
        size.prompt,
        subject.config.vocab_size,
    );
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    // Packed once, as a server or a stage has it.
    let generator = LocalGenerator::new(&subject.model, size.batch);
    let generator = generator.with_weights(size.decode_weights.into());
    let samplers = [("plain", 1.0), ("top_p=0.9", 0.9)];
    let measured = samplers.map(|(name, top_p)| {
        let config = sampling(size, top_p);
        let mut calls = 0;
        let timed = repeat(size.seconds, 2, || {
            calls += 1;
            write(&generator, &prompts, &config, calls).map(|_| ())
        })?;
        let (b, p, r) = (size.batch, size.prompt, size.response);
        let of_head = subject.of_matrices() - subject.of_blocks();
        let products = subject.of_blocks() * b * (p + r - 1) + of_head * b * r;
        let gflop = 2.0 * products as f64 / 1e9;
        let notes = format!("prompts included, weights in {}", size.decode_weights);
        let mut measured = Measured::new(timed, b * r, gflop, notes);
        measured.sampler = Some(name);
        Ok(measured)
    });
    measured.into_iter().collect()
}

pub(super) fn sampling(size: &Size, top_p: f64) -> SamplingConfig {
    SamplingConfig {
        max_new_tokens: size.response,
        top_p,
        ..SamplingConfig::default()
    }
}

/// Answers to the prompts, all in one batch; the call decides what is drawn.
pub(super) fn write(
    generator: &LocalGenerator<'_>,
    prompts: &[&[u32]],
    config: &SamplingConfig,
    call: u64,
) -> Result<Vec<Completion>, ModelError> {
    let requests: Vec<Request<'_>> = prompts
        .iter()
        .enumerate()
        .map(|(row, prompt)| Request {
            prompt,
            stream: stream(1, call, row as u64),
        })
        .collect();
    generator.generate(&requests, config)
}
