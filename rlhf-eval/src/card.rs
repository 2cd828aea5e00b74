//! The card that lies beside a model: what it is and what it was made from.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::figure::Metrics;

/// A file that went into a model or came out of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardFile {
    /// Name of the file.
    pub name: String,
    /// Number of rows, where it holds rows.
    pub rows: Option<usize>,
    /// SHA-256 in hexadecimal digits.
    pub sha256: String,
}

/// What a model card says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Name of the model.
    pub title: String,
    /// The stage that made it, such as `sft` or `ppo`.
    pub stage: String,
    /// The model that the stage started from, if any.
    pub base_model: Option<String>,
    /// The reward model that it was trained against, if any.
    pub reward_model: Option<String>,
    /// Name and version of the program.
    pub version: String,
    /// The seed.
    pub seed: u64,
    /// The data it was trained on.
    pub data: Vec<CardFile>,
    /// Its figures by name.
    pub figures: Metrics,
    /// What the figures depend on: template, decoding, rows.
    pub harness: Option<crate::suite::Harness>,
    /// The files of the model.
    pub files: Vec<CardFile>,
    /// The effective configuration of the stage.
    pub config_toml: String,
}

/// The card as the text of a README.md, with the front matter that model hubs read.
pub fn model_card(card: &Card) -> String {
    let mut out = String::from("---\ntags:\n- rlhf\n");
    let _ = writeln!(out, "- {}", quoted(&card.stage));
    if let Some(base) = &card.base_model {
        let _ = writeln!(out, "base_model: {}", quoted(without_commit(base)));
    }
    let _ = writeln!(out, "---\n\n# {}\n", inline(&card.title));
    let made = [
        ("stage", Some(card.stage.clone())),
        ("trained from", card.base_model.clone()),
        ("reward model", card.reward_model.clone()),
        ("made by", Some(card.version.clone())),
        ("seed", Some(card.seed.to_string())),
    ];
    for (what, value) in made
        .into_iter()
        .filter_map(|(what, value)| Some((what, value?)))
    {
        let _ = writeln!(out, "- {what}: {}", inline(&value));
    }
    files(&mut out, "Data", &card.data);
    figures(&mut out, card);
    files(&mut out, "Files", &card.files);
    if !card.config_toml.trim().is_empty() {
        let fence = fence(&card.config_toml);
        let _ = writeln!(
            out,
            "\n## Configuration\n\n{fence}toml\n{}\n{fence}",
            card.config_toml.trim_end()
        );
    }
    out
}

/// The name that hubs link to: a commit behind it is told in the text.
fn without_commit(base: &str) -> &str {
    let is_commit = |end: &str| end.len() == 40 && end.chars().all(|c| c.is_ascii_hexdigit());
    match base.rsplit_once('@') {
        Some((name, end)) if is_commit(end) => name,
        _ => base,
    }
}

/// The text of a card with these figures in the place of those that it had; without any, where the
/// figures of [`model_card`] stand.
pub fn with_figures(text: &str, found: &Metrics) -> String {
    let card = Card {
        figures: found.clone(),
        ..Card::default()
    };
    let mut section = String::new();
    figures(&mut section, &card);
    let (before, after) = match text.find(FIGURES) {
        Some(start) => {
            let rest = &text[start + FIGURES.len()..];
            let end = rest.find("\n## ").unwrap_or(rest.len());
            (&text[..start], &rest[end..])
        }
        None => {
            let later = ["\n## Files\n", "\n## Configuration\n"];
            let at = later.iter().filter_map(|title| text.find(title)).min();
            text.split_at(at.unwrap_or(text.len()))
        }
    };
    format!("{before}{section}{after}")
}

/// How the section of figures begins.
const FIGURES: &str = "\n## Figures\n";

fn files(out: &mut String, title: &str, files: &[CardFile]) {
    if files.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "\n## {title}\n\n| file | rows | SHA-256 |\n|---|---:|---|"
    );
    for file in files {
        let rows = file.rows.map_or_else(|| "–".to_owned(), |n| n.to_string());
        let _ = writeln!(
            out,
            "| {} | {rows} | {} |",
            inline(&file.name),
            inline(&file.sha256)
        );
    }
}

fn figures(out: &mut String, card: &Card) {
    if card.figures.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "{FIGURES}\n| figure | value | 95% interval | n |\n|---|---:|---|---:|"
    );
    for (name, f) in &card.figures {
        let interval = match (f.low, f.high) {
            (Some(low), Some(high)) => format!("{low:.4} to {high:.4}"),
            _ => "–".to_owned(),
        };
        let _ = writeln!(
            out,
            "| {} | {:.4} | {interval} | {} |",
            inline(name),
            f.value,
            f.n
        );
    }
    if let Some(h) = &card.harness {
        let (version, template) = (inline(&h.version), inline(&h.template));
        let decoding = inline(&h.decoding);
        let _ = writeln!(
            out,
            "\n{version}; template {template}; {decoding}; {} rows.",
            h.n
        );
    }
}

/// The text on one line, with what Markdown or HTML would read as markup escaped.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '&' | '#' | '~' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// The text as a quoted scalar of YAML, which every JSON string is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A fence that is longer than any run of backticks in the text.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Figure;
    use crate::suite::Harness;

    fn card() -> Card {
        let file = |name: &str, rows| CardFile {
            name: name.to_owned(),
            rows,
            sha256: "ab12".to_owned(),
        };
        Card {
            title: "Tiny | <model>".to_owned(),
            stage: "ppo".to_owned(),
            base_model: Some("sft/model: \"v1\"".to_owned()),
            reward_model: Some("reward/reward".to_owned()),
            version: "rlhf 0.1.0".to_owned(),
            seed: 7,
            data: vec![file("prompts.jsonl", Some(1500))],
            figures: [("win_rate".to_owned(), Figure::new(0.665, 0.63, 0.7, 800))].into(),
            harness: Some(Harness::new("chat", "temperature 1", 800)),
            files: vec![file("model.safetensors", None)],
            config_toml: "seed = 7\nnote = \"```\"\n".to_owned(),
        }
    }

    #[test]
    fn a_card_says_what_the_model_was_made_from() {
        let text = model_card(&card());
        for part in [
            "base_model: \"sft/model: \\\"v1\\\"\"",
            "# Tiny \\| \\<model\\>",
            "- trained from: sft/model: \"v1\"",
            "- seed: 7",
            "| prompts.jsonl | 1500 | ab12 |",
            "| win_rate | 0.6650 | 0.6300 to 0.7000 | 800 |",
            "template chat; temperature 1; 800 rows.",
            "| model.safetensors | – | ab12 |",
            "````toml\nseed = 7\nnote = \"```\"\n````",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn figures_may_come_later_and_again() {
        let mut card = card();
        card.harness = None;
        let with = model_card(&card);
        let figures = std::mem::take(&mut card.figures);
        let without = model_card(&card);
        assert!(!without.contains("Figures"));
        assert_eq!(with_figures(&without, &figures), with);
        assert_eq!(with_figures(&with, &figures), with);
        assert_eq!(with_figures(&with, &Metrics::new()), without);
        let other = [("loss".to_owned(), Figure::bare(1.5, 3))].into();
        let changed = with_figures(&with, &other);
        assert!(changed.contains("| loss | 1.5000 | – | 3 |") && !changed.contains("win_rate"));
        assert!(with_figures("a text", &other).starts_with("a text\n## Figures"));
    }

    #[test]
    fn an_empty_card_has_no_empty_tables() {
        let text = model_card(&Card {
            title: "x".to_owned(),
            ..Card::default()
        });
        assert!(!text.contains("## "), "{text}");
        assert!(!text.contains("trained from"), "{text}");
    }
}
