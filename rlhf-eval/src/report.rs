//! The report of a run: one HTML file that needs nothing else.
//!
//! Style and charts are inline, there is no script, and the page forbids itself to load anything.

mod sections;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::chart::Curve;
use crate::error::EvalError;
use crate::html::escape;
use crate::palette;
use crate::result::RunResult;

/// One prompt and what each model answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// The prompt as a person reads it.
    pub prompt: String,
    /// (model, answer), in the order of training.
    pub responses: Vec<(String, String)>,
}

/// All that a report shows. An empty list leaves its section out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Name of the run.
    pub title: String,
    /// Its figures.
    pub result: RunResult,
    /// Learning curves and reward against KL; those with one `chart` share its axes.
    pub curves: Vec<Curve>,
    /// (model, lengths of its answers in tokens).
    pub lengths: Vec<(String, Vec<u32>)>,
    /// The same prompts answered by every model.
    pub samples: Vec<Sample>,
    /// (stage, seconds).
    pub stages: Vec<(String, f64)>,
    /// The whole effective configuration.
    pub config_toml: String,
    /// (what, value): versions, CPU, device, seed, hashes of inputs.
    pub environment: Vec<(String, String)>,
}

impl ReportData {
    /// A report of the figures alone; the other parts are public fields to fill.
    pub fn new(title: impl Into<String>, result: RunResult) -> Self {
        Self {
            title: title.into(),
            result,
            curves: Vec::new(),
            lengths: Vec::new(),
            samples: Vec::new(),
            stages: Vec::new(),
            config_toml: String::new(),
            environment: Vec::new(),
        }
    }
}

/// The page as text. Every text of the caller's is escaped.
///
/// # Errors
/// A chart can't be drawn.
pub fn report_html(data: &ReportData) -> Result<String, EvalError> {
    let title = escape(&data.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<main>\n",
        include_str!("report/style.css"),
        palette::style_sheet(),
    );
    page.push_str(&sections::header(data));
    page.push_str(&sections::figures(&data.result));
    page.push_str(&sections::comparisons(data)?);
    page.push_str(&sections::curves(&data.curves)?);
    page.push_str(&sections::samples(&data.samples));
    page.push_str(&sections::stages(&data.stages));
    page.push_str(&sections::environment(&data.environment));
    page.push_str(&sections::configuration(&data.config_toml));
    page.push_str("</main>\n</body>\n</html>\n");
    Ok(page)
}

/// Writes the page to `path`, whole or not at all.
///
/// # Errors
/// A chart can't be drawn or the file can't be written.
pub fn write_report(path: &Path, data: &ReportData) -> Result<(), EvalError> {
    let page = report_html(data)?;
    rlhf_data::write_atomic(path, page.as_bytes()).map_err(|source| EvalError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
