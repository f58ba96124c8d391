//! What breaks: processes, disks, clocks, links.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

/// Something that breaks at a virtual time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FaultPlan {
    /// When, in microseconds.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub fault: Fault,
}

/// As [`FaultPlan`], with whatever fields there may be beside.
#[derive(Deserialize)]
struct WithStrangers {
    at_us: u64,
    #[serde(flatten)]
    fault: Fault,
}

impl<'de> Deserialize<'de> for FaultPlan {
    /// Refuses fields that mean nothing, which serde does not where structures are flattened: a field is one of this fault
    /// if what no field can be makes the fault one that cannot be read.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = Value::deserialize(deserializer)?;
        let WithStrangers { at_us, fault } = WithStrangers::deserialize(&json).map_err(D::Error::custom)?;
        for key in json.as_object().into_iter().flat_map(serde_json::Map::keys) {
            let mut other = json.clone();
            other[key] = json!({ "": [] });
            if WithStrangers::deserialize(&other).is_ok() {
                return Err(D::Error::custom(format!("unknown field `{key}` in the fault {json}")));
            }
        }
        Ok(Self { at_us, fault })
    }
}

/// What breaks. Nodes are named by their place in the plan, clients by their number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// A process ends, and starts again later. If none is there, only a loss of power means anything.
    Crash {
        /// Whose.
        node: usize,
        /// How it ends.
        how: CrashKind,
        /// How long it stays down.
        down_us: u64,
        /// On which disk it starts again.
        #[serde(default, skip_serializing_if = "DiskAfter::is_same")]
        disk: DiskAfter,
        /// What befalls the node while it comes up again, one after the other.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        while_recovering: Vec<RecoveryFaultPlan>,
    },
    /// A process does nothing for a while and then goes on as if no time had passed.
    Pause {
        /// Whose.
        node: usize,
        /// For how long.
        for_us: u64,
    },
    /// A client does nothing for a while.
    PauseClient {
        /// Which.
        client: u64,
        /// For how long.
        for_us: u64,
    },
    /// A wall clock is set.
    ClockStep {
        /// Whose.
        node: usize,
        /// By how much, forward or back.
        by_ms: i64,
    },
    /// Nothing arrives in one direction of a link. What was lost is sent again when that is over, as TCP does; what
    /// waits on a connection waits behind it.
    Cut {
        /// Who is not heard.
        from: End,
        /// Who does not hear.
        to: End,
        /// For how long.
        for_us: u64,
    },
    /// Messages of one kind of request, or the answers to them, vanish in one direction of a link; all others arrive.
    Drop {
        /// Who sends them.
        from: End,
        /// Who does not get them.
        to: End,
        /// The API, by its key; every one if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api: Option<i16>,
        /// For how long.
        for_us: u64,
    },
    /// Everything takes longer in one direction of a link.
    Clog {
        /// Who sends.
        from: End,
        /// Who waits.
        to: End,
        /// By how much.
        by_us: u64,
        /// For how long.
        for_us: u64,
    },
    /// The connection between the two is reset.
    Reset {
        /// The client.
        client: u64,
        /// The node.
        node: usize,
    },
    /// The connections that a node opened to another are reset.
    ResetNodes {
        /// Who opened them.
        from: usize,
        /// To whom.
        to: usize,
    },
    /// Every request that a client sends to a node for a while arrives once more, later and on a connection of its own.
    Duplicate {
        /// The client.
        client: u64,
        /// The node.
        node: usize,
        /// How much later.
        after_us: u64,
        /// For how long.
        for_us: u64,
    },
    /// A disk misbehaves.
    Disk {
        /// Whose.
        node: usize,
        /// How.
        #[serde(flatten)]
        how: DiskFault,
    },
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// A client, by its number.
    Client(u64),
    /// A node, by its place in the plan.
    Node(usize),
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrashKind {
    /// It is asked to stop, and stops.
    Stop,
    /// The process dies; the page cache stays.
    Kill,
    /// The machine loses power; what was not synced is lost in part.
    PowerLoss,
}

/// On which disk a node starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskAfter {
    /// The one it had.
    #[default]
    Same,
    /// A new one, which is formatted.
    Empty,
    /// A new one, which nobody formatted: the node must refuse it. The next start finds its own disk.
    Unformatted,
    /// That of another node, by its place in the plan: the node must refuse it. The next start finds its own disk.
    Of(usize),
}

impl DiskAfter {
    const fn is_same(&self) -> bool {
        matches!(self, Self::Same)
    }
}

/// Something that befalls a node while it reads its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecoveryFaultPlan {
    /// After how many completed storage operations of that start.
    pub after_completions: u32,
    /// What; a clean stop is a kill here.
    pub how: CrashKind,
    /// How long the node stays down.
    pub down_us: u64,
}

/// How a disk misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "disk", rename_all = "snake_case")]
pub enum DiskFault {
    /// The next appends or truncations fail; a failed append has written a part of its bytes.
    FailWrites {
        /// In which files.
        files: FileKind,
        /// How many.
        times: u32,
        /// With what.
        error: WriteError,
    },
    /// The next reads or listings fail.
    FailReads {
        /// In which files.
        files: FileKind,
        /// How many.
        times: u32,
    },
    /// The next syncs, replacements, renames or removals fail. After a failed sync the kernel takes the pages for
    /// clean: a sync that comes later succeeds and does not make them durable.
    FailSyncs {
        /// In which files.
        files: FileKind,
        /// How many.
        times: u32,
    },
    /// The disk is full for a while: whatever needs room fails, after a part of it was written.
    Full {
        /// For how long.
        for_us: u64,
    },
    /// Nothing takes effect for a while.
    Stall {
        /// For how long.
        for_us: u64,
    },
    /// The next appends seem to succeed, are read back from the page cache, and never reach the platters, synced or not.
    PhantomWrites {
        /// In which files.
        files: FileKind,
        /// How many.
        times: u32,
    },
    /// The next appends seem to succeed, and reach the platters elsewhere in the same file.
    MisdirectedWrites {
        /// In which files.
        files: FileKind,
        /// How many.
        times: u32,
    },
    /// Everything in one log directory fails for a while, and is there again afterwards as it was.
    LoseDirectory {
        /// Which, by its place in the configuration.
        dir: usize,
        /// For how long.
        for_us: u64,
    },
    /// One bit of one file, chosen by the field, flips.
    Rot {
        /// Of which kind.
        files: FileKind,
    },
    /// Files beside the segments are gone, all of a kind, but for those of the metadata log. A process that runs is not
    /// meant to notice.
    Lose {
        /// Of which kind: checkpoints, indexes or snapshots.
        files: FileKind,
    },
}

/// Which files of a disk are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Any file.
    Any,
    /// The last segment of a partition's log.
    ActiveSegment,
    /// A segment of a partition's log with another behind it.
    ClosedSegment,
    /// An offset index or a time index.
    Index,
    /// A snapshot of producer state.
    Snapshot,
    /// A checkpoint file: recovery points, log starts, high watermarks, leader epochs.
    Checkpoint,
    /// A segment of the metadata log.
    MetadataLog,
}

/// What a failed write is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteError {
    /// Input/output error.
    Io,
    /// No space left.
    NoSpace,
}

impl Fault {
    /// Whether one replica survives it: everything acknowledged stays, but for what a loss of power may take of what was
    /// not synced. What damages the only copy is not survived by anybody.
    #[must_use]
    pub const fn is_survivable(&self) -> bool {
        match self {
            Self::Crash { disk, .. } => !matches!(disk, DiskAfter::Empty),
            Self::Pause { .. }
            | Self::PauseClient { .. }
            | Self::ClockStep { .. }
            | Self::Cut { .. }
            | Self::Drop { .. }
            | Self::Clog { .. }
            | Self::Reset { .. }
            | Self::ResetNodes { .. }
            | Self::Duplicate { .. } => true,
            Self::Disk { how, .. } => match how {
                DiskFault::FailWrites { .. }
                | DiskFault::FailReads { .. }
                | DiskFault::Full { .. }
                | DiskFault::Stall { .. }
                | DiskFault::LoseDirectory { .. }
                // What these say the segments say too.
                | DiskFault::Lose { .. } => true,
                // The process that meets a failed sync ends. The next one finds pages that look clean and are not.
                DiskFault::FailSyncs { .. }
                | DiskFault::PhantomWrites { .. }
                | DiskFault::MisdirectedWrites { .. }
                | DiskFault::Rot { .. } => false,
            },
        }
    }

    /// How long after its beginning it is over, as far as the plan says, in microseconds.
    #[must_use]
    pub fn lasts_us(&self) -> u64 {
        match self {
            Self::Crash { down_us, while_recovering, .. } => {
                down_us + while_recovering.iter().map(|again| again.down_us).sum::<u64>()
            }
            Self::Pause { for_us, .. }
            | Self::PauseClient { for_us, .. }
            | Self::Cut { for_us, .. }
            | Self::Drop { for_us, .. }
            | Self::Disk {
                how:
                    DiskFault::Full { for_us }
                    | DiskFault::Stall { for_us }
                    | DiskFault::LoseDirectory { for_us, .. },
                ..
            } => *for_us,
            Self::Clog { by_us, for_us, .. } => by_us + for_us,
            Self::Duplicate { after_us, for_us, .. } => after_us + for_us,
            Self::ClockStep { .. } | Self::Reset { .. } | Self::ResetNodes { .. } | Self::Disk { .. } => 0,
        }
    }

    /// The node it befalls, if it befalls one and not a link or a client.
    #[must_use]
    pub const fn node(&self) -> Option<usize> {
        match self {
            Self::Crash { node, .. }
            | Self::Pause { node, .. }
            | Self::ClockStep { node, .. }
            | Self::Disk { node, .. } => Some(*node),
            Self::PauseClient { .. }
            | Self::Cut { .. }
            | Self::Drop { .. }
            | Self::Clog { .. }
            | Self::Reset { .. }
            | Self::ResetNodes { .. }
            | Self::Duplicate { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        serde_json::from_str::<FaultPlan>(text).expect_err(text).to_string()
    }

    #[test]
    fn a_field_that_means_nothing_is_refused_by_its_name() {
        for (text, field) in [
            (r#"{"at_us":1,"fault":"drop","from":{"node":0},"to":{"client":9},"aip":0,"for_us":1}"#, "aip"),
            (
                r#"{"at_us":1,"fault":"crash","node":0,"how":"kill","down_us":1,"while_recoverin":[]}"#,
                "while_recoverin",
            ),
            (r#"{"at_us":1,"fault":"disk","node":0,"disk":"full","for_us":1,"times":2}"#, "times"),
            (r#"{"at_us":1,"fault":"reset","client":9,"node":0,"disk":null}"#, "disk"),
        ] {
            let error = error(text);
            assert!(error.starts_with(&format!("unknown field `{field}` in the fault {{")), "{error}");
        }
        let recovering = r#"{"at_us":1,"fault":"crash","node":0,"how":"kill","down_us":1,"while_recovering":
            [{"after_completions":1,"how":"kill","down_us":1,"api":3}]}"#;
        assert!(error(recovering).starts_with("unknown field `api`"), "{}", error(recovering));
    }

    #[test]
    fn fields_that_may_be_left_out_may_be_there() {
        for text in [
            r#"{"at_us":1,"fault":"drop","from":{"node":0},"to":{"client":9},"api":null,"for_us":1}"#,
            r#"{"at_us":1,"fault":"crash","node":0,"how":"kill","down_us":1,"disk":"same","while_recovering":[]}"#,
            r#"{"at_us":1,"fault":"crash","node":0,"how":"kill","down_us":1,"disk":{"of":1}}"#,
        ] {
            let read = serde_json::from_str::<FaultPlan>(text);
            assert!(read.is_ok(), "{text}: {read:?}");
        }
    }
}
