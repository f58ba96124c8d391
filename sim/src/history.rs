//! What clients did and what they were told: all that a judge from outside can know.

use serde::{Serialize, Serializer};
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::wire::Str;

/// How far an operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It was asked for.
    Invoke,
    /// It happened.
    Ok,
    /// It did not happen.
    Fail,
    /// Nobody can tell whether it happened.
    Info,
}

/// What a client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Produces a batch. It is asked for once, however often it has to be sent.
    Send,
    /// Reads records.
    Poll,
    /// Asks where a partition begins, or ends.
    ListOffsets,
    /// Goes to an offset, without being asked: what was read behind it is not there any more.
    Seek,
    /// Creates a topic.
    CreateTopic,
    /// Removes the records below an offset.
    DeleteRecords,
    /// Sets configurations of a topic.
    AlterConfigs,
    /// Sets a configuration of all brokers, whose key stands in the place of the topic.
    SetConfig,
    /// Sets how many have to be in sync, which stands in the place of the values, of a topic, of the broker whose number stands
    /// in its place, or, without a name, of all brokers; without a value it takes back what was set.
    SetMinIsr,
    /// Deletes a topic.
    DeleteTopic,
    /// Gives a topic more partitions: as many as stand in the place of the partition.
    CreatePartitions,
    /// A broker registers, whose number stands in the place of the topic, and the number of its life in that of the values. It
    /// is told its epoch, which stands in the place of the offset here and wherever a broker is concerned.
    RegisterBroker,
    /// A broker asks to be unfenced.
    UnfenceBroker,
    /// A broker asks to be let go.
    LeaveCluster,
    /// An operator makes a controller a voter, whose number and directory stand in the place of the topic.
    AddVoter,
    /// An operator takes a voter's vote from it.
    RemoveVoter,
    /// An operator gives a feature, whose name stands in the place of the topic, the level that stands in that of the values,
    /// each with UpdateFeatures' number for the direction in which the level may go.
    UpdateFeature,
    /// The same, but that it asks only whether it could be done.
    TryFeature,
    /// A broker asks for producer ids, and gets those that stand in the place of the values.
    AllocateProducerIds,
    /// Moves a partition to the replicas; without any, it is to stay where it is.
    Reassign,
    /// Asks which partitions are being moved. Each of them is answered by itself, with its replicas; how many of them are
    /// added stands in the place of the offset, and how many are removed in that of the end.
    ListReassignments,
    /// Elects a leader of a partition.
    ElectLeader,
    /// Elects a leader of a partition that may lack records.
    ElectLeaderUncleanly,
    /// Takes the registration of a broker away, whose number stands in the place of the topic.
    UnregisterBroker,
    /// The leader of a partition says who is in sync. It is told the partition's epoch, which stands in the place of the offset.
    AlterIsr,
    /// Creates access control entries, whose numbers stand in the place of the values.
    CreateAcls,
    /// Deletes the access control entries that a filter matches. Its number stands in the place of the offset, and in that of
    /// the values those of what it is told to have deleted.
    DeleteAcls,
    /// Asks which access control entries there are that a filter matches, in the same form.
    DescribeAcls,
}

/// Which records a read may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
}

/// One line of the history. What an operation has nothing to say about, or what its client was not told, is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place in the history of the run, from 0.
    pub seq: u64,
    /// Virtual microseconds.
    pub at_us: u64,
    /// Which client.
    pub client: u64,
    /// How far it came.
    pub stage: Stage,
    /// What was done.
    pub operation: Operation,
    /// The topic's name, or the key of a configuration.
    #[serde(serialize_with = "as_text")]
    pub topic: Str,
    /// The partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The records' values, which are unique in a run: ranges of consecutive numbers, each as its first and how many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<(u64, u64)>,
    /// Of values that were read, the offset of the first of each range. The others follow it without a gap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<i64>,
    /// Of a batch that was produced the first record's; of a read the first batch's; what ListOffsets answered; below which
    /// records are to be removed, and what the log begins with then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// The offset after the last record that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<i64>,
    /// The high watermark that a reader was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_watermark: Option<i64>,
    /// When a reader asked for what it was told, in virtual microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked_us: Option<u64>,
    /// The leader epoch of the last batch that was read, or of the offset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_epoch: Option<i32>,
    /// 0, 1 or -1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acks: Option<i16>,
    /// What may be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// The idempotent producer, once the batch is numbered.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub numbering: Option<Numbering>,
    /// The brokers that are replicas of the partition, or in sync.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<i32>,
    /// What was answered.
    #[serde(serialize_with = "as_name", skip_serializing_if = "is_none")]
    pub error: ErrorCode,
}

/// How an idempotent producer numbered a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Numbering {
    /// Who it is to the broker.
    pub producer_id: i64,
    /// In which epoch.
    pub producer_epoch: i16,
    /// The number of the first record.
    pub base_sequence: i32,
    /// Whether the batch was sent under another number before: then no broker keeps it from being there twice.
    #[serde(skip_serializing_if = "is_false")]
    pub is_second: bool,
}

impl Entry {
    /// An entry that says nothing beside these. Its place is given to it with the others of the run.
    #[must_use]
    pub const fn new(at_us: u64, client: u64, stage: Stage, operation: Operation, topic: Str) -> Self {
        Self {
            seq: 0,
            at_us,
            client,
            stage,
            operation,
            topic,
            partition: None,
            values: Vec::new(),
            offsets: Vec::new(),
            offset: None,
            end: None,
            high_watermark: None,
            asked_us: None,
            leader_epoch: None,
            acks: None,
            isolation: None,
            numbering: None,
            replicas: Vec::new(),
            error: ErrorCode::None,
        }
    }
}

fn as_text<S: Serializer>(text: &Str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn as_name<S: Serializer>(error: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(error.name())
}

fn is_none(error: &ErrorCode) -> bool {
    *error == ErrorCode::None
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}
