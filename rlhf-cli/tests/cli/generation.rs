//! `generate` and `chat`.

use crate::program::{rlhf, rlhf_with};
use crate::tiny_model::{CONTEXT, language_model};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn written(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn answers_keep_the_rows_fields_and_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let (prompts, out) = (dir.path().join("p.jsonl"), dir.path().join("o.jsonl"));
    let rows = "{\"prompt\": \"the cat\", \"id\": 7}\n\
                {\"messages\": [{\"role\": \"user\", \"content\": \"sat\"}]}\n";
    fs::write(&prompts, rows).unwrap();
    let (model, prompts) = (model.to_str().unwrap(), prompts.to_str().unwrap());
    let base = [
        "generate",
        "--model",
        model,
        "--prompts",
        prompts,
        "--max-new-tokens",
        "5",
    ];
    let to_file = ["--out", out.to_str().unwrap()];

    let found = rlhf(&[&base[..], &to_file, &["--greedy"]].concat()).succeeded();
    assert!(found.stdout.is_empty(), "{}", found.stdout);
    let rows = written(&out);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["id"], 7);
    assert_eq!(rows[1]["messages"][0]["content"], "sat");
    for row in &rows {
        let tokens = row["tokens"].as_array().unwrap();
        assert_eq!(tokens.len(), row["logprobs"].as_array().unwrap().len());
        assert!((1..=5).contains(&tokens.len()));
        assert!(row["response"].is_string());
        let finish = row["finish"].as_str().unwrap();
        assert!(["eos", "length", "stop"].contains(&finish), "{finish}");
        assert!(finish != "length" || tokens.len() == 5, "{row}");
    }
}

#[test]
fn an_answer_depends_on_its_prompt_and_the_seed_alone() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let (prompts, out) = (dir.path().join("p.jsonl"), dir.path().join("o.jsonl"));
    let rows = "{\"prompt\": \"the cat\"}\n{\"prompt\": \"sat\"}\n";
    fs::write(&prompts, rows).unwrap();
    let (model, prompts) = (model.to_str().unwrap(), prompts.to_str().unwrap());
    let base = [
        "generate",
        "--model",
        model,
        "--prompts",
        prompts,
        "--max-new-tokens",
        "5",
    ];
    let to_file = ["--out", out.to_str().unwrap()];
    rlhf(&[&base[..], &to_file, &["--greedy"]].concat()).succeeded();
    let rows = written(&out);
    let again = rlhf(&[&base[..], &["--greedy", "--samples", "2"]].concat()).succeeded();
    let lines = again.json_lines();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        (&lines[0]["tokens"], &lines[0]["sample"]),
        (&rows[0]["tokens"], &0.into())
    );
    assert_eq!(
        (&lines[3]["tokens"], &lines[3]["sample"]),
        (&rows[1]["tokens"], &1.into())
    );

    let drawn = |seed: &str| {
        rlhf(&[&base[..], &["--seed", seed]].concat())
            .succeeded()
            .stdout
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
    let found = rlhf(&[&base[..], &to_file, &["--json", "--quiet"]].concat()).succeeded();
    assert_eq!(found.json_lines()[0]["rows"], 2);
    assert!(found.stderr.is_empty());
}

#[test]
fn the_folders_recommendations_count_unless_an_option_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let prompts = dir.path().join("p.jsonl");
    fs::write(&prompts, "{\"prompt\": \"the cat\"}\n").unwrap();
    let args = ["generate", "--model", model.to_str().unwrap(), "--prompts"];
    let args = [&args[..], &[prompts.to_str().unwrap(), "--quiet", "--raw"]].concat();
    let tokens = |more: &[&str]| {
        let found = rlhf(&[&args[..], more].concat()).succeeded();
        found.json_lines()[0]["tokens"].clone()
    };
    let short = ["--max-new-tokens", "6"];
    let with = |more: &[&str]| tokens(&[&short[..], more].concat());
    let greedy = with(&["--greedy"]);
    assert_eq!(with(&["--temperature", "0"]), greedy);
    assert_eq!(with(&["--top-k", "1"]), greedy);

    let file = model.join("generation_config.json");
    fs::write(&file, "{\"do_sample\": false, \"max_new_tokens\": 3}").unwrap();
    assert_eq!(
        tokens(&[]).as_array().unwrap()[..],
        greedy.as_array().unwrap()[..3]
    );
    fs::write(
        &file,
        "{\"do_sample\": true, \"top_k\": 1, \"repetition_penalty\": 9.0}",
    )
    .unwrap();
    assert_eq!(with(&["--repetition-penalty", "1"]), greedy);
    assert_eq!(with(&["--greedy"]), greedy);

    // Every token ends an answer: the first one is the last.
    let all: Vec<String> = (0..300).map(|id| id.to_string()).collect();
    let vocabulary = fs::read_to_string(model.join("config.json")).unwrap();
    let vocabulary: Value = serde_json::from_str(&vocabulary).unwrap();
    let all = &all[..vocabulary["vocab_size"].as_u64().unwrap() as usize];
    fs::write(&file, format!("{{\"eos_token_id\": [{}]}}", all.join(","))).unwrap();
    let found = rlhf(&[&args[..], &short, &["--greedy"]].concat()).succeeded();
    assert_eq!(found.json_lines()[0]["finish"], "eos");
    assert_eq!(
        found.json_lines()[0]["tokens"].as_array().unwrap()[..],
        greedy.as_array().unwrap()[..1]
    );
    fs::write(&file, "{").unwrap();
    rlhf(&args).refused(&["generation_config.json"]);
}

#[test]
fn what_cannot_be_answered_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (prompts, long) = (path("p.jsonl"), path("long.jsonl"));
    fs::write(&prompts, "{\"prompt\": \"the cat\"}\n").unwrap();
    fs::write(
        &long,
        format!("\n{{\"prompt\": \"{}\"}}\n", "xyz ".repeat(CONTEXT)),
    )
    .unwrap();
    let generate = |model: &str, more: &[&str]| {
        let base = [
            "generate",
            "--model",
            model,
            "--max-new-tokens",
            "4",
            "--prompts",
        ];
        rlhf(&[&base[..], more].concat())
    };
    let good = model.to_str().unwrap();
    generate(good, &[&prompts, &long]).refused(&[&format!("{long}:2: the prompt has")]);
    generate(good, &[&path("gone.jsonl")]).refused(&["gone.jsonl"]);
    generate(good, &[&prompts, "--top-p", "0"]).refused(&["top_p"]);
    generate(good, &[&prompts, "--out", &path("no/such/o.jsonl")]).refused(&["no/such/o.jsonl"]);
    generate(good, &[&prompts, "--device", "cuda"]).refused(&["cuda", "--features cuda"]);
    generate(good, &[&prompts, "--device", "abacus"]).refused(&["abacus", "flex"]);

    generate(&path("none"), &[&prompts]).refused(&["--model", "none"]);
    generate(&prompts, &[&prompts]).refused(&["is a file"]);
    for (file, contents) in [
        ("config.json", "{"),
        ("config.json", "{\"architectures\": [\"OtherModel\"]}"),
        ("model.safetensors", "broken"),
        ("tokenizer.json", "{}"),
    ] {
        let broken = dir.path().join("broken");
        fs::create_dir_all(&broken).unwrap();
        for entry in fs::read_dir(&model).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), broken.join(entry.file_name())).unwrap();
        }
        let broken_path = broken.to_str().unwrap();
        fs::write(broken.join(file), contents).unwrap();
        generate(broken_path, &[&prompts]).refused(&[broken_path]);
        fs::remove_file(broken.join(file)).unwrap();
        generate(broken_path, &[&prompts]).refused(&[broken_path]);
    }
}

#[test]
fn a_chat_answers_each_line_and_forgets_what_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let base = [
        "chat",
        "--model",
        model.to_str().unwrap(),
        "--greedy",
        "--max-new-tokens",
        "3",
    ];
    let one = rlhf(&[&base[..], &["--prompt", "the cat", "--json"]].concat()).succeeded();
    let answer = &one.json_lines()[0];
    assert!(answer["tokens"].as_array().unwrap().len() <= 3);
    let lines = "the cat\n\n/new\nthe cat\nthe cat\nthe cat\nthe cat\n/quit\nsat\n";
    let chat = rlhf_with(&[&base[..], &["--json"]].concat(), lines, &[]).succeeded();
    let answers = chat.json_lines();
    assert_eq!(answers.len(), 5);
    assert_eq!(
        (&answers[0], &answers[1]),
        (answer, answer),
        "a new conversation begins alike"
    );
    assert!(chat.stderr.contains("forgotten"), "{}", chat.stderr);
    let long = "xyz ".repeat(CONTEXT);
    rlhf(&[&base[..], &["--prompt", &long]].concat()).refused(&["the turn has"]);
    rlhf(&["chat", "--model", "gone"]).refused(&["gone"]);
}

#[test]
fn lines_of_plain_text_are_answered_and_those_that_cannot_be_are_named_or_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let model = language_model(dir.path());
    let prompts = dir.path().join("p.txt");
    let long = "xyz ".repeat(CONTEXT);
    fs::write(&prompts, format!("the cat\nsat\n\nran\n{long}\n")).unwrap();
    let generate = |more: &[&str]| {
        let args = ["generate", "--model", model.to_str().unwrap(), "--prompts"];
        let brief = [prompts.to_str().unwrap(), "--max-new-tokens", "3"];
        rlhf(&[&args[..], &brief, more].concat())
    };
    generate(&[]).refused(&["p.txt:5", "tokens"]);
    let found = generate(&["--on-bad-row", "skip"]).succeeded();
    assert!(
        found.stderr.contains("1 rows can't be used"),
        "{}",
        found.stderr
    );
    let asked: Vec<Value> = found
        .json_lines()
        .iter()
        .map(|r| r["prompt"].clone())
        .collect();
    assert_eq!(asked, ["the cat", "sat", "ran"]);
    fs::write(&prompts, &long).unwrap();
    generate(&["--on-bad-row", "skip"]).refused(&["p.txt", "skipped"]);
}
