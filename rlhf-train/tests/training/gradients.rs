//! The loss and its gradient do not depend on how an update is split or packed.

use crate::tiny::{VOCAB, demonstration, device, documents, model};
use burn::module::Module;
use rlhf_data::{PackedRow, SpanRole, TokenSequence, pack};
use rlhf_model::{TokenBatch, Transformer, named_gradients, token_logprobs};
use rlhf_random::Rng;
use rlhf_train::parameters::host_values;
use rlhf_train::supervised::{evaluate, row_of, supervised_gradients, trained_tokens};

fn gradients(model: &Transformer, rows: &[&PackedRow], micro: usize) -> (f64, Vec<f32>) {
    let found = supervised_gradients(model, rows, micro, &device()).unwrap();
    let named = named_gradients(model, &found.gradients);
    (
        found.loss,
        named.into_iter().flat_map(|t| t.values).collect(),
    )
}

fn assert_equal((loss, gradient): &(f64, Vec<f32>), (l, g): &(f64, Vec<f32>), what: &str) {
    assert!((loss - l).abs() < 1e-6, "{what}: loss {loss} and {l}");
    assert_eq!(gradient.len(), g.len(), "{what}");
    let apart = gradient
        .iter()
        .zip(g)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(apart <= 1e-6, "{what}: gradients differ by {apart}");
}

fn separate(documents: &[TokenSequence]) -> Vec<PackedRow> {
    documents.iter().map(row_of).collect()
}

#[test]
fn micro_batches_of_unequal_rows_add_up_to_the_whole() {
    let model = model().train();
    let rows = separate(&documents(8));
    let rows: Vec<&PackedRow> = rows.iter().collect();
    let whole = gradients(&model, &rows, 8);
    assert!(
        whole.1.iter().any(|g| g.abs() > 1e-3),
        "the gradient is empty"
    );
    for micro in [4, 1, 3, 100] {
        assert_equal(
            &gradients(&model, &rows, micro),
            &whole,
            &format!("{micro} rows at a time"),
        );
    }
}

#[test]
fn packed_rows_equal_rows_of_their_own() {
    let model = model().train();
    let documents = documents(9);
    let (alone, packed) = (separate(&documents), pack(&documents, 24));
    assert!(packed.len() < alone.len() / 2, "hardly anything was packed");
    let alone: Vec<&PackedRow> = alone.iter().collect();
    let packed: Vec<&PackedRow> = packed.iter().collect();
    let tokens = |rows: &[&PackedRow]| rows.iter().map(|r| trained_tokens(r)).sum::<usize>();
    assert_eq!(tokens(&alone), tokens(&packed));
    assert_equal(
        &gradients(&model, &packed, 2),
        &gradients(&model, &alone, 4),
        "packed",
    );
}

#[test]
fn the_loss_is_the_mean_over_the_answer() {
    let model = model();
    let mut rng = Rng::new(8);
    let (prompt, answer) = (5, 4);
    let sequence = demonstration(&mut rng, prompt, answer);
    let batch = TokenBatch::right_padded(&[&sequence.ids], &device());
    let logprobs = host_values(token_logprobs(&model, &batch, 1.0));
    let of_answer = &logprobs[prompt - 1..];
    assert_eq!(of_answer.len(), answer);
    let want = -of_answer.iter().map(|&l| f64::from(l)).sum::<f64>() / answer as f64;
    let found = evaluate(&model, &[&row_of(&sequence)], 1, &device()).unwrap();
    assert!((found - want).abs() < 1e-6, "{found}, not {want}");
}

#[test]
fn rows_without_a_target_or_of_another_vocabulary_are_errors() {
    let model = model().train();
    let mut single = TokenSequence::new();
    single.push(&[3], SpanRole::Text, true);
    let single = row_of(&single);
    let run = |row: &PackedRow| supervised_gradients(&model, &[row], 1, &device());
    assert_eq!(
        trained_tokens(&single),
        0,
        "nothing predicts the first token"
    );
    assert!(
        run(&single)
            .unwrap_err()
            .to_string()
            .contains("carries loss")
    );
    assert!(evaluate(&model, &[&single], 1, &device()).is_err());
    let mut strange = row_of(&documents(1)[0]);
    strange.ids[1] = VOCAB as u32;
    let text = run(&strange).unwrap_err().to_string();
    assert!(text.contains("outside the model's vocabulary"), "{text}");
    let mixed = [&single, &row_of(&documents(1)[0])];
    let with = supervised_gradients(&model, &mixed, 1, &device()).unwrap();
    let without = supervised_gradients(&model, &mixed[1..], 1, &device()).unwrap();
    assert_eq!((with.loss, with.tokens), (without.loss, without.tokens));
}
