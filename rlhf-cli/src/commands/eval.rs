//! `rlhf eval`.

use crate::args::EvalArgs;
use crate::console;
use crate::error::CliError;
use crate::model_folder::{Policy, load_policy, load_reward};
use crate::reward_eval::{best_of, observe_reward, scores};
use crate::session::Session;
use crate::world_eval::{Asking, Drawing, ask, is_compared, observe};
use burn::tensor::Device;
use rlhf_data::{OnBadRow, load_prompts, load_texts};
use rlhf_eval::{
    DocumentLogprobs, Harness, Observations, Resampling, SuiteReport, best_of_n_kl,
    perplexity_metrics,
};
use rlhf_model::TokenBatch;
use rlhf_train::parameters::host_values;
use rlhf_train::targets::Targets;
use rlhf_world::World;

/// The suites and what they measure.
const SUITES: &str = "world (the embedded world's prompts by the chat template), world-base (the \
                      same as the corpus asks, for pre-trained models), perplexity (text rows)";

/// Measures a model.
///
/// # Errors
/// If the suite, the model or the data can't be used.
pub(crate) fn eval(args: &EvalArgs) -> Result<(), CliError> {
    let session = Session::new(&args.common)?;
    if args.reward.is_some() && !args.suite.starts_with("world") {
        let error = CliError::usage(format!("--reward has no use in the suite `{}`", args.suite));
        return Err(error.hint(format!("suites: {SUITES}")));
    }
    let report = match args.suite.as_str() {
        "world" => world(&session, args, Asking::Chat)?,
        "world-base" => world(&session, args, Asking::Base)?,
        "perplexity" => perplexity(&session, args)?,
        other => {
            let error = CliError::usage(format!("there is no suite `{other}`"));
            return Err(error.hint(format!("suites: {SUITES}")));
        }
    };
    if session.json {
        let json = serde_json::to_string(&report);
        console::print(&json.map_err(|e| CliError::failure(e.to_string()))?)
    } else {
        console::print(&report.to_string())
    }
}

fn world(session: &Session, args: &EvalArgs, asking: Asking) -> Result<SuiteReport, CliError> {
    let policy = load_policy(&args.model, &session.device)?;
    let world = World::new(&session.config.world_of_run())?;
    let prompts = if args.data.is_empty() {
        // What models are compared on shows nothing of one model.
        let all = world.evaluation_prompts().into_iter();
        all.filter(|prompt| !is_compared(prompt)).collect()
    } else {
        let data = args.reading.open_unweighted(&args.data)?;
        load_prompts(&data, OnBadRow::Fail)?.rows
    };
    let config = &session.config.eval;
    let drawing = Drawing {
        temperature: config.temperature,
        samples: args.best_of.map_or(config.samples, |n| n as usize),
    };
    let mut answered = ask(
        session,
        &policy,
        (&world, &prompts),
        (asking, drawing),
        &args.suite,
    )?;
    let mut of_reward = Observations::new();
    let mut decoding = drawing.name();
    if let Some(dir) = &args.reward {
        let folder = load_reward(dir, &session.device)?;
        let reward = folder.source(&session.device, config.batch_size);
        let scores = scores(&reward, &answered)?;
        of_reward = observe_reward(&world, &reward, (&answered, &scores))?;
        if let Some((n, kl)) = args.best_of.and_then(|n| Some((n, best_of_n_kl(n)?))) {
            answered = best_of(answered, &scores);
            decoding = format!("best of {n} by the reward model, at most {kl:.2} nats of KL");
        }
    }
    let template = if asking == Asking::Chat {
        "chat"
    } else {
        "raw"
    };
    let mut found = observe(&answered);
    found.add_under("reward", of_reward);
    Ok(SuiteReport {
        suite: args.suite.clone(),
        metrics: found.means(Resampling::default()),
        harness: Harness::new(template, decoding, prompts.len()),
    })
}

fn perplexity(session: &Session, args: &EvalArgs) -> Result<SuiteReport, CliError> {
    if args.data.is_empty() {
        let error = CliError::usage("eval perplexity needs text");
        return Err(error.hint("give files of text rows with --data"));
    }
    let policy = load_policy(&args.model, &session.device)?;
    let data = args.reading.open_unweighted(&args.data)?;
    let texts = load_texts(&data, OnBadRow::Fail)?.rows;
    let texts: Vec<&str> = texts.iter().map(|row| row.text.as_str()).collect();
    let documents = document_logprobs(&policy, &texts, session)?;
    let metrics = perplexity_metrics(&documents, Resampling::default());
    if metrics.is_empty() {
        let error = CliError::usage("the texts hold no token that something could predict");
        return Err(error.hint("give longer texts"));
    }
    let harness = Harness::new(
        "raw",
        "log-probs of all tokens but each text's first",
        texts.len(),
    );
    Ok(SuiteReport {
        suite: args.suite.clone(),
        metrics,
        harness,
    })
}

/// The log-probs of the tokens of documents, encoded as transformers' `tokenizer(text)` does. A
/// document longer than the context is read in windows that overlap by one token, so that every
/// token but the first is predicted once.
///
/// # Errors
/// If a text can't be encoded.
pub(crate) fn document_logprobs(
    policy: &Policy,
    texts: &[&str],
    session: &Session,
) -> Result<Vec<DocumentLogprobs>, CliError> {
    let window = policy.config.max_position_embeddings.max(2);
    let mut pieces: Vec<(usize, Vec<u32>)> = Vec::new();
    for (document, text) in texts.iter().enumerate() {
        let ids = policy
            .tokenizer
            .tokenizer()
            .encode_like_transformers(text)?;
        let mut start = 0;
        while start + 1 < ids.len() {
            let end = (start + window).min(ids.len());
            pieces.push((document, ids[start..end].to_vec()));
            start = end - 1;
        }
    }
    let mut documents: Vec<DocumentLogprobs> = texts
        .iter()
        .map(|text| DocumentLogprobs {
            logprobs: Vec::new(),
            bytes: text.len() as u64,
        })
        .collect();
    let mut progress = session.progress();
    let (total, mut done) = (pieces.len() as u64, 0);
    for part in pieces.chunks(session.config.eval.batch_size.clamp(1, 32)) {
        for ((document, _), logprobs) in
            part.iter()
                .zip(piece_logprobs(policy, part, &session.device))
        {
            documents[*document].logprobs.extend(logprobs);
        }
        done += part.len() as u64;
        progress.advance("perplexity", done, total);
    }
    Ok(documents)
}

fn piece_logprobs(policy: &Policy, part: &[(usize, Vec<u32>)], device: &Device) -> Vec<Vec<f64>> {
    let rows: Vec<&[u32]> = part.iter().map(|(_, ids)| ids.as_slice()).collect();
    let batch = TokenBatch::right_padded(&rows, device);
    let width = batch.time();
    let mut targets = Targets::new();
    for (row, ids) in rows.iter().enumerate() {
        for (time, &id) in ids.iter().enumerate().skip(1) {
            targets.push(row, time, width, id);
        }
    }
    let mut flat = host_values(targets.logprobs(&policy.model, &batch, 1.0)).into_iter();
    rows.iter()
        .map(|ids| flat.by_ref().take(ids.len() - 1).map(f64::from).collect())
        .collect()
}
