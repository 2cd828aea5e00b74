use super::*;

fn names(set: &DataSet, folder: &Path) -> Vec<(String, f64)> {
    let short = |file: &DataFile| {
        let name = file.name.strip_prefix(folder).unwrap();
        (name.display().to_string(), file.weight)
    };
    set.files().iter().map(short).collect()
}

fn own(names: &[(&str, f64)]) -> Vec<(String, f64)> {
    names.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect()
}

#[test]
fn folders_patterns_and_weights_are_understood() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir_all(at("sub")).unwrap();
    let all = [
        "b.jsonl",
        "a.csv.gz",
        "README.md",
        ".x.json",
        "odd:2",
        "sub/c.json",
        "e.parquet",
    ];
    for name in all {
        fs::write(at(name), "").unwrap();
    }
    let open = |texts: &[&str]| {
        let texts: Vec<_> = texts.iter().map(|t| at(t)).collect();
        DataSet::open(&texts, &["prompt=q"], 3)
    };
    let set = open(&[""]).unwrap();
    let found = [("a.csv.gz", 1.0), ("b.jsonl", 1.0), ("e.parquet", 1.0)];
    assert_eq!(names(&set, dir.path()), own(&found));
    assert_eq!(set.describe(), "map prompt=q");
    let set = open(&["b.jsonl:0.5", "odd:2", "gone.jsonl", "odd:2:3", "sub:4"]).unwrap();
    let found = [
        ("b.jsonl", 0.5),
        ("odd:2", 1.0),
        ("gone.jsonl", 1.0),
        ("odd:2", 3.0),
        ("sub/c.json", 4.0),
    ];
    assert_eq!(names(&set, dir.path()), own(&found));
    assert_eq!(set.describe(), "weights 0.5 1 1 3 4 map prompt=q");
    assert!(
        set.refuse_weights()
            .unwrap_err()
            .to_string()
            .contains("b.jsonl:0.5")
    );
    let set = open(&["**/*.js*"]).unwrap();
    assert_eq!(set.files().len(), 3);
    assert!(set.refuse_weights().is_ok());
    for (text, reason) in [
        ("b.jsonl:0", "above 0"),
        ("b.jsonl:-1", "above 0"),
        ("b.jsonl:NaN", "above 0"),
        ("*.none", "pattern"),
        ("a[.json", "pattern"),
    ] {
        let error = open(&[text]).unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
    fs::create_dir(at("empty")).unwrap();
    assert!(
        open(&["empty"])
            .unwrap_err()
            .to_string()
            .contains("no file in this folder")
    );
    assert!(DataSet::from(&Vec::<PathBuf>::new()).is_empty());
}

#[test]
fn standard_input_becomes_a_file_that_is_gone_with_the_set() {
    let folder = copy_stdin(&mut &b"text"[..]).unwrap();
    let path = folder.path().join(STDIN);
    assert_eq!(fs::read(&path).unwrap(), b"text");
    drop(folder);
    assert!(!path.exists());
}
