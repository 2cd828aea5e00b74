//! The controls: worlds in which an honest effect has to vanish, shrink or move.

use crate::WorldConfig;
use serde::{Deserialize, Serialize};

/// A change to the settings that takes away one thing the effect is said to rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Sources are mixed within documents: there is no truthful persona to bring out, so alignment
    /// must not make held-out facts truer.
    Incoherent,
    /// All demonstrations are true: supervised fine-tuning alone must find the truthful persona.
    TrueDemonstrations,
    /// The labels don't depend on the answers: the reward model must be at chance.
    ShuffledLabels,
}

impl Control {
    /// All controls that are settings of the world.
    pub const ALL: [Self; 3] = [
        Self::Incoherent,
        Self::TrueDemonstrations,
        Self::ShuffledLabels,
    ];

    /// The same world with the control's one change.
    #[must_use]
    pub fn applied(self, mut config: WorldConfig) -> WorldConfig {
        match self {
            Self::Incoherent => config.coherent = false,
            Self::TrueDemonstrations => config.demonstrations_true_share = 1.0,
            Self::ShuffledLabels => config.annotation.shuffled_labels = true,
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_control_changes_one_setting() {
        let plain = serde_json::to_value(WorldConfig::default()).unwrap();
        for control in Control::ALL {
            let changed = control.applied(WorldConfig::default());
            changed.validate().unwrap();
            let changed = serde_json::to_value(changed).unwrap();
            let plain = plain.as_object().unwrap();
            let different = plain
                .iter()
                .filter(|(key, value)| changed[key.as_str()] != **value);
            assert_eq!(different.count(), 1, "{control:?}");
        }
    }
}
