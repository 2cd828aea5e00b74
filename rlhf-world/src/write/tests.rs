use super::*;
use std::collections::BTreeSet;

#[test]
fn a_world_is_written_whole_and_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let config = WorldConfig {
        demonstrations: 50,
        ..WorldConfig::default()
    };
    let world = World::new(&config).unwrap();
    let first = write_world(&world, &dir.path().join("a/b"), 30).unwrap();
    let second = write_world(&World::new(&config).unwrap(), &dir.path().join("c"), 30).unwrap();
    let names: Vec<_> = first
        .iter()
        .map(|path| path.file_name().unwrap().to_owned())
        .collect();
    let expected = [
        "corpus.jsonl",
        "demonstrations.jsonl",
        "conversations.jsonl",
        "prompts.jsonl",
        "evaluation.jsonl",
        "gold.json",
    ];
    assert_eq!(names, expected);
    for (a, b) in first.iter().zip(&second) {
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }
    let lines = |i: usize| {
        let text = std::fs::read_to_string(&first[i]).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect::<Vec<Value>>()
    };
    assert_eq!(
        (lines(0).len(), lines(1).len(), lines(2).len()),
        (30, 50, 3)
    );
    let fields: BTreeSet<String> = lines(1)
        .iter()
        .flat_map(|row| row.as_object().unwrap().keys().cloned())
        .collect();
    assert!(fields.iter().eq(["instruction", "response"]), "{fields:?}");
    assert!(lines(3).iter().all(|row| row["task"]["family"].is_string()));
    let gold: Value = serde_json::from_slice(&std::fs::read(&first[5]).unwrap()).unwrap();
    assert_eq!(gold["facts"].as_array().unwrap().len(), 360);
    assert_eq!(gold["held_out_entities"].as_array().unwrap().len(), 25);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let world = World::new(&WorldConfig {
        demonstrations: 1,
        ..WorldConfig::default()
    })
    .unwrap();
    let error = write_world(&world, file.path(), 1).unwrap_err();
    assert!(
        error.to_string().contains(file.path().to_str().unwrap()),
        "{error}"
    );
}
