//! A produce request judged by its bytes alone: what a network thread does before the step, so that the step never has
//! to look at a record's body.

use alloc::vec::Vec;
use sordini_protocol::batch::{InvalidBatch, Limits, ValidatedBatch, validate};
use sordini_protocol::messages::ProduceRequest;
use sordini_protocol::wire::{Records, Str, Uuid};

/// A produce request in which every batch is judged. The only constructor is [`JudgedProduce::judge`].
#[derive(Clone, Debug)]
pub struct JudgedProduce {
    pub(crate) acks: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) topics: Vec<JudgedTopic>,
}

#[derive(Clone, Debug)]
pub(crate) struct JudgedTopic {
    /// The topic's name, up to version 12.
    pub(crate) name: Str,
    /// The topic's id, from version 13.
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<JudgedPartition>,
}

#[derive(Clone, Debug)]
pub(crate) struct JudgedPartition {
    pub(crate) index: i32,
    pub(crate) batch: Result<ValidatedBatch, InvalidBatch>,
}

impl JudgedProduce {
    /// Judges every batch of `request`: CRC, counts, offsets, timestamps, compressed contents. Costs time in proportion
    /// to the bytes, touches nothing else, and may run on any thread.
    #[must_use]
    pub fn judge(request: ProduceRequest, version: i16) -> Self {
        // Zstandard was added with version 7 (KIP-110); older consumers of the same client could not read it.
        let limits = Limits { zstd_allowed: version >= 7, decompressed_bytes_max: DECOMPRESSED_BYTES_MAX };
        let topics = request
            .topic_data
            .into_iter()
            .map(|topic| JudgedTopic {
                name: topic.name,
                id: topic.topic_id,
                partitions: topic
                    .partition_data
                    .into_iter()
                    .map(|partition| {
                        let bytes = match partition.records {
                            Some(Records::Bytes(bytes)) => bytes,
                            // A request comes from a socket: its records are bytes.
                            Some(Records::Stored(_)) | None => bytes::Bytes::new(),
                        };
                        JudgedPartition { index: partition.index, batch: validate(bytes, &limits) }
                    })
                    .collect(),
            })
            .collect();
        Self { acks: request.acks, timeout_ms: request.timeout_ms, topics }
    }

    /// Whether judging `request` may take long enough to be worth another thread: some batch is compressed, so that its
    /// cost is not bounded by the bytes that were sent.
    #[must_use]
    pub fn is_costly(request: &ProduceRequest) -> bool {
        request.topic_data.iter().flat_map(|topic| &topic.partition_data).any(|partition| {
            match &partition.records {
                // Attributes lie at offset 21 of a batch; the lowest three bits of the second byte are the codec.
                Some(Records::Bytes(bytes)) => bytes.get(22).is_some_and(|attributes| attributes & 7 != 0),
                Some(Records::Stored(_)) | None => false,
            }
        })
    }
}

/// The most that one compressed batch may unfold to. Kafka has no such limit and takes what the heap allows; this is more
/// than a request could carry uncompressed (`socket.request.max.bytes`), and little enough to be unfolded again for a
/// reader who looks for a timestamp.
pub(crate) const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;
