//! Generates the messages of `sordini-protocol` from its schema tables.
//!
//! The notation is explained at the top of each table. The output is checked in; a test holds it against the tables.

mod emit;
mod schema;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Generated files by their paths below `core/protocol`.
type Files = BTreeMap<PathBuf, String>;

/// Runs `cargo xtask codegen [--check]`: writes the files, or fails if they are not what would be written.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("usage: cargo xtask codegen [--check]".into()),
    };
    let protocol = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/protocol");
    let files = generate(&protocol)?;
    if check {
        return stale(&protocol, &files);
    }
    for directory in emit::DIRECTORIES {
        for stale in files_in(&protocol.join(directory))? {
            if !files.contains_key(&Path::new(directory).join(stale.file_name().unwrap_or_default())) {
                fs::remove_file(&stale).map_err(|error| format!("{}: {error}", stale.display()))?;
            }
        }
    }
    for (path, text) in &files {
        let path = protocol.join(path);
        if fs::read_to_string(&path).is_ok_and(|old| old == *text) {
            continue;
        }
        write(&path, text)?;
    }
    Ok(())
}

/// Fails with the names of the checked-in files that differ from the generated ones.
fn stale(protocol: &Path, files: &Files) -> Result<(), String> {
    let mut different: Vec<String> = files
        .iter()
        .filter(|(path, text)| !fs::read_to_string(protocol.join(path)).is_ok_and(|old| old == **text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    for directory in emit::DIRECTORIES {
        for found in files_in(&protocol.join(directory))? {
            let path = Path::new(directory).join(found.file_name().unwrap_or_default());
            if !files.contains_key(&path) {
                different.push(path.display().to_string());
            }
        }
    }
    if different.is_empty() {
        Ok(())
    } else {
        Err(format!("run `cargo xtask codegen` for {}", different.join(", ")))
    }
}

/// All generated files, formatted.
fn generate(protocol: &Path) -> Result<Files, String> {
    let mut messages = Vec::new();
    for table in ["rpc", "metadata-records", "coordinator-records", "storage-records", "data"] {
        let path = protocol.join(format!("schema/{table}-4.3.txt"));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        messages.extend(schema::parse(table, &text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    format_all(emit::emit(&messages)?)
}

/// Formats files by one run of rustfmt over copies in the target directory.
fn format_all(files: Files) -> Result<Files, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let scratch = root.join(format!("target/codegen-{}", std::process::id()));
    for (path, text) in &files {
        write(&scratch.join(path), text)?;
    }
    let status = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .args(files.keys().map(|path| scratch.join(path)))
        .status()
        .map_err(|error| format!("rustfmt: {error}"))?;
    if !status.success() {
        return Err("rustfmt refused the generated files".into());
    }
    let formatted = files
        .into_keys()
        .map(|path| {
            let text = fs::read_to_string(scratch.join(&path)).map_err(|error| error.to_string())?;
            Ok((path, text))
        })
        .collect();
    fs::remove_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    formatted
}

fn files_in(directory: &Path) -> Result<Vec<PathBuf>, String> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(|error| error.to_string())).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
    }
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_in_messages_are_what_the_tables_generate() {
        assert_eq!(run(&["--check".to_string()]), Ok(()));
    }
}
