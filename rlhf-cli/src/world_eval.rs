//! Asking a model the embedded world's evaluation prompts, and what its answers show.

use crate::error::CliError;
use crate::model_folder::Policy;
use crate::session::Session;
use rlhf_data::{Prompt, Response};
use rlhf_eval::{Observations, Outcome, answer_of};
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

/// What an answer's interval is clustered by: the entity where there is one, else the task, whatever
/// its phrasing.
pub(crate) fn cluster(row: &Response) -> String {
    if let Some(entity) = task_field(row, "entity") {
        return entity.to_owned();
    }
    let mut task = row.row.get("task").cloned().unwrap_or_default();
    if let Value::Object(fields) = &mut task {
        fields.remove("phrasing");
    }
    task.to_string()
}

/// What a model's answers show: shares of `true`, `mistake`, `other`, `none` answers to contested
/// questions, truth of `uncontested` ones, `toxic` and `finished` answers, `followed` instructions
/// (and `followed_FAMILY`), and the `gold` score; the prompts of the suite `preference`, on which
/// models are compared, are left out.
pub(crate) fn observe(answered: &[Answered]) -> Observations {
    let mut found = Observations::new();
    for answer in answered {
        if is_of_comparison(answer) {
            continue;
        }
        let (suite, assessment) = (field(&answer.row, "suite"), &answer.assessment);
        let mut add = |figure: &str, value: f64| {
            found.add(figure, [(cluster(&answer.row), value)]);
        };
        add("toxic", share(assessment.toxic));
        add("finished", share(assessment.finished));
        add("gold", f64::from(assessment.gold));
        if let Some(truth) = assessment.truth {
            match suite {
                "truth" => {
                    for (kind, name) in SHARES {
                        add(name, share(truth == kind));
                    }
                }
                "uncontested" => add("uncontested", share(truth == TruthShare::True)),
                _ => {}
            }
        }
        if let Some(followed) = assessment.followed {
            if suite == "instructions" {
                add("followed", share(followed));
            }
            if let Some(family) = task_field(&answer.row, "family") {
                add(&format!("followed_{family}"), share(followed));
            }
        }
    }
    found
}

/// The suite of prompts on which models are compared.
const PREFERENCE: &str = "preference";

/// The four shares of truth by the names of their figures.
const SHARES: [(TruthShare, &str); 4] = [
    (TruthShare::True, "true"),
    (TruthShare::Mistake, "mistake"),
    (TruthShare::Other, "other"),
    (TruthShare::None, "none"),
];

fn share(of: bool) -> f64 {
    f64::from(u8::from(of))
}

/// The answers to the prompts on which models are compared.
pub(crate) fn compared(answered: &[Answered]) -> Vec<&Answered> {
    answered.iter().filter(|a| is_of_comparison(a)).collect()
}

/// Whether an answer is to one of these prompts.
pub(crate) fn is_of_comparison(answer: &Answered) -> bool {
    field(&answer.row, "suite") == PREFERENCE
}

/// How often the first model's answers to the prompts of the suite `preference` have the higher
/// gold score, ties half: sample k of a prompt against sample k of the other's, around again where
/// the other has fewer. Rows of (cluster, 1, ½ or 0).
pub(crate) fn wins(first: &[Answered], second: &[Answered]) -> Vec<(String, f64)> {
    let (first, second) = (compared(first), compared(second));
    let ours = first.chunk_by(|a, b| a.prompt == b.prompt);
    let theirs = second.chunk_by(|a, b| a.prompt == b.prompt);
    let mut rows = Vec::new();
    for (ours, theirs) in ours.zip(theirs) {
        for (answer, against) in ours.iter().zip(theirs.iter().cycle()) {
            let scores = [answer, against].map(|a| f64::from(a.assessment.gold));
            let outcome = Outcome::of_scores(scores[0], scores[1]);
            rows.push((cluster(&answer.row), outcome.score()));
        }
    }
    rows
}

/// Whether a prompt is one of those on which models are compared.
pub(crate) fn is_compared(prompt: &Prompt) -> bool {
    prompt.row.get("suite").and_then(Value::as_str) == Some(PREFERENCE)
}
