//! The time from `send` to the record's arrival at a consumer, at a rate that leaves the machine mostly idle.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use crate::Broker;
use crate::ballast::Ballast;
use crate::client::Deliveries;
use crate::cpu::Sample;
use crate::throughput::noise;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    broker: Broker,
    /// The topic, which is created.
    #[arg(long)]
    topic: String,
    /// Records a second.
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Seconds to measure.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Seconds before those at the same rate, not measured.
    #[arg(long, default_value_t = 5)]
    warm_up_seconds: u32,
    /// Size of each record's value, in bytes.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
}

/// Settings that keep librdkafka from holding anything back.
const AT_ONCE: [(&str, &str); 2] = [("socket.nagle.disable", "true"), ("log.connection.close", "false")];

impl Latency {
    pub(crate) fn run(&self) -> anyhow::Result<serde_json::Value> {
        self.broker.create_topics(&[&self.topic])?;
        let warm_up = u64::from(self.rate) * u64::from(self.warm_up_seconds);
        let total = warm_up + u64::from(self.rate) * u64::from(self.seconds);

        let mut settings = AT_ONCE.to_vec();
        settings.extend([("acks", "all"), ("linger.ms", "0"), ("enable.idempotence", "false")]);
        let producer: BaseProducer<Deliveries> =
            self.broker.config(&settings)?.create_with_context(Deliveries::default())?;
        let mut settings = AT_ONCE.to_vec();
        settings.extend([
            ("group.id", "bench"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("fetch.wait.max.ms", "500"),
            ("fetch.min.bytes", "1"),
        ]);
        let consumer: BaseConsumer = self.broker.config(&settings)?.create()?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&self.topic, 0, Offset::Offset(0))?;
        consumer.assign(&assignment)?;
        consumer.fetch_metadata(Some(&self.topic), PATIENCE)?;
        producer.client().fetch_metadata(Some(&self.topic), PATIENCE)?;

        let ballast = Ballast::claim(total * self.stored_bytes())?;
        let epoch = Instant::now();
        let (sent, received) = std::thread::scope(|scope| {
            let producing = scope.spawn(|| self.produce(&producer, ballast, epoch, warm_up, total));
            let consuming = scope.spawn(|| consume(&consumer, epoch, warm_up, total));
            (producing.join(), consuming.join())
        });
        let (broker_cpu, client_cpu) =
            sent.map_err(|_| anyhow::anyhow!("the producing thread panicked"))??;
        let latencies = received.map_err(|_| anyhow::anyhow!("the consuming thread panicked"))??;

        let ms = |nanos: u64| nanos as f64 / 1e6;
        Ok(json!({
            "records": latencies.len(),
            "records_per_second": self.rate,
            "p50_ms": ms(latencies.value_at_quantile(0.5)),
            "p90_ms": ms(latencies.value_at_quantile(0.9)),
            "p99_ms": ms(latencies.value_at_quantile(0.99)),
            "p99_9_ms": ms(latencies.value_at_quantile(0.999)),
            "max_ms": ms(latencies.max()),
            "broker_cpu_percent": broker_cpu / f64::from(self.seconds) * 100.0,
            "client_cpu_percent": client_cpu / f64::from(self.seconds) * 100.0,
        }))
    }

    /// Twice what the logs and indexes of all replicas grow by for a record.
    fn stored_bytes(&self) -> u64 {
        (self.record_bytes as u64 + 100) * 2 * u64::from(self.broker.replicas)
    }

    /// Sends one record each time one is due. A record's latency starts when `send` is called: what the machine adds
    /// to this thread's sleep is not the broker's.
    fn produce(
        &self,
        producer: &BaseProducer<Deliveries>,
        mut ballast: Ballast,
        epoch: Instant,
        warm_up: u64,
        total: u64,
    ) -> anyhow::Result<(f64, f64)> {
        // The kernel may wake a sleeper 50 us late by default, to save power.
        rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
        let mut value = noise(self.record_bytes.max(8));
        let mut cpu = Sample::now(&self.broker.broker_pid)?;
        for index in 0..total {
            if index == warm_up {
                cpu = Sample::now(&self.broker.broker_pid)?;
            }
            let due = Duration::from_nanos(index * 1_000_000_000 / u64::from(self.rate));
            std::thread::sleep(due.saturating_sub(epoch.elapsed()));
            let now = u64::try_from(epoch.elapsed().as_nanos())?;
            value[..8].copy_from_slice(&now.to_be_bytes());
            if let Err((error, _)) =
                producer.send(BaseRecord::<(), [u8]>::to(&self.topic).partition(0).payload(&value))
            {
                bail!("cannot produce: {error}");
            }
            producer.poll(Duration::ZERO);
            ballast.release(self.stored_bytes())?;
        }
        let cpu = cpu.elapsed(&self.broker.broker_pid)?;
        producer.flush(PATIENCE).context("the records were not acknowledged in time")?;
        let acknowledged = producer.context().acknowledged()?;
        ensure!(acknowledged == total, "{acknowledged} of {total} records were acknowledged");
        Ok(cpu)
    }
}

/// Reads every record once and returns the latencies of those after the warm-up, in nanoseconds.
fn consume(
    consumer: &BaseConsumer,
    epoch: Instant,
    warm_up: u64,
    total: u64,
) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = Histogram::new(3)?;
    for next in 0..total {
        let message =
            consumer.poll(PATIENCE).with_context(|| format!("no record for {PATIENCE:?} at {next}"))??;
        let now = u64::try_from(epoch.elapsed().as_nanos())?;
        ensure!(u64::try_from(message.offset())? == next, "offset {} where {next} is due", message.offset());
        let value = message.payload().context("a record without value")?;
        let sent = u64::from_be_bytes(value[..8].try_into()?);
        if next >= warm_up {
            latencies.record(now.saturating_sub(sent))?;
        }
    }
    Ok(latencies)
}
