//! A broker in a process of its own, and a client that speaks to it frame by frame.

#![allow(dead_code, reason = "every test file uses its own part")]

use bytes::Bytes;
use sordini_protocol::api_key::ApiKey;
use sordini_protocol::frame::{decode_response, encode_request};
use sordini_protocol::messages::{MetadataRequest, RequestHeader};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// `sordini`, with these arguments.
pub(crate) fn sordini(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sordini"));
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A running broker, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) process: Child,
    pub(crate) port: u16,
    _directory: Option<tempfile::TempDir>,
}

impl Broker {
    /// A broker on an empty directory, with these overrides.
    pub(crate) fn start(overrides: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let mut broker = Self::start_on(directory.path(), overrides);
        broker._directory = Some(directory);
        broker
    }

    /// A broker on that directory.
    pub(crate) fn start_on(directory: &Path, overrides: &[&str]) -> Self {
        let mut command = sordini(&["dev", "--port", "0", "--data-dir"]);
        command.arg(directory).stdout(Stdio::piped());
        for setting in overrides {
            command.args(["--override", setting]);
        }
        let mut process = command.spawn().expect("the broker can be started");
        let output = process.stdout.take().expect("its output is a pipe");
        let ready = (BufReader::new(output).lines())
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ready on localhost:").map(str::to_owned))
            .expect("the broker says that it is ready");
        let port = ready.split(' ').next().and_then(|port| port.parse().ok()).expect("a port");
        Self { process, port, _directory: None }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream =
            TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("it is a TCP stream");
        stream
    }

    pub(crate) fn client(&self) -> Client {
        Client { stream: self.connect(), correlation_id: 0 }
    }

    /// Resident memory, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it is alive");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.process.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is ours");
        self.process.wait().expect("it is ours")
    }

    /// Panics unless the broker serves a new connection.
    pub(crate) fn assert_serves(&self) {
        let answer =
            self.client().call(1, MetadataRequest { topics: Some(Vec::new()), ..MetadataRequest::default() });
        let AnyResponse::Metadata(metadata) = answer else { panic!("another answer: {answer:?}") };
        assert_eq!(metadata.brokers.len(), 1);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A client that waits for every answer.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    correlation_id: i32,
}

impl Client {
    pub(crate) fn call(&mut self, version: i16, request: impl Into<AnyRequest>) -> AnyResponse {
        let request = request.into();
        let api_key = request.api_key();
        self.correlation_id += 1;
        self.stream.write_all(&frame(self.correlation_id, version, &request)).expect("the broker reads");
        let (correlation_id, answer) = read_answer(&mut self.stream, api_key, version);
        assert_eq!(correlation_id, self.correlation_id);
        answer
    }
}

/// A request's frame with its size.
pub(crate) fn frame(correlation_id: i32, version: i16, request: &AnyRequest) -> Bytes {
    let header = RequestHeader {
        request_api_key: request.api_key().as_i16(),
        request_api_version: version,
        correlation_id,
        client_id: Some(Str::from_static("test")),
        ..RequestHeader::default()
    };
    let encoded = encode_request(&header, request).expect("the request can be encoded");
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut taken = 0;
    for splice in &encoded.splices {
        bytes.extend_from_slice(&encoded.bytes[taken..splice.at]);
        taken = splice.at;
        let sordini_protocol::wire::Spliced::Bytes(spliced) = &splice.what else { panic!("a stored range") };
        bytes.extend_from_slice(spliced);
    }
    bytes.extend_from_slice(&encoded.bytes[taken..]);
    bytes.into()
}

/// The next frame, without its size.
pub(crate) fn read_frame(stream: &mut TcpStream) -> Bytes {
    let mut size = [0; 4];
    stream.read_exact(&mut size).expect("an answer comes");
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(size)).expect("a size is not negative")];
    stream.read_exact(&mut frame).expect("the answer comes whole");
    frame.into()
}

pub(crate) fn read_answer(stream: &mut TcpStream, api_key: ApiKey, version: i16) -> (i32, AnyResponse) {
    let (header, answer) =
        decode_response(api_key, version, read_frame(stream)).expect("the answer can be decoded");
    (header.correlation_id, answer)
}

/// Panics unless the broker closes the connection without another byte.
pub(crate) fn assert_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, [], "nothing is answered"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
    }
}
