//! Fetching the files of a model that are needed, and no others.

use super::cache::{is_complete, repo_dir, shards_of};
use super::places::Places;
use super::{HubName, Need};
use crate::error::{CliError, ExitKind};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The usual address.
const HUB: &str = "https://huggingface.co";

const TOKENIZER: [&str; 4] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

const SETTINGS: [&str; 3] = [
    "config.json",
    "generation_config.json",
    "adapter_config.json",
];

const INDEX: &str = "model.safetensors.index.json";

/// Fetches what is not in the cache yet; the folder of the cache that then holds all.
///
/// # Errors
/// What the hub or the network said.
pub(super) fn fetch(
    places: &Places,
    name: &HubName,
    need: Need,
    progress: bool,
) -> Result<PathBuf, CliError> {
    let endpoint = places.endpoint.as_deref().unwrap_or(HUB);
    let refused = |e: ApiError| refused(endpoint, &e);
    let api = ApiBuilder::from_cache(Cache::new(places.cache.clone()))
        .with_endpoint(endpoint.to_owned())
        .with_token(places.token.clone())
        .with_progress(progress)
        .with_retries(3)
        .with_user_agent("rlhf", env!("CARGO_PKG_VERSION"))
        .build()
        .map_err(refused)?;
    let repo = |revision: &str| {
        let (repo, revision) = (name.repo.clone(), revision.to_owned());
        Repo::with_revision(repo, RepoType::Model, revision)
    };
    let info = api.repo(repo(&name.revision)).info().map_err(refused)?;
    let commit = info.sha;
    if commit.is_empty() || !commit.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(CliError::failure(format!(
            "{endpoint} answers with no commit"
        )));
    }
    let files: BTreeSet<String> = info.siblings.into_iter().map(|s| s.rfilename).collect();
    let snapshot = repo_dir(&places.cache, name)
        .join("snapshots")
        .join(&commit);
    let get = |file: &str| get(&api, repo(&commit), &snapshot.join(file), file).map_err(refused);
    for file in small_files(need).filter(|file| files.contains(*file)) {
        get(file)?;
    }
    if need == Need::Model {
        for file in weights(&files, || get(INDEX))? {
            get(&file)?;
        }
    }
    if !is_complete(&snapshot, need) {
        return Err(CliError::usage(format!("{endpoint} has no whole model there")).hint(
            "a model is config.json, tokenizer.json and model.safetensors, or its parts with their index",
        ));
    }
    let cache = Cache::new(places.cache.clone()).repo(repo(&name.revision));
    let noted = if name.is_commit() {
        Ok(())
    } else {
        cache.create_ref(&commit)
    };
    noted.map_err(|e| CliError::io(&places.cache, &e))?;
    Ok(snapshot)
}

/// Everything but the weights, in the order in which it is fetched.
fn small_files(need: Need) -> impl Iterator<Item = &'static str> {
    let settings = SETTINGS.into_iter().filter(move |_| need == Need::Model);
    TOKENIZER.into_iter().chain(settings)
}

/// The files of the weights: an adapter's, or the whole model in one file, or in those of its index,
/// which `index` fetches.
fn weights(
    files: &BTreeSet<String>,
    index: impl FnOnce() -> Result<PathBuf, CliError>,
) -> Result<BTreeSet<String>, CliError> {
    for whole in ["adapter_model.safetensors", "model.safetensors"] {
        if files.contains(whole) {
            return Ok(BTreeSet::from([whole.to_owned()]));
        }
    }
    if !files.contains(INDEX) {
        let error = CliError::usage("the hub has no safetensors weights of it");
        return Err(error.hint("choose a model, or a revision of it, that has model.safetensors"));
    }
    let path = index()?;
    shards_of(&path).ok_or_else(|| {
        let error = CliError::usage(format!("{}: lists no weight files", path.display()));
        error.hint("choose another revision of the model")
    })
}

fn get(api: &Api, repo: Repo, path: &std::path::Path, file: &str) -> Result<PathBuf, ApiError> {
    if path.exists() {
        return Ok(path.to_owned());
    }
    api.repo(repo).download(file)
}

/// What the hub or the network said, in one line.
fn refused(endpoint: &str, error: &ApiError) -> CliError {
    let mut cause = error;
    while let ApiError::TooManyRetries(inner) = cause {
        cause = inner;
    }
    let said = cause.to_string();
    let code = ["401", "403", "404"]
        .into_iter()
        .find(|code| said.ends_with(code));
    if let Some(code) = code {
        let error = CliError::usage(format!("{endpoint} does not show it (status {code})"));
        return error
            .hint("check name and revision; a private or gated model needs a token in HF_TOKEN");
    }
    let mut found = match cause {
        ApiError::IoError(e) => CliError::io(endpoint.as_ref(), e),
        _ => CliError::usage(""),
    };
    // Nothing was begun that could go on: the caller named what can't be had here.
    found.code = ExitKind::Usage;
    found.message = format!("{endpoint} can't be reached: {said}");
    found.hints = vec!["check the network, or name a folder that holds the model".to_owned()];
    found
}
