//! Greedy decoding, alone and in a batch, with and without an end token.

use crate::reference::{Report, field};
use rlhf_golden::{Figure, Figures};
use rlhf_model::{Generator, LocalGenerator, Request, SamplingConfig, Transformer};
use serde_json::{Map, Value};

/// Runs the case with batches of 1 and of all prompts.
pub(crate) fn run(model: &Transformer, case: &Map<String, Value>, pad: u32, report: &mut Report) {
    let prompts: Vec<Vec<u32>> = field(case, "prompts");
    let greedy: Vec<Vec<u32>> = field(case, "greedy_24");
    let new = greedy.iter().map(Vec::len).max().unwrap_or(1);
    let stop: u32 = field(case, "stop_token_id");
    for batch_size in [1, prompts.len()] {
        let generator = LocalGenerator::new(model, batch_size);
        let requests: Vec<Request<'_>> = prompts
            .iter()
            .map(|prompt| Request { prompt, stream: 0 })
            .collect();
        let run = |config: &SamplingConfig| {
            let answers = generator
                .generate(&requests, config)
                .unwrap_or_else(|e| panic!("{e}"));
            answers
                .into_iter()
                .map(|answer| answer.tokens)
                .collect::<Vec<_>>()
        };
        let mut figures = Figures::default();
        figures.set("greedy_24", lists(run(&SamplingConfig::greedy(new))));
        let config = SamplingConfig {
            stop_ids: vec![stop],
            ..SamplingConfig::greedy(new)
        };
        let mut stopped = run(&config);
        let longest = stopped.iter().map(Vec::len).max().unwrap_or(0);
        stopped.iter_mut().for_each(|row| row.resize(longest, pad));
        figures.set("greedy_with_stop", lists(stopped));
        let inputs = [
            "prompts",
            "left_padded_input_ids",
            "left_padded_attention_mask",
            "smallest_top1_top2_gap",
            "stop_token_id",
        ];
        let name = format!("generation in batches of {batch_size}");
        report.check(&name, &figures, case, &inputs);
    }
}

fn lists(rows: Vec<Vec<u32>>) -> Figure {
    let rows = rows.into_iter();
    let rows: Vec<Vec<usize>> = rows
        .map(|row| row.into_iter().map(|id| id as usize).collect())
        .collect();
    Figure::from(rows)
}
