//! How many records a second one partition takes, and gives back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

use crate::Broker;
use crate::ballast::Ballast;
use crate::bulk::{BulkConsumer, BulkProducer};
use crate::client::Deliveries;
use crate::cpu::Sample;

/// A broker that gives no sign of life for this long ends the measurement.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Produce {
    #[command(flatten)]
    broker: Broker,
    /// The topic, which is created; `TOPIC-warm-up` beside it takes the records that are not measured.
    #[arg(long)]
    topic: String,
    /// Records to measure.
    #[arg(long)]
    records: u64,
    /// Records before those, not measured.
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
    /// Size of each record's value, in bytes.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Whether the producer is idempotent.
    #[arg(long)]
    idempotent: bool,
}

impl Produce {
    pub(crate) fn run(&self) -> anyhow::Result<serde_json::Value> {
        let producer: BaseProducer<Deliveries> = self
            .broker
            .config(&[
                ("acks", "all"),
                ("linger.ms", "5"),
                ("batch.size", "1000000"),
                // The size is the only limit of a batch.
                ("batch.num.messages", "1000000"),
                ("queue.buffering.max.messages", "1000000"),
                // Deep enough to keep several batches under way, small enough not to leave the CPU's caches for good.
                ("queue.buffering.max.kbytes", "32768"),
                ("enable.idempotence", if self.idempotent { "true" } else { "false" }),
                ("max.in.flight.requests.per.connection", "5"),
            ])?
            .create_with_context(Deliveries::default())?;
        let warm_up_topic = format!("{}-warm-up", self.topic);
        self.broker.create_topics(&[&self.topic, &warm_up_topic])?;
        // Values that repeat would flatter a broker or disk that compresses.
        // librdkafka sends them from where they lie, to the process's end.
        let value: &'static [u8] = noise(self.record_bytes).leak();

        // A little more than the log grows by: batches have headers, and the broker's own memory moves too.
        let mut ballast = Ballast::claim(self.records * self.stored_bytes() * 5 / 4 + (256 << 20))?;
        send(&producer, &warm_up_topic, value, self.warm_up.max(1), |_| Ok(()))?;
        // The first record waits for the producer to find out who leads the partition.
        send(&producer, &self.topic, value, 1, |_| Ok(()))?;
        let acknowledged_before = producer.context().acknowledged()?;
        let cpu = Sample::now(&self.broker.broker_pid)?;
        let start = Instant::now();
        ballast.release(128 << 20)?;
        send(&producer, &self.topic, value, self.records, |sent| {
            ballast.release(sent * self.stored_bytes() * 9 / 8)
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let (broker_cpu, client_cpu) = cpu.elapsed(&self.broker.broker_pid)?;

        let acknowledged = producer.context().acknowledged()? - acknowledged_before;
        ensure!(acknowledged == self.records, "{acknowledged} of {} records were acknowledged", self.records);
        Ok(report(self.records, seconds, broker_cpu, client_cpu))
    }

    /// What a record takes in the logs of all replicas: its value and about ten bytes around it in each.
    fn stored_bytes(&self) -> u64 {
        (self.record_bytes as u64 + 10) * u64::from(self.broker.replicas)
    }
}

/// Hands `records` records to the producer as fast as it takes them, telling `sent` of each handful, and waits until
/// all are acknowledged.
fn send(
    producer: &BaseProducer<Deliveries>,
    topic: &str,
    value: &'static [u8],
    records: u64,
    mut sent: impl FnMut(u64) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut bulk = BulkProducer::new(producer, topic, value)?;
    let mut left = records;
    let mut progress = Instant::now();
    while left > 0 {
        match bulk.send(left)? {
            0 => {
                ensure!(progress.elapsed() < PATIENCE, "no record was acknowledged for {PATIENCE:?}");
                producer.poll(Duration::from_millis(10));
            }
            taken => {
                left -= taken;
                progress = Instant::now();
                sent(taken)?;
                producer.poll(Duration::ZERO);
            }
        }
    }
    drop(bulk);
    let start = Instant::now();
    while producer.in_flight_count() > 0 {
        ensure!(start.elapsed() < PATIENCE, "{} records were not acknowledged", producer.in_flight_count());
        producer.poll(Duration::from_millis(10));
    }
    Ok(())
}

/// Bytes without pattern, the same in every run (xorshift64).
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    })
    .take(bytes)
    .collect()
}

#[derive(Debug, Args)]
pub(crate) struct Consume {
    #[command(flatten)]
    broker: Broker,
    /// The topic that `produce` filled.
    #[arg(long)]
    topic: String,
    /// Records to read, from offset 0.
    #[arg(long)]
    records: u64,
    /// Records to read before those from `TOPIC-warm-up`, not measured.
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
    /// Size of each record's value, in bytes; any other is an error.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
}

impl Consume {
    pub(crate) fn run(&self) -> anyhow::Result<serde_json::Value> {
        let consumer: BaseConsumer = self
            .broker
            .config(&[
                ("group.id", "bench"),
                ("enable.auto.commit", "false"),
                ("enable.auto.offset.store", "false"),
                ("fetch.wait.max.ms", "500"),
                ("fetch.min.bytes", "1"),
                // librdkafka waits a whole second when its queue is full: longer than reading takes.
                ("fetch.queue.backoff.ms", "0"),
                ("queued.min.messages", "1000000"),
                ("queued.max.messages.kbytes", "32768"),
            ])?
            .create()?;
        let consumer = Arc::new(consumer);
        if self.warm_up > 0 {
            self.read(&consumer, &format!("{}-warm-up", self.topic), self.warm_up)?;
        }
        self.read(&consumer, &self.topic, self.records)
    }

    /// Reads `records` records of partition 0 from its beginning and refuses a gap or a foreign size. The clock starts
    /// at the first record: until then librdkafka looks for the topic, and may wait a second between two looks.
    fn read(
        &self,
        consumer: &Arc<BaseConsumer>,
        topic: &str,
        records: u64,
    ) -> anyhow::Result<serde_json::Value> {
        let mut bulk = BulkConsumer::new(Arc::clone(consumer))?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(topic, 0, Offset::Offset(0))?;
        consumer.assign(&assignment)?;
        let mut next = 0;
        let mut read_up_to = |end: u64| -> anyhow::Result<()> {
            while next < end {
                let received = bulk.receive(end - next, PATIENCE, |offset, bytes| {
                    ensure!(u64::try_from(offset)? == next, "offset {offset} where {next} is due");
                    ensure!(bytes == self.record_bytes, "{bytes} bytes at {next}");
                    next += 1;
                    Ok(())
                })?;
                ensure!(received > 0, "no record for {PATIENCE:?} at {next}");
            }
            Ok(())
        };
        read_up_to(1)?;
        let cpu = Sample::now(&self.broker.broker_pid)?;
        let start = Instant::now();
        read_up_to(records)?;
        let seconds = start.elapsed().as_secs_f64();
        let (broker_cpu, client_cpu) = cpu.elapsed(&self.broker.broker_pid)?;
        consumer.unassign()?;
        Ok(report(records - 1, seconds, broker_cpu, client_cpu))
    }
}

fn report(records: u64, seconds: f64, broker_cpu: f64, client_cpu: f64) -> serde_json::Value {
    let millions = records as f64 / 1e6;
    json!({
        "records": records,
        "seconds": seconds,
        "records_per_second": records as f64 / seconds,
        "broker_cpu_seconds_per_million": broker_cpu / millions,
        "client_cpu_seconds_per_million": client_cpu / millions,
    })
}
