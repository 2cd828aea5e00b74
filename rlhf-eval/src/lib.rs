//! Tasks, metrics with intervals, ranking and reports: functions over response rows.
//!
//! Who generated the responses is the caller's business. Every figure carries its interval and the
//! number of observations behind it ([`Figure`]); every score carries the template, decoding and
//! version that made it ([`SuiteReport`]).
//!
//! ```
//! use rlhf_eval::{Outcome, cluster_bootstrap, win_rate};
//!
//! let outcomes = [Outcome::Win, Outcome::Win, Outcome::Tie, Outcome::Loss];
//! assert_eq!(win_rate(&outcomes).win_rate, Some(0.625));
//! // Answers about one entity are not independent: the interval resamples entities.
//! let truth = [("Australia", 1.0), ("Australia", 1.0), ("Nagu", 0.0), ("Kegu", 1.0)];
//! assert_eq!(cluster_bootstrap(&truth, 1000, 7).unwrap().value, 0.75);
//! ```

mod agreement;
mod bars;
mod best_of_n;
mod bootstrap;
mod calibration;
mod card;
mod chart;
mod choice;
mod elo;
mod error;
mod figure;
mod html;
mod interval;
mod observations;
mod palette;
mod perplexity;
mod ranking;
mod report;
mod result;
mod rouge;
mod suite;
mod suites;
mod table;
mod task;
mod truth;
mod win_rate;

pub use agreement::{CohenKappa, KrippendorffAlpha, cohen_kappa, krippendorff_alpha_nominal};
pub use best_of_n::{best_of_n_kl, best_of_n_reward};
pub use bootstrap::{cluster_bootstrap, paired_difference, paired_ratio};
pub use calibration::{Calibration, reward_model_calibration};
pub use card::{Card, CardFile, model_card, with_figures};
pub use chart::{Curve, line_chart};
pub use choice::{ChoiceQuestion, ChoiceScores, truthfulqa_mc};
pub use elo::{EloConfig, Match, elo_online};
pub use error::EvalError;
pub use figure::{Figure, Metrics};
pub use html::escape;
pub use interval::{Interval, Z95, wilson};
pub use observations::Observations;
pub use perplexity::{Perplexity, perplexity, perplexity_of_totals};
pub use ranking::{BradleyTerryFit, bradley_terry_fit};
pub use report::{ReportData, Sample, report_html, write_report};
pub use result::{InstructionGains, ModelFigures, PerModel, RewardFigures, RunResult, WinRates};
pub use rouge::{RougeL, mean_rouge_l, rouge_l};
pub use suite::{Harness, SuiteReport};
pub use suites::{
    DocumentLogprobs, Resampling, choice_metrics, comparison_metrics, perplexity_metrics,
    preference_metrics, rouge_metrics,
};
pub use table::{runs_text, table_html, table_text};
pub use task::{answer_of, cluster_of, compare_responses, response_metrics, score_responses};
pub use truth::{Soundness, TruthShares, base_model_gate, damaged_by_tuning, worse_by_reward};
pub use win_rate::{Outcome, WinRate, sign_test, win_rate};
