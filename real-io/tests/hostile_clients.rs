//! Bad input costs its sender the connection, and nobody else anything.

mod support;

use sordini_protocol::api_key::ApiKey;
use sordini_protocol::messages::ApiVersionsRequest;
use sordini_protocol::request::{AnyRequest, AnyResponse};
use std::io::{ErrorKind, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;
use support::{Broker, assert_closed, frame, read_answer, read_frame};

/// A request of 8 bytes of header in the oldest form: key, version, correlation id, no client id.
fn bare_request(api_key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut request = vec![0; 4];
    request.extend_from_slice(&api_key.to_be_bytes());
    request.extend_from_slice(&version.to_be_bytes());
    request.extend_from_slice(&correlation_id.to_be_bytes());
    request.extend_from_slice(&(-1_i16).to_be_bytes());
    request.extend_from_slice(body);
    let size = i32::try_from(request.len() - 4).expect("it is small");
    request[..4].copy_from_slice(&size.to_be_bytes());
    request
}

fn send(broker: &Broker, bytes: &[u8]) -> TcpStream {
    let mut stream = broker.connect();
    // The broker may close before it has read everything.
    let _ = stream.write_all(bytes);
    stream
}

#[test]
fn garbage_costs_its_sender_the_connection() {
    let broker = Broker::start(&[]);
    let mut bystander = broker.client();
    let garbage = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        vec![0xff; 100],
        // A TLS client's greeting.
        [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 600]].concat(),
        // Sizes: negative, zero, the largest there is, one more than is allowed.
        (-1_i32).to_be_bytes().to_vec(),
        0_i32.to_be_bytes().to_vec(),
        i32::MAX.to_be_bytes().to_vec(),
        (100 * 1024 * 1024 + 1_i32).to_be_bytes().to_vec(),
        // A frame too short for a header, an API nobody has, versions nobody has.
        vec![0, 0, 0, 3, 0, 18, 0],
        bare_request(12345, 0, 1, &[]),
        bare_request(-1, 0, 1, &[]),
        bare_request(3, 9999, 1, &[]),
        bare_request(0, 0, 1, &[0; 20]),
        // A Metadata request for two thousand million topics.
        bare_request(3, 1, 1, &i32::MAX.to_be_bytes()),
        // The header's client id is longer than the frame.
        vec![0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0x7f, 0xff],
    ];
    for bytes in garbage {
        assert_closed(&mut send(&broker, &bytes));
    }
    let answer = bystander.call(0, ApiVersionsRequest::default());
    assert!(matches!(answer, AnyResponse::ApiVersions(_)));
    broker.assert_serves();
}

#[test]
fn what_stands_behind_a_request_is_passed_over() {
    let broker = Broker::start(&[]);
    let mut stream = send(&broker, &bare_request(18, 0, 7, &[1, 2, 3]));
    let (correlation_id, answer) = read_answer(&mut stream, ApiKey::ApiVersions, 0);
    let AnyResponse::ApiVersions(answer) = answer else { panic!("another answer: {answer:?}") };
    assert_eq!((correlation_id, answer.error_code), (7, 0));
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_with_those_there_are() {
    let broker = Broker::start(&[]);
    let mut stream = send(&broker, &bare_request(18, 999, 7, b"\0what a later version says"));
    let (correlation_id, answer) = read_answer(&mut stream, ApiKey::ApiVersions, 0);
    let AnyResponse::ApiVersions(answer) = answer else { panic!("another answer: {answer:?}") };
    assert_eq!((correlation_id, answer.error_code), (7, 35));
    assert!(answer.api_keys.iter().any(|api| api.api_key == 18));
}

#[test]
fn requests_that_come_in_pieces_or_all_at_once_are_answered_in_their_order() {
    let broker = Broker::start(&[]);
    let requests: Vec<u8> = (0..200).flat_map(|id| bare_request(18, 0, id, &[])).collect();
    let mut stream = broker.connect();
    for byte in &requests[..300] {
        stream.write_all(&[*byte]).expect("the broker reads");
    }
    stream.write_all(&requests[300..]).expect("the broker reads");
    for id in 0..200 {
        assert_eq!(read_answer(&mut stream, ApiKey::ApiVersions, 0).0, id);
    }
}

#[test]
fn half_a_request_and_silence_disturb_nobody() {
    let broker = Broker::start(&[]);
    let request = bare_request(18, 0, 1, &[]);
    let mut halves: Vec<TcpStream> = (1..request.len()).map(|cut| send(&broker, &request[..cut])).collect();
    broker.assert_serves();
    for (half, cut) in halves.iter_mut().zip(1..) {
        half.write_all(&request[cut..]).expect("the broker reads");
        assert_eq!(read_answer(half, ApiKey::ApiVersions, 0).0, 1);
    }
    // Whoever will not say the rest is let go.
    let mut half = send(&broker, &request[..9]);
    half.shutdown(Shutdown::Write).expect("it is connected");
    assert_closed(&mut half);
}

#[test]
fn announced_frames_take_no_memory_before_they_arrive() {
    let broker = Broker::start(&[]);
    let before = broker.memory();
    let announced: Vec<TcpStream> =
        (0..100).map(|_| send(&broker, &(100 * 1024 * 1024_i32).to_be_bytes())).collect();
    broker.assert_serves();
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for {} announcements", announced.len());
}

#[test]
fn frames_in_progress_stay_within_their_memory_and_all_get_their_turn() {
    // Room for one and a half of these frames at a time.
    let broker = Broker::start(&["queued.max.request.bytes=3000000", "socket.request.max.bytes=2500000"]);
    let before = broker.memory();
    let size = 2_000_000;
    // A Metadata request whose one topic has a name that no topic can have; each is answered all the same.
    let mut request = bare_request(3, 1, 5, &1_i32.to_be_bytes());
    let name = [b'x'; 30_000];
    request.extend_from_slice(&30_000_i16.to_be_bytes());
    request.extend_from_slice(&name);
    request.resize(size, 0);
    let len = i32::try_from(size - 4).expect("it is small");
    request[..4].copy_from_slice(&len.to_be_bytes());
    // What follows the body makes the request invalid: its sender is let go once all of it has arrived.
    let mut streams: Vec<TcpStream> = (0..20).map(|_| send_without_waiting(&broker, &request)).collect();
    broker.assert_serves();
    std::thread::scope(|scope| {
        for stream in &mut streams {
            scope.spawn(|| {
                // The rest of what did not fit the socket's buffers; the broker reads it when it has room.
                let _ = stream.write_all(&vec![0; size]);
                assert_closed_or_reset(stream);
            });
        }
    });
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
    broker.assert_serves();
}

fn send_without_waiting(broker: &Broker, bytes: &[u8]) -> TcpStream {
    let mut stream = broker.connect();
    stream.set_nonblocking(true).expect("it is a socket");
    let _ = stream.write(bytes);
    stream.set_nonblocking(false).expect("it is a socket");
    stream
}

fn assert_closed_or_reset(stream: &mut TcpStream) {
    use std::io::Read as _;
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    }
}

#[test]
fn a_reader_who_does_not_read_is_not_read_from_and_takes_bounded_memory() {
    let broker = Broker::start(&[]);
    let before = broker.memory();
    let mut slow = broker.connect();
    slow.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout can be set");
    let requests: Vec<u8> = (0..10_000).flat_map(|id| bare_request(18, 0, id, &[])).collect();
    // Far more than socket buffers hold, of requests and all the more of answers.
    let rounds = 500;
    let mut sent = 0;
    let refused = loop {
        match slow.write(&requests[sent % requests.len()..]) {
            Ok(written) => sent += written,
            Err(error) => break error,
        }
        assert!(sent < rounds * requests.len(), "the broker reads what it cannot answer");
    };
    assert!(matches!(refused.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{refused}");
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes for one connection");
    broker.assert_serves();

    // Once it reads, everything that was asked is answered, in order.
    slow.set_write_timeout(None).expect("a timeout can be set");
    let request_len = requests.len() / 10_000;
    let mut reader = slow.try_clone().expect("a socket can be cloned");
    let missing = (request_len - sent % request_len) % request_len;
    let count = (sent + missing) / request_len;
    let reading = std::thread::spawn(move || {
        for index in 0..count {
            let (id, _) = read_answer(&mut reader, ApiKey::ApiVersions, 0);
            assert_eq!(usize::try_from(id).expect("ids are not negative"), index % 10_000);
        }
    });
    let from = sent % requests.len();
    slow.write_all(&requests[from..from + missing]).expect("the broker reads again");
    reading.join().expect("all answers are right");
}

#[test]
fn ten_thousand_idle_connections_take_little_and_disturb_nobody() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)
        .expect("up to the maximum is allowed");
    // Where the system allows fewer open files, as many as it allows.
    let count =
        limit.maximum.map_or(10_000, |max| usize::try_from(max - 500).expect("it is more")).min(10_000);
    let broker = Broker::start(&[]);
    let before = broker.memory();
    let mut connections: Vec<TcpStream> = Vec::with_capacity(count);
    for index in 0..count {
        let mut stream = broker.connect();
        // Every tenth has said something, and every hundredth half of something.
        if index % 10 == 0 {
            stream.write_all(&bare_request(18, 0, 1, &[])).expect("the broker reads");
            read_frame(&mut stream);
        } else if index % 100 == 1 {
            stream.write_all(&[0, 0, 0, 14, 0, 18]).expect("the broker reads");
        }
        connections.push(stream);
    }
    broker.assert_serves();
    let each = broker.memory().saturating_sub(before) / count as u64;
    println!("{each} bytes for each of {count} connections");
    assert!(each < 6 << 10, "{each} bytes for each of {count} connections");
    let mut last = connections.pop().expect("there are many");
    last.write_all(&bare_request(18, 0, 2, &[])).expect("the broker reads");
    assert_eq!(read_answer(&mut last, ApiKey::ApiVersions, 0).0, 2);
}

#[test]
fn a_connection_on_which_nothing_moves_is_closed() {
    let broker = Broker::start(&["connections.max.idle.ms=200"]);
    let mut idle = broker.connect();
    let mut amid_request = send(&broker, &[0, 0, 0, 14, 0, 18]);
    assert_closed(&mut idle);
    assert_closed(&mut amid_request);
}

#[test]
fn one_address_gets_as_many_connections_as_it_may_have() {
    let broker = Broker::start(&["max.connections.per.ip=2"]);
    let first = broker.client();
    let mut second = broker.client();
    second.call(0, ApiVersionsRequest::default());
    assert_closed(&mut broker.connect());
    second.call(0, ApiVersionsRequest::default());
    drop(first);
    // The broker hears of the end before it accepts whoever comes next, or soon after.
    let request = frame(1, 0, &AnyRequest::from(ApiVersionsRequest::default()));
    let served = (0..1000).any(|_| {
        let mut stream = broker.connect();
        let mut size = [0; 4];
        stream.write_all(&request).is_ok() && std::io::Read::read_exact(&mut stream, &mut size).is_ok()
    });
    assert!(served, "a connection that ended makes room");
}

#[test]
fn when_all_connections_are_taken_the_next_waits_for_one_to_end() {
    let broker = Broker::start(&["max.connections=2"]);
    let first = broker.client();
    let mut second = broker.client();
    second.call(0, ApiVersionsRequest::default());
    let mut third = broker.connect();
    third.write_all(&bare_request(18, 0, 3, &[])).expect("the kernel takes it");
    second.call(0, ApiVersionsRequest::default());
    drop(first);
    assert_eq!(read_answer(&mut third, ApiKey::ApiVersions, 0).0, 3);
}
