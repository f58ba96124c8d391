//! What happens to a node.

use core::net::IpAddr;

use crate::ids::{ConnectionId, RequestId};
use crate::peer::PeerFault;
use crate::produce_request::JudgedProduce;
use crate::storage_op::{Completion, StorageFault, StorageToken};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::Str;

/// One thing that happened. A node is driven by nothing else.
#[derive(Clone, Debug)]
pub enum Input {
    /// The process started; the first input of a node's life. The node begins to read its disk.
    Started,
    /// A request arrived on a connection and could be decoded.
    Request {
        /// Where it came from.
        connection: ConnectionId,
        /// Which one of that connection.
        request: RequestId,
        /// How it was sent.
        context: RequestContext,
        /// What it asks.
        body: RequestBody,
    },
    /// A connection is gone. Whatever was parked for it is dropped; its responses would have nowhere to go.
    ConnectionClosed {
        /// Which.
        connection: ConnectionId,
    },
    /// Another node answered what [`crate::node::Output::Ask`] asked, or never will.
    PeerAnswered {
        /// Which request.
        request: RequestId,
        /// With what.
        result: Result<AnyResponse, PeerFault>,
    },
    /// A storage operation was answered.
    StorageCompleted {
        /// Which.
        token: StorageToken,
        /// With what.
        result: Result<Completion, StorageFault>,
    },
    /// `next_deadline()` has come.
    DeadlinePassed,
    /// The process is asked to end. The node finishes what it must and reports [`crate::node::NodeState::Stopped`].
    StopRequested,
}

/// What a request's frame says beside its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestContext {
    /// Version of the API, within the announced range.
    pub api_version: i16,
    /// The client's name for itself.
    pub client_id: Option<Str>,
    /// Where the client is.
    pub client_address: IpAddr,
    /// Name of the listener it came in by; decides which addresses the client is told.
    pub listener: Str,
}

/// A request in the only forms in which a node takes one.
#[derive(Clone, Debug)]
pub enum RequestBody {
    /// A produce request whose batches were judged by their own bytes beforehand.
    Produce(JudgedProduce),
    /// Any other request. A `ProduceRequest` in here is refused by closing the connection.
    Other(AnyRequest),
    /// An ApiVersions request in a version the node does not know: its body could not be read, and the answer is of
    /// version 0 with UNSUPPORTED_VERSION (KIP-511).
    UnsupportedApiVersions,
}
