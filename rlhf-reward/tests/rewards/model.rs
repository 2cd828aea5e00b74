//! The reward model as a source of rewards.

use crate::tiny::{backbone, device, tokenizer, user};
use rlhf_data::ChatTokenizer;
use rlhf_model::{ScoreModel, TokenBatch};
use rlhf_reward::{Answer, RewardError, RewardModel, RewardSource, contract, encode_answers};
use rlhf_train::parameters::host_values;
use serde_json::Map;

fn source<'a>(model: &'a ScoreModel, tokenizer: &'a ChatTokenizer) -> RewardModel<'a> {
    RewardModel {
        model,
        tokenizer,
        device: device(),
        batch_size: 2,
        max_length: 40,
    }
}

fn model(tokenizer: &ChatTokenizer) -> ScoreModel {
    ScoreModel::from_backbone(backbone(tokenizer.tokenizer().vocab_size()), 3)
}

#[test]
fn scores_depend_on_the_answer_alone() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer);
    let (row, prompts) = (
        Map::new(),
        [user("a"), user("a good long question, a bad one")],
    );
    let texts = [
        "",
        "good",
        "bad bad bad",
        "a good answer",
        "q",
        "an answer? a <|end|> of it",
    ];
    let tokens = tokenizer.tokenizer().encode("good").unwrap();
    let mut answers = Vec::new();
    for prompt in &prompts {
        for response in texts {
            answers.push(Answer {
                prompt,
                response,
                tokens: None,
                row: &row,
            });
        }
        answers.push(Answer {
            prompt,
            response: "good",
            tokens: Some(&tokens),
            row: &row,
        });
    }
    contract::reward_source(&source(&model, &tokenizer), &answers, 1e-5);
}

/// Ids that encoding the text would never give: they are scored as they are.
#[test]
fn tokens_are_used_as_they_were_generated() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer);
    let (row, prompt) = (Map::new(), user("a"));
    let letters = ["g", "o", "o", "d"].map(|c| tokenizer.tokenizer().encode(c).unwrap()[0]);
    assert_eq!(
        tokenizer.tokenizer().decode(&letters, true).unwrap(),
        "good"
    );
    assert_ne!(tokenizer.tokenizer().encode("good").unwrap(), letters);
    let as_text = Answer {
        prompt: &prompt,
        response: "good",
        tokens: None,
        row: &row,
    };
    let as_tokens = Answer {
        tokens: Some(&letters),
        ..as_text
    };
    let ids = encode_answers(&tokenizer, &[as_text, as_tokens], 40).unwrap();
    assert_eq!(
        ids[0],
        tokenizer.encode_answer(&prompt, "good").unwrap().ids
    );
    assert_eq!(ids[0].last(), tokenizer.eos_id().as_ref());
    let opening = tokenizer.encode_prompt(&prompt).unwrap().ids;
    assert_eq!(ids[1], [opening.as_slice(), &letters].concat());
    let scores = source(&model, &tokenizer)
        .score(&[as_text, as_tokens])
        .unwrap();
    for (ids, score) in ids.iter().zip(scores) {
        let batch = TokenBatch::right_padded(&[ids], &device());
        let alone = host_values(model.last_token_scores(&batch))[0];
        assert!((alone - score).abs() < 1e-5, "{alone} and {score}");
    }
}

#[test]
fn a_long_prompt_loses_its_start_and_a_long_answer_is_an_error() {
    let tokenizer = tokenizer();
    let (row, prompt) = (Map::new(), user(&"x".repeat(60)));
    let tokens = [40u32; 12];
    let text = Answer {
        prompt: &prompt,
        response: "good",
        tokens: None,
        row: &row,
    };
    let answers = [
        text,
        Answer {
            tokens: Some(&tokens),
            ..text
        },
    ];
    let ids = encode_answers(&tokenizer, &answers, 20).unwrap();
    assert!(ids.iter().all(|ids| ids.len() == 20));
    let opening = tokenizer.encode_prompt(&prompt).unwrap().ids;
    assert_eq!(ids[1], [&opening[opening.len() - 8..], &tokens].concat());
    assert_eq!(
        encode_answers(&tokenizer, &answers[1..], 12).unwrap()[0],
        tokens
    );
    let error = encode_answers(&tokenizer, &answers[1..], 11).unwrap_err();
    assert!(error.to_string().contains("12 tokens in 11"), "{error}");
    let long = Answer {
        response: "a much too long answer",
        ..text
    };
    assert!(matches!(
        encode_answers(&tokenizer, &[long], 5),
        Err(RewardError::Data(_))
    ));
}

#[test]
fn ids_of_another_vocabulary_are_an_error() {
    let tokenizer = tokenizer();
    let model = ScoreModel::from_backbone(backbone(50), 3);
    let (row, prompt) = (Map::new(), user("a"));
    let answer = Answer {
        prompt: &prompt,
        response: "good",
        tokens: None,
        row: &row,
    };
    let error = source(&model, &tokenizer).score(&[answer]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("outside the model's vocabulary of 50"),
        "{error}"
    );
}
