//! `rlhf bench`.

use crate::program::rlhf;

#[test]
fn every_work_prints_a_line_a_measurement() {
    let sizes = "--batch 4 --prompt 6 --response 5 --seconds 0.01 --minibatches 2 --epochs 1";
    let mut args = vec!["bench", "pretrain,sft,reward,generate,ppo-step"];
    args.extend(sizes.split(' '));
    args.extend(["--threads", "1"]);
    let lines = rlhf(&args).succeeded().json_lines();
    let works: Vec<&str> = lines.iter().map(|l| l["work"].as_str().unwrap()).collect();
    let wanted = [
        "pretrain", "sft", "reward", "generate", "generate", "ppo-step",
    ];
    assert_eq!(works, wanted);
    // Tokens as they are counted: of whole sequences, of both of a pair, and written ones.
    let tokens: Vec<u64> = lines
        .iter()
        .map(|l| l["tokens_per_step"].as_u64().unwrap())
        .collect();
    assert_eq!(tokens, [44, 44, 88, 20, 20, 20]);
    for line in &lines {
        let number = |name: &str| line[name].as_f64().unwrap();
        let rate = number("tokens_per_step") / number("step_ms_median") * 1e3;
        assert!((number("tokens_per_s") / rate - 1.0).abs() < 1e-9, "{line}");
        assert!(
            number("steps") >= 3.0 && number("step_ms_min") > 0.0,
            "{line}"
        );
        assert_eq!(line["threads"], 1);
        assert_eq!(line["params"], 922_752);
    }
}

#[test]
fn sizes_that_fit_nothing_are_refused() {
    rlhf(&["bench", "sft", "--model", "huge"]).refused(&["huge", "tiny, small"]);
    rlhf(&["bench", "sft", "--prompt", "2047", "--response", "2"]).refused(&[
        "2049 tokens",
        "2048",
        "--prompt",
    ]);
    rlhf(&["bench", "ppo-step", "--batch", "6"]).refused(&["--minibatches 4", "--batch 6"]);
    rlhf(&["bench", "sft", "--seconds", "0"]).refused(&["--seconds"]);
    assert_eq!(rlhf(&["bench", "sft", "--batch", "0"]).code, 2);
    assert_eq!(rlhf(&["bench", "sleep"]).code, 2);
}
