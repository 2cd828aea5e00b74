//! The sections of the report, in the order of the page.

use std::fmt::Write;

use super::{ReportData, Sample};
use crate::bars::{intervals, lengths, stacked_bars};
use crate::chart::{Curve, line_chart};
use crate::error::EvalError;
use crate::html::escape;
use crate::result::{PerModel, RunResult};
use crate::table::table_html;
use crate::truth::TruthShares;

fn section(title: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!("<section>\n<h2>{title}</h2>\n{body}\n</section>\n")
}

/// A chart with its title and legend; nothing if there is no chart.
fn figure(title: &str, legend: &[(String, &str)], chart: Option<String>) -> String {
    let Some(chart) = chart else {
        return String::new();
    };
    let items: String = legend
        .iter()
        .map(|(class, name)| format!("<li><i class=\"{class}\"></i>{}</li>", escape(name)))
        .collect();
    let legend = if items.is_empty() {
        items
    } else {
        format!("<ul class=\"legend\">{items}</ul>")
    };
    let title = escape(title);
    format!("<figure><figcaption><h3>{title}</h3>{legend}</figcaption>{chart}</figure>\n")
}

/// The title and the run in one sentence.
pub(super) fn header(data: &ReportData) -> String {
    let result = &data.result;
    let (gpt, ppo) = (&result.table.gpt, &result.table.ppo);
    let seconds: f64 = data
        .stages
        .iter()
        .map(|(_, s)| s)
        .filter(|s| s.is_finite())
        .sum();
    let mut line = format!(
        "Truthfulness {:.3} → {:.3}, toxicity {:.3} → {:.3}; PPO is preferred to SFT in {:.1}% of \
         comparisons.",
        gpt.truthfulness.value,
        ppo.truthfulness.value,
        gpt.toxicity.value,
        ppo.toxicity.value,
        100.0 * result.win_rate.ppo_over_sft.value,
    );
    if seconds > 0.0 {
        line.push_str(&format!(" {} in all.", duration(seconds)));
    }
    let warnings: String = result
        .warnings
        .iter()
        .map(|w| format!("<li>{}</li>", escape(w)))
        .collect();
    let warnings = match warnings.as_str() {
        "" => String::new(),
        items => format!(
            "<div class=\"warnings\"><h2>This comparison does not hold</h2><ul>{items}</ul></div>\n"
        ),
    };
    format!(
        "<header>\n<h1>{}</h1>\n<p>{line}</p>\n</header>\n{warnings}",
        escape(&data.title)
    )
}

/// The table.
pub(super) fn figures(result: &RunResult) -> String {
    let note = "<p class=\"note\">Intervals are 95%, by bootstrap over entities where answers \
                share one. n counts answers, comparisons or pairs.</p>";
    section(
        "Figures",
        &format!("<div class=\"wide\">{}</div>{note}", table_html(result)),
    )
}

/// Charts that compare the models.
pub(super) fn comparisons(data: &ReportData) -> Result<String, EvalError> {
    let result = &data.result;
    let mut body = String::new();
    let measured = [
        (
            "Truthfulness (higher is better)",
            result.table.map(|m| m.truthfulness),
        ),
        (
            "Toxicity (lower is better)",
            result.table.map(|m| m.toxicity),
        ),
        (
            "Instruction following (higher is better)",
            result.table.map(|m| m.instruction_following),
        ),
    ];
    for (title, figures) in measured {
        let rows = figures.named().map(|(name, f)| (name, *f));
        body.push_str(&figure(title, &[], intervals(title, &rows, None)?));
    }
    let wins = [
        ("PPO over SFT", result.win_rate.ppo_over_sft),
        ("PPO over GPT", result.win_rate.ppo_over_gpt),
        ("reward model", result.reward.accuracy),
        ("its ceiling", result.reward.ceiling),
    ];
    let title = "Win rates, and the reward model's accuracy";
    body.push_str(&figure(title, &[], intervals(title, &wins, Some(0.5))?));
    body.push_str(&shares("Answers to contested questions", &result.shares)?);
    body.push_str(&shares("The same, greedy decoding", &result.greedy_shares)?);
    let rows: Vec<(&str, &[u32])> = data
        .lengths
        .iter()
        .map(|(name, l)| (name.as_str(), l.as_slice()))
        .collect();
    let title = "Tokens an answer: median, middle half, 10–90%";
    body.push_str(&figure(title, &[], lengths(title, &rows)?));
    Ok(section(
        "Models compared",
        &format!("<div class=\"grid\">{body}</div>"),
    ))
}

fn shares(title: &str, shares: &Option<PerModel<TruthShares>>) -> Result<String, EvalError> {
    let Some(shares) = shares else {
        return Ok(String::new());
    };
    let rows = shares
        .named()
        .map(|(name, s)| (name, s.named().map(|(_, f)| f.value).to_vec()));
    let names = shares.gpt.named().map(|(name, _)| name);
    let legend: Vec<(String, &str)> = names
        .iter()
        .enumerate()
        .map(|(i, name)| (format!("share-{i}"), *name))
        .collect();
    Ok(figure(title, &legend, stacked_bars(title, &rows)?))
}

/// One chart for each title among the curves, in order of first appearance.
pub(super) fn curves(curves: &[Curve]) -> Result<String, EvalError> {
    let mut titles: Vec<&str> = Vec::new();
    for curve in curves {
        if !titles.contains(&curve.chart.as_str()) {
            titles.push(&curve.chart);
        }
    }
    let mut body = String::new();
    for title in titles {
        let group: Vec<&Curve> = curves.iter().filter(|c| c.chart == title).collect();
        let named = group.iter().enumerate();
        let legend: Vec<(String, &str)> = named
            .map(|(i, c)| (format!("swatch-{}", i % 6), c.name.as_str()))
            .collect();
        body.push_str(&figure(title, &legend, line_chart(&group)?));
    }
    if body.is_empty() {
        return Ok(body);
    }
    Ok(section(
        "Training",
        &format!("<div class=\"grid\">{body}</div>"),
    ))
}

/// The samples, one block per prompt with the answers side by side.
pub(super) fn samples(samples: &[Sample]) -> String {
    let mut body = String::new();
    for sample in samples {
        let _ = write!(
            body,
            "<article class=\"sample\"><p class=\"prompt\" dir=\"auto\">{}</p><div class=\"answers\">",
            escape(&sample.prompt)
        );
        for (model, answer) in &sample.responses {
            let model = escape(model);
            let shown = match answer.trim().is_empty() {
                true => "<p class=\"answer none\">(nothing)</p>".to_owned(),
                false => format!("<p class=\"answer\" dir=\"auto\">{}</p>", escape(answer)),
            };
            let _ = write!(body, "<div><h4>{model}</h4>{shown}</div>");
        }
        body.push_str("</div></article>\n");
    }
    section("The same prompts, every model", &body)
}

/// Seconds as people say them.
fn duration(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Time by stage, with bars.
pub(super) fn stages(stages: &[(String, f64)]) -> String {
    let seconds = |s: f64| if s.is_finite() { s.max(0.0) } else { 0.0 };
    let longest = stages.iter().map(|(_, s)| seconds(*s)).fold(0.0, f64::max);
    let mut rows = String::new();
    for (name, s) in stages {
        let s = seconds(*s);
        let part = if longest > 0.0 {
            100.0 * s / longest
        } else {
            0.0
        };
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"bar\"><i class=\"swatch-0\" \
             style=\"width:{part:.1}%\"></i></td></tr>",
            escape(name),
            duration(s)
        );
    }
    if rows.is_empty() {
        return rows;
    }
    section(
        "Time",
        &format!("<table class=\"times\"><tbody>{rows}</tbody></table>"),
    )
}

/// Machine, versions and inputs.
pub(super) fn environment(environment: &[(String, String)]) -> String {
    let mut rows = String::new();
    for (what, value) in environment {
        let (what, value) = (escape(what), escape(value));
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{what}</th><td>{value}</td></tr>"
        );
    }
    if rows.is_empty() {
        return rows;
    }
    section(
        "Machine and inputs",
        &format!("<table class=\"lines\"><tbody>{rows}</tbody></table>"),
    )
}

/// The configuration, folded.
pub(super) fn configuration(toml: &str) -> String {
    if toml.trim().is_empty() {
        return String::new();
    }
    let body = format!(
        "<details><summary>config.toml, {} lines</summary><pre>{}</pre></details>",
        toml.lines().count(),
        escape(toml)
    );
    section("Configuration", &body)
}
