//! What the active controller does by itself, at intervals.
//!
//! All of it is about other nodes. A broker that is its own and only controller has nobody to fence, no leadership to give
//! back, and no one who waits for its log to go on: it sets no timer and writes nothing that it was not asked for.

use super::broker::{Broker, Committed, Timer};
use crate::museum::Exhibit;
use crate::outbox::Outbox;
use crate::time::Now;
use alloc::vec::Vec;
use sordini_protocol::records::{MetadataRecord, NoOpRecord};

/// Something that the active controller does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ControllerTask {
    /// Brokers that have been silent for too long are fenced.
    BrokerSessions,
    /// Partitions are given back to the first of their replicas.
    PreferredLeaders,
    /// Leaders are looked for where there are none.
    UncleanElections,
    /// The metadata log goes on, if only for those who follow it to see that it does.
    IdleMetadataLog,
}

impl ControllerTask {
    const ALL: [Self; 4] =
        [Self::BrokerSessions, Self::PreferredLeaders, Self::UncleanElections, Self::IdleMetadataLog];
}

impl Broker {
    /// Begins with the tasks when there are other nodes, and sees to it that the next session that expires is noticed.
    pub(super) fn arm_controller_tasks(&mut self, now: Now) {
        if !self.has_company {
            let is_sole_voter = self.quorum.voters().others(self.config.node_id).is_empty();
            if is_sole_voter && !self.controller.has_remote_brokers() {
                return;
            }
            self.has_company = true;
            for task in ControllerTask::ALL {
                self.arm_controller_task(task, now);
            }
        }
        self.arm_controller_task(ControllerTask::BrokerSessions, now);
    }

    fn arm_controller_task(&mut self, task: ControllerTask, now: Now) {
        let timer = Timer::Controller(task);
        let interval_ms = match task {
            ControllerTask::BrokerSessions => {
                match self.controller.next_session_expiry() {
                    Some(at) => self.timers.arm(timer, at),
                    None => self.timers.cancel(&timer),
                }
                return;
            }
            ControllerTask::PreferredLeaders => self.config.leader_imbalance_check_interval_ms,
            ControllerTask::UncleanElections => Some(self.config.unclean_leader_election_interval_ms),
            ControllerTask::IdleMetadataLog => self.config.metadata_max_idle_interval_ms,
        };
        if let Some(interval_ms) = interval_ms {
            self.arm_again(timer, interval_ms, now);
        }
    }

    /// Another node is the active controller.
    pub(super) fn stop_controller_tasks(&mut self) {
        self.has_company = false;
        for task in ControllerTask::ALL {
            self.timers.cancel(&Timer::Controller(task));
        }
    }

    pub(super) fn on_controller_task(&mut self, task: ControllerTask, now: Now, out: &mut Outbox) {
        match task {
            ControllerTask::BrokerSessions => {
                if self.museum.has(Exhibit::A22FenceFromOneImage) {
                    let fenced: Vec<_> =
                        core::iter::from_fn(|| self.controller.fence_next_expired(now)).collect();
                    for records in fenced {
                        self.commit(records, Committed::Nothing, now, out);
                    }
                }
                while let Some(records) = self.controller.fence_next_expired(now) {
                    self.commit(records, Committed::Nothing, now, out);
                }
            }
            ControllerTask::PreferredLeaders => {
                let records = self.controller.elect_preferred_leaders();
                self.commit(records, Committed::Nothing, now, out);
            }
            ControllerTask::UncleanElections => {
                let records = self.controller.retry_elections();
                self.commit(records, Committed::Nothing, now, out);
            }
            ControllerTask::IdleMetadataLog => {
                let records = if self.quorum.log().next_offset() == self.idle_since {
                    alloc::vec![MetadataRecord::from(NoOpRecord::default())]
                } else {
                    Vec::new()
                };
                self.commit(records, Committed::Nothing, now, out);
                self.idle_since = self.quorum.log().next_offset();
            }
        }
        self.arm_controller_task(task, now);
        self.after_quorum(now, out);
    }
}
