use super::*;
use crate::row::Message;

const TEMPLATE_TEXT: &str = "{% for m in messages %}{{ m.content + '<|e|>' }}{% endfor %}";

fn trained() -> ChatTokenizer {
    let texts = ["hello hello there there"];
    let special = ["<|b|>", "<|e|>", "<|p|>"];
    let tokenizer = Tokenizer::train_bpe(texts.into_iter(), 300, &special).unwrap();
    let name = |s: &str| Some(s.to_owned());
    let names = SpecialTokens {
        bos: name("<|b|>"),
        eos: name("<|e|>"),
        pad: name("<|p|>"),
    };
    ChatTokenizer::new(tokenizer, TEMPLATE_TEXT, names).unwrap()
}

#[test]
fn a_trained_tokenizer_is_written_for_transformers_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("new/folder");
    let chat = trained();
    chat.save(&folder).unwrap();
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.join(CONFIG)).unwrap()).unwrap();
    assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(config["bos_token"], "<|b|>");
    assert_eq!(config["pad_token"], "<|p|>");
    assert_eq!(config["clean_up_tokenization_spaces"], false);
    assert_eq!(config["chat_template"], TEMPLATE_TEXT);
    let json: Value =
        serde_json::from_slice(&std::fs::read(folder.join(TOKENIZER)).unwrap()).unwrap();
    assert_eq!(json["added_tokens"][1]["content"], "<|e|>");
    assert_eq!(json["added_tokens"][1]["special"], true);
    let again = ChatTokenizer::load(&folder).unwrap();
    let messages = [Message::user("hello"), Message::assistant("there")];
    assert_eq!(
        again.encode_conversation(&messages).unwrap(),
        chat.encode_conversation(&messages).unwrap()
    );
    assert_eq!(again.tokenizer().to_json(), chat.tokenizer().to_json());
    assert_eq!(again.special_tokens(), chat.special_tokens());
}

#[test]
fn a_template_file_wins_and_a_stale_one_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(TEMPLATE);
    let chat = trained();
    chat.save(dir.path()).unwrap();
    std::fs::write(&path, "{{ messages[0].content }}!<|e|>").unwrap();
    let with_file = ChatTokenizer::load(dir.path()).unwrap();
    assert_eq!(
        with_file.template().unwrap().source(),
        "{{ messages[0].content }}!<|e|>"
    );
    with_file.save(dir.path()).unwrap();
    assert!(path.exists());
    chat.save(dir.path()).unwrap();
    assert!(
        !path.exists(),
        "it would override the template in the configuration"
    );
    assert_eq!(
        ChatTokenizer::load(dir.path())
            .unwrap()
            .template()
            .unwrap()
            .source(),
        TEMPLATE_TEXT
    );
}

#[test]
fn configurations_have_several_shapes() {
    let dir = tempfile::tempdir().unwrap();
    trained().save(dir.path()).unwrap();
    let load = |config: &str| {
        std::fs::write(dir.path().join(CONFIG), config).unwrap();
        ChatTokenizer::load(dir.path())
    };
    let chat = load(
        r#"{"eos_token": {"content": "<|e|>"}, "model_max_length": 77, "chat_template":
           [{"name": "tool", "template": "t"}, {"name": "default", "template": "d<|e|>"}]}"#,
    )
    .unwrap();
    assert_eq!(
        (chat.bos_id(), chat.eos_id(), chat.pad_id()),
        (None, Some(1), None)
    );
    assert_eq!(chat.template().unwrap().source(), "d<|e|>");
    assert_eq!(chat.written_config()["model_max_length"], 77);
    assert!(load("{}").unwrap().template().is_none());
    let named = |config: &str| {
        let text = load(config).unwrap_err().to_string();
        assert!(text.contains(CONFIG), "{text}");
        text
    };
    assert!(named("[").contains("not a JSON object"));
    assert!(named(r#"{"bos_token": 3}"#).contains("`bos_token`"));
    assert!(named(r#"{"bos_token": "<|x|>"}"#).contains("<|x|>"));
    assert!(named(r#"{"chat_template": "{% if"}"#).contains("chat template"));
    assert!(named(r#"{"chat_template": 1}"#).contains("`chat_template`"));
    std::fs::remove_file(dir.path().join(CONFIG)).unwrap();
    assert!(ChatTokenizer::load(dir.path()).unwrap().eos_id().is_none());
}

#[test]
fn a_folder_without_or_with_a_broken_tokenizer_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = ChatTokenizer::load(dir.path()).unwrap_err().to_string();
    assert!(
        text.contains(TOKENIZER) && text.contains("can't be read"),
        "{text}"
    );
    std::fs::write(dir.path().join(TOKENIZER), "{\"version\"").unwrap();
    let text = ChatTokenizer::load(dir.path()).unwrap_err().to_string();
    assert!(text.contains(TOKENIZER), "{text}");
}

#[test]
fn what_a_template_refuses_names_the_file_that_it_stands_in() {
    let dir = tempfile::tempdir().unwrap();
    trained().save(dir.path()).unwrap();
    let with = |template: &str| {
        std::fs::write(dir.path().join(TEMPLATE), template).unwrap();
        let chat = ChatTokenizer::load(dir.path()).unwrap();
        let turns = [Message::user("a"), Message::assistant("b")];
        chat.encode_conversation(&turns).unwrap_err().to_string()
    };
    let file = dir.path().join(TEMPLATE).display().to_string();
    let text = with("{{ raise_exception('no') }}");
    assert_eq!(
        text,
        format!("chat template: {file}: no (line 1 of the template)")
    );
    let text = with("{{ messages[0].content }}");
    let why = "writes no special token after an answer";
    assert!(
        text.contains(&format!("the chat template of {file} {why}")),
        "{text}"
    );

    std::fs::remove_file(dir.path().join(TEMPLATE)).unwrap();
    std::fs::write(dir.path().join(CONFIG), "{}").unwrap();
    let chat = ChatTokenizer::load(dir.path()).unwrap();
    let text = chat
        .encode_prompt(&[Message::user("a")])
        .unwrap_err()
        .to_string();
    let whose = format!("the tokenizer of {} has none", dir.path().display());
    assert!(text.contains(&whose), "{text}");
}
