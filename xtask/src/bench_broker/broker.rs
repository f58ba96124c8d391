//! The brokers that are compared: how each is built, started on an empty directory, and stopped.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use crate::ci::{cargo_path, root};

/// The cluster of nodes that are formatted in a step of its own.
const CLUSTER_ID: &str = "c29yZGluaS1iZW5jaC0xMg";
/// A broker that has not ended this long after SIGTERM is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// This project's broker, built from the working tree.
    Sordini,
    /// Apache Kafka from Maven Central with Kafka's own JVM flags; one broker is a node in combined mode.
    Kafka,
    /// No broker: acknowledges, keeps nothing, and so shows the client's own ceiling.
    Sink,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sordini => "sordini",
            Self::Kafka => "kafka",
            Self::Sink => "sink",
        }
    }
}

/// Where everything of the benchmark lies, below the workspace's target directory.
#[derive(Debug)]
pub(super) struct Places {
    target: PathBuf,
}

impl Places {
    pub(super) fn new() -> Result<Self> {
        let target = root().canonicalize()?.join("target");
        fs::create_dir_all(target.join("bench"))?;
        Ok(Self { target })
    }

    pub(super) fn client(&self) -> PathBuf {
        self.target.join("bench-client/release/sordini-bench-client")
    }

    /// Builds the load client, whose C library takes about a minute the first time.
    pub(super) fn build_client(&self) -> Result<()> {
        if !self.client().exists() {
            eprintln!("building the load client (librdkafka takes a minute or two, once) ...");
        }
        run(Command::new(cargo_path())
            .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
            .arg(root().join("xtask/bench-client/Cargo.toml"))
            .arg("--target-dir")
            .arg(self.target.join("bench-client")))
    }

    /// Builds or fetches what `kind` needs to start.
    pub(super) fn prepare(&self, kind: Kind) -> Result<()> {
        match kind {
            Kind::Sordini => {
                eprintln!("building sordini ...");
                run(Command::new(cargo_path()).current_dir(root()).args([
                    "build",
                    "--quiet",
                    "--release",
                    "-p",
                    "sordini",
                ]))
            }
            Kind::Kafka => {
                let pom = include_str!("kafka-pom.xml");
                let directory = self.kafka();
                // The pom lies beside the jars only once they are complete.
                if fs::read_to_string(directory.join("pom.xml")).is_ok_and(|present| present == pom) {
                    return Ok(());
                }
                eprintln!("fetching Apache Kafka from Maven Central ...");
                let _absent = fs::remove_dir_all(&directory);
                fs::create_dir_all(&directory)?;
                fs::write(directory.join("fetching.xml"), pom)?;
                run(Command::new("mvn")
                    .current_dir(&directory)
                    .args(["-q", "-B", "-f", "fetching.xml", "dependency:copy-dependencies"])
                    .args(["-DincludeScope=runtime", "-DoutputDirectory=lib"]))?;
                Ok(fs::rename(directory.join("fetching.xml"), directory.join("pom.xml"))?)
            }
            Kind::Sink => Ok(()),
        }
    }

    fn kafka(&self) -> PathBuf {
        self.target.join("bench/kafka")
    }

    /// Starts brokers on empty directories and free ports; formatting, where it is a step of its own, included. One
    /// broker is the controller as well, several have one beside them.
    pub(super) fn start(&self, kind: Kind, brokers: u16) -> Result<Running> {
        let ports = free_ports(usize::from(brokers) + 1)?;
        let (client_ports, controller_port) = (&ports[..usize::from(brokers)], ports[usize::from(brokers)]);
        let controller_id = if brokers == 1 { 1 } else { brokers + 1 };
        let quorum = format!("{controller_id}@127.0.0.1:{controller_port}");
        let mut nodes: Vec<_> = (1..)
            .zip(client_ports)
            .map(|(id, port)| Node { id, client: Some(*port), controller: None })
            .collect();
        match nodes.as_mut_slice() {
            [alone] => alone.controller = Some(controller_port),
            _ => nodes.push(Node { id: controller_id, client: None, controller: Some(controller_port) }),
        }
        let mut running = Running { kind, client_ports: client_ports.to_vec(), processes: Vec::new() };
        for node in nodes {
            running.processes.push(self.spawn(kind, &node, &quorum)?);
        }
        Ok(running)
    }

    /// Starts one node of a cluster whose controllers are `quorum`.
    fn spawn(&self, kind: Kind, node: &Node, quorum: &str) -> Result<Process> {
        let name = format!("{}-{}", kind.name(), node.id);
        let data = self.target.join("bench").join(&name);
        let _absent = fs::remove_dir_all(&data);
        let log_path = self.target.join(format!("bench/{name}.log"));
        let log = File::create(&log_path)?;
        let (mut format, mut command) = self.commands(kind, node, quorum, &data)?;
        if let Some(format) = &mut format {
            run(format.stdout(log.try_clone()?).stderr(log.try_clone()?))?;
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Process { command, data, log: log_path, child, stopped: false })
    }

    /// What formats a node, if that is a step of its own, and what it is then.
    fn commands(
        &self,
        kind: Kind,
        node: &Node,
        quorum: &str,
        data: &Path,
    ) -> Result<(Option<Command>, Command)> {
        let sordini = || Command::new(self.target.join("release/sordini"));
        let configure = || -> Result<PathBuf> {
            let config = data.with_extension("properties");
            fs::write(&config, node.properties(quorum, data))?;
            Ok(config)
        };
        Ok(match (kind, node) {
            (Kind::Sordini, Node { client: Some(port), controller: Some(_), .. }) => {
                let mut dev = sordini();
                dev.arg("dev").arg("--data-dir").arg(data).arg("--port").arg(port.to_string());
                (None, dev)
            }
            (Kind::Sordini, _) => {
                let config = configure()?;
                let mut format = sordini();
                format.arg("format").arg("--config").arg(&config).args(["--cluster-id", CLUSTER_ID]);
                let mut start = sordini();
                start.arg("start").arg("--config").arg(&config);
                (Some(format), start)
            }
            (Kind::Kafka, _) => {
                let config = configure()?;
                let mut format = self.java();
                format.args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"]);
                format.arg(&config);
                let mut start = self.java();
                start.arg("kafka.Kafka").arg(&config);
                (Some(format), start)
            }
            (Kind::Sink, node) => {
                let port = node.client.context("a sink is no controller")?;
                let mut sink = Command::new(self.client());
                sink.arg("sink").arg("--listen").arg(format!("127.0.0.1:{port}"));
                (None, sink)
            }
        })
    }

    /// A JVM with the flags of Kafka's own start scripts.
    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.args(["-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"])
            .args(["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"])
            .args(["-XX:MaxInlineLevel=15", "-Djava.awt.headless=true", "-cp"])
            .arg(self.kafka().join("lib/*"));
        java
    }
}

/// One node of a cluster: a broker where it has a port for clients, a controller where it has one for that.
#[derive(Debug)]
struct Node {
    id: u16,
    client: Option<u16>,
    controller: Option<u16>,
}

impl Node {
    fn properties(&self, quorum: &str, data: &Path) -> String {
        let of_client = self.client.map(|port| ("broker", format!("PLAINTEXT://127.0.0.1:{port}")));
        let of_controller =
            self.controller.map(|port| ("controller", format!("CONTROLLER://127.0.0.1:{port}")));
        let (roles, listeners): (Vec<_>, Vec<_>) = of_client.into_iter().chain(of_controller).unzip();
        let advertised = self
            .client
            .map(|port| format!("advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n"))
            .unwrap_or_default();
        format!(
            "process.roles={}\n\
             node.id={}\n\
             controller.quorum.voters={quorum}\n\
             listeners={}\n\
             {advertised}\
             controller.listener.names=CONTROLLER\n\
             offsets.topic.replication.factor=1\n\
             log.dirs={}\n",
            roles.join(","),
            self.id,
            listeners.join(","),
            data.display()
        )
    }
}

/// Brokers that serve, and their controller. All goes, with the data, when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    kind: Kind,
    client_ports: Vec<u16>,
    /// The brokers' in the order of their ports, then that of a controller alone, if there is one.
    processes: Vec<Process>,
}

impl Running {
    /// Where each broker serves clients.
    pub(super) fn ports(&self) -> &[u16] {
        &self.client_ports
    }

    /// The brokers' processes, in the same order.
    pub(super) fn pids(&self) -> Vec<u32> {
        let brokers = &self.processes[..self.client_ports.len()];
        brokers.iter().map(|process| process.child.id()).collect()
    }

    /// Fails, with the end of its log, if a process has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(|process| process.check_alive(self.kind))
    }

    /// Stops for good; returns how long that took.
    pub(super) fn stop(mut self) -> Result<Duration> {
        self.pause()
    }

    /// Asks the brokers to stop, then a controller beside them, and returns how long that took. What they have is kept.
    pub(super) fn pause(&mut self) -> Result<Duration> {
        let start = Instant::now();
        let (brokers, controller) = self.processes.split_at_mut(self.client_ports.len());
        for processes in [brokers, controller] {
            for process in processes.iter() {
                process.terminate()?;
            }
            for process in processes {
                process.wait(self.kind)?;
            }
        }
        Ok(start.elapsed())
    }

    /// Starts what was paused.
    pub(super) fn resume(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::respawn)
    }
}

/// A node's process and its data. Both go when this is dropped.
#[derive(Debug)]
struct Process {
    command: Command,
    data: PathBuf,
    log: PathBuf,
    child: Child,
    stopped: bool,
}

impl Process {
    fn respawn(&mut self) -> Result<()> {
        ensure!(self.stopped, "a process that runs is not started again");
        self.child = self.command.spawn().with_context(|| format!("cannot start {:?}", self.command))?;
        self.stopped = false;
        Ok(())
    }

    fn check_alive(&mut self, kind: Kind) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            self.stopped = true;
            bail!("{} ended with {status}; the end of its log:\n{}", kind.name(), self.log_tail());
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn terminate(&self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id")?;
        Ok(kill_process(pid, Signal::TERM)?)
    }

    /// Waits for the end of a process that was told to stop, which must be a clean one.
    fn wait(&mut self, kind: Kind) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < STOP_PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                self.stopped = true;
                // A JVM that stops on SIGTERM says 143, and a process without a handler died of it.
                let clean = match kind {
                    Kind::Sordini => status.success(),
                    Kind::Kafka => matches!(status.code(), Some(0 | 143)),
                    Kind::Sink => true,
                };
                ensure!(clean, "{} stopped with {status}:\n{}", kind.name(), self.log_tail());
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(150));
        }
        bail!("{} did not stop within {STOP_PATIENCE:?}", kind.name())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.stopped {
            let _ended_already = self.child.kill();
            let _status = self.child.wait();
        }
        let _absent = fs::remove_dir_all(&self.data);
    }
}

/// Free ports below the range that the kernel gives to outgoing connections: there, a client that polls a port
/// nobody listens on may end up connected to itself.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let ports: Vec<_> = (19_100..19_900).filter(is_free).take(count).collect();
    ensure!(ports.len() == count, "no {count} free ports between 19100 and 19900");
    Ok(ports)
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
