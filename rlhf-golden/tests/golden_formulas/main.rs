//! Every formula against its reference figures, on every device that is compiled in.
//!
//! Reads the folder named by `RLHF_GOLDEN`, or the copy in this crate, and runs each group and case
//! it finds there. A kind, an expected figure, an input or a parameter that is not known here is a
//! failure.

mod devices;
mod dpo;
mod eval;
mod gae;
mod grpo;
mod kl;
mod logprobs;
mod lora;
mod optimiser;
mod ppo;
mod ppo_ptx;
mod reward;
mod sampling_filters;
mod sft_loss;
mod tensors;

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::Device;
use rlhf_golden::{Case, Figures, GoldenError, compare, formulas_folder, read_groups};

use devices::{Target, targets};

/// Runs a case of one group on a device.
type Run = fn(&Case, &Device) -> Result<Figures, GoldenError>;

/// Groups whose formulas are not part of the project yet.
const LEFT_FOR_LATER: [&str; 1] = ["gridworld"];

/// The runner of a group.
fn runner(group: &str) -> Option<Run> {
    Some(match group {
        "logprobs" => logprobs::run,
        "sft_loss" => sft_loss::run,
        "sampling_filters" => sampling_filters::run,
        "reward" => reward::run,
        "kl" => kl::run,
        "gae" => gae::run,
        "ppo" => ppo::run,
        "ppo_ptx" => ppo_ptx::run,
        "grpo" => grpo::run,
        "dpo" => dpo::run,
        "optimiser" => optimiser::run,
        "lora" => lora::run,
        "eval" => eval::run,
        _ => return None,
    })
}

/// The failure of a group's runner when it meets a kind it doesn't know.
fn unknown_kind(case: &Case) -> GoldenError {
    GoldenError(format!("nothing runs the kind {:?}", case.kind))
}

/// All that is wrong with one case on one device.
fn failures(case: &Case, run: Run, target: &Target) -> Vec<String> {
    match catch_unwind(AssertUnwindSafe(|| run(case, &target.device))) {
        Ok(Ok(figures)) => {
            let overlooked = case.overlooked();
            let overlooked = overlooked
                .iter()
                .map(|name| format!("{name}: nothing reads this"));
            let differences = compare(&figures, &case.expected, target.tolerance);
            differences.into_iter().chain(overlooked).collect()
        }
        Ok(Err(error)) => vec![error.to_string()],
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
            vec![format!("panicked: {}", text.unwrap_or_default())]
        }
    }
}

#[test]
fn golden_formulas() {
    let groups = read_groups(&formulas_folder()).unwrap();
    assert!(!groups.is_empty(), "the file has no groups");
    let (targets, absent) = targets();
    if let Some(reason) = absent {
        println!("{reason}");
    }
    let (mut ran, mut failed) = (0, Vec::new());
    for group in groups {
        if LEFT_FOR_LATER.contains(&group.name.as_str()) {
            println!("{}: {} cases left for later", group.name, group.cases.len());
            continue;
        }
        let Some(run) = runner(&group.name) else {
            failed.push(format!("{}: nothing runs this group", group.name));
            continue;
        };
        for case in &group.cases {
            for target in &targets {
                for failure in failures(case, run, target) {
                    let place = format!("{}/{} on {}", group.name, case.name, target.name);
                    failed.push(format!("{place}: {failure}"));
                }
            }
        }
        ran += group.cases.len();
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name).collect();
    println!("{ran} cases on {}", names.join(", "));
    assert!(
        failed.is_empty(),
        "{} failures:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
