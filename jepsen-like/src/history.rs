//! What clients did and were told, and what they had been promised.
//!
//! As a file it is JSON Lines: first the contracts, one [`Line::Contract`] for every partition, then the events, one
//! [`Line::Event`] each. In memory an operation is one entry, and all values and records lie in two arrays.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Read as _};
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What was promised of one partition, as far as a verdict needs it.
///
/// A topic that is deleted and created again is another one, with contracts of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// The topic's name.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// How many replicas it has.
    pub replication_factor: u16,
    /// `min.insync.replicas`, the lowest that was in force during the run.
    pub min_insync_replicas: u16,
    /// Whether `unclean.leader.election.enable` was set, or somebody elected a leader uncleanly.
    pub unclean_leader_election: bool,
    /// Of the replicas, the most that were at one time without records they had written: a loss of power before a flush,
    /// another disk. With fewer than `min_insync_replicas` of them nothing that was committed may be lost.
    pub amnesiac_replicas_max: u16,
    /// Whether records may be removed at the beginning: by retention, or by DeleteRecords.
    pub removes_records: bool,
    /// Whether a read must see everything that was acknowledged with acks=all before it began. Kafka does not promise it: a
    /// leader that was just elected may know less of the high watermark than its predecessor did.
    pub linearizable_reads: bool,
}

impl Contract {
    /// The contract of one replica that keeps all its records.
    pub fn new(topic: impl Into<String>, partition: u32) -> Self {
        Self {
            topic: topic.into(),
            partition,
            replication_factor: 1,
            min_insync_replicas: 1,
            unclean_leader_election: false,
            amnesiac_replicas_max: 0,
            removes_records: false,
            linearizable_reads: false,
        }
    }

    /// How many replicas hold whatever is committed, at least: in Kafka one or more.
    pub fn holders_min(&self) -> u16 {
        self.min_insync_replicas.min(self.replication_factor)
    }
}

impl fmt::Display for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} replicas in sync", self.min_insync_replicas, self.replication_factor)?;
        let clean = if self.unclean_leader_election { "unclean" } else { "clean" };
        write!(f, ", {clean} elections, {} amnesiac at most", self.amnesiac_replicas_max)?;
        if self.removes_records {
            f.write_str(", old records are removed")?;
        }
        if self.linearizable_reads {
            f.write_str(", linearizable reads")?;
        }
        Ok(())
    }
}

/// Something that a client began to do, or was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the history. It grows from event to event and may have gaps.
    pub seq: u64,
    /// Microseconds of the run's clock. Nothing is judged by them; they only tell how long something took.
    pub at_us: u64,
    /// Who: one producer, or one consumer. A client that starts anew is another process.
    pub process: u32,
    /// The `seq` with which the operation was invoked; of an invocation its own.
    pub op: u64,
    /// What.
    pub step: Step,
}

/// How far an operation has come. One without an end may have happened or not, as if it had ended with `Info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It begins.
    Invoke(Operation),
    /// It happened.
    Ok(Answer),
    /// It did not happen and never will.
    Fail,
    /// Nobody can tell whether it happened, or will.
    Info,
}

/// What is done. A partition is an index into the contracts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Produces records, in this order, however often they have to be sent.
    Send {
        /// Where to.
        partition: u32,
        /// What the records carry. No value is sent by two operations, or twice by one.
        values: Box<[u64]>,
        /// Whom the producer waits for.
        acks: Acks,
        /// Whether the producer is idempotent.
        idempotent: bool,
    },
    /// Reads records, at the consumer's position.
    Poll {
        /// Where from.
        partition: u32,
        /// The position: the lowest offset that may be returned.
        from: i64,
        /// Which records may be returned. Of a partition without transactions both return the same.
        isolation: Isolation,
    },
    /// Sets the consumer's position. It is a decision of the consumer, and ends as soon as it is told.
    Seek {
        /// Of which partition.
        partition: u32,
        /// The offset to read next.
        to: i64,
    },
    /// Asks where the partition begins or ends.
    ListOffsets {
        /// Which partition.
        partition: u32,
        /// What is asked for.
        at: At,
    },
    /// Reads the partition from its beginning to its high watermark: what this process polls of it until this ends. It ends with
    /// `Ok` when the high watermark that the last poll was told was reached. The last such scan of a partition shows what became
    /// of it.
    Scan {
        /// Which partition.
        partition: u32,
        /// Where it begins: at the log start.
        from: i64,
    },
}

impl Operation {
    fn partition(&self) -> u32 {
        match *self {
            Self::Send { partition, .. }
            | Self::Poll { partition, .. }
            | Self::Seek { partition, .. }
            | Self::ListOffsets { partition, .. }
            | Self::Scan { partition, .. } => partition,
        }
    }
}

/// Whose confirmation a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Acks {
    /// Nobody's.
    #[serde(rename = "0")]
    None,
    /// The leader's.
    #[serde(rename = "1")]
    Leader,
    /// That of all replicas in sync.
    #[serde(rename = "all")]
    All,
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "acks=0",
            Self::Leader => "acks=1",
            Self::All => "acks=all",
        })
    }
}

/// Which records a poll may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
    /// Those below the last stable offset whose transactions were not aborted.
    ReadCommitted,
}

/// What ListOffsets asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    /// The log start.
    Earliest,
    /// The high watermark.
    Latest,
}

/// What a client was told about what happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The records were appended, as far as the producer asked to know.
    Sent {
        /// The first record's offset, if the producer was told.
        base_offset: Option<i64>,
    },
    /// The records that were read.
    Polled {
        /// In the order in which the consumer got them.
        records: Box<[Record]>,
        /// The high watermark, if the consumer was told.
        high_watermark: Option<i64>,
        /// The log start, if the consumer was told.
        log_start: Option<i64>,
    },
    /// The offset that was asked for.
    Listed {
        /// The log start or the high watermark.
        offset: i64,
    },
    /// The position is set.
    Sought,
    /// The scan reached the high watermark.
    Scanned,
}

/// A record as a consumer saw it: in JSON its offset and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, u64)", into = "(i64, u64)")]
pub struct Record {
    /// Where it is.
    pub offset: i64,
    /// Which it is.
    pub value: u64,
}

impl From<(i64, u64)> for Record {
    fn from((offset, value): (i64, u64)) -> Self {
        Self { offset, value }
    }
}

impl From<Record> for (i64, u64) {
    fn from(record: Record) -> Self {
        (record.offset, record.value)
    }
}

/// A line of a history's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Of the next partition.
    Contract(Contract),
    /// What happened next.
    Event(Event),
}

/// Why something is no history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The event does not come after the one before it.
    OutOfOrder {
        /// The event.
        seq: u64,
    },
    /// There is no such contract.
    UnknownPartition {
        /// The event.
        seq: u64,
    },
    /// An invocation whose `op` is not its `seq`.
    NotItself {
        /// The event.
        seq: u64,
    },
    /// An end of what this process did not begin, or what has ended already.
    NotOpen {
        /// The event.
        seq: u64,
    },
    /// An answer to something else than what was asked.
    WrongAnswer {
        /// The event.
        seq: u64,
    },
    /// An offset below 0, or one that no partition comes to.
    NoOffset {
        /// The event.
        seq: u64,
    },
    /// A value was sent a second time.
    SentTwice {
        /// The value.
        value: u64,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfOrder { seq } => {
                write!(f, "event {seq} comes after one with the same number or a higher one")
            }
            Self::UnknownPartition { seq } => write!(f, "event {seq} names a partition without a contract"),
            Self::NotItself { seq } => write!(f, "event {seq} begins an operation of another number"),
            Self::NotOpen { seq } => write!(f, "event {seq} ends what its process has not under way"),
            Self::WrongAnswer { seq } => write!(f, "event {seq} answers what was not asked"),
            Self::NoOffset { seq } => write!(f, "event {seq} has an offset that no record has"),
            Self::SentTwice { value } => write!(f, "value {value} is sent twice"),
        }
    }
}

impl std::error::Error for Malformed {}

/// A history, complete or growing.
#[derive(Clone, Debug)]
pub struct History {
    contracts: Vec<Contract>,
    /// In the order of invocation.
    ops: Vec<Op>,
    /// Indexes of the operations that have ended, in the order in which they did.
    ended: Vec<u32>,
    /// What sends carry: each owns a range, and the ranges follow one another.
    values: Vec<u64>,
    /// What polls returned.
    records: Vec<Record>,
    /// Operations without an end, by number.
    open: BTreeMap<u64, u32>,
    /// The last event's.
    last_seq: Option<u64>,
}

/// An operation with its end.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    /// Its number, which is that of its first event.
    pub(crate) invoked: u64,
    pub(crate) invoked_at_us: u64,
    /// Where it ended; the highest number if it did not.
    pub(crate) ended: u64,
    pub(crate) ended_at_us: u64,
    pub(crate) process: u32,
    pub(crate) partition: u32,
    pub(crate) fate: Fate,
    pub(crate) body: Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Ok,
    Fail,
    /// It ended with `Info`, or not at all.
    Unknown,
}

/// What an operation was about, and what it was told.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Send { first: u32, count: u32, acks: Acks, idempotent: bool, base_offset: Option<i64> },
    Poll { from: i64, first: u32, count: u32, high_watermark: Option<i64>, log_start: Option<i64> },
    Seek { to: i64 },
    ListOffsets { at: At, told: Option<i64> },
    Scan { from: i64 },
}

impl Op {
    /// What was sent and how, of a send.
    pub(crate) fn send(&self) -> Option<Send> {
        let Body::Send { first, count, acks, idempotent, base_offset } = self.body else { return None };
        Some(Send { range: span(first, count), acks, idempotent, base_offset })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Send {
    /// Of the history's values.
    pub(crate) range: Range<usize>,
    pub(crate) acks: Acks,
    pub(crate) idempotent: bool,
    pub(crate) base_offset: Option<i64>,
}

fn span(first: u32, count: u32) -> Range<usize> {
    first as usize..first as usize + count as usize
}

/// The longest line that is read: a file without line ends is no history, however large it is. A poll of a hundred thousand
/// records fits.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// What indexes are counted in. A history of more does not fit into the memory of the machines that this runs on.
fn index(at: usize) -> u32 {
    u32::try_from(at).expect("a history has fewer than 2^32 operations, values and records")
}

impl History {
    /// Begins a history of these partitions.
    pub fn new(contracts: Vec<Contract>) -> Self {
        Self {
            contracts,
            ops: Vec::new(),
            ended: Vec::new(),
            values: Vec::new(),
            records: Vec::new(),
            open: BTreeMap::new(),
            last_seq: None,
        }
    }

    /// Reads a history from its lines, one after the other. Values that are sent twice are found here, too.
    ///
    /// # Errors
    /// With the number of the line where it is one of a line.
    pub fn read(mut lines: impl BufRead) -> io::Result<Self> {
        let mut history = Self::new(Vec::new());
        let mut line = Vec::new();
        for number in 1_u64.. {
            line.clear();
            // One byte more than a line may have tells that it has more.
            if lines.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let invalid =
                |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("line {number}: {why}"));
            if line.len() as u64 > LINE_BYTES_MAX {
                return Err(invalid(format!("it has more than {LINE_BYTES_MAX} bytes")));
            }
            match serde_json::from_slice(line.trim_ascii_end()).map_err(|error| invalid(in_line(&error)))? {
                Line::Contract(contract) => history.contracts.push(contract),
                Line::Event(event) => history.push(event).map_err(|error| invalid(error.to_string()))?,
            }
        }
        let mut values = history.values.clone();
        values.sort_unstable();
        if let Some(twice) = values.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, Malformed::SentTwice { value: twice[0] }));
        }
        Ok(history)
    }

    /// Takes the next event.
    ///
    /// # Errors
    /// The event is refused and the history as it was.
    pub fn push(&mut self, event: Event) -> Result<(), Malformed> {
        let Event { seq, at_us, process, op, step } = event;
        if self.last_seq.is_some_and(|last| seq <= last) {
            return Err(Malformed::OutOfOrder { seq });
        }
        match step {
            Step::Invoke(operation) if op == seq => self.invoke(seq, at_us, process, operation)?,
            Step::Invoke(_) => return Err(Malformed::NotItself { seq }),
            Step::Ok(answer) => self.end(seq, at_us, process, op, Fate::Ok, Some(answer))?,
            Step::Fail => self.end(seq, at_us, process, op, Fate::Fail, None)?,
            Step::Info => self.end(seq, at_us, process, op, Fate::Unknown, None)?,
        }
        self.last_seq = Some(seq);
        Ok(())
    }

    fn invoke(&mut self, seq: u64, at_us: u64, process: u32, operation: Operation) -> Result<(), Malformed> {
        let partition = operation.partition();
        if partition as usize >= self.contracts.len() {
            return Err(Malformed::UnknownPartition { seq });
        }
        let body = match operation {
            Operation::Send { values, acks, idempotent, .. } => {
                let (first, count) = (index(self.values.len()), index(values.len()));
                self.values.extend_from_slice(&values);
                Body::Send { first, count, acks, idempotent, base_offset: None }
            }
            Operation::Poll { from, .. } => Body::Poll {
                from: offset(seq, from)?,
                first: 0,
                count: 0,
                high_watermark: None,
                log_start: None,
            },
            Operation::Seek { to, .. } => Body::Seek { to: offset(seq, to)? },
            Operation::ListOffsets { at, .. } => Body::ListOffsets { at, told: None },
            Operation::Scan { from, .. } => Body::Scan { from: offset(seq, from)? },
        };
        self.open.insert(seq, index(self.ops.len()));
        self.ops.push(Op {
            invoked: seq,
            invoked_at_us: at_us,
            ended: u64::MAX,
            ended_at_us: at_us,
            process,
            partition,
            fate: Fate::Unknown,
            body,
        });
        Ok(())
    }

    fn end(
        &mut self,
        seq: u64,
        at_us: u64,
        process: u32,
        number: u64,
        fate: Fate,
        answer: Option<Answer>,
    ) -> Result<(), Malformed> {
        let Some(&at) = self.open.get(&number) else { return Err(Malformed::NotOpen { seq }) };
        let op = &mut self.ops[at as usize];
        if op.process != process {
            return Err(Malformed::NotOpen { seq });
        }
        match (&mut op.body, answer) {
            (_, None)
            | (Body::Seek { .. }, Some(Answer::Sought))
            | (Body::Scan { .. }, Some(Answer::Scanned)) => {}
            (Body::Send { base_offset, .. }, Some(Answer::Sent { base_offset: told })) => {
                *base_offset = told.map(|told| offset(seq, told)).transpose()?;
            }
            (
                Body::Poll { first, count, high_watermark, log_start, .. },
                Some(Answer::Polled { records, high_watermark: end, log_start: start }),
            ) => {
                for record in &records {
                    offset(seq, record.offset)?;
                }
                (*first, *count) = (index(self.records.len()), index(records.len()));
                (*high_watermark, *log_start) = (end, start);
                self.records.extend_from_slice(&records);
            }
            (Body::ListOffsets { told, .. }, Some(Answer::Listed { offset: listed })) => *told = Some(listed),
            (_, Some(_)) => return Err(Malformed::WrongAnswer { seq }),
        }
        (op.fate, op.ended, op.ended_at_us) = (fate, seq, at_us);
        self.open.remove(&number);
        self.ended.push(at);
        Ok(())
    }

    /// The contracts, in the order of the partitions' indexes.
    pub fn contracts(&self) -> &[Contract] {
        &self.contracts
    }

    /// The contracts, for what comes to light during a run: an unclean election, a loss of power.
    pub fn contracts_mut(&mut self) -> &mut [Contract] {
        &mut self.contracts
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(crate) fn op(&self, at: u32) -> &Op {
        &self.ops[at as usize]
    }

    /// Indexes of the operations that ended, in that order.
    pub(crate) fn ended(&self) -> &[u32] {
        &self.ended
    }

    pub(crate) fn values(&self) -> &[u64] {
        &self.values
    }

    /// What a poll returned that ended well; nothing of anything else.
    pub(crate) fn polled(&self, op: &Op) -> &[Record] {
        let Body::Poll { first, count, .. } = op.body else { return &[] };
        &self.records[span(first, count)]
    }
}

/// What JSON says of an error, which counts lines by itself and has seen one.
fn in_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    text.strip_suffix(&format!(" at line {line} column {column}"))
        .map_or_else(|| text.clone(), |what| format!("{what} at column {column}"))
}

/// Refuses what is no offset. Above the half of what fits nobody has to add with care.
fn offset(seq: u64, offset: i64) -> Result<i64, Malformed> {
    if (0..i64::MAX / 2).contains(&offset) { Ok(offset) } else { Err(Malformed::NoOffset { seq }) }
}
