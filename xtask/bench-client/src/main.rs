//! The load that `cargo xtask bench-broker` puts on a broker: librdkafka through the `rdkafka` crate.
//!
//! Each command measures one thing and prints one JSON object on standard output. `sink` is no client: it is the
//! cheapest broker imaginable, and what the other commands reach against it is the client's own ceiling.

mod ballast;
mod bulk;
mod client;
mod cpu;
mod latency;
mod sink;
mod throughput;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

/// Loads a broker and prints what it measured as one JSON object.
#[derive(Debug, Parser)]
struct Command {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// Produces records to one partition, acks=all, linger 5 ms, batches of up to 1 MB.
    Produce(throughput::Produce),
    /// Reads records back from one partition.
    Consume(throughput::Consume),
    /// Produces at a steady rate, reads in the same process, and measures the way from one to the other.
    Latency(latency::Latency),
    /// Acknowledges everything, stores nothing, and answers every fetch from one buffer.
    Sink {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// Size of the records that a fetch is answered with, in bytes.
        #[arg(long, default_value_t = 1024)]
        record_bytes: usize,
    },
}

/// What every measurement needs to know of the broker.
#[derive(Debug, Args)]
struct Broker {
    /// The broker's `host:port`.
    #[arg(long)]
    bootstrap: String,
    /// A broker's process, whose CPU time is reported beside the client's; several brokers' is added up.
    #[arg(long, required = true)]
    broker_pid: Vec<u32>,
    /// Replicas of each topic that is created. All but one of several must be in sync for a record to be taken.
    #[arg(long, default_value_t = 1)]
    replicas: u16,
    /// Further librdkafka properties, `key=value`, laid over the ones that the measurement sets.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let result = match Command::parse().measure {
        Measure::Produce(produce) => produce.run()?,
        Measure::Consume(consume) => consume.run()?,
        Measure::Latency(latency) => latency.run()?,
        Measure::Sink { listen, record_bytes } => return sink::run(listen, record_bytes),
    };
    println!("{result}");
    Ok(())
}
