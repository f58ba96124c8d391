//! A replicated log in a few lines, and clients of it: what comes out is a history without a broken promise.

use super::{SCANNER, Story, poll, polled};
use sordini_jepsen::history::{Acks, Answer, At, Operation, Step};

/// How many partitions a world has. Records are removed from the last one only.
pub const PARTITIONS: u32 = 3;
/// Who sent a value to each partition before everything else, of which nothing is ever known. The value is the partition.
pub const GHOST: u32 = 77;
/// Two idempotent producers, one that is not, one that waits for the leader alone, and one for nobody.
const PRODUCERS: [(Acks, bool); 5] =
    [(Acks::All, true), (Acks::All, true), (Acks::All, false), (Acks::Leader, false), (Acks::None, false)];
const CONSUMERS: [u32; 3] = [20, 21, 22];

/// What happens next: a kind, and what it is about.
pub type Action = (u8, u8, u8, u8);

pub struct World {
    pub story: Story,
    pub logs: Vec<Log>,
    sends: Vec<Sending>,
    positions: Vec<[i64; CONSUMERS.len()]>,
    next_value: u64,
}

#[derive(Clone, Default)]
pub struct Log {
    pub start: i64,
    pub values: Vec<u64>,
    /// Below it all replicas have it, and a failover takes nothing.
    pub high_watermark: i64,
}

impl Log {
    pub fn end(&self) -> i64 {
        i64::try_from(self.values.len()).unwrap()
    }

    fn read(&self, from: i64, count: i64) -> Vec<(i64, u64)> {
        let end = self.high_watermark.min(from + count);
        (from..end).map(|offset| (offset, self.values[usize::try_from(offset).unwrap()])).collect()
    }
}

/// A send that has not ended, or may yet arrive.
struct Sending {
    op: u64,
    process: u32,
    partition: u32,
    values: Vec<u64>,
    acks: Acks,
    base: Option<i64>,
    has_ended: bool,
}

impl World {
    /// Does it all, then brings everything on its way in and scans every partition.
    pub fn run(actions: &[Action]) -> Self {
        let mut story = Story::new(PARTITIONS);
        for (at, contract) in (0..PARTITIONS).zip(&mut story.contracts) {
            contract.linearizable_reads = true;
            contract.removes_records = at + 1 == PARTITIONS;
        }
        for partition in 0..PARTITIONS {
            let op = story.invoke(GHOST, super::send(partition, &[partition.into()], Acks::All));
            story.end(GHOST, op, Step::Info);
        }
        let mut world = Self {
            story,
            logs: vec![Log::default(); PARTITIONS as usize],
            sends: Vec::new(),
            positions: vec![[0; CONSUMERS.len()]; PARTITIONS as usize],
            next_value: PARTITIONS.into(),
        };
        for &action in actions {
            world.act(action);
        }
        while let Some(late) = world.sends.iter().position(|send| send.base.is_none()) {
            world.land(late);
        }
        for partition in 0..PARTITIONS {
            world.scan(partition);
        }
        world
    }

    fn act(&mut self, (kind, a, b, c): Action) {
        let partition = u32::from(b) % PARTITIONS;
        let send = (!self.sends.is_empty()).then(|| usize::from(a) % self.sends.len().max(1));
        let consumer = usize::from(a) % CONSUMERS.len();
        match (kind % 12, send) {
            (9, _) if c.is_multiple_of(4) => self.fail_over(partition),
            (0 | 9, _) => self.begin(usize::from(a) % PRODUCERS.len(), partition, 1 + u64::from(c) % 3),
            (2 | 3, Some(send)) => self.land(send),
            (4, Some(send)) => self.end(send, b, c),
            (1 | 5 | 6, _) => self.poll(consumer, partition, i64::from(c)),
            (7, _) => self.seek(consumer, partition, i64::from(c)),
            (8, _) => self.list(partition, c),
            (10, _) => self.remove(PARTITIONS - 1, i64::from(c)),
            (11, Some(send)) => self.land_again(send),
            _ => {}
        }
    }

    fn begin(&mut self, producer: usize, partition: u32, count: u64) {
        let values: Vec<u64> = (self.next_value..self.next_value + count).collect();
        self.next_value += count;
        let (acks, idempotent) = PRODUCERS[producer];
        let process = 10 + u32::try_from(producer).unwrap();
        let send = Operation::Send { partition, values: values.clone().into(), acks, idempotent };
        let op = self.story.invoke(process, send);
        self.sends.push(Sending { op, process, partition, values, acks, base: None, has_ended: false });
    }

    /// The producer's first send to that partition which has not arrived does.
    fn land(&mut self, send: usize) {
        let (process, partition) = (self.sends[send].process, self.sends[send].partition);
        let is_first = |other: &&mut Sending| {
            (other.process, other.partition) == (process, partition) && other.base.is_none()
        };
        let Some(send) = self.sends.iter_mut().find(is_first) else { return };
        let log = &mut self.logs[partition as usize];
        send.base = Some(log.end());
        log.values.extend(&send.values);
        self.sends.retain(|send| !send.has_ended || send.base.is_none());
    }

    /// What a producer that is not idempotent sent again arrives again.
    fn land_again(&mut self, send: usize) {
        let send = &self.sends[send];
        if send.process == 12 && send.base.is_some() {
            self.logs[send.partition as usize].values.extend(&send.values);
        }
    }

    fn end(&mut self, at: usize, b: u8, c: u8) {
        let send = &mut self.sends[at];
        if send.has_ended {
            return;
        }
        send.has_ended = true;
        let (op, process) = (send.op, send.process);
        let step = match (send.base, send.acks) {
            (_, Acks::None) => Step::Ok(Answer::Sent { base_offset: None }),
            _ if c.is_multiple_of(5) => Step::Info,
            (Some(base), acks) => {
                if acks == Acks::All {
                    let log = &mut self.logs[send.partition as usize];
                    log.high_watermark = log.end();
                }
                Step::Ok(Answer::Sent { base_offset: Some(base).filter(|_| !b.is_multiple_of(4)) })
            }
            (None, _) => Step::Fail,
        };
        let may_arrive = send.base.is_none() && step == Step::Info;
        if !may_arrive {
            self.sends.remove(at);
        }
        self.story.end(process, op, step);
    }

    fn poll(&mut self, consumer: usize, partition: u32, c: i64) {
        let process = CONSUMERS[consumer];
        let log = &self.logs[partition as usize];
        let position = &mut self.positions[partition as usize][consumer];
        if *position < log.start {
            *position = log.start;
            self.story.done(process, Operation::Seek { partition, to: log.start }, Answer::Sought);
        }
        let op = self.story.invoke(process, poll(partition, *position));
        if c % 7 == 6 {
            self.story.end(process, op, if c % 2 == 0 { Step::Info } else { Step::Fail });
            return;
        }
        let records = log.read(*position, 1 + c % 5);
        *position = records.last().map_or(*position, |&(offset, _)| offset + 1);
        let answer = polled(&records, Some(log.high_watermark), Some(log.start));
        self.story.end(process, op, Step::Ok(answer));
    }

    fn seek(&mut self, consumer: usize, partition: u32, c: i64) {
        let log = &self.logs[partition as usize];
        let to = log.start + c % (log.high_watermark - log.start + 1);
        self.positions[partition as usize][consumer] = to;
        self.story.done(CONSUMERS[consumer], Operation::Seek { partition, to }, Answer::Sought);
    }

    fn list(&mut self, partition: u32, c: u8) {
        let log = &self.logs[partition as usize];
        let (at, offset) =
            if c.is_multiple_of(2) { (At::Earliest, log.start) } else { (At::Latest, log.high_watermark) };
        self.story.done(30, Operation::ListOffsets { partition, at }, Answer::Listed { offset });
    }

    /// Only what all have stays. Who waits for all and was not answered sends again.
    fn fail_over(&mut self, partition: u32) {
        let log = &mut self.logs[partition as usize];
        log.values.truncate(usize::try_from(log.high_watermark).unwrap());
        for send in self.sends.iter_mut().filter(|send| send.partition == partition) {
            if send.acks == Acks::All {
                send.base = send.base.filter(|&base| base < log.high_watermark);
            }
        }
    }

    fn remove(&mut self, partition: u32, c: i64) {
        let log = &mut self.logs[partition as usize];
        log.start += c % 3;
        log.start = log.start.min(log.high_watermark);
    }

    fn scan(&mut self, partition: u32) {
        let log = &mut self.logs[partition as usize];
        log.high_watermark = log.end();
        let scan = self.story.invoke(SCANNER, Operation::Scan { partition, from: log.start });
        let mut position = log.start;
        while position < log.end() {
            let records = log.read(position, 4);
            self.story.polled_of(SCANNER, partition, position, &records, Some(log.end()));
            position += i64::try_from(records.len()).unwrap();
        }
        self.story.end(SCANNER, scan, Step::Ok(Answer::Scanned));
    }
}
