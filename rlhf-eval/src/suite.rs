//! The report of one evaluation suite.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::figure::Metrics;

/// What a score depends on besides the model: two scores compare only if these agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Harness {
    /// Name and version of the code that measured.
    pub version: String,
    /// The chat template, by name or hash, or `raw` where none was used.
    pub template: String,
    /// How answers were drawn, such as `greedy` or `temperature 1, 4 samples a prompt`.
    pub decoding: String,
    /// Number of rows (prompts, documents, questions) in the suite.
    pub n: usize,
}

impl Harness {
    /// A note of this crate's version with the given settings.
    pub fn new(template: impl Into<String>, decoding: impl Into<String>, n: usize) -> Self {
        Self {
            version: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            template: template.into(),
            decoding: decoding.into(),
            n,
        }
    }
}

/// The figures of one suite and how they were taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteReport {
    /// Name of the suite.
    pub suite: String,
    /// Its figures by name.
    pub metrics: Metrics,
    /// What they depend on.
    pub harness: Harness,
}

impl fmt::Display for SuiteReport {
    /// A table for the terminal: one metric a line, columns aligned, then the harness.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.suite)?;
        let texts: Vec<String> = self.metrics.values().map(|m| m.text(3)).collect();
        let name = self
            .metrics
            .keys()
            .map(|k| k.chars().count())
            .max()
            .unwrap_or(0);
        let cell = texts.iter().map(String::len).max().unwrap_or(0);
        for ((key, figure), text) in self.metrics.iter().zip(&texts) {
            writeln!(f, "  {key:<name$}  {text:<cell$}  n {}", figure.n)?;
        }
        let Harness {
            version,
            template,
            decoding,
            n,
        } = &self.harness;
        write!(f, "  {version}; template {template}; {decoding}; {n} rows")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;

    fn report() -> SuiteReport {
        let metrics = [
            ("accuracy".to_owned(), Figure::new(0.75, 0.5, 0.9, 12)),
            ("ece".to_owned(), Figure::bare(0.1, 12)),
        ];
        SuiteReport {
            suite: "preferences".to_owned(),
            metrics: metrics.into(),
            harness: Harness::new("raw", "greedy", 12),
        }
    }

    #[test]
    fn json_has_the_promised_shape() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["suite"], "preferences");
        assert_eq!(json["metrics"]["accuracy"]["value"], 0.75);
        assert_eq!(json["metrics"]["accuracy"]["n"], 12);
        assert_eq!(json["harness"]["decoding"], "greedy");
        assert_eq!(
            serde_json::from_value::<SuiteReport>(json).unwrap(),
            report()
        );
    }

    #[test]
    fn text_is_aligned_and_names_the_harness() {
        let text = report().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "preferences");
        assert_eq!(lines[1], "  accuracy  0.750 [0.500, 0.900]  n 12");
        assert_eq!(lines[2], "  ece       0.100                 n 12");
        assert!(
            lines[3].contains("template raw; greedy; 12 rows"),
            "{}",
            lines[3]
        );
    }
}
