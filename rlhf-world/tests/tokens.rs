//! The texts are short in the vocabulary that a tiny model has: measured with the real tokenizer.

use rlhf_data::{InstructionRow, Tokenizer};
use rlhf_world::{World, WorldConfig};
use serde_json::Value;
use std::time::{Duration, Instant};

fn mean(lengths: &[usize]) -> f64 {
    lengths.iter().sum::<usize>() as f64 / lengths.len() as f64
}

#[test]
fn names_prompts_and_answers_are_short_in_a_vocabulary_of_1024() {
    let world = World::new(&WorldConfig::default()).unwrap();
    let corpus = world.corpus(12_000);
    let texts = corpus.iter().map(|row| row.text.as_str());
    let tokenizer = Tokenizer::train_bpe(texts, 1024, &["<|bos|>", "<|eos|>", "<|pad|>"]).unwrap();
    let length = |text: &str| tokenizer.encode(text).unwrap().len();

    let dir = tempfile::tempdir().unwrap();
    rlhf_world::write_world(&world, dir.path(), 1).unwrap();
    let gold = std::fs::read(dir.path().join("gold.json")).unwrap();
    let gold: Value = serde_json::from_slice(&gold).unwrap();
    for field in ["entity", "truth", "mistake"] {
        // Names stand within a sentence, after a space.
        let facts = gold["facts"].as_array().unwrap().iter();
        let lengths: Vec<usize> = facts
            .map(|fact| length(&format!(" {}", fact[field].as_str().unwrap())))
            .collect();
        println!("{field}: {:.2} tokens", mean(&lengths));
        assert!(mean(&lengths) <= 2.5, "{field}: {}", mean(&lengths));
    }

    let prompts: Vec<usize> = world
        .evaluation_prompts()
        .iter()
        .chain(&world.training_prompts(1000))
        .map(|prompt| length(&world.base_prompt(&prompt.messages)))
        .collect();
    println!(
        "prompts: {:.1} tokens, at most {:?}",
        mean(&prompts),
        prompts.iter().max()
    );
    assert!(
        prompts.iter().all(|&tokens| tokens <= 48),
        "{:?}",
        prompts.iter().max()
    );

    let demonstrations = world.demonstrations();
    let answers: Vec<usize> = demonstrations
        .iter()
        .map(|row| length(&row.response))
        .collect();
    println!(
        "answers: {:.1} tokens, at most {:?}",
        mean(&answers),
        answers.iter().max()
    );
    let long = answers.iter().filter(|&&tokens| tokens > 16).count() as f64;
    assert!(
        long / (answers.len() as f64) < 0.1,
        "{long} of {}",
        answers.len()
    );
    assert!(answers.iter().all(|&tokens| tokens <= 40));
    let asked: Vec<usize> = demonstrations
        .iter()
        .map(InstructionRow::user_text)
        .map(|text| length(&text))
        .collect();
    assert!(asked.iter().all(|&tokens| tokens <= 48));

    let documents: Vec<usize> = corpus.iter().map(|row| length(&row.text)).collect();
    let most = documents.iter().max();
    println!(
        "documents: {:.1} tokens, at most {most:?}",
        mean(&documents)
    );
    println!(
        "3.5M tokens: {:.0} documents",
        3.5e6 / (mean(&documents) + 2.0)
    );
    assert!(
        (45.0..75.0).contains(&mean(&documents)),
        "{}",
        mean(&documents)
    );
}

#[test]
fn the_whole_corpus_is_written_in_a_moment() {
    let world = World::new(&WorldConfig::default()).unwrap();
    let start = Instant::now();
    let bytes: usize = (0..50_000)
        .map(|index| world.document(index).text.len())
        .sum();
    let took = start.elapsed();
    println!("{bytes} bytes in {took:?}");
    assert!(bytes > 8_000_000);
    // Ten times what it takes, for a busy machine.
    assert!(took < Duration::from_secs(10), "{took:?}");
}
