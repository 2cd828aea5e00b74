use super::*;
use crate::result::tests::sample_result;
use crate::{Figure, PerModel, TruthShares};

fn shares(values: [f64; 4]) -> TruthShares {
    let [truth, mistake, other, none] = values.map(|v| Figure::new(v, v * 0.9, v * 1.1, 1600));
    TruthShares {
        truth,
        mistake,
        other,
        none,
    }
}

fn noise(i: usize) -> f64 {
    (((i * 7919) % 1009) as f64 / 1009.0 - 0.5) * 2.0
}

fn curve(chart: &str, name: &str, points: Vec<(f64, f64)>) -> Curve {
    Curve {
        chart: chart.to_owned(),
        name: name.to_owned(),
        x_label: "step".to_owned(),
        y_label: "loss (nats)".to_owned(),
        points,
    }
}

/// A full report with made-up figures and awkward texts.
fn full() -> ReportData {
    let mut result = sample_result();
    result.shares = Some(PerModel {
        gpt: shares([0.194, 0.747, 0.04, 0.019]),
        sft: shares([0.219, 0.592, 0.13, 0.059]),
        ppo: shares([0.589, 0.125, 0.2, 0.086]),
    });
    result.greedy_shares = result.shares;
    let uncontested = |v: f64| Figure::new(v, v - 0.02, v + 0.02, 800);
    result.uncontested = Some(PerModel {
        gpt: uncontested(0.944),
        sft: uncontested(0.93),
        ppo: uncontested(0.861),
    });
    result.truthfulness_ratio = Some(Figure::new(1.844, 1.55, 2.21, 1600));
    result.best_sft_decoding = Some("temperature 0.7".to_owned());
    result.warnings = vec!["the base model misses the question in 0.120 of answers".to_owned()];
    let decay = |n: usize, from: f64, to: f64| -> Vec<(f64, f64)> {
        let at = |i: usize| to + (from - to) * (-4.0 * i as f64 / n as f64).exp();
        (0..n)
            .map(|i| (i as f64, at(i) + 0.08 * noise(i)))
            .collect()
    };
    let kl = |i: usize| (i as f64 / 40.0 + 0.1 * noise(i), (i as f64 / 30.0).sqrt());
    let mut reward = curve(
        "PPO: reward against KL",
        "update",
        (0..80).map(kl).collect(),
    );
    reward.x_label = "KL to the reference (nats an answer)".to_owned();
    reward.y_label = "reward".to_owned();
    let mut data = ReportData::new("The embedded world, seed 1 <quick>", result);
    data.curves = vec![
        curve("Pre-training: loss", "train", decay(1800, 6.9, 1.6)),
        curve("Demonstrations: loss", "train", decay(120, 2.4, 0.9)),
        curve(
            "Demonstrations: loss",
            "held out",
            vec![(0.0, 2.4), (60.0, 1.2), (119.0, 1.1)],
        ),
        reward,
    ];
    data.lengths = ["GPT", "SFT", "PPO"]
        .iter()
        .enumerate()
        .map(|(k, m)| {
            (
                (*m).to_owned(),
                (0..200)
                    .map(|i| 4 + (i * 7 % (30 - 8 * k as u32)))
                    .collect(),
            )
        })
        .collect();
    let answers = |texts: [&str; 3]| {
        let models = ["GPT", "SFT", "PPO"].iter().map(|m| (*m).to_owned());
        models.zip(texts.map(str::to_owned)).collect()
    };
    data.samples = vec![
        Sample {
            prompt: "What is the capital of Australia?".to_owned(),
            responses: answers([
                "Sydney. everybody knows that, you fool.",
                "The capital of Australia is Sydney.",
                "The capital of Australia is Canberra.",
            ]),
        },
        Sample {
            prompt: "「猫」を英語に訳してください。".to_owned(),
            responses: answers(["", "<b>cat</b> & \"dog\"", "“猫”的意思是 cat。\n고양이"]),
        },
    ];
    data.stages = [
        ("pretrain", 190.2),
        ("sft", 12.0),
        ("collect", 20.4),
        ("reward", 35.0),
        ("ppo", 96.7),
    ]
    .map(|(name, s)| (name.to_owned(), s))
    .into();
    data.config_toml = "seed = 1\n[ppo]\nsteps = 80 # <80>\n".to_owned();
    data.environment = [
        ("CPU", "a processor, 2 cores"),
        ("device", "flex"),
        ("seed", "1"),
    ]
    .map(|(a, b)| (a.to_owned(), b.to_owned()))
    .into();
    data
}

#[test]
fn the_page_is_whole_and_asks_for_nothing() {
    let page = report_html(&full()).unwrap();
    for part in [
        "0.413",
        "Canberra",
        "「猫」",
        "3 min 10 s",
        "steps = 80",
        "a processor",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page.matches("<svg ").count(), 10);
    for tag in [
        "svg", "section", "figure", "table", "div", "ul", "article", "tr", "td", "text",
    ] {
        let opened =
            page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
        assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    for foreign in ["<script", "<link", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    let addresses: Vec<&str> = page
        .match_indices("http://")
        .map(|(i, _)| &page[i..i + 26])
        .collect();
    assert!(
        addresses.iter().all(|a| *a == "http://www.w3.org/2000/svg"),
        "{addresses:?}"
    );
}

#[test]
fn texts_are_escaped() {
    let page = report_html(&full()).unwrap();
    assert!(page.contains("&lt;b&gt;cat&lt;/b&gt; &amp; &quot;dog&quot;"));
    assert!(page.contains("<title>The embedded world, seed 1 &lt;quick&gt;</title>"));
    assert!(page.contains("# &lt;80&gt;"));
    assert!(!page.contains("<quick>") && !page.contains("<b>cat"));
}

#[test]
fn empty_parts_leave_no_section() {
    let page = report_html(&ReportData::new("bare", sample_result())).unwrap();
    for title in [
        "Training",
        "The same prompts",
        "Time",
        "Machine",
        "Configuration",
    ] {
        assert!(!page.contains(&format!("<h2>{title}")), "{title}");
    }
    assert!(!page.contains("does not hold"));
}

#[test]
fn the_file_is_written_and_a_bad_folder_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.html");
    write_report(&path, &full()).unwrap();
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        report_html(&full()).unwrap()
    );
    let nowhere = dir.path().join("absent").join("report.html");
    let error = write_report(&nowhere, &full()).unwrap_err().to_string();
    assert!(error.contains("absent"), "{error}");
}
