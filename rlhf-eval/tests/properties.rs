//! Properties that hold whatever the data.

use proptest::prelude::*;
use rlhf_eval::{
    Curve, Figure, ModelFigures, Outcome, PerModel, ReportData, RewardFigures, RunResult, Sample,
    WinRates, best_of_n_reward, bradley_terry_fit, cluster_bootstrap, cohen_kappa, line_chart,
    model_card, paired_difference, report_html, reward_model_calibration, rouge_l, table_text,
    truthfulqa_mc, wilson, win_rate,
};

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![Just(Outcome::Win), Just(Outcome::Tie), Just(Outcome::Loss)]
}

fn figure() -> impl Strategy<Value = Figure> {
    (0.0..1.0f64, 0.0..0.5f64, 0usize..9999)
        .prop_map(|(v, half, n)| Figure::new(v, v - half, v + half, n))
}

fn result() -> impl Strategy<Value = RunResult> {
    prop::collection::vec(figure(), 13).prop_map(|f| {
        let model = |i: usize| ModelFigures {
            truthfulness: f[i],
            toxicity: f[i + 1],
            instruction_following: f[i + 2],
        };
        let mut result = RunResult::new(
            PerModel {
                gpt: model(0),
                sft: model(3),
                ppo: model(6),
            },
            WinRates {
                ppo_over_sft: f[9],
                ppo_over_gpt: f[10],
            },
            RewardFigures {
                accuracy: f[11],
                ceiling: f[12],
                truth_over_mistake: None,
            },
        );
        result.uncontested = Some(PerModel {
            gpt: f[0],
            sft: f[1],
            ppo: f[2],
        });
        result
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn wilson_holds_the_rate(trials in 1u64..100_000, part in 0.0..=1.0f64, z in 0.0..5.0f64) {
        let successes = (part * trials as f64).round() as u64;
        let rate = successes as f64 / trials as f64;
        let i = wilson(successes, trials, z).unwrap();
        prop_assert!(0.0 <= i.low && i.low <= rate && rate <= i.high && i.high <= 1.0, "{i:?}");
    }

    #[test]
    fn wilson_narrows_with_trials(trials in 1u64..10_000, part in 0.0..=1.0f64) {
        let successes = (part * trials as f64).round() as u64;
        let few = wilson(successes, trials, 1.96).unwrap();
        let many = wilson(successes * 4, trials * 4, 1.96).unwrap();
        prop_assert!(many.high - many.low <= few.high - few.low);
    }

    #[test]
    fn a_bootstrap_repeats_and_does_not_see_the_order_of_clusters(
        values in prop::collection::vec((0u8..6, 0u8..4), 2..40),
        seed in any::<u64>(),
    ) {
        let rows: Vec<(u8, f64)> = values.iter().map(|&(k, v)| (k, f64::from(v))).collect();
        let once = cluster_bootstrap(&rows, 50, seed).unwrap();
        prop_assert_eq!(cluster_bootstrap(&rows, 50, seed).unwrap(), once);
        let mut turned = rows.clone();
        turned.reverse();
        prop_assert_eq!(cluster_bootstrap(&turned, 50, seed).unwrap(), once);
        if let (Some(low), Some(high)) = (once.low, once.high) {
            prop_assert!((0.0..=once.value).contains(&low) && (once.value..=3.0).contains(&high));
        }
    }

    #[test]
    fn a_paired_difference_turns_its_sign_with_its_sides(
        values in prop::collection::vec((0u8..8, 0u8..3, 0u8..3), 4..40),
    ) {
        let side = |pick: fn(&(u8, u8, u8)) -> u8| -> Vec<(u8, f64)> {
            values.iter().map(|row| (row.0, f64::from(pick(row)))).collect()
        };
        let (a, b) = (side(|r| r.1), side(|r| r.2));
        let there = paired_difference(&a, &b, 40, 5).unwrap();
        let back = paired_difference(&b, &a, 40, 5).unwrap();
        prop_assert!((there.value + back.value).abs() < 1e-12);
        if let (Some(low), Some(high)) = (there.low, back.high) {
            prop_assert!((low + high).abs() < 1e-12);
        }
    }

    #[test]
    fn a_win_rate_is_symmetric_under_swap(outcomes in prop::collection::vec(outcome(), 0..50)) {
        let swapped: Vec<Outcome> = outcomes.iter().map(|o| o.swapped()).collect();
        let (there, back) = (win_rate(&outcomes), win_rate(&swapped));
        prop_assert_eq!((there.wins, there.ties, there.losses), (back.losses, back.ties, back.wins));
        prop_assert_eq!(there.win_rate.is_some(), !outcomes.is_empty());
        let sum = there.win_rate.zip(back.win_rate).map_or(1.0, |(a, b)| a + b);
        prop_assert!((sum - 1.0).abs() < 1e-12);
        let errors = there.standard_error.zip(back.standard_error);
        prop_assert!(errors.is_none_or(|(a, b)| (a - b).abs() < 1e-12));
        prop_assert_eq!(there.sign_test_p, back.sign_test_p);
        prop_assert!(there.sign_test_p.is_none_or(|p| (0.0..=1.0).contains(&p)));
    }

    #[test]
    fn ratings_follow_a_renaming_of_players(
        wins in prop::collection::vec(prop::collection::vec(0u8..9, 4), 4),
    ) {
        let wins: Vec<Vec<f64>> =
            wins.iter().map(|row| row.iter().map(|&n| f64::from(n)).collect()).collect();
        let ties = vec![vec![0.0; 4]; 4];
        let fit = bradley_terry_fit(&wins, &ties, 0.25).unwrap();
        prop_assert!(fit.log_strength.iter().sum::<f64>().abs() < 1e-9);
        let turned: Vec<Vec<f64>> =
            wins.iter().rev().map(|row| row.iter().rev().copied().collect()).collect();
        let other = bradley_terry_fit(&turned, &ties, 0.25).unwrap();
        for (a, b) in fit.log_strength.iter().zip(other.log_strength.iter().rev()) {
            prop_assert!((a - b).abs() < 1e-6, "{:?} {:?}", fit, other);
        }
        for (i, row) in wins.iter().enumerate() {
            let expected: f64 = (0..4)
                .filter(|&j| j != i)
                .map(|j| (row[j] + wins[j][i] + 0.5) * fit.win_probability[i][j])
                .sum();
            let won: f64 = (0..4).filter(|&j| j != i).map(|j| row[j] + 0.25).sum();
            prop_assert!((expected - won).abs() < 1e-6, "player {i}: {expected} {won}");
        }
    }

    #[test]
    fn the_best_of_more_is_no_worse(scores in prop::collection::vec(-3i8..3, 1..12)) {
        let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
        let best = |n| best_of_n_reward(&scores, &scores, n).unwrap();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        prop_assert!((best(1) - mean).abs() < 1e-9);
        prop_assert!((best(scores.len()) - top).abs() < 1e-9);
        prop_assert!((1..scores.len()).all(|n| best(n) <= best(n + 1) + 1e-9));
    }

    #[test]
    fn shares_and_errors_stay_in_range(
        margins in prop::collection::vec(-200.0..200.0f64, 1..40),
        bins in 1usize..20,
    ) {
        let c = reward_model_calibration(&margins, bins).unwrap().unwrap();
        prop_assert_eq!(c.bin_counts.iter().sum::<usize>(), margins.len());
        prop_assert!(c.ece <= c.max_calibration_error + 1e-12 && c.max_calibration_error <= 1.0);
        prop_assert!((0.0..=1.0).contains(&c.brier) && c.nll >= 0.0 && c.nll.is_finite());
        let question = rlhf_eval::ChoiceQuestion {
            correct: margins.iter().enumerate().map(|(i, m)| i == 0 || *m > 0.0).collect(),
            logprobs: margins,
            best: 0,
        };
        let scores = truthfulqa_mc(&[question]).unwrap();
        prop_assert!(scores.mc2.is_some_and(|m| (0.0..=1.0 + 1e-12).contains(&m)));
    }

    #[test]
    fn agreement_and_overlap_are_symmetric(
        a in prop::collection::vec(0u8..3, 1..30),
        words in prop::collection::vec("[a-c]{1,2}", 0..12),
        others in prop::collection::vec("[a-c]{1,2}", 0..12),
    ) {
        let b: Vec<u8> = a.iter().rev().copied().collect();
        prop_assert_eq!(cohen_kappa(&a, &b).unwrap(), cohen_kappa(&b, &a).unwrap());
        let (words, others) = (words.join(" "), others.join(", "));
        let (there, back) = (rouge_l(&words, &others), rouge_l(&others, &words));
        prop_assert_eq!(there.precision, back.recall);
        prop_assert!((there.f1 - back.f1).abs() < 1e-12);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_chart_stands_any_numbers(
        points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..30),
        label in any::<String>(),
    ) {
        let curve = Curve {
            chart: label.clone(),
            name: label.clone(),
            x_label: label.clone(),
            y_label: label,
            points,
        };
        prop_assert!(line_chart(&[&curve]).is_ok());
    }

    #[test]
    fn a_report_escapes_every_text(result in result(), text in "[<>&\"'a-z東]{0,12}") {
        let hostile = format!("<script>alert('{text}')</script>");
        let mut data = ReportData::new(hostile.clone(), result);
        data.result.best_sft_decoding = Some(hostile.clone());
        data.result.warnings = vec![hostile.clone()];
        data.curves = vec![Curve {
            chart: hostile.clone(),
            name: hostile.clone(),
            x_label: hostile.clone(),
            y_label: hostile.clone(),
            points: vec![(0.0, 1.0), (1.0, 0.5)],
        }];
        data.lengths = vec![(hostile.clone(), vec![1, 2, 3])];
        let responses = vec![(hostile.clone(), hostile.clone())];
        data.samples = vec![Sample { prompt: hostile.clone(), responses }];
        data.stages = vec![(hostile.clone(), 1.0)];
        data.config_toml = hostile.clone();
        data.environment = vec![(hostile.clone(), hostile.clone())];
        let page = report_html(&data).unwrap();
        prop_assert!(!page.contains("<script"));
        prop_assert!(page.matches("&lt;script&gt;").count() >= 14);
    }

    #[test]
    fn tables_have_a_line_for_each_model(result in result()) {
        let text = table_text(&result);
        for model in ["GPT", "SFT", "PPO"] {
            prop_assert!(text.lines().any(|l| l.starts_with(model)));
        }
        let json = serde_json::to_string(&result).unwrap();
        prop_assert_eq!(serde_json::from_str::<RunResult>(&json).unwrap(), result);
    }

    #[test]
    fn a_card_keeps_its_text_on_one_line(title in any::<String>()) {
        let card = rlhf_eval::Card { title, ..Default::default() };
        let text = model_card(&card);
        prop_assert_eq!(text.lines().filter(|l| l.starts_with("# ")).count(), 1);
    }
}
