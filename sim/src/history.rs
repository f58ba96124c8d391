//! What clients did and what they were told: all that a judge from outside can know.

use serde::Serialize;

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

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Records were produced; the values are numbered from `first_value` on.
    Send {
        /// 0, 1 or -1.
        acks: i16,
        /// Number of the first record's value.
        first_value: u64,
        /// How many records.
        records: u16,
        /// Where the first record is, if that was said.
        offset: Option<i64>,
    },
    /// Records were read, from `offset` up to `end`.
    Poll {
        /// Offset of the first batch that was returned.
        offset: i64,
        /// The offset after the last.
        end: i64,
    },
}

/// One line of the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Virtual microseconds.
    pub at_us: u64,
    /// Which client.
    pub client: u64,
    /// How far it came.
    pub stage: Stage,
    /// Index of the topic in the plan.
    pub topic: usize,
    /// The partition.
    pub partition: i32,
    /// What.
    pub deed: Deed,
    /// The error that was answered, 0 for none.
    pub error_code: i16,
}
