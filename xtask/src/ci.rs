//! `cargo xtask ci`: everything a change must pass that needs nothing but Rust and a C compiler.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::{codegen, tidy};

/// One stage: the name it is asked for by, and what it does.
type Stage = (&'static str, fn() -> Result<(), String>);

/// In the order of what fails soonest; what the simulator says is worth nothing unless it says it twice.
const STAGES: [Stage; 9] = [
    ("fmt", fmt),
    ("tidy", || tidy::run(&[])),
    ("codegen", || codegen::run(&["--check".into()])),
    ("clippy", clippy),
    ("no-std", no_std),
    ("determinism", determinism),
    ("test", test),
    ("museum", museum),
    ("sweep", sweep),
];

/// The target without std that the core is checked for, where it is installed.
const BARE_TARGET: &str = "x86_64-unknown-none";
/// How many seeds the determinism gate runs.
const GATE_SEEDS: &str = "1000";
/// The seeds that the simulator must pass.
const SWEEP_SEEDS: &str = "0..20000";
/// How many seeds it must pass that begin with the commit's hash.
const COMMIT_SEEDS: u64 = 2000;

/// Runs the stages named in `arguments`, all when there are none, and fails with the names of those that failed.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    if let Some(unknown) = arguments.iter().find(|name| !STAGES.iter().any(|(known, _)| known == name)) {
        let known: Vec<_> = STAGES.iter().map(|(name, _)| *name).collect();
        return Err(format!("no stage {unknown}; usage: cargo xtask ci [{}]...", known.join("|")));
    }
    let mut failed = Vec::new();
    for (name, stage) in STAGES {
        if !arguments.is_empty() && !arguments.iter().any(|asked| asked == name) {
            continue;
        }
        println!("\n==== {name}");
        let start = Instant::now();
        let outcome = stage();
        let took = start.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("==== {name}: passed in {took:.1} s"),
            Err(error) => {
                println!("{error}\n==== {name}: FAILED after {took:.1} s");
                failed.push(name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn fmt() -> Result<(), String> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["fmt", "--manifest-path", "xtask/bench-client/Cargo.toml", "--", "--config-path", ".", "--check"])
}

fn clippy() -> Result<(), String> {
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let both = ["-p", "sordini-core", "-p", "sordini-sim", "--features", "sordini-sim/museum"];
    cargo(&[&["clippy", "--quiet", "--all-targets"], &both[..], &["--", "-D", "warnings"]].concat())
}

/// The core and the words compile where there is no std, so no dependency brings it in.
fn no_std() -> Result<(), String> {
    let installed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    let installed =
        installed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !installed.lines().any(|target| target == BARE_TARGET) {
        println!("not checked: the target {BARE_TARGET} is not installed");
        return Ok(());
    }
    cargo(&["check", "--quiet", "-p", "sordini-core", "--no-default-features", "--target", BARE_TARGET])
}

fn test() -> Result<(), String> {
    cargo(&["test", "--workspace", "--no-fail-fast"])?;
    // Stored plans that switch wrong rules on need a build that has them.
    let with_museum = ["--package", "sordini-scenarios", "--features", "museum"];
    cargo(&[&["test"], &with_museum[..], &["--test", "scenarios", "museum/"]].concat())
}

/// Every wrong rule of the museum is noticed, and without it everything holds.
fn museum() -> Result<(), String> {
    cargo(&["test", "-p", "sordini-core", "--features", "museum"])?;
    cargo(&["test", "-p", "sordini-sim", "--features", "museum", "--test", "museum"])
}

/// The same seed must give the same run, trace hash included, in two processes and without optimisation.
fn determinism() -> Result<(), String> {
    cargo(&["build", "--quiet", "--package", "sordini-sim"])?;
    println!("not compared: wasm32, for which nothing here is built");
    // The first is the one that `cargo sim` builds and runs, in a process of its own.
    let builds = ["target/sim/sordini-sim", "target/debug/sordini-sim"];
    cargo(&["sim", "meta", "--seeds", GATE_SEEDS, "--builds", builds[0], builds[1]])
}

fn sweep() -> Result<(), String> {
    cargo(&["sim", "sweep", "--seeds", SWEEP_SEEDS, "--jobs", "2", "--every-mark"])?;
    // Every commit has seeds of its own as well, the same whenever it is judged.
    let head = Command::new("git").current_dir(root()).args(["rev-parse", "HEAD"]).output();
    let head = head.map_err(|error| format!("cannot run git: {error}"))?;
    let head = String::from_utf8_lossy(&head.stdout).into_owned();
    let Some(first) = head.get(..8).and_then(|hash| u64::from_str_radix(hash, 16).ok()) else {
        println!("no seeds of the commit's own: this is no clone");
        return Ok(());
    };
    let seeds = format!("{first}..{}", first + COMMIT_SEEDS);
    cargo(&["sim", "sweep", "--seeds", &seeds, "--jobs", "2"])
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The cargo that runs this.
pub(crate) fn cargo_path() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    println!("$ cargo {}", arguments.join(" "));
    let status = Command::new(cargo_path())
        .current_dir(root())
        .args(arguments)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} ended with {status}", arguments.join(" "))) }
}
