//! In which log directory this node's replicas lie, as far as the cluster says something else: it does when a disk was replaced,
//! and of a new replica where a node has several directories (KIP-858).

use super::broker::{Broker, dir_index};
use super::lifecycle::Lifecycle;
use super::to_controller::Question;
use crate::controller::image::MetadataImage;
use crate::ids::{NodeId, TopicIdPartition};
use crate::mark::Mark;
use crate::outbox::Outbox;
use crate::time::Now;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use sordini_protocol::error_code::ErrorCode;
use sordini_protocol::messages::assign_replicas_to_dirs_request::{DirectoryData, PartitionData, TopicData};
use sordini_protocol::messages::{AssignReplicasToDirsRequest, AssignReplicasToDirsResponse};
use sordini_protocol::request::AnyRequest;
use sordini_protocol::wire::Uuid;

/// Of how many replicas one request tells at most, as in Kafka: its records have to go into one batch.
const REPLICAS_PER_REQUEST_MAX: usize = 2_250;

/// What the controller is to be told of directories.
#[derive(Clone, Debug, Default)]
pub(super) struct Assignments {
    /// The replicas of which the cluster says that they lie elsewhere.
    untold: BTreeSet<TopicIdPartition>,
    /// Those of them of which the request tells that has no answer yet, with the directories that it names.
    asked: Option<Vec<(TopicIdPartition, Uuid)>>,
    /// The directory that it was told last of a replica, until the cluster says so.
    last: BTreeMap<TopicIdPartition, Uuid>,
}

impl Assignments {
    /// A replica is not on this node any more.
    pub(super) fn forget(&mut self, id: TopicIdPartition) {
        self.untold.remove(&id);
        self.last.remove(&id);
    }

    /// There is no answer, and what was told may or may not be known.
    pub(super) fn on_no_answer(&mut self) {
        let asked = self.asked.take().unwrap_or_default();
        // Of a replica that is forgotten nothing is to be told.
        self.untold.extend(asked.into_iter().map(|(id, _)| id).filter(|id| self.last.contains_key(id)));
    }
}

impl Broker {
    /// In which log directory this node's replica of a partition lies, as far as the cluster knows. Before metadata.version 17 it
    /// says nothing.
    pub(super) fn said_directory(&self, id: TopicIdPartition) -> Option<Uuid> {
        said_directory(&self.image, self.config.node_id, id)
    }

    /// Whether the cluster says where a replica lies, and the controller has been told of nothing else since.
    pub(super) fn is_directory_told(&self, id: TopicIdPartition) -> bool {
        let is_being_told = self.assignments.asked.iter().flatten().any(|(asked, _)| *asked == id);
        let Assignments { untold, last, .. } = &self.assignments;
        !is_being_told && !untold.contains(&id) && !last.contains_key(&id)
    }

    /// Compares where a replica lies with what the cluster says.
    pub(super) fn compare_directory(&mut self, id: TopicIdPartition) {
        let said = self.said_directory(id);
        let is = self.directory_of(id);
        // That a directory failed, a heartbeat tells.
        if self.assignments.last.get(&id) == said.as_ref() {
            self.assignments.last.remove(&id);
        }
        // What was told last, and is not known here yet, may be of a move that was given up.
        let known = self.assignments.last.get(&id).copied().or(said);
        let is_elsewhere = said.is_some() && is.is_some() && (said != is || known != is);
        if is_elsewhere {
            self.assignments.untold.insert(id);
        } else {
            self.assignments.untold.remove(&id);
        }
    }

    /// The id of the log directory in which a replica lies, also of one that has failed since: that the replica is gone with it,
    /// the controller sees by that. One that moves lies where it goes from the moment when that can be borne.
    fn directory_of(&self, id: TopicIdPartition) -> Option<Uuid> {
        let owner = *self.owners.get(&id)?;
        let partition = self.partitions.get(&owner)?;
        let copy = partition.future().filter(|_| self.log_dir_moves.is_told_of(owner));
        let log = copy.map_or_else(|| partition.log(), |copy| &copy.log);
        Some(self.log_dirs[dir_index(log.dir())?].id)
    }

    /// Whether there is something to tell, and nobody is being told. Of a broker that is not registered nothing is heard.
    pub(super) fn has_directories_to_tell(&self) -> bool {
        let is_registered = self.lifecycle.as_ref().is_some_and(Lifecycle::is_registered);
        is_registered && !self.assignments.untold.is_empty() && self.assignments.asked.is_none()
    }

    /// Tells the active controller where replicas lie.
    pub(super) fn tell_directories(&mut self, now: Now, out: &mut Outbox) {
        if !self.has_directories_to_tell() {
            return;
        }
        let mut told = Vec::new();
        let mut directories: BTreeMap<Uuid, BTreeMap<Uuid, Vec<PartitionData>>> = BTreeMap::new();
        for id in self.assignments.untold.iter().take(REPLICAS_PER_REQUEST_MAX) {
            let Some(directory) = self.directory_of(*id) else { continue };
            told.push((*id, directory));
            self.assignments.last.insert(*id, directory);
            let partition = PartitionData { partition_index: id.partition, ..PartitionData::default() };
            directories.entry(directory).or_default().entry(id.topic).or_default().push(partition);
        }
        let topic = |(topic_id, partitions)| TopicData { topic_id, partitions, ..TopicData::default() };
        let directory = |(id, topics): (Uuid, BTreeMap<_, _>)| DirectoryData {
            id,
            topics: topics.into_iter().map(topic).collect(),
            ..DirectoryData::default()
        };
        let request = AnyRequest::AssignReplicasToDirs(AssignReplicasToDirsRequest {
            broker_id: self.config.node_id.0,
            broker_epoch: self.broker_epoch.0,
            directories: directories.into_iter().map(directory).collect(),
            ..AssignReplicasToDirsRequest::default()
        });
        self.assignments.asked = Some(told);
        if !self.ask_controller(Question::Directories, request, now, out) {
            self.on_no_answer(Question::Directories, now);
        }
    }

    /// The controller knows where the replicas lie that it was told of, or has no such replicas.
    pub(super) fn on_directories(
        &mut self,
        response: &AssignReplicasToDirsResponse,
        now: Now,
        out: &mut Outbox,
    ) {
        if response.error_code != ErrorCode::None.as_i16() {
            return self.on_no_answer(Question::Directories, now);
        }
        out.sometimes(Mark::BrokerDirectoriesTold);
        for (id, told) in self.assignments.asked.take().unwrap_or_default() {
            // It may lie elsewhere since then.
            if self.directory_of(id) == Some(told) {
                self.assignments.untold.remove(&id);
            } else if self.assignments.last.contains_key(&id) {
                self.assignments.untold.insert(id);
            }
            if self.said_directory(id) == Some(told) {
                self.assignments.last.remove(&id);
            }
        }
        self.tell_directories(now, out);
        self.pursue_moves(now, out);
    }
}

/// In which log directory a node's replica lies, as far as the cluster knows.
pub(super) fn said_directory(image: &MetadataImage, node: NodeId, id: TopicIdPartition) -> Option<Uuid> {
    let state = image.partition(id)?;
    let at = state.replicas.iter().position(|replica| *replica == node)?;
    state.directories.get(at).copied()
}
