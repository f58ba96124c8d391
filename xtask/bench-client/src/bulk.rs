//! librdkafka's bulk calls, which the `rdkafka` crate does not offer: records by the thousand, and no copy of a value
//! that stays where it is. A client that costs less shows more of the broker.

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use anyhow::{bail, ensure};
use rdkafka::bindings::{
    rd_kafka_consume_batch_queue, rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_produce_batch,
    rd_kafka_queue_destroy, rd_kafka_queue_get_consumer, rd_kafka_queue_t, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::types::RDKafkaRespErr;

use crate::client::Deliveries;

/// Records in one call.
const BULK: usize = 1000;

/// Partition 0 of a topic, for one value sent again and again.
pub(crate) struct BulkProducer<'a> {
    topic: *mut rd_kafka_topic_t,
    messages: Vec<rd_kafka_message_t>,
    /// The topic's handle belongs to this client.
    _producer: &'a BaseProducer<Deliveries>,
}

impl<'a> BulkProducer<'a> {
    pub(crate) fn new(
        producer: &'a BaseProducer<Deliveries>,
        topic: &str,
        value: &'static [u8],
    ) -> anyhow::Result<Self> {
        let name = CString::new(topic)?;
        // SAFETY: the producer's handle is valid while it is borrowed, the name ends with a zero, and no
        // configuration means the default.
        let topic =
            unsafe { rd_kafka_topic_new(producer.client().native_ptr(), name.as_ptr(), ptr::null_mut()) };
        ensure!(!topic.is_null(), "no handle for the topic");
        let message = rd_kafka_message_t {
            err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
            rkt: topic,
            partition: 0,
            payload: value.as_ptr().cast_mut().cast(),
            len: value.len(),
            key: ptr::null_mut(),
            key_len: 0,
            offset: 0,
            _private: ptr::null_mut(),
        };
        Ok(Self { topic, messages: vec![message; BULK], _producer: producer })
    }

    /// Hands up to `records` records to the producer and returns how many its queue had room for.
    pub(crate) fn send(&mut self, records: u64) -> anyhow::Result<u64> {
        let wanted = usize::try_from(records).unwrap_or(BULK).min(BULK);
        // SAFETY: `messages` holds at least `wanted` messages whose payload is never freed, which is why no flag
        // asks for a copy; the topic's handle is valid until this is dropped.
        let taken = unsafe {
            rd_kafka_produce_batch(self.topic, 0, 0, self.messages.as_mut_ptr(), i32::try_from(wanted)?)
        };
        let taken = usize::try_from(taken)?;
        if let Some(refused) = self.messages[..wanted].get(taken) {
            let code = RDKafkaErrorCode::from(refused.err);
            ensure!(code == RDKafkaErrorCode::QueueFull, "cannot produce: {code}");
        }
        Ok(taken as u64)
    }
}

impl Drop for BulkProducer<'_> {
    fn drop(&mut self) {
        // SAFETY: `new` took this reference and nothing uses it any more.
        unsafe { rd_kafka_topic_destroy(self.topic) };
    }
}

/// The queue that a consumer's records arrive in.
pub(crate) struct BulkConsumer {
    queue: *mut rd_kafka_queue_t,
    messages: Vec<*mut rd_kafka_message_t>,
    /// Keeps the client alive that the queue belongs to.
    _consumer: std::sync::Arc<BaseConsumer>,
}

impl BulkConsumer {
    pub(crate) fn new(consumer: std::sync::Arc<BaseConsumer>) -> anyhow::Result<Self> {
        // SAFETY: the consumer's handle is valid while `_consumer` is held.
        let queue = unsafe { rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        ensure!(!queue.is_null(), "the consumer has no queue");
        Ok(Self { queue, messages: vec![ptr::null_mut(); BULK], _consumer: consumer })
    }

    /// Waits for up to `records` records and gives the offset and the value's size of each to `seen`. Fewer come only
    /// when `patience` ends first.
    pub(crate) fn receive(
        &mut self,
        records: u64,
        patience: Duration,
        mut seen: impl FnMut(i64, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<u64> {
        let wanted = usize::try_from(records).unwrap_or(BULK).min(BULK);
        // SAFETY: the queue is valid until this is dropped and `messages` has room for `wanted` pointers.
        let received = unsafe {
            rd_kafka_consume_batch_queue(
                self.queue,
                i32::try_from(patience.as_millis())?,
                self.messages.as_mut_ptr(),
                wanted,
            )
        };
        let Ok(received) = usize::try_from(received) else { bail!("cannot read from the consumer's queue") };
        let mut result = Ok(());
        for message in &self.messages[..received] {
            // SAFETY: librdkafka filled in `received` valid messages, which are ours until destroyed just below.
            let (err, offset, len) = unsafe { ((**message).err, (**message).offset, (**message).len) };
            if result.is_ok() {
                let code = RDKafkaErrorCode::from(err);
                result = if code == RDKafkaErrorCode::NoError {
                    seen(offset, len)
                } else {
                    Err(anyhow::anyhow!("cannot read: {code}"))
                };
            }
            // SAFETY: as above; the pointer is overwritten by the next call before anything reads it.
            unsafe { rd_kafka_message_destroy(*message) };
        }
        result.map(|()| received as u64)
    }
}

impl Drop for BulkConsumer {
    fn drop(&mut self) {
        // SAFETY: `new` took this reference and nothing uses it any more.
        unsafe { rd_kafka_queue_destroy(self.queue) };
    }
}
