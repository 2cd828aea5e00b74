//! Sampling answers and turning a ranking into preference rows.

use crate::tiny::{backbone, tokenizer, user};
use rlhf_data::{Message, Preference, Prompt, group_comparisons};
use rlhf_model::{LocalGenerator, ScriptedGenerator};
use rlhf_reward::collect::{CollectConfig, preference_rows, sample_candidates};
use serde_json::{Map, Value, json};

fn prompt(messages: Vec<Message>) -> Prompt {
    Prompt {
        messages,
        row: Map::new(),
    }
}

fn rows(texts: [&str; 4], ranks: [usize; 4]) -> Vec<(String, String)> {
    let texts = texts.map(str::to_owned);
    let rows = preference_rows(&prompt(user("q")), &texts, &ranks, "g");
    let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    assert!(
        rows.iter()
            .all(|r| r["prompt"] == "q" && r["metadata"]["group"] == "g")
    );
    rows.iter()
        .map(|r| (text(r, "chosen"), text(r, "rejected")))
        .collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn a_ranking_gives_a_row_for_each_pair_that_differs() {
    let all = rows(["a", "b", "c", "d"], [0, 1, 2, 3]);
    let want = [
        ("a", "b"),
        ("a", "c"),
        ("a", "d"),
        ("b", "c"),
        ("b", "d"),
        ("c", "d"),
    ];
    assert_eq!(all, pairs(&want));
    let tied = rows(["a", "b", "c", "d"], [1, 0, 1, 1]);
    assert_eq!(tied, pairs(&[("b", "a"), ("b", "c"), ("b", "d")]));
    assert_eq!(rows(["a", "b", "c", "d"], [2; 4]), []);
    let equal = rows(["a", "a", "b", "b"], [0, 1, 2, 2]);
    assert!(equal.iter().all(|(a, b)| a == "a" && b == "b"), "{equal:?}");
    let empty = rows(["", "b", "", "d"], [0, 1, 2, 3]);
    assert_eq!(empty, pairs(&[("b", "d")]));
}

#[test]
fn rows_come_back_as_one_comparison() {
    let texts = ["a", "b", "c"].map(str::to_owned);
    let messages = vec![Message::system("s"), Message::user("q")];
    let rows = preference_rows(&prompt(messages.clone()), &texts, &[2, 0, 1], "g");
    assert_eq!(rows[0]["prompt"], json!(messages));
    let read = rows.iter().map(|row| Preference {
        prompt: messages.clone(),
        chosen: row["chosen"].as_str().unwrap().into(),
        rejected: row["rejected"].as_str().unwrap().into(),
        chosen_rating: None,
        rejected_rating: None,
        metadata: row["metadata"].as_object().unwrap().clone(),
    });
    let comparisons = group_comparisons(read.collect());
    assert_eq!(comparisons.len(), 1);
    let of = &comparisons[0];
    let named = |&(a, b): &(usize, usize)| format!("{}>{}", of.responses[a], of.responses[b]);
    assert_eq!(
        of.pairs.iter().map(named).collect::<Vec<_>>(),
        ["b>a", "b>c", "c>a"]
    );
}

#[test]
fn candidates_do_not_depend_on_how_many_are_drawn_at_once() {
    let tokenizer = tokenizer();
    let model = backbone(tokenizer.tokenizer().vocab_size());
    let generator = LocalGenerator::new(&model, 8);
    let prompts: Vec<Prompt> = ["a", "good", "a bad one"]
        .map(|text| prompt(user(text)))
        .into_iter()
        .collect();
    let mut done = Vec::new();
    let mut ask = |batch_size| {
        let config = CollectConfig {
            samples: 3,
            max_new_tokens: 6,
            batch_size,
            ..Default::default()
        };
        let found = sample_candidates(
            &config,
            &prompts,
            &tokenizer,
            &generator,
            (5, &mut |n| done.push(n)),
        );
        let found = found.unwrap();
        assert!(found.len() == 3 && found.iter().all(|of| of.len() == 3));
        found
            .into_iter()
            .flatten()
            .map(|c| (c.text, c.finished))
            .collect::<Vec<_>>()
    };
    let whole = ask(100);
    assert_eq!(ask(1), whole);
    assert_eq!(ask(6), whole);
    assert_eq!(done, [3, 1, 2, 3, 2, 3]);
    let distinct: std::collections::BTreeSet<_> = whole.iter().collect();
    assert!(distinct.len() > 3, "the samples hardly differ");
}

#[test]
fn an_answer_is_finished_when_it_ends_with_its_end_token() {
    let tokenizer = tokenizer();
    let end = tokenizer.eos_id().unwrap();
    let mut good = tokenizer.tokenizer().encode(" good ").unwrap();
    good.push(end);
    let cut = tokenizer.tokenizer().encode("bad").unwrap();
    let generator = ScriptedGenerator::new(vec![good, cut]);
    let config = CollectConfig {
        samples: 8,
        ..Default::default()
    };
    let prompts = [prompt(user("q"))];
    let ask = |config: &CollectConfig| {
        sample_candidates(config, &prompts, &tokenizer, &generator, (1, &mut |_| {}))
    };
    let found = ask(&config).unwrap();
    assert!(found[0].iter().all(|c| c.finished == (c.text == "good")));
    assert!(found[0].iter().any(|c| c.text == "bad"));
    let one = CollectConfig {
        samples: 1,
        ..config.clone()
    };
    assert!(
        ask(&one)
            .unwrap_err()
            .to_string()
            .contains("collect.samples")
    );
    let cold = CollectConfig {
        temperature: 0.0,
        ..config
    };
    assert!(
        ask(&cold)
            .unwrap_err()
            .to_string()
            .contains("collect.temperature")
    );
}
