//! What a log that keeps its promises never shows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::history::Acks;

/// A kind of anomaly. What is written of the offsets, values and operations of a [`Finding`] is written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anomaly {
    /// H1. One offset was reported with two values, by polls or by acknowledgements with acks=all.
    /// `value` and `other_value` are there; the operations reported the one and the other.
    InconsistentOffset,
    /// H1w. The same, but that one of the reports is an acknowledgement with acks=1 and `value` its value: of a leader that was
    /// none any more, perhaps.
    InconsistentOffsetWeak,
    /// H2. A value was reported at two offsets, `offset` and `other_offset`. The operations are the send and two that reported it.
    Duplicate,
    /// H3. A value that was acknowledged with acks=all, or that somebody had read, was not there when a reader passed its offset
    /// or when the last scan ended. The operations are the send, and who read it before, and who did not find it.
    LostAcked,
    /// H3b. The same of a value that was acknowledged with less and that nobody had read; operations as in `LostAcked`.
    LostAcks1,
    /// H4. A value was read that was definitely not sent. The operations are the send and the poll.
    FailedRead,
    /// H7. A consumer's next record was not the next that there is: it did not get `offset`. The operations are the poll before,
    /// if any, and the one that skipped it, and the one that shows that it is there.
    PollSkip,
    /// H8. A consumer got `offset`, although it had been farther. The operations are the poll before, if any, and this one.
    NonmonotonicPoll,
    /// H9. `PollSkip` between two records of one poll.
    InternalPollSkip,
    /// H9. `NonmonotonicPoll` between two records of one poll.
    InternalNonmonotonicPoll,
    /// H9. Of two values of one send the later one, `value`, came before `other_value`. The operation is the send.
    InternalNonmonotonicSend,
    /// H10. A producer's later send, that of `value`, came before an earlier one, that of `other_value`, which was not acknowledged
    /// before the later one was invoked. The operations are the earlier and the later.
    NonmonotonicSend,
    /// H11. A send, that of `value`, which was invoked after another, of `other_value`, was acknowledged, came before it. The
    /// operations are the earlier and the later.
    RealtimeOrder,
    /// H12. A consumer was told a high watermark, `other_offset`, below what was acknowledged with acks=all before it asked:
    /// `value` at `offset`. The operations are the send and who was told.
    StaleRead,
    /// H17. A value was read from a partition to which it was not sent. The operations are the send and the poll.
    Misrouted,
    /// A value was read that nobody had sent by then. The operation is the poll.
    UnsentRead,
    /// H25. A value that was acknowledged with acks=all before the last scan is not in it, and nobody ever read it or came past
    /// its offset: the partition ends before it. The operations are the send and the scan.
    Unseen,
}

impl Anomaly {
    /// All, in their order.
    pub const ALL: [Self; 17] = [
        Self::InconsistentOffset,
        Self::InconsistentOffsetWeak,
        Self::Duplicate,
        Self::LostAcked,
        Self::LostAcks1,
        Self::FailedRead,
        Self::PollSkip,
        Self::NonmonotonicPoll,
        Self::InternalPollSkip,
        Self::InternalNonmonotonicPoll,
        Self::InternalNonmonotonicSend,
        Self::NonmonotonicSend,
        Self::RealtimeOrder,
        Self::StaleRead,
        Self::Misrouted,
        Self::UnsentRead,
        Self::Unseen,
    ];

    /// As in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::InconsistentOffset => "inconsistent-offset",
            Self::InconsistentOffsetWeak => "inconsistent-offset-weak",
            Self::Duplicate => "duplicate",
            Self::LostAcked => "lost-acked",
            Self::LostAcks1 => "lost-acks1",
            Self::FailedRead => "failed-read",
            Self::PollSkip => "poll-skip",
            Self::NonmonotonicPoll => "nonmonotonic-poll",
            Self::InternalPollSkip => "internal-poll-skip",
            Self::InternalNonmonotonicPoll => "internal-nonmonotonic-poll",
            Self::InternalNonmonotonicSend => "internal-nonmonotonic-send",
            Self::NonmonotonicSend => "nonmonotonic-send",
            Self::RealtimeOrder => "realtime-order",
            Self::StaleRead => "stale-read",
            Self::Misrouted => "misrouted",
            Self::UnsentRead => "unsent-read",
            Self::Unseen => "unseen",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An anomaly, and where it shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which.
    pub anomaly: Anomaly,
    /// Index of the partition's contract.
    pub partition: u32,
    /// The offset that it is about, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The value that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<u64>,
    /// A second offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_offset: Option<i64>,
    /// A second value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_value: Option<u64>,
    /// The operations that show it, by the `seq` of their invocations.
    pub operations: Vec<u64>,
    /// What the producer had asked for, where a producer's value is what it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// Why it is no error, if it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permitted: Option<Permit>,
}

/// What a producer had asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// Whom it waits for.
    pub acks: Acks,
    /// Whether it is idempotent.
    pub idempotent: bool,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}idempotent", self.acks, if self.idempotent { "" } else { "not " })
    }
}

/// Why a contract permits an anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permit {
    /// The producer did not wait for the replicas.
    AcksBelowAll,
    /// The producer was not idempotent: what it sends again may come twice, and behind what it sent later.
    NotIdempotent,
    /// A leader might be elected that lacks committed records.
    UncleanElection,
    /// As many replicas lost records at once as are sure to hold a committed record.
    TooManyAmnesiacs,
    /// A new leader may not know yet how far the high watermark was.
    ReadsMayLag,
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AcksBelowAll => "all had acks=0 or acks=1",
            Self::NotIdempotent => "no producer of them was idempotent",
            Self::UncleanElection => "unclean elections were on",
            Self::TooManyAmnesiacs => "as many replicas lost records at once as min.insync.replicas asks for",
            Self::ReadsMayLag => "a new leader may not know the high watermark yet",
        })
    }
}
