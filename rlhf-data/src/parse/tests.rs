use super::*;
use serde_json::json;

fn parsed(value: Value) -> Result<Row, FieldError> {
    let object = value.as_object().unwrap();
    row(crate::format::of_row(object).unwrap(), object)
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
