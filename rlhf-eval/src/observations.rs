//! What figures are means of: every single observation with the cluster that it belongs to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::figure::{Figure, Metrics};
use crate::suites::Resampling;

/// Observations by the name of their figure: (cluster, value) rows, one an answer, comparison or
/// document. Kept beside the figures so that runs can be pooled and intervals taken anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observations {
    rows: BTreeMap<String, Vec<(String, f64)>>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    figure: String,
    cluster: String,
    values: Vec<f64>,
}

impl Observations {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds rows to a figure; no rows leave no trace.
    pub fn add(&mut self, figure: &str, rows: impl IntoIterator<Item = (String, f64)>) {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_some() {
            self.rows.entry(figure.to_owned()).or_default().extend(rows);
        }
    }

    /// Adds all rows of others, their figures named `prefix/figure`.
    pub fn add_under(&mut self, prefix: &str, others: Self) {
        for (figure, rows) in others.rows {
            self.add(&format!("{prefix}/{figure}"), rows);
        }
    }

    /// Adds all rows of another run. Its clusters stay apart from those of the same name here:
    /// entities of two worlds are two entities.
    pub fn add_run(&mut self, run: &str, others: Self) {
        for (figure, rows) in others.rows {
            let apart = rows.into_iter();
            let apart = apart.map(|(cluster, value)| (format!("{run}: {cluster}"), value));
            self.add(&figure, apart);
        }
    }

    /// The rows of a figure; empty where there are none.
    pub fn rows(&self, figure: &str) -> &[(String, f64)] {
        self.rows.get(figure).map_or(&[], Vec::as_slice)
    }

    /// The mean of a figure's rows with its interval over clusters.
    ///
    /// # Errors
    /// [`EvalError::NotObserved`] if there are no rows or one is not finite.
    pub fn mean(&self, figure: &str, resampling: Resampling) -> Result<Figure, EvalError> {
        let found = resampling.mean(self.rows(figure));
        found.ok_or_else(|| EvalError::NotObserved(figure.to_owned()))
    }

    /// The means of all figures.
    pub fn means(&self, resampling: Resampling) -> Metrics {
        let mean = |(name, rows): (&String, &Vec<_>)| Some((name.clone(), resampling.mean(rows)?));
        self.rows.iter().filter_map(mean).collect()
    }

    /// Writes one JSON line for each figure and cluster: `{"figure", "cluster", "values"}`.
    ///
    /// # Errors
    /// [`EvalError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), EvalError> {
        let lines = self.rows.iter().flat_map(|(figure, rows)| {
            let mut by_cluster: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for (cluster, value) in rows {
                by_cluster.entry(cluster).or_default().push(*value);
            }
            by_cluster.into_iter().map(|(cluster, values)| Line {
                figure: figure.clone(),
                cluster: cluster.to_owned(),
                values,
            })
        });
        rlhf_data::write_jsonl(path, lines).map_err(|source| EvalError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads what [`Self::write`] wrote. The order of rows within a figure may differ, which no
    /// figure depends on.
    ///
    /// # Errors
    /// [`EvalError::Read`] with the line that is not as it should be.
    pub fn read(path: &Path) -> Result<Self, EvalError> {
        let error = |reason: String| EvalError::Read {
            path: path.to_owned(),
            reason,
        };
        let text = fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
        let mut found = Self::new();
        for (i, line) in text.lines().enumerate() {
            let line: Line =
                serde_json::from_str(line).map_err(|e| error(format!("line {}: {e}", i + 1)))?;
            let values = line.values.into_iter();
            found.add(&line.figure, values.map(|v| (line.cluster.clone(), v)));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Observations {
        let mut some = Observations::new();
        let rows = [("Bara", 1.0), ("Nagu", 0.0), ("Bara", 0.5)];
        some.add("true", rows.map(|(c, v)| (c.to_owned(), v)));
        some.add("toxic", [("Nagu".to_owned(), 0.25)]);
        some.add("nothing", []);
        some
    }

    #[test]
    fn a_file_gives_the_same_figures_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("observations.jsonl");
        some().write(&path).unwrap();
        let again = Observations::read(&path).unwrap();
        let means = |of: &Observations| of.means(Resampling::default());
        assert_eq!(means(&again), means(&some()));
        assert_eq!(means(&again).len(), 2);
    }

    #[test]
    fn a_broken_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("observations.jsonl");
        fs::write(
            &path,
            "{\"figure\":\"a\",\"cluster\":\"b\",\"values\":[1]}\n{}\n",
        )
        .unwrap();
        let message = Observations::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("observations.jsonl: line 2: missing field `figure`"),
            "{message}"
        );
        assert!(Observations::read(&dir.path().join("none")).is_err());
    }

    #[test]
    fn pooled_runs_keep_their_entities_apart() {
        let mut pooled = Observations::new();
        pooled.add_run("seed 1", some());
        pooled.add_run("seed 2", some());
        let rows = pooled.rows("true");
        assert_eq!(rows.len(), 6);
        let mut clusters: Vec<&str> = rows.iter().map(|(c, _)| c.as_str()).collect();
        clusters.sort_unstable();
        clusters.dedup();
        let apart = [
            "seed 1: Bara",
            "seed 1: Nagu",
            "seed 2: Bara",
            "seed 2: Nagu",
        ];
        assert_eq!(clusters, apart);
    }

    #[test]
    fn prefixes_part_models_and_a_figure_without_rows_is_an_error() {
        let mut all = Observations::new();
        all.add_under("gpt", some());
        assert_eq!(
            all.mean("gpt/true", Resampling::default()).unwrap().value,
            0.5
        );
        let message = all.mean("gpt/nothing", Resampling::default()).unwrap_err();
        assert!(message.to_string().contains("gpt/nothing"), "{message}");
    }
}
