//! Names of contents.

use crate::error::CliError;
use crate::model_folder::CARD;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// The name of a stage's settings and inputs: equal names give equal results. `section` is the
/// stage's settings as TOML, `inputs` are hashes in order.
pub(crate) fn fingerprint(section: &str, seed: u64, inputs: &[String]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("seed {seed}\n{} inputs\n", inputs.len()));
    for input in inputs {
        hash.update(format!("{input}\n"));
    }
    hash.update(section);
    hex(hash)
}

/// The SHA-256 of a file, or of a folder: of the names and hashes of all files below it but the
/// card, in the order of their names.
///
/// # Errors
/// If something can't be read.
pub(crate) fn sha256_of(path: &Path) -> Result<String, CliError> {
    let io = |e| CliError::io(path, &e);
    if !fs::metadata(path).map_err(io)?.is_dir() {
        return file_sha256(path);
    }
    let entries = fs::read_dir(path)
        .map_err(io)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(io)?;
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.file_name()).collect();
    names.retain(|name| name != CARD);
    names.sort();
    let mut hash = Sha256::new();
    for name in names {
        let of_entry = sha256_of(&path.join(&name))?;
        hash.update(format!("{} {of_entry}\n", name.to_string_lossy()));
    }
    Ok(hex(hash))
}

fn file_sha256(path: &Path) -> Result<String, CliError> {
    let io = |e| CliError::io(path, &e);
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hex(hash)),
            read => hash.update(&buffer[..read]),
        }
    }
}

fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
