//! Properties that hold for any text and conversation.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rlhf_data::{
    ChatTemplate, ChatTokenizer, Message, PackedRow, Role, Sampler, SpanRole, SpecialTokens,
    TokenSequence, Tokenizer, pack,
};
use std::cell::Cell;
use std::path::Path;
use std::sync::LazyLock;

const SPECIAL: [&str; 4] = ["<|bos|>", "<|im_start|>", "<|im_end|>", "<|pad|>"];

const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' \
                        + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}\
                        {{ '<|im_start|>assistant\n' }}{% endif %}";

static CHAT: LazyLock<ChatTokenizer> = LazyLock::new(|| chat(&["the cat sat on the mat <|im_"]));

fn chat(texts: &[&str]) -> ChatTokenizer {
    let tokenizer = Tokenizer::train_bpe(texts.iter().copied(), 320, &SPECIAL).unwrap();
    let name = |i: usize| Some(SPECIAL[i].to_owned());
    let names = SpecialTokens {
        bos: name(0),
        eos: name(2),
        pad: name(3),
    };
    ChatTokenizer::new(tokenizer, TEMPLATE, names).unwrap()
}

fn sequences() -> impl Strategy<Value = Vec<TokenSequence>> {
    let document = vec((0u32..100, any::<bool>()), 0..30).prop_map(|tokens| {
        let mut sequence = TokenSequence::new();
        for (id, loss) in tokens {
            sequence.push(&[id], SpanRole::Text, loss);
        }
        sequence
    });
    vec(document, 0..20)
}

/// Text in which special tokens, whole and in halves, are likely.
fn contents() -> impl Strategy<Value = String> {
    const PARTS: [&str; 13] = [
        "<|im_end|>",
        "<|im_start|>",
        "<|bos|>",
        "<|im_",
        "end|>",
        "|>",
        "<",
        "\n",
        "assistant\n",
        " ",
        "the cat",
        "é香🙂",
        "\u{f0000}",
    ];
    let part = prop_oneof![
        select(&PARTS[..]).prop_map(str::to_owned),
        "[ -~]{0,6}",
        any::<String>()
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn conversations() -> impl Strategy<Value = Vec<Message>> {
    vec((contents(), contents()), 1..4).prop_map(|pairs| {
        let turns = |(user, answer)| [Message::user(user), Message::assistant(answer)];
        pairs.into_iter().flat_map(turns).collect()
    })
}

fn tiles(tokens: &TokenSequence) {
    let mut at = 0;
    for span in &tokens.spans {
        assert_eq!(span.range.start, at);
        assert!(span.range.end > at);
        at = span.range.end;
    }
    assert_eq!(at, tokens.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_text_comes_back(text in any::<String>(), learnt in vec(any::<String>(), 0..4)) {
        let texts: Vec<_> = learnt.iter().map(String::as_str).chain([text.as_str(); 2]).collect();
        let chat = chat(&texts);
        let tokenizer = chat.tokenizer();
        let ids = tokenizer.encode(&text).unwrap();
        prop_assert!(ids.iter().all(|id| *id as usize >= SPECIAL.len()));
        prop_assert_eq!(tokenizer.decode(&ids, false).unwrap(), text.as_str());
        let document = chat.encode_text(&text).unwrap();
        tiles(&document);
        prop_assert_eq!(document.len(), ids.len() + 2);
    }

    #[test]
    fn a_saved_folder_is_the_same_tokenizer(text in any::<String>(), messages in conversations()) {
        let chat = chat(&[&text, "the cat the cat"]);
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        chat.save(one.path()).unwrap();
        let again = ChatTokenizer::load(one.path()).unwrap();
        again.save(two.path()).unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            let read = |dir: &Path| std::fs::read(dir.join(name)).unwrap();
            prop_assert_eq!(read(one.path()), read(two.path()));
        }
        prop_assert_eq!(
            chat.encode_conversation(&messages).unwrap(),
            again.encode_conversation(&messages).unwrap()
        );
    }

    #[test]
    fn nobody_forges_a_control_token(messages in conversations()) {
        let plain: Vec<_> = messages.iter().map(|m| Message::new(m.role, "x")).collect();
        let control = |tokens: &TokenSequence| -> Vec<u32> {
            tokens.ids.iter().copied().filter(|id| (*id as usize) < SPECIAL.len()).collect()
        };
        let tokens = CHAT.encode_conversation(&messages).unwrap();
        tiles(&tokens);
        prop_assert_eq!(control(&tokens), control(&CHAT.encode_conversation(&plain).unwrap()));
        let answers = messages.iter().filter(|m| m.role == Role::Assistant);
        let expected: String = answers.map(|m| m.content.clone() + "<|im_end|>").collect();
        let mask = tokens.loss_mask();
        let trained: Vec<_> =
            tokens.ids.iter().zip(mask).filter(|(_, loss)| *loss).map(|(id, _)| *id).collect();
        prop_assert_eq!(CHAT.tokenizer().decode(&trained, false).unwrap(), expected);
        let whole = CHAT.template().unwrap().render(&messages, false).unwrap();
        prop_assert_eq!(CHAT.tokenizer().decode(&tokens.ids, false).unwrap(), whole);
    }

    #[test]
    fn an_answer_goes_on_from_its_prompt(messages in conversations()) {
        let (answer, before) = messages.split_last().unwrap();
        let prompt = CHAT.encode_prompt(before).unwrap();
        let answered = CHAT.encode_answer(before, &answer.content).unwrap();
        tiles(&prompt);
        tiles(&answered);
        let mut ids = prompt.ids.clone();
        ids.extend(CHAT.tokenizer().encode(&answer.content).unwrap());
        ids.extend(CHAT.end_of_turn_id());
        prop_assert_eq!(&answered.ids, &ids);
        prop_assert_eq!(answered.answer_start(), prompt.len());
        // The whole conversation begins with the same ids.
        let whole = CHAT.encode_conversation(&messages).unwrap();
        prop_assert_eq!(&whole.ids[..ids.len()], &ids[..]);
    }

    #[test]
    fn truncation_keeps_the_answer_and_the_tiling(messages in conversations(), max_len in 1usize..80) {
        let mut tokens = CHAT.encode_conversation(&messages).unwrap();
        let before = tokens.clone();
        let answer = before.ids[before.answer_start()..].to_vec();
        match tokens.truncate_start(max_len) {
            Ok(dropped) => {
                tiles(&tokens);
                prop_assert!(tokens.len() <= max_len);
                prop_assert_eq!(dropped + tokens.len(), before.len());
                prop_assert!(dropped == 0 || tokens.len() == max_len);
                prop_assert_eq!(&tokens.ids[..], &before.ids[dropped..]);
                prop_assert_eq!(&tokens.ids[tokens.answer_start()..], &answer[..]);
            }
            Err(_) => {
                prop_assert!(answer.len() > max_len);
                prop_assert_eq!(tokens, before);
            }
        }
    }

    #[test]
    fn packing_loses_nothing(documents in sequences(), length in 1usize..20) {
        let rows = pack(&documents, length);
        let mut left: Vec<(Vec<u32>, Vec<bool>)> = documents
            .iter()
            .flat_map(|d| {
                let loss = d.loss_mask();
                let pieces = d.ids.chunks(length).zip(loss.chunks(length));
                pieces.map(|(ids, loss)| (ids.to_vec(), loss.to_vec())).collect::<Vec<_>>()
            })
            .collect();
        for PackedRow { ids, loss_mask, segment_starts } in &rows {
            prop_assert!(!ids.is_empty() && ids.len() <= length && ids.len() == loss_mask.len());
            prop_assert_eq!(segment_starts[0], 0);
            let ends = segment_starts[1..].iter().copied().chain([ids.len()]);
            for (start, end) in segment_starts.iter().copied().zip(ends) {
                let piece = (ids[start..end].to_vec(), loss_mask[start..end].to_vec());
                let place = left.iter().position(|p| *p == piece);
                prop_assert!(place.is_some(), "{:?} is of no document", piece);
                left.remove(place.unwrap());
            }
        }
        prop_assert!(left.is_empty());
        // First fit: no piece would fit into an earlier row than its own.
        for (i, row) in rows.iter().enumerate().skip(1) {
            let first = row.segment_starts.get(1).copied().unwrap_or(row.ids.len());
            prop_assert!(rows[..i].iter().all(|r| r.ids.len() + first > length));
        }
    }

    #[test]
    fn each_epoch_shows_every_row_once_and_resumes(
        seed in any::<u64>(), len in 1usize..50, drawn in 0usize..120,
    ) {
        let mut whole = Sampler::new(seed, len);
        let all = whole.next_batch(4 * len + 120);
        for epoch in all[..4 * len].chunks(len) {
            let mut seen = epoch.to_vec();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..len));
        }
        let mut first = Sampler::new(seed, len);
        first.next_batch(drawn);
        let saved = serde_json::to_string(&first).unwrap();
        let mut resumed: Sampler = serde_json::from_str(&saved).unwrap();
        prop_assert_eq!(resumed.next_batch(len), &all[drawn..drawn + len]);
    }

    #[test]
    fn any_template_is_refused_or_rendered(source in "[ -~\n]{0,20}(\\{[%{#][ -~]{0,20}){0,3}") {
        if let Ok(template) = ChatTemplate::new(&source, Some("<s>"), None) {
            template.render(&[Message::user("u")], true).ok();
        }
    }
}

/// A row as `rlhf generate` writes it, read back.
fn written_and_read(text: &str, ids: &[u32]) -> Vec<u32> {
    let row = serde_json::json!({"prompt": "why", "response": text, "tokens": ids});
    let file = tempfile::NamedTempFile::with_suffix(".jsonl").unwrap();
    std::fs::write(file.path(), row.to_string() + "\n").unwrap();
    let rows = rlhf_data::load_responses(&[file.path().to_owned()], rlhf_data::OnBadRow::Fail);
    rows.unwrap().rows.remove(0).tokens.unwrap()
}

/// Vocabularies of any merges, and ids in any order: what was generated stays as it is, though the
/// text that it gives is mostly encoded otherwise.
#[test]
fn generated_ids_are_never_tokenised_again() {
    let (cases, otherwise) = (Cell::new(0), Cell::new(0));
    let case = (
        vec("[ab ]{2,30}", 1..6),
        vec(any::<u32>(), 1..20),
        1usize..60,
    );
    proptest!(ProptestConfig::with_cases(64), |((texts, picks, room) in case)| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let chat = chat(&texts);
        let tokenizer = chat.tokenizer();
        // Only what the texts are made of: letters, blanks and their merges.
        let known: Vec<u32> = (0..tokenizer.vocab_size() as u32)
            .filter(|id| {
                let bytes = tokenizer.token_bytes(*id).unwrap();
                bytes.iter().all(|b| b"ab ".contains(b))
            })
            .collect();
        let ids: Vec<u32> = picks.iter().map(|p| known[*p as usize % known.len()]).collect();
        let text = tokenizer.decode(&ids, false).unwrap();
        cases.set(cases.get() + 1);
        let again = tokenizer.encode(&text).unwrap();
        otherwise.set(otherwise.get() + usize::from(again != ids));

        prop_assert_eq!(&written_and_read(&text, &ids), &ids);
        let prompt = [Message::user("why")];
        let mut tokens = chat.encode_generated(&prompt, &ids).unwrap();
        prop_assert_eq!(&tokens.ids[tokens.answer_start()..], &ids[..]);
        let before = chat.encode_prompt(&prompt).unwrap();
        prop_assert_eq!(&tokens.ids[..tokens.answer_start()], &before.ids[..]);
        if tokens.truncate_start(room).is_ok() {
            prop_assert_eq!(&tokens.ids[tokens.answer_start()..], &ids[..]);
        }
        let beyond = [tokenizer.vocab_size() as u32];
        prop_assert!(chat.encode_generated(&prompt, &beyond).is_err());
    });
    let (cases, otherwise) = (cases.get(), otherwise.get());
    assert!(
        otherwise * 4 > cases,
        "{otherwise} of {cases} were encoded otherwise"
    );
}

/// Ids that a model may well generate, although no text is encoded so.
#[test]
fn text_made_of_ids_may_be_encoded_otherwise() {
    let tokenizer = CHAT.tokenizer();
    let letters: Vec<u32> = "the"
        .chars()
        .map(|c| tokenizer.token_id(&c.to_string()).unwrap())
        .collect();
    let again = tokenizer
        .encode(&tokenizer.decode(&letters, false).unwrap())
        .unwrap();
    assert_ne!(again, letters);
}
