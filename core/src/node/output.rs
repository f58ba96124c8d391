//! What a node wants done.

use crate::ids::{ConnectionId, RequestId};
use crate::storage_op::{StorageOp, StorageToken};
use sordini_protocol::request::AnyResponse;

/// One effect. The shell carries it out and decides nothing about it.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Answer a request. Answers leave a connection in the order of its requests, which may not be the order in which
    /// the node gives them.
    Respond {
        /// Where to.
        connection: ConnectionId,
        /// To which request.
        request: RequestId,
        /// The version to encode in.
        version: i16,
        /// What.
        body: AnyResponse,
    },
    /// A request was dealt with and has no answer (acks=0).
    NoResponse {
        /// Where it came from.
        connection: ConnectionId,
        /// Which.
        request: RequestId,
    },
    /// Close a connection, after the answers that were given before.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Do something to a disk.
    Storage {
        /// How its completion is to be named.
        token: StorageToken,
        /// What.
        op: StorageOp,
    },
}
