use super::*;

fn render(source: &str, messages: &[Message]) -> Result<String, DataError> {
    let template = ChatTemplate::new(source, Some("<s>"), None)?;
    template.frozen_at(1_721_999_999).render(messages, true)
}

#[test]
fn blocks_leave_no_stray_lines() {
    let source = "{% for m in messages %}\n  {% if true %}\n[{{ m.role }}]{{ m['content'] }}\n  \
                  {% endif %}\n{% endfor %}\n";
    let text = render(source, &[Message::user("a"), Message::assistant("b")]).unwrap();
    assert_eq!(text, "[user]a\n[assistant]b\n");
}

#[test]
fn the_methods_of_python_are_there() {
    let source = "{{ messages[0].content.split('|')[-1].strip() }}{{ 'x'.upper() }}\
                  {{ messages[0].get('role') }}{{ messages[1:] | length }}\
                  {%- for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}";
    assert_eq!(
        render(source, &[Message::user("a| b ")]).unwrap(),
        "bXuser01"
    );
}

#[test]
fn unset_tokens_are_undefined_and_set_ones_are_not() {
    let source = "{{ bos_token }}|{{ eos_token }}|{{ eos_token is defined }}";
    let text = render(source, &[]).unwrap();
    assert_eq!(text.to_lowercase(), "<s>||false");
}

#[test]
fn json_dates_and_generation_blocks() {
    let source = "{{ messages | tojson }} {{ {'a': '<é>'} | tojson(indent=1) }}";
    let text = render(source, &[Message::user("<\"é")]).unwrap();
    assert_eq!(
        text,
        "[{\"role\": \"user\", \"content\": \"<\\\"é\"}] {\n \"a\": \"<é>\"\n}"
    );
    let date = "{{ strftime_now('%d %b %Y') if strftime_now is defined else 'never' }}";
    assert_eq!(render(date, &[]).unwrap(), "26 Jul 2024");
    let source = "a {%- generation -%} b {% endgeneration %}c{% generation %}d{%endgeneration%}";
    assert_eq!(render(source, &[]).unwrap(), "ab cd");
}

#[test]
fn refusals_say_why_and_where() {
    let error = render("x\n{{ raise_exception('no system turns') }}", &[]).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("no system turns") && text.contains("line 2"),
        "{text}"
    );
    let unfinished = ["{% for m in messages %}", "{{ ", "{% if %}", "{%", "{%}"];
    for source in unfinished {
        assert!(
            matches!(render(source, &[]), Err(DataError::Template { .. })),
            "{source}"
        );
    }
    assert!(render("{{ messages[0].role.foo() }}", &[]).is_err());
    assert!(
        render("{{ messages[0]['role'] }}", &[]).is_err(),
        "no such turn"
    );
    assert!(render("{{ strftime_now('%Q') }}", &[]).is_err());
    assert!(render("{{ messages | tojson(sort=true) }}", &[]).is_err());
}

#[test]
fn html_is_not_escaped() {
    assert_eq!(
        render("{{ messages[0].content }}", &[Message::user("<&>\"")]).unwrap(),
        "<&>\""
    );
}

#[test]
fn turns_of_any_shape_are_seen_as_transformers_shows_them() {
    let source = "{% for m in messages %}{{ m.keys() | join(',') }};{% endfor %}\
                  {{ tools is none }}{{ pad_token }}";
    let template = ChatTemplate::with_tokens(source, [("pad_token", "<pad>")]).unwrap();
    let turns = serde_json::json!([
        {"role": "user", "content": null},
        {"role": "assistant", "reasoning": "r", "thinking": null},
    ]);
    let turns: Vec<Map<String, Json>> = serde_json::from_value(turns).unwrap();
    let text = template.render_turns(&turns, false, &Map::new()).unwrap();
    assert_eq!(
        text,
        "role;thinking,role,reasoning,reasoning_content;True<pad>"
    );
}

#[test]
fn json_takes_the_options_of_python() {
    let wrong = [
        "{{ [] | tojson(separators=(',',)) }}",
        "{{ nothing | tojson }}",
        "{{ [] | tojson(indent=-1) }}",
        "{{ [] | tojson(indent=1000000000) }}",
        "{{ 'a'.partition('') }}",
        "{{ 'a'.rsplit('') }}",
    ];
    for source in wrong {
        assert!(render(source, &[]).is_err(), "{source}");
    }
    let source = "{{ {'b': 1, 'a': [2]} | tojson(indent='\\t', sort_keys=true) }}";
    assert_eq!(
        render(source, &[]).unwrap(),
        "{\n\t\"a\": [\n\t\t2\n\t],\n\t\"b\": 1\n}"
    );
}
