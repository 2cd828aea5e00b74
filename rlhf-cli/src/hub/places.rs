//! Where the hub, its cache and the token are: in the places that Hugging Face's programs use.

use crate::error::CliError;
use std::path::{Path, PathBuf};

/// What the environment says about the hub.
pub(super) struct Places {
    /// The folder of `models--org--name`.
    pub(super) cache: PathBuf,
    /// The address of the hub, where it is another than the usual one.
    #[cfg_attr(not(feature = "hub"), allow(dead_code, reason = "nothing is fetched"))]
    pub(super) endpoint: Option<String>,
    /// Opens private and gated models.
    #[cfg_attr(not(feature = "hub"), allow(dead_code, reason = "nothing is fetched"))]
    pub(super) token: Option<String>,
    /// Whether the network is not to be used.
    pub(super) offline: bool,
}

impl Places {
    /// `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// If there is neither a home folder nor a variable that names another.
    pub(super) fn from_environment(offline: bool) -> Result<Self, CliError> {
        let variable = |name: &str| std::env::var(name).ok();
        Self::read(variable, std::env::home_dir(), offline).ok_or_else(|| {
            let error = CliError::usage("there is no home folder, so no cache of the hub");
            error.hint("set HF_HOME to a folder, or name the model's folder")
        })
    }

    fn read(
        variable: impl Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
        offline: bool,
    ) -> Option<Self> {
        let variable = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let caches = || path("XDG_CACHE_HOME").or_else(|| Some(home?.join(".cache")));
        let hf_home = path("HF_HOME").or_else(|| Some(caches()?.join("huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.or_else(|| Some(hf_home.as_ref()?.join("hub")))?;
        let kept = path("HF_TOKEN_PATH").or_else(|| Some(hf_home?.join("token")));
        let token = variable("HF_TOKEN").or_else(|| read_token(&kept?));
        let on = |value: String| {
            let value = value.to_ascii_lowercase();
            ["1", "true", "yes", "on"].contains(&value.as_str())
        };
        Some(Self {
            cache,
            endpoint: variable("HF_ENDPOINT").map(|e| e.trim_end_matches('/').to_owned()),
            token: token.map(|token| token.trim().to_owned()),
            offline: offline || variable("HF_HUB_OFFLINE").is_some_and(on),
        })
    }
}

fn read_token(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<Places> {
        let found = |name: &str| {
            let found = variables.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Places::read(found, Some(PathBuf::from("/home/me")), false)
    }

    #[test]
    fn the_cache_is_where_hugging_face_has_it() {
        let cache = |variables: &[(&str, &str)]| read(variables).unwrap().cache;
        let path = |path: &str| PathBuf::from(path);
        assert_eq!(cache(&[]), path("/home/me/.cache/huggingface/hub"));
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/c")]),
            path("/c/huggingface/hub")
        );
        assert_eq!(
            cache(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/c")]),
            path("/h/hub")
        );
        assert_eq!(
            cache(&[("HF_HUB_CACHE", "/u"), ("HF_HOME", "/h")]),
            path("/u")
        );
        assert_eq!(
            cache(&[("HF_HOME", " ")]),
            path("/home/me/.cache/huggingface/hub")
        );
        assert!(Places::read(|_| None, None, false).is_none());
    }

    #[test]
    fn the_token_and_the_switch_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).unwrap().token, None);
        std::fs::write(dir.path().join("token"), "kept\n").unwrap();
        assert_eq!(read(&[("HF_HOME", home)]).unwrap().token.unwrap(), "kept");
        let given = read(&[("HF_HOME", home), ("HF_TOKEN", "given ")]).unwrap();
        assert_eq!(given.token.unwrap(), "given");
        let elsewhere = dir.path().join("token");
        let elsewhere = read(&[("HF_TOKEN_PATH", elsewhere.to_str().unwrap())]).unwrap();
        assert_eq!(elsewhere.token.unwrap(), "kept");
        for (value, offline) in [("1", true), ("TRUE", true), ("0", false), ("", false)] {
            assert_eq!(
                read(&[("HF_HUB_OFFLINE", value)]).unwrap().offline,
                offline,
                "{value}"
            );
        }
        let endpoint = read(&[("HF_ENDPOINT", "http://x/")]).unwrap().endpoint;
        assert_eq!(endpoint.unwrap(), "http://x");
    }
}
