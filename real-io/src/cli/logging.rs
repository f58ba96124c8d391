//! The log: to the standard error stream, in a line for people or one for machines.

use clap::ValueEnum;
use std::io::{self, IsTerminal as _};
use std::panic;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Sends what is logged from here on to the standard error stream.
pub(super) fn install(format: LogFormat) {
    let (filter, problem) = filter();
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let is_colourful = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(layer.compact().with_target(false).with_ansi(is_colourful)).init();
        }
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
    if let Some(problem) = problem {
        tracing::warn!("{problem}");
    }
    // A panic is a bug, and its message belongs where the operator looks.
    panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!("{panic}\n{backtrace}");
    }));
}

/// `RUST_LOG`, or the level in the variable that the official container image knows.
fn filter() -> (Targets, Option<String>) {
    let default = Targets::new().with_default(LevelFilter::INFO);
    if let Some(text) = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()) {
        return match text.parse() {
            Ok(filter) => (filter, None),
            Err(error) => (default, Some(format!("RUST_LOG={text} is not understood: {error}"))),
        };
    }
    let level = match std::env::var("KAFKA_LOG4J_ROOT_LOGLEVEL").unwrap_or_default().to_uppercase().as_str() {
        "OFF" => LevelFilter::OFF,
        "FATAL" | "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" | "ALL" => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    };
    (Targets::new().with_default(level), None)
}
