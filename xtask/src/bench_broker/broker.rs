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

/// A broker that has not ended this long after SIGTERM is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Kind {
    /// This project's broker, built from the working tree.
    Sordini,
    /// Apache Kafka from Maven Central: one node in combined mode, with Kafka's own JVM flags.
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

    /// Starts a broker on an empty directory and a free port; formatting, where it is a step of its own, included.
    pub(super) fn start(&self, kind: Kind) -> Result<Running> {
        let port = free_port(&[])?;
        let data = self.target.join(format!("bench/{}-{port}", kind.name()));
        let _absent = fs::remove_dir_all(&data);
        let log_path = self.target.join(format!("bench/{}.log", kind.name()));
        let log = File::create(&log_path)?;
        let mut command = match kind {
            Kind::Sordini => {
                let mut command = Command::new(self.target.join("release/sordini"));
                command.arg("dev").arg("--data-dir").arg(&data).arg("--port").arg(port.to_string());
                command
            }
            Kind::Kafka => {
                let config = self.target.join("bench/kafka-server.properties");
                fs::write(&config, kafka_properties(port, free_port(&[port])?, &data))?;
                let mut format = self.java();
                format.args([
                    "kafka.tools.StorageTool",
                    "format",
                    "--cluster-id",
                    "c29yZGluaS1iZW5jaC0xMg",
                    "--config",
                ]);
                run(format.arg(&config).stdout(log.try_clone()?).stderr(log.try_clone()?))?;
                let mut command = self.java();
                command.arg("kafka.Kafka").arg(&config);
                command
            }
            Kind::Sink => {
                let mut command = Command::new(self.client());
                command.arg("sink").arg("--listen").arg(format!("127.0.0.1:{port}"));
                command
            }
        };
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
        Ok(Running { kind, port, data, log: log_path, child, stopped: false })
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

fn kafka_properties(port: u16, controller_port: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         offsets.topic.replication.factor=1\n\
         log.dirs={}\n",
        data.display()
    )
}

/// A broker's process and its data. Both go when this is dropped.
#[derive(Debug)]
pub(super) struct Running {
    kind: Kind,
    pub(super) port: u16,
    data: PathBuf,
    log: PathBuf,
    child: Child,
    stopped: bool,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Fails, with the end of the broker's log, if its process has ended.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            self.stopped = true;
            bail!("{} ended with {status}; the end of its log:\n{}", self.kind.name(), self.log_tail());
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Asks the broker to stop and returns how long it took to.
    pub(super) fn stop(mut self) -> Result<Duration> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("a process id")?;
        let start = Instant::now();
        kill_process(pid, Signal::TERM)?;
        while start.elapsed() < STOP_PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                let took = start.elapsed();
                self.stopped = true;
                // A JVM that stops on SIGTERM says 143, and a process without a handler died of it.
                let clean = match self.kind {
                    Kind::Sordini => status.success(),
                    Kind::Kafka => matches!(status.code(), Some(0 | 143)),
                    Kind::Sink => true,
                };
                ensure!(clean, "{} stopped with {status}:\n{}", self.kind.name(), self.log_tail());
                return Ok(took);
            }
            std::thread::sleep(Duration::from_micros(150));
        }
        bail!("{} did not stop within {STOP_PATIENCE:?}", self.kind.name())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.stopped {
            let _ended_already = self.child.kill();
            let _status = self.child.wait();
        }
        let _absent = fs::remove_dir_all(&self.data);
    }
}

/// A free port below the range that the kernel gives to outgoing connections: there, a client that polls a port
/// nobody listens on may end up connected to itself.
fn free_port(taken: &[u16]) -> Result<u16> {
    (19_100..19_900)
        .filter(|port| !taken.contains(port))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port between 19100 and 19900")
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}
