//! Starting and stopping a node: directories, sockets, signals, and what is said about them.

use super::Exit;
use sordini::clock::Clock;
use sordini::config::Loaded;
use sordini::disk::lock::{DirLock, LockError};
use sordini::disk::{Disk, DiskOptions};
use sordini::driver::Driver;
use sordini::net::Shared;
use sordini::net::listener::{self, BindError, Doorkeeper, Limits};
use sordini_core::config::BrokerConfig;
use sordini_core::node::{Input, Node, NodeConfig, NodeState};
use sordini_core::storage_op::{StorageFault, StorageToken};
use sordini_protocol::wire::Str;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Frames that are being read may take this much memory together when the configuration sets no limit: room for a
/// hundred producers with full batches in flight.
const QUEUED_BYTES_DEFAULT: u64 = 512 << 20;

/// A clean stop that takes longer than this is given up; the next start finds the logs as after a crash.
const STOP_MAX: Duration = Duration::from_secs(30);

/// What went wrong before the node ran.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(
        "log directory {} is not formatted: run `sordini format` with the same configuration, or start with \
         --format-if-needed", .0.display()
    )]
    NotFormatted(PathBuf),
    #[error("log directory {} is formatted already", .0.display())]
    AlreadyFormatted(PathBuf),
    #[error("formatting failed: {0}")]
    Format(StorageFault),
    #[error("'{0}' is not a cluster id: it has 22 characters of URL-safe Base64")]
    ClusterId(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl StartError {
    const fn exit(&self) -> Exit {
        match self {
            Self::Bind(BindError::InUse { .. }) => Exit::PortInUse,
            Self::NotFormatted(_) => Exit::NotFormatted,
            Self::ClusterId(_) | Self::AlreadyFormatted(_) => Exit::Usage,
            Self::Lock(_) | Self::Bind(BindError::Io { .. }) | Self::Format(_) | Self::Io(_) => Exit::Failed,
        }
    }
}

/// A listener that is bound.
struct Bound {
    name: String,
    sockets: Vec<TcpListener>,
}

/// Gives the log directories their identity.
pub(super) fn format(config: &BrokerConfig, cluster_id: Option<String>) -> Exit {
    let formatted = || {
        let dirs = log_dirs(config);
        let _locks = lock(&dirs)?;
        if let Some(dir) = dirs.iter().find(|dir| is_formatted(dir)) {
            return Err(StartError::AlreadyFormatted(dir.clone()));
        }
        let cluster_id = match cluster_id {
            Some(id) if id.parse::<sordini_protocol::wire::Uuid>().is_ok() => id,
            Some(id) => return Err(StartError::ClusterId(id)),
            None => sordini_core::format::new_cluster_id(random_seed()?).to_string(),
        };
        write_format(config, &dirs, &cluster_id)?;
        Ok(cluster_id)
    };
    match formatted() {
        Ok(cluster_id) => {
            println!("formatted {} for cluster {cluster_id}", config.log_dirs.join(", "));
            Exit::Clean
        }
        Err(error) => {
            eprintln!("{error}");
            error.exit()
        }
    }
}

/// Runs a node until it is told to stop.
pub(super) fn serve(loaded: Loaded, format_if_needed: bool, began: Instant) -> Exit {
    match prepare(loaded.config, format_if_needed) {
        Ok(prepared) => prepared.run(began),
        Err(error) => {
            eprintln!("{error}");
            error.exit()
        }
    }
}

/// A node that has everything it needs.
struct Prepared {
    config: BrokerConfig,
    dirs: Vec<PathBuf>,
    bound: Vec<Bound>,
    seed: u64,
    /// Held until the process ends.
    _locks: Vec<DirLock>,
}

fn prepare(mut config: BrokerConfig, format_if_needed: bool) -> Result<Prepared, StartError> {
    raise_open_files_limit();
    let dirs = log_dirs(&config);
    let locks = lock(&dirs)?;
    let mut bound = Vec::new();
    for listener in config.client_listeners() {
        let sockets = listener::bind(&listener.host, listener.port)?;
        bound.push(Bound { name: listener.name.clone(), sockets });
    }
    advertise(&mut config, &bound)?;
    let seed = random_seed()?;
    if let Some(dir) = dirs.iter().find(|dir| !is_formatted(dir)) {
        if !format_if_needed {
            return Err(StartError::NotFormatted(dir.clone()));
        }
        if dirs.iter().all(|dir| !is_formatted(dir)) {
            let cluster_id = sordini_core::format::new_cluster_id(random_seed()?).to_string();
            write_format(&config, &dirs, &cluster_id)?;
        }
    }
    Ok(Prepared { config, dirs, bound, seed, _locks: locks })
}

fn log_dirs(config: &BrokerConfig) -> Vec<PathBuf> {
    config.log_dirs.iter().map(PathBuf::from).collect()
}

fn lock(dirs: &[PathBuf]) -> Result<Vec<DirLock>, LockError> {
    dirs.iter().map(|dir| DirLock::take(dir)).collect()
}

fn is_formatted(dir: &Path) -> bool {
    dir.join("meta.properties").exists()
}

fn write_format(config: &BrokerConfig, dirs: &[PathBuf], cluster_id: &str) -> Result<(), StartError> {
    let wall_ms = Clock::start().now().wall_ms;
    // Without threads of its own a disk does everything at once, in order.
    let options = DiskOptions { threads_max: 0, ..DiskOptions::default() };
    let mut disk = Disk::new(dirs, options, Arc::new(|| {}));
    let ops = sordini_core::format::format(config, cluster_id, random_seed()?, wall_ms);
    for (sequence, op) in (0..).zip(ops) {
        disk.submit(StorageToken { owner: 0, sequence }, op);
        while let Some((_, result)) = disk.next_completed() {
            result.map_err(StartError::Format)?;
        }
    }
    Ok(())
}

fn random_seed() -> std::io::Result<u64> {
    let mut bytes = [0; 8];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    assert_eq!(filled, bytes.len(), "a few random bytes come at once");
    Ok(u64::from_be_bytes(bytes))
}

/// Says for every listener where clients find it, where the configuration leaves that to what was bound.
fn advertise(config: &mut BrokerConfig, bound: &[Bound]) -> Result<(), StartError> {
    for advertised in &mut config.advertised_listeners {
        if advertised.port == 0
            && let Some(bound) = bound.iter().find(|bound| bound.name == advertised.name)
            && let Some(socket) = bound.sockets.first()
        {
            advertised.port = socket.local_addr()?.port();
        }
        if advertised.host.is_empty() {
            advertised.host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
    }
    Ok(())
}

/// As many open files as the system allows: every connection is one, and every segment that is read.
fn raise_open_files_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // A refusal leaves the limit as it was, which is enough for a start.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

impl Prepared {
    fn run(self, began: Instant) -> Exit {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("cannot start: {error}");
                return Exit::Failed;
            }
        };
        let tasks = tokio::task::LocalSet::new();
        let exit = tasks.block_on(&runtime, self.live(began));
        // Whatever still runs elsewhere is of no use any more.
        runtime.shutdown_background();
        exit
    }

    async fn live(self, began: Instant) -> Exit {
        let Self { config, dirs, bound, seed, _locks } = self;
        let queued_bytes_max = config.queued_max_request_bytes.unwrap_or(QUEUED_BYTES_DEFAULT);
        let shared = Shared::new(config.socket_request_max_bytes as usize, queued_bytes_max);
        let doorkeeper = Doorkeeper::new(limits(&config));
        let node = Node::new(NodeConfig { broker: config.clone(), seed });
        let driver = Driver::new(node, Clock::start(), &dirs, DiskOptions::default());
        let mut tasks = JoinSet::new();
        tasks.spawn_local(Rc::clone(&driver).keep_time());
        tasks.spawn_local(Rc::clone(&driver).collect_completions());
        let (mut terminate, mut interrupt) =
            match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
                (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
                (Err(error), _) | (_, Err(error)) => {
                    eprintln!("cannot wait for signals: {error}");
                    return Exit::Failed;
                }
            };
        driver.submit(Input::Started);
        let started = tokio::select! {
            state = driver.until(|state| *state != NodeState::Starting) => state,
            _ = terminate.recv() => return Exit::Clean,
            _ = interrupt.recv() => return Exit::Clean,
        };
        if started != NodeState::Running {
            return ended(&driver, &started);
        }
        for bound in &bound {
            for socket in &bound.sockets {
                let socket = socket.try_clone().and_then(tokio::net::TcpListener::from_std);
                let socket = match socket {
                    Ok(socket) => socket,
                    Err(error) => {
                        eprintln!("cannot listen: {error}");
                        return Exit::Failed;
                    }
                };
                let (driver, shared, name) = (Rc::clone(&driver), shared.clone(), Str::from(&*bound.name));
                tasks.spawn_local(listener::accept(driver, shared, Rc::clone(&doorkeeper), socket, name));
            }
        }
        tasks.spawn_local(Rc::clone(&doorkeeper).sweep(Rc::clone(&driver), shared));
        announce(&config, &bound, began);
        drop(bound);
        tokio::select! {
            state = driver.until(|state| *state != NodeState::Running) => return ended(&driver, &state),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        let stopping = Instant::now();
        driver.submit(Input::StopRequested);
        let state = tokio::select! {
            state = driver.until(|state| !matches!(state, NodeState::Running | NodeState::Stopping)) => state,
            _ = terminate.recv() => { tracing::warn!("stopped at once: the next start checks the logs"); return Exit::Clean }
            _ = interrupt.recv() => { tracing::warn!("stopped at once: the next start checks the logs"); return Exit::Clean }
            () = tokio::time::sleep(STOP_MAX) => {
                tracing::error!("the logs were not closed in {} s", STOP_MAX.as_secs());
                return Exit::Failed;
            }
        };
        if state == NodeState::Stopped {
            tracing::info!("stopped in {} ms", stopping.elapsed().as_millis());
            return Exit::Clean;
        }
        ended(&driver, &state)
    }
}

/// Says why the node is no more.
fn ended(driver: &Driver, state: &NodeState) -> Exit {
    match state {
        NodeState::Failed(why) => {
            eprintln!("{why}");
            if driver.is_broken() { Exit::Bug } else { Exit::Failed }
        }
        NodeState::Starting | NodeState::Running | NodeState::Stopping | NodeState::Stopped => Exit::Clean,
    }
}

fn limits(config: &BrokerConfig) -> Limits {
    let overrides = config.max_connections_per_ip_overrides.iter();
    Limits {
        connections_max: config.max_connections as usize,
        connections_per_ip_max: config.max_connections_per_ip as usize,
        connections_per_ip_overrides: overrides
            .filter_map(|(host, max)| Some((host.parse().ok()?, *max as usize)))
            .collect(),
        idle_max: config
            .connections_max_idle_ms
            .map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
    }
}

/// The table of listeners, the ready line, and what to paste next.
fn announce(config: &BrokerConfig, bound: &[Bound], began: Instant) {
    println!("{:<16} {:<28} advertised", "listener", "bound");
    for bound in bound {
        let advertised = config.advertised_listeners.iter().find(|other| other.name == bound.name);
        let advertised =
            advertised.map(|listener| format!("{}:{}", listener.host, listener.port)).unwrap_or_default();
        for socket in &bound.sockets {
            let address = socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
            println!("{:<16} {address:<28} {advertised}", bound.name);
        }
    }
    let first = config.advertised_listeners.first();
    let address = first.map(|listener| format!("{}:{}", listener.host, listener.port)).unwrap_or_default();
    println!("ready on {address} in {} ms", began.elapsed().as_millis());
    println!();
    println!("  echo hello | kcat -P -b {address} -t greetings");
    println!("  kcat -C -b {address} -t greetings -o beginning -e");
    println!("  kafka-console-producer.sh --bootstrap-server {address} --topic greetings");
    // What container tools wait for.
    tracing::info!("Transitioning from RECOVERY to RUNNING");
    tracing::info!("Kafka Server started");
}
