//! Clients with the measurement's settings, and the one topic shape used: a single partition.

use std::time::Duration;

use anyhow::{Context, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::producer::{DeliveryResult, ProducerContext};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Broker;

impl Broker {
    /// A configuration with `settings` and then the command line's own laid over it.
    pub(crate) fn config(&self, settings: &[(&str, &str)]) -> anyhow::Result<ClientConfig> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("broker.address.family", "v4");
        for (key, value) in settings {
            config.set(*key, *value);
        }
        for setting in &self.set {
            let (key, value) = setting.split_once('=').with_context(|| format!("--set {setting}: no '='"))?;
            config.set(key, value);
        }
        Ok(config)
    }

    /// Creates topics of one partition each and waits until the brokers serve them.
    pub(crate) fn create_topics(&self, topics: &[&str]) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.config(&[])?.create()?;
        let min_in_sync = self.replicas.saturating_sub(1).max(1).to_string();
        let wanted: Vec<_> = topics
            .iter()
            .map(|topic| NewTopic::new(topic, 1, TopicReplication::Fixed(i32::from(self.replicas))))
            .map(|topic| topic.set("min.insync.replicas", &min_in_sync))
            .collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        for created in block_on(admin.create_topics(&wanted, &options))? {
            if let Err((topic, code)) = created {
                bail!("the broker did not create topic {topic}: {code}");
            }
        }
        Ok(())
    }
}

/// Drives one future without an async runtime; the admin client has a thread of its own that wakes it.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(output) => return output,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

/// Counts what became of the records.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    pub(crate) acknowledged: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Deliveries {
    /// Acknowledged records, or an error if a single one was not.
    pub(crate) fn acknowledged(&self) -> anyhow::Result<u64> {
        match self.failed.load(Ordering::Relaxed) {
            0 => Ok(self.acknowledged.load(Ordering::Relaxed)),
            failed => bail!("{failed} records were not acknowledged"),
        }
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        let count = if result.is_ok() { &self.acknowledged } else { &self.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
