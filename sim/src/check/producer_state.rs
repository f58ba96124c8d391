//! `producer_state`: every snapshot of the producers' state is the replay of the log's batches below its offset (T7): the
//! last batch of each producer, and no producer that is not in the log. A snapshot beyond the end of the log is none at
//! all: a later start would take sequences for written that are not.
//!
//! A producer may be missing: if it has been silent for longer than `producer.id.expiration.ms`, or if its last batch was
//! deleted before a recovery, which could not read it any more.

use super::Violation;
use super::truth::{LogTruth, TrueBatch, is_going};
use crate::disk::Disk;
use sordini_protocol::crc::crc32c;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::slice;
use std::sync::Arc;

/// What a snapshot says of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) epoch: i16,
    pub(super) last_sequence: i32,
    pub(super) last_offset: i64,
    pub(super) offset_delta: i32,
    pub(super) timestamp: i64,
    pub(super) coordinator_epoch: i32,
    pub(super) transaction_start: i64,
}

/// The offset in the name of a snapshot; nothing if it is another file.
pub(super) fn offset_of(file: &str) -> Option<i64> {
    let name = file.rsplit('/').next()?.strip_suffix(".snapshot")?;
    name.parse().ok().filter(|_| name.len() == 20)
}

/// Reads a snapshot; an error is the end of a sentence.
pub(super) fn decode(file: &[u8]) -> Result<BTreeMap<i64, Producer>, String> {
    const HEADER_LEN: usize = 10;
    const ENTRY_LEN: usize = 46;
    let mut rest = file;
    let mut take = |len: usize| {
        let (taken, after) = rest.split_at_checked(len)?;
        rest = after;
        // Fields have up to eight bytes; shorter ones are extended with their sign.
        let sign = if taken[0] & 0x80 == 0 { 0 } else { 0xff };
        let mut wide = [sign; 8];
        wide[8 - len..].copy_from_slice(taken);
        Some(i64::from_be_bytes(wide))
    };
    let int32 = |wide: i64| i32::try_from(wide).expect("four bytes are an int32");
    let header = (|| Some((take(2)?, take(4)?, take(4)?)))();
    let Some((version, crc, count)) = header else {
        return Err(format!("has {} bytes, fewer than its header needs", file.len()));
    };
    let real = crc32c(&file[6..]);
    if version != 1 || crc & 0xffff_ffff != i64::from(real) {
        return Err(format!("has version {version} and the CRC {crc:#x}, where {real:#x} is right"));
    }
    let entries = usize::try_from(count).unwrap_or(usize::MAX);
    if Some(file.len() - HEADER_LEN) != entries.checked_mul(ENTRY_LEN) {
        return Err(format!("has {} bytes and announces {count} producers", file.len()));
    }
    let mut producer = || {
        let id = take(8)?;
        let producer = Producer {
            epoch: i16::try_from(take(2)?).expect("two bytes are an int16"),
            last_sequence: int32(take(4)?),
            last_offset: take(8)?,
            offset_delta: int32(take(4)?),
            timestamp: take(8)?,
            coordinator_epoch: int32(take(4)?),
            transaction_start: take(8)?,
        };
        Some((id, producer))
    };
    Ok((0..entries).map_while(|_| producer()).collect())
}

/// Replays a log once for several snapshots.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    log: &'a LogTruth,
    rest: Peekable<slice::Iter<'a, TrueBatch>>,
    producers: BTreeMap<i64, Producer>,
    /// Producers that last wrote at or before this time may have been forgotten.
    expired: i64,
}

impl<'a> Replay<'a> {
    pub(super) fn new(log: &'a LogTruth, expired: i64) -> Self {
        Self { log, rest: log.batches().iter().peekable(), producers: BTreeMap::new(), expired }
    }

    fn advance(&mut self, offset: i64) {
        while let Some(batch) = self.rest.next_if(|batch| batch.base_offset < offset) {
            let header = &batch.header;
            if !header.has_producer_id() || header.is_control() {
                continue;
            }
            let producer = Producer {
                epoch: header.producer_epoch,
                last_sequence: header.last_sequence(),
                last_offset: header.last_offset(),
                offset_delta: header.last_offset_delta,
                timestamp: header.max_timestamp,
                coordinator_epoch: -1,
                transaction_start: -1,
            };
            self.producers.insert(header.producer_id, producer);
        }
    }

    /// Compares a snapshot with the log; those of one replay come in the order of their offsets.
    pub(super) fn check(&mut self, file: &str, offset: i64, bytes: &[u8]) -> Result<(), Violation> {
        let violation = |sentence| Err(Violation { property: "producer_state", sentence });
        let end = self.log.end();
        if offset > end {
            return violation(format!("{file} is there, and the log ends at offset {end}"));
        }
        let found = match decode(bytes) {
            Ok(found) => found,
            Err(why) => return violation(format!("{file} {why}")),
        };
        self.advance(offset);
        for (id, producer) in &found {
            let expected = self.producers.get(id);
            if expected != Some(producer) {
                return violation(format!(
                    "{file} says of producer {id} {producer:?}, and the log below that offset {expected:?}"
                ));
            }
        }
        let is_missed = |(id, producer): &(&i64, &Producer)| {
            !found.contains_key(id)
                && producer.timestamp > self.expired
                && !self.log.is_forgotten_between(producer.last_offset + 1, offset)
        };
        match self.producers.iter().find(is_missed) {
            Some((id, producer)) => violation(format!(
                "{file} says nothing of producer {id}, and the log below that offset {producer:?}"
            )),
            None => Ok(()),
        }
    }
}

/// Looks at every snapshot of a log; producers that last wrote at or before `expired` may be missing.
///
/// One that was right stays so as long as neither it nor what the log has below it is another: a log that grows says nothing
/// new of it, and of the reasons for which a producer may be missing none goes away.
pub(super) fn check(dir: &str, log: &mut LogTruth, expired: i64, disk: &Disk) -> Result<(), Violation> {
    let mut right = std::mem::take(&mut log.right_snapshots);
    let mut replay = Replay::new(log, expired);
    for file in disk.paths_beneath(dir) {
        let Some(offset) = offset_of(file) else { continue };
        let contents = disk.contents(file).expect("it was listed");
        let looks = (contents.stamp(), contents.len());
        if right.get(file) != Some(&looks) && !is_going(disk, file) {
            replay.check(file, offset, &contents.all())?;
            right.insert(Arc::from(file), looks);
        }
    }
    log.right_snapshots = right;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Producer;
    use crate::check::Violation;
    use crate::check::example::{Life, assert_violates, at, batch, file, segment};
    use sordini_protocol::batch::BatchParams;
    use sordini_protocol::crc::crc32c;

    /// A log with batches of producers 7, 7 and 8, at times 10, 20 and 30.
    fn life() -> Life {
        let mut life = Life::begin();
        for (offset, producer_id, base_sequence) in [(0, 7, 0), (1, 7, 1), (2, 8, 0)] {
            let params = BatchParams { producer_id, producer_epoch: 2, base_sequence, ..at(offset) };
            life.write(&segment(0), batch(params, 10 * (offset + 1), "a")).expect("a log goes on");
        }
        life
    }

    fn producer(last_sequence: i32, last_offset: i64) -> Producer {
        Producer {
            epoch: 2,
            last_sequence,
            last_offset,
            offset_delta: 0,
            timestamp: 10 * (last_offset + 1),
            coordinator_epoch: -1,
            transaction_start: -1,
        }
    }

    fn encode(producers: &[(i64, Producer)]) -> Vec<u8> {
        let mut rest = i32::try_from(producers.len()).expect("a few").to_be_bytes().to_vec();
        for (id, producer) in producers {
            rest.extend_from_slice(&id.to_be_bytes());
            rest.extend_from_slice(&producer.epoch.to_be_bytes());
            rest.extend_from_slice(&producer.last_sequence.to_be_bytes());
            rest.extend_from_slice(&producer.last_offset.to_be_bytes());
            rest.extend_from_slice(&producer.offset_delta.to_be_bytes());
            rest.extend_from_slice(&producer.timestamp.to_be_bytes());
            rest.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            rest.extend_from_slice(&producer.transaction_start.to_be_bytes());
        }
        [&1_i16.to_be_bytes()[..], &crc32c(&rest).to_be_bytes(), &rest].concat()
    }

    fn write(life: &mut Life, offset: i64, producers: &[(i64, Producer)]) -> Result<(), Violation> {
        life.replace(&file(&format!("{offset:020}.snapshot")), encode(producers))
    }

    #[test]
    fn a_snapshot_is_the_last_batch_of_each_producer_below_its_offset() {
        let mut life = life();
        write(&mut life, 1, &[(7, producer(0, 0))]).expect("one batch");
        write(&mut life, 2, &[(7, producer(1, 1))]).expect("two batches of one producer");
        write(&mut life, 3, &[(7, producer(1, 1)), (8, producer(0, 2))]).expect("two producers");
        let words = "00000000000000000002.snapshot says ";
        assert_violates(write(&mut life, 2, &[(7, producer(0, 0))]), "producer_state", words);
        assert_violates(write(&mut life, 2, &[(7, producer(2, 1))]), "producer_state", words);
        assert_violates(write(&mut life, 2, &[(8, producer(0, 2))]), "producer_state", words);
        assert_violates(write(&mut life, 2, &[]), "producer_state", "says nothing of producer 7");
        let later = [(7, producer(1, 1)), (8, producer(0, 2)), (9, producer(0, 3))];
        assert_violates(write(&mut life, 4, &later), "producer_state", "and the log ends at offset 3");
    }

    #[test]
    fn a_torn_snapshot_is_found() {
        let whole = encode(&[(7, producer(1, 1))]);
        let spoiled = |at: usize| {
            let mut spoiled = whole.clone();
            spoiled[at] ^= 1;
            spoiled
        };
        for torn in
            [Vec::new(), whole[..9].to_vec(), whole[..50].to_vec(), spoiled(1), spoiled(3), spoiled(30)]
        {
            let mut life = life();
            let written = life.replace(&file("00000000000000000002.snapshot"), torn);
            assert_violates(written, "checkpoint_files", "00000000000000000002.snapshot has ");
        }
    }

    #[test]
    fn a_producer_may_be_missing_when_it_has_expired() {
        let mut life = life();
        life.checks.producer_expiration_ms = 100;
        life.checks.on_clock(119);
        assert_violates(
            write(&mut life, 3, &[(8, producer(0, 2))]),
            "producer_state",
            "nothing of producer 7",
        );
        life.checks.on_clock(120);
        write(&mut life, 3, &[(8, producer(0, 2))]).expect("producer 7 has been silent for 100 ms");
        assert_violates(write(&mut life, 3, &[]), "producer_state", "nothing of producer 8");
    }

    #[test]
    fn a_snapshot_beyond_the_end_of_a_recovered_log_is_found() {
        let mut life = life();
        life.replace(&file("leader-epoch-checkpoint"), "0\n1\n1 0\n").expect("there is one epoch");
        let params = BatchParams { producer_id: 9, producer_epoch: 0, base_sequence: 0, ..at(3) };
        life.append(&segment(0), batch(params, 40, "b")).expect("a log goes on");
        let ninth = Producer { epoch: 0, ..producer(0, 3) };
        let all = [(7, producer(1, 1)), (8, producer(0, 2)), (9, ninth)];
        write(&mut life, 4, &all).expect("so it is");
        life.settle();
        life.lose_power().expect("nothing is known to be missing");
        let running = life.checks.on_running(&life.disk).map(drop);
        assert_violates(
            running,
            "producer_state",
            "00000000000000000004.snapshot is there, and the log ends at offset 3",
        );
    }
}
