//! Layers, their order and what is refused.

use super::presets::PRESETS;
use super::*;
use crate::args::{Override, Overrides};
use proptest::prelude::*;

fn set(setting: &str) -> Layer {
    Layer::setting(&Override {
        typed: format!("--set {setting}"),
        setting: setting.into(),
    })
    .unwrap()
}

fn refused(layers: &[Layer]) -> String {
    Config::from_layers(layers).unwrap_err().to_string()
}

#[test]
fn every_preset_is_valid() {
    for (name, _) in PRESETS {
        let config = Config::from_layers(&[preset(Some(name)).unwrap()]).unwrap();
        assert_eq!(config.validate_run(), [], "{name}");
    }
    assert!(
        preset(Some("quik"))
            .unwrap_err()
            .to_string()
            .contains("default, quick")
    );
}

#[test]
fn later_layers_win_and_the_text_of_a_configuration_is_one() {
    let file = Layer::text("run.toml", "seed = 3\n[ppo]\nsteps = 5\nloss.gamma = 1\n").unwrap();
    let config = Config::from_layers(&[file, set("ppo.steps=7"), set("device=cuda:0")]).unwrap();
    assert_eq!(
        (config.seed, config.ppo.steps, config.ppo.loss.gamma),
        (3, 7, 1.0)
    );
    assert_eq!(config.device, "cuda:0");
    let text = config.to_toml().unwrap();
    assert_eq!(
        Config::from_layers(&[Layer::text("a", &text).unwrap()]).unwrap(),
        config
    );
    let text = config.sections_toml(&["ppo"]).unwrap();
    assert!(text.contains("[ppo]") && text.contains("[ppo.loss]") && !text.contains("[sft]"));
    let again = Config::from_layers(&[Layer::text("a", &text).unwrap()]).unwrap();
    assert_eq!(again.ppo, config.ppo);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
    let file = "seed = 3\n\n[ppo]\nsteps = 5\nloss.clip_rnage = 0.1\n[sfd]\nsteps = 1\n";
    let text = refused(&[
        Layer::text("run.toml", file).unwrap(),
        set("learning_rate=1"),
    ]);
    for wanted in [
        "run.toml:5: unknown key `clip_rnage` in [ppo.loss]; did you mean `clip_range`?",
        "run.toml:6: unknown key or section `sfd`; did you mean `sft`?",
        "--set learning_rate=1: unknown key or section",
        "`pretrain.learning_rate`",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}

#[test]
fn a_value_of_the_wrong_kind_says_what_was_wanted() {
    let cases = [
        (
            "ppo.steps=many",
            "--set ppo.steps=many: `ppo.steps` wants a whole number, found the text",
        ),
        ("ppo.steps=1.5", "wants a whole number, found 1.5"),
        ("ppo.steps=-1", "`ppo.steps`: "),
        ("ppo=3", "`ppo` wants a section of keys, found 3"),
        ("world.coherent=1", "wants true or false, found 1"),
        ("pretrain.schedule=cosin", "cosine"),
        ("ppo.steps.x=1", "wants a whole number, found a section"),
    ];
    for (setting, wanted) in cases {
        let text = refused(&[set(setting)]);
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
    for setting in ["ppo.steps", "=3", "ppo..steps=1", "ppo.steps="] {
        let typed = format!("--set {setting}");
        let error = Layer::setting(&Override {
            typed,
            setting: setting.into(),
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("hint: write `--set section.key=value`"),
            "{error}"
        );
    }
    let error = Layer::text("run.toml", "seed = 1\n[ppo\n")
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("error: run.toml:2: not TOML"), "{error}");
}

#[test]
fn all_settings_that_do_not_fit_are_named_at_once() {
    let layers = [
        "ppo.rollouts=0",
        "sft.batch_size=0",
        "model.heads=3",
        "eval.samples=0",
    ];
    let layers: Vec<Layer> = layers.into_iter().map(set).collect();
    let problems = Config::from_layers(&layers).unwrap().validate();
    let text = refuse(problems).unwrap_err().to_string();
    for key in ["ppo.rollouts", "sft.batch_size", "[model]", "eval.samples"] {
        assert!(text.contains(key), "{key}\n{text}");
    }
    let long = Config::from_layers(&[set("sft.max_length=4096")]).unwrap();
    assert_eq!(long.validate(), []);
    assert_eq!(long.validate_run().len(), 1);
}

#[test]
fn a_fingerprint_ignores_what_changes_no_result() {
    let text = |settings: &[&str]| {
        let layers: Vec<Layer> = settings.iter().map(|s| set(s)).collect();
        Config::from_layers(&layers)
            .unwrap()
            .fingerprint_toml("ppo")
            .unwrap()
    };
    assert_eq!(text(&["ppo.checkpoint_every=3", "sft.steps=1"]), text(&[]));
    assert_ne!(text(&["ppo.kl_coef=0.3"]), text(&[]));
}

#[test]
fn the_command_line_goes_over_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run.toml");
    std::fs::write(&file, "seed = 3\n[sft]\nsteps = 4\n").unwrap();
    let setting = Override {
        typed: "--seed 9".into(),
        setting: "seed=9".into(),
    };
    let args = CommonArgs {
        config: Some(file),
        overrides: Overrides(vec![setting]),
        ..CommonArgs::default()
    };
    let config = Config::from_args(&args).unwrap();
    assert_eq!((config.seed, config.sft.steps), (9, 4));
}

proptest! {
    /// Whatever the number and order of layers, a key has the value of the last that sets it, and
    /// the default's where none does.
    #[test]
    fn the_last_layer_wins(writes in prop::collection::vec((0_usize..4, 1_u64..1000), 0..12)) {
        let keys = ["seed", "pretrain.steps", "ppo.steps", "collect.samples"];
        let layers: Vec<Layer> =
            writes.iter().map(|(key, value)| set(&format!("{}={value}", keys[*key]))).collect();
        let config = Config::from_layers(&layers).unwrap();
        let default = Config::default();
        let found = [config.seed, config.pretrain.steps, config.ppo.steps, config.collect.samples as u64];
        let unset =
            [default.seed, default.pretrain.steps, default.ppo.steps, default.collect.samples as u64];
        for key in 0..keys.len() {
            let last = writes.iter().rev().find(|(k, _)| *k == key).map(|(_, value)| *value);
            prop_assert_eq!(found[key], last.unwrap_or(unset[key]));
        }
    }
}
