//! The lives of nodes: starts, steps, storage, deadlines, and how they end.

use super::machine::{Hearing, Machine, Process};
use super::network::{LinkFault, LinkFaultKind};
use super::{
    EVENT_COMPLETION, EVENT_CRASH, EVENT_DEADLINE, EVENT_POWER_LOSS, EVENT_STORAGE, Event, Failure, Phase,
    ToClient, ToNode, World,
};
use crate::client::Client;
use crate::disk::Disk;
use crate::field::Place;
use crate::marks::WorldMark;
use crate::plan::{CrashKind, DiskAfter, DiskFault, End, Fault, FileKind, Mutation, Plan, RecoveryFaultPlan};
use crate::trace::{Kind, LogEnds, hash_of};
use crate::transcript;
use bytes::Bytes;
use sordini_core::format::Beginning;
use sordini_core::ids::ConnectionId;
use sordini_core::node::{Input, Node, NodeConfig, NodeState, Output};
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StorageToken};
use sordini_core::time::Instant;

/// How soon whoever looks after a node starts it again when it has given up.
const SUPERVISOR_US: u64 = 500_000;

/// How long a process stays down whose disk was repaired.
const REPAIR_US: u64 = 500_000;

/// So many starts in a row may fail on a disk that was damaged beyond what one replica survives before the node is left
/// alone.
const START_TRIES_MAX: u32 = 3;

/// How many inputs and outputs may pass before all indexes are computed anew once more.
const INDEXES_EVERY: u64 = 4_096;

impl World {
    /// Writes what `sordini format` writes.
    pub(super) fn format(&mut self, node: usize) {
        let seed = self.field.word(Place::Incarnation, node as u64, self.now);
        // All nodes of a cluster are of that of the first.
        let is_member = self.plan.nodes[node].role.is_member();
        let own_id = || super::new_cluster_id(self.field, node, self.now);
        let cluster_id = if is_member { self.cluster_id } else { own_id() }.to_string();
        let levels = self.plan.first_levels().expect("the plan can be run");
        let beginning = Beginning { levels, voters: self.first_voters(node), ..Beginning::default() };
        let machine = &mut self.machines[node];
        let wall_ms = machine.wall_ms(self.now);
        for op in sordini_core::format::format(&machine.config, &cluster_id, &beginning, seed, wall_ms) {
            let due = machine.disk.submit(self.now, StorageToken { owner: 0, sequence: 0 }, op);
            machine.disk.complete(due.number, due.at, wall_ms);
        }
        self.quorum_checks.on_formatted(node, &self.machines[node].disk);
    }

    pub(super) fn on_start(&mut self, node: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        assert!(machine.process.is_none(), "one process at a time");
        machine.lives += 1;
        machine.is_powered = true;
        machine.last_start = self.now;
        machine.paused_until = 0;
        machine.failed_ops.clear();
        let life = machine.lives;
        let seed = self.field.word(Place::Incarnation, (node as u64) << 32 | life, self.now);
        machine.process = Some(Process {
            node: Node::new(NodeConfig { broker: machine.config.clone(), seed, museum: self.museum }),
            state: NodeState::Starting,
            started_at: self.now,
            // A machine's monotonic clock counts from its boot, whenever that was.
            clock_origin: seed % 1_000_000_000,
            running_since: None,
            completions: 0,
            faults_met: 0,
            deadline_at: None,
            indexes_checked_at: None,
            must_refuse: machine.own_disk.is_some(),
            hearing: Hearing::default(),
        });
        if machine.own_disk.is_none() {
            machine.checks.before_start(&machine.disk);
        }
        let resets = std::mem::take(&mut machine.reset_at_start);
        self.trace.tell(self.now, Kind::Start, Some(node), || format!("life {life}"));
        for (seat, connection) in resets {
            self.tell_closed(seat, connection);
        }
        self.reset_links(node);
        self.step(node, Input::Started)
    }

    pub(super) fn on_fault(&mut self, index: usize) -> Result<(), Failure> {
        self.faults_left -= 1;
        if self.phase != Phase::Plan {
            return Ok(());
        }
        let plan = std::sync::Arc::clone(&self.plan);
        let fault = &plan.faults[index].fault;
        let words = || serde_json::to_string(fault).expect("a fault can be written");
        self.trace.tell(self.now, Kind::Fault, fault.node(), words);
        let mut link = |from: End, to: End, for_us: u64, how| {
            self.network.inject(self.now, LinkFault { from, to, until: self.now + for_us, how });
        };
        match fault {
            Fault::Crash { node, how, down_us, disk, while_recovering } => {
                return self.on_planned_crash(*node, *how, *down_us, *disk, while_recovering);
            }
            Fault::Pause { node, for_us } => {
                let machine = &mut self.machines[*node];
                if machine.process.is_some() {
                    machine.paused_until = machine.paused_until.max(self.now + for_us);
                    self.marks.hit(WorldMark::Pause);
                }
            }
            Fault::PauseClient { client, for_us } => {
                if let Some(seat) = self.seats.iter_mut().find(|seat| seat.number == *client) {
                    seat.paused_until = seat.paused_until.max(self.now + for_us);
                    self.marks.hit(WorldMark::ClientPause);
                }
            }
            Fault::ClockStep { node, by_ms } => {
                self.machines[*node].clock.offset_ms += by_ms;
                self.marks.hit(if *by_ms < 0 { WorldMark::ClockBack } else { WorldMark::ClockForward });
            }
            Fault::Cut { from, to, for_us } => link(*from, *to, *for_us, LinkFaultKind::Cut),
            Fault::Drop { from, to, api, for_us } => {
                link(*from, *to, *for_us, LinkFaultKind::Drop { api: *api });
            }
            Fault::Clog { from, to, by_us, for_us } => {
                link(*from, *to, *for_us, LinkFaultKind::Clog { by_us: *by_us });
            }
            Fault::Duplicate { client, node, after_us, for_us } => {
                let how = LinkFaultKind::Duplicate { after_us: *after_us };
                link(End::Client(*client), End::Node(*node), *for_us, how);
            }
            Fault::Reset { client, node } => self.reset(*client, *node),
            Fault::ResetNodes { from, to } => self.reset_nodes(*from, *to),
            Fault::Disk { node, how } => {
                if !fault.is_survivable() && !matches!(how, DiskFault::Rot { files: FileKind::ClosedSegment })
                {
                    self.machines[*node].checks.on_deep_damage();
                }
                let life = self.machines[*node].lives;
                for due in self.machines[*node].disk.inject(self.now, *how) {
                    self.schedule(due.at, Event::StorageDue { node: *node, life, number: due.number });
                }
                let machine = &mut self.machines[*node];
                if matches!(how, DiskFault::Lose { .. }) {
                    machine.checks.on_lost_files(&machine.disk);
                }
                if machine.process.as_ref().is_some_and(|process| process.running_since.is_none())
                    && machine.own_disk.is_none()
                {
                    // What rots while a node reads its disk is damaged before it has read it, or after.
                    machine.checks.before_start(&machine.disk);
                }
            }
        }
        Ok(())
    }

    /// Resets the connections of a client to a node: both ends hear of it, the client at once.
    fn reset(&mut self, client: u64, node: usize) {
        let concerned = self.network.connections.iter().filter(|(_, connection)| {
            connection.client == client && connection.node == node && !connection.is_duplicate
        });
        let concerned: Vec<(ConnectionId, usize)> =
            concerned.map(|(id, connection)| (*id, connection.seat)).collect();
        for (connection, seat) in concerned {
            self.marks.hit(WorldMark::Reset);
            self.schedule(self.now, Event::ToNode { connection, message: ToNode::Closed });
            self.schedule(self.now, Event::ToClient { seat, connection, message: ToClient::Closed });
        }
    }

    fn on_planned_crash(
        &mut self,
        node: usize,
        how: CrashKind,
        down_us: u64,
        disk: DiskAfter,
        while_recovering: &[RecoveryFaultPlan],
    ) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        if machine.own_disk.is_some() {
            // It is about to refuse a disk that is not its own; let it.
            return Ok(());
        }
        let Some(process) = &machine.process else {
            // No process is there to die, but a machine is there to lose its power.
            if how == CrashKind::PowerLoss && machine.is_powered {
                machine.is_powered = false;
                self.marks.hit(WorldMark::PowerLossWhileStopped);
                self.lose_power(node)?;
            }
            return Ok(());
        };
        match (how, &process.state) {
            (CrashKind::Stop, NodeState::Running) if disk == DiskAfter::Same => {
                machine.down_after_stop_us = down_us;
                return self.step(node, Input::StopRequested);
            }
            (CrashKind::Stop, NodeState::Stopping) => return Ok(()),
            _ => {}
        }
        let keeps_disk = disk == DiskAfter::Empty && !self.stands_loss_of_disk(node);
        let disk = if keeps_disk { DiskAfter::Same } else { disk };
        self.machines[node].recovery_faults.extend(while_recovering);
        // A node that has not started, or is to get another disk, is not asked to stop: it is ended.
        let how = if how == CrashKind::PowerLoss { how } else { CrashKind::Kill };
        self.crash(node, how, down_us)?;
        self.change_disk(node, disk)
    }

    /// A node that has given up a log directory does not look at it again before it starts anew: its operator has repaired it.
    pub(super) fn restart_after_repair(&mut self) -> Result<(), Failure> {
        for node in 0..self.machines.len() {
            let process = self.machines[node].process.as_ref();
            if process.is_some_and(|process| process.node.failed_directories().next().is_some()) {
                self.on_planned_crash(node, CrashKind::Stop, REPAIR_US, DiskAfter::Same, &[])?;
            }
        }
        Ok(())
    }

    /// Gives a machine that is down another disk to start on.
    fn change_disk(&mut self, node: usize, disk: DiskAfter) -> Result<(), Failure> {
        let fresh = || Disk::new(self.field.of_node(node), self.plan.nodes[node].disk, self.plan.mutation);
        let other = match disk {
            DiskAfter::Same => return Ok(()),
            DiskAfter::Empty => {
                let fresh = fresh();
                self.note_ghost(node);
                let machine = &mut self.machines[node];
                // A quorum whose voters are known by their disks too promises to survive it.
                machine.has_lost_disk = self.plan.first_voters.is_none();
                let old = std::mem::replace(&mut machine.disk, fresh);
                machine.disk.remember(&old);
                let lost = machine.checks.on_empty_disk(&self.plan, node);
                let lost = lost.into_iter().map(|what| format!("{what}: the disk is another")).collect();
                // What several brokers have is not lost with one disk.
                if !self.plan.nodes[node].role.is_member() {
                    self.declare(node, lost)?;
                }
                self.quorum_checks.on_disk_gone(node, &old);
                self.note_loss(node);
                self.format(node);
                self.create_topics_again(node);
                self.marks.hit(WorldMark::EmptyDisk);
                return Ok(());
            }
            DiskAfter::Unformatted => fresh(),
            DiskAfter::Of(other) => {
                let other_machine = &self.machines[other];
                let mut copy = other_machine.own_disk.as_deref().unwrap_or(&other_machine.disk).clone();
                copy.kill(self.now, self.machines[other].wall_ms(self.now));
                copy
            }
        };
        let machine = &mut self.machines[node];
        let own = std::mem::replace(&mut machine.disk, other);
        machine.own_disk = Some(Box::new(own));
        Ok(())
    }

    fn create_topics_again(&mut self, node: usize) {
        for seat in 0..self.seats.len() {
            if self.seats[seat].number == Plan::admin_of(node)
                && let Client::Admin(admin) = &mut self.seats[seat].client
            {
                admin.create_everything_again();
                self.wake_later(seat);
            }
        }
    }

    pub(super) fn crash(&mut self, node: usize, how: CrashKind, down_us: u64) -> Result<(), Failure> {
        let now = self.now;
        let machine = &mut self.machines[node];
        let process = machine.process.take().expect("only a process that is there crashes");
        let event = self.trace.event(now, EVENT_CRASH);
        event.word(node as u64);
        event.word(how as u64);
        self.trace.tell(now, Kind::End, Some(node), || format!("{how:?}"));
        match process.state {
            NodeState::Starting | NodeState::Joining => {
                let mark = WorldMark::CrashInRecovery;
                self.marks.hit(mark);
                if machine.checks.is_unverified() {
                    self.marks.hit(WorldMark::SecondCrashInRecovery);
                }
            }
            NodeState::Stopping => self.marks.hit(WorldMark::CrashWhileStopping),
            NodeState::Running | NodeState::Stopped | NodeState::Failed(_) => {}
        }
        if machine.paused_until > now {
            self.marks.hit(WorldMark::CrashWhilePaused);
            machine.paused_until = 0;
        }
        match how {
            CrashKind::PowerLoss => {
                machine.is_powered = false;
                self.lose_power(node)?;
            }
            CrashKind::Kill | CrashKind::Stop => {
                self.marks.hit(WorldMark::Kill);
                machine.checks.before_crash(how, &machine.disk)?;
                machine.crash_disk(how, now);
            }
        }
        self.quorum_checks.on_end(node, self.machines[node].its_own_disk());
        self.note_end(node);
        self.forget_connections(node);
        self.schedule(now + down_us, Event::Start { node });
        Ok(())
    }

    fn lose_power(&mut self, node: usize) -> Result<(), Failure> {
        self.trace.event(self.now, EVENT_POWER_LOSS).word(node as u64);
        self.trace.tell(self.now, Kind::End, Some(node), || "no power".to_owned());
        self.marks.hit(WorldMark::PowerLoss);
        let machine = &mut self.machines[node];
        machine.checks.before_crash(CrashKind::PowerLoss, &machine.disk)?;
        machine.crash_disk(CrashKind::PowerLoss, self.now);
        self.quorum_checks.on_end(node, self.machines[node].its_own_disk());
        self.note_loss(node);
        Ok(())
    }

    /// The process has ended: its connections end, at once where a kernel is left to say so.
    fn forget_connections(&mut self, node: usize) {
        let gone = self.network.connections.extract_if(.., |_, connection| connection.node == node);
        let gone: Vec<_> =
            gone.map(|(id, connection)| (id, connection.seat, connection.is_duplicate)).collect();
        for (id, seat, is_duplicate) in gone {
            if !is_duplicate {
                self.lose_connection(node, seat, id);
            }
        }
        self.forget_links(node);
    }

    pub(super) fn lose_connection(&mut self, node: usize, seat: usize, connection: ConnectionId) {
        if self.machines[node].is_powered {
            self.tell_closed(seat, connection);
        } else {
            self.machines[node].reset_at_start.push((seat, connection));
        }
    }

    fn tell_closed(&mut self, seat: usize, connection: ConnectionId) {
        let Some(client) = self.seats.get(seat).map(|seat| seat.number) else { return };
        let at = self.now + self.network.delay_to_client(client, self.now);
        self.schedule(at, Event::ToClient { seat, connection, message: ToClient::Closed });
    }

    fn on_stopped(&mut self, node: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        machine.process = None;
        self.marks.hit(WorldMark::CleanStop);
        // Whatever is still under way when the process ends may be lost.
        machine.crash_disk(CrashKind::Stop, self.now);
        self.trace.tell(self.now, Kind::End, Some(node), || "stopped".to_owned());
        let machine = &mut self.machines[node];
        machine.checks.on_stopped(&machine.disk)?;
        self.quorum_checks.on_end(node, machine.its_own_disk());
        let down_us = machine.down_after_stop_us;
        self.note_end(node);
        self.forget_connections(node);
        if self.phase == Phase::Plan {
            self.schedule(self.now + down_us, Event::Start { node });
        }
        Ok(())
    }

    /// The node cannot go on. It may not say so without a reason that the plan gave it.
    fn on_gave_up(&mut self, node: usize, why: &str) -> Result<(), Failure> {
        let now = self.now;
        let is_damaged = self.is_damaged(node);
        let machine = &mut self.machines[node];
        let process = machine.process.as_ref().expect("a process gave up");
        // A fault that it has not heard of may have others for its consequence.
        let faults_met = process.faults_met + machine.failed_ops.len() as u64;
        let must_refuse = process.must_refuse;
        let is_starting = process.running_since.is_none();
        self.trace.tell(now, Kind::State, Some(node), || format!("gave up: {why}"));
        if let Some(own) = machine.own_disk.take() {
            assert!(must_refuse, "a disk is given back only to a process that was to refuse another");
            machine.process = None;
            machine.disk = *own;
            self.marks.hit(WorldMark::RefusedDisk);
            self.forget_connections(node);
            self.schedule(now + SUPERVISOR_US, Event::Start { node });
            return Ok(());
        }
        if faults_met == 0 && !is_damaged {
            return Err(self.violation("node_lives", format!("node {node} gave up: {why}")));
        }
        self.marks.hit(if is_starting { WorldMark::GaveUpInRecovery } else { WorldMark::GaveUp });
        let machine = &mut self.machines[node];
        machine.gave_up = if is_starting { machine.gave_up + 1 } else { 1 };
        if faults_met == 0 && machine.gave_up > START_TRIES_MAX {
            // It cannot be started on what is left, and says why; its operator gives it a new disk.
            let sentence = format!("node {node} does not start: {why}");
            self.declare(node, vec![sentence])?;
            self.crash(node, CrashKind::Kill, SUPERVISOR_US)?;
            return self.change_disk(node, DiskAfter::Empty);
        }
        self.crash(node, CrashKind::Kill, SUPERVISOR_US)
    }

    /// Whether the disk of a node was damaged beyond what one replica survives.
    pub(super) fn is_damaged(&self, node: usize) -> bool {
        self.machines[node].disk.is_damaged()
    }

    /// Whether something befell a node's disk that its configuration does not promise to survive.
    pub(super) fn is_beyond_promises(&self, node: usize) -> bool {
        self.is_damaged(node) || self.machines[node].has_lost_disk
    }

    /// Notes what was lost to what no single replica survives: nothing may be, if the plan keeps within its budget.
    pub(super) fn declare(&mut self, node: usize, losses: Vec<String>) -> Result<(), Failure> {
        if let Some(loss) = losses.first().filter(|_| self.plan.is_within_budget()) {
            let sentence =
                format!("node {node} lost {loss}; and nothing befell it that it does not promise to survive");
            return Err(self.violation("fault_budget", sentence));
        }
        for loss in losses {
            self.marks.hit(WorldMark::DeclaredLoss);
            self.trace.tell(self.now, Kind::Loss, Some(node), || format!("lost {loss}"));
            self.losses.push(format!("at {} us node {node} lost {loss}", self.now));
        }
        Ok(())
    }

    /// Gives a node an input, carries out what it wants done, and looks at what has become of it.
    pub(super) fn step(&mut self, node: usize, input: Input) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        let Some(process) = &machine.process else { return Ok(()) };
        let now = machine.clocks(process, self.now);
        machine.checks.on_clock(now.wall_ms);
        let process = machine.process.as_mut().expect("it was just there");
        let mut outbox = std::mem::take(&mut self.outbox.0);
        process.node.step(now, input, &mut outbox);
        self.marks.core = self.marks.core.union(outbox.take_marks());
        for output in outbox.drain() {
            self.carry_out(node, output)?;
        }
        self.outbox.0 = outbox;
        self.after_step(node)
    }

    fn after_step(&mut self, node: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        let process = machine.process.as_mut().expect("a step does not end the process");
        let state = process.node.state();
        for dir in process.node.failed_directories() {
            machine.checks.on_given_up(dir);
        }
        if state != process.state {
            self.trace.tell(self.now, Kind::State, Some(node), || format!("{state:?}"));
            process.state = state.clone();
            match state {
                NodeState::Starting => {}
                NodeState::Joining => {
                    let shortened = machine.checks.on_joining(&machine.disk)?;
                    self.marks.count(WorldMark::RecoveryWithLoss, shortened);
                }
                NodeState::Stopping => machine.checks.on_stopping(),
                NodeState::Running => {
                    if process.must_refuse {
                        let sentence = format!("node {node} runs on a disk that is not its own");
                        return Err(self.violation("own_disk", sentence));
                    }
                    process.running_since = Some(self.now);
                    machine.gave_up = 0;
                    // A recovery that is over is not disturbed any more.
                    machine.recovery_faults.clear();
                    let shortened = machine.checks.on_running(&machine.disk)?;
                    machine.has_lost_records |= shortened > 0;
                    self.marks.count(WorldMark::RecoveryWithLoss, shortened);
                    let losses = machine.checks.take_losses();
                    self.declare(node, losses)?;
                    if self.is_damaged(node) {
                        // The damage may have taken topics.
                        self.create_topics_again(node);
                    }
                }
                NodeState::Stopped => return self.on_stopped(node),
                NodeState::Failed(why) => return self.on_gave_up(node, &why),
            }
        }
        let Machine { process, checks, disk, has_lost_records, .. } = &mut self.machines[node];
        let process = process.as_mut().expect("it has not stopped");
        if process.state == NodeState::Joining {
            for view in process.node.partitions() {
                let shortened = checks.on_opened(view.dir, disk)?;
                *has_lost_records |= shortened > 0;
                self.marks.count(WorldMark::RecoveryWithLoss, shortened);
            }
        }
        let mut news = Vec::new();
        if process.running_since.is_some() {
            let views = process.news();
            news = self.replication_checks.news(node, &views);
            checks.on_view(views.into_iter(), disk)?;
            if self.trace.tells(Kind::Log) {
                self.tell_logs(node);
            }
        }
        self.look_at_voter(node)?;
        self.look_at_replicas(node, news)?;
        self.arm_deadline(node);
        Ok(())
    }

    /// Looks at what a member of the cluster says of its part in the quorum.
    fn look_at_voter(&mut self, node: usize) -> Result<(), Failure> {
        let machine = &self.machines[node];
        if !self.plan.nodes[node].role.is_member() || machine.own_disk.is_some() {
            return Ok(());
        }
        let Some((process, moment)) = machine.process.as_ref().zip(machine.moment(node, self.now)) else {
            return Ok(());
        };
        let Some(view) = process.node.quorum() else { return Ok(()) };
        let machines = &self.machines;
        self.quorum_checks.on_view(moment, &view, |node| machines[node].its_own_disk())?;
        if self.trace.tells(Kind::Quorum) {
            let text = transcript::voter(&view);
            let told = &mut self.machines[node].told_voter;
            if *told != text {
                told.clone_from(&text);
                self.trace.tell(self.now, Kind::Quorum, Some(node), || text);
            }
        }
        Ok(())
    }

    /// Tells which logs have moved, and how.
    fn tell_logs(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        let Some(process) = &machine.process else { return };
        for view in process.node.partitions() {
            let ends = LogEnds {
                dir: view.dir.to_owned(),
                log_start: view.log_start.0,
                high_watermark: view.high_watermark.0,
                written_end: view.written_end.0,
                flushed_end: view.flushed_end.0,
                log_end: view.log_end.0,
            };
            let before = machine.told.insert(ends.dir.clone(), ends.clone());
            if before.as_ref() == Some(&ends) {
                continue;
            }
            let before = before.unwrap_or_default();
            let moved = [
                ("log start", before.log_start, ends.log_start),
                ("high watermark", before.high_watermark, ends.high_watermark),
                ("written", before.written_end, ends.written_end),
                ("flushed", before.flushed_end, ends.flushed_end),
                ("log end", before.log_end, ends.log_end),
            ];
            let moved = moved.iter().filter(|(_, from, to)| from != to);
            let moved: Vec<String> = moved.map(|(what, from, to)| format!("{what} {from} to {to}")).collect();
            if moved.is_empty() {
                // A log that is new and empty.
                continue;
            }
            self.trace.tell_log(self.now, node, format!("{}: {}", ends.dir, moved.join(", ")), ends);
        }
    }

    fn arm_deadline(&mut self, node: usize) {
        let machine = &self.machines[node];
        let Some(process) = &machine.process else { return };
        let Some(deadline) = process.node.next_deadline() else { return };
        let at = machine.virtual_time(process, deadline, self.now);
        let life = machine.lives;
        let process = self.machines[node].process.as_mut().expect("it was just there");
        if process.deadline_at.is_none_or(|armed| at < armed) {
            process.deadline_at = Some(at);
            self.schedule(at, Event::Deadline { node, life });
        }
    }

    pub(super) fn on_deadline(&mut self, node: usize, life: u64) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        if life != machine.lives {
            return Ok(());
        }
        let Some(process) = &mut machine.process else { return Ok(()) };
        // A pause may have made it late; a deadline that was armed later for an earlier time takes its place.
        if process.deadline_at.is_none_or(|armed| armed > self.now) {
            return Ok(());
        }
        process.deadline_at = None;
        let process = machine.process.as_ref().expect("it was just there");
        let Instant(shown) = machine.clocks(process, self.now).monotonic;
        if process.node.next_deadline().is_none_or(|deadline| deadline.0 > shown) {
            self.arm_deadline(node);
            return Ok(());
        }
        self.trace.event(self.now, EVENT_DEADLINE).word(node as u64);
        self.step(node, Input::DeadlinePassed)
    }

    // Storage.

    pub(super) fn submit(
        &mut self,
        node: usize,
        token: StorageToken,
        mut op: StorageOp,
    ) -> Result<(), Failure> {
        let hash = self.trace.event(self.now, EVENT_STORAGE);
        hash.word(u64::from(token.owner));
        hash.word(token.sequence);
        transcript::hash_op(hash, &op);
        self.trace.tell(self.now, Kind::Storage, Some(node), || format!("{token:?} {}", transcript::op(&op)));
        let machine = &mut self.machines[node];
        if machine.own_disk.is_none() {
            machine.checks.on_storage_op(&op, &machine.disk)?;
            self.quorum_checks.on_storage_op(node, &op, &machine.disk)?;
        }
        if let Some(process) = &mut machine.process {
            process.hearing.note(&op);
        }
        spoil(self.plan.mutation, &mut op);
        let is_log_append = matches!(&op, StorageOp::Append { file, .. } if file.as_str().ends_with(".log"));
        let due = machine.disk.submit(self.now, token, op);
        if is_log_append && self.plan.mutation == Some(Mutation::AppendsAnsweredEarly) {
            machine.answered_early.insert(token);
            let (life, result) = (machine.lives, Ok(Completion::Done));
            self.schedule(self.now, Event::Completion { node, life, token, result });
        }
        let life = self.machines[node].lives;
        self.schedule(due.at, Event::StorageDue { node, life, number: due.number });
        Ok(())
    }

    pub(super) fn on_storage_due(&mut self, node: usize, life: u64, number: u64) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        // What a process asked for that is gone was settled when it ended.
        if life != machine.lives {
            return Ok(());
        }
        let wall_ms = machine.wall_ms(self.now);
        let Some((token, result)) = machine.disk.complete(number, self.now, wall_ms) else { return Ok(()) };
        if let Some(op) = machine.disk.take_failed() {
            machine.checks.on_failed(&op);
            machine.failed_ops.insert(token, op);
        }
        if machine.answered_early.remove(&token) {
            return Ok(());
        }
        let wait = self.plan.nodes[node].disk.answer_us;
        let wait = if wait.high == 0 {
            0
        } else {
            let device = hash_of(&[token.owner.to_le_bytes(), [0; 4]].concat());
            self.field.of_node(node).between(Place::CompletionDelay, device, self.now, wait.low, wait.high)
        };
        // A process that is paused hears of nothing, however soon it is there.
        if wait == 0 && machine.paused_until <= self.now {
            return self.on_completion(node, life, token, result);
        }
        self.schedule(self.now + wait, Event::Completion { node, life, token, result });
        Ok(())
    }

    pub(super) fn on_completion(
        &mut self,
        node: usize,
        life: u64,
        token: StorageToken,
        result: Result<Completion, StorageFault>,
    ) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        if life != machine.lives {
            return Ok(());
        }
        let Some(process) = &mut machine.process else { return Ok(()) };
        process.completions += 1;
        let (completions, is_starting) = (process.completions, process.is_starting());
        if let Err(fault) = result
            && let Some(op) = machine.failed_ops.remove(&token)
        {
            process.faults_met += 1;
            machine.checks.on_storage_fault(&op, fault);
        }
        if self.plan.mutation == Some(Mutation::CompletionSwallowed)
            && self.faults_left == 0
            && machine.recovery_faults.is_empty()
            && completions == 10
        {
            return Ok(());
        }
        let hash = self.trace.event(self.now, EVENT_COMPLETION);
        hash.word(u64::from(token.owner));
        hash.word(token.sequence);
        transcript::hash_completion(hash, &result);
        self.trace.tell(self.now, Kind::Completion, Some(node), || transcript::completion(token, &result));
        self.step(node, Input::StorageCompleted { token, result })?;
        self.maybe_check_indexes(node)?;
        let machine = &mut self.machines[node];
        if is_starting
            && machine.own_disk.is_none()
            && let Some(fault) = machine.recovery_faults.front().copied()
            && completions >= u64::from(fault.after_completions)
            && machine.process.as_ref().is_some_and(Process::is_starting)
        {
            machine.recovery_faults.pop_front();
            let how = if fault.how == CrashKind::PowerLoss { fault.how } else { CrashKind::Kill };
            return self.crash(node, how, fault.down_us);
        }
        Ok(())
    }

    /// Looks at all indexes, once in every life and then every so many events, in the first moment in which nothing is under
    /// way on the disk, a failure that the node has not heard of included.
    fn maybe_check_indexes(&mut self, node: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[node];
        let Some(process) = &mut machine.process else { return Ok(()) };
        if process.state == NodeState::Running
            && process.indexes_checked_at.is_none_or(|at| self.trace.events() >= at + INDEXES_EVERY)
            && machine.disk.pending().next().is_none()
            && machine.failed_ops.is_empty()
        {
            process.indexes_checked_at = Some(self.trace.events());
            machine.checks.on_quiet_disk(&machine.disk)?;
        }
        Ok(())
    }

    // Outputs.

    fn carry_out(&mut self, node: usize, output: Output) -> Result<(), Failure> {
        match output {
            Output::Storage { token, op } => self.submit(node, token, op),
            Output::Respond { connection, request, version, body } => {
                self.on_respond(node, connection, request, version, body)
            }
            Output::NoResponse { connection, request } => self.on_no_response(node, connection, request),
            Output::Close { connection } => {
                self.on_close(node, connection);
                Ok(())
            }
            Output::Ask { peer, request, version, body } => self.on_ask(node, peer, request, version, body),
            Output::HangUp { peer } => {
                self.on_hang_up(node, &peer);
                Ok(())
            }
        }
    }
}

/// Does to an operation what the plan's mutation says.
fn spoil(mutation: Option<Mutation>, op: &mut StorageOp) {
    let suffix = match mutation {
        Some(Mutation::IndexEntriesSpoiled) => ".index",
        Some(Mutation::TimeIndexEntriesSpoiled) => ".timeindex",
        Some(Mutation::AppendPanics) => ".log",
        _ => return,
    };
    if let StorageOp::Append { file, bytes: [first, _], .. } = op
        && file.as_str().ends_with(suffix)
        && !first.is_empty()
    {
        assert_ne!(mutation, Some(Mutation::AppendPanics), "an append to {file}, as the plan asks");
        let mut entry = first.to_vec();
        *entry.last_mut().expect("it is not empty") ^= 1;
        *first = Bytes::from(entry);
    }
}
