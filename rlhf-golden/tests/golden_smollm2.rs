//! A real model against its reference figures: SmolLM2-135M-Instruct.
//!
//! Reads the model's folder from `RLHF_SMOLLM2` and says that it skips where that is unset. The
//! figures are `smollm2_golden.json` in the folder that `RLHF_GOLDEN` names, where it has one, else
//! the copy in this crate.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic and print"
)]

use burn::tensor::{Device, Tensor};
use rlhf_data::{ChatTokenizer, Message};
use rlhf_golden::formulas_folder;
use rlhf_model::{
    CausalLm, Finish, Generator, LocalGenerator, ModelConfig, Request, SamplingConfig, TokenBatch,
    Transformer, WeightType, load_model, save_model_as, token_logprobs,
};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Of logits and log-probs.
const TOLERANCE: f64 = 1e-3;

/// The end token at which the reference stopped, and after how many tokens it did at the latest.
const STOP: u32 = 2;
const NEW_TOKENS: usize = 32;

#[derive(Deserialize)]
struct Golden {
    prompts: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: String,
    messages: Option<Vec<Message>>,
    text: String,
    token_ids: Vec<u32>,
    prompt_logprobs: Vec<Option<f64>>,
    last_top5: Vec<Top>,
    last_logsumexp: f64,
    greedy_ids: Vec<u32>,
    greedy_text: String,
    stopped_at_eos: bool,
    #[serde(rename = "greedy_smallest_top1_top2_gap")]
    gap: f64,
    greedy_logprobs: Vec<f64>,
}

#[derive(Deserialize)]
struct Top {
    id: u32,
    logit: f64,
}

/// The model's folder, or none with a printed skip.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("RLHF_SMOLLM2").map(PathBuf::from);
    if folder.is_none() {
        println!("skipped: RLHF_SMOLLM2 is not set");
    }
    folder
}

fn golden() -> Golden {
    let named = formulas_folder().join("smollm2_golden.json");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/smollm2_golden.json");
    let path = if named.exists() { named } else { own };
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

fn close(case: &Case, what: &str, found: f64, wanted: f64) {
    let name = &case.name;
    assert!(
        (found - wanted).abs() <= TOLERANCE,
        "{name}: {what} is {found}, must be {wanted}"
    );
}

/// The prompt's text and ids.
fn check_text(case: &Case, chat: &ChatTokenizer) {
    let ids = match &case.messages {
        Some(messages) => {
            let template = chat.template().unwrap();
            assert_eq!(
                template.render(messages, true).unwrap(),
                case.text,
                "{}",
                case.name
            );
            chat.encode_prompt(messages).unwrap().ids
        }
        None => chat.tokenizer().encode(&case.text).unwrap(),
    };
    assert_eq!(
        case.messages.is_some(),
        case.kind == "chat",
        "{}",
        case.name
    );
    assert_eq!(ids, case.token_ids, "{}", case.name);
}

/// Logits after the prompt and the log-probs of its tokens.
fn check_forward(case: &Case, model: &Transformer, device: &Device) {
    let batch = TokenBatch::right_padded(&[&case.token_ids], device);
    let (time, vocab) = (batch.time(), model.vocab_size());
    let hidden = model.hidden(&batch, None).narrow(1, time - 1, 1);
    let logits = floats(model.logits(hidden));
    let mut order: Vec<usize> = (0..vocab).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    let wanted: Vec<usize> = case.last_top5.iter().map(|top| top.id as usize).collect();
    assert_eq!(order[..wanted.len()], wanted, "{}", case.name);
    for top in &case.last_top5 {
        close(case, "a logit", logits[top.id as usize], top.logit);
    }
    let most = logits[order[0]];
    let sum: f64 = logits.iter().map(|z| (z - most).exp()).sum();
    close(case, "the logsumexp", most + sum.ln(), case.last_logsumexp);
    let logprobs = floats(token_logprobs(model, &batch, 1.0));
    assert_eq!(case.prompt_logprobs.len(), time, "{}", case.name);
    assert_eq!(case.prompt_logprobs[0], None, "{}", case.name);
    for (found, wanted) in logprobs.iter().zip(&case.prompt_logprobs[1..]) {
        close(case, "a log-prob", *found, wanted.unwrap());
    }
}

/// Greedy answers in batches of a size.
fn check_answers(cases: &[Case], (model, chat): (&Transformer, &ChatTokenizer), batch: usize) {
    let requests: Vec<Request<'_>> = cases
        .iter()
        .map(|case| Request {
            prompt: &case.token_ids,
            stream: 0,
        })
        .collect();
    let config = SamplingConfig {
        stop_ids: vec![STOP],
        ..SamplingConfig::greedy(NEW_TOKENS)
    };
    let answers = LocalGenerator::new(model, batch)
        .generate(&requests, &config)
        .unwrap();
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        let name = &case.name;
        assert!(
            case.gap > TOLERANCE,
            "{name}: the reference itself is in doubt"
        );
        assert_eq!(answer.tokens, case.greedy_ids, "{name}");
        assert_eq!(answer.finish == Finish::Eos, case.stopped_at_eos, "{name}");
        let text = chat.tokenizer().decode(&answer.tokens, false).unwrap();
        assert_eq!(text, case.greedy_text, "{name}");
        assert_eq!(answer.logprobs.len(), case.greedy_logprobs.len(), "{name}");
        for (found, wanted) in answer.logprobs.iter().zip(&case.greedy_logprobs) {
            close(case, "a log-prob of the answer", f64::from(*found), *wanted);
        }
    }
}

#[test]
fn golden_smollm2_answers_as_the_reference() {
    let Some(dir) = folder() else { return };
    let device = Device::flex();
    let (model, _) = load_model(&dir, &device).unwrap();
    let chat = ChatTokenizer::load(&dir).unwrap();
    let Golden { prompts } = golden();
    for case in &prompts {
        check_text(case, &chat);
        check_forward(case, &model, &device);
    }
    for batch in [1, prompts.len()] {
        check_answers(&prompts, (&model, &chat), batch);
    }
    assert!(!prompts.is_empty(), "no case was found");
    println!("{} cases", prompts.len());
}

/// The copy in this crate is read in any case.
#[test]
fn golden_smollm2_figures_are_complete() {
    let Golden { prompts } = golden();
    assert!(prompts.iter().any(|case| case.kind == "chat"));
    assert!(prompts.iter().any(|case| case.kind == "raw"));
    for case in prompts {
        assert_eq!(
            case.token_ids.len(),
            case.prompt_logprobs.len(),
            "{}",
            case.name
        );
        assert_eq!(
            case.greedy_ids.len(),
            case.greedy_logprobs.len(),
            "{}",
            case.name
        );
        assert_eq!(case.last_top5.len(), 5, "{}", case.name);
    }
}

/// What was read as bfloat16 is written as the same bits, whatever the order of the file.
#[test]
fn golden_smollm2_keeps_every_bit_when_it_is_written() {
    let Some(dir) = folder() else { return };
    let device = Device::flex();
    let (model, config) = load_model(&dir, &device).unwrap();
    let text = std::fs::read_to_string(dir.join("config.json")).unwrap();
    let kinds = [WeightType::F32, WeightType::F16, WeightType::Bf16];
    let kind = kinds
        .into_iter()
        .find(|kind| text.contains(&format!("\"{}\"", kind.name())));
    let out = tempfile::tempdir().unwrap();
    let write = |model: &Transformer, config: &ModelConfig, name: &str| {
        let folder = out.path().join(name);
        save_model_as(&folder, model, config, kind.unwrap()).unwrap();
        folder
    };
    let first = write(&model, &config, "first");
    drop(model);
    let (again, config) = load_model(&first, &device).unwrap();
    let second = write(&again, &config, "second");
    drop(again);
    let bytes = |dir: &Path| std::fs::read(dir.join("model.safetensors")).unwrap();
    let written = bytes(&first);
    assert!(written == bytes(&second));
    if !dir.join("model.safetensors").exists() {
        println!("the folder holds its weights in several files: their bytes are not compared");
        return;
    }
    let (source, written) = (bytes(&dir), written);
    let source = safetensors::SafeTensors::deserialize(&source).unwrap();
    let written = safetensors::SafeTensors::deserialize(&written).unwrap();
    assert_eq!(source.len(), written.len());
    for (name, view) in source.iter() {
        let found = written.tensor(name).unwrap();
        assert_eq!(
            (view.dtype(), view.shape()),
            (found.dtype(), found.shape()),
            "{name}"
        );
        assert!(view.data() == found.data(), "{name}");
    }
}
