//! `rlhf estimate`: what a stage will take of memory and time, before it starts.

use crate::args::{CommonArgs, LoraArgs};
use crate::bench::random_packed_rows;
use crate::config::Config;
use crate::console;
use crate::error::CliError;
use crate::model_folder::read_shape;
use crate::session::Session;
use crate::workload::{Workload, free_memory};
use burn::module::Module;
use burn::tensor::Device;
use clap::Args;
use clap::builder::PossibleValuesParser;
use rlhf_data::PackedRow;
use rlhf_model::{
    Generator, LocalGenerator, ModelConfig, Request, SamplingConfig, TokenBatch, Transformer,
    token_logprobs,
};
use rlhf_train::gradients::MOST_PARAMETERS;
use rlhf_train::memory::{TrainingMemory, shown_bytes};
use rlhf_train::supervised::supervised_gradients;
use rlhf_train::{AdamW, AdamWConfig};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Sampled tokens of an answer from which the time of all is told.
const SAMPLED: usize = 8;

/// Rounds of a measurement at least, beside the first, which warms up.
const FEWEST_ROUNDS: usize = 3;
/// How long rounds go on at least.
const SHORTEST: Duration = Duration::from_millis(800);

/// `rlhf estimate`.
#[derive(Clone, Debug, Args)]
pub(crate) struct EstimateArgs {
    /// The stage
    #[arg(value_name = "STAGE", value_parser = stages())]
    pub(crate) stage: String,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// Adapters.
    #[command(flatten)]
    pub(crate) lora: LoraArgs,
    /// The folder of the model to train; without it, the shape that the settings give a fresh one
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Tokens of a prompt, for ppo
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) prompt_length: usize,
}

fn stages() -> PossibleValuesParser {
    ["pretrain", "sft", "reward", "dpo", "ppo"].into()
}

/// Prints what a stage needs of memory, counted from the shapes, and of time, measured on a model of
/// the same widths with few blocks and with one more.
///
/// # Errors
/// If the settings or the model can't be used, or the result can't be printed.
pub(crate) fn estimate(args: &EstimateArgs) -> Result<(), CliError> {
    let session = Session::without_handler(&args.common)?;
    let config = &session.config;
    let model = match &args.model {
        Some(dir) => read_shape(dir)?,
        None => config.model.model_config(),
    };
    let Some(work) = Workload::of(config, &args.stage, args.prompt_length) else {
        return Err(CliError::usage(format!(
            "estimate: {} does not train",
            args.stage
        )));
    };
    let memory = work.memory(config, &model, &session.device)?;
    let update = seconds_of_update(&work, config, &model, &session.device)?;
    let trained = match work.adapts {
        true => config.lora.num_trained(&model)?,
        false => model.num_parameters(),
    };
    let (free, seconds) = (free_memory(), update * work.steps as f64);
    if session.json {
        let result = json!({
            "stage": args.stage,
            "parameters": model.num_parameters(),
            "trained_parameters": trained,
            "memory_bytes": memory.total(),
            "memory": {
                "program": memory.program,
                "weights": memory.weights,
                "gradients": memory.gradients,
                "optimiser": memory.optimiser,
                "best_weights": memory.best,
                "activations": memory.activations,
                "logits": memory.logits,
            },
            "free_bytes": free,
            "fits": free.is_none_or(|free| memory.total() <= free),
            "update_seconds": update,
            "steps": work.steps,
            "seconds": seconds,
        });
        return console::print(&result.to_string());
    }
    let model = (model.num_parameters(), trained);
    console::print(&table(model, &memory, free, (update, work.steps, seconds)))
}

fn table(
    (parameters, trained): (usize, usize),
    memory: &TrainingMemory,
    free: Option<u64>,
    (update, steps, seconds): (f64, u64, f64),
) -> String {
    let mut lines = vec![format!(
        "parameters        {parameters}, of which {trained} are trained"
    )];
    let parts = [
        ("program", memory.program),
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("optimiser", memory.optimiser),
        ("best weights", memory.best),
        ("activations", memory.activations),
        ("logits", memory.logits),
        ("memory", memory.total()),
    ];
    lines.extend(parts.map(|(name, bytes)| format!("{name:<17} {}", shown_bytes(bytes))));
    if let Some(free) = free {
        let fits = if memory.total() <= free {
            "it fits"
        } else {
            "it does not fit"
        };
        lines.push(format!("free              {}: {fits}", shown_bytes(free)));
    }
    lines.push(format!("an update         {update:.2} s at full lengths"));
    lines.push(format!(
        "{:<17} {}",
        format!("{steps} updates"),
        shown_seconds(seconds)
    ));
    lines.join("\n")
}

fn shown_seconds(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The seconds of one update. Work grows by the same amount with each block.
fn seconds_of_update(
    work: &Workload,
    config: &Config,
    model: &ModelConfig,
    device: &Device,
) -> Result<f64, CliError> {
    let few = fewest_blocks(model);
    let fewer = Parts::measure(work, config, model, few, device)?;
    let more = Parts::measure(work, config, model, few + 1, device)?;
    let blocks = model.num_hidden_layers as f64 - few as f64;
    let grown = |fewer: f64, more: f64| (fewer + blocks * (more - fewer)).max(fewer);
    let rows = work.micro_rows.min(work.rows).max(1) as f64;
    let of_rows = |rows_of_kind: usize| rows_of_kind as f64 / rows;
    let training = grown(fewer.training, more.training) * of_rows(work.rows);
    let forward = grown(fewer.forward, more.forward) * of_rows(work.forward_rows);
    let step = grown(fewer.step, more.step);
    let sampled = match work.answers {
        Some((answers, new)) => {
            let times = of_rows(answers) * new as f64 / SAMPLED as f64;
            grown(fewer.sampled, more.sampled) * times
        }
        None => 0.0,
    };
    let steps = step * (work.optimiser_steps * work.networks) as f64;
    Ok(training + steps + forward + sampled)
}

/// So many blocks that the model is worked on as the whole one: in parts, or in one.
fn fewest_blocks(model: &ModelConfig) -> usize {
    let with = |num_hidden_layers| ModelConfig {
        num_hidden_layers,
        ..model.clone()
    };
    let in_parts = |model: &ModelConfig| model.num_parameters() <= MOST_PARAMETERS;
    let alike = |&blocks: &usize| in_parts(&with(blocks)) == in_parts(model);
    (1..model.num_hidden_layers).find(alike).unwrap_or(1)
}

/// The median of all rounds but the first.
fn warm_median(rounds: &mut [f64]) -> f64 {
    let rounds = &mut rounds[1..];
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Seconds of the parts of an update with a model of few blocks: a micro-batch forward and back through
/// every network, the optimiser's step of one, a micro-batch forward, a few tokens sampled for a micro-batch.
struct Parts {
    training: f64,
    step: f64,
    forward: f64,
    sampled: f64,
}

impl Parts {
    fn measure(
        work: &Workload,
        config: &Config,
        shape: &ModelConfig,
        blocks: usize,
        device: &Device,
    ) -> Result<Self, CliError> {
        let shape = ModelConfig {
            num_hidden_layers: blocks,
            ..shape.clone()
        };
        let plain = Transformer::init(&shape, config.seed, device)?;
        let plain = if work.adapts && config.lora.is_on() {
            plain.with_lora(&config.lora, config.seed)?
        } else {
            plain
        };
        let on = config.memory.gradient_checkpointing;
        let plain = plain.with_gradient_checkpointing(on);
        let length = work.length.min(shape.max_position_embeddings).max(2);
        let count = work.micro_rows.min(work.rows).max(1);
        // The cores share the parts of all networks, as they would those of one with more rows. At least
        // one token, the last one, carries loss.
        let first = length - work.targets.clamp(1, length - 1);
        let mut rows = random_packed_rows(count, (length, first), shape.vocab_size);
        // A value model has no head for tokens.
        let others = count * (work.networks - 1);
        rows.extend(random_packed_rows(
            others,
            (length, length - 1),
            shape.vocab_size,
        ));
        let rows: Vec<&PackedRow> = rows.iter().collect();
        let mut model = plain.clone().train();
        let mut optimiser = AdamW::new(AdamWConfig::default());
        let (mut training, mut step) = (Vec::new(), Vec::new());
        let begin = Instant::now();
        while training.len() <= FEWEST_ROUNDS || begin.elapsed() < SHORTEST {
            let started = Instant::now();
            let mut gradients = supervised_gradients(&model, &rows, rows.len(), device)?.gradients;
            training.push(started.elapsed().as_secs_f64());
            let started = Instant::now();
            let stepped = optimiser.step(model, &mut gradients, 1.0);
            (model, _) = stepped.map_err(|e| e.at("estimate", 0, &[]))?;
            step.push(started.elapsed().as_secs_f64());
        }
        let mut found = Self {
            training: warm_median(&mut training),
            step: warm_median(&mut step),
            forward: 0.0,
            sampled: 0.0,
        };
        let ids = rows.iter().take(count).map(|row| row.ids.as_slice());
        let ids: Vec<&[u32]> = ids.collect();
        if work.forward_rows > 0 {
            let mut forward = Vec::new();
            while forward.len() <= FEWEST_ROUNDS {
                let (batch, started) = (TokenBatch::right_padded(&ids, device), Instant::now());
                token_logprobs(&plain, &batch, 1.0).into_data();
                forward.push(started.elapsed().as_secs_f64());
            }
            found.forward = warm_median(&mut forward);
        }
        if let Some((_, new)) = work.answers {
            let prompt = length.saturating_sub(new).clamp(1, length);
            let requests: Vec<Request<'_>> = ids
                .iter()
                .zip(0..)
                .map(|(ids, stream)| Request {
                    prompt: &ids[..prompt],
                    stream,
                })
                .collect();
            let generator = LocalGenerator::new(&plain, count);
            let sampling = SamplingConfig {
                max_new_tokens: SAMPLED.min(new),
                ..SamplingConfig::default()
            };
            // The first call packs the weights, once for all tokens.
            generator.generate(&requests, &sampling)?;
            let started = Instant::now();
            generator.generate(&requests, &sampling)?;
            found.sampled = started.elapsed().as_secs_f64();
        }
        Ok(found)
    }
}
