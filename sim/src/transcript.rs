//! How inputs and outputs are written for people, and what of them goes into the trace hash.

use crate::trace::Hash64;
use sordini_core::node::QuorumView;
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StorageToken};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Spliced, Str, Uuid, Writer};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Folds a storage operation into the hash, all its bytes included.
pub(crate) fn hash_op(hash: &mut Hash64, op: &StorageOp) {
    hash.bytes(op.path().as_str().as_bytes());
    match op {
        StorageOp::Append { position, bytes, .. } => {
            hash.word(1);
            hash.word(*position);
            for piece in bytes {
                hash.bytes(piece);
            }
        }
        StorageOp::Sync { .. } => hash.word(2),
        StorageOp::Read { position, len, .. } => {
            hash.word(3);
            hash.word(*position);
            hash.word(u64::from(*len));
        }
        StorageOp::Truncate { len, .. } => {
            hash.word(4);
            hash.word(*len);
        }
        StorageOp::Replace { bytes, .. } => {
            hash.word(5);
            hash.bytes(bytes);
        }
        StorageOp::Rename { to, .. } => {
            hash.word(6);
            hash.bytes(to.as_str().as_bytes());
        }
        StorageOp::Remove { .. } => hash.word(7),
        StorageOp::List { .. } => hash.word(8),
    }
}

/// Folds the answer of a disk into the hash.
pub(crate) fn hash_completion(hash: &mut Hash64, result: &Result<Completion, StorageFault>) {
    match result {
        Ok(Completion::Done) => hash.word(1),
        Ok(Completion::Bytes(bytes)) => {
            // What was written is in the hash already. What damage made of it elsewhere than at the ends shows in what the
            // node does with it.
            hash.word(2);
            hash.word(bytes.len() as u64);
            hash.bytes(&bytes[..bytes.len().min(16)]);
            hash.bytes(&bytes[bytes.len().saturating_sub(16)..]);
        }
        Ok(Completion::Entries(entries)) => {
            hash.word(3);
            for entry in entries {
                hash.bytes(entry.name.as_bytes());
                hash.word(entry.len);
            }
        }
        Err(fault) => {
            hash.word(4);
            hash.word(*fault as u64);
        }
    }
}

/// Folds a message into the hash as it would go over the wire.
pub(crate) fn hash_encoded(hash: &mut Hash64, writer: Writer) {
    let encoded = writer.finish();
    hash.bytes(&encoded.bytes);
    for splice in &encoded.splices {
        match &splice.what {
            Spliced::Bytes(bytes) => hash.bytes(bytes),
            Spliced::Stored(range) => {
                hash.bytes(range.file.as_bytes());
                hash.word(range.position);
                hash.word(u64::from(range.len));
            }
        }
    }
}

/// A storage operation, without its bytes.
#[must_use]
pub(crate) fn op(op: &StorageOp) -> String {
    match op {
        StorageOp::Append { file, position, bytes } => {
            format!("append {file} at {position}, {} bytes", bytes[0].len() + bytes[1].len())
        }
        StorageOp::Sync { file } => format!("sync {file}"),
        StorageOp::Read { file, position, len } => format!("read {file} from {position}, {len} bytes"),
        StorageOp::Truncate { file, len } => format!("truncate {file} to {len}"),
        StorageOp::Replace { file, bytes } => format!("replace {file}, {} bytes", bytes.len()),
        StorageOp::Rename { from, to } => format!("rename {from} to {to}"),
        StorageOp::Remove { path } => format!("remove {path}"),
        StorageOp::List { dir } => format!("list {dir}"),
    }
}

/// The answer of a disk, without its bytes.
#[must_use]
pub(crate) fn completion(token: StorageToken, result: &Result<Completion, StorageFault>) -> String {
    match result {
        Ok(Completion::Done) => format!("{token:?} done"),
        Ok(Completion::Bytes(bytes)) => format!("{token:?} {} bytes", bytes.len()),
        Ok(Completion::Entries(entries)) => {
            let names: Vec<&str> = entries.iter().map(|entry| &*entry.name).collect();
            format!("{token:?} {names:?}")
        }
        Err(fault) => format!("{token:?} {fault}"),
    }
}

fn len_of(records: Option<&Records>) -> usize {
    records.map_or(0, Records::len)
}

/// The id of the metadata log's topic.
pub(crate) const METADATA_TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// What the topics of a run are called, for messages that name them by their ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Topics<'a> {
    /// The names, as in the plan.
    pub(crate) names: &'a [Str],
    /// Every id that was told to a client, with the place of the topic's name.
    pub(crate) ids: &'a BTreeMap<Uuid, usize>,
}

impl Topics<'_> {
    /// The name of a topic that a message calls by its name or, if that is empty, by its id: the id if nobody has been
    /// told of it.
    fn name(&self, name: &Str, id: Uuid) -> String {
        if !name.is_empty() {
            return name.to_string();
        }
        if id == METADATA_TOPIC_ID {
            return "__cluster_metadata".to_owned();
        }
        self.ids.get(&id).map_or_else(|| id.to_string(), |index| self.names[*index].to_string())
    }
}

/// Adds to a line.
macro_rules! add {
    ($line:ident, $($text:tt)+) => {
        write!($line, $($text)+).expect("a string takes any text")
    };
}

/// A request, with what matters of the APIs that clients and controllers use.
#[must_use]
pub(crate) fn request(body: &AnyRequest, topics: Topics<'_>) -> String {
    let mut line = format!("{:?}", body.api_key());
    if let AnyRequest::Produce(produce) = body {
        add!(line, " acks={}", produce.acks);
        for topic in &produce.topic_data {
            let name = topics.name(&topic.name, topic.topic_id);
            for partition in &topic.partition_data {
                let len = len_of(partition.records.as_ref());
                add!(line, " {name}-{}: {len} bytes", partition.index);
            }
        }
    } else if let AnyRequest::Fetch(fetch) = body {
        add!(line, " session {}/{}", fetch.session_id, fetch.session_epoch);
        for topic in &fetch.topics {
            let name = topics.name(&topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                add!(line, " {name}-{} from {}", partition.partition, partition.fetch_offset);
                if partition.last_fetched_epoch >= 0 {
                    add!(line, " behind epoch {}", partition.last_fetched_epoch);
                }
                add_leader_epoch(&mut line, partition.current_leader_epoch);
            }
        }
    } else if let AnyRequest::ListOffsets(request) = body {
        for topic in &request.topics {
            for partition in &topic.partitions {
                let what = match partition.timestamp {
                    -1 => "latest".to_owned(),
                    -2 => "earliest".to_owned(),
                    timestamp => format!("time {timestamp}"),
                };
                add!(line, " {}-{}: {what}", topic.name, partition.partition_index);
                add_leader_epoch(&mut line, partition.current_leader_epoch);
            }
        }
    } else if let AnyRequest::OffsetForLeaderEpoch(request) = body {
        for topic in &request.topics {
            for partition in &topic.partitions {
                let (index, epoch) = (partition.partition, partition.leader_epoch);
                add!(line, " {}-{index}: end of epoch {epoch}", topic.topic);
                add_leader_epoch(&mut line, partition.current_leader_epoch);
            }
        }
    } else if let AnyRequest::DeleteRecords(request) = body {
        for topic in &request.topics {
            for partition in &topic.partitions {
                add!(line, " {}-{} below {}", topic.name, partition.partition_index, partition.offset);
            }
        }
    } else {
        add_quorum_request(&mut line, body);
    }
    line
}

/// What a voter says of itself.
#[must_use]
pub(crate) fn voter(view: &QuorumView<'_>) -> String {
    let mut line = format!("voter {} is {:?} in epoch {}", view.node, view.role, view.epoch);
    if let Some(leader) = view.leader {
        add!(line, ", which {leader} leads");
    }
    if let Some(voted) = view.voted {
        add!(line, ", voted for {voted}");
    }
    if let Some(high_watermark) = view.high_watermark {
        add!(line, ", high watermark {high_watermark}");
    }
    add!(line, ", flushed {}, log end {}", view.flushed_end, view.log_end);
    if view.voter_directories().iter().any(|directory| !directory.is_zero()) {
        let ids: Vec<String> = view.voters().iter().map(ToString::to_string).collect();
        add!(line, ", voters {}", ids.join(" "));
    }
    line
}

/// Adds what voters ask each other.
fn add_quorum_request(line: &mut String, body: &AnyRequest) {
    if let AnyRequest::Vote(request) = body {
        for partition in request.topics.iter().flat_map(|topic| &topic.partitions) {
            let what = if partition.pre_vote { "would you vote" } else { "vote" };
            add!(line, " {what} for {} in epoch {}", partition.replica_id, partition.replica_epoch);
            add!(line, ", whose log ends at {}", partition.last_offset);
            add!(line, " in epoch {}", partition.last_offset_epoch);
        }
    } else if let AnyRequest::BeginQuorumEpoch(request) = body {
        for partition in request.topics.iter().flat_map(|topic| &topic.partitions) {
            add_leader(line, partition.leader_id, partition.leader_epoch);
        }
    } else if let AnyRequest::EndQuorumEpoch(request) = body {
        for partition in request.topics.iter().flat_map(|topic| &topic.partitions) {
            add_leader(line, partition.leader_id, partition.leader_epoch);
            let candidates = &partition.preferred_candidates;
            let candidates: Vec<i32> = candidates.iter().map(|candidate| candidate.candidate_id).collect();
            add!(line, " resigns for {candidates:?}");
        }
    } else if let AnyRequest::IncrementalAlterConfigs(request) = body {
        for resource in &request.resources {
            for config in &resource.configs {
                let value = config.value.as_deref().unwrap_or("-");
                add!(
                    line,
                    " {}/{:?} {}={value}",
                    resource.resource_type,
                    resource.resource_name,
                    config.name
                );
            }
        }
    }
}

/// Adds what voters answer each other.
fn add_quorum_response(line: &mut String, body: &AnyResponse) {
    let error = |code: i16| ErrorCode::from_i16(code).name();
    if let AnyResponse::Vote(response) = body {
        add!(line, " {}", error(response.error_code));
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            let granted = if partition.vote_granted { "granted" } else { "not granted" };
            add!(line, " {} {granted}", error(partition.error_code));
            add_leader(line, partition.leader_id, partition.leader_epoch);
        }
    } else if let AnyResponse::BeginQuorumEpoch(response) = body {
        add!(line, " {}", error(response.error_code));
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            add!(line, " {}", error(partition.error_code));
            add_leader(line, partition.leader_id, partition.leader_epoch);
        }
    } else if let AnyResponse::EndQuorumEpoch(response) = body {
        add!(line, " {}", error(response.error_code));
        for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
            add!(line, " {}", error(partition.error_code));
            add_leader(line, partition.leader_id, partition.leader_epoch);
        }
    } else if let AnyResponse::IncrementalAlterConfigs(response) = body {
        for resource in &response.responses {
            let text = resource.error_message.as_deref().unwrap_or_default();
            add!(line, " {} {text}", error(resource.error_code));
        }
    } else if let AnyResponse::DescribeConfigs(response) = body {
        for resource in &response.results {
            add!(line, " {}", error(resource.error_code));
            for config in &resource.configs {
                add!(line, " {}={}", config.name, config.value.as_deref().unwrap_or("-"));
            }
        }
    }
}

/// Adds who leads, if somebody says so.
fn add_leader(line: &mut String, leader: i32, epoch: i32) {
    if leader >= 0 {
        add!(line, ", {leader} leads epoch {epoch}");
    } else if epoch >= 0 {
        add!(line, ", nobody leads epoch {epoch}");
    }
}

/// Adds the leader epoch in which a client believes, if it says one.
fn add_leader_epoch(line: &mut String, epoch: i32) {
    if epoch >= 0 {
        add!(line, " in leader epoch {epoch}");
    }
}

/// An answer, with what matters of the APIs that clients and controllers use.
#[must_use]
pub(crate) fn response(body: &AnyResponse, topics: Topics<'_>) -> String {
    let mut line = format!("{:?}", body.api_key());
    let error = |code: i16| ErrorCode::from_i16(code).name();
    if let AnyResponse::Produce(produce) = body {
        for topic in &produce.responses {
            let name = topics.name(&topic.name, topic.topic_id);
            for partition in &topic.partition_responses {
                let (error, offset) = (error(partition.error_code), partition.base_offset);
                add!(line, " {name}-{}: {error} at {offset}", partition.index);
            }
        }
    } else if let AnyResponse::Fetch(fetch) = body {
        add!(line, " {} session {}", error(fetch.error_code), fetch.session_id);
        for topic in &fetch.responses {
            let name = topics.name(&topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                let (error, high_watermark) = (error(partition.error_code), partition.high_watermark);
                let (index, len) = (partition.partition_index, len_of(partition.records.as_ref()));
                add!(line, " {name}-{index}: {error} high watermark {high_watermark}, {len} bytes");
                let (diverging, leader) = (&partition.diverging_epoch, &partition.current_leader);
                if diverging.epoch >= 0 {
                    add!(line, ", epoch {} ends at {}", diverging.epoch, diverging.end_offset);
                }
                add_leader(&mut line, leader.leader_id, leader.leader_epoch);
            }
        }
    } else if let AnyResponse::ListOffsets(response) = body {
        for topic in &response.topics {
            for partition in &topic.partitions {
                let (error, offset) = (error(partition.error_code), partition.offset);
                let epoch = partition.leader_epoch;
                add!(line, " {}-{}: {error} offset {offset}", topic.name, partition.partition_index);
                add!(line, " of epoch {epoch}, time {}", partition.timestamp);
            }
        }
    } else if let AnyResponse::OffsetForLeaderEpoch(response) = body {
        for topic in &response.topics {
            for partition in &topic.partitions {
                let (error, epoch) = (error(partition.error_code), partition.leader_epoch);
                let (index, end) = (partition.partition, partition.end_offset);
                add!(line, " {}-{index}: {error} epoch {epoch} ends at {end}", topic.topic);
            }
        }
    } else if let AnyResponse::DeleteRecords(response) = body {
        for topic in &response.topics {
            for partition in &topic.partitions {
                let (error, start) = (error(partition.error_code), partition.low_watermark);
                add!(line, " {}-{}: {error} low watermark {start}", topic.name, partition.partition_index);
            }
        }
    } else if let AnyResponse::InitProducerId(response) = body {
        let (id, epoch) = (response.producer_id, response.producer_epoch);
        add!(line, " {} {id}/{epoch}", error(response.error_code));
    } else if let AnyResponse::CreateTopics(response) = body {
        for topic in &response.topics {
            let text = topic.error_message.as_ref().map(ToString::to_string).unwrap_or_default();
            add!(line, " {}: {} {text}", topic.name, error(topic.error_code));
        }
    } else if let AnyResponse::Metadata(response) = body {
        for topic in &response.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            add!(line, " {name}: {} {}", error(topic.error_code), topic.topic_id);
            for partition in &topic.partitions {
                add!(line, " {name}-{}", partition.partition_index);
                add_leader_epoch(&mut line, partition.leader_epoch);
            }
        }
    } else {
        add_quorum_response(&mut line, body);
    }
    line
}
