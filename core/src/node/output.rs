//! What a node wants done.

use crate::ids::{ConnectionId, RequestId};
use crate::peer::Peer;
use crate::storage_op::{StorageOp, StorageToken};
use sordini_protocol::request::{AnyRequest, AnyResponse};

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
    /// Ask another node. The answer, or that there will be none, comes as [`crate::node::Input::PeerAnswered`], once, unless
    /// the connection is given up before with [`Self::HangUp`].
    Ask {
        /// Whom, and on which of the connections to it. There is one connection per peer: it is made when it is first
        /// needed and when it is needed again after it ended, requests leave and answers come in the order of asking.
        peer: Peer,
        /// How the answer is to be named; never used twice in a node's life.
        request: RequestId,
        /// The version to encode in, and to decode the answer in.
        version: i16,
        /// What.
        body: AnyRequest,
    },
    /// Give up the connection to a peer. What was asked on it is not answered any more; what is asked next goes over a new
    /// connection.
    HangUp {
        /// Which.
        peer: Peer,
    },
    /// Do something to a disk.
    Storage {
        /// How its completion is to be named.
        token: StorageToken,
        /// What.
        op: StorageOp,
    },
}
