//! Settings: layers, suggestions, `config show` and `config check`.

use crate::program::{rlhf, rlhf_with};
use std::fs;

#[test]
fn what_config_show_prints_is_toml_that_config_check_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shown.toml");
    let stages = [
        "run", "pretrain", "sft", "collect", "reward", "dpo", "ppo", "eval", "model", "world",
    ];
    for stage in stages {
        let shown = rlhf(&["config", "show", stage, "--preset", "quick"]).succeeded();
        assert!(shown.stderr.is_empty());
        let table: toml::Table = shown.stdout.parse().unwrap();
        assert!(
            table.contains_key("seed") && table.contains_key("device"),
            "{stage}"
        );
        if stage != "run" {
            assert!(table[stage].is_table(), "{stage}");
        }
        if ["pretrain", "sft", "reward", "dpo", "ppo"].contains(&stage) {
            assert!(table[stage]["steps"].is_integer(), "{stage}.steps");
            assert!(
                table[stage]["warmup_steps"].is_integer(),
                "{stage}.warmup_steps"
            );
        }
        fs::write(&file, &shown.stdout).unwrap();
        let checked = rlhf(&["config", "check", file.to_str().unwrap()]).succeeded();
        assert!(checked.stdout.contains("ok"));
    }
    let shown = rlhf(&["config", "show", "ppo", "--json"]).succeeded();
    assert!(shown.json_lines()[0]["ppo"]["kl_coef"].is_number());
}

#[test]
fn the_last_of_flags_and_settings_wins_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.toml");
    fs::write(&file, "seed = 3\n[ppo]\nsteps = 5\nepochs = 7\n").unwrap();
    let args = ["config", "show", "ppo", "--config", file.to_str().unwrap()];
    let shown = |more: &[&str]| {
        let found = rlhf(&[&args[..], more].concat()).succeeded();
        let table: toml::Table = found.stdout.parse().unwrap();
        let of_ppo = |key: &str| table["ppo"][key].as_integer().unwrap();
        (
            table["seed"].as_integer().unwrap(),
            of_ppo("steps"),
            of_ppo("epochs"),
        )
    };
    assert_eq!(shown(&[]), (3, 5, 7));
    let typed = ["--set", "seed=1", "--seed", "2", "--set", "ppo.steps=9"];
    assert_eq!(shown(&typed), (2, 9, 7));
    assert_eq!(shown(&["--seed", "2", "--set", "seed=1"]), (1, 5, 7));
}

#[test]
fn unknown_keys_and_wrong_values_are_refused_with_place_and_suggestion() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.toml");
    let path = file.to_str().unwrap();
    fs::write(
        &file,
        "seed = 1\n\n[ppo]\nkl_coeff = 0.1\nsteps = \"many\"\n",
    )
    .unwrap();
    for args in [&["config", "check", path][..], &["run", "--config", path]] {
        rlhf(args).refused(&[
            &format!("{path}:4: unknown key `kl_coeff` in [ppo]; did you mean `kl_coef`?"),
            &format!("{path}:5: `ppo.steps` wants a whole number, found the text \"many\""),
        ]);
    }
    let set = |setting: &str| rlhf(&["config", "show", "--set", setting]);
    set("ppo.kl_coeff=0.1").refused(&["--set ppo.kl_coeff=0.1", "`kl_coef`"]);
    set("ppo.steps=1.5").refused(&["wants a whole number, found 1.5"]);
    set("pretrain.schedule=cosin").refused(&["cosine"]);
    set("ppo.rollouts=0").refused(&["ppo.rollouts"]);
    set("seed").refused(&["--set seed", "section.key=value"]);
    let device = |name| rlhf_with(&["config", "show"], "", &[("BURN_DEVICE", name)]);
    assert!(
        device("ndarray")
            .succeeded()
            .stdout
            .contains("device = \"ndarray\"")
    );
    rlhf(&["config", "show", "--seed", "x"]).refused(&["--seed x", "whole number"]);
    rlhf(&["config", "show", "--preset", "quik"]).refused(&["quik", "default, quick"]);
    let gone = dir.path().join("gone.toml");
    rlhf(&["config", "check", gone.to_str().unwrap()]).refused(&["gone.toml"]);
    fs::write(&file, "seed = \n").unwrap();
    rlhf(&["config", "check", path]).refused(&[&format!("{path}:1: not TOML")]);
    assert_eq!(rlhf(&["config", "show", "pretain"]).code, 2);
}
