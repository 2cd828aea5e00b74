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
    CausalLm, Generator, LocalGenerator, ModelConfig, Request, SamplingConfig, Transformer,
};
use rlhf_ppo::experience::response_logprobs;
use rlhf_train::gradients::MOST_PARAMETERS;
use rlhf_train::memory::{TrainingMemory, shown_bytes};
use rlhf_train::supervised::supervised_gradients;
use rlhf_train::{AdamW, AdamWConfig};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Sampled tokens of an answer, beside its first, from which the time of all is told.
const SAMPLED: usize = 8;

/// Tokens of the rows of a micro-batch that are timed; as many more take as much more.
const TRAINED_AT_ONCE: usize = 16_384;

/// Tokens of the rows that are looked at together without gradients, and rows of them at least.
const TOKENS_AT_ONCE: usize = 2048;
const FEWEST_AT_ONCE: usize = 4;

/// Parameters times tokens of a micro-batch up to which the whole model is timed: 0.1 Tflop.
const QUICK: usize = 100_000_000_000 / 6;

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

/// Prints what a stage needs of memory, counted from the shapes, and of time, measured on a few rows: on
/// the whole model where that takes about a second, else on one of the same widths with few blocks and
/// with one more.
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

/// The seconds of one update: of a small model as it is; else work grows by the same amount with each
/// block.
fn seconds_of_update(
    work: &Workload,
    config: &Config,
    model: &ModelConfig,
    device: &Device,
) -> Result<f64, CliError> {
    let whole = model.num_hidden_layers;
    let few = if is_quick(work, model) {
        whole
    } else {
        fewest_blocks(model)
    };
    let fewer = Costs::measure(work, config, model, few, device)?;
    let more = if few < whole {
        Costs::measure(work, config, model, few + 1, device)?
    } else {
        fewer
    };
    let beyond = whole as f64 - few as f64;
    let of = |cost: fn(&Costs) -> f64| {
        let (fewer, more) = (cost(&fewer), cost(&more));
        (fewer + beyond * (more - fewer)).max(fewer)
    };
    let mut seconds = of(|cost| cost.row_back) * work.rows as f64;
    seconds += of(|cost| cost.step) * work.optimiser_steps as f64 * work.networks as f64;
    seconds += of(|cost| cost.row_forward) * work.forward_rows as f64;
    if let Some((answers, new)) = work.answers {
        let of_first = of(|cost| cost.first_token);
        let of_next = of(|cost| cost.next_token) * new.saturating_sub(1) as f64;
        seconds += (of_first + of_next) * answers as f64;
    }
    Ok(seconds)
}

/// Whether a micro-batch of the whole model takes about a second at most, and little memory.
fn is_quick(work: &Workload, model: &ModelConfig) -> bool {
    let (parameters, rows) = (model.num_parameters(), work.micro_rows.min(work.rows));
    let rows = rows.saturating_mul(work.networks);
    let tokens = rows.saturating_mul(work.length);
    parameters <= MOST_PARAMETERS && parameters.saturating_mul(tokens) <= QUICK
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

/// The median of the seconds of some rounds, after one that warms up.
fn warm_seconds(mut round: impl FnMut() -> Result<(), CliError>) -> Result<f64, CliError> {
    let mut rounds = Vec::new();
    while rounds.len() <= FEWEST_ROUNDS {
        let started = Instant::now();
        round()?;
        rounds.push(started.elapsed().as_secs_f64());
    }
    Ok(warm_median(&mut rounds))
}

/// The median of all rounds but the first.
fn warm_median(rounds: &mut [f64]) -> f64 {
    let rounds = &mut rounds[1..];
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

/// Seconds of what an update consists of, with a model of so many blocks.
#[derive(Clone, Copy)]
struct Costs {
    /// A row forward and back through one network, in a micro-batch.
    row_back: f64,
    /// A step of the optimiser of one network.
    step: f64,
    /// A row forward, among others.
    row_forward: f64,
    /// The first token of an answer, its prompt read, among other answers.
    first_token: f64,
    /// Each further one.
    next_token: f64,
}

impl Costs {
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
        // At least one token, the last one, carries loss.
        let first = length - work.targets.clamp(1, length - 1);
        let [row_back, step] = training(work, &plain, (length, first), device)?;
        let mut found = Self {
            row_back,
            step,
            row_forward: 0.0,
            first_token: 0.0,
            next_token: 0.0,
        };
        let at_once = |rows: usize| rows.clamp(1, (TOKENS_AT_ONCE / length).max(FEWEST_AT_ONCE));
        if work.forward_rows > 0 {
            let rows = at_once(work.forward_rows_at_once.min(work.forward_rows));
            let rows = random_packed_rows(rows, (length, first), shape.vocab_size);
            let rows: Vec<(&[u32], usize)> = rows.iter().map(|row| (&*row.ids, first)).collect();
            let forward = warm_seconds(|| {
                response_logprobs(&plain, &rows, 1.0, device);
                Ok(())
            })?;
            found.row_forward = forward / rows.len() as f64;
        }
        if let Some((answers, new)) = work.answers {
            let prompt = length.saturating_sub(new).clamp(1, length);
            let (rows, vocabulary) = (at_once(answers), shape.vocab_size);
            let prompts = random_packed_rows(rows, (prompt, prompt - 1), vocabulary);
            [found.first_token, found.next_token] = sampling(&plain, &prompts)?;
        }
        Ok(found)
    }
}

/// Seconds of a row of one network forward and back, and of a step of its optimiser.
fn training(
    work: &Workload,
    plain: &Transformer,
    (length, first): (usize, usize),
    device: &Device,
) -> Result<[f64; 2], CliError> {
    let count = work.micro_rows.min(work.rows);
    let count = count.clamp(1, (TRAINED_AT_ONCE / length).max(1));
    let vocabulary = plain.vocab_size();
    // The cores share the parts of all networks, as they would those of one with more rows.
    let mut rows = random_packed_rows(count, (length, first), vocabulary);
    // A value model has no head for tokens.
    let others = count * (work.networks - 1);
    rows.extend(random_packed_rows(others, (length, length - 1), vocabulary));
    let rows: Vec<&PackedRow> = rows.iter().collect();
    let mut model = plain.clone().train();
    let mut optimiser = AdamW::new(AdamWConfig::default());
    let (mut back, mut step) = (Vec::new(), Vec::new());
    let begin = Instant::now();
    while back.len() <= FEWEST_ROUNDS || begin.elapsed() < SHORTEST {
        let started = Instant::now();
        let mut gradients = supervised_gradients(&model, &rows, rows.len(), device)?.gradients;
        back.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        let stepped = optimiser.step(model, &mut gradients, 1.0);
        (model, _) = stepped.map_err(|e| e.at("estimate", 0, &[]))?;
        step.push(started.elapsed().as_secs_f64());
    }
    Ok([
        warm_median(&mut back) / count as f64,
        warm_median(&mut step),
    ])
}

/// Seconds of an answer's first token and of each further one.
fn sampling(model: &Transformer, prompts: &[PackedRow]) -> Result<[f64; 2], CliError> {
    let requests = prompts.iter().zip(0..);
    let requests: Vec<Request<'_>> = requests
        .map(|(row, stream)| Request {
            prompt: &row.ids,
            stream,
        })
        .collect();
    let generator = LocalGenerator::new(model, requests.len());
    let seconds = |max_new_tokens| {
        let sampling = SamplingConfig {
            max_new_tokens,
            ..SamplingConfig::default()
        };
        // The first call packs the weights, once for all tokens.
        let of_all = warm_seconds(|| Ok(generator.generate(&requests, &sampling).map(drop)?))?;
        Ok::<_, CliError>(of_all / requests.len() as f64)
    };
    let (first, all) = (seconds(1)?, seconds(1 + SAMPLED)?);
    Ok([first, (all - first).max(0.0) / SAMPLED as f64])
}
