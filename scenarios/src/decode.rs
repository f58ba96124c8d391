//! Operations, answers and files in words.

use bytes::Bytes;
use sordini_core::storage_op::{StorageOp, StoragePath};
use sordini_protocol::batch::{Batch, BatchHeader};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::FetchResponse;
use sordini_protocol::request::AnyResponse;
use sordini_protocol::wire::Records;
use std::fmt;

/// The most that a batch of a scenario may unfold to.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// What a reader's records end with when it finds a batch whose checksum is wrong.
pub(crate) const CORRUPT: &str = "!corrupt";

/// The kind of an operation, as scripts name it.
pub(crate) const fn kind(op: &StorageOp) -> &'static str {
    match op {
        StorageOp::Append { .. } => "append",
        StorageOp::Sync { .. } => "sync",
        StorageOp::Read { .. } => "read",
        StorageOp::Truncate { .. } => "truncate",
        StorageOp::Replace { .. } => "replace",
        StorageOp::Rename { .. } => "rename",
        StorageOp::Remove { .. } => "remove",
        StorageOp::List { .. } => "list",
    }
}

/// Every kind of operation.
pub(crate) const KINDS: [&str; 8] =
    ["append", "sync", "read", "truncate", "replace", "rename", "remove", "list"];

/// An operation in a line, with what is in its bytes where that matters.
pub(crate) fn operation(op: &StorageOp) -> String {
    match op {
        StorageOp::Append { file, bytes, .. } if bytes.iter().all(Bytes::is_empty) => {
            format!("create {file}")
        }
        StorageOp::Append { file, position, bytes: [first, second] } => {
            let offsets = match BatchHeader::parse(first) {
                Ok(header) if file.as_str().ends_with(".log") => {
                    format!(", {}", span("offset", header.base_offset, header.last_offset()))
                }
                Ok(_) | Err(_) => String::new(),
            };
            format!("append {file} at {position}, {} bytes{offsets}", first.len() + second.len())
        }
        StorageOp::Sync { file } => format!("sync {file}"),
        StorageOp::Read { file, position, .. } => format!("read {file} from {position}"),
        StorageOp::Truncate { file, len } => format!("truncate {file} to {len} bytes"),
        StorageOp::Replace { file, bytes } => match text(file, bytes) {
            Some(text) => format!("replace {file} with \"{text}\""),
            None => format!("replace {file}, {} bytes", bytes.len()),
        },
        StorageOp::Rename { from, to } => format!("rename {from} to {}", to.name()),
        StorageOp::Remove { path } => format!("remove {path}"),
        StorageOp::List { dir } => format!("list {dir}"),
    }
}

/// Whether an operation concerns the node's own affairs more than any topic's: its metadata log, and what it looks up in
/// its log directories; where a reader wants it short, also what it looks up beside the records of a topic.
pub(crate) fn is_chore(op: &StorageOp, is_brief: bool) -> bool {
    let path = op.path().as_str();
    let is_look = matches!(op, StorageOp::Read { .. } | StorageOp::List { .. });
    let is_topics = path.matches('/').count() == if matches!(op, StorageOp::List { .. }) { 1 } else { 2 };
    path.contains("__cluster_metadata-0")
        || (is_look && (!is_topics || (is_brief && !path.ends_with(".log"))))
}

fn span(what: &str, first: i64, last: i64) -> String {
    if first == last { format!("{what} {first}") } else { format!("{what}s {first} to {last}") }
}

/// The text of a small file in one line; nothing for one that is not text.
pub(crate) fn text(file: &StoragePath, bytes: &[u8]) -> Option<String> {
    let name = file.name();
    let is_text = name.ends_with("-checkpoint")
        || [".kafka_cleanshutdown", "meta.properties", "quorum-state"].contains(&name);
    let text = std::str::from_utf8(bytes).ok().filter(|_| is_text)?;
    Some(text.lines().collect::<Vec<_>>().join(" | "))
}

/// A name of a file with the number that it may begin with in full: `orders-0/3.log`.
pub(crate) fn padded(name: &str) -> String {
    let (dir, file) = name.rsplit_once('/').map_or(("", name), |(dir, file)| (dir, file));
    let slash = if dir.is_empty() { "" } else { "/" };
    match file.split_once('.') {
        Some((number, suffix)) if number.parse::<u64>().is_ok() => {
            format!("{dir}{slash}{number:0>20}.{suffix}")
        }
        Some(_) | None => name.to_owned(),
    }
}

/// What an answer says, as scripts compare it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) error: &'static str,
    pub(crate) facts: Vec<(&'static str, String)>,
    what: String,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)?;
        for (key, value) in &self.facts {
            write!(f, " {key}={value}")?;
        }
        Ok(())
    }
}

/// What an answer says. Clients of scenarios ask about one topic and one partition at a time.
pub(crate) fn answer(body: &AnyResponse) -> Answer {
    let name = |code: i16| ErrorCode::from_i16(code).name();
    let mut answer = Answer { error: name(0), facts: Vec::new(), what: format!("{:?}", body.api_key()) };
    if let AnyResponse::Produce(produce) = body
        && let Some(partition) = produce.responses.first().and_then(|topic| topic.partition_responses.first())
    {
        answer.error = name(partition.error_code);
        answer.facts.push(("offset", partition.base_offset.to_string()));
    } else if let AnyResponse::Fetch(fetch) = body
        && let Some(partition) = fetch.responses.first().and_then(|topic| topic.partitions.first())
    {
        let read = fetched(fetch, 0);
        answer.error = name(partition.error_code);
        answer.facts.push(("log-start", partition.log_start_offset.to_string()));
        answer.facts.push(("high-watermark", partition.high_watermark.to_string()));
        answer
            .facts
            .push(("records", read.values.into_iter().chain(read.stopped_by).collect::<Vec<_>>().join(",")));
    } else if let AnyResponse::CreateTopics(created) = body
        && let Some(topic) = created.topics.first()
    {
        answer.error = name(topic.error_code);
    } else if let AnyResponse::InitProducerId(given) = body {
        answer.error = name(given.error_code);
        answer.facts.push(("id", given.producer_id.to_string()));
        answer.facts.push(("epoch", given.producer_epoch.to_string()));
    } else if let AnyResponse::DeleteRecords(deleted) = body
        && let Some(partition) = deleted.topics.first().and_then(|topic| topic.partitions.first())
    {
        answer.error = name(partition.error_code);
        answer.facts.push(("low-watermark", partition.low_watermark.to_string()));
    }
    of_group(body, &mut answer);
    answer
}

/// What an answer says of a group.
fn of_group(body: &AnyResponse, answer: &mut Answer) {
    let name = |code: i16| ErrorCode::from_i16(code).name();
    if let AnyResponse::FindCoordinator(found) = body
        && let Some(found) = found.coordinators.first()
    {
        answer.error = name(found.error_code);
        answer.facts.push(("node", found.node_id.to_string()));
    } else if let AnyResponse::JoinGroup(joined) = body {
        answer.error = name(joined.error_code);
        if joined.error_code == 0 {
            let leads = joined.leader == joined.member_id;
            answer.facts.push(("generation", joined.generation_id.to_string()));
            answer.facts.push(("protocol", joined.protocol_name.as_deref().unwrap_or("none").to_owned()));
            answer.facts.push(("leads", leads.to_string()));
            answer.facts.push(("members", joined.members.len().to_string()));
        }
    } else if let AnyResponse::SyncGroup(synced) = body {
        answer.error = name(synced.error_code);
        answer.facts.push(("assignment", String::from_utf8_lossy(&synced.assignment).into_owned()));
    } else if let AnyResponse::Heartbeat(heard) = body {
        answer.error = name(heard.error_code);
    } else if let AnyResponse::LeaveGroup(left) = body {
        let of_member = left.members.first().map_or(0, |member| member.error_code);
        answer.error = name(if left.error_code == 0 { of_member } else { left.error_code });
    } else if let AnyResponse::OffsetCommit(committed) = body
        && let Some(partition) = committed.topics.first().and_then(|topic| topic.partitions.first())
    {
        answer.error = name(partition.error_code);
    } else if let AnyResponse::OffsetFetch(fetched) = body
        && let Some(group) = fetched.groups.first()
    {
        let partition = group.topics.first().and_then(|topic| topic.partitions.first());
        answer.error = name(partition.map_or(group.error_code, |partition| partition.error_code));
        answer.facts.extend(partition.map(|partition| ("offset", partition.committed_offset.to_string())));
        let metadata = partition.and_then(|partition| partition.metadata.as_ref());
        answer.facts.push(("metadata", metadata.map(ToString::to_string).unwrap_or_default()));
    } else if let AnyResponse::DescribeGroups(described) = body
        && let Some(group) = described.groups.first()
    {
        answer.error = name(group.error_code);
        answer.facts.push(("state", group.group_state.to_string()));
        answer.facts.push(("members", group.members.len().to_string()));
    } else if let AnyResponse::DeleteGroups(deleted) = body
        && let Some(group) = deleted.results.first()
    {
        answer.error = name(group.error_code);
    }
}

/// What a consumer makes of a fetch answer.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) values: Vec<String>,
    pub(crate) next_offset: i64,
    /// Why it cannot go on.
    pub(crate) stopped_by: Option<String>,
}

/// The records at or above `from` in an answer: like the Java consumer, the reader checks checksums and stops at a batch
/// that is not right.
pub(crate) fn fetched(fetch: &FetchResponse, from: i64) -> Read {
    let mut read = Read { values: Vec::new(), next_offset: from, stopped_by: None };
    let Some(partition) = fetch.responses.first().and_then(|topic| topic.partitions.first()) else {
        return read;
    };
    if partition.error_code != 0 {
        read.stopped_by = Some(format!("!{}", ErrorCode::from_i16(partition.error_code).name()));
        return read;
    }
    let Some(Records::Bytes(bytes)) = &partition.records else { return read };
    for piece in pieces(bytes) {
        match piece {
            Piece::Batch { batch, is_intact: true, .. } => {
                for (offset, value) in values(&batch) {
                    if offset >= from {
                        read.values.push(value);
                    }
                }
                read.next_offset = batch.header().next_offset();
            }
            Piece::Batch { is_intact: false, .. } | Piece::Rest { .. } => {
                read.stopped_by = Some(CORRUPT.to_owned());
                break;
            }
        }
    }
    read
}

/// The records of a batch: offset and value.
pub(crate) fn values(batch: &Batch) -> Vec<(i64, String)> {
    let records = batch.records(DECOMPRESSED_BYTES_MAX).ok();
    let value = |value: Option<Bytes>| {
        value.map_or_else(|| "null".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
    };
    let records = records.into_iter().flatten().map_while(Result::ok);
    records.map(|record| (record.offset, value(record.value))).collect()
}

/// A part of a file of batches.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    /// A whole batch.
    Batch {
        /// Where it begins.
        position: usize,
        batch: Batch,
        /// Whether its checksum is right.
        is_intact: bool,
    },
    /// The end of the file, where it is no batch.
    Rest {
        /// Where it begins.
        position: usize,
        bytes: Bytes,
    },
}

/// A file of batches, batch by batch.
pub(crate) fn pieces(file: &Bytes) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = file.clone();
    while !rest.is_empty() {
        let position = file.len() - rest.len();
        match Batch::first_of(&mut rest) {
            Ok(Some(batch)) => {
                let is_intact = batch.check_crc().is_ok();
                pieces.push(Piece::Batch { position, batch, is_intact });
            }
            Ok(None) | Err(_) => {
                pieces.push(Piece::Rest { position, bytes: rest });
                break;
            }
        }
    }
    pieces
}

/// A batch in a line.
pub(crate) fn batch_line(batch: &Batch, is_intact: bool) -> String {
    let header = batch.header();
    let mut line = format!(
        "{}, epoch {}",
        span("offset", header.base_offset, header.last_offset()),
        header.partition_leader_epoch
    );
    if header.has_producer_id() {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        let sequence = span("sequence", header.base_sequence.into(), header.last_sequence().into());
        line.push_str(&format!(", producer {id} epoch {epoch} {sequence}"));
    }
    if is_intact {
        let values: Vec<String> = values(batch).into_iter().map(|(_, value)| value).collect();
        line.push_str(&format!(": {}", values.join(" ")));
    } else {
        line.push_str(": THE CHECKSUM IS WRONG");
    }
    line
}
