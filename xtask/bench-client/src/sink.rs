//! The cheapest broker imaginable, to find out what the client alone can do.
//!
//! It knows one node, and any topic has one partition. A produce request is read and acknowledged, nothing is kept.
//! A fetch is answered with one prepared batch whose base offset is the one asked for, without end. It checks
//! nothing: it trusts the client beside it, and serves only that.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use crate::throughput::noise;

/// The size of a prepared batch; a fetch is answered with as many as it asks for, at least one.
const BATCH_BYTES: usize = 1_048_576;
/// Room for what stands before the records in a produce request.
const REQUEST_HEAD_BYTES: usize = 4096;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
const CREATE_TOPICS: i16 = 19;
const INIT_PRODUCER_ID: i16 = 22;

/// What is spoken: API key, lowest and highest version, none of them with compact encodings.
const VERSIONS: [(i16, i16, i16); 7] = [
    (PRODUCE, 3, 7),
    (FETCH, 4, 11),
    (METADATA, 4, 4),
    (FIND_COORDINATOR, 0, 0),
    (API_VERSIONS, 0, 0),
    (CREATE_TOPICS, 2, 4),
    (INIT_PRODUCER_ID, 0, 1),
];
const UNSUPPORTED_VERSION: i16 = 35;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;

pub(crate) fn run(listen: SocketAddr, record_bytes: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let batch = Arc::new(record_batch(record_bytes));
    for stream in listener.incoming() {
        let (stream, batch) = (stream?, Arc::clone(&batch));
        // The end of a connection is how every client here says goodbye.
        std::thread::spawn(move || serve(stream, listen.port(), &batch));
    }
    Ok(())
}

fn serve(mut stream: TcpStream, port: u16, batch: &Batch) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut scratch = vec![0; 1 << 20];
    let mut response = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        // The head is read as message, the rest (records) read and dropped.
        let head = length.min(REQUEST_HEAD_BYTES);
        stream.read_exact(&mut scratch[..head])?;
        let mut request = Reader(&scratch[..head]);
        let (key, version, correlation) = (request.i16(), request.i16(), request.i32());
        request.string();
        response.clear();
        response.extend([0; 4]);
        response.extend(correlation.to_be_bytes());
        let records = answer(key, version, &mut request, port, batch, &mut response);
        let mut rest = length - head;
        while rest > 0 {
            let part = rest.min(scratch.len());
            stream.read_exact(&mut scratch[..part])?;
            rest -= part;
        }
        let records_bytes = records.as_ref().map_or(0, |records| records.count * batch.bytes.len());
        let body = u32::try_from(response.len() - 4 + records_bytes).map_err(io::Error::other)?;
        response[..4].copy_from_slice(&body.to_be_bytes());
        for (offset, _) in
            records.iter().flat_map(|records| (records.offset..).step_by(batch.records).zip(0..records.count))
        {
            // Each batch starts with its base offset; all else in it is the same everywhere, and needs no copy.
            response.put_i64(offset);
            stream.write_all(&response)?;
            stream.write_all(&batch.bytes[8..])?;
            response.clear();
        }
        stream.write_all(&response)?;
    }
}

/// Batches that follow the encoded part of a fetch response.
struct Records {
    offset: i64,
    count: usize,
}

/// A batch, and how many records it holds.
struct Batch {
    bytes: Vec<u8>,
    records: usize,
}

/// Encodes the response without the records.
fn answer(
    key: i16,
    version: i16,
    request: &mut Reader<'_>,
    port: u16,
    batch: &Batch,
    out: &mut Vec<u8>,
) -> Option<Records> {
    match key {
        PRODUCE => {
            request.string(); // transactional id
            request.skip(2 + 4 + 4); // acks, timeout, one topic
            let topic = request.string();
            out.put_i32(1);
            out.put_string(topic);
            out.put_i32(1);
            out.put_i32(0); // partition
            out.put_i16(0);
            out.put_i64(0); // base offset
            out.put_i64(-1); // log append time
            if version >= 5 {
                out.put_i64(0); // log start offset
            }
            out.put_i32(0); // throttle time
        }
        FETCH => {
            request.skip(4 + 4 + 4 + 4 + 1); // replica, wait, min and max bytes, isolation
            if version >= 7 {
                request.skip(8); // session id and epoch
            }
            let topics = request.i32();
            out.put_i32(0); // throttle time
            if version >= 7 {
                out.put_i16(0);
                out.put_i32(0); // no session
            }
            out.put_i32(topics);
            if topics != 1 {
                return None;
            }
            let topic = request.string();
            request.skip(4 + 4); // one partition, its index
            if version >= 9 {
                request.skip(4); // leader epoch
            }
            let offset = request.i64();
            if version >= 5 {
                request.skip(8); // log start offset
            }
            let count = (usize::try_from(request.i32()).unwrap_or(0) / batch.bytes.len()).max(1);
            out.put_string(topic);
            out.put_i32(1);
            out.put_i32(0); // partition
            out.put_i16(0);
            out.put_i64(i64::MAX / 2); // high watermark
            out.put_i64(i64::MAX / 2); // last stable offset
            if version >= 5 {
                out.put_i64(0); // log start offset
            }
            out.put_i32(-1); // aborted transactions
            if version >= 11 {
                out.put_i32(-1); // preferred read replica
            }
            out.put_i32(length_i32(count * batch.bytes.len()));
            return Some(Records { offset, count });
        }
        METADATA => {
            let topics = request.i32();
            out.put_i32(0); // throttle time
            out.put_i32(1);
            out.put_i32(1); // node 1
            out.put_string(b"127.0.0.1");
            out.put_i32(i32::from(port));
            out.put_i16(-1); // rack
            out.put_i16(-1); // cluster id
            out.put_i32(1); // controller
            out.put_i32(topics.max(0));
            for _ in 0..topics {
                let topic = request.string();
                out.put_i16(0);
                out.put_string(topic);
                out.push(0); // not internal
                out.put_i32(1);
                out.put_i16(0);
                out.put_i32(0); // partition
                out.put_i32(1); // leader
                for _replicas_then_isr in 0..2 {
                    out.put_i32(1);
                    out.put_i32(1);
                }
            }
        }
        FIND_COORDINATOR => {
            out.put_i16(COORDINATOR_NOT_AVAILABLE);
            out.put_i32(-1);
            out.put_string(b"");
            out.put_i32(-1);
        }
        CREATE_TOPICS => {
            let topics = request.i32();
            out.put_i32(0); // throttle time
            out.put_i32(topics);
            for _ in 0..topics {
                let topic = request.string();
                request.skip(4 + 2); // partitions, replicas
                for _assignment in 0..request.i32() {
                    request.skip(4);
                    let replicas = request.i32();
                    request.skip(4 * usize::try_from(replicas).unwrap_or(0));
                }
                for _config in 0..request.i32() {
                    request.string();
                    request.string();
                }
                out.put_string(topic);
                out.put_i16(0);
                out.put_i16(-1); // error message
            }
        }
        INIT_PRODUCER_ID => {
            out.put_i32(0); // throttle time
            out.put_i16(0);
            out.put_i64(1); // producer id
            out.put_i16(0); // producer epoch
        }
        _ => {
            // ApiVersions at 0; at a version unknown here the answer has version 0's form too, with the error.
            out.put_i16(if version == 0 { 0 } else { UNSUPPORTED_VERSION });
            out.put_i32(length_i32(VERSIONS.len()));
            for (key, min, max) in VERSIONS {
                out.put_i16(key);
                out.put_i16(min);
                out.put_i16(max);
            }
        }
    }
    None
}

/// A batch of about `BATCH_BYTES` with records of `record_bytes`. Its checksum is left out: librdkafka does not
/// look at it unless `check.crcs` is set.
fn record_batch(record_bytes: usize) -> Batch {
    let value = noise(record_bytes);
    let mut records = Vec::with_capacity(BATCH_BYTES);
    let mut count = 0;
    let mut record = Vec::new();
    while records.len() + record_bytes + 16 <= BATCH_BYTES - 61 {
        record.clear();
        record.push(0); // attributes
        put_varint(&mut record, 0); // timestamp delta
        put_varint(&mut record, count);
        put_varint(&mut record, -1); // no key
        put_varint(&mut record, i64::from(length_i32(value.len())));
        record.extend_from_slice(&value);
        put_varint(&mut record, 0); // headers
        put_varint(&mut records, i64::from(length_i32(record.len())));
        records.extend_from_slice(&record);
        count += 1;
    }
    let count = i32::try_from(count).expect("a batch of 1 MiB holds fewer than 2^31 records");
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    batch.put_i64(0); // base offset, set for each fetch
    batch.put_i32(length_i32(records.len() + 49));
    batch.put_i32(0); // leader epoch
    batch.push(2); // magic
    batch.put_i32(0); // checksum
    batch.put_i16(0); // attributes
    batch.put_i32(count - 1);
    batch.put_i64(0); // base timestamp
    batch.put_i64(0); // max timestamp
    batch.put_i64(-1); // producer id
    batch.put_i16(-1); // producer epoch
    batch.put_i32(-1); // base sequence
    batch.put_i32(count);
    batch.extend_from_slice(&records);
    Batch { bytes: batch, records: usize::try_from(count).expect("a count") }
}

fn length_i32(length: usize) -> i32 {
    i32::try_from(length).expect("everything here is prepared and far below 2 GiB")
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f | 0x80) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

trait Put {
    fn put_i16(&mut self, value: i16);
    fn put_i32(&mut self, value: i32);
    fn put_i64(&mut self, value: i64);
    fn put_string(&mut self, value: &[u8]);
}

impl Put for Vec<u8> {
    fn put_i16(&mut self, value: i16) {
        self.extend(value.to_be_bytes());
    }
    fn put_i32(&mut self, value: i32) {
        self.extend(value.to_be_bytes());
    }
    fn put_i64(&mut self, value: i64) {
        self.extend(value.to_be_bytes());
    }
    fn put_string(&mut self, value: &[u8]) {
        self.put_i16(i16::try_from(value.len()).expect("names are short"));
        self.extend_from_slice(value);
    }
}

/// Reads a request of the client beside this; a malformed one panics its connection's thread.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("the client beside this sends whole requests");
        self.0 = rest;
        *taken
    }
    fn skip(&mut self, bytes: usize) {
        self.0 = &self.0[bytes..];
    }
    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }
    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }
    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.take())
    }
    /// A string, empty where it is null.
    fn string(&mut self) -> &'a [u8] {
        let length = usize::try_from(self.i16()).unwrap_or(0);
        let (string, rest) = self.0.split_at(length);
        self.0 = rest;
        string
    }
}
