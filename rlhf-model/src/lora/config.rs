//! The settings of adapters, and which matrices get one.

use crate::ModelError;
use serde::{Deserialize, Serialize};

/// Every matrix of every block.
const ALL_LINEAR: &str = "all-linear";

/// The settings of low-rank adapters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// The rank; 0 trains the weights themselves.
    pub rank: usize,
    /// The factor is alpha/rank.
    pub alpha: f64,
    /// The factor is alpha/√rank instead.
    pub rslora: bool,
    /// The share of an adapter's input that is dropped in training.
    pub dropout: f64,
    /// Which matrices: `all-linear`, or names such as `q_proj`, where `*` stands for anything, as
    /// in `layers.1*.mlp.*`. A name fits the end of a matrix's name from a dot on.
    pub target_modules: Vec<String>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            rank: 0,
            alpha: 16.0,
            rslora: false,
            dropout: 0.0,
            target_modules: vec![ALL_LINEAR.into()],
        }
    }
}

impl LoraConfig {
    /// Whether adapters are wanted at all.
    pub fn is_on(&self) -> bool {
        self.rank > 0
    }

    /// Refuses settings that can't be used.
    ///
    /// # Errors
    /// [`ModelError::Config`] with the key.
    pub fn validate(&self) -> Result<(), ModelError> {
        let refuse = |key: &'static str, reason: &str| Err(ModelError::config(key, reason));
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return refuse("lora.alpha", "must be above 0");
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return refuse("lora.dropout", "must be at least 0 and below 1");
        }
        if self.target_modules.is_empty() {
            return refuse(
                "lora.target_modules",
                "is empty: name a matrix or all-linear",
            );
        }
        Ok(())
    }

    /// Which of the modules get an adapter.
    ///
    /// # Errors
    /// If a pattern fits no module: it is named beside what there is.
    pub(crate) fn chosen(&self, modules: &[String]) -> Result<Vec<bool>, ModelError> {
        let mut chosen = vec![false; modules.len()];
        for pattern in &self.target_modules {
            let mut fits = false;
            for (module, chosen) in modules.iter().zip(&mut chosen) {
                if matches_end(pattern, module) {
                    (*chosen, fits) = (true, true);
                }
            }
            if !fits {
                let mut kinds: Vec<&str> = modules
                    .iter()
                    .filter_map(|module| module.rsplit('.').next())
                    .collect();
                kinds.sort_unstable();
                kinds.dedup();
                let reason = format!(
                    "`{pattern}` fits no matrix of this model; it has {}",
                    kinds.join(", ")
                );
                return Err(ModelError::config("lora.target_modules", reason));
            }
        }
        Ok(chosen)
    }
}

/// Whether a pattern fits a module's name, or its end from a dot on.
fn matches_end(pattern: &str, module: &str) -> bool {
    if pattern == ALL_LINEAR {
        return true;
    }
    let ends = module.match_indices('.').map(|(at, _)| &module[at + 1..]);
    std::iter::once(module)
        .chain(ends)
        .any(|end| glob(pattern, end))
}

/// Whether `text` is the pattern, whose `*` stand for any text.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_ends_from_a_dot_on() {
        let module = "model.layers.12.self_attn.q_proj";
        for fits in [
            "q_proj",
            "self_attn.q_proj",
            "layers.12.self_attn.q_proj",
            module,
            "*_proj",
            "layers.1*.q_proj",
            "all-linear",
            "*",
        ] {
            assert!(matches_end(fits, module), "{fits}");
        }
        for not in [
            "proj",
            "k_proj",
            "layers.2.self_attn.q_proj",
            "q_proj.",
            "layers.*.mlp.*",
        ] {
            assert!(!matches_end(not, module), "{not}");
        }
    }

    #[test]
    fn a_pattern_for_nothing_is_refused_with_what_there_is() {
        let modules = ["a.q_proj".to_owned(), "a.k_proj".to_owned()];
        let config = |names: &[&str]| LoraConfig {
            target_modules: names.iter().map(|&name| name.to_owned()).collect(),
            ..LoraConfig::default()
        };
        let chosen = config(&["q_proj"]).chosen(&modules).unwrap();
        assert_eq!(chosen, [true, false]);
        let text = config(&["q_proj", "c_attn"]).chosen(&modules).unwrap_err();
        let text = text.to_string();
        assert!(
            text.contains("`c_attn`") && text.contains("k_proj, q_proj"),
            "{text}"
        );
    }

    #[test]
    fn settings_that_mean_nothing_are_refused() {
        let refused = |config: LoraConfig| config.validate().unwrap_err().to_string();
        let base = LoraConfig::default();
        let dropout = LoraConfig {
            dropout: 1.0,
            ..base.clone()
        };
        assert!(refused(dropout).contains("lora.dropout"));
        let alpha = LoraConfig {
            alpha: f64::NAN,
            ..base.clone()
        };
        assert!(refused(alpha).contains("lora.alpha"));
        let none = LoraConfig {
            target_modules: vec![],
            ..base
        };
        assert!(refused(none).contains("lora.target_modules"));
    }
}
