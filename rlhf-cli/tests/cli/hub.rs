//! Models by their name on the hub, from a server in this process and from a cache.

use crate::hub_server::{COMMIT, Hub};
use crate::program::Finished;
use crate::tiny_model::{language_model, reward_model};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where nothing listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// A user with a home of their own.
struct User {
    dir: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("p.jsonl"), "{\"prompt\": \"the cat\"}\n").unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs the program in the user's folder.
    fn run(&self, args: &[&str], variables: &[(&str, &str)]) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rlhf"));
        for name in [
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
        ] {
            command.env_remove(name);
        }
        command
            .args(args)
            .current_dir(self.dir.path())
            .env_remove("BURN_DEVICE")
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_HOME", self.path("hf"))
            .env("HF_ENDPOINT", NOWHERE)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
            .into()
    }

    fn generate(&self, model: &str, more: &[&str], variables: &[(&str, &str)]) -> Finished {
        let args = [
            "generate",
            "--model",
            model,
            "--prompts",
            "p.jsonl",
            "--greedy",
        ];
        let short = ["--max-new-tokens", "3"];
        self.run(&[&args[..], &short, more].concat(), variables)
    }

    fn snapshot(&self) -> PathBuf {
        self.path(&format!("hf/hub/models--org--tiny/snapshots/{COMMIT}"))
    }
}

fn line(found: &Finished) -> String {
    let first = found.stderr.lines().next().unwrap_or_default();
    first.to_owned()
}

#[test]
fn what_is_needed_is_fetched_once_and_used_without_the_network() {
    let user = User::new();
    let model = language_model(user.dir.path());
    let expected = user.generate(model.to_str().unwrap(), &[], &[]).succeeded();
    let more = [
        ("pytorch_model.bin", "x"),
        ("onnx/model.onnx", "x"),
        ("README.md", "x"),
    ];
    let hub = Hub::serve(&model, &more, None);
    let at = [("HF_ENDPOINT", hub.endpoint.as_str())];

    let found = user.generate("org/tiny", &[], &at).succeeded();
    assert_eq!(found.stdout, expected.stdout);
    let mut fetched: Vec<String> = hub.asked();
    fetched.retain(|path| path.contains("/resolve/"));
    let wanted = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    let wanted = wanted.map(|name| format!("/org/tiny/resolve/{COMMIT}/{name}"));
    assert_eq!(fetched, wanted);
    for name in ["config.json", "model.safetensors"] {
        let [a, b] = [&model, &user.snapshot()].map(|dir| fs::read(dir.join(name)).unwrap());
        assert!(a == b, "{name}");
    }

    // The hub is asked for the newest commit, and for nothing that is there.
    let before = hub.asked().len();
    user.generate("org/tiny", &[], &at).succeeded();
    assert_eq!(hub.asked().len(), before);
    let pinned = format!("org/tiny@{COMMIT}");
    for (name, more, variables) in [
        ("org/tiny", &["--offline"][..], &[][..]),
        ("org/tiny", &[], &[("HF_HUB_OFFLINE", "1")]),
        (&pinned, &[], &[]),
    ] {
        let found = user.generate(name, more, variables).succeeded();
        assert_eq!(found.stdout, expected.stdout);
        assert!(!found.stderr.contains("http"), "{}", found.stderr);
    }
    // Without the network the cache does, and that is said.
    let found = user.generate("org/tiny", &[], &[]).succeeded();
    assert_eq!(found.stdout, expected.stdout);
    assert!(line(&found).contains("can't be reached") && line(&found).contains("cache"));
    let found = user.generate("org/tiny", &["--quiet"], &[]).succeeded();
    assert!(found.stderr.is_empty(), "{}", found.stderr);
}

#[test]
fn adapters_name_their_model_on_the_hub_and_find_it_in_the_cache() {
    let user = User::new();
    let hub = Hub::serve(&language_model(user.dir.path()), &[], None);
    let at = [("HF_ENDPOINT", hub.endpoint.as_str())];
    user.generate("org/tiny", &[], &at).succeeded();
    let row = "{\"instruction\": \"the cat\", \"output\": \"sat\"}\n";
    fs::write(user.path("rows.jsonl"), row.repeat(4)).unwrap();
    let args = [
        "sft",
        "--model",
        "org/tiny",
        "--data",
        "rows.jsonl",
        "--out",
        "sft",
        "--lora",
        "2",
    ];
    let short = [
        "--set",
        "sft.steps=1",
        "--set",
        "sft.max_length=40",
        "--offline",
    ];
    user.run(&[&args[..], &short].concat(), &[]).succeeded();
    let written = fs::read_to_string(user.path("sft/model/adapter_config.json")).unwrap();
    // As PEFT names a commit, which never changes: it is taken from the cache.
    for said in [
        "\"base_model_name_or_path\": \"org/tiny\"",
        &format!("\"revision\": \"{COMMIT}\""),
    ] {
        assert!(written.contains(said), "{written}");
    }
    let found = user.generate("sft/model", &[], &[]).succeeded();
    assert!(!found.stderr.contains("http"), "{}", found.stderr);
    let branch = written.replace(COMMIT, "main");
    fs::write(user.path("sft/model/adapter_config.json"), branch).unwrap();
    let found = user.generate("sft/model", &["--offline"], &[]).succeeded();
    assert!(!found.stderr.contains("http"), "{}", found.stderr);
    let found = user.generate("sft/model", &[], &[]).succeeded();
    assert!(
        found.stderr.contains("can't be reached"),
        "{}",
        found.stderr
    );
}

#[test]
fn what_cannot_be_had_is_said_in_one_line() {
    let user = User::new();
    let found = user.generate("org/tiny", &[], &[]);
    found.refused(&[
        "--model org/tiny",
        "no folder of that name",
        "can't be reached",
        NOWHERE,
    ]);
    assert_eq!(
        found.stderr.lines().count(),
        2,
        "a line and its hint: {}",
        found.stderr
    );
    let found = user.generate("org/tiny@v1", &["--offline"], &[]);
    found.refused(&["--model org/tiny@v1", "not in the cache", "--offline"]);
    assert_eq!(found.stderr.lines().count(), 2, "{}", found.stderr);

    let model = language_model(user.dir.path());
    let hub = Hub::serve(&model, &[], Some("sesame"));
    let at = ("HF_ENDPOINT", hub.endpoint.as_str());
    user.generate("org/tiny", &[], &[at])
        .refused(&["401", "HF_TOKEN"]);
    user.generate("org/tiny", &[], &[at, ("HF_TOKEN", "guess")])
        .refused(&["401"]);
    user.generate("org/other", &[], &[at, ("HF_TOKEN", "sesame")])
        .refused(&["404"]);
    user.generate("org/tiny", &[], &[at, ("HF_TOKEN", "sesame")])
        .succeeded();
    let other = User::new();
    fs::create_dir_all(other.path("hf")).unwrap();
    fs::write(other.path("hf/token"), "sesame\n").unwrap();
    other.generate("org/tiny", &[], &[at]).succeeded();

    let empty = user.path("empty");
    fs::create_dir_all(&empty).unwrap();
    let hub = Hub::serve(
        &empty,
        &[("config.json", "{}"), ("pytorch_model.bin", "x")],
        None,
    );
    let found = User::new().generate("org/tiny", &[], &[("HF_ENDPOINT", &hub.endpoint)]);
    found.refused(&["no safetensors weights"]);
    let outside = r#"{"weight_map": {"a": "../../../x.safetensors"}}"#;
    let files = [
        ("config.json", "{}"),
        ("model.safetensors.index.json", outside),
    ];
    let hub = Hub::serve(&empty, &files, None);
    let found = User::new().generate("org/tiny", &[], &[("HF_ENDPOINT", &hub.endpoint)]);
    found.refused(&["lists no weight files"]);
}

#[test]
fn a_folder_of_that_name_wins() {
    let user = User::new();
    let model = language_model(user.dir.path());
    fs::create_dir_all(user.path("org")).unwrap();
    fs::rename(&model, user.path("org/tiny")).unwrap();
    let found = user.generate("org/tiny", &[], &[]).succeeded();
    assert!(!found.stderr.contains("http"), "{}", found.stderr);
    // What can't be a name of the hub never goes there.
    let found = user.generate("./org/none", &[], &[]);
    found.refused(&["--model ./org/none"]);
    assert!(!found.stderr.contains(NOWHERE), "{}", found.stderr);
}

/// A cache as other programs leave it: links to blobs, weights in two files, a reward model.
#[test]
fn a_cache_that_others_filled_is_read() {
    let user = User::new();
    let (model, reward) = (
        language_model(user.dir.path()),
        reward_model(user.dir.path()),
    );
    put_into_cache(&user, "tiny", &model);
    put_into_cache(&user, "judge", &reward);
    let answers = user.path("o.jsonl");
    let out = answers.to_str().unwrap();
    user.generate("org/tiny", &["--offline", "--out", out], &[])
        .succeeded();
    let args = ["score", "--reward", "org/judge", "--data", out, "--offline"];
    let found = user.run(&args, &[]).succeeded();
    assert!(
        found.json_lines()[0]["reward"].is_number(),
        "{}",
        found.stdout
    );

    let args = [
        "export",
        "--model",
        "org/tiny",
        "--dtype",
        "f32",
        "--out",
        "e",
        "--offline",
    ];
    user.run(&args, &[]).succeeded();
    let card = fs::read_to_string(user.path("e/README.md")).unwrap();
    assert!(card.contains("base_model: \"org/tiny\""), "{card}");
    assert!(
        card.contains(&format!("trained from: org/tiny@{COMMIT}")),
        "{card}"
    );
}

/// A folder in the layout of the hub's cache.
fn put_into_cache(user: &User, name: &str, dir: &Path) {
    let repo = user.path(&format!("hf/hub/models--org--{name}"));
    let snapshot = repo.join("snapshots").join(COMMIT);
    for part in ["blobs", "refs"] {
        fs::create_dir_all(repo.join(part)).unwrap();
    }
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let blob = name.replace('.', "-");
        fs::copy(entry.path(), repo.join("blobs").join(&blob)).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(format!("../../blobs/{blob}"), snapshot.join(name)).unwrap();
        #[cfg(not(unix))]
        fs::copy(entry.path(), snapshot.join(name)).unwrap();
    }
}
