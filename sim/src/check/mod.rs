//! What must hold, one property per file. The checks see what an observer of the whole world sees: everything the node
//! asked of its disk, what the disk made of it, and everything the node told its clients. They never ask the node.

mod acknowledged_data;
mod consumer_reads;
mod high_watermark;
mod index_recomputation;
mod log_prefix;
mod no_duplicates;
mod producer_ids;
mod topics;
mod truth;
mod truthful_view;

pub use index_recomputation::{Segment, recompute};
pub use truth::{LogTruth, TrueBatch};

use crate::disk::Disk;
use crate::plan::{FaultKind, Plan};
use bytes::Bytes;
use sordini_core::node::PartitionView;
use sordini_core::storage_op::StorageOp;
use sordini_protocol::messages::{FetchResponse, InitProducerIdResponse, MetadataResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A property that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The property's name, which is that of its file.
    pub property: &'static str,
    /// What happened, with the facts in it.
    pub sentence: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.property, self.sentence)
    }
}

/// A batch that a client sent and that the node acknowledged.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// Index of the topic in the plan.
    pub topic: usize,
    /// The partition.
    pub partition: i32,
    /// 1 or -1.
    pub acks: i16,
    /// Where the node said that the batch begins.
    pub base_offset: i64,
    /// What the client sent.
    pub sent: Bytes,
}

/// All checks of one run and the facts they keep.
#[derive(Debug)]
pub struct Checks {
    /// By directory, "0/orders-3".
    logs: BTreeMap<Arc<str>, LogTruth>,
    /// Directory of each partition of the plan, and how many records may be acknowledged without a sync.
    partitions: BTreeMap<(usize, i32), PlannedPartition>,
    high_watermarks: BTreeMap<(usize, i32), i64>,
    producer_ids: producer_ids::ProducerIds,
    topics: topics::Topics,
    is_recovering: bool,
    /// Logs that were found shorter than they had been, since the node last began to run.
    shortened: u64,
}

/// What the plan says of a partition.
#[derive(Clone, Debug)]
struct PlannedPartition {
    dir: Arc<str>,
    flush_messages: Option<u64>,
    has_log_append_time: bool,
    index_interval: u64,
}

/// The interval of index entries in logs that are not the plan's: Kafka's default.
const INDEX_INTERVAL_DEFAULT: u64 = 4_096;

impl Checks {
    /// The checks of a plan's run.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut partitions = BTreeMap::new();
        for (index, topic) in plan.topics.iter().enumerate() {
            for partition in 0..topic.partitions {
                let planned = PlannedPartition {
                    dir: Arc::from(format!("0/{}-{partition}", topic.name)),
                    flush_messages: topic.flush_messages,
                    has_log_append_time: topic.log_append_time,
                    index_interval: u64::from(topic.index_interval_bytes),
                };
                partitions.insert((index, partition), planned);
            }
        }
        Self {
            logs: BTreeMap::new(),
            partitions,
            high_watermarks: BTreeMap::new(),
            producer_ids: producer_ids::ProducerIds::default(),
            topics: topics::Topics::new(&plan.topics),
            is_recovering: false,
            shortened: 0,
        }
    }

    /// The logs that were ever written to, by directory.
    pub fn logs(&self) -> impl Iterator<Item = (&str, &LogTruth)> {
        self.logs.iter().map(|(dir, log)| (&**dir, log))
    }

    /// The log of a partition of the plan, if anything was ever written to it.
    #[must_use]
    pub fn log(&self, topic: usize, partition: i32) -> Option<&LogTruth> {
        self.logs.get(&self.partitions.get(&(topic, partition))?.dir)
    }

    /// The node pushed a storage operation.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_storage_op(&mut self, op: &StorageOp, disk: &Disk) -> Result<(), Violation> {
        let StorageOp::Append { file, position, bytes } = op else { return Ok(()) };
        if !file.as_str().ends_with(".log") || bytes.iter().all(Bytes::is_empty) {
            return Ok(());
        }
        let log = match self.logs.get_mut(file.parent()) {
            Some(log) => log,
            None => self.logs.entry(Arc::from(file.parent())).or_default(),
        };
        for batch in truth::batches_of(file, *position, bytes).map_err(|error| {
            log_prefix::violation(format!(
                "the node appended to {file} at {position} what is no batch: {error}"
            ))
        })? {
            if log.is_unverified() {
                // The node has finished recovering this log, and goes on from where it says that it ends.
                self.shortened += log_prefix::check(file.parent(), log, disk, Some(batch.base_offset))?;
            }
            log.push(batch).map_err(|sentence| log_prefix::violation(format!("{file}: {sentence}")))?;
        }
        Ok(())
    }

    /// The process dies, or the power is lost, in this very moment; the disk has not yet heard of it.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn before_crash(&mut self, kind: FaultKind, disk: &Disk) -> Result<(), Violation> {
        self.high_watermarks.clear();
        self.is_recovering = true;
        for (dir, log) in &mut self.logs {
            log.before_crash(kind, disk);
            acknowledged_data::check_before_crash(dir, log, kind, self.partitions.values())?;
            log.forget_acknowledged_losses();
        }
        Ok(())
    }

    /// The node runs: what it recovered is on the disk. Answers how many logs lost something.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_running(&mut self, disk: &Disk) -> Result<u64, Violation> {
        self.is_recovering = false;
        for (dir, log) in &mut self.logs {
            if log.is_unverified() {
                self.shortened += log_prefix::check(dir, log, disk, None)?;
            }
        }
        Ok(std::mem::take(&mut self.shortened))
    }

    /// What the node believes of its partitions.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_view<'a>(
        &mut self,
        views: impl Iterator<Item = PartitionView<'a>>,
        disk: &Disk,
    ) -> Result<(), Violation> {
        for view in views {
            match self.logs.get_mut(view.dir) {
                Some(log) => truthful_view::check(&view, log, disk)?,
                None => truthful_view::check(&view, &mut LogTruth::default(), disk)?,
            }
        }
        Ok(())
    }

    /// Nothing is under way on the disk: every index must be what can be computed from its log.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_quiet_disk(&self, disk: &Disk) -> Result<(), Violation> {
        assert!(!self.is_recovering, "indexes of a node that recovers are whatever the crash left");
        for (dir, log) in &self.logs {
            let planned = self.partitions.values().find(|planned| planned.dir == *dir);
            let interval = planned.map_or(INDEX_INTERVAL_DEFAULT, |planned| planned.index_interval);
            index_recomputation::check(dir, log, disk, interval)?;
        }
        Ok(())
    }

    /// The node begins to stop: it closes its logs where they end.
    pub fn on_stopping(&mut self) {
        for log in self.logs.values_mut() {
            log.note_interruption();
        }
    }

    /// The node has stopped cleanly.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_stopped(&mut self, disk: &Disk) -> Result<(), Violation> {
        for (dir, log) in &mut self.logs {
            log_prefix::check_at_clean_stop(dir, log, disk)?;
        }
        self.on_quiet_disk(disk)?;
        self.high_watermarks.clear();
        Ok(())
    }

    /// The node acknowledged a batch.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_acknowledged(&mut self, acknowledged: &Acknowledged, disk: &Disk) -> Result<(), Violation> {
        let planned = &self.partitions[&(acknowledged.topic, acknowledged.partition)];
        let log = self.logs.entry(Arc::clone(&planned.dir)).or_default();
        acknowledged_data::check(acknowledged, planned, log, disk)
    }

    /// The node answered a fetch; `requested` are the offsets that were asked for, where they are known.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_fetched(
        &mut self,
        response: &FetchResponse,
        topic_of: impl Fn(&str, sordini_protocol::wire::Uuid) -> Option<usize>,
        requested: &BTreeMap<(usize, i32), i64>,
        disk: &Disk,
    ) -> Result<(), Violation> {
        for topic in &response.responses {
            let Some(index) = topic_of(&topic.topic, topic.topic_id) else { continue };
            for partition in &topic.partitions {
                let place = (index, partition.partition_index);
                let Some(planned) = self.partitions.get(&place) else { continue };
                if partition.error_code != 0 {
                    continue;
                }
                let log = self.logs.entry(Arc::clone(&planned.dir)).or_default();
                let before = self.high_watermarks.insert(place, partition.high_watermark);
                high_watermark::check(&planned.dir, log, before, partition.high_watermark, disk)?;
                consumer_reads::check(&planned.dir, log, partition, requested.get(&place).copied())?;
            }
        }
        Ok(())
    }

    /// The node handed out a producer id.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_producer_id(&mut self, response: &InitProducerIdResponse) -> Result<(), Violation> {
        self.producer_ids.check(response)
    }

    /// The node said that a topic exists.
    pub fn on_topic_created(&mut self, now: u64, name: &str) {
        self.topics.on_created(now, name);
    }

    /// The node described topics; it has been running since `running_since`.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn on_metadata(
        &mut self,
        now: u64,
        running_since: u64,
        response: &MetadataResponse,
    ) -> Result<(), Violation> {
        self.topics.check(now, running_since, response)
    }

    /// The run is over: everything that costs much. Answers how many values of idempotent producers are there twice
    /// because an epoch was raised.
    ///
    /// # Errors
    /// The property that does not hold.
    pub fn at_end(&self, idempotent_clients: &BTreeSet<u64>) -> Result<u64, Violation> {
        no_duplicates::check(
            self.partitions
                .values()
                .filter_map(|planned| Some((&*planned.dir, self.logs.get(&planned.dir)?))),
            idempotent_clients,
        )
    }
}
