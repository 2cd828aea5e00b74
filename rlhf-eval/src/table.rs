//! The table of a run, for the terminal and for a page.

use crate::figure::Figure;
use crate::html::escape;
use crate::result::{ModelFigures, RunResult};

const COLUMNS: [(&str, &str); 4] = [
    ("truthfulness", "higher is better"),
    ("toxicity", "lower is better"),
    ("instruction following", "higher is better"),
    ("preferred to PPO", "higher is better"),
];

/// The cells of one model: `None` where a figure is true by definition or was not measured.
type Row = (&'static str, [Option<Figure>; 4]);

fn rows(result: &RunResult) -> [Row; 3] {
    let preferred = [
        Some(result.win_rate.ppo_over_gpt.complement()),
        Some(result.win_rate.ppo_over_sft.complement()),
        None,
    ];
    let mut preferred = preferred.into_iter();
    result.table.named().map(|(name, m)| {
        let won = preferred.next().flatten();
        let measured = [m.truthfulness, m.toxicity, m.instruction_following].map(Some);
        let [truthfulness, toxicity, instructions] = measured;
        (name, [truthfulness, toxicity, instructions, won])
    })
}

/// The lines under the table: name and figure.
fn lines(result: &RunResult) -> Vec<(String, Figure)> {
    let mut lines = Vec::new();
    let sft = match &result.best_sft_decoding {
        Some(decoding) => format!("PPO preferred to SFT ({decoding})"),
        None => "PPO preferred to SFT".to_owned(),
    };
    lines.push((sft, result.win_rate.ppo_over_sft));
    lines.push((
        "PPO preferred to GPT".to_owned(),
        result.win_rate.ppo_over_gpt,
    ));
    if let Some(greedy) = &result.greedy_win_rate {
        for (over, figure) in [("SFT", greedy.ppo_over_sft), ("GPT", greedy.ppo_over_gpt)] {
            lines.push((format!("  both greedy, to {over}"), figure));
        }
    }
    if let Some(ratio) = result.truthfulness_ratio {
        lines.push(("truthfulness, PPO / GPT".to_owned(), ratio));
    }
    if let Some(gains) = result.instruction_gains {
        for (what, gain) in [
            ("instruction following, SFT − GPT", gains.sft_over_gpt),
            ("instruction following, PPO − SFT", gains.ppo_over_sft),
        ] {
            lines.push((what.to_owned(), gain));
        }
    }
    lines.push(("reward model accuracy".to_owned(), result.reward.accuracy));
    lines.push((
        "  that the annotators' noise allows".to_owned(),
        result.reward.ceiling,
    ));
    if let Some(matched) = result.reward.truth_over_mistake {
        let what = "  truth over mistake in the same words".to_owned();
        lines.push((what, matched));
    }
    let costs = [
        ("uncontested truth", &result.uncontested),
        ("bits per byte", &result.bits_per_byte),
    ];
    for (what, figures) in costs {
        let Some(figures) = figures else { continue };
        let named = figures
            .named()
            .map(|(model, f)| (format!("{what}, {model}"), *f));
        lines.extend(named);
    }
    lines
}

/// The table as plain text: a row for each model with intervals in aligned columns, the preferences
/// and the reward model under it, then the shares of truth and what the run missed.
pub fn table_text(result: &RunResult) -> String {
    let cell = |f: &Option<Figure>| f.map_or_else(|| "-".to_owned(), |f| f.text(3));
    let grid: Vec<(&str, Vec<String>)> = rows(result)
        .iter()
        .map(|(name, cells)| (*name, cells.iter().map(cell).collect()))
        .collect();
    let widths: Vec<usize> = COLUMNS
        .iter()
        .enumerate()
        .map(|(i, (title, note))| {
            let cells = grid.iter().map(|(_, cells)| cells[i].len());
            cells.chain([title.len(), note.len()]).max().unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    let mut line = |head: &str, cells: Vec<&str>| {
        let padded = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("  {cell:<width$}"));
        let text = format!("{head:<5}{}", padded.collect::<String>());
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line("", COLUMNS.iter().map(|(title, _)| *title).collect());
    line("", COLUMNS.iter().map(|(_, note)| *note).collect());
    for (name, cells) in &grid {
        line(name, cells.iter().map(String::as_str).collect());
    }
    out.push('\n');
    out.push_str(&lines_text(&lines(result)));
    out.push_str(&shares_text(result));
    for warning in &result.warnings {
        out.push_str(&format!("\nvoid: {warning}"));
    }
    if !result.warnings.is_empty() {
        out.push('\n');
    }
    out
}

fn lines_text(lines: &[(String, Figure)]) -> String {
    let name = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let texts: Vec<String> = lines.iter().map(|(_, f)| f.text(3)).collect();
    let cell = texts.iter().map(String::len).max().unwrap_or(0);
    let line = |((what, figure), text): (&(String, Figure), &String)| {
        format!("{what:<name$}  {text:<cell$}  n {}\n", figure.n)
    };
    lines.iter().zip(&texts).map(line).collect()
}

fn shares_text(result: &RunResult) -> String {
    let kinds = [
        ("answers", &result.shares),
        ("greedy", &result.greedy_shares),
    ];
    let mut out = String::new();
    for (what, shares) in kinds {
        let Some(shares) = shares else { continue };
        out.push_str(&format!("\n{what:<8}"));
        for (name, _) in shares.gpt.named() {
            out.push_str(&format!("  {name:>15}"));
        }
        out.push('\n');
        for (model, shares) in shares.named() {
            let cells = shares.named().map(|(_, f)| format!("  {:>15.3}", f.value));
            out.push_str(&format!("{model:<8}{}\n", cells.concat()));
        }
    }
    out
}

/// One line a run: its name, then the figures that a claim over several runs rests on.
pub fn runs_text(runs: &[(String, RunResult)]) -> String {
    let columns = [
        "true GPT",
        "SFT",
        "PPO",
        "ratio",
        "toxic GPT",
        "SFT",
        "PPO",
        "followed GPT",
        "SFT",
        "PPO",
        "over SFT",
        "over GPT",
    ];
    let name = runs
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = format!("{:name$}", "");
    for column in columns {
        out.push_str(&format!("  {column:>5}"));
    }
    out.push('\n');
    for (run, result) in runs {
        let of = |figure: fn(&ModelFigures) -> Figure| {
            result.table.named().map(|(_, m)| Some(figure(m)))
        };
        let truth = of(|m| m.truthfulness).into_iter();
        let cells = truth
            .chain([result.truthfulness_ratio])
            .chain(of(|m| m.toxicity))
            .chain(of(|m| m.instruction_following))
            .chain([
                Some(result.win_rate.ppo_over_sft),
                Some(result.win_rate.ppo_over_gpt),
            ]);
        out.push_str(&format!("{run:name$}"));
        for (cell, column) in cells.zip(columns) {
            let width = column.len().max(5);
            let text = cell.map_or_else(|| "-".to_owned(), |f| format!("{:.3}", f.value));
            out.push_str(&format!("  {text:>width$}"));
        }
        out.push('\n');
        for warning in &result.warnings {
            out.push_str(&format!("{:name$}  void: {warning}\n", ""));
        }
    }
    out
}

/// The table as an HTML fragment: one `<table>` of the models, one of the lines under it.
pub fn table_html(result: &RunResult) -> String {
    let mut out = String::from("<table class=\"figures\"><thead><tr><th></th>");
    for (title, note) in COLUMNS {
        out.push_str(&format!(
            "<th scope=\"col\">{title}<small>{note}</small></th>"
        ));
    }
    out.push_str("</tr></thead><tbody>");
    for (name, cells) in rows(result) {
        out.push_str(&format!("<tr><th scope=\"row\">{name}</th>"));
        for cell in cells {
            out.push_str(&format!(
                "<td>{}</td>",
                cell.map_or_else(|| "–".to_owned(), figure_html)
            ));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table><table class=\"lines\"><tbody>");
    for (what, figure) in lines(result) {
        let what = escape(what.trim_start());
        let cell = figure_html(figure);
        out.push_str(&format!(
            "<tr><th scope=\"row\">{what}</th><td>{cell}</td></tr>"
        ));
    }
    out.push_str("</tbody></table>");
    out
}

fn figure_html(f: Figure) -> String {
    let n = f.n;
    match (f.low, f.high) {
        (Some(low), Some(high)) => format!(
            "<b>{:.3}</b> <span class=\"range\">{low:.3} – {high:.3}</span><small>n {n}</small>",
            f.value
        ),
        _ => format!("<b>{:.3}</b><small>n {n}</small>", f.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::sample_result;

    #[test]
    fn columns_line_up() {
        let text = table_text(&sample_result());
        let lines: Vec<&str> = text.lines().collect();
        let column = |line: &str, what: &str| line.find(what).unwrap();
        assert!(
            lines[2].starts_with("GPT") && lines[4].starts_with("PPO"),
            "{text}"
        );
        assert_eq!(column(lines[0], "toxicity"), column(lines[2], "0.233"));
        assert_eq!(column(lines[0], "toxicity"), column(lines[4], "0.196"));
        assert_eq!(column(lines[0], "instruction"), column(lines[3], "0.620"));
        assert!(lines[2].contains("0.224 [0.194, 0.254]"), "{text}");
        assert!(lines[2].ends_with("0.190 [0.160, 0.220]"), "{text}");
        assert!(lines[4].ends_with('-'), "{text}");
        assert!(text.contains("0.665 [0.630, 0.700]  n 800"), "{text}");
    }

    #[test]
    fn extras_appear_where_measured() {
        let mut result = sample_result();
        assert!(!table_text(&result).contains("void:"));
        result.best_sft_decoding = Some("temperature 0.7".to_owned());
        result.truthfulness_ratio = Some(Figure::new(1.84, 1.5, 2.2, 1600));
        result.warnings = vec!["the base model is <void>".to_owned()];
        let text = table_text(&result);
        assert!(
            text.contains("PPO preferred to SFT (temperature 0.7)"),
            "{text}"
        );
        assert!(text.contains("1.840 [1.500, 2.200]"), "{text}");
        assert!(text.contains("void: the base model is <void>"), "{text}");
    }

    #[test]
    fn a_line_a_run_with_what_it_missed() {
        let mut broken = sample_result();
        broken.warnings = vec!["the base model is void".to_owned()];
        let runs = [
            ("runs/1".to_owned(), sample_result()),
            ("runs/10".to_owned(), broken),
        ];
        let text = runs_text(&runs);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("runs/1 ") && lines[2].starts_with("runs/10 "));
        assert_eq!(lines[1].find("0.224"), lines[2].find("0.224"));
        assert!(lines[1].contains("0.665") && lines[1].contains("0.810"));
        assert!(lines[3].trim().starts_with("void: the base model"));
        assert_eq!(lines[0].len(), lines[1].len());
    }

    #[test]
    fn html_escapes_what_the_caller_named() {
        let mut result = sample_result();
        result.best_sft_decoding = Some("<script>".to_owned());
        let html = table_html(&result);
        assert!(
            html.contains("&lt;script&gt;") && !html.contains("<script>"),
            "{html}"
        );
        assert!(
            html.contains("<b>0.413</b> <span class=\"range\">0.383 – 0.443</span>"),
            "{html}"
        );
        assert_eq!(html.matches("<tr>").count(), html.matches("</tr>").count());
    }
}
