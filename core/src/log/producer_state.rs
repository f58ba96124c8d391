//! What a partition knows of idempotent producers: enough to tell a repeated batch from a new one and a gap from the
//! next (KIP-98, KIP-360). A pure function of the log: replaying the batches gives the same state.

use crate::ids::{Offset, ProducerId};
use crate::museum::{Exhibit, Museum};
use alloc::collections::{BTreeMap, VecDeque};
use bytes::Bytes;
use sordini_protocol::batch::BatchHeader;
use sordini_protocol::crc::crc32c;
use sordini_protocol::error_code::ErrorCode;

/// How many batches of a producer are remembered: as many as a client may have in flight.
const BATCHES_REMEMBERED: usize = 5;

/// Bytes of a producer snapshot before its entries: version, CRC, count.
const SNAPSHOT_HEADER_LEN: usize = 10;

/// Bytes of one producer in a snapshot.
const SNAPSHOT_ENTRY_LEN: usize = 46;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct BatchMemory {
    first_sequence: i32,
    last_sequence: i32,
    last_offset: Offset,
    offset_delta: i32,
    timestamp: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// The last batches of this epoch, oldest first, at most [`BATCHES_REMEMBERED`]. Empty after a marker opened an
    /// epoch that has written nothing.
    batches: VecDeque<BatchMemory>,
    /// Timestamp of the last append, by which an idle producer is forgotten.
    last_timestamp: i64,
    /// Epoch of the transaction coordinator that wrote the last marker, -1 before any.
    coordinator_epoch: i32,
    /// First offset of the open transaction.
    transaction_start: Option<Offset>,
}

/// What to do with a batch of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SequenceVerdict {
    /// It follows; append it.
    Next,
    /// Nothing is known of the producer; append it.
    NewProducer,
    /// It begins a greater epoch; append it.
    NewEpoch,
    /// It is in the log already: answer what was answered then.
    Duplicate {
        /// Offset that its first record has.
        base_offset: Offset,
        /// Timestamp of its last record.
        timestamp: i64,
    },
}

/// Every producer that wrote to a partition and was not forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerStates {
    producers: BTreeMap<ProducerId, Producer>,
}

impl ProducerStates {
    /// Judges a batch that a client sent. Kafka's order: duplicate, then epoch, then sequence.
    pub(crate) fn judge(&self, batch: &BatchHeader, museum: Museum) -> Result<SequenceVerdict, ErrorCode> {
        let Some(producer) = self.producers.get(&ProducerId(batch.producer_id)) else {
            // Expired, deleted with the records, or new: any first sequence is taken.
            return Ok(SequenceVerdict::NewProducer);
        };
        if batch.producer_epoch == producer.epoch {
            let (first, last) = (batch.base_sequence, batch.last_sequence());
            let known = producer
                .batches
                .iter()
                .find(|known| known.first_sequence == first && known.last_sequence == last);
            if let Some(known) = known.filter(|_| !museum.has(Exhibit::A32DedupeWindowZero)) {
                return Ok(SequenceVerdict::Duplicate {
                    base_offset: known.last_offset.plus(-i64::from(known.offset_delta)),
                    timestamp: known.timestamp,
                });
            }
        }
        if batch.producer_epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let (follows, verdict) = if batch.producer_epoch > producer.epoch {
            (batch.base_sequence == 0, SequenceVerdict::NewEpoch)
        } else {
            let last = producer.batches.back();
            let follows = last.is_none_or(|last| batch.base_sequence == sequence_after(last.last_sequence));
            (follows, SequenceVerdict::Next)
        };
        if follows { Ok(verdict) } else { Err(ErrorCode::OutOfOrderSequenceNumber) }
    }

    /// Takes note of a batch that is in the log. Never judges: what the log holds is so.
    pub(crate) fn apply(&mut self, batch: &BatchHeader) {
        if batch.producer_id == ProducerId::NONE.0 || batch.is_control() {
            return;
        }
        let producer = self.producers.entry(ProducerId(batch.producer_id)).or_insert_with(|| Producer {
            epoch: batch.producer_epoch,
            batches: VecDeque::new(),
            last_timestamp: batch.max_timestamp,
            coordinator_epoch: -1,
            transaction_start: None,
        });
        if producer.epoch != batch.producer_epoch {
            producer.epoch = batch.producer_epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        producer.last_timestamp = batch.max_timestamp;
        producer.batches.push_back(BatchMemory {
            first_sequence: batch.base_sequence,
            last_sequence: batch.last_sequence(),
            last_offset: Offset(batch.last_offset()),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
    }

    /// Forgets producers that have not written for `expiration_ms` and have no transaction open. Answers whether there
    /// were any.
    pub(crate) fn expire(&mut self, wall_ms: i64, expiration_ms: i64) -> bool {
        let before = self.producers.len();
        self.producers.retain(|_, producer| {
            producer.transaction_start.is_some() || wall_ms - producer.last_timestamp < expiration_ms
        });
        self.producers.len() < before
    }

    /// The bytes of a `.snapshot` file, version 1. Only the last batch of each producer is kept.
    pub(crate) fn to_snapshot(&self) -> Bytes {
        let mut file = alloc::vec![0_u8; SNAPSHOT_HEADER_LEN];
        for (id, producer) in &self.producers {
            let last = producer.batches.back();
            file.extend_from_slice(&id.0.to_be_bytes());
            file.extend_from_slice(&producer.epoch.to_be_bytes());
            file.extend_from_slice(&last.map_or(-1, |batch| batch.last_sequence).to_be_bytes());
            file.extend_from_slice(&last.map_or(-1, |batch| batch.last_offset.0).to_be_bytes());
            file.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
            file.extend_from_slice(&producer.last_timestamp.to_be_bytes());
            file.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            file.extend_from_slice(&producer.transaction_start.map_or(-1, |start| start.0).to_be_bytes());
        }
        let count = i32::try_from(self.producers.len()).expect("producers are fewer than 2^31");
        file[..2].copy_from_slice(&1_i16.to_be_bytes());
        file[6..10].copy_from_slice(&count.to_be_bytes());
        let crc = crc32c(&file[6..]);
        file[2..6].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(file)
    }

    /// Reads a `.snapshot` file; `None` when it is damaged or of another version.
    pub(crate) fn from_snapshot(file: &[u8], museum: Museum) -> Option<Self> {
        let (header, entries) = file.split_at_checked(SNAPSHOT_HEADER_LEN)?;
        let crc = u32::from_be_bytes(header[2..6].try_into().ok()?);
        let is_whole = crc == crc32c(&file[6..]) || museum.has(Exhibit::B04SnapshotNotVerified);
        if header[..2] != 1_i16.to_be_bytes() || !is_whole {
            return None;
        }
        let count = usize::try_from(i32::from_be_bytes(header[6..10].try_into().ok()?)).ok()?;
        if entries.len() != count.checked_mul(SNAPSHOT_ENTRY_LEN)? {
            return None;
        }
        let mut states = Self::default();
        for entry in entries.chunks_exact(SNAPSHOT_ENTRY_LEN) {
            let int64 = |at: usize| entry[at..at + 8].try_into().map(i64::from_be_bytes).ok();
            let int32 = |at: usize| entry[at..at + 4].try_into().map(i32::from_be_bytes).ok();
            let (last_sequence, last_offset, offset_delta) = (int32(10)?, int64(14)?, int32(22)?);
            let mut batches = VecDeque::new();
            if last_sequence >= 0 {
                batches.push_back(BatchMemory {
                    first_sequence: sequence_before(last_sequence, offset_delta),
                    last_sequence,
                    last_offset: Offset(last_offset),
                    offset_delta,
                    timestamp: int64(26)?,
                });
            }
            let transaction_start = int64(38)?;
            states.producers.insert(
                ProducerId(int64(0)?),
                Producer {
                    epoch: i16::from_be_bytes(entry[8..10].try_into().ok()?),
                    batches,
                    last_timestamp: int64(26)?,
                    coordinator_epoch: int32(34)?,
                    transaction_start: (transaction_start >= 0).then_some(Offset(transaction_start)),
                },
            );
        }
        Some(states)
    }
}

/// Sequences count from 0 to 2^31-1 and begin again at 0.
const fn sequence_after(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

/// The sequence `count` before `sequence`, around the same circle.
const fn sequence_before(sequence: i32, count: i32) -> i32 {
    if sequence >= count { sequence - count } else { i32::MAX - (count - sequence) + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 49,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 1000,
            max_timestamp: 1000,
            producer_id: 7,
            producer_epoch: epoch,
            base_sequence,
            records_count: count,
        }
    }

    #[test]
    fn the_verdict_follows_the_order_duplicate_then_epoch_then_sequence() {
        let mut states = ProducerStates::default();
        assert_eq!(
            states.judge(&batch(3, 40, 1, 0), Museum::NONE),
            Ok(SequenceVerdict::NewProducer),
            "nothing known: any first sequence"
        );
        for (index, sequence) in (0..7).map(|n| (n, i32::try_from(n).expect("small") * 2)) {
            states.apply(&batch(3, sequence, 2, index * 2));
        }
        let duplicate = |base| Ok(SequenceVerdict::Duplicate { base_offset: Offset(base), timestamp: 1000 });
        type Row = (&'static str, i16, i32, i32, Result<SequenceVerdict, ErrorCode>);
        let table: [Row; 9] = [
            ("next", 3, 14, 3, Ok(SequenceVerdict::Next)),
            ("newest again", 3, 12, 2, duplicate(12)),
            ("oldest of the five again", 3, 4, 2, duplicate(4)),
            ("older than the five", 3, 2, 2, Err(ErrorCode::OutOfOrderSequenceNumber)),
            ("part of a known batch", 3, 12, 1, Err(ErrorCode::OutOfOrderSequenceNumber)),
            ("gap", 3, 15, 1, Err(ErrorCode::OutOfOrderSequenceNumber)),
            ("old epoch", 2, 14, 1, Err(ErrorCode::InvalidProducerEpoch)),
            ("new epoch from 0", 4, 0, 1, Ok(SequenceVerdict::NewEpoch)),
            ("new epoch not from 0", 4, 14, 1, Err(ErrorCode::OutOfOrderSequenceNumber)),
        ];
        for (what, epoch, sequence, count, expected) in table {
            assert_eq!(states.judge(&batch(epoch, sequence, count, 99), Museum::NONE), expected, "{what}");
        }
    }

    #[test]
    fn sequences_wrap_from_the_largest_to_zero() {
        let mut states = ProducerStates::default();
        states.apply(&batch(0, i32::MAX - 1, 2, 0));
        assert_eq!(states.judge(&batch(0, 0, 1, 2), Museum::NONE), Ok(SequenceVerdict::Next));
        states.apply(&batch(0, i32::MAX - 1, 4, 2));
        assert_eq!(states.judge(&batch(0, 2, 1, 6), Museum::NONE), Ok(SequenceVerdict::Next));
    }

    #[test]
    fn a_snapshot_reads_back_with_the_last_batch_of_each_producer() {
        let mut states = ProducerStates::default();
        states.apply(&batch(0, 5, 3, 10));
        let file = states.to_snapshot();
        assert_eq!(file.len(), SNAPSHOT_HEADER_LEN + SNAPSHOT_ENTRY_LEN);
        assert_eq!(ProducerStates::from_snapshot(&file, Museum::NONE), Some(states));
        for at in 0..file.len() {
            let mut damaged = file.to_vec();
            damaged[at] ^= 1;
            assert_eq!(ProducerStates::from_snapshot(&damaged, Museum::NONE), None, "byte {at}");
            assert_eq!(ProducerStates::from_snapshot(&file[..at], Museum::NONE), None, "cut at {at}");
        }
    }
}
