//! A node's life in the real world: sockets and locks taken, formatting, running, a clean stop.

use crate::clock::Clock;
use crate::disk::lock::{DirLock, LockError};
use crate::disk::{Disk, DiskOptions};
use crate::driver::Driver;
use crate::net::Shared;
use crate::net::listener::{self, BindError, Doorkeeper, Limits};
use sordini_core::config::broker::BrokerConfig;
use sordini_core::features::FirstLevels;
use sordini_core::format::{Beginning, FirstVoters, FirstVotersError};
use sordini_core::museum::Museum;
use sordini_core::node::{Input, Node, NodeConfig, NodeState};
use sordini_core::storage_op::{StorageFault, StorageOp, StorageToken};
use sordini_protocol::records::UserScramCredentialRecord;
use sordini_protocol::wire::Str;
use std::fs::File;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Why a node could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A listener cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A log directory is another process's.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A log directory has not been formatted.
    #[error(
        "log directory {} is not formatted: run `sordini format` with the same configuration, or start with --format-if-needed",
        dir.display()
    )]
    NotFormatted {
        /// The directory.
        dir: PathBuf,
    },
    /// Nothing is formatted, since who votes at first is not said, or is said wrongly.
    #[error(transparent)]
    Voters(#[from] FirstVotersError),
    /// A log directory is formatted, and nobody said that it may be.
    #[error(
        "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.",
        dir.display()
    )]
    Formatted {
        /// The directory.
        dir: PathBuf,
    },
    /// A log directory belongs to a cluster, and is not to be given to another.
    #[error("log directory {} belongs to cluster {found}, not to {wanted}: use its id, or another directory", dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Its cluster.
        found: String,
        /// The cluster that was asked for.
        wanted: String,
    },
    /// Some log directories are formatted and others are not, and no cluster id can be read from those that are.
    #[error("log directory {} cannot be read: {error}", dir.display())]
    Unreadable {
        /// The directory.
        dir: PathBuf,
        /// What was said.
        error: io::Error,
    },
    /// Formatting failed.
    #[error("formatting failed at {path}: {fault}")]
    Format {
        /// The storage path.
        path: String,
        /// What was said.
        fault: StorageFault,
    },
    /// The operating system refused something that every process needs.
    #[error("{what}: {error}")]
    System {
        /// What was asked.
        what: &'static str,
        /// What was said.
        error: io::Error,
    },
    /// The node gave up; the text is its own.
    #[error("{0}")]
    Failed(String),
    /// A bug of ours.
    #[error("a bug in sordini stopped the node: please report what the log says above")]
    Broken,
    /// A second signal ended the stop.
    #[error("stopped before everything was written: the next start recovers")]
    StoppedAtOnce,
}

/// What is done with log directories that are not formatted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Formatting {
    /// They are refused.
    Refuse,
    /// They are formatted, for this cluster or for a new one.
    IfNeeded {
        /// The cluster's id.
        cluster_id: Option<String>,
    },
}

/// A listener that listens.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Where.
    pub addresses: Vec<SocketAddr>,
    /// What clients are told; `None` for a controller's listener.
    pub advertised: Option<String>,
}

/// Sockets and log directories are this process's; nothing runs yet.
#[derive(Debug)]
pub struct Server {
    config: BrokerConfig,
    listeners: Vec<(Str, TcpListener)>,
    bound: Vec<Bound>,
    log_dirs: Vec<PathBuf>,
    _locks: Vec<DirLock>,
}

/// How long closing may take, once the node serves nobody any more, before the process ends all the same. How long a broker
/// waits for leave before that is the node's to say.
const STOP_MAX: Duration = Duration::from_secs(60);
/// What frames in progress may take where `queued.max.request.bytes` sets no limit.
const QUEUED_BYTES_DEFAULT: u64 = 512 << 20;
/// After so many polls of tasks the runtime looks at its sockets again. Its default is for tasks that are shorter than
/// reading, judging and writing a megabyte.
const EVENT_INTERVAL: u32 = 4;

impl Server {
    /// Takes the sockets and the log directories that `config` names.
    ///
    /// # Errors
    ///
    /// Another process has one of them.
    pub fn acquire(mut config: BrokerConfig) -> Result<Self, ServerError> {
        let mut listeners = Vec::new();
        let mut bound = Vec::new();
        for listener in &mut config.listeners {
            let sockets = listener::bind(&listener.host, listener.port)?;
            let addresses: Vec<SocketAddr> =
                sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
            if let Some(address) = addresses.first() {
                listener.port = address.port();
            }
            bound.push(Bound { name: listener.name.clone(), addresses, advertised: None });
            let name = Str::from(listener.name.as_str());
            listeners.extend(sockets.into_iter().map(|socket| (name.clone(), socket)));
        }
        for advertised in &mut config.advertised_listeners {
            let Some(listener) = config.listeners.iter().find(|listener| listener.name == advertised.name)
            else {
                continue;
            };
            if advertised.port == 0 {
                advertised.port = listener.port;
            }
            if advertised.host.is_empty() {
                advertised.host = match &*listener.host {
                    "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
                    host => host.to_owned(),
                };
            }
            if let Some(bound) = bound.iter_mut().find(|bound| bound.name == advertised.name) {
                let host = &advertised.host;
                let brackets = if host.contains(':') { ["[", "]"] } else { ["", ""] };
                bound.advertised = Some(format!("{}{host}{}:{}", brackets[0], brackets[1], advertised.port));
            }
        }
        let log_dirs: Vec<PathBuf> = config.log_dirs.iter().map(PathBuf::from).collect();
        let locks = log_dirs.iter().map(|dir| DirLock::take(dir)).collect::<Result<_, _>>()?;
        Ok(Self { config, listeners, bound, log_dirs, _locks: locks })
    }

    /// Where it listens.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Sees to it that the log directories are formatted.
    ///
    /// # Errors
    ///
    /// They are not and were not to be; they are another cluster's; they cannot be written.
    pub fn prepare(&self, formatting: &Formatting) -> Result<(), ServerError> {
        match formatting {
            Formatting::Refuse => match unformatted(&self.log_dirs)?.into_iter().next() {
                Some(dir) => Err(ServerError::NotFormatted { dir }),
                None => Ok(()),
            },
            Formatting::IfNeeded { cluster_id } => {
                let cluster_id = cluster_id.clone();
                let options =
                    FormatOptions { cluster_id, ignore_formatted: true, ..FormatOptions::default() };
                format(&self.config, &self.log_dirs, options).map(|_| ())
            }
        }
    }

    /// Runs the node until it is asked to stop by a signal. `on_ready` is called when it serves.
    ///
    /// # Errors
    ///
    /// The node failed, or did not stop in time.
    pub fn run(self, on_ready: impl FnOnce(&[Bound])) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .max_blocking_threads(2)
            .thread_stack_size(1 << 20)
            .thread_name("judge")
            .build_local(tokio::runtime::LocalOptions::default())
            .map_err(|error| ServerError::System { what: "starting the runtime", error })?;
        let result = runtime.block_on(self.serve(on_ready));
        runtime.shutdown_background();
        result
    }

    async fn serve(self, on_ready: impl FnOnce(&[Bound])) -> Result<(), ServerError> {
        let system = |what| move |error| ServerError::System { what, error };
        // Before anything is on its way, so that no signal is missed.
        let mut terminate = signal(SignalKind::terminate()).map_err(system("waiting for SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(system("waiting for SIGINT"))?;
        let config = &self.config;
        let node =
            Node::new(NodeConfig { broker: config.clone(), seed: random_seed()?, museum: Museum::NONE });
        let open_files = OpenFiles::raise();
        let disk_options = DiskOptions { open_files_max: open_files.kept_by_disk, ..DiskOptions::default() };
        let driver = Driver::new(node, Clock::start(), &self.log_dirs, disk_options);
        let shared = Shared::new(
            usize::try_from(config.socket_request_max_bytes).unwrap_or(usize::MAX),
            config.queued_max_request_bytes.unwrap_or(QUEUED_BYTES_DEFAULT),
        );
        let doorkeeper = Doorkeeper::new(limits(config, open_files));
        let mut tasks = JoinSet::new();
        tasks.spawn_local(Rc::clone(&driver).keep_time());
        tasks.spawn_local(Rc::clone(&driver).collect_completions());
        tasks.spawn_local(Rc::clone(&doorkeeper).sweep(Rc::clone(&driver), shared.clone()));
        driver.submit(Input::Started);
        let (mut unopened, mut on_ready) = (self.listeners, Some(on_ready));
        let mut stopping: Option<Instant> = None;
        let mut state = driver.state();
        loop {
            let give_up = doorkeeper.is_closed().then(|| tokio::time::sleep(STOP_MAX));
            let is_signal = tokio::select! {
                changed = driver.until(|now| *now != state) => {
                    state = changed;
                    false
                }
                _ = terminate.recv() => true,
                _ = interrupt.recv() => true,
                () = async { give_up.expect("it is there").await }, if give_up.is_some() => {
                    return Err(ServerError::StoppedAtOnce);
                }
            };
            if is_signal {
                if stopping.is_some() {
                    return Err(ServerError::StoppedAtOnce);
                }
                if state == NodeState::Starting {
                    // There is nothing yet that a stop would have to save.
                    return Ok(());
                }
                tracing::info!("stopping");
                stopping = Some(Instant::now());
                driver.submit(Input::StopRequested);
                continue;
            }
            for (name, socket) in unopened.extract_if(.., |(name, _)| driver.serves(name)) {
                let listener =
                    tokio::net::TcpListener::from_std(socket).map_err(system("registering a listener"))?;
                let (driver, shared, doorkeeper) =
                    (Rc::clone(&driver), shared.clone(), Rc::clone(&doorkeeper));
                tasks.spawn_local(listener::accept(driver, shared, doorkeeper, listener, name));
            }
            match &state {
                NodeState::Starting | NodeState::Joining => {}
                NodeState::Running => {
                    if let Some(on_ready) = on_ready.take() {
                        on_ready(&self.bound);
                    }
                }
                NodeState::Stopping => doorkeeper.stop(),
                NodeState::Stopped => {
                    let millis = stopping.map_or(0, |since| since.elapsed().as_millis());
                    tracing::info!(millis, "stopped");
                    return Ok(());
                }
                NodeState::Failed(reason) => return Err(failed(&driver, reason.clone())),
            }
        }
    }
}

fn failed(driver: &Driver, reason: String) -> ServerError {
    if driver.is_broken() { ServerError::Broken } else { ServerError::Failed(reason) }
}

fn limits(config: &BrokerConfig, open_files: OpenFiles) -> Limits {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let mut overrides = Vec::new();
    for (host, max) in &config.max_connections_per_ip_overrides {
        match (host.as_str(), 0).to_socket_addrs() {
            Ok(addresses) => {
                overrides.extend(addresses.map(|address| (address.ip().to_canonical(), count(*max))))
            }
            Err(error) => {
                tracing::warn!(%host, %error, "max.connections.per.ip.overrides: an unknown host is overlooked");
            }
        }
    }
    Limits {
        connections_max: count(config.max_connections).min(open_files.connections_max),
        connections_per_ip_max: count(config.max_connections_per_ip),
        connections_per_ip_overrides: overrides,
        idle_max: (config.connections_max_idle_ms)
            .map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))),
    }
}

/// How log directories are to be formatted.
#[derive(Clone, Debug, Default)]
pub struct FormatOptions {
    /// Of the cluster; a new one if not given.
    pub cluster_id: Option<String>,
    /// Who votes at first, if that is said.
    pub voters: Option<FirstVoters>,
    /// The levels of the features with which the cluster begins.
    pub levels: FirstLevels,
    /// Users of SASL/SCRAM with which the cluster begins.
    pub credentials: Vec<UserScramCredentialRecord>,
    /// Whether directories that are formatted may be among the others.
    pub ignore_formatted: bool,
}

/// Formats those of the directories that are not, and gives the id of the cluster they then belong to, or `None` if all
/// of them were formatted already.
///
/// # Errors
///
/// Directories are formatted and must not be, or are another cluster's, or they cannot be written; or who votes at first is
/// not said, or said wrongly.
pub fn format(
    config: &BrokerConfig,
    log_dirs: &[PathBuf],
    options: FormatOptions,
) -> Result<Option<String>, ServerError> {
    let FormatOptions { cluster_id, voters, levels, credentials, ignore_formatted } = options;
    let voters = FirstVoters::choose(voters, config)?;
    let absent = unformatted(log_dirs)?;
    let mut known = cluster_id;
    for dir in log_dirs.iter().filter(|dir| !absent.contains(dir)) {
        let found = cluster_of(dir)?;
        match &known {
            Some(wanted) if *wanted != found => {
                return Err(ServerError::OtherCluster { dir: dir.clone(), found, wanted: wanted.clone() });
            }
            Some(_) => {}
            None => known = Some(found),
        }
    }
    if !ignore_formatted && let Some(dir) = log_dirs.iter().find(|dir| !absent.contains(dir)) {
        return Err(ServerError::Formatted { dir: dir.clone() });
    }
    if absent.is_empty() {
        return Ok(None);
    }
    let seed = random_seed()?;
    let cluster_id = known.unwrap_or_else(|| sordini_core::format::new_cluster_id(seed).to_string());
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall_ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    // The directory ids must differ from the cluster's, which came from the same generator.
    let beginning = Beginning { voters, levels, credentials };
    let ops = sordini_core::format::format(config, &cluster_id, &beginning, random_seed()?, wall_ms);
    let is_absent = |op: &StorageOp| {
        let log_dir = op.path().as_str().split('/').next().and_then(|number| number.parse::<usize>().ok());
        log_dir.and_then(|number| log_dirs.get(number)).is_some_and(|dir| absent.contains(dir))
    };
    run_in_order(log_dirs, ops.into_iter().filter(is_absent))?;
    Ok(Some(cluster_id))
}

fn meta_properties(dir: &Path) -> PathBuf {
    dir.join("meta.properties")
}

fn unformatted(log_dirs: &[PathBuf]) -> Result<Vec<PathBuf>, ServerError> {
    let mut absent = Vec::new();
    for dir in log_dirs {
        match meta_properties(dir).try_exists() {
            Ok(true) => {}
            Ok(false) => absent.push(dir.clone()),
            Err(error) => return Err(ServerError::Unreadable { dir: dir.clone(), error }),
        }
    }
    Ok(absent)
}

fn cluster_of(dir: &Path) -> Result<String, ServerError> {
    let unreadable = |error| ServerError::Unreadable { dir: dir.to_path_buf(), error };
    let invalid = |error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error));
    let file = File::open(meta_properties(dir)).map_err(unreadable)?;
    let mut entries =
        java_properties::read(BufReader::new(file)).map_err(|error| invalid(error.to_string()))?;
    (entries.remove("cluster.id")).ok_or_else(|| invalid("meta.properties has no cluster.id".to_owned()))
}

/// Carries out operations one after the other, as no node does: before there is one.
fn run_in_order(log_dirs: &[PathBuf], ops: impl Iterator<Item = StorageOp>) -> Result<(), ServerError> {
    // Whoever formats has nothing else to do than to wait.
    let options = DiskOptions { threads_max: 0, ..DiskOptions::default() };
    let mut disk = Disk::new(log_dirs, options, Arc::new(|| {}));
    for (sequence, op) in (0..).zip(ops) {
        let path = op.path().as_str().to_owned();
        disk.submit(StorageToken { owner: 0, sequence }, op);
        disk.collect();
        let (_, result) =
            disk.next_completed().unwrap_or_else(|| unreachable!("a disk without threads has done it"));
        result.map_err(|fault| ServerError::Format { path, fault })?;
    }
    Ok(())
}

fn random_seed() -> Result<u64, ServerError> {
    Ok(u64::from_le_bytes(random_bytes()?))
}

/// Bytes that nobody can guess.
///
/// # Errors
///
/// The operating system has none.
pub fn random_bytes<const LEN: usize>() -> Result<[u8; LEN], ServerError> {
    let mut bytes = [0; LEN];
    let mut filled = 0;
    while filled < LEN {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|error| ServerError::System { what: "drawing a random number", error: error.into() })?;
    }
    Ok(bytes)
}

/// How the open files that the operating system lets this process have are shared out. Clients must not be able to take
/// those that logs need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenFiles {
    kept_by_disk: usize,
    connections_max: usize,
}

/// For what is opened for a moment: files that are written beside others, directories that are synced, signals, timers.
const OPEN_FILES_RESERVED: u64 = 64;

impl OpenFiles {
    /// Asks for as many as there are.
    fn raise() -> Self {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            let raised = Rlimit { current: limit.maximum, ..limit };
            match setrlimit(Resource::Nofile, raised) {
                Ok(()) => limit = raised,
                Err(error) => tracing::warn!(%error, "cannot raise the limit of open files"),
            }
        }
        Self::share(limit.current.unwrap_or(u64::MAX))
    }

    fn share(limit: u64) -> Self {
        let kept_by_disk = (limit / 4).clamp(16, 1 << 16);
        let connections_max = limit.saturating_sub(kept_by_disk + OPEN_FILES_RESERVED).max(1);
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Self { kept_by_disk: count(kept_by_disk), connections_max: count(connections_max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_take_the_open_files_that_logs_need() {
        for limit in [256, 1024, 20_000, 1 << 20, u64::MAX] {
            let OpenFiles { kept_by_disk, connections_max } = OpenFiles::share(limit);
            let all = kept_by_disk as u64 + connections_max as u64 + OPEN_FILES_RESERVED;
            assert!(all <= limit, "{limit}");
            assert!(kept_by_disk >= 64, "{limit}");
        }
        assert!(OpenFiles::share(20_000).connections_max > 10_000);
    }
}
