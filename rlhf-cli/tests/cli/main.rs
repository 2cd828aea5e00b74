//! The program from outside: what is typed, what is printed where, and the exit code.

#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

mod adapters;
mod bad_rows;
mod bench;
mod broken_models;
mod configuration;
mod data;
mod data_show;
mod export;
mod generation;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
mod hub_server;
mod program;
mod scoring;
mod stages;
mod tiny_model;

use program::rlhf;

#[test]
fn help_lists_the_commands_and_every_command_has_help() {
    let help = rlhf(&["--help"]);
    assert_eq!(help.code, 0);
    let commands = [
        "run", "pretrain", "sft", "collect", "reward", "dpo", "ppo", "eval", "generate", "score",
        "chat", "data", "config", "bench", "table", "merge", "estimate", "export",
    ];
    for command in commands {
        assert!(
            help.stdout.contains(&format!("\n  {command} ")),
            "{command}\n{}",
            help.stdout
        );
        let help = rlhf(&[command, "--help"]);
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{command}");
    }
    for option in [
        "--preset", "--config", "--set", "--seed", "--device", "--out", "--fresh",
    ] {
        assert!(rlhf(&["ppo", "--help"]).stdout.contains(option), "{option}");
        assert!(
            help.stdout.contains(option),
            "without a command the options of `run`: {option}"
        );
    }
    assert_eq!(rlhf(&["--version"]).code, 0);
}

#[test]
fn what_cannot_be_parsed_is_the_callers_mistake() {
    for args in [
        &["pretain"][..],
        &["ppo"],
        &["generate", "--modell", "x"],
        &["--sed", "1"],
    ] {
        let found = rlhf(args);
        assert_eq!(found.code, 2, "{args:?}");
        assert!(
            found.stdout.is_empty() && found.stderr.starts_with("error: "),
            "{args:?}"
        );
    }
    assert!(
        rlhf(&["pretain"]).stderr.contains("pretrain"),
        "a suggestion"
    );
    let both = [
        "generate",
        "--model",
        "m",
        "--prompts",
        "p",
        "--greedy",
        "--top-k",
        "3",
    ];
    assert!(rlhf(&both).stderr.contains("cannot be used with"));
}
