//! `cargo xtask bench-broker`: the whole broker under a real client, beside Apache Kafka in one run.
//!
//! Every measurement starts a broker of its own on an empty directory below `target/bench`, on loopback, and removes
//! it afterwards; what is replicated is measured with three brokers and a controller, each a process of its own. Brokers
//! take turns within a round, so that what slows the machine for a while slows them all.

mod broker;
mod machine;
mod report;
mod wire;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde_json::{Value, json};

use broker::{Kind, Places, Running};
use report::Samples;
use wire::FirstProduce;

/// The form of the JSON report; a change that breaks readers counts it up.
const SCHEMA: &str = "sordini.bench-broker/1";
/// A broker that has acknowledged nothing for this long after its start has failed.
const START_PATIENCE: Duration = Duration::from_secs(180);
/// How long a broker is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(2);
/// Memory used just before a start: several times what a small broker needs.
const RECENT_MEMORY_BYTES: usize = 64 << 20;
/// How long the machine is watched before a round to see whether it is quiet.
const WATCH: Duration = Duration::from_secs(1);
/// Brokers of a measurement of one, and of one of replicas.
const ALONE: u16 = 1;
const REPLICATED_BROKERS: u16 = 3;
/// How long idle brokers' CPU time is measured.
const IDLE_CPU: Duration = Duration::from_secs(10);

/// Measures start, memory, throughput and latency of brokers with a real client.
#[derive(Debug, Parser)]
#[command(name = "bench-broker", bin_name = "cargo xtask bench-broker")]
struct Options {
    /// Brokers to measure, in this order.
    #[arg(long, value_delimiter = ',', default_value = "sordini,kafka,sink")]
    broker: Vec<Kind>,
    /// Measurements to make; all when absent.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Measure>,
    /// Rounds; the table shows medians over them.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Records of 1 KiB that a measurement produces or reads; five times as many of 100 bytes. A quarter of them goes
    /// before as warm-up.
    #[arg(long, default_value_t = 2_000_000)]
    records: u64,
    /// Starts of Sordini over all rounds; Apache Kafka is started once a round.
    #[arg(long, default_value_t = 21)]
    starts: u32,
    /// Seconds that latency is measured in each round.
    #[arg(long, default_value_t = 20)]
    latency_seconds: u32,
    /// Partitions of a broker that has many. What is wanted of it is said of 4,000.
    #[arg(long, default_value_t = 4_000)]
    partitions: u16,
    /// Where to write the report as JSON; standard output, behind the table, when absent.
    #[arg(long)]
    json: Option<PathBuf>,
    /// librdkafka properties for the load client, `key=value`, laid over the measurement's own.
    #[arg(long = "client-set", value_name = "KEY=VALUE")]
    client_set: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Time from start, on an empty directory, to the first acknowledged record, and time of a clean stop.
    Start,
    /// Resident memory of an idle broker.
    Memory,
    /// Records of 1 KiB, acks=all.
    Produce,
    /// The same from an idempotent producer.
    Idempotent,
    /// Records of 100 bytes, acks=all.
    Small,
    /// Reading records of 1 KiB back.
    Read,
    /// From one client to the other at 1,000 records a second.
    Latency,
    /// Records of 1 KiB, acks=all, to a partition of three brokers, two of which must be in sync.
    Replicated,
    /// The same from an idempotent producer.
    ReplicatedIdempotent,
    /// As `latency`, by way of such a partition.
    ReplicatedLatency,
    /// Many partitions of a record each: time from a start after a clean stop to a second record in each, memory.
    Partitions,
    /// As many that three brokers have: memory and CPU of a broker while nothing happens.
    ReplicatedPartitions,
}

impl Measure {
    /// Whether it needs a broker that keeps what it is sent: the sink has neither a start, nor a way from one client to
    /// another, nor replicas.
    fn is_of_records_kept(self) -> bool {
        match self {
            Self::Produce | Self::Idempotent | Self::Small | Self::Read => false,
            Self::Start
            | Self::Memory
            | Self::Latency
            | Self::Replicated
            | Self::ReplicatedIdempotent
            | Self::ReplicatedLatency
            | Self::Partitions
            | Self::ReplicatedPartitions => true,
        }
    }
}

/// Runs the benchmark with the command line's `arguments`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let options =
        Options::parse_from(std::iter::once("bench-broker").chain(arguments.iter().map(String::as_str)));
    let bench = Bench { places: Places::new()?, options };
    bench.places.build_client()?;
    for kind in &bench.options.broker {
        bench.places.prepare(*kind)?;
    }
    let machine = machine::facts();
    eprintln!("machine: {machine}");

    let mut samples = Samples::default();
    let mut busy = Vec::new();
    for round in 1..=bench.options.rounds {
        let percent = machine::busy_percent(WATCH)?;
        busy.push(percent);
        if percent > machine::QUIET_PERCENT {
            eprintln!("warning: the machine is not quiet: {percent:.0}% busy before round {round}");
        }
        bench.round(round, &mut samples)?;
    }

    println!("{}", samples.table(&bench.options.broker));
    let unquiet = busy.iter().filter(|percent| **percent > machine::QUIET_PERCENT).count();
    if unquiet > 0 {
        println!(
            "The machine was not quiet before {unquiet} of {} rounds: do not trust these figures.\n",
            busy.len()
        );
    }
    let mut report = samples.json(&bench.options.broker);
    report["schema"] = json!(SCHEMA);
    report["machine"] = machine;
    report["busy_percent_before_round"] = json!(busy);
    report["options"] = json!({
        "rounds": bench.options.rounds,
        "records": bench.options.records,
        "starts": bench.options.starts,
        "latency_seconds": bench.options.latency_seconds,
        "partitions": bench.options.partitions,
        "client_set": bench.options.client_set,
    });
    let report = serde_json::to_string_pretty(&report)?;
    match &bench.options.json {
        Some(path) => {
            std::fs::write(path, report + "\n").with_context(|| format!("cannot write {}", path.display()))?
        }
        None => println!("{report}"),
    }
    Ok(())
}

#[derive(Debug)]
struct Bench {
    options: Options,
    places: Places,
}

impl Bench {
    fn round(&self, round: u32, samples: &mut Samples) -> Result<()> {
        for measure in Measure::value_variants() {
            if !self.options.only.is_empty() && !self.options.only.contains(measure) {
                continue;
            }
            for kind in &self.options.broker {
                let keeps_records = matches!(kind, Kind::Sordini | Kind::Kafka);
                if measure.is_of_records_kept() && !keeps_records {
                    continue;
                }
                let figures = self
                    .measure(*measure, *kind)
                    .with_context(|| format!("{} of {} in round {round}", title(*measure), kind.name()))?;
                for (metric, value) in figures {
                    eprintln!("round {round}  {:<8} {metric:<28} {}", kind.name(), report::grouped(value, 3));
                    samples.add(round, *kind, metric, value);
                }
            }
        }
        for kind in &self.options.broker {
            samples.add_idempotence_cost(round, *kind);
        }
        Ok(())
    }

    /// Makes one measurement of one broker: metrics of the report and their values.
    fn measure(&self, measure: Measure, kind: Kind) -> Result<Vec<(&'static str, f64)>> {
        match measure {
            Measure::Start => self.start_and_stop(kind),
            Measure::Memory => {
                let (broker, _) = self.started(kind, ALONE)?;
                std::thread::sleep(IDLE);
                let figures = vec![("idle_mib", machine::resident_mib(broker.pids()[0])?)];
                broker.stop()?;
                Ok(figures)
            }
            Measure::Produce => {
                let printed = self.throughput(kind, ALONE, &["produce"], &Load::kib(&self.options))?;
                Ok(figures(&printed, &THROUGHPUT, &PRODUCE))
            }
            Measure::Idempotent => {
                let command = ["produce", "--idempotent"];
                let printed = self.throughput(kind, ALONE, &command, &Load::kib(&self.options))?;
                Ok(figures(&printed, &THROUGHPUT, &IDEMPOTENT))
            }
            Measure::Small => {
                let printed = self.throughput(kind, ALONE, &["produce"], &Load::small(&self.options))?;
                Ok(figures(&printed, &THROUGHPUT, &SMALL))
            }
            Measure::Read => {
                let (mut broker, _) = self.started(kind, ALONE)?;
                let load = Load::kib(&self.options);
                self.client(&mut broker, &["produce"], &load.arguments())?;
                let read = self.client(&mut broker, &["consume"], &load.arguments())?;
                broker.stop()?;
                Ok(figures(&read, &THROUGHPUT, &READ))
            }
            Measure::Latency => Ok(figures(&self.latency(kind, ALONE)?, &LATENCY, &LATENCY_METRICS)),
            Measure::Replicated => self.replicated(kind, &["produce"], &REPLICATED),
            Measure::ReplicatedIdempotent => {
                self.replicated(kind, &["produce", "--idempotent"], &REPLICATED_IDEMPOTENT)
            }
            Measure::Partitions => self.partitions(kind),
            Measure::ReplicatedPartitions => self.replicated_partitions(kind),
            Measure::ReplicatedLatency => {
                let latency = self.latency(kind, REPLICATED_BROKERS)?;
                Ok(figures(&latency, &REPLICATED_LATENCY, &REPLICATED_LATENCY_METRICS))
            }
        }
    }

    /// Starts brokers and waits for the first record that all of them have; returns how long that took.
    fn started(&self, kind: Kind, brokers: u16) -> Result<(Running, Duration)> {
        let first_produce = FirstProduce::new("first", 1, brokers);
        let start = Instant::now();
        let mut broker = self.places.start(kind, brokers)?;
        let first = first_produce.run(broker.ports()[0], start + START_PATIENCE);
        let took = start.elapsed();
        // A broker that has ended explains itself better than a connection that was refused.
        broker.check_alive()?;
        first?;
        Ok((broker, took))
    }

    fn start_and_stop(&self, kind: Kind) -> Result<Vec<(&'static str, f64)>> {
        let starts = if kind == Kind::Kafka { 1 } else { self.options.starts.div_ceil(self.options.rounds) };
        let mut figures = Vec::new();
        for _ in 0..starts {
            // A virtual machine may have handed free memory back to its host, and a start would pay for fetching it
            // again: leave some that was in use a moment ago.
            drop(std::hint::black_box(vec![1_u8; RECENT_MEMORY_BYTES]));
            let (broker, took) = self.started(kind, ALONE)?;
            figures.push(("start_ms", took.as_secs_f64() * 1e3));
            figures.push(("stop_ms", broker.stop()?.as_secs_f64() * 1e3));
        }
        Ok(figures)
    }

    fn partitions(&self, kind: Kind) -> Result<Vec<(&'static str, f64)>> {
        let (mut broker, _) = self.started(kind, ALONE)?;
        let empty = idle_kib(&broker)?;
        let many = FirstProduce::new("many", self.options.partitions, ALONE);
        many.run(broker.ports()[0], Instant::now() + START_PATIENCE)?;
        let created = idle_kib(&broker)?;
        let stop = broker.pause()?;
        let start = Instant::now();
        broker.resume()?;
        let serving = many.run(broker.ports()[0], start + START_PATIENCE);
        let took = start.elapsed();
        broker.check_alive()?;
        serving?;
        let started = idle_kib(&broker)?;
        broker.stop()?;
        let each = |resident: f64| (resident - empty) / f64::from(self.options.partitions);
        Ok(vec![
            ("partitions_start_ms", took.as_secs_f64() * 1e3),
            ("partitions_stop_ms", stop.as_secs_f64() * 1e3),
            ("partitions_kib", each(started)),
            ("partitions_created_kib", each(created)),
        ])
    }

    fn replicated_partitions(&self, kind: Kind) -> Result<Vec<(&'static str, f64)>> {
        let (mut brokers, _) = self.started(kind, REPLICATED_BROKERS)?;
        let empty = idle_kib(&brokers)?;
        let many = FirstProduce::new("many", self.options.partitions, REPLICATED_BROKERS);
        let produced = many.run(brokers.ports()[0], Instant::now() + START_PATIENCE);
        brokers.check_alive()?;
        produced?;
        let filled = idle_kib(&brokers)?;
        let cpu = || brokers.pids().iter().map(|pid| machine::cpu_seconds(*pid)).sum::<Result<f64>>();
        let before = cpu()?;
        std::thread::sleep(IDLE_CPU);
        let seconds = (cpu()? - before) / f64::from(REPLICATED_BROKERS);
        brokers.stop()?;
        Ok(vec![
            ("replicated_partitions_kib", (filled - empty) / f64::from(self.options.partitions)),
            ("replicated_partitions_cpu_percent", seconds / IDLE_CPU.as_secs_f64() * 100.0),
        ])
    }

    fn throughput(&self, kind: Kind, brokers: u16, command: &[&str], load: &Load) -> Result<Value> {
        let (mut broker, _) = self.started(kind, brokers)?;
        let printed = self.client(&mut broker, command, &load.arguments())?;
        broker.stop()?;
        Ok(printed)
    }

    fn latency(&self, kind: Kind, brokers: u16) -> Result<Value> {
        let (mut broker, _) = self.started(kind, brokers)?;
        let seconds = self.options.latency_seconds.to_string();
        let printed = self.client(&mut broker, &["latency"], &["--seconds".into(), seconds])?;
        broker.stop()?;
        Ok(printed)
    }

    /// What goes through three brokers is told in bytes rather than records.
    fn replicated(
        &self,
        kind: Kind,
        command: &[&str],
        metrics: &[&'static str; 3],
    ) -> Result<Vec<(&'static str, f64)>> {
        let load = Load::kib(&self.options);
        let printed = self.throughput(kind, REPLICATED_BROKERS, command, &load)?;
        // Megabytes a million bytes each, so that a million records are this many gigabytes.
        let gb_per_million = load.record_bytes as f64 / 1e3;
        let mut told = figures(&printed, &THROUGHPUT, metrics);
        for (metric, value) in &mut told {
            *value =
                if *metric == metrics[0] { *value * gb_per_million / 1e3 } else { *value / gb_per_million };
        }
        Ok(told)
    }

    /// Runs the load client against `broker` and returns what it printed.
    fn client(&self, broker: &mut Running, command: &[&str], arguments: &[String]) -> Result<Value> {
        let mut client = Command::new(self.places.client());
        let addresses: Vec<_> = broker.ports().iter().map(|port| format!("127.0.0.1:{port}")).collect();
        client
            .args(command)
            .args(["--bootstrap", &addresses.join(","), "--replicas", &addresses.len().to_string()])
            .args(broker.pids().iter().flat_map(|pid| ["--broker-pid".to_string(), pid.to_string()]))
            .args(["--topic", "bench"])
            .args(arguments)
            // glibc would give the records' memory back to the kernel after every burst and fetch it again: a third
            // of the client's time.
            .env(
                "GLIBC_TUNABLES",
                "glibc.malloc.trim_threshold=4000000000:glibc.malloc.mmap_threshold=1000000000",
            );
        for setting in &self.options.client_set {
            client.arg("--set").arg(setting);
        }
        let output = client.output().context("cannot run the load client")?;
        broker.check_alive()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the load client ended with {}:\n{said}", output.status);
        serde_json::from_slice(&output.stdout).context("the load client printed no JSON")
    }
}

/// Resident memory of a broker, in KiB, the mean of several, once they have been left alone for a while.
fn idle_kib(brokers: &Running) -> Result<f64> {
    std::thread::sleep(IDLE);
    let pids = brokers.pids();
    let mib = pids.iter().map(|pid| machine::resident_mib(*pid)).sum::<Result<f64>>()?;
    Ok(mib * 1024.0 / pids.len() as f64)
}

/// What the throughput measurements move.
#[derive(Debug)]
struct Load {
    records: u64,
    record_bytes: u64,
}

impl Load {
    fn kib(options: &Options) -> Self {
        Self { records: options.records, record_bytes: 1024 }
    }

    fn small(options: &Options) -> Self {
        Self { records: options.records * 5, record_bytes: 100 }
    }

    fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--records", self.records),
            ("--warm-up", self.records / 4),
            ("--record-bytes", self.record_bytes),
        ];
        pairs.iter().flat_map(|(name, value)| [(*name).to_string(), value.to_string()]).collect()
    }
}

/// The client's names for its figures, and below them the report's, in the same order.
const THROUGHPUT: [&str; 3] =
    ["records_per_second", "broker_cpu_seconds_per_million", "client_cpu_seconds_per_million"];
const PRODUCE: [&str; 3] = ["produce_per_s", "produce_cpu", "produce_client_cpu"];
const IDEMPOTENT: [&str; 3] = ["idempotent_per_s", "idempotent_cpu", "idempotent_client_cpu"];
const SMALL: [&str; 3] = ["small_per_s", "small_cpu", "small_client_cpu"];
const READ: [&str; 3] = ["read_per_s", "read_cpu", "read_client_cpu"];
const REPLICATED: [&str; 3] =
    ["replicated_mb_per_s", "replicated_cpu_per_gb", "replicated_client_cpu_per_gb"];
const REPLICATED_IDEMPOTENT: [&str; 3] = [
    "replicated_idempotent_mb_per_s",
    "replicated_idempotent_cpu_per_gb",
    "replicated_idempotent_client_cpu_per_gb",
];
const LATENCY: [&str; 7] =
    ["p50_ms", "p90_ms", "p99_ms", "p99_9_ms", "max_ms", "broker_cpu_percent", "client_cpu_percent"];
const LATENCY_METRICS: [&str; 7] = [
    "latency_p50_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "latency_p99_9_ms",
    "latency_max_ms",
    "latency_cpu_percent",
    "latency_client_cpu_percent",
];

const REPLICATED_LATENCY: [&str; 4] = ["p50_ms", "p99_ms", "max_ms", "broker_cpu_percent"];
const REPLICATED_LATENCY_METRICS: [&str; 4] = [
    "replicated_latency_p50_ms",
    "replicated_latency_p99_ms",
    "replicated_latency_max_ms",
    "replicated_latency_cpu_percent",
];

fn figures<const N: usize>(
    printed: &Value,
    names: &[&str; N],
    metrics: &[&'static str; N],
) -> Vec<(&'static str, f64)> {
    let pairs = names.iter().zip(metrics);
    pairs.filter_map(|(name, metric)| Some((*metric, printed.get(name)?.as_f64()?))).collect()
}

fn title(measure: Measure) -> String {
    measure.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
}
