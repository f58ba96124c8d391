//! One anomaly, planted into a history that has none.

use super::world::{GHOST, PARTITIONS, World};
use super::{SCANNER, Story, poll, polled, send};
use sordini_jepsen::anomaly::Anomaly;
use sordini_jepsen::history::{Acks, Answer, Operation, Record, Step};

/// Clients that appear when everything has been scanned: two producers and a consumer.
const LATE_PRODUCERS: [u32; 2] = [GHOST + 1, GHOST + 2];
const LATE_READER: u32 = 88;

/// An operation as the events have it.
struct Whole {
    process: u32,
    operation: Operation,
    /// Where its end is among the events, and what it was if it went well.
    end: usize,
    began: usize,
    answer: Answer,
}

/// The operations that ended well.
fn wholes(story: &Story) -> Vec<Whole> {
    let mut wholes = Vec::new();
    for (end, event) in story.events.iter().enumerate() {
        let Step::Ok(answer) = &event.step else { continue };
        // Events of a story are numbered without gaps.
        let began = usize::try_from(event.op).unwrap();
        let Step::Invoke(operation) = &story.events[began].step else { continue };
        let (operation, answer) = (operation.clone(), answer.clone());
        wholes.push(Whole { process: event.process, operation, end, began, answer });
    }
    wholes
}

/// A value that is in the last scan.
#[derive(Clone, Copy)]
struct Stored {
    partition: u32,
    offset: i64,
    value: u64,
}

fn stored(world: &World) -> Vec<Stored> {
    let all = (0..PARTITIONS).zip(&world.logs).flat_map(|(partition, log)| {
        let values = (0..).zip(&log.values).filter(|(offset, _)| *offset >= log.start);
        values.map(move |(offset, &value)| Stored { partition, offset, value })
    });
    all.collect()
}

/// What was acknowledged with an offset, where it is.
fn acknowledged(story: &Story, asked: Acks) -> Vec<(u64, i64, usize)> {
    let mut found = Vec::new();
    for whole in wholes(story) {
        if let (Operation::Send { values, acks, .. }, Answer::Sent { base_offset: Some(base) }) =
            (&whole.operation, &whole.answer)
            && *acks == asked
        {
            found.extend(values.iter().zip(*base..).map(|(&value, offset)| (value, offset, whole.end)));
        }
    }
    found
}

fn choose<T>(mut candidates: Vec<T>, pick: usize) -> Option<T> {
    (!candidates.is_empty()).then(|| candidates.swap_remove(pick % candidates.len()))
}

/// Changes the records of every poll.
fn edit(story: &mut Story, mut change: impl FnMut(usize, &mut Vec<Record>)) {
    for (at, event) in story.events.iter_mut().enumerate() {
        if let Step::Ok(Answer::Polled { records, .. }) = &mut event.step {
            let mut changed = records.to_vec();
            change(at, &mut changed);
            *records = changed.into();
        }
    }
}

fn forget(story: &mut Story, value: u64) {
    edit(story, |_, records| records.retain(|record| record.value != value));
}

/// Consumers' polls with at least so many records, of which the scan has all: where they end, and the records.
fn consumed(world: &World, records_min: usize) -> Vec<(usize, Vec<Record>)> {
    let mut found = Vec::new();
    for whole in wholes(&world.story).into_iter().filter(|whole| whole.process != SCANNER) {
        if let (Operation::Poll { partition, .. }, Answer::Polled { records, .. }) =
            (whole.operation, whole.answer)
            && records.len() >= records_min
            && records[0].offset >= world.logs[partition as usize].start
        {
            found.push((whole.end, records.to_vec()));
        }
    }
    found
}

/// The late reader gets these records at the end of a partition.
fn read_late(world: &mut World, partition: u32, values: &[u64]) {
    let end = world.logs[partition as usize].end();
    let records: Vec<_> = (end..).zip(values.iter().copied()).collect();
    let high_watermark = records.last().map(|(offset, _)| offset + 1);
    world.story.polled_of(LATE_READER, partition, end, &records, high_watermark);
}

/// Plants the anomaly, if the history has a place for it, and says which value or offset a finding must name.
pub fn plant(world: &mut World, anomaly: Anomaly, pick: usize) -> Option<(Option<u64>, Option<i64>)> {
    let fresh = 1_000_000;
    let partition = u32::try_from(pick).unwrap() % PARTITIONS;
    let end = world.logs[partition as usize].end();
    match anomaly {
        Anomaly::InconsistentOffset => {
            let victim = choose(stored(world), pick)?;
            let records = [(victim.offset, u64::from(victim.partition))];
            world.story.polled_of(LATE_READER, victim.partition, victim.offset, &records, None);
            Some((None, Some(victim.offset)))
        }
        Anomaly::InconsistentOffsetWeak => {
            let stored = stored(world);
            let mut moves = Vec::new();
            for (value, offset, end) in acknowledged(&world.story, Acks::Leader) {
                let Some(own) = stored.iter().find(|stored| stored.value == value) else { continue };
                let Step::Ok(Answer::Sent { base_offset: Some(base) }) = world.story.events[end].step else {
                    continue;
                };
                let others = stored.iter().filter(|other| other.partition == own.partition);
                let moved = others.map(|other| (value, other.offset, end, base + other.offset - offset));
                moves.extend(moved.filter(|&(_, to, _, base)| to != own.offset && base >= 0));
            }
            let (value, to, end, base) = choose(moves, pick)?;
            world.story.events[end].step = Step::Ok(Answer::Sent { base_offset: Some(base) });
            Some((Some(value), Some(to)))
        }
        Anomaly::Duplicate => {
            let idempotent = [10, 11];
            let sends = wholes(&world.story).into_iter().filter(|whole| idempotent.contains(&whole.process));
            let values: Vec<u64> = sends
                .filter_map(|whole| match whole.operation {
                    Operation::Send { values, .. } => Some(values),
                    Operation::Poll { .. }
                    | Operation::Seek { .. }
                    | Operation::ListOffsets { .. }
                    | Operation::Scan { .. } => None,
                })
                .flatten()
                .collect();
            let victims = stored(world).into_iter().filter(|stored| values.contains(&stored.value)).collect();
            let victim = choose(victims, pick)?;
            read_late(world, victim.partition, &[victim.value]);
            Some((Some(victim.value), Some(victim.offset)))
        }
        Anomaly::LostAcked | Anomaly::LostAcks1 => {
            let acks = if anomaly == Anomaly::LostAcked { Acks::All } else { Acks::Leader };
            let acknowledged = acknowledged(&world.story, acks);
            let is_inside = |stored: &Stored| {
                stored.offset + 1 < world.logs[stored.partition as usize].end()
                    && acknowledged
                        .iter()
                        .any(|&(value, offset, _)| (value, offset) == (stored.value, stored.offset))
            };
            let victim = choose(stored(world).into_iter().filter(is_inside).collect(), pick)?;
            forget(&mut world.story, victim.value);
            Some((Some(victim.value), Some(victim.offset)))
        }
        Anomaly::Unseen => {
            let acknowledged = acknowledged(&world.story, Acks::All);
            let is_acknowledged = |stored: &Stored| {
                acknowledged
                    .iter()
                    .any(|&(value, offset, _)| (value, offset) == (stored.value, stored.offset))
            };
            let first = choose(stored(world).into_iter().filter(is_acknowledged).collect(), pick)?;
            let polls: Vec<_> = wholes(&world.story).into_iter().filter(|whole| {
                matches!(whole.operation, Operation::Poll { partition, .. } if partition == first.partition)
            }).map(|whole| whole.end).collect();
            edit(&mut world.story, |at, records| {
                if polls.contains(&at) {
                    records.retain(|record| record.offset < first.offset);
                }
            });
            Some((Some(first.value), Some(first.offset)))
        }
        Anomaly::FailedRead => {
            let stored = stored(world);
            let mut sends = Vec::new();
            for whole in wholes(&world.story) {
                let Operation::Send { values, .. } = whole.operation else { continue };
                let read = stored.iter().find(|stored| values.contains(&stored.value));
                sends.extend(read.map(|read| (read.value, whole.end)));
            }
            let (value, end) = choose(sends, pick)?;
            world.story.events[end].step = Step::Fail;
            Some((Some(value), None))
        }
        Anomaly::PollSkip | Anomaly::InternalPollSkip => {
            let nth = usize::from(anomaly == Anomaly::InternalPollSkip);
            let (end, records) = choose(consumed(world, nth + 2), pick)?;
            edit(&mut world.story, |at, records| {
                if at == end {
                    records.remove(nth);
                }
            });
            Some((Some(records[nth].value), Some(records[nth].offset)))
        }
        Anomaly::NonmonotonicPoll => {
            let wholes = wholes(&world.story);
            let mut pairs = Vec::new();
            for (at, first) in wholes.iter().enumerate() {
                let (Operation::Poll { partition, .. }, Answer::Polled { records, .. }) =
                    (&first.operation, &first.answer)
                else {
                    continue;
                };
                let mut own = wholes[at + 1..].iter().filter(|next| {
                    next.process == first.process
                        && matches!(next.operation, Operation::Poll { partition: of, .. } | Operation::Seek { partition: of, .. } if of == *partition)
                });
                if let (Some(last), Some(next)) = (records.last(), own.next())
                    && matches!(next.operation, Operation::Poll { .. })
                {
                    pairs.push((*last, next.end));
                }
            }
            let (last, end) = choose(pairs, pick)?;
            edit(&mut world.story, |at, records| {
                if at == end {
                    records.insert(0, last);
                }
            });
            Some((Some(last.value), Some(last.offset)))
        }
        Anomaly::InternalNonmonotonicPoll => {
            let (end, records) = choose(consumed(world, 1), pick)?;
            let nth = pick % records.len();
            edit(&mut world.story, |at, records| {
                if at == end {
                    records.insert(nth, records[nth]);
                }
            });
            Some((Some(records[nth].value), Some(records[nth].offset)))
        }
        Anomaly::InternalNonmonotonicSend => {
            let op = world.story.invoke(LATE_PRODUCERS[0], send(partition, &[fresh, fresh + 1], Acks::All));
            world.story.end(LATE_PRODUCERS[0], op, Step::Info);
            read_late(world, partition, &[fresh + 1, fresh]);
            Some((Some(fresh + 1), Some(end)))
        }
        Anomaly::NonmonotonicSend => {
            world.story.invoke(LATE_PRODUCERS[0], send(partition, &[fresh], Acks::All));
            world.story.invoke(LATE_PRODUCERS[0], send(partition, &[fresh + 1], Acks::All));
            read_late(world, partition, &[fresh + 1, fresh]);
            Some((Some(fresh + 1), Some(end)))
        }
        Anomaly::RealtimeOrder => {
            let first = send(partition, &[fresh], Acks::All);
            world.story.done(LATE_PRODUCERS[0], first, Answer::Sent { base_offset: Some(end + 1) });
            world.story.invoke(LATE_PRODUCERS[1], send(partition, &[fresh + 1], Acks::All));
            read_late(world, partition, &[fresh + 1, fresh]);
            Some((Some(fresh + 1), Some(end)))
        }
        Anomaly::StaleRead => {
            let wholes = wholes(&world.story);
            let mut reads = Vec::new();
            for read in &wholes {
                let (partition, from) = match (&read.operation, &read.answer) {
                    (Operation::Poll { partition, .. }, _) => (*partition, read.began),
                    (Operation::ListOffsets { partition, at: sordini_jepsen::history::At::Latest }, _) => {
                        (*partition, read.began)
                    }
                    _ => continue,
                };
                for earlier in wholes.iter().filter(|earlier| earlier.end < from) {
                    if let (
                        Operation::Send { partition: of, acks: Acks::All, .. },
                        Answer::Sent { base_offset: Some(base) },
                    ) = (&earlier.operation, &earlier.answer)
                        && *of == partition
                    {
                        reads.push((read.end, *base));
                    }
                }
            }
            let (end, base) = choose(reads, pick)?;
            match &mut world.story.events[end].step {
                Step::Ok(Answer::Polled { high_watermark, .. }) => *high_watermark = Some(base),
                Step::Ok(Answer::Listed { offset }) => *offset = base,
                Step::Invoke(_) | Step::Ok(_) | Step::Fail | Step::Info => return None,
            }
            Some((None, None))
        }
        Anomaly::Misrouted => {
            let victim = choose(stored(world), pick)?;
            let elsewhere = (victim.partition + 1) % PARTITIONS;
            read_late(world, elsewhere, &[victim.value]);
            Some((Some(victim.value), None))
        }
        Anomaly::UnsentRead => {
            world.story.done(LATE_READER, poll(partition, end), polled(&[(end, fresh)], Some(end + 1), None));
            Some((Some(fresh), Some(end)))
        }
    }
}
