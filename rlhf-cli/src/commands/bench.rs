//! `rlhf bench`: how fast this machine trains and writes, one JSON line a measurement.

use crate::args::{CommonArgs, at_least_one};
use crate::bench::{Measured, SHAPES, Size, Subject, Work, measure, memory_mib};
use crate::console;
use crate::decoding::WeightChoice;
use crate::error::CliError;
use crate::session::Session;
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::process::Command;

/// `rlhf bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// What to time; several are separated by commas
    #[arg(
        value_name = "WORK",
        value_enum,
        value_delimiter = ',',
        required = true
    )]
    pub(crate) works: Vec<Work>,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    /// A shape with random weights (tiny, small, gpt2ish, smol135, or its sizes:
    /// VOCABULARY,WIDTH,BLOCKS,HEADS,KEY_HEADS,FEED_FORWARD), or a model's folder
    #[arg(long, value_name = "SHAPE|DIR", default_value = SHAPES[0])]
    pub(crate) model: String,
    /// Sequences; pairs for reward and dpo, prompts for generate and ppo-step
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one::<usize>)]
    pub(crate) batch: usize,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one::<usize>)]
    pub(crate) prompt: usize,
    /// Tokens of a response
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one::<usize>)]
    pub(crate) response: usize,
    /// Threads to compute with [default: one a core]
    #[arg(long, value_name = "N", value_parser = at_least_one::<usize>)]
    pub(crate) threads: Option<usize>,
    /// How long to measure, disturbed steps not counted
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Passes of ppo-step over its answers
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one::<usize>)]
    pub(crate) epochs: usize,
    /// Gradient steps a pass of ppo-step
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = at_least_one::<usize>)]
    pub(crate) minibatches: usize,
    /// Let the values of ppo-step come from a head on the policy: one trunk for both
    #[arg(long)]
    pub(crate) shared_trunk: bool,
    /// Let the old log-probs of ppo-step be the sampler's
    #[arg(long)]
    pub(crate) sampler_logprobs: bool,
    /// How the weights are held while generate decodes
    #[arg(long, value_name = "TYPE", value_enum, default_value_t)]
    pub(crate) decode_weights: WeightChoice,
    /// The learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-5)]
    pub(crate) lr: f64,
}

/// One line of the output.
#[derive(Serialize)]
struct Line<'a> {
    work: String,
    model: &'a str,
    params: usize,
    params_matmul: usize,
    params_backbone: usize,
    batch: usize,
    prompt: usize,
    response: usize,
    #[serde(flatten)]
    measured: &'a Measured,
    peak_rss_mib: Option<f64>,
    /// Before the model was made.
    rss_import_mib: Option<f64>,
    threads: usize,
    device: &'a str,
    rlhf: &'static str,
}

/// Times the works, each in a process of its own, so that its peak memory is its own.
///
/// # Errors
/// If the model or the sizes can't be used.
pub(crate) fn bench(args: &BenchArgs) -> Result<(), CliError> {
    let [work] = args.works.as_slice() else {
        return each_alone(&args.works);
    };
    let at_start = memory_mib("VmRSS");
    let session = Session::without_handler(&args.common)?;
    if let Some(threads) = args.threads {
        rlhf_model::cores::set_threads(threads)
            .map_err(|reason| CliError::failure(format!("--threads {threads}: {reason}")))?;
    }
    if !(args.seconds > 0.0 && args.seconds.is_finite()) {
        let message = format!("--seconds {}: a number above 0 is wanted", args.seconds);
        return Err(CliError::usage(message).hint("a few seconds give a steady median"));
    }
    let subject = Subject::open(&args.model, &session.device)?;
    let (length, context) = (
        args.prompt.saturating_add(args.response),
        subject.config.max_position_embeddings,
    );
    if length > context {
        let message = format!("{length} tokens a sequence are more than the model's {context}");
        return Err(CliError::usage(message).hint("lower --prompt or --response"));
    }
    let size = Size {
        batch: args.batch,
        prompt: args.prompt,
        response: args.response,
        epochs: args.epochs,
        minibatches: args.minibatches,
        seconds: args.seconds,
        learning_rate: args.lr,
        shared_trunk: args.shared_trunk,
        sampler_logprobs: args.sampler_logprobs,
        decode_weights: args.decode_weights,
    };
    let [params, params_matmul, params_backbone] = [
        subject.parameters(),
        subject.of_matrices(),
        subject.of_blocks(),
    ];
    for measured in &measure(*work, subject, &size, &session.device)? {
        let line = Line {
            work: name_of(*work),
            model: &args.model,
            params,
            params_matmul,
            params_backbone,
            batch: args.batch,
            prompt: args.prompt,
            response: args.response,
            measured,
            peak_rss_mib: memory_mib("VmHWM"),
            rss_import_mib: at_start,
            threads: rlhf_model::cores::cores(&session.device),
            device: &session.config.device,
            rlhf: env!("CARGO_PKG_VERSION"),
        };
        let text = serde_json::to_string(&line)
            .map_err(|e| CliError::failure(format!("the measurement: {e}")))?;
        console::print(&text)?;
    }
    Ok(())
}

fn name_of(work: Work) -> String {
    work.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

/// The same command once for each work.
fn each_alone(works: &[Work]) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::failure(format!("bench: {e}"));
    let program = std::env::current_exe().map_err(failed)?;
    let typed: Vec<String> = std::env::args().skip(1).collect();
    let names = works.iter().map(|&work| name_of(work));
    let list = names.clone().collect::<Vec<_>>().join(",");
    for work in names {
        let own = typed
            .iter()
            .map(|arg| if *arg == list { &work } else { arg });
        let status = Command::new(&program).args(own).status().map_err(failed)?;
        if !status.success() {
            return Err(CliError::failure(format!(
                "bench {work} ended with {status}"
            )));
        }
    }
    Ok(())
}
