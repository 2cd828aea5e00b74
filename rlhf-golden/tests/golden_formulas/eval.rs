//! The statistics of evaluation; none of them on a device.

use burn::tensor::Device;
use rlhf_eval::{
    ChoiceQuestion, EloConfig, EvalError, Match, Outcome, best_of_n_kl, best_of_n_reward,
    bradley_terry_fit, cohen_kappa, elo_online, krippendorff_alpha_nominal, mean_rouge_l,
    perplexity, reward_model_calibration, rouge_l, truthfulqa_mc, wilson, win_rate,
};
use rlhf_golden::{Case, Figure, Figures, GoldenError};
use serde::Deserialize;

use crate::unknown_kind;

pub(crate) fn run(case: &Case, _: &Device) -> Result<Figures, GoldenError> {
    let mut figures = Figures::default();
    match case.kind.as_str() {
        "wilson" => interval(case, &mut figures)?,
        "win_rate" => wins(case, &mut figures)?,
        "bradley_terry_fit" => strengths(case, &mut figures)?,
        "elo_online" => elo(case, &mut figures)?,
        "best_of_n_kl" => {
            let n: Vec<u64> = case.get("n")?;
            figures.set("kl", n.into_iter().map(best_of_n_kl).collect::<Vec<_>>());
        }
        "best_of_n_reward" => {
            let (proxy, gold): (Vec<f64>, Vec<f64>) = (case.get("proxy")?, case.get("gold")?);
            let n: Vec<usize> = case.get("n")?;
            let expected = n.into_iter().map(|n| best_of_n_reward(&proxy, &gold, n));
            figures.set("expected_gold", expected.collect::<Vec<_>>());
        }
        "truthfulqa_mc" => choices(case, &mut figures)?,
        "rouge_l" => rouge(case, &mut figures)?,
        "perplexity" => corpus(case, &mut figures)?,
        "cohen_kappa" => kappa(case, &mut figures)?,
        "krippendorff_alpha_nominal" => alpha(case, &mut figures)?,
        "reward_model_ece" => calibration(case, &mut figures)?,
        _ => return Err(unknown_kind(case)),
    }
    Ok(figures)
}

fn told(error: EvalError) -> GoldenError {
    GoldenError(error.to_string())
}

fn interval(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let interval = wilson(case.get("successes")?, case.get("trials")?, case.get("z")?);
    figures.set("low", interval.map(|interval| interval.low));
    figures.set("high", interval.map(|interval| interval.high));
    figures.set("centre", interval.map(|interval| interval.centre));
    Ok(())
}

fn wins(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let outcomes: Vec<String> = case.get("outcomes")?;
    let outcomes: Result<Vec<Outcome>, _> = outcomes
        .iter()
        .map(|outcome| match outcome.as_str() {
            "win" => Ok(Outcome::Win),
            "tie" => Ok(Outcome::Tie),
            "loss" => Ok(Outcome::Loss),
            _ => Err(GoldenError(format!("no outcome is called {outcome:?}"))),
        })
        .collect();
    let out = win_rate(&outcomes?);
    figures.set("wins", out.wins);
    figures.set("ties", out.ties);
    figures.set("losses", out.losses);
    figures.set("win_rate", out.win_rate);
    figures.set("standard_error", out.standard_error);
    figures.set("sign_test_p", out.sign_test_p);
    Ok(())
}

fn strengths(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let (wins, ties): (Vec<Vec<f64>>, Vec<Vec<f64>>) = (case.get("wins")?, case.get("ties")?);
    let fit = bradley_terry_fit(&wins, &ties, case.get("pseudo_count")?).map_err(told)?;
    figures.set("log_strength", fit.log_strength);
    figures.set("elo", fit.elo);
    figures.set("win_probability", fit.win_probability);
    figures.set("log_likelihood", fit.log_likelihood);
    Ok(())
}

fn elo(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let matches: Vec<(usize, usize, f64)> = case.get("matches")?;
    let matches = matches.into_iter().map(|(first, second, score)| Match {
        first,
        second,
        score,
    });
    let config = EloConfig {
        k: case.get("k")?,
        start: case.get("start")?,
    };
    let matches: Vec<Match> = matches.collect();
    let ratings = elo_online(&matches, case.get("players")?, config).map_err(told)?;
    figures.set("ratings_after_each_match", ratings);
    Ok(())
}

#[derive(Deserialize)]
struct Question {
    logprobs: Vec<f64>,
    labels: Vec<u8>,
    best: usize,
}

fn choices(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let questions: Vec<Question> = case.get("questions")?;
    let questions = questions.into_iter().map(|question| ChoiceQuestion {
        logprobs: question.logprobs,
        correct: question
            .labels
            .into_iter()
            .map(|label| label == 1)
            .collect(),
        best: question.best,
    });
    let scores = truthfulqa_mc(&questions.collect::<Vec<_>>()).map_err(told)?;
    figures.set("mc1_each", scores.mc1_each);
    figures.set("mc2_each", scores.mc2_each);
    figures.set("mc1", scores.mc1);
    figures.set("mc2", scores.mc2);
    Ok(())
}

fn rouge(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let pairs: Vec<(String, String)> = case.get("pairs")?;
    let scores: Vec<_> = pairs
        .iter()
        .map(|(candidate, text)| rouge_l(candidate, text))
        .collect();
    figures.set(
        "precision",
        scores
            .iter()
            .map(|score| score.precision)
            .collect::<Vec<_>>(),
    );
    figures.set(
        "recall",
        scores.iter().map(|score| score.recall).collect::<Vec<_>>(),
    );
    figures.set(
        "f1",
        scores.iter().map(|score| score.f1).collect::<Vec<_>>(),
    );
    figures.set("mean_f1", mean_rouge_l(&pairs));
    Ok(())
}

fn corpus(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let logprobs: Vec<Vec<f64>> = case.get("token_logprobs")?;
    let bytes: Vec<u64> = case.get("num_bytes")?;
    let out = perplexity(&logprobs, &bytes);
    figures.set("nll_per_token", out.as_ref().map(|out| out.nll_per_token));
    figures.set("perplexity", out.as_ref().map(|out| out.perplexity));
    figures.set(
        "bits_per_byte",
        out.as_ref().and_then(|out| out.bits_per_byte),
    );
    figures.set("bits_per_token", out.as_ref().map(|out| out.bits_per_token));
    Ok(())
}

fn kappa(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let (a, b): (Vec<i64>, Vec<i64>) = (case.get("rater_a")?, case.get("rater_b")?);
    let out = cohen_kappa(&a, &b).map_err(told)?;
    figures.set("observed", out.as_ref().map(|out| out.observed));
    figures.set("by_chance", out.as_ref().map(|out| out.by_chance));
    figures.set("kappa", out.as_ref().and_then(|out| out.kappa));
    Ok(())
}

fn alpha(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let ratings: Vec<Vec<Option<i64>>> = case.get("ratings")?;
    let out = krippendorff_alpha_nominal(&ratings).map_err(told)?;
    figures.set("pairable_values", out.pairable_values);
    figures.set("alpha", out.alpha);
    Ok(())
}

fn calibration(case: &Case, figures: &mut Figures) -> Result<(), GoldenError> {
    let margins: Vec<f64> = case.get("margins")?;
    let out = reward_model_calibration(&margins, case.get("bins")?).map_err(told)?;
    let number = |of: fn(&rlhf_eval::Calibration) -> f64| out.as_ref().map(of);
    figures.set("ece", number(|out| out.ece));
    figures.set(
        "max_calibration_error",
        number(|out| out.max_calibration_error),
    );
    figures.set("accuracy", number(|out| out.accuracy));
    figures.set("mean_confidence", number(|out| out.mean_confidence));
    figures.set("brier", number(|out| out.brier));
    figures.set("nll", number(|out| out.nll));
    let counts = out.map_or(Figure::Null, |out| out.bin_counts.into());
    figures.set("bin_counts", counts);
    Ok(())
}
