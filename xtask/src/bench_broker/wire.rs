//! The two requests that it takes to create a topic and produce to it, written by hand: a client library's own start would
//! be longer than what is measured.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two attempts. Short against what is measured, long enough to leave the broker the processor.
const RETRY: Duration = Duration::from_micros(150);
/// A request that takes longer than this ends the attempt.
const PATIENCE: Duration = Duration::from_secs(20);

const PRODUCE: i16 = 0;
const CREATE_TOPICS: i16 = 19;

const NONE: i16 = 0;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// Requests made ready beforehand, so that the clock sees the broker only.
#[derive(Debug)]
pub(super) struct FirstProduce {
    topic: &'static str,
    create_topic: Vec<u8>,
    produce: Vec<u8>,
}

impl FirstProduce {
    /// For the first of `brokers` brokers, whose ids are 1, 2, and so on.
    pub(super) fn new(topic: &'static str, partitions: u16, brokers: u16) -> Self {
        let create_topic = create_topic(topic, partitions, brokers);
        Self { topic, create_topic, produce: produce(topic, partitions, brokers) }
    }

    /// Connects to the broker on `port`, creates a topic that the brokers lead in turns and of which each has all
    /// replicas, and produces a record to every partition that this one leads, for which all replicas must be in sync;
    /// each again and again until it works. Fails at `deadline` with what went wrong last.
    pub(super) fn run(&self, port: u16, deadline: Instant) -> Result<()> {
        loop {
            let last = match self.attempt(port, deadline) {
                Ok(NONE) => return Ok(()),
                Ok(code) => format!("error code {code}"),
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                bail!("the broker on port {port} acknowledged nothing in time; last: {last}");
            }
            std::thread::sleep(RETRY);
        }
    }

    /// One connection: the error code of the produce response, or why there is none.
    fn attempt(&self, port: u16, deadline: Instant) -> io::Result<i16> {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        loop {
            // Throttle time, one topic, its name; then the error code.
            let code = error_code(&exchange(&mut stream, &self.create_topic)?, 4 + 4 + 2 + self.topic.len())?;
            if matches!(code, NONE | TOPIC_ALREADY_EXISTS) {
                break;
            }
            give_up_at(deadline, code)?;
        }
        loop {
            match self.produced(&exchange(&mut stream, &self.produce)?)? {
                None => return Ok(NONE),
                Some(code) => give_up_at(deadline, code)?,
            }
        }
    }
}

impl FirstProduce {
    /// The error code of a partition that refused its record, if one did.
    fn produced(&self, response: &[u8]) -> io::Result<Option<i16>> {
        // One topic, its name, and how many partitions; of each its index, the error code, offset and timestamp.
        const PARTITION: usize = 4 + 2 + 8 + 8;
        let first = 4 + 2 + self.topic.len() + 4;
        let throttle_time = 4;
        let partitions = (response.len() - throttle_time).saturating_sub(first) / PARTITION;
        let codes = (0..partitions).map(|at| error_code(response, first + at * PARTITION + 4));
        let codes = codes.collect::<io::Result<Vec<_>>>()?;
        Ok(codes.into_iter().find(|code| *code != NONE))
    }
}

fn give_up_at(deadline: Instant, code: i16) -> io::Result<()> {
    if Instant::now() > deadline {
        return Err(io::Error::other(format!("error code {code}")));
    }
    std::thread::sleep(RETRY);
    Ok(())
}

/// Sends a request and returns the response behind its correlation id.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut response = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut response)?;
    if response.len() < 4 {
        return Err(io::Error::other("a response without correlation id"));
    }
    Ok(response.split_off(4))
}

fn error_code(response: &[u8], at: usize) -> io::Result<i16> {
    match response.get(at..at + 2) {
        Some(&[high, low]) => Ok(i16::from_be_bytes([high, low])),
        _ => Err(io::Error::other("a response that is too short")),
    }
}

fn create_topic(topic: &str, partitions: u16, brokers: u16) -> Vec<u8> {
    let mut request = header(CREATE_TOPICS, 2);
    put_i32(&mut request, 1);
    put_string(&mut request, topic);
    put_i32(&mut request, -1); // partitions, and replicas, as the assignments have them
    put_i16(&mut request, -1);
    put_i32(&mut request, i32::from(partitions)); // assignments
    for partition in 0..partitions {
        put_i32(&mut request, i32::from(partition));
        put_i32(&mut request, i32::from(brokers));
        for replica in 0..brokers {
            put_i32(&mut request, i32::from((partition + replica) % brokers + 1));
        }
    }
    put_i32(&mut request, 1); // configs
    put_string(&mut request, "min.insync.replicas");
    put_string(&mut request, &brokers.to_string());
    put_i32(&mut request, 15_000); // timeout
    request.push(0); // not only to validate
    framed(&request)
}

fn produce(topic: &str, partitions: u16, brokers: u16) -> Vec<u8> {
    let batch = record_batch(b"one");
    let mut request = header(PRODUCE, 3);
    put_i16(&mut request, -1); // transactional id
    put_i16(&mut request, -1); // acks=all
    put_i32(&mut request, 15_000); // timeout
    put_i32(&mut request, 1);
    put_string(&mut request, topic);
    put_i32(&mut request, i32::from(partitions.div_ceil(brokers)));
    for partition in (0..partitions).step_by(usize::from(brokers)) {
        put_i32(&mut request, i32::from(partition));
        put_bytes(&mut request, &batch);
    }
    framed(&request)
}

/// A batch v2 with one record.
fn record_batch(value: &[u8]) -> Vec<u8> {
    // Every number here is below 64, where a zigzag varint is one byte: the value doubled.
    let one_byte = |length: usize| u8::try_from(length * 2).expect("a short record");
    let mut record = vec![0, 0, 0, 1, one_byte(value.len())]; // attributes, deltas, no key
    record.extend_from_slice(value);
    record.push(0); // headers

    let mut checked = Vec::new();
    put_i16(&mut checked, 0); // attributes
    put_i32(&mut checked, 0); // last offset delta
    let timestamp = 1_700_000_000_000;
    put_i64(&mut checked, timestamp);
    put_i64(&mut checked, timestamp);
    put_i64(&mut checked, -1); // producer id
    put_i16(&mut checked, -1); // producer epoch
    put_i32(&mut checked, -1); // base sequence
    put_i32(&mut checked, 1); // records
    checked.push(one_byte(record.len()));
    checked.extend_from_slice(&record);

    let mut batch = Vec::new();
    put_i64(&mut batch, 0); // base offset
    put_length(&mut batch, 4 + 1 + 4 + checked.len());
    put_i32(&mut batch, -1); // leader epoch
    batch.push(2); // magic
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend_from_slice(&checked);
    batch
}

/// CRC-32C bit by bit: it runs once over a hundred bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// Request header v1; the correlation id plays no part, one request is under way at a time.
fn header(api_key: i16, api_version: i16) -> Vec<u8> {
    let mut header = Vec::new();
    put_i16(&mut header, api_key);
    put_i16(&mut header, api_version);
    put_i32(&mut header, 1);
    put_string(&mut header, "bench");
    header
}

fn framed(request: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    put_bytes(&mut framed, request);
    framed
}

fn put_i16(out: &mut Vec<u8>, value: i16) {
    out.extend(value.to_be_bytes());
}

fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend(value.to_be_bytes());
}

fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend(value.to_be_bytes());
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    put_i32(out, i32::try_from(length).expect("requests here are short"));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_string(out: &mut Vec<u8>, string: &str) {
    put_i16(out, i16::try_from(string.len()).expect("names here are short"));
    out.extend_from_slice(string.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_agrees_with_the_check_value_of_rfc_3720() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
