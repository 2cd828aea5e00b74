//! Figures of a run, one record an update.

use serde_json::{Map, Value};
use std::io::{self, Write};

/// What one update (or one evaluation) measured. Names as in cleanrl and TRL where they agree:
/// `loss`, `learning_rate`, `grad_norm`, `kl`, `approx_kl`, `clip_fraction`, …
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// The stage: `pretrain`, `sft`, `reward`, `ppo`, ….
    pub stage: String,
    /// Updates made so far, this one included.
    pub step: u64,
    /// Updates that the stage will make in all.
    pub total: u64,
    /// The figures, in the order in which people should see them.
    pub values: Vec<(String, f64)>,
}

impl Metrics {
    /// An empty record.
    pub fn new(stage: &str, step: u64, total: u64) -> Self {
        Self {
            stage: stage.to_owned(),
            step,
            total,
            values: Vec::new(),
        }
    }

    /// Adds a figure.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Self {
        self.values.push((name.to_owned(), value));
        self
    }

    /// The figure of a name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// The record as one JSON object: `stage`, `step`, then the figures. A figure that is not
    /// finite becomes `null`.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("stage".into(), self.stage.clone().into());
        object.insert("step".into(), self.step.into());
        for (name, value) in &self.values {
            object.insert(name.clone(), (*value).into());
        }
        Value::Object(object)
    }
}

/// Takes the figures of a run.
pub trait MetricSink {
    /// Takes one record.
    ///
    /// # Errors
    /// If it can't be written.
    fn record(&mut self, metrics: &Metrics) -> io::Result<()>;
}

impl<S: MetricSink + ?Sized> MetricSink for &mut S {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        (**self).record(metrics)
    }
}

impl<S: MetricSink + ?Sized> MetricSink for Box<S> {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        (**self).record(metrics)
    }
}

/// Keeps the records in memory.
impl MetricSink for Vec<Metrics> {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        self.push(metrics.clone());
        Ok(())
    }
}

/// Writes one JSON object a line.
#[derive(Debug)]
pub struct JsonLines<W>(pub W);

impl<W: Write> MetricSink for JsonLines<W> {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        let mut line = metrics.to_json().to_string();
        line.push('\n');
        self.0.write_all(line.as_bytes())
    }
}

/// Gives every record to two sinks.
#[derive(Debug)]
pub struct Tee<A, B>(pub A, pub B);

impl<A: MetricSink, B: MetricSink> MetricSink for Tee<A, B> {
    fn record(&mut self, metrics: &Metrics) -> io::Result<()> {
        self.0.record(metrics)?;
        self.1.record(metrics)
    }
}

/// What every sink promises: it takes records of any names and figures, in order.
///
/// # Panics
/// If the sink refuses one, as a test does.
pub fn contract(sink: &mut dyn MetricSink) {
    for (step, value) in [(1, 0.5), (2, f64::NAN), (3, f64::INFINITY)] {
        let metrics = Metrics::new("stage", step, 3).with("loss", value);
        sink.record(&metrics).expect("a sink takes any record");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_keep_their_contract() {
        let mut memory: Vec<Metrics> = Vec::new();
        contract(&mut memory);
        assert_eq!(memory.len(), 3);
        let mut text = Vec::new();
        contract(&mut Tee(JsonLines(&mut text), &mut memory));
        let lines: Vec<Value> = String::from_utf8(text)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["loss"], 0.5);
        assert!(lines[1]["loss"].is_null());
        assert_eq!(memory.len(), 6);
    }
}
