//! What a whole run shows: the three models compared, the table, the report.

use crate::commands::eval::document_logprobs;
use crate::error::CliError;
use crate::folder::RunFolder;
use crate::model_folder::{Policy, load_policy, load_reward, note_figures};
use crate::reward_eval::{observe_reward, scores};
use crate::session::Session;
use crate::world_eval::{Answered, Asking, Drawing, ask, compared, is_compared, observe, wins};
use rlhf_data::Prompt;
use rlhf_eval::{
    Curve, Figure, Metrics, ModelFigures, Observations, ReportData, Resampling, RunResult, Sample,
};
use rlhf_world::World;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Instant;

/// Documents beyond the corpus on which bits per byte are measured.
const HELD_OUT_DOCUMENTS: usize = 200;

/// Where the run's models are.
#[derive(Debug)]
pub(crate) struct Models {
    /// The pre-trained one.
    pub(crate) gpt: PathBuf,
    /// The fine-tuned one.
    pub(crate) sft: PathBuf,
    /// The optimised one.
    pub(crate) ppo: PathBuf,
    /// The reward model.
    pub(crate) reward: PathBuf,
}

/// The file in a run's folder that all its figures are means of.
pub(crate) const OBSERVATIONS: &str = "observations.jsonl";

/// What a run shows.
#[derive(Debug)]
pub(crate) struct Compared {
    /// The figures.
    pub(crate) result: RunResult,
    /// The same prompts answered by all models.
    pub(crate) samples: Vec<Sample>,
    /// Response lengths in tokens, by model.
    lengths: Vec<(String, Vec<u32>)>,
}

struct Asked {
    answers: Vec<Answered>,
    greedy: Vec<Answered>,
    found: Observations,
}

/// Asks all models the evaluation prompts and compares their answers.
///
/// # Errors
/// If a model can't be read or asked, or the observations can't be written.
pub(crate) fn compare(
    session: &Session,
    folder: &mut RunFolder,
    world: &World,
    models: &Models,
) -> Result<Compared, CliError> {
    let started = Instant::now();
    let prompts = world.evaluation_prompts();
    let at = |dir: &PathBuf, asking, label: &str| {
        let policy = load_policy(dir, &session.device)?;
        asked(session, &policy, (world, &prompts), asking, label)
    };
    let gpt = at(&models.gpt, Asking::Base, "eval gpt")?;
    let sft = at(&models.sft, Asking::Chat, "eval sft")?;
    let ppo = at(&models.ppo, Asking::Chat, "eval ppo")?;
    let (opponent, decoding) = best_sft(session, world, &prompts, (&models.sft, &sft))?;

    let three = [("gpt", &gpt), ("sft", &sft), ("ppo", &ppo)];
    let mut all = Observations::new();
    for (name, asked) in three {
        all.add_under(name, asked.found.clone());
    }
    all.add("ppo_over_sft", wins(&ppo.answers, &opponent));
    all.add("ppo_over_gpt", wins(&ppo.answers, &gpt.answers));
    all.add("ppo_over_sft/greedy", wins(&ppo.greedy, &sft.greedy));
    all.add("ppo_over_gpt/greedy", wins(&ppo.greedy, &gpt.greedy));
    let reward_folder = load_reward(&models.reward, &session.device)?;
    let reward = reward_folder.source(&session.device, session.config.eval.batch_size);
    let scores = scores(&reward, &sft.answers)?;
    let of_reward = observe_reward(world, &reward, (&sft.answers, &scores))?;
    all.add_under("reward", of_reward);
    all.write(&folder.root().join(OBSERVATIONS))?;
    let mut result = RunResult::from_observations(&all, Resampling::default())?;
    result.best_sft_decoding = Some(decoding);
    let seconds = started.elapsed().as_secs_f64();
    folder.note_stage("eval", "", (seconds, true))?;
    Ok(Compared {
        result,
        samples: samples(&prompts, &three.map(|(_, asked)| asked)),
        lengths: three
            .map(|(name, asked)| (name.to_uppercase(), lengths(asked)))
            .into(),
    })
}

/// Writes the figures of each model into its card.
///
/// # Errors
/// If a card can't be read or written.
pub(crate) fn note_in_cards(models: &Models, result: &RunResult) -> Result<(), CliError> {
    let of_model = |row: &ModelFigures, more: &[(&str, Figure)]| -> Metrics {
        let table = [
            ("truthfulness", row.truthfulness),
            ("toxicity", row.toxicity),
            ("instruction following", row.instruction_following),
        ];
        let all = table.iter().chain(more);
        all.map(|&(name, figure)| (name.to_owned(), figure))
            .collect()
    };
    let (table, wins) = (&result.table, &result.win_rate);
    let preferred = [
        ("preferred to SFT", wins.ppo_over_sft),
        ("preferred to GPT", wins.ppo_over_gpt),
    ];
    note_figures(&models.gpt, &of_model(&table.gpt, &[]))?;
    note_figures(&models.sft, &of_model(&table.sft, &[]))?;
    note_figures(&models.ppo, &of_model(&table.ppo, &preferred))?;
    let reward = [
        ("accuracy", result.reward.accuracy),
        (
            "accuracy that the annotators' noise allows",
            result.reward.ceiling,
        ),
    ];
    let reward = reward.map(|(name, figure)| (name.to_owned(), figure));
    note_figures(&models.reward, &reward.into())
}

fn asked(
    session: &Session,
    policy: &Policy,
    of_world: (&World, &[Prompt]),
    asking: Asking,
    label: &str,
) -> Result<Asked, CliError> {
    let config = &session.config.eval;
    let drawing = Drawing {
        temperature: config.temperature,
        samples: config.samples,
    };
    let greedy = Drawing {
        temperature: 0.0,
        samples: 1,
    };
    let answers = ask(session, policy, of_world, (asking, drawing), label)?;
    let label_greedy = format!("{label} greedy");
    let of_greedy = ask(session, policy, of_world, (asking, greedy), &label_greedy)?;
    let mut found = observe(&answers);
    note(session, label, &found);
    found.add_under("greedy", observe(&of_greedy));
    add_bits_per_byte(session, policy, of_world.0, &mut found)?;
    Ok(Asked {
        answers,
        greedy: of_greedy,
        found,
    })
}

/// One line an evaluation.
fn note(session: &Session, label: &str, found: &Observations) {
    let figures = ["true", "toxic", "followed", "uncontested", "gold"].map(|name| {
        let figure = found.mean(name, Resampling::default());
        format!(
            "{name} {}",
            figure.map_or_else(|_| "-".into(), |f| f.text(3))
        )
    });
    session.note(&format!("{label}: {}", figures.join(", ")));
}

/// Bits and bytes of documents beyond the corpus.
fn add_bits_per_byte(
    session: &Session,
    policy: &Policy,
    world: &World,
    found: &mut Observations,
) -> Result<(), CliError> {
    let documents = world.config().documents;
    let texts: Vec<String> = (documents..documents + HELD_OUT_DOCUMENTS)
        .map(|i| world.document(i).text)
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (i, read) in document_logprobs(policy, &texts, session)?
        .iter()
        .enumerate()
    {
        let cluster = format!("document {i}");
        let bits = -read.logprobs.iter().sum::<f64>() / std::f64::consts::LN_2;
        found.add("bits", [(cluster.clone(), bits)]);
        found.add("bytes", [(cluster, read.bytes as f64)]);
    }
    Ok(())
}

/// The fine-tuned model's answers at the decoding at which they are best among temperature 1, 0.7
/// and greedy: the optimised model must not win by sharper sampling alone.
fn best_sft(
    session: &Session,
    world: &World,
    prompts: &[Prompt],
    (dir, at_one): (&PathBuf, &Asked),
) -> Result<(Vec<Answered>, String), CliError> {
    let config = &session.config.eval;
    let drawing = |temperature, samples| Drawing {
        temperature,
        samples,
    };
    let cooler = drawing(0.7, config.samples);
    let prompts: Vec<Prompt> = prompts.iter().filter(|p| is_compared(p)).cloned().collect();
    let cool = ask(
        session,
        &load_policy(dir, &session.device)?,
        (world, &prompts),
        (Asking::Chat, cooler),
        "eval sft, cooler",
    )?;
    let all = [
        (
            at_one.answers.clone(),
            drawing(config.temperature, config.samples),
        ),
        (cool, cooler),
        (at_one.greedy.clone(), drawing(0.0, 1)),
    ];
    let gold = |answers: &[Answered]| {
        let compared = compared(answers);
        let sum: f64 = compared.iter().map(|a| f64::from(a.assessment.gold)).sum();
        sum / compared.len().max(1) as f64
    };
    let best = all
        .into_iter()
        .max_by(|a, b| gold(&a.0).total_cmp(&gold(&b.0)));
    let (answers, drawing) =
        best.ok_or_else(|| CliError::failure("there is no decoding to compare with"))?;
    Ok((answers, drawing.name()))
}

fn lengths(asked: &Asked) -> Vec<u32> {
    let length = |a: &Answered| a.row.tokens.as_ref().map_or(0, |t| t.len() as u32);
    asked.answers.iter().map(length).collect()
}

/// The first prompt of each kind of task, and the question about Australia's capital, with every
/// model's first answer.
fn samples(prompts: &[Prompt], asked: &[&Asked; 3]) -> Vec<Sample> {
    let mut seen = Vec::new();
    let mut samples = Vec::new();
    for (i, prompt) in prompts.iter().enumerate() {
        let task = prompt.row.get("task").cloned().unwrap_or_default();
        let of = |name: &str| {
            task.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let kind = match of("entity").as_str() {
            "Australia" => format!("Australia {}", of("relation")),
            _ => format!("{} {}", of("family"), of("relation")),
        };
        if seen.contains(&kind) {
            continue;
        }
        let answer = |asked: &Asked| {
            let first = asked.answers.iter().find(|a| a.prompt == i);
            first.map(|a| a.row.response.clone()).unwrap_or_default()
        };
        let text: Vec<&str> = prompt.messages.iter().map(|m| m.content.as_str()).collect();
        samples.push(Sample {
            prompt: text.join("\n"),
            responses: ["GPT", "SFT", "PPO"]
                .into_iter()
                .map(str::to_owned)
                .zip(asked.map(answer))
                .collect(),
        });
        seen.push(kind);
    }
    samples
}

/// The samples as text, all models' answers to a prompt side by side under it.
pub(crate) fn samples_text(samples: &[Sample]) -> String {
    let mut text = String::new();
    for sample in samples.iter().take(12) {
        text.push_str(&format!("? {}\n", sample.prompt.replace('\n', "\n  ")));
        for (model, answer) in &sample.responses {
            text.push_str(&format!("  {model}: {}\n", answer.replace('\n', " ")));
        }
    }
    text
}

/// Writes `report.html` and `samples.jsonl`.
///
/// # Errors
/// If a file can't be written or `metrics.jsonl` can't be read.
pub(crate) fn write_report(
    session: &Session,
    folder: &RunFolder,
    compared: &Compared,
) -> Result<(), CliError> {
    let samples = folder.root().join("samples.jsonl");
    rlhf_data::write_jsonl(&samples, &compared.samples).map_err(|e| CliError::io(&samples, &e))?;
    let record = folder.record();
    let order = ["pretrain", "sft", "collect", "reward", "ppo", "eval"];
    let stages = order.into_iter().filter_map(|name| {
        record
            .stages
            .get(name)
            .map(|stage| (name.to_owned(), stage.seconds))
    });
    let mut data = ReportData::new("From text to an aligned model", compared.result.clone());
    data.curves = curves(folder)?;
    data.lengths.clone_from(&compared.lengths);
    data.samples.clone_from(&compared.samples);
    data.stages = stages.collect();
    data.config_toml = session.config.to_toml()?;
    data.environment = vec![
        ("processor".to_owned(), record.cpu.clone()),
        ("threads".to_owned(), record.threads.to_string()),
        ("device".to_owned(), record.device.clone()),
        ("seed".to_owned(), record.seed.to_string()),
    ];
    for (name, version) in &record.versions {
        data.environment.push((name.clone(), version.clone()));
    }
    Ok(rlhf_eval::write_report(
        &folder.root().join("report.html"),
        &data,
    )?)
}

/// Learning curves and reward against KL, from `metrics.jsonl`.
fn curves(folder: &RunFolder) -> Result<Vec<Curve>, CliError> {
    let path = folder.root().join("metrics.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|e| CliError::io(&path, &e))?;
    let rows: Vec<Value> = text
        .lines()
        .filter_map(|l| serde_json::from_str(l).ok())
        .collect();
    let points = |stage: &str, x: &str, y: &str| -> Vec<(f64, f64)> {
        let of_stage = rows.iter().filter(|row| row["stage"] == stage);
        of_stage
            .filter_map(|row| Some((row[x].as_f64()?, row[y].as_f64()?)))
            .collect()
    };
    let curve = |chart: &str, name: &str, labels: (&str, &str), points| Curve {
        chart: chart.to_owned(),
        name: name.to_owned(),
        x_label: labels.0.to_owned(),
        y_label: labels.1.to_owned(),
        points,
    };
    let loss = ("update", "loss, nats a token");
    let pair = ("update", "loss, nats a pair");
    Ok(vec![
        curve(
            "Pre-training",
            "training",
            loss,
            points("pretrain", "step", "loss"),
        ),
        curve(
            "Fine-tuning",
            "training",
            loss,
            points("sft", "step", "loss"),
        ),
        curve(
            "Fine-tuning",
            "held out",
            loss,
            points("sft", "step", "eval_loss"),
        ),
        curve(
            "Reward model",
            "training",
            pair,
            points("reward", "step", "loss"),
        ),
        curve(
            "Reward model",
            "held out",
            pair,
            points("reward", "step", "eval_loss"),
        ),
        curve(
            "PPO",
            "score",
            ("update", "mean score"),
            points("ppo", "step", "score"),
        ),
        curve(
            "Reward against KL",
            "PPO",
            ("KL to the reference, nats an answer", "mean score"),
            points("ppo", "kl", "score"),
        ),
        curve(
            "Answers",
            "length",
            ("update", "tokens an answer"),
            points("ppo", "step", "response_length"),
        ),
    ])
}
