//! Names for numbers. Offsets called `_end` are exclusive: the first offset that is not part of the range.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number!(
    /// Position of a record in a partition's log.
    Offset(i64)
);
number!(
    /// Term of a partition's leader; -1 when a client does not know it.
    LeaderEpoch(i32)
);
number!(
    /// Version of a partition's replica state, raised by every change of it.
    PartitionEpoch(i32)
);
number!(
    /// Incarnation of a registered broker: the offset of its registration record.
    BrokerEpoch(i64)
);
number!(
    /// A node of the cluster, `node.id`.
    NodeId(i32)
);
number!(
    /// Identity of an idempotent producer; -1 for none.
    ProducerId(i64)
);
number!(
    /// A client connection, named by the shell; never used again after it was closed.
    ConnectionId(u64)
);
number!(
    /// A request on its connection, numbered by the shell in the order of arrival.
    RequestId(u64)
);

impl Offset {
    /// The offset `count` records further on.
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0 + count)
    }
}

impl LeaderEpoch {
    /// What a client sends when it does not know the epoch; it switches the check off.
    pub const UNKNOWN: Self = Self(-1);
}

impl ProducerId {
    /// The producer is not idempotent.
    pub const NONE: Self = Self(-1);
}

/// A partition by its topic's identity, which survives neither deletion nor re-creation of the name (KIP-516).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicIdPartition {
    /// The topic's id.
    pub topic: sordini_protocol::wire::Uuid,
    /// Index within the topic, from 0.
    pub partition: i32,
}
