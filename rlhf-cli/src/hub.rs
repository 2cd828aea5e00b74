//! Models by their name on the hub: `org/name`, or `org/name@revision`.
//!
//! A name becomes the folder of the hub's cache that holds the model's files, in the layout that all
//! of Hugging Face's programs share, so each file is fetched once for all of them. A folder of that
//! name wins.

mod cache;
#[cfg(feature = "hub")]
mod fetch;
mod places;

use crate::args::{Cli, Command, CommonArgs};
use crate::commands::data::DataCommand;
use crate::console;
use crate::error::CliError;
use cache::snapshot_of;
use places::Places;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

pub(crate) use cache::{name_of_snapshot, shown};

/// What is wanted of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Everything a model is made of.
    Model,
    /// Tokenizer and chat template.
    Tokenizer,
}

/// A repository of the hub and a revision of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HubName {
    /// `org/name`.
    repo: String,
    /// A branch, a tag or a commit.
    revision: String,
}

impl HubName {
    /// The name that a text is, if it can be one.
    fn parse(text: &str) -> Option<Self> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (org, name) = repo.split_once('/')?;
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let part = |part: &str| {
            !part.is_empty()
                && part.chars().all(letter)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("..")
                && !part.contains("--")
        };
        let branch = !revision.is_empty()
            && revision.chars().all(|c| letter(c) || c == '/')
            && revision
                .split('/')
                .all(|part| !part.is_empty() && !part.starts_with('.'));
        let fits = part(org) && part(name) && branch && repo.len() <= 96;
        fits.then(|| Self {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
        })
    }

    /// Whether the revision is a commit, which never changes.
    fn is_commit(&self) -> bool {
        self.revision.len() == 40 && self.revision.chars().all(|c| c.is_ascii_hexdigit())
    }
}

/// Puts the folder of the cache in the place of each name of a model that was typed.
///
/// # Errors
/// The caller's mistake if there is neither such a folder nor such a model that can be had; the
/// machine's if a transfer breaks off.
pub(crate) fn resolve(cli: &mut Cli) -> Result<(), CliError> {
    let Some(command) = &mut cli.command else {
        return Ok(());
    };
    let (named, common) = named_models(command);
    let typed = Typed {
        offline: common.is_some_and(|c| c.offline),
        quiet: common.is_some_and(|c| c.quiet),
    };
    TYPED.set(typed).ok();
    for (option, path, need) in named {
        *path = locate(option, path, need)?;
    }
    Ok(())
}

/// What was typed that holds for every look at the hub, also for those of models that a file names.
#[derive(Clone, Copy, Debug, Default)]
struct Typed {
    offline: bool,
    quiet: bool,
}

static TYPED: OnceLock<Typed> = OnceLock::new();

/// The folder of what was given: itself where there is one, else the cache's for a name on the hub.
/// What is neither is given back as it is, for the reader of folders to refuse.
///
/// # Errors
/// As [`resolve`].
pub(crate) fn locate(option: &str, given: &Path, need: Need) -> Result<PathBuf, CliError> {
    if given.exists() {
        return Ok(given.to_owned());
    }
    let Some(name) = given.to_str().and_then(HubName::parse) else {
        return Ok(given.to_owned());
    };
    let typed = TYPED.get().copied().unwrap_or_default();
    let places = Places::from_environment(typed.offline)?;
    let cached = snapshot_of(&places.cache, &name, need);
    if let Some(dir) = cached
        .as_ref()
        .filter(|_| places.offline || name.is_commit())
    {
        return Ok(dir.clone());
    }
    let fetched = fetch(&places, &name, need, typed.quiet);
    match (fetched, cached) {
        (Ok(dir), _) => Ok(dir),
        (Err(error), Some(dir)) => {
            if !typed.quiet {
                let message = error.message;
                console::say(&format!(
                    "{name}: {message}; the files in the cache are used"
                ));
            }
            Ok(dir)
        }
        (Err(error), None) => {
            let what = format!(
                "{option} {name}: no folder of that name, and {}",
                error.message
            );
            Err(CliError {
                message: what,
                ..error
            })
        }
    }
}

#[cfg(feature = "hub")]
fn fetch(places: &Places, name: &HubName, need: Need, quiet: bool) -> Result<PathBuf, CliError> {
    if places.offline {
        return Err(offline(places));
    }
    fetch::fetch(places, name, need, !quiet)
}

#[cfg(not(feature = "hub"))]
fn fetch(places: &Places, _: &HubName, _: Need, _: bool) -> Result<PathBuf, CliError> {
    if places.offline {
        return Err(offline(places));
    }
    let error = CliError::usage("this program was built without the feature `hub`");
    Err(error.hint("build it with `cargo build --release -p rlhf-cli --features hub`"))
}

fn offline(places: &Places) -> CliError {
    let cache = places.cache.display();
    let error = CliError::usage(format!("not in the cache {cache}, and --offline is on"));
    error.hint("run the command once without --offline and HF_HUB_OFFLINE, or name a folder")
}

impl std::fmt::Display for HubName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.repo),
            revision => write!(f, "{}@{revision}", self.repo),
        }
    }
}

type Named<'a> = Vec<(&'static str, &'a mut PathBuf, Need)>;

/// The options of a command that name models.
fn named_models(command: &mut Command) -> (Named<'_>, Option<&CommonArgs>) {
    fn model(path: &mut PathBuf) -> (&'static str, &mut PathBuf, Need) {
        ("--model", path, Need::Model)
    }
    fn reward(path: &mut PathBuf) -> (&'static str, &mut PathBuf, Need) {
        ("--reward", path, Need::Model)
    }
    match command {
        Command::Pretrain(a) => (a.model.iter_mut().map(model).collect(), Some(&a.common)),
        Command::Sft(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Collect(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Reward(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Dpo(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Ppo(a) => (
            vec![model(&mut a.model), reward(&mut a.reward)],
            Some(&a.common),
        ),
        Command::Eval(a) => {
            let named = std::iter::once(model(&mut a.model));
            (
                named.chain(a.reward.as_mut().map(reward)).collect(),
                Some(&a.common),
            )
        }
        Command::Generate(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Score(a) => (vec![reward(&mut a.reward)], Some(&a.common)),
        Command::Chat(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Export(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Merge(a) => (vec![model(&mut a.model)], Some(&a.common)),
        Command::Estimate(a) => (a.model.iter_mut().map(model).collect(), Some(&a.common)),
        Command::Data(DataCommand::Show(a)) => {
            (vec![("--model", &mut a.model, Need::Tokenizer)], None)
        }
        Command::Run(_)
        | Command::Table(_)
        | Command::Bench(_)
        | Command::Data(_)
        | Command::Config(_) => (Vec::new(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let name = |repo: &str, revision: &str| {
            Some(HubName {
                repo: repo.to_owned(),
                revision: revision.to_owned(),
            })
        };
        assert_eq!(
            HubName::parse("org/Name-1.5_b"),
            name("org/Name-1.5_b", "main")
        );
        assert_eq!(HubName::parse("o/n@v1.0"), name("o/n", "v1.0"));
        assert_eq!(HubName::parse("o/n@refs/pr/1"), name("o/n", "refs/pr/1"));
        for path in [
            "model",
            "/a/b",
            "./a",
            "../a",
            "a/../b",
            "a/b/c",
            "a/",
            "/a",
            "a//b",
            "a/b@",
            "a/b@/x",
            "a/b@..",
            "a/b@x/../y",
            "a\\b",
            "a/b c",
            "-a/b",
            "a/--b",
            "a/b.",
            "~/b",
            "",
        ] {
            assert_eq!(HubName::parse(path), None, "{path}");
        }
        assert_eq!(HubName::parse("o/n").unwrap().to_string(), "o/n");
        assert_eq!(HubName::parse("o/n@v1").unwrap().to_string(), "o/n@v1");
        assert!(
            HubName::parse(&format!("o/n@{}", "0a".repeat(20)))
                .unwrap()
                .is_commit()
        );
        assert!(!HubName::parse("o/n@0a0a").unwrap().is_commit());
    }
}
