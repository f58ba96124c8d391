//! A machine: a disk, clocks, and one life after another of the process that runs on it.

use super::wall_ms;
use crate::check::{Checks, Moment};
use crate::disk::Disk;
use crate::plan::{ClockPlan, CrashKind, NodePlan, RecoveryFaultPlan};
use crate::trace::LogEnds;
use sordini_core::config::BrokerConfig;
use sordini_core::ids::{ConnectionId, LeaderEpoch, Offset, TopicIdPartition};
use sordini_core::node::{Node, NodeState, PartitionView};
use sordini_core::storage_op::{StorageOp, StorageToken};
use sordini_core::time::{Instant, Now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// A machine of the plan.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) config: BrokerConfig,
    pub(super) disk: Disk,
    /// The disk that belongs to the machine, while it runs on another.
    pub(super) own_disk: Option<Box<Disk>>,
    /// Whether it was ever given a new disk in the place of its own.
    pub(super) has_lost_disk: bool,
    /// A recovery found less than had been appended.
    pub(super) has_lost_records: bool,
    pub(super) checks: Checks,
    /// The process, if one is there.
    pub(super) process: Option<Process>,
    /// How many lives its process has had.
    pub(super) lives: u64,
    pub(super) clock: ClockPlan,
    pub(super) is_powered: bool,
    /// Until when the process does nothing.
    pub(super) paused_until: u64,
    /// What befalls the next starts, in order.
    pub(super) recovery_faults: VecDeque<RecoveryFaultPlan>,
    /// How long the process stays down after the stop that is under way.
    pub(super) down_after_stop_us: u64,
    pub(super) last_start: u64,
    /// Clients that hear that their connections are gone only when the machine has its power again.
    pub(super) reset_at_start: Vec<(usize, ConnectionId)>,
    /// Links of which the other ends hear only when the machine has its power again that they are gone.
    pub(super) links_reset_at_start: Vec<ConnectionId>,
    /// Appends that were answered before they took effect, by a mutation.
    pub(super) answered_early: BTreeSet<StorageToken>,
    /// Operations that failed by a fault of the plan and of which the process has not heard.
    pub(super) failed_ops: BTreeMap<StorageToken, StorageOp>,
    /// How often in a row the process gave up because of what its disk did.
    pub(super) gave_up: u32,
    /// What was last told of each log, by directory.
    pub(super) told: BTreeMap<String, LogEnds>,
    /// What was last told of its part in the quorum.
    pub(super) told_voter: String,
}

/// One life of a process.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) node: Node,
    pub(super) state: NodeState,
    /// The virtual time at which its clock showed `clock_origin`.
    pub(super) started_at: u64,
    pub(super) clock_origin: u64,
    pub(super) running_since: Option<u64>,
    /// Storage operations that were answered to it.
    pub(super) completions: u64,
    /// Storage operations that failed in this life by a fault of the plan.
    pub(super) faults_met: u64,
    /// For when a deadline event is in the queue, the earliest.
    pub(super) deadline_at: Option<u64>,
    /// After how many events of the world indexes were looked at last since it runs.
    pub(super) indexes_checked_at: Option<u64>,
    /// Why it must refuse its disk, if the disk is not its own.
    pub(super) must_refuse: bool,
    pub(super) hearing: Hearing,
}

/// What a node said of its partitions when they were last looked at, and what has happened to them since.
#[derive(Clone, Debug, Default)]
pub(super) struct Hearing {
    heard: Vec<Heard>,
    /// Segments that it has asked its disk to append to or to cut.
    written: Vec<Arc<str>>,
    /// Whether all are to be looked at again, whatever it says.
    pub(super) is_all_new: bool,
}

impl Hearing {
    /// The node asks its disk for something.
    pub(super) fn note(&mut self, op: &StorageOp) {
        match op {
            StorageOp::Append { file, .. } | StorageOp::Truncate { file, .. } => {
                if file.as_str().ends_with(".log") {
                    self.written.push(file.shared());
                }
            }
            StorageOp::Replace { .. } | StorageOp::Rename { .. } | StorageOp::Remove { .. } => {
                self.is_all_new = true;
            }
            StorageOp::Sync { .. } | StorageOp::Read { .. } | StorageOp::List { .. } => {}
        }
    }
}

/// What a node says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    id: TopicIdPartition,
    leads: Option<LeaderEpoch>,
    leader_epoch: LeaderEpoch,
    /// Log start, high watermark, written, flushed and log end.
    ends: [Offset; 5],
}

impl Heard {
    const fn of(view: &PartitionView<'_>) -> Self {
        let ends = [view.log_start, view.high_watermark, view.written_end, view.flushed_end, view.log_end];
        Self { id: view.id, leads: view.leads, leader_epoch: view.leader_epoch, ends }
    }
}

impl Process {
    /// Whether it has not got so far that it serves clients.
    pub(super) const fn is_starting(&self) -> bool {
        matches!(self.state, NodeState::Starting | NodeState::Joining)
    }

    /// Those of its partitions of which it says something else than when they were last looked at, or whose files it has asked its
    /// disk to change since. Most of what happens to a node changes neither of most, and what was true then is true still.
    pub(super) fn news(&mut self) -> Vec<PartitionView<'_>> {
        let Hearing { heard, written, is_all_new } = &mut self.hearing;
        let is_written = |dir: &str| {
            let is_in = |file: &Arc<str>| file.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
            written.iter().any(is_in)
        };
        let mut news = Vec::new();
        let mut count = 0;
        for view in self.node.partitions() {
            let said = Heard::of(&view);
            match heard.get_mut(count) {
                Some(before) if *before == said && !*is_all_new && !is_written(view.dir) => {}
                Some(before) => {
                    *before = said;
                    news.push(view);
                }
                None => {
                    heard.push(said);
                    news.push(view);
                }
            }
            count += 1;
        }
        heard.truncate(count);
        written.clear();
        *is_all_new = false;
        news
    }
}

impl Machine {
    pub(super) fn new(plan: &NodePlan, config: BrokerConfig, disk: Disk, checks: Checks) -> Self {
        Self {
            config,
            disk,
            own_disk: None,
            has_lost_disk: false,
            has_lost_records: false,
            checks,
            process: None,
            lives: 0,
            clock: plan.clock,
            is_powered: true,
            paused_until: 0,
            recovery_faults: VecDeque::new(),
            down_after_stop_us: 0,
            last_start: 0,
            reset_at_start: Vec::new(),
            links_reset_at_start: Vec::new(),
            answered_early: BTreeSet::new(),
            failed_ops: BTreeMap::new(),
            gave_up: 0,
            told: BTreeMap::new(),
            told_voter: String::new(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.state == NodeState::Running)
    }

    /// Whether the process of this life is there.
    pub(super) const fn is_in_life(&self, life: u64) -> bool {
        self.process.is_some() && self.lives == life
    }

    /// The wall clock of the machine at a virtual time, in milliseconds.
    pub(super) fn wall_ms(&self, now: u64) -> i64 {
        wall_ms(self.drifted(now)) + self.clock.offset_ms
    }

    /// How much of its own time passes in a span of virtual time.
    fn drifted(&self, span: u64) -> u64 {
        if self.clock.drift_ppm == 0 {
            return span;
        }
        let rate = u128::try_from(1_000_000 + i64::from(self.clock.drift_ppm)).expect("clocks go forward");
        u64::try_from(u128::from(span) * rate / 1_000_000).expect("a run ends within the age of the universe")
    }

    /// The first virtual span in which at least `own` of its own time has passed.
    fn undrifted(&self, own: u64) -> u64 {
        if self.clock.drift_ppm == 0 {
            return own;
        }
        let rate = u128::try_from(1_000_000 + i64::from(self.clock.drift_ppm)).expect("clocks go forward");
        u64::try_from((u128::from(own) * 1_000_000).div_ceil(rate))
            .expect("a run ends within the age of the universe")
    }

    /// What the clocks of the machine show to a process of it.
    pub(super) fn clocks(&self, process: &Process, now: u64) -> Now {
        let since_start = self.drifted(now - process.started_at);
        Now { monotonic: Instant(process.clock_origin + since_start), wall_ms: self.wall_ms(now) }
    }

    /// The disk that belongs to it, whatever it runs on.
    pub(super) fn its_own_disk(&self) -> &Disk {
        self.own_disk.as_deref().unwrap_or(&self.disk)
    }

    /// This moment, as the checks of a quorum have it, if a process is there.
    pub(super) fn moment(&self, node: usize, now: u64) -> Option<Moment> {
        let process = self.process.as_ref()?;
        let clock = |at| self.clocks(process, at).monotonic;
        let paused_until = clock(self.paused_until.clamp(process.started_at, now));
        Some(Moment { node, life: self.lives, clock: clock(now), paused_until })
    }

    /// The virtual time at which the process's clock shows `deadline`, not before `now`.
    pub(super) fn virtual_time(&self, process: &Process, deadline: Instant, now: u64) -> u64 {
        let own = deadline.0.saturating_sub(process.clock_origin);
        process.started_at.saturating_add(self.undrifted(own)).max(now)
    }

    /// The process dies, or the machine loses power, as the disk knows it.
    pub(super) fn crash_disk(&mut self, how: CrashKind, now: u64) {
        let wall_ms = self.wall_ms(now);
        match how {
            CrashKind::PowerLoss => self.disk.lose_power(now, wall_ms),
            CrashKind::Kill | CrashKind::Stop => self.disk.kill(now, wall_ms),
        }
    }
}
