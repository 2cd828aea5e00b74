//! What can go wrong between a file and a token.

use crate::format::Format;
use std::path::PathBuf;

/// The errors of this crate. Each says where it happened and what is wanted instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder can't be opened or read.
    #[error("{}: can't be read: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file can't be written.
    #[error("{}: can't be written: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row is not usable and bad rows were to be refused.
    #[error("{}:{line}: {}{reason}{}", file.display(), field_prefix(field), others(*more))]
    BadRow {
        /// The file.
        file: PathBuf,
        /// The line on which the row starts, from 1.
        line: usize,
        /// The field, or empty when the row as a whole is meant.
        field: String,
        /// What was found and what is wanted.
        reason: String,
        /// How many more bad rows the same file has.
        more: usize,
    },
    /// The fields of a file's rows match none of the formats.
    #[error("{}: the format is not recognised: {reason}", file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
        /// Why, from the first row.
        reason: String,
    },
    /// A file has a format that the caller can't use.
    #[error("{}: the rows are of the format `{found}`{}, but {wanted} rows are wanted here", file.display(), purpose(found))]
    WrongFormat {
        /// The file.
        file: PathBuf,
        /// The name of the format that was recognised.
        found: &'static str,
        /// What is wanted, in words.
        wanted: &'static str,
    },
    /// More rows are bad than good and reading was given up.
    #[error("{}: reading was given up after {bad} bad rows; check the file with `data check`", file.display())]
    TooManyBadRows {
        /// The file.
        file: PathBuf,
        /// How many bad rows had been seen.
        bad: usize,
    },
    /// Nothing is meant by a text that should name files.
    #[error("{text}: {reason}")]
    Files {
        /// The text.
        text: String,
        /// Why, and what is wanted.
        reason: String,
    },
    /// A field can't be read under another name.
    #[error("--map {map}: {reason}")]
    Rename {
        /// The name and the field, `NAME=FIELD`.
        map: String,
        /// What is wrong and what is wanted.
        reason: String,
    },
    /// All files together hold no usable row.
    #[error("no usable row in {files}; {skipped} bad rows were skipped")]
    NoRows {
        /// The names of the files.
        files: String,
        /// How many rows were skipped.
        skipped: usize,
    },
    /// A chat template doesn't parse or refuses a conversation.
    #[error("chat template: {reason}")]
    Template {
        /// What the template engine or the template itself said.
        reason: String,
    },
    /// A tokenizer can't be built, read or applied.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// What is wrong and what is wanted.
        reason: String,
    },
    /// A file of a tokenizer's folder is not what it should be.
    #[error("{}: {reason}", path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong and what is wanted.
        reason: String,
    },
    /// A conversation can't be turned into tokens.
    #[error("conversation: {reason}")]
    Conversation {
        /// What is wrong and what is wanted.
        reason: String,
    },
    /// The tokens of an answer alone are more than fit.
    #[error("the answer has {answer} tokens and {max_len} fit; raise the length or drop the row")]
    AnswerTooLong {
        /// Tokens of the answer, its end-of-turn token included.
        answer: usize,
        /// Tokens allowed.
        max_len: usize,
    },
}

fn purpose(format: &str) -> String {
    let purpose = Format::from_name(format).and_then(Format::purpose);
    purpose.map_or_else(String::new, |purpose| format!(" ({purpose})"))
}

fn field_prefix(field: &str) -> String {
    if field.is_empty() {
        String::new()
    } else {
        format!("field `{field}`: ")
    }
}

fn others(more: usize) -> String {
    match more {
        0 => String::new(),
        1 => " (and 1 more bad row)".to_owned(),
        n => format!(" (and {n} more bad rows)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_row_says_file_line_field_and_reason() {
        let mut error = DataError::BadRow {
            file: PathBuf::from("prefs.jsonl"),
            line: 1042,
            field: "rejected".into(),
            reason: "is missing".into(),
            more: 0,
        };
        assert_eq!(
            error.to_string(),
            "prefs.jsonl:1042: field `rejected`: is missing"
        );
        if let DataError::BadRow { field, more, .. } = &mut error {
            field.clear();
            *more = 2;
        }
        assert_eq!(
            error.to_string(),
            "prefs.jsonl:1042: is missing (and 2 more bad rows)"
        );
    }
}
