//! `--set key=value` and the flags that are another way of writing it, in the order given.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// A flag that equals a `--set`: its name, the key it sets, its value's name and its help.
const FLAGS: [(&str, &str, &str, &str); 2] = [
    (
        "seed",
        "seed",
        "N",
        "The seed of everything drawn; same as --set seed=N",
    ),
    (
        "device",
        "device",
        "NAME",
        "flex, ndarray, wgpu[:n], vulkan[:n], metal[:n], cuda[:n]",
    ),
];

/// The flag of the stages that train an existing model, see [`LoraArgs`].
const LORA: (&str, &str) = ("lora", "lora.rank");

/// `--lora`. Its value is read by [`Overrides`], in its place among the other settings.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LoraArgs {
    /// Trains adapters of this rank instead of the weights (0: the weights); same as --set
    /// lora.rank=RANK
    #[arg(id = "lora", long = "lora", value_name = "RANK", action = ArgAction::Append)]
    _rank: Vec<String>,
}

/// One setting from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    /// What was typed, for messages: `--set ppo.steps=3` or `--seed 7`.
    pub(crate) typed: String,
    /// `key=value`.
    pub(crate) setting: String,
}

/// All settings from the command line, the last one to win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overrides(pub(crate) Vec<Override>);

impl Args for Overrides {
    fn augment_args(command: Command) -> Command {
        let set = Arg::new("set")
            .long("set")
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .help("Sets a key, such as ppo.steps=40; may be repeated, the last one wins");
        FLAGS
            .iter()
            .fold(command.arg(set), |command, &(name, _, value, help)| {
                let arg = Arg::new(name)
                    .long(name)
                    .value_name(value)
                    .action(ArgAction::Append);
                command.arg(arg.help(help))
            })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let mut found: Vec<(usize, Override)> = Vec::new();
        let mut take = |name: &str, make: &dyn Fn(&str) -> Override| {
            let indices = matches.indices_of(name).into_iter().flatten();
            let values = matches.get_many::<String>(name).into_iter().flatten();
            found.extend(indices.zip(values).map(|(at, value)| (at, make(value))));
        };
        take("set", &|v| Override {
            typed: format!("--set {v}"),
            setting: v.to_owned(),
        });
        let flags = FLAGS.iter().map(|&(name, key, _, _)| (name, key));
        for (name, key) in flags.chain([LORA]) {
            if matches.try_contains_id(name).is_ok() {
                take(name, &|v| Override {
                    typed: format!("--{name} {v}"),
                    setting: format!("{key}={v}"),
                });
            }
        }
        found.sort_by_key(|(at, _)| *at);
        Ok(Self(
            found.into_iter().map(|(_, setting)| setting).collect(),
        ))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Vec<String> {
        let command = Overrides::augment_args(Command::new("t").no_binary_name(true));
        let command = LoraArgs::augment_args(command);
        let found = Overrides::from_arg_matches(&command.get_matches_from(args)).unwrap();
        found.0.into_iter().map(|o| o.setting).collect()
    }

    #[test]
    fn settings_keep_the_order_in_which_they_were_typed() {
        let args = [
            "--seed",
            "1",
            "--set",
            "seed=2",
            "--set=ppo.steps=3",
            "--seed=4",
        ];
        assert_eq!(parse(&args), ["seed=1", "seed=2", "ppo.steps=3", "seed=4"]);
        assert_eq!(
            parse(&["--set", "seed=2", "--seed", "1"]),
            ["seed=2", "seed=1"]
        );
        assert!(parse(&[]).is_empty());
        assert_eq!(
            parse(&["--lora", "8", "--set", "lora.rank=4"]),
            ["lora.rank=8", "lora.rank=4"]
        );
    }
}
