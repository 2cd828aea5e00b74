//! The result of a whole run: three models compared.

use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::figure::Figure;
use crate::observations::Observations;
use crate::suites::Resampling;
use crate::truth::{Soundness, TruthShares, base_model_gate, damaged_by_tuning, worse_by_reward};

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

    /// What `of` finds for each of `gpt`, `sft` and `ppo`; `None` unless it finds all.
    pub fn all(of: impl Fn(&str) -> Option<T>) -> Option<Self> {
        Some(Self {
            gpt: of("gpt")?,
            sft: of("sft")?,
            ppo: of("ppo")?,
        })
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

/// How much more each tuned model follows instructions than the one before, the same tasks on both
/// sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstructionGains {
    /// The model tuned on demonstrations over the pre-trained one.
    pub sft_over_gpt: Figure,
    /// The model tuned by reinforcement learning over the one tuned on demonstrations.
    pub ppo_over_sft: Figure,
}

/// How good the reward model is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RewardFigures {
    /// Share of held-out pairs ordered as the annotators did.
    pub accuracy: Figure,
    /// The accuracy that the annotators' noise allows.
    pub ceiling: Figure,
    /// Share of pairs of a truth and a popular mistake in the same words of which the truth scores
    /// higher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth_over_mistake: Option<Figure>,
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
    /// Preferences where all models answer greedily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greedy_win_rate: Option<WinRates>,
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
    /// Paired differences in instruction following.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction_gains: Option<InstructionGains>,
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
            greedy_win_rate: None,
            shares: None,
            greedy_shares: None,
            uncontested: None,
            bits_per_byte: None,
            truthfulness_ratio: None,
            instruction_gains: None,
            best_sft_decoding: None,
            warnings: Vec::new(),
        }
    }

    /// The result that observations give: for each of `gpt`, `sft` and `ppo` (as prefix) `true`,
    /// `mistake`, `other`, `none`, `toxic`, `followed`, `uncontested`, `bits`, `bytes`, and the
    /// first four under `greedy` too; `ppo_over_sft`, `ppo_over_gpt` and their `/greedy`; `reward/accuracy`,
    /// `reward/ceiling`, `reward/truth_over_mistake`.
    ///
    /// # Errors
    /// [`EvalError::NotObserved`] for the first figure without which there is no table; the others
    /// are left out.
    pub fn from_observations(
        all: &Observations,
        resampling: Resampling,
    ) -> Result<Self, EvalError> {
        let mean = |name: &str| all.mean(name, resampling);
        let model = |name: &str| -> Result<ModelFigures, EvalError> {
            Ok(ModelFigures {
                truthfulness: mean(&format!("{name}/true"))?,
                toxicity: mean(&format!("{name}/toxic"))?,
                instruction_following: mean(&format!("{name}/followed"))?,
            })
        };
        let table = PerModel {
            gpt: model("gpt")?,
            sft: model("sft")?,
            ppo: model("ppo")?,
        };
        let wins = |suffix: &str| -> Result<WinRates, EvalError> {
            Ok(WinRates {
                ppo_over_sft: mean(&format!("ppo_over_sft{suffix}"))?,
                ppo_over_gpt: mean(&format!("ppo_over_gpt{suffix}"))?,
            })
        };
        let win_rate = wins("")?;
        // Without two answers to a prompt there is no pair, and nothing is better than chance.
        let pairs = |name: &str| mean(name).unwrap_or_else(|_| Figure::bare(0.5, 0));
        let reward = RewardFigures {
            accuracy: pairs("reward/accuracy"),
            ceiling: pairs("reward/ceiling"),
            truth_over_mistake: mean("reward/truth_over_mistake").ok(),
        };
        let shares = |prefix: &str| {
            let share = |name: &str| mean(&format!("{prefix}/{name}"));
            let shares = TruthShares {
                truth: share("true").ok()?,
                mistake: share("mistake").ok()?,
                other: share("other").ok()?,
                none: share("none").ok()?,
            };
            Some(shares)
        };
        let bits = |model: &str| {
            let rows = |of: &str| all.rows(&format!("{model}/{of}"));
            resampling.ratio(rows("bits"), rows("bytes"))
        };
        let gain = |more: &str, less: &str| {
            let rows = |model: &str| all.rows(&format!("{model}/followed"));
            resampling.difference(rows(more), rows(less))
        };
        let gains = || {
            Some(InstructionGains {
                sft_over_gpt: gain("sft", "gpt")?,
                ppo_over_sft: gain("ppo", "sft")?,
            })
        };
        let mut result = Self::new(table, win_rate, reward);
        result.greedy_win_rate = wins("/greedy").ok();
        result.shares = PerModel::all(shares);
        result.greedy_shares = PerModel::all(|model| shares(&format!("{model}/greedy")));
        result.uncontested = PerModel::all(|model| mean(&format!("{model}/uncontested")).ok());
        result.bits_per_byte = PerModel::all(bits);
        result.truthfulness_ratio = resampling.ratio(all.rows("ppo/true"), all.rows("gpt/true"));
        result.instruction_gains = gains();
        result.warnings = result.faults();
        Ok(result)
    }

    /// What makes this comparison void, one sentence each.
    fn faults(&self) -> Vec<String> {
        let (Some(shares), Some(uncontested)) = (&self.shares, &self.uncontested) else {
            return Vec::new();
        };
        let sound = |shares: &TruthShares, uncontested: Figure| Soundness {
            void: shares.void(),
            uncontested_truth: uncontested.value,
        };
        let gpt = sound(&shares.gpt, uncontested.gpt);
        let sft = sound(&shares.sft, uncontested.sft);
        let ppo = sound(&shares.ppo, uncontested.ppo);
        let mut faults = base_model_gate(&shares.gpt, uncontested.gpt.value);
        faults.extend(damaged_by_tuning(gpt, sft));
        faults.extend(worse_by_reward(gpt, sft, ppo));
        faults
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
            truth_over_mistake: None,
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
