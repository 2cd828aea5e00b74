//! The result of a whole run: three models compared.

use serde::{Deserialize, Serialize};

use crate::figure::Figure;
use crate::truth::TruthShares;

/// One thing for each of the three models: pre-trained, demonstrations, reinforcement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerModel<T> {
    /// The pre-trained model.
    pub gpt: T,
    /// The model tuned on demonstrations.
    pub sft: T,
    /// The model tuned by reinforcement learning.
    pub ppo: T,
}

impl<T> PerModel<T> {
    /// What `of` makes of each model's thing.
    pub fn map<U>(&self, of: impl Fn(&T) -> U) -> PerModel<U> {
        PerModel {
            gpt: of(&self.gpt),
            sft: of(&self.sft),
            ppo: of(&self.ppo),
        }
    }

    /// Name and value of each model, in the order of training.
    pub fn named(&self) -> [(&'static str, &T); 3] {
        [("GPT", &self.gpt), ("SFT", &self.sft), ("PPO", &self.ppo)]
    }
}

/// A model's row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFigures {
    /// Share of true answers to contested questions; higher is better.
    pub truthfulness: Figure,
    /// Share of rude or hateful answers; lower is better.
    pub toxicity: Figure,
    /// Share of instructions that were followed; higher is better.
    pub instruction_following: Figure,
}

/// How often the last model's answers are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WinRates {
    /// Over the model tuned on demonstrations, at that model's best decoding.
    pub ppo_over_sft: Figure,
    /// Over the pre-trained model.
    pub ppo_over_gpt: Figure,
}

/// How good the reward model is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardFigures {
    /// Share of held-out pairs ordered as the annotators did.
    pub accuracy: Figure,
    /// The accuracy that the annotators' noise allows.
    pub ceiling: Figure,
}

/// The result of a run. The first three fields are what scripts rely on; the others are left out of
/// the JSON where they were not measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// The three models' figures.
    pub table: PerModel<ModelFigures>,
    /// Preferences between them.
    pub win_rate: WinRates,
    /// The reward model.
    pub reward: RewardFigures,
    /// The four shares of truth behind the table's truthfulness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<PerModel<TruthShares>>,
    /// The same with greedy decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greedy_shares: Option<PerModel<TruthShares>>,
    /// Share of truth on facts that nobody contests: what alignment may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncontested: Option<PerModel<Figure>>,
    /// Bits per byte on held-out documents: the other cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_byte: Option<PerModel<Figure>>,
    /// Truthfulness of the last model over that of the first, clusters paired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truthfulness_ratio: Option<Figure>,
    /// The decoding at which the model tuned on demonstrations was best and was compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_sft_decoding: Option<String>,
    /// Conditions of a fair comparison that this run missed, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl RunResult {
    /// A result with the three promised parts and nothing else.
    pub fn new(table: PerModel<ModelFigures>, win_rate: WinRates, reward: RewardFigures) -> Self {
        Self {
            table,
            win_rate,
            reward,
            shares: None,
            greedy_shares: None,
            uncontested: None,
            bits_per_byte: None,
            truthfulness_ratio: None,
            best_sft_decoding: None,
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn figure(value: f64, half: f64, n: usize) -> Figure {
        Figure::new(value, value - half, value + half, n)
    }

    fn model(truth: f64, toxicity: f64, instructions: f64) -> ModelFigures {
        ModelFigures {
            truthfulness: figure(truth, 0.03, 1600),
            toxicity: figure(toxicity, 0.02, 1600),
            instruction_following: figure(instructions, 0.04, 400),
        }
    }

    /// A result with made-up figures.
    pub(crate) fn sample_result() -> RunResult {
        let table = PerModel {
            gpt: model(0.224, 0.233, 0.31),
            sft: model(0.206, 0.199, 0.62),
            ppo: model(0.413, 0.196, 0.7),
        };
        let win_rate = WinRates {
            ppo_over_sft: figure(0.665, 0.035, 800),
            ppo_over_gpt: figure(0.81, 0.03, 800),
        };
        let reward = RewardFigures {
            accuracy: figure(0.74, 0.02, 1200),
            ceiling: figure(0.79, 0.02, 1200),
        };
        RunResult::new(table, win_rate, reward)
    }

    #[test]
    fn json_is_what_scripts_rely_on() {
        let json = serde_json::to_value(sample_result()).unwrap();
        let names = |v: &serde_json::Value| -> Vec<String> {
            v.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(&json), ["table", "win_rate", "reward"]);
        assert_eq!(names(&json["table"]), ["gpt", "sft", "ppo"]);
        let figures = ["truthfulness", "toxicity", "instruction_following"];
        assert_eq!(names(&json["table"]["ppo"]), figures);
        assert_eq!(names(&json["win_rate"]), ["ppo_over_sft", "ppo_over_gpt"]);
        assert_eq!(names(&json["reward"]), ["accuracy", "ceiling"]);
        assert_eq!(
            names(&json["table"]["gpt"]["toxicity"]),
            ["value", "low", "high", "n"]
        );
        assert_eq!(json["table"]["ppo"]["truthfulness"]["value"], 0.413);
    }

    #[test]
    fn what_was_not_measured_may_be_missing() {
        let mut result = sample_result();
        result.truthfulness_ratio = Some(Figure::new(1.8, 1.5, 2.2, 1600));
        result.warnings.push("the base model is void".to_owned());
        let json = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<RunResult>(&json).unwrap(), result);
        assert!(!json.contains("uncontested"), "{json}");
    }
}
