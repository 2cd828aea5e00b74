use super::*;

fn trained() -> Tokenizer {
    let texts = [
        "欢迎来到香港",
        "welcome to Hong Kong, welcome",
        "wel wel wel come come",
    ];
    Tokenizer::train_bpe(texts.into_iter(), 320, &["<|end|>", "<|user|>"]).unwrap()
}

#[test]
fn chinese_text_goes_there_and_back() {
    let tokenizer = trained();
    for text in [
        "欢迎来到香港",
        "香港 welcome\r\n\t🙂\u{0}",
        "e\u{301}é",
        "",
        " ",
        "\n\n \n",
    ] {
        let ids = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| tokenizer.token_bytes(*id).unwrap())
            .collect();
        assert_eq!(bytes, text.as_bytes());
    }
}

#[test]
fn spelled_out_special_tokens_stay_text() {
    let tokenizer = trained();
    let text = "a<|end|>b<|user|><|end|>";
    let ids = tokenizer.encode(text).unwrap();
    assert!(ids.iter().all(|id| *id > 1), "{ids:?}");
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), text);
    let recognised = tokenizer.encode_like_transformers(text).unwrap();
    assert_eq!(recognised.iter().filter(|id| **id < 2).count(), 3);
    assert_eq!(tokenizer.decode(&recognised, true).unwrap(), "ab");
    assert_eq!(tokenizer.decode(&recognised, false).unwrap(), text);
    assert_eq!(tokenizer.token_bytes(0).unwrap(), b"<|end|>");
    assert_eq!(tokenizer.special_tokens().len(), 2);
}

#[test]
fn decoded_text_may_have_other_ids() {
    let tokenizer = trained();
    let letter = |c: char| tokenizer.token_id(&c.to_string()).unwrap();
    let generated: Vec<u32> = "welcome".chars().map(letter).collect();
    let text = tokenizer.decode(&generated, false).unwrap();
    let again = tokenizer.encode(&text).unwrap();
    assert_eq!(text, "welcome");
    assert_ne!(
        again, generated,
        "that is why ids are kept and never made anew from text"
    );
}

#[test]
fn half_a_character_and_unknown_ids_do_not_stop_decoding() {
    let tokenizer = trained();
    let first_byte = tokenizer.encode("香").unwrap()[0];
    let text = tokenizer.decode(&[first_byte, 1_000_000], false).unwrap();
    assert!(
        text.is_empty() || text.contains('\u{fffd}') || "香".contains(&text),
        "{text:?}"
    );
    assert_eq!(tokenizer.token_bytes(1_000_000), None);
    assert_eq!(tokenizer.token(1_000_000), None);
}

#[test]
fn json_gives_the_same_tokenizer_again() {
    let tokenizer = trained();
    let again = Tokenizer::from_bytes(tokenizer.to_json().as_bytes()).unwrap();
    assert_eq!(again.to_json(), tokenizer.to_json());
    assert_eq!(
        again.encode("welcome").unwrap(),
        tokenizer.encode("welcome").unwrap()
    );
    for broken in ["", "{", "{}", "null", "{\"model\": {\"type\": \"BPE\"}}"] {
        assert!(matches!(
            Tokenizer::from_bytes(broken.as_bytes()),
            Err(DataError::Tokenizer { .. })
        ));
    }
}

#[test]
fn a_model_that_makes_special_tokens_from_text_is_refused() {
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [
            {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true},
            {"id": 1, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false,
             "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"<s>": 0, "<unk>": 1, "a": 2},
                  "unk_token": "<unk>"}
    });
    let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    assert_eq!(
        tokenizer.encode("a b").unwrap(),
        [2, 1],
        "the unknown token is no control token"
    );
    let error = tokenizer.encode("a <s>").unwrap_err().to_string();
    assert!(error.contains("`<s>`"), "{error}");
}

#[test]
fn sentence_piece_tokens_are_bytes_and_spaces() {
    let json = serde_json::json!({
        "version": "1.0", "truncation": {"direction": "Right", "max_length": 1, "stride": 0,
        "strategy": "LongestFirst"}, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "ByteFallback"},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
                  "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "byte_fallback": true, "vocab": {"<0x0A>": 0, "▁a": 1, "b": 2}, "merges": []}
    });
    let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    assert_eq!(tokenizer.token_bytes(0).unwrap(), b"\n");
    assert_eq!(tokenizer.token_bytes(1).unwrap(), b" a");
    assert_eq!(
        tokenizer.encode("bb").unwrap(),
        [2, 2],
        "truncation in the file is left out"
    );
}

/// The library panics at this one.
#[test]
fn a_decoder_that_cannot_be_read_is_an_error() {
    let json = trained().to_json();
    let value: Value = serde_json::from_str(&json).unwrap();
    let decoder = value["decoder"].to_string();
    let compact = value.to_string();
    let broken = compact.replace(&decoder, "1e999");
    assert_ne!(broken, compact);
    let refused = Tokenizer::from_bytes(broken.as_bytes());
    assert!(matches!(refused, Err(DataError::Tokenizer { .. })));
}
