//! `no_duplicates`: what an idempotent producer sent under one epoch is in the log once at most, however often it was sent,
//! and the sequence numbers of an id and epoch follow one another without a gap; and what is sent again is acknowledged
//! where it is (T6).
//!
//! Under two epochs a value may be there twice: the snapshot of the producers' state holds the last batch of each, as
//! Kafka's does, so that after a restart the resending of an earlier one is out of order, and the Java client then raises
//! its epoch and sends it as new.

use super::truth::{LogTruth, TrueBatch};
use super::{Acknowledged, Violation};
use bytes::Bytes;
use sordini_protocol::batch::{Batch, BatchHeader};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A batch, as its producer names it: directory of the log, producer id and epoch, first sequence number.
type Name = (Arc<str>, i64, i16, i32);

/// Where the batches of idempotent producers are, by what was acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledgements {
    offsets: BTreeMap<Name, i64>,
}

impl Acknowledgements {
    /// At the moment of an acknowledgement, when what it names is known to be the batch that was sent: a batch that was
    /// sent again is acknowledged with the offset it was first acknowledged with, as long as it is there and a recovery
    /// could find it.
    pub(super) fn check(
        &mut self,
        acknowledged: &Acknowledged,
        dir: &Arc<str>,
        log: &LogTruth,
    ) -> Result<(), Violation> {
        let Some(header) = BatchHeader::parse(&acknowledged.sent).ok().filter(BatchHeader::has_producer_id)
        else {
            return Ok(());
        };
        let name = |header: &BatchHeader| (header.producer_id, header.producer_epoch, header.base_sequence);
        let (id, epoch, sequence) = name(&header);
        let offset = acknowledged.base_offset;
        let before = self.offsets.insert((Arc::clone(dir), id, epoch, sequence), offset);
        let Some(before) = before.filter(|before| *before != offset) else { return Ok(()) };
        let is_it =
            |header: &BatchHeader| header.base_offset == before && name(header) == (id, epoch, sequence);
        let is_known =
            |batch: &TrueBatch| is_it(&batch.header) && !log.is_forgotten_between(batch.end_offset, offset);
        if !log.batch_at(before).is_some_and(|(_, batch)| is_known(batch)) {
            return Ok(());
        }
        Err(Violation {
            property: "no_duplicates",
            sentence: format!(
                "{dir} acknowledged the batch of producer {id}, epoch {epoch}, that begins with sequence {sequence}, at \
                 offset {before} and again at offset {offset}"
            ),
        })
    }
}

/// How far a batch may grow when it is decompressed.
pub(super) const DECOMPRESSED_BYTES_MAX: usize = 1 << 24;

/// How many batches of a producer a node remembers.
const REMEMBERED: usize = 5;

/// Where the batch that is about to reach the node is already, if the node has to know it: one of the last five of its
/// producer, all of them appended in this life of the node, which began to append at `life_start`.
pub(super) fn known_at(sent: &Bytes, log: &LogTruth, life_start: i64) -> Option<i64> {
    let sent = BatchHeader::parse(sent).ok().filter(BatchHeader::has_producer_id)?;
    let remembered = log
        .batches()
        .iter()
        .rev()
        .take_while(|batch| batch.base_offset >= life_start)
        .filter(|batch| batch.header.producer_id == sent.producer_id)
        .take(REMEMBERED);
    let mut remembered = remembered.take_while(|batch| batch.header.producer_epoch == sent.producer_epoch);
    let is_sent = |header: &BatchHeader| {
        (header.base_sequence, header.last_sequence()) == (sent.base_sequence, sent.last_sequence())
    };
    remembered.find(|batch| is_sent(&batch.header)).map(|batch| batch.base_offset)
}

/// A batch was refused because its sequence does not follow. It was at `known_at` when it reached the node.
pub(super) fn check_refused(sent: &Acknowledged, dir: &str) -> Result<(), Violation> {
    if sent.base_offset < 0 {
        return Ok(());
    }
    Err(Violation {
        property: "no_duplicates",
        sentence: format!(
            "{dir} refused a batch as out of order that is at offset {} and among the last {REMEMBERED} of its producer: \
             whoever sends it again under another epoch has it twice",
            sent.base_offset
        ),
    })
}

/// Where a value was found.
#[derive(Clone, Copy)]
struct Place<'a> {
    dir: &'a str,
    offset: i64,
    producer: (i64, i16),
}

/// Looks at every record of every log; what lay below its start in a recovery could not be known any more, nor what was
/// `expiration_ms` old. A value begins with its number, whose upper 24 bits are the client's.
/// Answers how many values are there twice because of a raised epoch.
pub(super) fn check<'a>(
    logs: impl Iterator<Item = (&'a str, &'a LogTruth)>,
    idempotent_clients: &BTreeSet<u64>,
    expiration_ms: i64,
) -> Result<u64, Violation> {
    let violation = |sentence| Err(Violation { property: "no_duplicates", sentence });
    let mut seen: BTreeMap<u64, Place<'_>> = BTreeMap::new();
    let mut twice = 0;
    for (dir, log) in logs {
        let mut sequences: BTreeMap<(i64, i16), BatchHeader> = BTreeMap::new();
        for batch in log.batches() {
            let bad = |error: &dyn std::fmt::Display| {
                violation(format!("{dir} has at {} what is no batch: {error}", batch.base_offset))
            };
            let expired = batch.appended_ms.saturating_sub(expiration_ms);
            let batch = match Batch::new(batch.contiguous()) {
                Ok(batch) => batch,
                Err(error) => return bad(&error),
            };
            let header = *batch.header();
            if let Some(sentence) = follow(dir, log, &header, &mut sequences, expired) {
                return violation(sentence);
            }
            let records = match batch.records(DECOMPRESSED_BYTES_MAX) {
                Ok(records) => records,
                Err(error) => return bad(&error),
            };
            for record in records {
                let record = match record {
                    Ok(record) => record,
                    Err(error) => return bad(&error),
                };
                let value = record.value.as_deref().and_then(|value| value.first_chunk::<8>());
                let Some(value) = value.map(|bytes| u64::from_be_bytes(*bytes)) else { continue };
                if !idempotent_clients.contains(&(value >> 40)) {
                    continue;
                }
                let place = Place {
                    dir,
                    offset: record.offset,
                    producer: (header.producer_id, header.producer_epoch),
                };
                let Some(other) = seen.insert(value, place) else { continue };
                let (one, two) = (other.producer, place.producer);
                if other.dir == dir && one.0 == two.0 && one.1 < two.1 {
                    twice += 1;
                    continue;
                }
                if other.dir == dir && log.is_forgotten_between(other.offset + 1, header.base_offset) {
                    continue;
                }
                return violation(format!(
                    "the value {value:#x} of an idempotent producer is at offset {} of {}, with producer id and epoch \
                     {one:?}, and at offset {} of {dir}, with {two:?}",
                    other.offset, other.dir, place.offset
                ));
            }
        }
    }
    Ok(twice)
}

/// The sequence numbers of an id and epoch follow one another. What was deleted before a recovery, that could not know, nor
/// the node what is older than `expired`, in wall clock milliseconds: it may have forgotten the producer.
fn follow(
    dir: &str,
    log: &LogTruth,
    header: &BatchHeader,
    sequences: &mut BTreeMap<(i64, i16), BatchHeader>,
    expired: i64,
) -> Option<String> {
    if header.producer_id < 0 {
        return None;
    }
    let producer = (header.producer_id, header.producer_epoch);
    let before = sequences.insert(producer, *header)?;
    // A follower whose leader has deleted what parts their logs keeps its own of it, below the log's start: of another epoch.
    let enters = before.base_offset < log.start_limit()
        && before.partition_leader_epoch != header.partition_leader_epoch;
    let is_forgotten = log.is_forgotten_between(before.next_offset(), header.base_offset);
    if enters || is_forgotten || before.max_timestamp < expired {
        return None;
    }
    let expected = if before.last_sequence() == i32::MAX { 0 } else { before.last_sequence() + 1 };
    (header.base_sequence != expected).then(|| {
        format!(
            "{dir} has at offset {} the sequence {} of producer id and epoch {producer:?}, where {expected} follows",
            header.base_offset, header.base_sequence
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::check::Acknowledged;
    use crate::check::example::{Life, assert_violates, at, batch, segment};
    use sordini_protocol::batch::BatchParams;

    #[test]
    fn a_batch_that_was_sent_again_is_acknowledged_where_it_is() {
        let mut life = Life::begin();
        let producer = |base_offset| BatchParams {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: 0,
            ..at(base_offset)
        };
        for offset in 0..2 {
            life.write(&segment(0), batch(producer(offset), 10, "a")).expect("a log goes on");
        }
        let mut acknowledge = |base_offset| {
            let sent = batch(producer(0), 10, "a");
            let acknowledged = Acknowledged { topic: 0, partition: 0, acks: -1, base_offset, sent };
            life.checks.on_acknowledged(&acknowledged, &life.disk)
        };
        acknowledge(0).expect("it is there");
        acknowledge(0).expect("it still is");
        assert_violates(acknowledge(1), "no_duplicates", "at offset 0 and again at offset 1");
    }

    #[test]
    fn a_batch_that_the_node_has_to_know_is_not_refused_as_out_of_order() {
        let mut life = Life::begin();
        let producer = |sequence: i32| BatchParams {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: sequence,
            ..at(i64::from(sequence))
        };
        for sequence in 0..6 {
            life.write(&segment(0), batch(producer(sequence), 10, "a")).expect("a log goes on");
        }
        let refuse = |sequence| {
            let sent = batch(producer(sequence), 10, "a");
            let mut sent = Acknowledged { topic: 0, partition: 0, acks: -1, base_offset: -1, sent };
            life.checks.on_sent(&mut sent, &life.disk);
            life.checks.on_out_of_order(&sent, &life.disk)
        };
        refuse(0).expect("five have been written since");
        refuse(7).expect("it is not there");
        assert_violates(refuse(1), "no_duplicates", "that is at offset 1 and among the last 5");
    }
}
