//! Other nodes as a node reaches them: by address, over connections that it opens itself.

use alloc::sync::Arc;
use core::fmt;

/// What a connection to another node is for. Requests on one connection are answered in their order, so that what may wait
/// long must not stand before what may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// The metadata log's fetches, which wait for records.
    Fetch,
    /// Votes, and who leads the quorum.
    Election,
    /// What a broker asks the active controller for itself.
    Broker,
    /// What clients ask of it through a broker.
    Forwarding,
    /// Fetches of partitions' replicas, which wait for records.
    Replication,
}

/// One end of a connection that the node opens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Host name or address, as configured or as the other node told it.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
    /// Which of the connections to that address.
    pub channel: Channel,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{:?}", self.host, self.port, self.channel)
    }
}

/// Why a request to another node has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerFault {
    /// There is no connection, or it ended before the answer came, or what came is no answer. Whether the request was
    /// carried out is not known.
    #[error("no connection")]
    Disconnected,
}
