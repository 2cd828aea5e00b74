//! The world as files.

use crate::facts::Relation;
use crate::tasks::Task;
use crate::{World, WorldConfig, WorldError};
use rlhf_data::{write_atomic, write_jsonl};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io;
use std::path::{Path, PathBuf};

/// How many training prompts are written.
const TRAINING_PROMPTS: usize = 4000;

/// What no stage reads: who is held out and what is true.
#[derive(Serialize)]
struct Manifest<'a> {
    config: &'a WorldConfig,
    held_out_entities: Vec<&'a str>,
    held_out_tasks: Vec<&'a Task>,
    facts: Vec<FactRow<'a>>,
}

#[derive(Serialize)]
struct FactRow<'a> {
    entity: &'a str,
    relation: Relation,
    truth: &'a str,
    mistake: &'a str,
}

/// Writes a world into a folder, which is made where it doesn't exist: `corpus.jsonl` (text rows),
/// `demonstrations.jsonl` (instruction rows), `conversations.jsonl` (conversations of two turns),
/// `prompts.jsonl` (training prompts), `evaluation.jsonl` (evaluation prompts) and, for people
/// only, `gold.json`. Returns the files in this order.
///
/// # Errors
/// [`WorldError::Write`] with the file that can't be written.
pub fn write_world(
    world: &World,
    dir: &Path,
    corpus_documents: usize,
) -> Result<Vec<PathBuf>, WorldError> {
    let at = |path: &Path, result: io::Result<()>| {
        let path = path.to_owned();
        result.map_err(|source| WorldError::Write { path, source })
    };
    at(dir, std::fs::create_dir_all(dir))?;
    let path = |name: &str| dir.join(name);
    let corpus = path("corpus.jsonl");
    at(
        &corpus,
        write_jsonl(&corpus, (0..corpus_documents).map(|i| world.document(i))),
    )?;
    let demonstrations = path("demonstrations.jsonl");
    let rows = world.demonstrations().into_iter().map(without_nulls);
    at(&demonstrations, write_jsonl(&demonstrations, rows))?;
    let conversations = path("conversations.jsonl");
    at(
        &conversations,
        write_jsonl(&conversations, world.conversations()),
    )?;
    let prompts = path("prompts.jsonl");
    let rows = world
        .training_prompts(TRAINING_PROMPTS)
        .into_iter()
        .map(|prompt| prompt.row);
    at(&prompts, write_jsonl(&prompts, rows))?;
    let evaluation = path("evaluation.jsonl");
    let rows = world
        .evaluation_prompts()
        .into_iter()
        .map(|prompt| prompt.row);
    at(&evaluation, write_jsonl(&evaluation, rows))?;
    let gold = path("gold.json");
    let manifest = serde_json::to_vec_pretty(&manifest(world)).map_err(io::Error::from);
    at(
        &gold,
        manifest.and_then(|bytes| write_atomic(&gold, &bytes)),
    )?;
    Ok(vec![
        corpus,
        demonstrations,
        conversations,
        prompts,
        evaluation,
        gold,
    ])
}

fn manifest(world: &World) -> Manifest<'_> {
    let facts = world.facts.entities().iter().flat_map(|entity| {
        Relation::ALL.map(|relation| FactRow {
            entity: &entity.name,
            relation,
            truth: entity.truth(relation),
            mistake: entity.mistake(relation),
        })
    });
    Manifest {
        config: &world.config,
        held_out_entities: world.held_out_entities(),
        held_out_tasks: world.pools.iter().flat_map(|pool| &pool.held_out).collect(),
        facts: facts.collect(),
    }
}

/// The row without the fields that it hasn't.
fn without_nulls(row: impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields.into_iter().filter(|(_, v)| !v.is_null()).collect(),
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
