//! Starting a node, and what it says when it is up.

use super::{Failure, cluster_id_of_environment, environment};
use sordini::config::{self, DevOptions, Loaded};
use sordini::disk::lock::DirLock;
use sordini::server::{Bound, Formatting, Server, ServerError};
use sordini_core::config::broker::Warning;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// `sordini dev`.
pub(super) fn dev(
    data_dir: PathBuf,
    port: u16,
    host: Option<&str>,
    mut overrides: Vec<String>,
    started: Instant,
) -> Result<(), Failure> {
    if let Some(host) = host {
        let told = match host {
            "0.0.0.0" | "::" | "[::]" => "localhost",
            host => host,
        };
        let in_brackets = |host: &str| match host.contains(':') && !host.starts_with('[') {
            true => format!("[{host}]"),
            false => host.to_owned(),
        };
        let given = [
            format!("listeners=PLAINTEXT://{}:{port}", in_brackets(host)),
            format!("advertised.listeners=PLAINTEXT://{}:{port}", in_brackets(told)),
        ];
        // What is overridden key by key still wins.
        overrides.splice(0..0, given);
    }
    let loaded = config::dev(&DevOptions { data_dir, port }, &overrides)?;
    run(loaded, &Formatting::IfNeeded { cluster_id: cluster_id_of_environment() }, started)
}

/// `sordini start`.
pub(super) fn start(
    file: Option<&Path>,
    overrides: &[String],
    format_if_needed: bool,
    started: Instant,
) -> Result<(), Failure> {
    let loaded = config::start(file, environment(), overrides)?;
    let formatting = if format_if_needed || file.is_none() {
        Formatting::IfNeeded { cluster_id: cluster_id_of_environment() }
    } else {
        Formatting::Refuse
    };
    run(loaded, &formatting, started)
}

/// Tells what in a configuration may not do what its author thinks.
pub(super) fn warn(warnings: &[Warning]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}

/// Takes log directories for as long as the locks live.
pub(super) fn lock(log_dirs: &[PathBuf]) -> Result<Vec<DirLock>, ServerError> {
    Ok(log_dirs.iter().map(|dir| DirLock::take(dir)).collect::<Result<_, _>>()?)
}

fn run(loaded: Loaded, formatting: &Formatting, started: Instant) -> Result<(), Failure> {
    let Loaded { config, warnings } = loaded;
    warn(&warnings);
    let node = config.node_id;
    let server = Server::acquire(config)?;
    server.prepare(formatting)?;
    let on_ready = |bound: &[Bound]| {
        let ready = started.elapsed();
        // Whoever waits for a broker in a container waits for one of these.
        tracing::info!(node.id = node.0, "Kafka Server started");
        tracing::info!(node.id = node.0, "Transitioning from RECOVERY to RUNNING");
        // A closed standard output stream is no reason to stop.
        let _ = io::stdout().write_all(announcement(bound, ready.as_millis()).as_bytes());
    };
    Ok(server.run(on_ready)?)
}

/// Where the node listens, what it tells clients, and how to try it.
fn announcement(bound: &[Bound], millis: u128) -> String {
    let mut text = format!("{:<14} {:<28} {}\n", "listener", "bound", "advertised");
    for listener in bound {
        let addresses: Vec<String> = listener.addresses.iter().map(ToString::to_string).collect();
        let advertised = listener.advertised.as_deref().unwrap_or("-");
        let _ = writeln!(text, "{:<14} {:<28} {advertised}", listener.name, addresses.join(" "));
    }
    if let Some(address) = bound.iter().find_map(|listener| listener.advertised.as_deref()) {
        let _ = write!(
            text,
            "\n  kcat -b {address} -t greetings -P <<< hello\n  kcat -b {address} -t greetings -C -e\n  \
             kafka-console-producer.sh --bootstrap-server {address} --topic greetings\n\n\
             ready on {address} in {millis} ms\n"
        );
    } else {
        let _ = writeln!(text, "ready in {millis} ms");
    }
    text
}
