//! `cargo xtask tidy`: what the compiler cannot see, the rooms' rules by text and the edges between packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ci::{cargo_path, root};

/// What the core must not name, beyond what `no_std` keeps from compiling: tests inside it have std.
const NOT_IN_CORE: [&str; 10] = [
    "std::time",
    "SystemTime",
    "Instant::now",
    "thread_rng",
    "HashMap",
    "HashSet",
    "tokio",
    "std::fs",
    "std::net",
    "println!",
];
/// What reaches no room of the product, apart in this text so that it does not find itself.
const NOWHERE: [&str; 5] =
    [concat!("FIX", "ME"), concat!("db", "g!("), concat!("#[", "ignore"), "todo!(", "unimplemented!("];

/// A package, the packages of ours it may depend on, and, where the list is closed, all others.
struct Room {
    package: &'static str,
    ours: &'static [&'static str],
    others: Option<&'static [&'static str]>,
}

/// Who may know whom. A new edge is an architecture change: its commit says why.
const ROOMS: [Room; 7] = [
    Room { package: "sordini-protocol", ours: &[], others: None },
    // Kafka's quorum-state file is JSON; SCRAM credentials are made of HMACs.
    Room {
        package: "sordini-core",
        ours: &["sordini-protocol"],
        others: Some(&["bytes", "hmac", "serde_json", "sha2", "thiserror"]),
    },
    Room {
        package: "sordini-sim",
        ours: &["sordini-core", "sordini-jepsen", "sordini-protocol"],
        others: None,
    },
    // A scenario moves a node by hand on the simulator's disk.
    Room {
        package: "sordini-scenarios",
        ours: &["sordini-core", "sordini-protocol", "sordini-sim"],
        others: None,
    },
    Room { package: "sordini", ours: &["sordini-core", "sordini-protocol"], others: None },
    // The judge must be able to disagree with everybody.
    Room { package: "sordini-jepsen", ours: &[], others: Some(&["clap", "serde", "serde_json"]) },
    Room { package: "xtask", ours: &[], others: None },
];

/// Fails with every place that breaks a rule.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if !arguments.is_empty() {
        return Err("usage: cargo xtask tidy".into());
    }
    let mut found = Vec::new();
    for directory in ["core/src", "core/protocol/src"] {
        search(directory, &NOT_IN_CORE, "has no place in the core", &mut found)?;
    }
    for directory in ["core", "sim", "scenarios", "real-io", "jepsen-like"] {
        search(directory, &NOWHERE, "does not reach main", &mut found)?;
    }
    for crate_root in ["core/src/lib.rs", "core/protocol/src/lib.rs"] {
        let text = read(&root().join(crate_root))?;
        for attribute in ["no_std", "#![forbid(unsafe_code)]"] {
            if !text.contains(attribute) {
                found.push(format!("{crate_root}: lacks {attribute}"));
            }
        }
    }
    edges(&mut found)?;
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

/// Finds `words` in the Rust files below `directory`, comment lines apart.
fn search(directory: &str, words: &[&str], complaint: &str, found: &mut Vec<String>) -> Result<(), String> {
    for path in rust_files(&root().join(directory))? {
        let text = read(&path)?;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"))
        {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{}: {word} {complaint}", path.display(), index + 1));
            }
        }
    }
    Ok(())
}

fn rust_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                files.extend(rust_files(&path)?);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Compares the dependencies of every package with what its room may know.
fn edges(found: &mut Vec<String>) -> Result<(), String> {
    let output = Command::new(cargo_path())
        .current_dir(root())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| format!("cannot run cargo metadata: {error}"))?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let ours: Vec<_> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().ok_or("a package without name")?;
        let Some(room) = ROOMS.iter().find(|room| room.package == name) else {
            found.push(format!("{name}: a package that tidy's table of rooms does not know"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let on = dependency["name"].as_str().unwrap_or_default();
            // Tests may use any library, but no room may know a foreign room in its tests either.
            let closed = if dependency["kind"].is_null() { room.others } else { None };
            let allowed = match closed {
                _ if ours.contains(&on) => room.ours.contains(&on),
                Some(others) => others.contains(&on),
                None => true,
            };
            if !allowed {
                found.push(format!("{name} must not depend on {on}"));
            }
        }
    }
    Ok(())
}
