use super::*;
use serde_json::json;

fn format(row: Value) -> Option<Format> {
    of_row(row.as_object().unwrap())
}

#[test]
fn fields_tell_the_format() {
    use Format::*;
    assert_eq!(format(json!({"text": "a"})), Some(Text));
    let alpaca = json!({"instruction": "a", "input": "", "output": "b", "text": "c"});
    assert_eq!(format(alpaca), Some(Instruction));
    assert_eq!(
        format(json!({"instruction": "a", "response": "b"})),
        Some(Instruction)
    );
    let generated = json!({"instruction": "a", "response": "b", "tokens": [1]});
    assert_eq!(format(generated), Some(Response));
    assert_eq!(
        format(json!({"prompt": "a", "response": "b"})),
        Some(Response)
    );
    assert_eq!(
        format(json!({"chosen": "a", "rejected": "b"})),
        Some(HhTranscripts)
    );
    assert_eq!(
        format(json!({"prompt": "p", "chosen": "a"})),
        Some(Preference)
    );
    assert_eq!(
        format(json!({"chosen": [], "rejected": []})),
        Some(Preference)
    );
    let pair = json!({"instruction": "p", "chosen_response": 1, "rejected_response": 2});
    assert_eq!(format(pair), Some(Preference));
    assert_eq!(format(json!({"conversations": []})), Some(ShareGpt));
    assert_eq!(format(json!({"prompt": "p", "text": "t"})), Some(Prompt));
    let turn = |role: &str| json!({"messages": [{"role": role, "content": "c"}]});
    assert_eq!(format(turn("user")), Some(Prompt));
    assert_eq!(format(turn("assistant")), Some(Conversation));
    assert_eq!(format(json!({"turns": ["a"]})), None);
}

#[test]
fn the_majority_decides_and_an_odd_row_does_not() {
    let rows = [
        json!({"text": "a"}),
        json!({"prompt": "a"}),
        json!({}),
        json!({"prompt": 1}),
    ];
    let rows: Vec<_> = rows.iter().filter_map(Value::as_object).collect();
    assert_eq!(of_rows(rows.iter().copied()), Some(Format::Prompt));
    assert_eq!(of_rows(rows[..2].iter().copied()), Some(Format::Text));
    assert_eq!(of_rows(std::iter::empty()), None);
}

#[test]
fn formats_of_measurement_and_single_labels_have_names_of_their_own() {
    use Format::*;
    let turn = |role: &str| json!({"role": role, "content": "c"});
    let talk = json!([turn("user"), turn("assistant")]);
    let cases = [
        (json!({"messages": talk, "label": true}), Kto),
        (json!({"conversations": [], "label": 0}), Kto),
        (json!({"prompt": "p", "completion": "c", "label": "x"}), Kto),
        (json!({"prompt": "p", "completion": "c"}), PromptCompletion),
        (
            json!({"instruction": "i", "input": "", "response1": "a", "response2": true}),
            PandaLm,
        ),
        (
            json!({"prompt": "p", "instruction_id_list": [], "kwargs": []}),
            IfEval,
        ),
        (
            json!({"input": "i", "targets": {"choices": ["a"], "labels": [1]}}),
            HhhAlignment,
        ),
        (
            json!({"input": "i", "target_scores": {"a": 1}}),
            HhhAlignment,
        ),
        (json!({"question_id": 1, "turns": ["a", "b"]}), MtBench),
        (
            json!({"Question": "q", "Best Answer": "b", "Correct Answers": "", "Incorrect Answers": ""}),
            TruthfulQa,
        ),
        (
            json!({"question": "q", "correct_answers": [], "incorrect_answers": []}),
            TruthfulQa,
        ),
        (
            json!({"instruction": "i", "completions": []}),
            UltraFeedback,
        ),
        (
            json!({"prompt": "p", "chosen": "a", "rejected": "b", "chosen_rating": 3, "rejected_rating": 1.5}),
            UltraFeedback,
        ),
        (
            json!({"chosen": [], "rejected": [], "score_chosen": 3, "score_rejected": 1}),
            UltraFeedback,
        ),
        (
            json!({"prompt": "p", "chosen": "a", "rejected": "b", "chosen_rating": null}),
            Preference,
        ),
    ];
    for (row, wanted) in cases {
        assert_eq!(format(row.clone()), Some(wanted), "{row}");
    }
}

#[test]
fn every_format_has_a_name_of_its_own() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.as_str()), Some(format));
    }
    assert_eq!(Format::from_name("formless"), None);
}
