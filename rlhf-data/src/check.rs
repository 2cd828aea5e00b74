//! What a file holds, in few words.

use crate::error::DataError;
use crate::read::{BadRow, scan};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The summary of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCheck {
    /// The file.
    pub file: PathBuf,
    /// The name of its format; none where it is not recognised.
    pub format: Option<String>,
    /// How many rows are usable.
    pub rows: usize,
    /// The rows that are not.
    pub bad: Vec<BadRow>,
}

impl FileCheck {
    /// Whether the format is recognised and every row is usable.
    pub fn is_usable(&self) -> bool {
        self.format.is_some() && self.bad.is_empty()
    }
}

/// Reads a file as [`read_file`](crate::read_file) does and counts its rows instead of keeping
/// them.
///
/// # Errors
/// [`DataError::Read`] only if the file can't be opened or read at all.
pub fn check_file(path: &Path) -> Result<FileCheck, DataError> {
    let scanned = scan(path, drop)?;
    Ok(FileCheck {
        file: path.to_owned(),
        format: scanned.format.map(|format| format.as_str().to_owned()),
        rows: scanned.rows,
        bad: scanned.bad,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_summed_up_in_one_json_object() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\": \"a\"}\n{\"text\": 1}\n").unwrap();
        let check = check_file(&path).unwrap();
        assert!(!check.is_usable());
        let json = serde_json::to_value(&check).unwrap();
        assert_eq!(json["format"], "text");
        assert_eq!(json["rows"], 1);
        assert_eq!(json["bad"][0]["line"], 2);
        assert_eq!(json["bad"][0]["field"], "text");
        std::fs::write(&path, "{\"text\": \"a\"}\n").unwrap();
        assert!(check_file(&path).unwrap().is_usable());
        assert!(check_file(&dir.path().join("none")).is_err());
        assert!(check_file(dir.path()).is_err(), "a folder is no file");
    }
}
