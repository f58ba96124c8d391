//! How inputs and outputs are written for people, and what of them goes into the trace hash.

use crate::trace::Hash64;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StorageToken};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Spliced, Writer};
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
            // What was written is in the hash already, and what chance made of it shows at the ends.
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

/// A request, with what matters of the APIs that clients use.
#[must_use]
pub(crate) fn request(
    client: u64,
    connection: ConnectionId,
    request: RequestId,
    body: &AnyRequest,
) -> String {
    let mut line = format!("client {client} connection {connection} request {request}: {:?}", body.api_key());
    if let AnyRequest::Produce(produce) = body {
        write!(line, " acks={}", produce.acks).expect("a string takes any text");
        for topic in &produce.topic_data {
            for partition in &topic.partition_data {
                let (name, index) = (&topic.name, partition.index);
                let len = len_of(partition.records.as_ref());
                write!(line, " {name}-{index}: {len} bytes").expect("a string takes any text");
            }
        }
    } else if let AnyRequest::Fetch(fetch) = body {
        write!(line, " session {}/{}", fetch.session_id, fetch.session_epoch)
            .expect("a string takes any text");
        for topic in &fetch.topics {
            for partition in &topic.partitions {
                let (name, index) = (&topic.topic, partition.partition);
                write!(line, " {name}-{index} from {}", partition.fetch_offset)
                    .expect("a string takes any text");
            }
        }
    }
    line
}

/// An answer, with what matters of the APIs that clients use.
#[must_use]
pub(crate) fn response(connection: ConnectionId, request: RequestId, body: &AnyResponse) -> String {
    let mut line = format!("connection {connection} request {request}: {:?}", body.api_key());
    let error = |code: i16| ErrorCode::from_i16(code).name();
    if let AnyResponse::Produce(produce) = body {
        for topic in &produce.responses {
            for partition in &topic.partition_responses {
                let (name, index) = (&topic.name, partition.index);
                let (error, offset) = (error(partition.error_code), partition.base_offset);
                write!(line, " {name}-{index}: {error} at {offset}").expect("a string takes any text");
            }
        }
    } else if let AnyResponse::Fetch(fetch) = body {
        write!(line, " {} session {}", error(fetch.error_code), fetch.session_id)
            .expect("a string takes any text");
        for topic in &fetch.responses {
            for partition in &topic.partitions {
                let (name, index) = (&topic.topic, partition.partition_index);
                let (error, high_watermark) = (error(partition.error_code), partition.high_watermark);
                let len = len_of(partition.records.as_ref());
                write!(line, " {name}-{index}: {error} high watermark {high_watermark}, {len} bytes")
                    .expect("a string takes any text");
            }
        }
    } else if let AnyResponse::InitProducerId(response) = body {
        let (id, epoch) = (response.producer_id, response.producer_epoch);
        write!(line, " {} {id}/{epoch}", error(response.error_code)).expect("a string takes any text");
    } else if let AnyResponse::CreateTopics(response) = body {
        for topic in &response.topics {
            let text = topic.error_message.as_ref().map(ToString::to_string).unwrap_or_default();
            write!(line, " {}: {} {text}", topic.name, error(topic.error_code))
                .expect("a string takes any text");
        }
    } else if let AnyResponse::Metadata(response) = body {
        for topic in &response.topics {
            let name = topic.name.as_deref().unwrap_or_default();
            write!(line, " {name}: {} {}", error(topic.error_code), topic.topic_id)
                .expect("a string takes any text");
        }
    }
    line
}
