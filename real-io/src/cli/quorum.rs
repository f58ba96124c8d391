//! `sordini quorum`: who leads the metadata quorum, and how far everybody's log is.

use bytes::Bytes;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::frame::{decode_response, encode_request};
use sordini_protocol::messages::describe_quorum_request::{PartitionData as Asked, TopicData};
use sordini_protocol::messages::describe_quorum_response::{Node, PartitionData, ReplicaState};
use sordini_protocol::messages::{
    DescribeClusterRequest, DescribeQuorumRequest, DescribeQuorumResponse, RequestHeader,
};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;
use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long a server may take to answer; one that forwards the question waits for a controller.
const TIMEOUT: Duration = Duration::from_secs(35);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: u32 = 16 << 20;
/// The version with the addresses of the voters.
const QUORUM_VERSION: i16 = 2;
/// The first version in which controllers can be asked about.
const CLUSTER_VERSION: i16 = 1;
const CONTROLLERS: i8 = 2;

/// Why the quorum could not be described.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuorumError {
    /// Nobody is there, or it hangs up.
    #[error("{server} does not answer: {error}")]
    Unreachable { server: String, error: io::Error },
    /// It is not a server of this protocol, or is one that does not have it.
    #[error("{server} answers what is no description of a quorum")]
    Unreadable { server: String },
    /// It was said why not.
    #[error("{server} refuses: {} ({message})", code.name())]
    Refused { server: String, code: ErrorCode, message: String },
}

/// What a server knows of its quorum, as a table. Any broker and any controller may be asked; a controller that does not lead
/// names the one that does, which is asked then.
pub(crate) fn describe(server: &str) -> Result<String, QuorumError> {
    let mut response = describe_quorum(server)?;
    let mut asked = server.to_owned();
    if code_of(&response) == ErrorCode::NotLeaderOrFollower
        && let Some(leader) = leader_beside(server)?
    {
        response = describe_quorum(&leader)?;
        asked = leader;
    }
    let code = code_of(&response);
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    match partition.filter(|_| code == ErrorCode::None) {
        Some(partition) => Ok(table(partition, &response.nodes)),
        None => {
            let told = partition.and_then(|partition| partition.error_message.as_deref());
            let told = told.or(response.error_message.as_deref()).filter(|told| !told.is_empty());
            let message = told.unwrap_or("it says nothing else").to_owned();
            Err(QuorumError::Refused { server: asked, code, message })
        }
    }
}

fn code_of(response: &DescribeQuorumResponse) -> ErrorCode {
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let of_partition = partition.map_or(0, |partition| partition.error_code);
    ErrorCode::from_i16(if response.error_code == 0 { of_partition } else { response.error_code })
}

fn address_of(id: i32, nodes: &[Node]) -> Option<String> {
    let listener = nodes.iter().find(|node| node.node_id == id)?.listeners.first()?;
    Some(format!("{}:{}", listener.host, listener.port))
}

fn describe_quorum(server: &str) -> Result<DescribeQuorumResponse, QuorumError> {
    let topic = TopicData {
        topic_name: Str::from_static("__cluster_metadata"),
        partitions: vec![Asked::default()],
        ..TopicData::default()
    };
    let request = DescribeQuorumRequest { topics: vec![topic], ..DescribeQuorumRequest::default() };
    let AnyResponse::DescribeQuorum(response) = ask(server, QUORUM_VERSION, &request.into())? else {
        return Err(QuorumError::Unreadable { server: server.to_owned() });
    };
    Ok(response)
}

/// Where the controller is that leads, as another one knows it (KIP-919).
fn leader_beside(server: &str) -> Result<Option<String>, QuorumError> {
    let request = DescribeClusterRequest { endpoint_type: CONTROLLERS, ..DescribeClusterRequest::default() };
    let AnyResponse::DescribeCluster(response) = ask(server, CLUSTER_VERSION, &request.into())? else {
        return Err(QuorumError::Unreadable { server: server.to_owned() });
    };
    let leader = response.brokers.iter().find(|node| node.broker_id == response.controller_id);
    Ok(leader.map(|leader| format!("{}:{}", leader.host, leader.port)))
}

fn ask(server: &str, version: i16, request: &AnyRequest) -> Result<AnyResponse, QuorumError> {
    let unreachable = |error| QuorumError::Unreachable { server: server.to_owned(), error };
    let frame = exchange(server, version, request).map_err(unreachable)?;
    let response = decode_response(request.api_key(), version, frame);
    response.map(|(_, body)| body).map_err(|_| QuorumError::Unreadable { server: server.to_owned() })
}

/// Sends a request and gives the frame of the answer.
fn exchange(server: &str, version: i16, request: &AnyRequest) -> io::Result<Bytes> {
    let header = RequestHeader {
        request_api_key: request.api_key().as_i16(),
        request_api_version: version,
        client_id: Some(Str::from_static("sordini")),
        ..RequestHeader::default()
    };
    let encoded = encode_request(&header, request).map_err(io::Error::other)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in server.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(&encoded.bytes)?;
        let mut size = [0; 4];
        stream.read_exact(&mut size)?;
        let size = u32::from_be_bytes(size);
        if size > ANSWER_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its answer is too long"));
        }
        let mut frame = vec![0; usize::try_from(size).unwrap_or(0)];
        stream.read_exact(&mut frame)?;
        return Ok(Bytes::from(frame));
    }
    Err(last)
}

fn table(partition: &PartitionData, nodes: &[Node]) -> String {
    let PartitionData { leader_id, leader_epoch, high_watermark, current_voters, observers, .. } = partition;
    let mut text = format!("leader {leader_id}, epoch {leader_epoch}, high watermark {high_watermark}\n\n");
    let now = current_voters.iter().chain(observers).map(|replica| replica.last_fetch_timestamp).max();
    let end = current_voters.iter().map(|replica| replica.log_end_offset).max().unwrap_or(0);
    let _ = writeln!(
        text,
        "{:>6}  {:<9} {:>10} {:>8} {:>12}  address",
        "node", "role", "log end", "lag", "last fetch"
    );
    let mut row = |replica: &ReplicaState, role: &str| {
        let fetched = match now {
            Some(now) if replica.last_fetch_timestamp >= 0 => {
                format!("{} ms", now.saturating_sub(replica.last_fetch_timestamp))
            }
            Some(_) | None => "-".to_owned(),
        };
        let address = address_of(replica.replica_id, nodes).unwrap_or_else(|| "-".to_owned());
        let (log_end, lag) = (replica.log_end_offset, end.saturating_sub(replica.log_end_offset));
        let _ = writeln!(
            text,
            "{:>6}  {role:<9} {log_end:>10} {lag:>8} {fetched:>12}  {address}",
            replica.replica_id
        );
    };
    for voter in current_voters {
        row(voter, if voter.replica_id == *leader_id { "leader" } else { "voter" });
    }
    for observer in observers {
        row(observer, "observer");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use sordini_protocol::messages::describe_quorum_response::Listener;

    #[test]
    fn everybody_stands_in_the_table_with_how_far_it_is() {
        let replica = |replica_id, log_end_offset, last_fetch_timestamp| ReplicaState {
            replica_id,
            log_end_offset,
            last_fetch_timestamp,
            ..ReplicaState::default()
        };
        let partition = PartitionData {
            leader_id: 2,
            leader_epoch: 7,
            high_watermark: 40,
            current_voters: vec![replica(1, 40, 9_500), replica(2, 42, 10_000)],
            observers: vec![replica(4, 30, -1)],
            ..PartitionData::default()
        };
        let listener = Listener { host: Str::from_static("h1"), port: 9093, ..Listener::default() };
        let node = Node { node_id: 1, listeners: vec![listener], ..Node::default() };
        let text = table(&partition, &[node]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0].join(" "), "leader 2, epoch 7, high watermark 40");
        assert_eq!(rows[3], ["1", "voter", "40", "2", "500", "ms", "h1:9093"]);
        assert_eq!(rows[4], ["2", "leader", "42", "0", "0", "ms", "-"]);
        assert_eq!(rows[5], ["4", "observer", "30", "12", "-", "-"]);
    }
}
