//! What a folder keeps.

use super::*;
use serde_json::{Value, json};

fn run_json(dir: &Path) -> Value {
    serde_json::from_slice(&fs::read(dir.join("run.json")).unwrap()).unwrap()
}

#[test]
fn a_run_is_noted_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("new/run");
    let input = dir.path().join("a.txt");
    fs::write(&input, "abc").unwrap();
    let mut folder = RunFolder::open(&root, false).unwrap();
    let hash = folder.add_input(&input).unwrap();
    assert_eq!(
        hash,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    folder.note_stage("sft", "f", (2.0, false)).unwrap();
    assert!(!folder.is_finished("sft", "f").unwrap());
    let mut folder = RunFolder::open(&root, false).unwrap();
    folder.note_stage("sft", "f", (1.5, true)).unwrap();
    assert!(folder.is_finished("sft", "f").unwrap());
    assert!(
        folder
            .is_finished("sft", "g")
            .unwrap_err()
            .to_string()
            .contains("--fresh")
    );
    assert!(!folder.is_finished("ppo", "g").unwrap());
    folder.finish(json!({"table": {}})).unwrap();
    let found = run_json(&root);
    assert_eq!(found["stages"]["sft"]["seconds"], 3.5);
    assert_eq!(found["inputs"][input.display().to_string()], hash);
    assert_eq!(found["result"], json!({"table": {}}));
    assert_eq!(found["exit"], 0);
    assert_eq!(folder.model_dir("sft"), root.join("sft/model"));
    assert_eq!(folder.model_dir("reward"), root.join("reward/reward"));
    let alone = RunFolder::open_stage(&root, false).unwrap();
    assert_eq!(alone.model_dir("sft"), root.join("model"));
}

#[test]
fn starting_over_keeps_the_old_folders() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("run");
    for round in 0..3 {
        RunFolder::open(&root, true).unwrap();
        assert!(!root.join("mine").exists());
        fs::write(root.join("mine"), round.to_string()).unwrap();
    }
    assert_eq!(
        fs::read_to_string(dir.path().join("run.old-1/mine")).unwrap(),
        "0"
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("run.old-2/mine")).unwrap(),
        "1"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    let here = std::env::current_dir().unwrap();
    for folder in [Path::new("."), here.parent().unwrap()] {
        let error = RunFolder::open(folder, true).unwrap_err();
        assert!(error.to_string().contains("current folder"), "{error}");
    }
}

#[test]
fn a_file_in_the_place_of_the_folder_is_the_callers_mistake() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("run")] {
        let error = RunFolder::open(&path, false).unwrap_err();
        assert_eq!(error.code.code(), 2, "{error}");
        assert!(error.to_string().contains("file"), "{error}");
    }
    fs::create_dir(dir.path().join("broken")).unwrap();
    fs::write(dir.path().join("broken/run.json"), "{").unwrap();
    let error = RunFolder::open(&dir.path().join("broken"), false).unwrap_err();
    assert!(error.to_string().contains("run.json"), "{error}");
    assert!(RunFolder::open(&dir.path().join("broken"), true).is_ok());
}

#[test]
fn figures_after_the_newest_checkpoint_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let folder = RunFolder::open(dir.path(), false).unwrap();
    fs::create_dir_all(dir.path().join("sft/checkpoints/step-000002")).unwrap();
    fs::create_dir_all(dir.path().join("sft/checkpoints/.step-000009.partial")).unwrap();
    let lines = "{\"stage\":\"pretrain\",\"step\":7}\n{\"stage\":\"sft\",\"step\":2}\n\
                 {\"stage\":\"sft\",\"step\":3}\n{\"stage\":\"sf";
    fs::write(dir.path().join("metrics.jsonl"), lines).unwrap();
    drop(folder.metrics("sft").unwrap());
    let found = fs::read_to_string(dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(
        found,
        "{\"stage\":\"pretrain\",\"step\":7}\n{\"stage\":\"sft\",\"step\":2}\n"
    );
}

#[test]
fn a_fingerprint_tells_settings_seeds_and_inputs_apart() {
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let base = fingerprint("x = 1\n", 1, &[a.clone(), b.clone()]);
    assert_eq!(base, fingerprint("x = 1\n", 1, &[a.clone(), b.clone()]));
    assert_eq!(base.len(), 64);
    for other in [
        fingerprint("x = 2\n", 1, &[a.clone(), b.clone()]),
        fingerprint("x = 1\n", 2, &[a.clone(), b.clone()]),
        fingerprint("x = 1\n", 1, &[b, a.clone()]),
        fingerprint("x = 1\n", 1, &[a]),
    ] {
        assert_ne!(base, other);
    }
}
