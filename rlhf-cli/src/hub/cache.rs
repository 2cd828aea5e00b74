//! The hub's cache: `models--org--name/refs/REVISION` holds a commit, and
//! `models--org--name/snapshots/COMMIT/` its files.

use super::{HubName, Need};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a revision in the cache, if all that is needed is there.
pub(super) fn snapshot_of(cache: &Path, name: &HubName, need: Need) -> Option<PathBuf> {
    let repo = repo_dir(cache, name);
    let commit = if name.is_commit() {
        name.revision.clone()
    } else {
        fs::read_to_string(repo.join("refs").join(&name.revision)).ok()?
    };
    let commit = commit.trim();
    let plain = !commit.is_empty() && commit.chars().all(|c| c.is_ascii_alphanumeric());
    let dir = repo.join("snapshots").join(commit);
    (plain && is_complete(&dir, need)).then_some(dir)
}

/// The folder of a repository.
pub(super) fn repo_dir(cache: &Path, name: &HubName) -> PathBuf {
    cache.join(format!("models--{}", name.repo.replace('/', "--")))
}

/// Whether a snapshot holds all that is needed. Weights are fetched last, so they stand for the rest.
pub(super) fn is_complete(dir: &Path, need: Need) -> bool {
    let there = |name: &str| dir.join(name).exists();
    match need {
        Need::Tokenizer => there("tokenizer.json"),
        Need::Model if there("adapter_model.safetensors") => there("adapter_config.json"),
        Need::Model if there("model.safetensors") => there("config.json"),
        Need::Model => {
            let shards = shards_of(&dir.join("model.safetensors.index.json"));
            let all = |names: BTreeSet<String>| names.iter().all(|name| there(name));
            there("config.json") && shards.is_some_and(all)
        }
    }
}

/// The files that an index lists; none where it is missing, broken, or lists what is not the name
/// of a file beside it.
pub(super) fn shards_of(index: &Path) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(&fs::read(index).ok()?).ok()?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    let plain = |name: &String| name.ends_with(".safetensors") && !name.contains(['/', '\\', ':']);
    (!names.is_empty() && names.iter().all(plain)).then_some(names)
}

/// The name and the commit of the model whose folder this is in the hub's cache.
pub(crate) fn name_of_snapshot(dir: &Path) -> Option<(String, String)> {
    let part = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    let (commit, snapshots) = (part(dir)?, dir.parent()?);
    let repo = part(snapshots.parent()?).filter(|_| snapshots.ends_with("snapshots"))?;
    let repo = repo.strip_prefix("models--")?.replacen("--", "/", 1);
    Some((repo, commit))
}

/// A folder as people call it: `org/name@COMMIT` in the hub's cache, its path elsewhere.
pub(crate) fn shown(dir: &Path) -> String {
    match name_of_snapshot(dir) {
        Some((repo, commit)) => format!("{repo}@{commit}"),
        None => dir.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_counts_when_it_is_complete() {
        let cache = tempfile::tempdir().unwrap();
        let repo = cache.path().join("models--o--n");
        let dir = repo.join("snapshots/c0ffee");
        fs::create_dir_all(&dir).unwrap();
        fs::create_dir_all(repo.join("refs")).unwrap();
        let find =
            |text: &str, need| snapshot_of(cache.path(), &HubName::parse(text).unwrap(), need);
        let put = |name: &str, text: &str| fs::write(dir.join(name), text).unwrap();
        put("config.json", "{}");
        put("model.safetensors", "x");
        assert_eq!(find("o/n", Need::Model), None, "no reference");
        fs::write(repo.join("refs/main"), "c0ffee\n").unwrap();
        assert_eq!(find("o/n", Need::Model), Some(dir.clone()));
        assert_eq!(find("o/n@other", Need::Model), None);
        assert_eq!(find("o/n", Need::Tokenizer), None);
        put("tokenizer.json", "{}");
        assert_eq!(find("o/n", Need::Tokenizer), Some(dir.clone()));
        fs::remove_file(dir.join("model.safetensors")).unwrap();
        assert_eq!(find("o/n", Need::Model), None);
        put(
            "model.safetensors.index.json",
            r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#,
        );
        put("1.safetensors", "x");
        assert_eq!(find("o/n", Need::Model), None);
        put("2.safetensors", "x");
        assert_eq!(find("o/n", Need::Model), Some(dir.clone()));
        put(
            "model.safetensors.index.json",
            r#"{"weight_map": {"a": "../../1.safetensors"}}"#,
        );
        assert_eq!(find("o/n", Need::Model), None);
        fs::write(repo.join("refs/main"), "../../..").unwrap();
        assert_eq!(find("o/n", Need::Tokenizer), None);
        let commit = "ab".repeat(20);
        let pinned = repo.join("snapshots").join(&commit);
        fs::create_dir_all(&pinned).unwrap();
        fs::write(pinned.join("tokenizer.json"), "{}").unwrap();
        assert_eq!(
            find(&format!("o/n@{commit}"), Need::Tokenizer),
            Some(pinned)
        );
    }

    #[test]
    fn a_folder_of_the_cache_is_called_by_its_name() {
        let name = shown(Path::new("/c/hub/models--org--a--b/snapshots/c0ffee"));
        assert_eq!(name, "org/a--b@c0ffee");
        assert_eq!(shown(Path::new("runs/sft/model")), "runs/sft/model");
        assert_eq!(
            shown(Path::new("/x/models--a--b/other/c")),
            "/x/models--a--b/other/c"
        );
    }
}
