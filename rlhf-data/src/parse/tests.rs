use super::*;
use crate::row::Preference;
use serde_json::json;

fn parsed(value: Value) -> Result<Row, FieldError> {
    let object = value.as_object().unwrap();
    row(crate::recognise::of_row(object).unwrap(), object)
}

fn preferred(value: Value) -> Preference {
    match parsed(value).unwrap() {
        Row::Preference(row) => row,
        other => panic!("{other:?}"),
    }
}

/// The field that is named as bad.
fn bad(value: Value) -> String {
    let error = parsed(value).unwrap_err();
    assert!(!error.reason.is_empty());
    error.field
}

#[test]
fn answers_of_a_pair_have_three_forms() {
    let text = json!({"prompt": "p", "chosen": "a", "rejected": "b", "chosen_rating": 4,
                      "rejected_rating": null, "metadata": {"group": "g", "x": [1]}});
    let row = preferred(text);
    assert_eq!(row.prompt, [Message::user("p")]);
    assert_eq!((row.chosen.as_str(), row.rejected.as_str()), ("a", "b"));
    assert_eq!((row.chosen_rating, row.rejected_rating), (Some(4.0), None));
    assert_eq!(row.group().as_deref(), Some("g"));
    assert_eq!(row.metadata["x"], json!([1]));

    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let lists = json!({"prompt": "p",
        "chosen": [turn("user", "p"), turn("assistant", "a")],
        "rejected": [turn("user", "p"), turn("assistant", "b")]});
    assert_eq!(preferred(lists.clone()).chosen, "a");
    let mut implicit = lists;
    implicit.as_object_mut().unwrap().remove("prompt");
    assert_eq!(preferred(implicit).prompt, [Message::user("p")]);
    let alone = json!({"prompt": [turn("user", "p")], "chosen": [turn("assistant", "a")],
                       "rejected": [turn("assistant", "b")]});
    assert_eq!(preferred(alone).rejected, "b");

    let from = |name: &str, value: &str| json!({"from": name, "value": value});
    let sharegpt = json!({"conversations": [from("system", "s"), from("human", "p")],
                          "chosen": from("gpt", "a"), "rejected": from("gpt", "b")});
    assert_eq!(
        preferred(sharegpt).prompt,
        [Message::system("s"), Message::user("p")]
    );
    let rated = json!({"instruction": "p", "chosen_response": "a", "rejected_response": "b"});
    assert_eq!(preferred(rated).prompt, [Message::user("p")]);
}

#[test]
fn pairs_that_say_nothing_are_bad() {
    let pair = |chosen: Value, rejected: Value| {
        bad(json!({"prompt": "p", "chosen": chosen, "rejected": rejected}))
    };
    assert_eq!(pair(json!(" "), json!("b")), "chosen");
    assert_eq!(pair(json!("a"), json!("")), "rejected");
    assert_eq!(pair(json!("a"), json!(" a\n")), "rejected");
    assert_eq!(pair(json!(true), json!("b")), "chosen");
    assert_eq!(pair(json!("a"), Value::Null), "rejected");
    assert_eq!(bad(json!({"prompt": "p", "chosen": "a"})), "rejected");
    assert_eq!(
        bad(json!({"prompt": " ", "chosen": "a", "rejected": "b"})),
        "prompt"
    );
    assert_eq!(
        bad(json!({"prompt": 1, "chosen": "a", "rejected": "b"})),
        "prompt"
    );
    let user = json!([{"role": "user", "content": "a"}]);
    assert_eq!(pair(user, json!("b")), "chosen[0]");
    let other = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]);
    assert_eq!(pair(other, json!("b")), "chosen");
    let rated = json!({"prompt": "p", "chosen": "a", "rejected": "b", "chosen_rating": "high"});
    assert_eq!(bad(rated), "chosen_rating");
    let answered = json!({"prompt": [{"role": "assistant", "content": "x"}], "chosen": "a",
                          "rejected": "b"});
    assert_eq!(bad(answered), "prompt[0]");
    let alone = json!({"chosen": [{"role": "assistant", "content": "a"}],
                       "rejected": [{"role": "assistant", "content": "b"}]});
    assert_eq!(bad(alone), "prompt");
}

#[test]
fn instructions_need_both_halves() {
    let row = json!({"instruction": "i", "input": "<noinput>", "output": "o"});
    let expected = InstructionRow {
        instruction: "i".into(),
        input: None,
        response: "o".into(),
    };
    assert_eq!(parsed(row).unwrap(), Row::Instruction(expected));
    assert_eq!(bad(json!({"instruction": "i", "output": " "})), "output");
    assert_eq!(
        bad(json!({"instruction": "i", "response": true})),
        "response"
    );
    assert_eq!(
        bad(json!({"instruction": "", "output": "o"})),
        "instruction"
    );
    assert_eq!(
        bad(json!({"instruction": "i", "input": [], "output": "o"})),
        "input"
    );
}

#[test]
fn conversations_need_an_answer_to_something() {
    let turns = |list: &[(&str, &str)]| {
        let list: Vec<_> = list
            .iter()
            .map(|(role, c)| json!({"from": role, "value": c}))
            .collect();
        json!({ "conversations": list })
    };
    assert!(
        parsed(turns(&[
            ("system", "s"),
            ("human", "h"),
            ("gpt", "g"),
            ("human", "h")
        ]))
        .is_ok()
    );
    assert_eq!(bad(turns(&[("human", "h")])), "conversations");
    assert_eq!(bad(turns(&[])), "conversations");
    assert_eq!(
        bad(turns(&[("system", "s"), ("gpt", "g")])),
        "conversations[1]"
    );
    assert_eq!(
        bad(turns(&[("human", "h"), ("gpt", "")])),
        "conversations[1]"
    );
    assert_eq!(bad(turns(&[("robot", "h")])), "conversations[0].from");
    assert_eq!(bad(json!({"conversations": "text"})), "conversations");
}

#[test]
fn generated_rows_keep_the_prompt_of_any_format() {
    let expected = [Message::user("p")];
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let rows = [
        json!({"prompt": "p", "response": "r", "tokens": [1, 2]}),
        json!({"messages": [turn("user", "p")], "response": "r"}),
        json!({"messages": [turn("user", "p"), turn("assistant", "x")], "response": "r"}),
        json!({"instruction": "p", "output": "x", "response": "r", "finish": "eos"}),
        json!({"conversations": [{"from": "human", "value": "p"}], "response": "r"}),
        json!({"prompt": "p", "chosen": "a", "rejected": "b", "response": "r", "finish": "eos"}),
        json!({"chosen": "\n\nHuman: p\n\nAssistant: a", "rejected": "\n\nHuman: p\n\nAssistant: b",
               "response": "r", "tokens": null, "finish": "eos"}),
    ];
    for row in rows {
        let Row::Response(read) = parsed(row.clone()).unwrap() else {
            panic!("{row}")
        };
        assert_eq!(read.messages, expected, "{row}");
        assert_eq!(
            (read.response.as_str(), &Value::Object(read.row)),
            ("r", &row)
        );
    }
    let empty = json!({"prompt": "p", "response": "", "tokens": [7]});
    let Row::Response(read) = parsed(empty).unwrap() else {
        panic!()
    };
    assert_eq!(read.tokens, Some(vec![7]), "a model may end at once");
    assert_eq!(bad(json!({"prompt": "p", "response": true})), "response");
    assert_eq!(
        bad(json!({"prompt": "p", "response": "r", "tokens": [1.5]})),
        "tokens[0]"
    );
}

#[test]
fn prompts_wait_for_an_answer() {
    let user = json!({"role": "user", "content": "p"});
    let row = json!({"messages": [user], "id": 3});
    let Row::Prompt(prompt) = parsed(row.clone()).unwrap() else {
        panic!()
    };
    assert_eq!(prompt.messages, [Message::user("p")]);
    assert_eq!(Value::Object(prompt.row), row);
    assert_eq!(bad(json!({"prompt": ""})), "prompt");
    let answered = json!({"prompt": [{"role": "user", "content": "p"},
                                     {"role": "assistant", "content": "a"}]});
    assert_eq!(bad(answered), "prompt[1]");
}

#[test]
fn labelled_answers_keep_their_label_apart() {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let feedback = |value: Value| match parsed(value).unwrap() {
        Row::Feedback(row) => row,
        other => panic!("{other:?}"),
    };
    let talk = json!([
        turn("system", "s"),
        turn("user", "p"),
        turn("assistant", "a")
    ]);
    let row = feedback(json!({"messages": talk, "label": false}));
    assert_eq!(row.prompt, [Message::system("s"), Message::user("p")]);
    assert_eq!((row.completion.as_str(), row.label), ("a", false));
    let row = feedback(json!({"prompt": "p", "completion": "c", "label": "True"}));
    assert_eq!((row.completion.as_str(), row.label), ("c", true));
    let lists = json!({"prompt": [turn("user", "p")], "completion": [turn("assistant", "c")],
                       "label": 0});
    assert_eq!(feedback(lists).prompt, [Message::user("p")]);
    assert_eq!(
        bad(json!({"prompt": "p", "completion": "c", "label": "good"})),
        "label"
    );
    assert_eq!(
        bad(json!({"prompt": "p", "completion": " ", "label": true})),
        "completion"
    );
    assert_eq!(bad(json!({"prompt": "p", "label": true})), "completion");
    let unanswered = json!([turn("user", "p"), turn("assistant", "a"), turn("user", "q")]);
    assert_eq!(
        bad(json!({"messages": unanswered, "label": true})),
        "messages"
    );
}

#[test]
fn votes_and_ratings_make_pairs() {
    let compared = |votes: [u8; 3]| {
        json!({"instruction": "i", "input": "x", "response1": "a", "response2": "b",
               "annotator1": votes[0], "annotator2": votes[1], "annotator3": votes[2]})
    };
    let row = preferred(compared([2, 1, 2]));
    assert_eq!((row.chosen.as_str(), row.rejected.as_str()), ("b", "a"));
    assert_eq!(row.prompt, [Message::user("i\n\nx")]);
    assert_eq!(preferred(compared([1, 1, 0])).chosen, "a");
    for tie in [[0, 0, 1], [0, 1, 2], [0, 0, 0]] {
        assert_eq!(bad(compared(tie)), "annotator1");
    }
    assert_eq!(bad(compared([1, 3, 1])), "annotator2");
    let with = |field: &str, value: Value| {
        let mut row = compared([1, 1, 1]);
        row[field] = value;
        row
    };
    assert_eq!(bad(with("response1", json!(true))), "response1");
    assert_eq!(bad(with("response2", json!(""))), "response2");
    assert_eq!(bad(with("response2", json!("a "))), "response2");

    let rated = |scores: [f64; 3]| {
        let one = |(i, s): (usize, &f64)| json!({"response": format!("r{i}"), "overall_score": s});
        let completions: Vec<_> = scores.iter().enumerate().map(one).collect();
        json!({"instruction": "i", "completions": completions})
    };
    let row = preferred(rated([3.0, 1.0, 4.5]));
    assert_eq!((row.chosen.as_str(), row.rejected.as_str()), ("r2", "r1"));
    assert_eq!(
        (row.chosen_rating, row.rejected_rating),
        (Some(4.5), Some(1.0))
    );
    assert_eq!(bad(rated([2.0, 2.0, 2.0])), "completions");
    assert_eq!(
        bad(json!({"instruction": "i", "completions": [{"response": "r"}]})),
        "completions[0]"
    );
    assert_eq!(
        bad(json!({"instruction": "i", "completions": [1]})),
        "completions[0]"
    );
    let scored = json!({"prompt": "p", "chosen": "a", "rejected": "b", "score_chosen": 8,
                        "score_rejected": 2.5});
    assert_eq!(preferred(scored).rejected_rating, Some(2.5));
}

#[test]
fn rows_to_measure_by_are_read() {
    let table = json!({"Question": "q?", "Best Answer": "b", "Correct Answers": "b; c;",
                       "Incorrect Answers": "x; y"});
    let Row::Truth(row) = parsed(table).unwrap() else {
        panic!("no question")
    };
    assert_eq!(
        (row.correct, row.incorrect),
        (vec!["b".into(), "c".into()], vec!["x".into(), "y".into()])
    );
    let none = json!({"question": "q", "correct_answers": [], "incorrect_answers": ["x"]});
    assert_eq!(bad(none), "correct_answers");
    let targets =
        |labels: Value| json!({"input": "i", "targets": {"choices": ["a", "b"], "labels": labels}});
    let Row::Choice(row) = parsed(targets(json!([0, 1]))).unwrap() else {
        panic!("no choices")
    };
    assert_eq!(row.scores, [0.0, 1.0]);
    for labels in [json!([1]), json!([1, 1]), json!([0, "1"]), json!(1)] {
        assert!(bad(targets(labels)).starts_with("targets.labels"));
    }
    let scored = json!({"input": "i", "target_scores": {"yes": 1, "no": 0}});
    assert!(matches!(parsed(scored), Ok(Row::Choice(row)) if row.choices == ["yes", "no"]));
    let turns = json!({"question_id": 81, "turns": ["a", "b"], "reference": ["", "r"]});
    assert!(matches!(parsed(turns), Ok(Row::Turns(row)) if row.reference[1] == "r"));
    assert_eq!(bad(json!({"category": "c", "turns": ["a", 1]})), "turns[1]");
    let checked = json!({"prompt": "p", "instruction_id_list": ["a:b"], "kwargs": [{}]});
    assert!(matches!(parsed(checked), Ok(Row::Prompt(_))));
    assert_eq!(
        bad(json!({"prompt": "p", "instruction_id_list": ["a"], "kwargs": []})),
        "kwargs"
    );
}

#[test]
fn what_stands_beside_a_conversation_is_not_dropped_unseen() {
    let from = |name: &str, value: &str| json!({"from": name, "value": value});
    let talk = |beside: &str, value: Value| {
        let mut row = json!({"conversations": [from("human", "h"), from("gpt", "g")]});
        row[beside] = value;
        row
    };
    let turns = |value: Value| match parsed(value).unwrap() {
        Row::Conversation(row) => row.messages,
        other => panic!("{other:?}"),
    };
    let (user, answer) = (Message::user("h"), Message::assistant("g"));
    let with_system = [Message::system("s"), user.clone(), answer.clone()];
    assert_eq!(turns(talk("system", json!("s"))), with_system);
    for none in [json!("[]"), json!([]), json!(""), Value::Null] {
        assert_eq!(turns(talk("tools", none)), [user.clone(), answer.clone()]);
    }
    assert_eq!(bad(talk("tools", json!("[{\"name\": \"f\"}]"))), "tools");

    let alpaca = json!({"instruction": "i", "output": "o", "system": "s", "history": [["q", "a"]]});
    let all = ["s", "q", "a", "i", "o"];
    assert!(turns(alpaca).iter().map(|m| m.content.as_str()).eq(all));
    assert_eq!(
        bad(json!({"instruction": "i", "output": "o", "history": [["q"]]})),
        "history[0]"
    );
    let completed = json!({"prompt": "h", "completion": "g"});
    assert_eq!(turns(completed), [user, answer]);
    assert_eq!(bad(json!({"prompt": "h", "completion": ""})), "completion");
}
