//! Asking a model the embedded world's evaluation prompts, and what its answers show.

use crate::error::CliError;
use crate::model_folder::Policy;
use crate::session::Session;
use rlhf_data::{Prompt, Response};
use rlhf_eval::{
    Figure, ModelFigures, Outcome, Resampling, TruthLabel, TruthShares, answer_of, truth_shares,
};
use rlhf_model::{Generator, LocalGenerator, Request, SamplingConfig};
use rlhf_random::stream;
use rlhf_world::{Assessment, TruthShare, World};
use serde_json::Value;

/// How a model is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// By its chat template.
    Chat,
    /// As the corpus writes questions and answers: a model that has only been pre-trained.
    Base,
}

/// How its answers are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Drawing {
    /// The temperature; 0 is greedy.
    pub(crate) temperature: f64,
    /// Answers a prompt.
    pub(crate) samples: usize,
}

impl Drawing {
    /// As people say it.
    pub(crate) fn name(self) -> String {
        match (self.temperature, self.samples) {
            (0.0, _) => "greedy".to_owned(),
            (t, 1) => format!("temperature {t}"),
            (t, n) => format!("temperature {t}, {n} samples a prompt"),
        }
    }
}

/// An answer and what the gold judge finds in it.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    /// Which prompt, by index.
    pub(crate) prompt: usize,
    /// The answer as a row.
    pub(crate) row: Response,
    /// What it is worth.
    pub(crate) assessment: Assessment,
}

/// A model's answers to prompts, the samples of a prompt one after the other. Answer k to prompt i
/// depends on the seed, i and k alone.
///
/// # Errors
/// If a prompt can't be asked, or is none of the world's.
pub(crate) fn ask(
    session: &Session,
    policy: &Policy,
    (world, prompts): (&World, &[Prompt]),
    (asking, drawing): (Asking, Drawing),
    label: &str,
) -> Result<Vec<Answered>, CliError> {
    let config = &session.config.eval;
    let sampling = sampling(policy, config.max_new_tokens, drawing.temperature, asking);
    let generator = LocalGenerator::new(&policy.model, config.batch_size);
    let gold = world.gold();
    let mut progress = session.progress();
    let mut answered = Vec::with_capacity(prompts.len() * drawing.samples);
    let at_once = (4 * config.batch_size / drawing.samples.max(1)).max(1);
    for (part, some) in prompts.chunks(at_once).enumerate() {
        let ids = some.iter().map(|p| prompt_ids(policy, world, p, asking));
        let ids = ids.collect::<Result<Vec<_>, CliError>>()?;
        let mut requests = Vec::with_capacity(some.len() * drawing.samples);
        for (i, prompt) in ids.iter().enumerate() {
            for k in 0..drawing.samples {
                let row = (part * at_once + i) as u64;
                let stream = stream(session.config.seed ^ 0xe7a1, row, k as u64);
                requests.push(Request { prompt, stream });
            }
        }
        let completions = generator.generate(&requests, &sampling)?;
        for (r, completion) in completions.into_iter().enumerate() {
            let i = r / drawing.samples;
            let text = policy
                .tokenizer
                .tokenizer()
                .decode(&completion.tokens, true)?;
            let mut row = some[i].row.clone();
            row.insert("finish".into(), completion.finish.as_str().into());
            row.insert("response".into(), text.trim().into());
            let row = Response {
                messages: some[i].messages.clone(),
                response: text.trim().to_owned(),
                tokens: Some(completion.tokens),
                row,
            };
            let assessment = gold.assess(&answer_of(&row))?;
            answered.push(Answered {
                prompt: part * at_once + i,
                row,
                assessment,
            });
        }
        let done = (part * at_once + some.len()) as u64;
        progress.advance(label, done, prompts.len() as u64);
        if session.is_interrupted() {
            let what = format!("{label}: stopped after {done} of {} prompts", prompts.len());
            return Err(CliError::interrupted(
                what,
                "run the same command again to go on",
            ));
        }
    }
    Ok(answered)
}

fn prompt_ids(
    policy: &Policy,
    world: &World,
    prompt: &Prompt,
    asking: Asking,
) -> Result<Vec<u32>, CliError> {
    if asking == Asking::Chat {
        return Ok(policy.tokenizer.encode_prompt(&prompt.messages)?.ids);
    }
    let text = world.base_prompt(&prompt.messages);
    let mut ids: Vec<u32> = policy.tokenizer.bos_id().into_iter().collect();
    ids.extend(policy.tokenizer.tokenizer().encode(&text)?);
    Ok(ids)
}

fn sampling(
    policy: &Policy,
    max_new_tokens: usize,
    temperature: f64,
    asking: Asking,
) -> SamplingConfig {
    let tokenizer = policy.tokenizer.tokenizer();
    let ends_line = |id: &u32| {
        tokenizer
            .token_bytes(*id)
            .is_some_and(|b| b.first() == Some(&b'\n'))
    };
    let line_ends = match asking {
        Asking::Chat => Vec::new(),
        Asking::Base => (0..tokenizer.vocab_size() as u32)
            .filter(ends_line)
            .collect(),
    };
    SamplingConfig {
        max_new_tokens,
        temperature,
        stop_ids: policy.tokenizer.eos_id().into_iter().collect(),
        extra_stop_ids: line_ends,
        ..SamplingConfig::default()
    }
}

/// What a model's answers show.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    /// Its row of the table.
    pub(crate) figures: ModelFigures,
    /// The four shares of truth on contested facts.
    pub(crate) shares: TruthShares,
    /// Truth on uncontested facts.
    pub(crate) uncontested: Figure,
    /// The share of answers that came to their end.
    pub(crate) finished: Figure,
    /// The mean gold score.
    pub(crate) gold: Figure,
    /// Followed instructions by family of tasks.
    pub(crate) followed: Vec<(String, Figure)>,
}

/// The text of a field of a prompt's row.
fn field<'a>(row: &'a Response, name: &str) -> &'a str {
    row.row
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn task_field<'a>(row: &'a Response, name: &str) -> Option<&'a str> {
    row.row.get("task")?.get(name)?.as_str()
}

/// What an answer's interval is clustered by: the entity where there is one, else the task.
pub(crate) fn cluster(row: &Response) -> String {
    match task_field(row, "entity") {
        Some(entity) => entity.to_owned(),
        None => row
            .row
            .get("task")
            .map(Value::to_string)
            .unwrap_or_default(),
    }
}

/// The share of some answers that has a property, by cluster; an answer without an opinion
/// (`None`) is left out.
pub(crate) fn by_cluster(
    answered: &[Answered],
    of: impl Fn(&Answered) -> Option<f64>,
) -> Vec<(String, f64)> {
    answered
        .iter()
        .filter_map(|a| Some((cluster(&a.row), of(a)?)))
        .collect()
}

fn share(of: bool) -> f64 {
    f64::from(u8::from(of))
}

/// Truth of the contested answers, by entity.
pub(crate) fn truth_by_entity(answered: &[Answered]) -> Vec<(String, f64)> {
    by_cluster(answered, |a| {
        let truth = a.assessment.truth?;
        (field(&a.row, "suite") == "truth").then(|| share(truth == TruthShare::True))
    })
}

/// Whether instructions were followed, by cluster.
pub(crate) fn followed_by_task(answered: &[Answered]) -> Vec<(String, f64)> {
    by_cluster(answered, |a| {
        let followed = a.assessment.followed?;
        (field(&a.row, "suite") == "instructions").then(|| share(followed))
    })
}

/// The figures of a model's answers.
///
/// # Errors
/// If a suite has no prompts.
pub(crate) fn findings(answered: &[Answered]) -> Result<Findings, CliError> {
    let resampling = Resampling::default();
    let mean = |rows: &[(String, f64)], what: &str| {
        let none = || CliError::failure(format!("the world's suite `{what}` has no prompt"));
        resampling.mean(rows).ok_or_else(none)
    };
    let labels: Vec<(String, TruthLabel)> = answered
        .iter()
        .filter(|a| field(&a.row, "suite") == "truth")
        .filter_map(|a| Some((cluster(&a.row), label(a.assessment.truth?))))
        .collect();
    let shares = truth_shares(&labels, resampling)
        .ok_or_else(|| CliError::failure("the world's suite `truth` has no prompt"))?;
    let uncontested = by_cluster(answered, |a| {
        let truth = a.assessment.truth?;
        (field(&a.row, "suite") == "uncontested").then(|| share(truth == TruthShare::True))
    });
    let mut families: Vec<&str> = answered
        .iter()
        .filter_map(|a| task_field(&a.row, "family"))
        .collect();
    families.sort_unstable();
    families.dedup();
    let followed = families.into_iter().filter_map(|family| {
        let of = by_cluster(answered, |a| {
            let here = task_field(&a.row, "family") == Some(family);
            here.then_some(a.assessment.followed?).map(share)
        });
        Some((family.to_owned(), resampling.mean(&of)?))
    });
    Ok(Findings {
        figures: ModelFigures {
            truthfulness: mean(&truth_by_entity(answered), "truth")?,
            toxicity: mean(
                &by_cluster(answered, |a| Some(share(a.assessment.toxic))),
                "toxicity",
            )?,
            instruction_following: mean(&followed_by_task(answered), "instructions")?,
        },
        shares,
        uncontested: mean(&uncontested, "uncontested")?,
        finished: mean(
            &by_cluster(answered, |a| Some(share(a.assessment.finished))),
            "all",
        )?,
        gold: mean(
            &by_cluster(answered, |a| Some(f64::from(a.assessment.gold))),
            "all",
        )?,
        followed: followed.collect(),
    })
}

fn label(truth: TruthShare) -> TruthLabel {
    match truth {
        TruthShare::True => TruthLabel::True,
        TruthShare::Mistake => TruthLabel::Mistake,
        TruthShare::Other => TruthLabel::Other,
        TruthShare::None => TruthLabel::None,
    }
}

/// How often the first model's answers have the higher gold score, ties half: sample k of a prompt
/// against sample k of the other's, around again where the other has fewer.
pub(crate) fn win_rate(first: &[Answered], second: &[Answered]) -> Option<Figure> {
    let of_prompt = |answers: &[Answered], prompt: usize| -> Vec<f32> {
        let start = answers.partition_point(|a| a.prompt < prompt);
        let here = answers[start..].iter().take_while(|a| a.prompt == prompt);
        here.map(|a| a.assessment.gold).collect()
    };
    let prompts = first.last().map_or(0, |a| a.prompt + 1);
    let mut rows = Vec::new();
    for prompt in 0..prompts {
        let (one, other) = (of_prompt(first, prompt), of_prompt(second, prompt));
        let start = first.partition_point(|a| a.prompt < prompt);
        for (k, score) in one.iter().enumerate() {
            let against = *other.get(k % other.len().max(1))?;
            let outcome = Outcome::of_scores(f64::from(*score), f64::from(against));
            rows.push((cluster(&first[start].row), outcome.score()));
        }
    }
    Resampling::default().mean(&rows)
}
