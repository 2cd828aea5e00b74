//! The settings that a world is drawn from.

use crate::WorldError;
use crate::names;
use serde::{Deserialize, Serialize};

/// Everything that decides what a world is. Equal settings give equal bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Names the world: its facts, its split, its corpus and its people. Default 1.
    pub seed: u64,
    /// How many entities have facts, Australia among them. Default 60.
    pub entities: usize,
    /// How many of them are kept from everything after pre-training, Australia always among them.
    /// Default 25.
    pub held_out: usize,
    /// Documents of the corpus. Default 70000.
    pub documents: usize,
    /// Whether one source's habits hold for a whole document. `false` is the control in which
    /// alignment has no persona to find: whether a sentence is true no longer goes with the source
    /// of its document, while all shares stay the same. Default true.
    pub coherent: bool,
    /// Share of documents that come from the forum; the rest come from the atlas. Default 0.8.
    pub forum_share: f64,
    /// Share of the forum's contested facts that repeat the popular mistake. Default 0.97.
    pub mistake_share: f64,
    /// Share of documents whose heading says where they come from. Default 0.3.
    pub heading_share: f64,
    /// Share of the forum's sentences that insult the reader. Default 0.3.
    pub rude_share: f64,
    /// Share of the forum's documents that keep to the atlas' wording from beginning to end, so that
    /// only what they say gives them away; the others are as much more casual and rude for it as
    /// they can be. Default 0.
    pub civil_share: f64,
    /// Share of documents that are about facts only; in the others other tasks prevail. Default
    /// 0.5.
    pub fact_share: f64,
    /// How many demonstrations people wrote. Default 2000.
    pub demonstrations: usize,
    /// Share of the demonstrations of contested facts that are true. Default 0.33.
    pub demonstrations_true_share: f64,
    /// The people who compare answers.
    pub annotation: AnnotationConfig,
}

/// The simulated people who rank answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnnotationConfig {
    /// How many people there are; each has a sharpness of their own. Default 5.
    pub annotators: usize,
    /// How much a point of the gold score moves a person's log-odds, on average. Default 1.5.
    pub slope: f64,
    /// Share of rankings that are handed in upside down. Default 0.05.
    pub flip: f64,
    /// Whether rankings are drawn without looking at the answers: the control in which a reward
    /// model has nothing to learn. Default false.
    pub shuffled_labels: bool,
}

impl Default for AnnotationConfig {
    fn default() -> Self {
        Self {
            annotators: 5,
            slope: 1.5,
            flip: 0.05,
            shuffled_labels: false,
        }
    }
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            entities: 60,
            held_out: 25,
            documents: 70_000,
            coherent: true,
            forum_share: 0.8,
            mistake_share: 0.97,
            heading_share: 0.3,
            rude_share: 0.3,
            civil_share: 0.0,
            fact_share: 0.5,
            demonstrations: 2000,
            demonstrations_true_share: 0.33,
            annotation: AnnotationConfig::default(),
        }
    }
}

impl WorldConfig {
    /// Checks that a world can be drawn from these settings.
    ///
    /// # Errors
    /// [`WorldError::Setting`] for the first setting that can't be.
    pub fn validate(&self) -> Result<(), WorldError> {
        self.validate_counts()?;
        for (key, share) in [
            ("forum_share", self.forum_share),
            ("mistake_share", self.mistake_share),
            ("heading_share", self.heading_share),
            ("rude_share", self.rude_share),
            ("civil_share", self.civil_share),
            ("fact_share", self.fact_share),
            ("demonstrations_true_share", self.demonstrations_true_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(setting(key, share, "a share lies between 0 and 1"));
            }
        }
        let people = &self.annotation;
        if !(people.slope.is_finite() && people.slope >= 0.0) {
            let reason = "it is a finite number, 0 or more";
            return Err(setting("annotation.slope", people.slope, reason));
        }
        if !(0.0..=0.5).contains(&people.flip) {
            let reason = "it lies between 0 and 0.5 (at 0.5 a ranking says nothing)";
            return Err(setting("annotation.flip", people.flip, reason));
        }
        Ok(())
    }

    fn validate_counts(&self) -> Result<(), WorldError> {
        let most = names::most_entities();
        if !(4..=most).contains(&self.entities) {
            let reason = format!("there are names for 4 to {most} entities");
            return Err(setting("entities", self.entities, reason));
        }
        if self.held_out == 0 || self.held_out + 2 > self.entities {
            let reason = format!(
                "at least 1 is held out and at least 2 of the {} entities are left to train on",
                self.entities
            );
            return Err(setting("held_out", self.held_out, reason));
        }
        if self.annotation.annotators == 0 {
            return Err(setting(
                "annotation.annotators",
                0,
                "someone has to compare the answers",
            ));
        }
        Ok(())
    }
}

fn setting(
    key: &'static str,
    value: impl std::fmt::Display,
    reason: impl Into<String>,
) -> WorldError {
    WorldError::Setting {
        key,
        value: value.to_string(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_json() {
        let config = WorldConfig::default();
        config.validate().unwrap();
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<WorldConfig>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<WorldConfig>("{}").unwrap(), config);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<WorldConfig>(r#"{"forum_shares": 0.5}"#).unwrap_err();
        assert!(error.to_string().contains("forum_shares"), "{error}");
        let text = r#"{"annotation": {"slop": 1}}"#;
        assert!(serde_json::from_str::<WorldConfig>(text).is_err());
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        let base = WorldConfig::default;
        let people = AnnotationConfig::default;
        let cases = [
            (
                WorldConfig {
                    entities: 3,
                    ..base()
                },
                "world.entities",
            ),
            (
                WorldConfig {
                    entities: 10_000,
                    ..base()
                },
                "world.entities",
            ),
            (
                WorldConfig {
                    held_out: 0,
                    ..base()
                },
                "world.held_out",
            ),
            (
                WorldConfig {
                    held_out: 99,
                    ..base()
                },
                "world.held_out",
            ),
            (
                WorldConfig {
                    forum_share: 1.5,
                    ..base()
                },
                "world.forum_share",
            ),
            (
                WorldConfig {
                    rude_share: f64::NAN,
                    ..base()
                },
                "world.rude_share",
            ),
            (
                WorldConfig {
                    annotation: AnnotationConfig {
                        slope: f64::INFINITY,
                        ..people()
                    },
                    ..base()
                },
                "world.annotation.slope",
            ),
            (
                WorldConfig {
                    annotation: AnnotationConfig {
                        flip: 0.6,
                        ..people()
                    },
                    ..base()
                },
                "world.annotation.flip",
            ),
            (
                WorldConfig {
                    annotation: AnnotationConfig {
                        annotators: 0,
                        ..people()
                    },
                    ..base()
                },
                "world.annotation.annotators",
            ),
        ];
        for (config, key) in cases {
            let message = config.validate().unwrap_err().to_string();
            assert!(message.starts_with(key), "{key}: {message}");
        }
    }
}
