//! The command line.

mod serve;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sordini::config::{self, DevOptions, ListScope, LoadError, Loaded};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// As it was asked to.
    Clean = 0,
    /// The node failed while it ran.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A log directory is not formatted, or another node's.
    NotFormatted = 3,
    /// Somebody else listens on the port.
    PortInUse = 4,
    /// A bug of ours.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A broker that speaks Kafka's protocol.
#[derive(Debug, Parser)]
#[command(
    name = "sordini",
    version,
    about,
    after_help = "Exit codes: 0 clean stop, 1 failure, 2 usage or configuration, \
    3 storage not formatted, 4 port in use, 70 internal error."
)]
struct Cli {
    /// How log lines look; RUST_LOG says which there are.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// One line for a person.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a broker for development: formats its directory and listens on port 9092.
    #[command(after_help = "EXAMPLES:\n  sordini dev\n  sordini dev --data-dir /tmp/kafka --port 19092\n  \
        sordini dev --override num.partitions=3")]
    Dev {
        /// Where the data lies; created and formatted when absent.
        #[arg(long, default_value = "./sordini-data")]
        data_dir: PathBuf,
        /// The port for clients; 0 takes a free one.
        #[arg(long, default_value_t = config::DEFAULT_PORT)]
        port: u16,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Start a broker by a server.properties file.
    #[command(after_help = "EXAMPLES:\n  sordini start --config server.properties\n  \
        sordini start --config server.properties --override log.retention.ms=3600000")]
    Start {
        /// The file with Kafka's keys. Without one, and without KAFKA_ variables, the node of `sordini dev` starts.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Format log directories that are empty.
        #[arg(long)]
        format_if_needed: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Give empty log directories their identity.
    #[command(after_help = "EXAMPLES:\n  sordini format --config server.properties\n  \
        sordini format --config server.properties --cluster-id 5L6g3nShT-eMCtK--X86sw")]
    Format {
        /// The file with Kafka's keys.
        #[arg(long)]
        config: Option<PathBuf>,
        /// The cluster the node belongs to; a new one when absent.
        #[arg(long)]
        cluster_id: Option<String>,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Look at configuration without starting anything.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Judge a server.properties file: 0 when it is right, 2 when not.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// List every key with its default and whether it has an effect.
    List {
        /// The keys of topics in place of the broker's.
        #[arg(long)]
        topic: bool,
    },
    /// Show every key that is set, and where.
    Show {
        /// The file.
        #[arg(long)]
        config: Option<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
    },
}

#[derive(Debug, Args)]
struct Overrides {
    /// Set a key, whatever the file says. May be given several times.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Runs the command line. `began` is when the process started.
pub(crate) fn run(began: Instant) -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_format);
    match cli.command {
        Command::Dev { data_dir, port, overrides } => {
            let loaded = config::dev(&DevOptions { data_dir, port }, &overrides.overrides);
            with(loaded, |loaded| serve::serve(loaded, true, began))
        }
        Command::Start { config, format_if_needed, overrides } => {
            let loaded = config::start(config.as_deref(), environment(), &overrides.overrides);
            with(loaded, |loaded| serve::serve(loaded, format_if_needed, began))
        }
        Command::Format { config, cluster_id, overrides } => {
            let loaded = config::start(config.as_deref(), environment(), &overrides.overrides);
            with(loaded, |loaded| serve::format(&loaded.config, cluster_id))
        }
        Command::Config(ConfigCommand::Check { file }) => with(config::check(&file), |_| {
            println!("{}: right", file.display());
            Exit::Clean
        }),
        Command::Config(ConfigCommand::List { topic }) => {
            let scope = if topic { ListScope::Topic } else { ListScope::Broker };
            printed(config::list(scope, &mut std::io::stdout().lock()))
        }
        Command::Config(ConfigCommand::Show { config, overrides }) => {
            let loaded = config::start(config.as_deref(), environment(), &overrides.overrides);
            with(loaded, |loaded| printed(config::show(&loaded.config, &mut std::io::stdout().lock())))
        }
    }
    .into()
}

fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
}

/// Goes on with a configuration, or says what is wrong with it.
fn with(loaded: Result<Loaded, LoadError>, go_on: impl FnOnce(Loaded) -> Exit) -> Exit {
    match loaded {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            go_on(loaded)
        }
        Err(error) => {
            eprintln!("{error}");
            Exit::Usage
        }
    }
}

/// A pipe that nobody reads to its end is no failure.
fn printed(result: std::io::Result<()>) -> Exit {
    match result.and_then(|()| std::io::stdout().flush()) {
        Ok(()) => Exit::Clean,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Clean,
        Err(error) => {
            eprintln!("cannot print: {error}");
            Exit::Failed
        }
    }
}

fn start_log(format: LogFormat) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        LogFormat::Text => builder.compact().init(),
        LogFormat::Json => builder.json().init(),
    }
}
