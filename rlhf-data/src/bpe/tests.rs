use crate::tokenizer::Tokenizer;
use serde_json::Value;

const TEXTS: [&str; 4] = [
    "the cat sat on the mat, the dog sat on the log\n12 + 30 = 42\n",
    "The capital of France is Paris.\n\nThe capital of Italy is Rome.\n",
    "don't, they've, I'm; don't they've I'm",
    "欢迎来到香港 欢迎来到北京 欢迎来到上海",
];

fn train(vocab_size: usize, special: &[&str]) -> Tokenizer {
    Tokenizer::train_bpe(TEXTS.into_iter(), vocab_size, special).unwrap()
}

/// FNV-1a, so that the test can name the result in one number.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[test]
fn the_same_texts_give_the_same_bytes_in_every_process_and_order() {
    let first = train(290, &["<|end|>"]).to_json();
    assert_eq!(first, train(290, &["<|end|>"]).to_json());
    let backwards = Tokenizer::train_bpe(TEXTS.into_iter().rev(), 290, &["<|end|>"])
        .unwrap()
        .to_json();
    assert_eq!(first, backwards);
    // A number from another process with other hash seeds.
    assert_eq!(digest(&first), DIGEST, "{:#x}", digest(&first));
}

const DIGEST: u64 = 0x425f_954e_916b_0904;

#[test]
fn special_tokens_come_first_whatever_the_size() {
    for size in [258, 290] {
        let tokenizer = train(size, &["<|a|>", "<|b|>"]);
        assert_eq!(tokenizer.token_id("<|a|>"), Some(0));
        assert_eq!(tokenizer.token_id("<|b|>"), Some(1));
        assert_eq!(tokenizer.vocab_size(), size);
    }
    // Nothing more to merge: smaller than asked.
    let tokenizer = Tokenizer::train_bpe(std::iter::once("abab"), 1000, &[]).unwrap();
    assert_eq!(tokenizer.vocab_size(), 257);
}

#[test]
fn the_most_frequent_pair_is_merged_first_and_ties_go_to_the_smaller_ids() {
    let tokenizer = Tokenizer::train_bpe("ab ab ab cd cd bc bc".split(' '), 1000, &[]).unwrap();
    let json: Value = serde_json::from_str(&tokenizer.to_json()).unwrap();
    let merges: Vec<String> = json["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| format!("{}+{}", m[0].as_str().unwrap(), m[1].as_str().unwrap()))
        .collect();
    assert_eq!(merges, ["a+b", "b+c", "c+d"]);
}

#[test]
fn newlines_and_digits_stay_alone() {
    let tokenizer = train(600, &[]);
    for id in 0..tokenizer.vocab_size() as u32 {
        let bytes = tokenizer.token_bytes(id).unwrap();
        let alone = bytes.len() == 1 || !bytes.iter().any(|b| b"\n0123456789".contains(b));
        assert!(alone, "{:?}", String::from_utf8_lossy(&bytes));
    }
    let ids = tokenizer.encode("a\n\n12").unwrap();
    assert_eq!(ids.len(), 5);
}

#[test]
fn no_merge_spells_a_special_token() {
    let texts = ["aab aab aab aab", "aab aab"];
    let tokenizer = Tokenizer::train_bpe(texts.into_iter(), 400, &["aab"]).unwrap();
    let ids = tokenizer.encode("aab aab").unwrap();
    assert!(!ids.contains(&0), "{ids:?}");
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "aab aab");
    assert_eq!(tokenizer.encode_like_transformers("aab").unwrap(), [0]);
}

#[test]
fn impossible_requests_are_refused() {
    let refused = |size, special: &[&str]| {
        Tokenizer::train_bpe(TEXTS.into_iter(), size, special)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(257, &["<a>", "<b>"]).contains("258"));
    assert!(refused(300, &["<a>", "<a>"]).contains("twice"));
    assert!(refused(300, &["a"]).contains("two characters"));
    assert!(Tokenizer::train_bpe(std::iter::empty(), 256, &[]).is_ok());
}

#[test]
fn an_endless_word_is_learnt_from_in_pieces() {
    let long = "ab".repeat(200_000);
    let tokenizer = Tokenizer::train_bpe(std::iter::once(long.as_str()), 300, &[]).unwrap();
    let ids = tokenizer.encode(&long[..1000]).unwrap();
    assert!(ids.len() < 20, "{}", ids.len());
}
