//! The command line: what is asked, and the exit code that answers.

mod logging;
mod quorum;
mod scram;
mod start;

use clap::{Parser, Subcommand};
use logging::LogFormat;
use scram::{AddScram, MalformedScram};
use sordini::config::{self, ListScope, LoadError, Loaded};
use sordini::server::{FormatOptions, ServerError, format};
use sordini_core::features::{FirstLevels, LevelError, WantedLevel};
use sordini_core::format::{FirstVoter, FirstVoters};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const EXAMPLES: &str = "\
EXAMPLES
  sordini dev                                    a broker on localhost:9092 with its data in ./sordini-data
  sordini start --config server.properties       a broker as configured
  sordini config check server.properties         what is wrong with a configuration
  sordini quorum --server localhost:9092         who leads the metadata quorum

EXIT CODES
  0 clean stop, 1 failure while running, 2 wrong usage or configuration, 3 log directory not formatted or of another
  cluster, 4 port in use, 70 a bug in sordini";

/// A Kafka broker and controller.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, propagate_version = true)]
struct Cli {
    /// How lines of the log are written; which are, RUST_LOG says (for instance RUST_LOG=debug)
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a broker for development: formatted if needed, reachable as localhost
    Dev {
        /// Directory of its data
        #[arg(long, value_name = "DIR", default_value = "./sordini-data")]
        data_dir: PathBuf,
        /// Port for clients; 0 for any that is free
        #[arg(long, default_value_t = config::DEFAULT_PORT)]
        port: u16,
        /// Address to listen at and to tell clients; every address of this machine, told as localhost, if not given
        #[arg(long)]
        host: Option<String>,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Start a broker, a controller or both, as a configuration says
    #[command(after_help = START_EXAMPLES)]
    Start {
        /// Kafka's server.properties; without it and without KAFKA_ variables, what `dev` assumes
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
        /// Format log directories that are not formatted, for the cluster CLUSTER_ID names in the environment or a new one
        #[arg(long)]
        format_if_needed: bool,
    },
    /// Give log directories the identity of a node and a cluster
    #[command(after_help = FORMAT_EXAMPLES)]
    Format {
        /// Kafka's server.properties; without it and without KAFKA_ variables, what `dev` assumes
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Id of the cluster; a new one if not given
        #[arg(long, short = 't', value_name = "ID")]
        cluster_id: Option<String>,
        #[command(flatten)]
        first: First,
        #[command(flatten)]
        contents: Contents,
        /// Skip log directories that are formatted already
        #[arg(long, short = 'g')]
        ignore_formatted: bool,
        #[command(flatten)]
        overrides: Overrides,
    },
    /// Show who leads the metadata quorum, and how far everybody's log is
    Quorum {
        /// A broker or a controller of the cluster
        #[arg(long, value_name = "HOST:PORT", default_value_t = format!("localhost:{}", config::DEFAULT_PORT))]
        server: String,
    },
    /// Judge and explain configurations
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Say what is wrong with a file
    Check {
        /// Kafka's server.properties
        file: PathBuf,
    },
    /// Print every key with its type, default and meaning
    List {
        /// Keys of a topic instead of those of server.properties
        #[arg(long)]
        topic: bool,
    },
    /// Print every key that is set, its value and where it was set
    Show {
        /// Kafka's server.properties
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        #[command(flatten)]
        overrides: Overrides,
    },
}

/// Who votes in the quorum at first.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct First {
    /// This controller is the only voter at first, and others are added to it
    #[arg(long, short)]
    standalone: bool,
    /// These controllers are the voters at first, each formatted with this same list, separated by commas
    #[arg(long, short = 'I', value_name = "ID@HOST:PORT:DIRECTORY-ID", value_delimiter = ',')]
    initial_controllers: Vec<FirstVoter>,
    /// There are voters already, and this node follows them until it is made one
    #[arg(long, short = 'N')]
    no_initial_controllers: bool,
}

impl First {
    fn voters(self) -> Option<FirstVoters> {
        if self.no_initial_controllers {
            Some(FirstVoters::Others)
        } else if self.standalone {
            Some(FirstVoters::Own)
        } else if self.initial_controllers.is_empty() {
            None
        } else {
            Some(FirstVoters::Listed(self.initial_controllers))
        }
    }
}

/// What a new cluster begins with.
#[derive(Debug, clap::Args)]
struct Contents {
    /// Levels of the features are those of this release, for instance 4.3 or 4.2-IV0; of the newest one if not given
    #[arg(long, short = 'r', value_name = "VERSION")]
    release_version: Option<String>,
    /// Level of one feature, for instance group.version=0
    #[arg(long, short = 'f', value_name = "NAME=LEVEL")]
    feature: Vec<WantedLevel>,
    /// A user of SASL/SCRAM, for instance 'SCRAM-SHA-256=[name=alice,password=alice-secret]' or
    /// 'SCRAM-SHA-512=[name=alice,iterations=8192,salt="N3E=",saltedpassword="YCE="]'
    #[arg(long, short = 'S', value_name = "CREDENTIAL")]
    add_scram: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Overrides {
    /// Set a key, whatever the file says
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

const START_EXAMPLES: &str = "\
EXAMPLES
  sordini start --config server.properties --override num.partitions=3
  KAFKA_NODE_ID=1 KAFKA_PROCESS_ROLES=broker,controller sordini start --format-if-needed";

const FORMAT_EXAMPLES: &str = "\
EXAMPLES
  sordini format --config server.properties
  sordini format --config server.properties --cluster-id 5L6g3nShT-eMCtK--X86sw
  sordini format --config controller.properties --standalone                  the first controller of a quorum
  sordini format --config controller.properties --no-initial-controllers      one that follows it until it is added
  sordini format --config server.properties --release-version 4.2 --feature group.version=0
  sordini format --config server.properties --add-scram 'SCRAM-SHA-256=[name=alice,password=alice-secret]'";

/// Why a command failed; decides the exit code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Config(#[from] LoadError),
    #[error(transparent)]
    Levels(#[from] LevelError),
    #[error("--add-scram: {0}")]
    Scram(#[from] MalformedScram),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Quorum(#[from] quorum::QuorumError),
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Levels(_) | Self::Scram(_) => 2,
            Self::Server(ServerError::NotFormatted { .. } | ServerError::OtherCluster { .. }) => 3,
            Self::Server(ServerError::Bind(sordini::net::listener::BindError::InUse { .. })) => 4,
            Self::Server(ServerError::Broken) => 70,
            Self::Server(_) | Self::Quorum(_) | Self::Output(_) => 1,
        }
    }
}

/// Does what the command line of this process asks.
pub(crate) fn main(started: Instant) -> ExitCode {
    let cli = Cli::parse();
    logging::install(cli.log_format);
    match run(cli.command, started) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has had enough of it.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            // The log may go elsewhere; a command that fails says so where it was typed.
            let _ = writeln!(io::stderr(), "sordini: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command, started: Instant) -> Result<(), Failure> {
    match command {
        Command::Dev { data_dir, port, host, overrides } => {
            start::dev(data_dir, port, host.as_deref(), overrides.overrides, started)
        }
        Command::Start { config, overrides, format_if_needed } => {
            start::start(config.as_deref(), &overrides.overrides, format_if_needed, started)
        }
        Command::Format { config, cluster_id, first, contents, ignore_formatted, overrides } => {
            let Loaded { config, warnings } =
                config::start(config.as_deref(), environment(), &overrides.overrides)?;
            start::warn(&warnings);
            let Contents { release_version, feature, add_scram } = contents;
            let voters_are_configured = !config.controller_quorum_voters.is_empty();
            let levels = FirstLevels::choose(release_version.as_deref(), &feature, voters_are_configured)?;
            if !add_scram.is_empty() {
                levels.check_scram()?;
            }
            let mut credentials = Vec::new();
            for user in &add_scram {
                credentials.push(user.parse::<AddScram>()?.credential()?);
            }
            let log_dirs: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
            let _locks = start::lock(&log_dirs)?;
            let mut out = io::stdout().lock();
            let cluster_id = cluster_id.or_else(cluster_id_of_environment);
            let voters = first.voters();
            let options = FormatOptions { cluster_id, voters, levels, credentials, ignore_formatted };
            match format(&config, &log_dirs, options)? {
                Some(cluster_id) => {
                    writeln!(out, "formatted for cluster {cluster_id}: {}", config.log_dirs.join(", "))?
                }
                None => writeln!(out, "formatted already: {}", config.log_dirs.join(", "))?,
            }
            Ok(())
        }
        Command::Quorum { server } => {
            Ok(io::stdout().lock().write_all(quorum::describe(&server)?.as_bytes())?)
        }
        Command::Config(ConfigCommand::Check { file }) => {
            let Loaded { warnings, .. } = config::check(&file)?;
            let mut out = io::stdout().lock();
            for warning in &warnings {
                writeln!(out, "warning: {warning}")?;
            }
            Ok(writeln!(out, "{}: fine", file.display())?)
        }
        Command::Config(ConfigCommand::List { topic }) => {
            let scope = if topic { ListScope::Topic } else { ListScope::Broker };
            Ok(config::list(scope, &mut io::BufWriter::new(io::stdout().lock()))?)
        }
        Command::Config(ConfigCommand::Show { config, overrides }) => {
            let loaded = config::start(config.as_deref(), environment(), &overrides.overrides)?;
            Ok(config::show(&loaded.config, &mut io::BufWriter::new(io::stdout().lock()))?)
        }
    }
}

/// The variables that can be keys; those that are not text are nobody's keys.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    })
}

/// `CLUSTER_ID`, as the official container image has it.
fn cluster_id_of_environment() -> Option<String> {
    std::env::var("CLUSTER_ID").ok().filter(|id| !id.is_empty())
}
