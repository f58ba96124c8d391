//! What happened in a run, by counts: rare branches of the core, and rare coincidences that only the world sees. A sweep
//! in which one stays 0 proves nothing about it.

use crate::disk::DiskMarks;
use serde::{Deserialize, Serialize};
use sordini_core::mark::{Mark, Marks as CoreMarks};
use std::collections::BTreeMap;

macro_rules! world_marks {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Something that the world saw happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum WorldMark {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl WorldMark {
            /// Every mark.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name in reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

world_marks! {
    /// A process was asked to stop and did.
    CleanStop = "process.stop",
    /// A process was killed.
    Kill = "process.kill",
    /// A machine lost its power.
    PowerLoss = "process.power_loss",
    /// A machine lost its power while no process was there.
    PowerLossWhileStopped = "process.power_loss_while_stopped",
    /// A process ended while it was reading its disk.
    CrashInRecovery = "process.crash_in_recovery",
    /// A process ended a second time before it had recovered from the first.
    SecondCrashInRecovery = "process.second_crash_in_recovery",
    /// A process ended while it was stopping cleanly.
    CrashWhileStopping = "process.crash_while_stopping",
    /// A process paused.
    Pause = "process.pause",
    /// A process ended while it was paused.
    CrashWhilePaused = "process.crash_while_paused",
    /// A process gave up because of what its disk did.
    GaveUp = "process.gave_up",
    /// A process gave up while it was reading its disk.
    GaveUpInRecovery = "process.gave_up_in_recovery",
    /// A process refused a disk that is not its own.
    RefusedDisk = "process.refused_disk",
    /// A machine got a new disk.
    EmptyDisk = "process.empty_disk",
    /// A recovery found less than had been appended.
    RecoveryWithLoss = "recovery.shorter",
    /// A wall clock was set forward.
    ClockForward = "clock.forward",
    /// A wall clock was set back.
    ClockBack = "clock.back",
    /// A message waited for a cut link.
    MessageHeld = "network.held",
    /// A message from a client was lost, and with it what followed on its connection.
    RequestLost = "network.request_lost",
    /// An answer was lost, and with it what followed on its connection.
    ResponseLost = "network.response_lost",
    /// A connection was reset.
    Reset = "network.reset",
    /// A request arrived once more, on a connection of its own.
    LateDuplicate = "network.late_duplicate",
    /// A late duplicate arrived in another life of the node than the request itself.
    LateDuplicateInNextLife = "network.late_duplicate_in_next_life",
    /// A request went through the real encoder and decoder.
    RequestEncoded = "network.request_encoded",
    /// An answer went through the real encoder and decoder.
    ResponseEncoded = "network.response_encoded",
    /// A message between nodes was lost, and with it what followed on its connection.
    NodeMessageLost = "nodes.message_lost",
    /// A connection between nodes was reset.
    NodeReset = "nodes.reset",
    /// A node gave up a connection to another.
    HungUp = "nodes.hung_up",
    /// A node was answered by another after it had given up.
    NodeAnswerTooLate = "nodes.answer_too_late",
    /// A node learnt that what it had asked another is not answered.
    NodeDisconnected = "nodes.disconnected",
    /// A request between nodes went through the real encoder and decoder.
    NodeRequestEncoded = "nodes.request_encoded",
    /// An answer between nodes went through the real encoder and decoder.
    NodeResponseEncoded = "nodes.response_encoded",
    /// A client paused.
    ClientPause = "client.pause",
    /// A client closed its connection because an answer did not come.
    ClientTimeout = "client.timeout",
    /// A client was answered after it had given up.
    AnswerTooLate = "client.answer_too_late",
    /// A batch was sent again and had been appended already.
    DuplicateRecognised = "client.duplicate_recognised",
    /// A record is in a log twice because a producer raised its epoch, as Kafka's may be.
    RaisedEpochDuplicate = "client.raised_epoch_duplicate",
    /// A record was acknowledged.
    RecordAcknowledged = "client.record_acknowledged",
    /// Committed records were lost that nobody had any more whom the controller trusts.
    CommittedLoss = "replica.committed_loss",
    /// A consumer got records of a partition.
    Read = "client.read",
    /// An answer of a fetch session left partitions out.
    IncrementalFetch = "client.incremental_fetch",
    /// A consumer's offset was out of range, and it began anew.
    OffsetReset = "client.offset_reset",
    /// A follower had not what a consumer was to read next, so that it goes back to the leader.
    OutOfFollowersRange = "client.out_of_followers_range",
    /// A consumer learnt that the log had lost what it had read last, and goes on where the loss began.
    PositionTruncated = "client.position_truncated",
    /// A consumer met a batch that is not as it was written, and stopped there.
    StoppedAtDamage = "client.stopped_at_damage",
    /// Clients could tell that a value was lost which a leader alone had acknowledged.
    LostAcks1 = "history.lost_acks1",
    /// Clients could tell that a value was lost which had been committed, where a loss of power may take it.
    LostCommitted = "history.lost_committed",
    /// Clients could tell that a value is there twice, of a producer whom nobody keeps from it.
    Duplicate = "history.duplicate",
    /// A minute or more in which nobody did anything.
    Idle = "world.idle",
    /// Something acknowledged was lost to a fault that no single replica survives.
    DeclaredLoss = "world.declared_loss",
}

const WORLD: usize = WorldMark::ALL.len();

/// What happened in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marks {
    /// The rare branches of the core that were taken.
    pub core: CoreMarks,
    world: [u64; WORLD],
    /// What the disks did.
    pub disk: DiskMarks,
}

impl Default for Marks {
    fn default() -> Self {
        Self { core: CoreMarks::NONE, world: [0; WORLD], disk: DiskMarks::default() }
    }
}

impl Marks {
    /// Counts `mark`.
    pub const fn hit(&mut self, mark: WorldMark) {
        self.count(mark, 1);
    }

    /// Counts `mark` so many times.
    pub const fn count(&mut self, mark: WorldMark, times: u64) {
        self.world[mark as usize] += times;
    }

    /// How often `mark` was hit.
    #[must_use]
    pub const fn of(&self, mark: WorldMark) -> u64 {
        self.world[mark as usize]
    }

    /// Every mark by name, with whether the run came by.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let core = Mark::ALL.into_iter().map(|mark| (mark.name(), self.core.contains(mark)));
        let world = WorldMark::ALL.iter().map(|mark| (mark.name(), self.of(*mark) > 0));
        let disk = self.disk.named().into_iter().map(|(name, hits)| (name, hits > 0));
        core.chain(world).chain(disk)
    }
}

/// The marks that no plan of today can come by, each with what it would take.
const OUT_OF_REACH: [(&str, &str); 8] = [
    ("controller.transaction_aborted", "only Apache Kafka's controllers write metadata transactions"),
    ("log_dir_move.damaged", "the disks of a cluster hold what they took"),
    (
        "log_dir_move.promoted",
        "a log directory has to fail within the milliseconds in which a replica is about to leave it; a story has it so",
    ),
    ("log_dir_move.throttled", "no plan that is drawn limits the rate; a story does"),
    (
        "log.lookup.segment_deleted",
        "a disk does what is asked of one file in that order, and a segment is not searched once its deletion began",
    ),
    (
        "quorum.fetched_damage",
        "the disks of a quorum hold what they took, and the network delivers what it was given",
    ),
    ("produce.timed_out", "producers wait for half a minute, and no disk stalls that long"),
    (
        "replica.fetched_damage",
        "the disks of a quorum hold what they took, and the network delivers what it was given",
    ),
];

/// In how many runs each mark was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    /// Adds a run.
    pub fn add(&mut self, marks: &Marks) {
        for (name, is_hit) in marks.named() {
            match self.0.get_mut(name) {
                Some(runs) => *runs += u64::from(is_hit),
                None => drop(self.0.insert(name.to_owned(), u64::from(is_hit))),
            }
        }
    }

    /// Adds what other runs came by.
    pub fn merge(&mut self, other: &Self) {
        for (name, runs) in &other.0 {
            *self.0.entry(name.clone()).or_default() += runs;
        }
    }

    /// In how many runs a mark was hit.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Why no plan comes by a mark, if that is known.
    #[must_use]
    pub fn out_of_reach(name: &str) -> Option<&'static str> {
        OUT_OF_REACH.iter().find(|(known, _)| *known == name).map(|(_, why)| *why)
    }

    /// The marks that were never hit and could have been.
    pub fn missed(&self) -> impl Iterator<Item = &str> {
        let missed = self.0.iter().filter(|(name, runs)| **runs == 0 && Self::out_of_reach(name).is_none());
        missed.map(|(name, _)| &**name)
    }

    /// Every mark with the number of runs that hit it, those that were never hit first.
    #[must_use]
    pub fn rarest_first(&self) -> Vec<(&str, u64)> {
        let mut marks: Vec<(&str, u64)> = self.0.iter().map(|(name, runs)| (&**name, *runs)).collect();
        marks.sort_by_key(|(_, runs)| *runs);
        marks
    }
}
