//! Marks on branches that are rarely taken. A sweep of simulated runs in which one was never hit has proved nothing
//! about that branch. In a broker they cost a bit set in a register and nobody looks at them.

macro_rules! marks {
    ($($(#[doc = $what:literal])* $variant:ident = $name:literal;)*) => {
        /// A rare branch.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Mark {
            $($(#[doc = $what])* $variant,)*
        }

        impl Mark {
            /// Every mark, in the order of this file.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name in reports: "log.roll.size".
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

marks! {
    /// A segment gave way to the next because it was full.
    LogRollSize = "log.roll.size";
    /// A segment gave way to the next because it was old.
    LogRollAge = "log.roll.age";
    /// A segment gave way to the next because one of its indexes was full.
    LogRollIndexFull = "log.roll.index_full";
    /// A flush began while an earlier one of the same log was under way.
    LogFlushOverlaps = "log.flush.overlaps";
    /// A flush was done before an earlier one of the same log.
    LogFlushOutOfOrder = "log.flush.out_of_order";
    /// A flush was done while the file of the leader epochs was being written.
    LogFlushBeforeEpochs = "log.flush.before_epochs";
    /// A flush was begun by `flush.ms`.
    LogFlushTime = "log.flush.time";
    /// An append was confirmed before an earlier one, to the segment before.
    LogAppendOutOfOrder = "log.append.out_of_order";
    /// An append was confirmed and has to wait for a flush.
    LogAppendAwaitsFlush = "log.append.awaits_flush";
    /// An offset was looked for in the indexes, since memory did not tell.
    LogLookupIndex = "log.lookup.index";
    /// A search went on in the next segment, since one held nothing that was looked for.
    LogLookupNextSegment = "log.lookup.next_segment";
    /// A segment was deleted while it was being searched.
    LogLookupSegmentDeleted = "log.lookup.segment_deleted";
    /// What a search went through is not as it was written.
    LogLookupDamage = "log.lookup.damage";
    /// The end of a log was cut off.
    LogTruncated = "log.truncated";
    /// A segment went with the end of a log that was cut off.
    LogTruncatedSegment = "log.truncated_segment";
    /// A leader's epoch began in a log that had records.
    LogEpochNew = "log.epoch.new";
    /// Leader epochs that had ended below the log's start were forgotten.
    LogEpochForgotten = "log.epoch.forgotten";
    /// A segment was deleted because of its age.
    LogRetentionTime = "log.retention.time";
    /// A segment was deleted because the log was too large.
    LogRetentionSize = "log.retention.size";
    /// Retention reached the active segment.
    LogRetentionActive = "log.retention.active";
    /// Retention stopped at a segment that is not committed.
    LogRetentionUncommitted = "log.retention.uncommitted";
    /// The log's start moved within a segment.
    LogStartWithinSegment = "log.start.within_segment";
    /// A segment was deleted because the log's start had passed it.
    LogStartPassedSegment = "log.start.passed_segment";

    /// A log with records was opened after a clean stop.
    RecoveryClean = "recovery.clean";
    /// A log was not as a clean stop leaves it, and its marker was not believed.
    RecoveryCleanDoubted = "recovery.clean_doubted";
    /// After a crash, segments below the recovery point were not looked at.
    RecoverySegmentsTrusted = "recovery.segments_trusted";
    /// A segment was cut where its batches ended.
    RecoveryTailCut = "recovery.tail_cut";
    /// A segment was cut at a batch whose header made sense and whose checksum did not.
    RecoveryChecksumWrong = "recovery.checksum_wrong";
    /// Segments behind the end of the log were deleted.
    RecoverySegmentsDropped = "recovery.segments_dropped";
    /// A segment did not begin where the one before it ended.
    RecoveryHole = "recovery.hole";
    /// An offset index was missing or had another length than the log called for.
    RecoveryIndexRebuilt = "recovery.index_rebuilt";
    /// A time index was missing or had another length than the log called for.
    RecoveryTimeIndexRebuilt = "recovery.time_index_rebuilt";
    /// Producers were taken from a snapshot.
    RecoverySnapshotUsed = "recovery.snapshot.used";
    /// A snapshot of producers was damaged.
    RecoverySnapshotDamaged = "recovery.snapshot.damaged";
    /// A snapshot of producers said more than the log might hold.
    RecoverySnapshotDoubted = "recovery.snapshot.doubted";
    /// A snapshot of producers was older than the whole log.
    RecoverySnapshotOutlived = "recovery.snapshot.outlived";
    /// Files were left over whose removal or replacement had been under way.
    RecoveryLeftovers = "recovery.leftovers";
    /// An index was left over without its log.
    RecoveryIndexOrphaned = "recovery.index_orphaned";
    /// The leader epoch checkpoint was damaged.
    RecoveryEpochsDamaged = "recovery.epochs_damaged";
    /// Leader epochs above the end of the log were forgotten.
    RecoveryEpochsCut = "recovery.epochs_cut";
    /// Less was left of a log than had been deleted from its beginning.
    RecoveryBelowStart = "recovery.below_start";

    /// A directory belonged to no partition of the cluster and was put aside.
    BootStrayDirectory = "boot.stray_directory";
    /// A directory whose deletion was not done was removed.
    BootDeletedDirectory = "boot.deleted_directory";
    /// A checkpoint of offsets was damaged.
    BootCheckpointDamaged = "boot.checkpoint_damaged";
    /// The metadata log told of topics.
    BootTopicsKnown = "boot.topics_known";
    /// The quorum had had a leader before.
    QuorumLaterEpoch = "quorum.later_epoch";
    /// A node came back that had led the quorum when it stopped.
    QuorumLeaderRestarted = "quorum.leader_restarted";
    /// A voter that knew of no leader asked whether it would be voted for.
    QuorumPreVote = "quorum.pre_vote";
    /// A majority would not have voted for it.
    QuorumPreVoteRejected = "quorum.pre_vote_rejected";
    /// A vote was cast for another node.
    QuorumVoted = "quorum.voted";
    /// A node asked for a vote whose log ends before the voter's.
    QuorumVoteLogBehind = "quorum.vote_log_behind";
    /// A candidate did not win.
    QuorumElectionLost = "quorum.election_lost";
    /// One of several voters became the leader.
    QuorumElected = "quorum.elected";
    /// A leader heard of no majority for too long and stepped down.
    QuorumCheckQuorum = "quorum.check_quorum";
    /// A leader said that it leads no more.
    QuorumLeaderGone = "quorum.leader_gone";
    /// A follower heard nothing of its leader for too long.
    QuorumLeaderSilent = "quorum.leader_silent";
    /// Another node did not answer in time, and its connection was given up.
    QuorumPeerSilent = "quorum.peer_silent";
    /// A majority of several voters had a record durable.
    QuorumCommitted = "quorum.committed";
    /// A follower's log had parted from the leader's.
    QuorumDiverging = "quorum.diverging";
    /// A follower cut its log to where it had parted from the leader's.
    QuorumTruncated = "quorum.truncated";
    /// A fetch waited for a leader when it ceased to be one.
    QuorumFetchRefusedAtEnd = "quorum.fetch_refused_at_end";
    /// Voters were added, removed or changed, and that was committed.
    QuorumVotersChanged = "quorum.voters.changed";
    /// Voters of the configuration were written into the log: kraft.version became 1.
    QuorumVotersLogged = "quorum.voters.logged";
    /// A change of the voters was cut off the log.
    QuorumVotersTakenBack = "quorum.voters.taken_back";
    /// A leader that is no voter any more gave way.
    QuorumLeaderRemoved = "quorum.leader_removed";
    /// A snapshot of the metadata log was taken.
    QuorumSnapshotTaken = "quorum.snapshot.taken";
    /// A follower was sent for a snapshot: what it lacks is not in the log any more.
    QuorumSnapshotOffered = "quorum.snapshot.offered";
    /// A follower began to fetch a snapshot.
    QuorumSnapshotWanted = "quorum.snapshot.wanted";
    /// A snapshot came in more than one part.
    QuorumSnapshotContinued = "quorum.snapshot.continued";
    /// A snapshot was given up while it was fetched.
    QuorumSnapshotLost = "quorum.snapshot.lost";
    /// A follower's log began anew where a snapshot ends.
    QuorumSnapshotInstalled = "quorum.snapshot.installed";
    /// An old snapshot went, and the log before the next one, because of its age.
    QuorumRetentionTime = "quorum.retention.time";
    /// The same because of its size.
    QuorumRetentionSize = "quorum.retention.size";
    /// A node began its log anew where a snapshot ends that it had got before a crash.
    BootSnapshotAhead = "boot.snapshot_ahead";
    /// What a leader sent is not what comes next in the log.
    QuorumFetchedDamage = "quorum.fetched_damage";
    /// A request came to a controller that is not the active one.
    ControllerNotActive = "controller.not_active";
    /// A new active controller gave up the metadata transaction that the one before it had begun.
    ControllerTransactionAborted = "controller.transaction_aborted";
    /// A controller lost its office while requests waited for it.
    ControllerDeposed = "controller.deposed";

    /// A batch was recognised as a repeated one.
    ProducerDuplicate = "producer.duplicate";
    /// A repeated batch came while the first was on its way to the disk.
    ProducerDuplicateUnwritten = "producer.duplicate_unwritten";
    /// A sequence did not follow and was refused.
    ProducerOutOfOrder = "producer.out_of_order";
    /// A producer's epoch was older than the one known and was refused.
    ProducerEpochOld = "producer.epoch_old";
    /// A producer wrote under a greater epoch.
    ProducerEpochRaised = "producer.epoch_raised";
    /// A producer of which nothing was known did not begin with sequence 0.
    ProducerUnknown = "producer.unknown";
    /// A producer was silent for so long that it was forgotten.
    ProducerExpired = "producer.expired";

    /// A produce request's time was up before its records were where its acks ask for.
    ProduceTimedOut = "produce.timed_out";
    /// A produce request of an unknown topic or partition was refused.
    ProduceUnknownTopic = "produce.unknown_topic";
    /// A batch was refused because of its bytes.
    ProduceCorrupt = "produce.corrupt";
    /// A batch was refused because of its size.
    ProduceTooLarge = "produce.too_large";
    /// A batch was refused because of its timestamps.
    ProduceTimestamp = "produce.timestamp";
    /// A batch was refused because its log directory had failed.
    ProduceOffline = "produce.offline";
    /// Waiting produce requests were told that their log directory had failed.
    ProduceFailedWaiting = "produce.failed_waiting";
    /// A connection was closed because a batch without acks was refused.
    ProduceClosed = "produce.closed";

    /// A follower's log had what its leader's has not, and that was cut off, or all of it.
    PartitionCut = "partition.cut";
    /// What a follower was sent is not what comes next, or is damaged.
    ReplicaFetchedDamage = "replica.fetched_damage";
    /// A leader's log began behind the end of its follower's.
    ReplicaOutOfRange = "replica.out_of_range";
    /// A log directory could not be read when the node started, and it goes on without.
    BootDirectoryFailed = "boot.directory_failed";
    /// A replica has no log, and gets none while a directory has failed in which it may lie.
    PartitionNotRecreated = "partition.not_recreated";
    /// A replica has moved to another log directory.
    LogDirMoved = "log_dir_move.done";
    /// What was to be copied next was deleted, and copying begins anew.
    LogDirMoveOvertaken = "log_dir_move.overtaken";
    /// A log that was to be copied cannot be read.
    LogDirMoveDamaged = "log_dir_move.damaged";
    /// Copying waits, so as not to exceed its rate.
    LogDirMoveThrottled = "log_dir_move.throttled";
    /// A move ended after the controller may have heard of it.
    LogDirMoveFrozen = "log_dir_move.frozen";
    /// The log directory that a replica moves out of failed, and the copy is its log.
    LogDirMovePromoted = "log_dir_move.promoted";
    /// A node that starts found a copy that does not count, and copies anew.
    BootCopyRemoved = "boot.copy_removed";
    /// A node that starts found a copy that counts.
    BootCopyTaken = "boot.copy_taken";
    /// A deletion of records waits for other replicas.
    DeleteRecordsAwaited = "delete_records.awaited";
    /// Not all replicas have deleted in time.
    DeleteRecordsTimedOut = "delete_records.timed_out";
    /// A consumer was sent to a follower in its rack.
    FetchPreferredReplica = "fetch.preferred_replica";
    /// A consumer reads from a follower.
    FetchFromFollower = "fetch.from_follower";
    /// A fetch waited and was answered because of an append.
    FetchWoken = "fetch.woken";
    /// A fetch waited and was answered because its time was up.
    FetchTimedOut = "fetch.timed_out";
    /// A fetch's time was up while its offset was being looked for.
    FetchDueWhileSearching = "fetch.due_while_searching";
    /// What a fetch had waited for was deleted.
    FetchDeletedWhileWaiting = "fetch.deleted_while_waiting";
    /// The first batch of an answer was larger than the limits of the request.
    FetchBatchBeyondLimit = "fetch.batch_beyond_limit";
    /// A partition was left out because others had used the answer up.
    FetchNoRoomLeft = "fetch.no_room_left";
    /// An offset was out of range.
    FetchOutOfRange = "fetch.out_of_range";
    /// A reader believed in another leader epoch.
    FetchEpochFenced = "fetch.epoch_fenced";
    /// A reader's log parts from this one.
    FetchDiverging = "fetch.diverging";
    /// A fetch was incremental.
    FetchSessionContinued = "fetch.session.continued";
    /// A session gave way to another.
    FetchSessionEvicted = "fetch.session.evicted";
    /// There was no place for a session.
    FetchSessionsFull = "fetch.session.full";
    /// A session was unknown.
    FetchSessionUnknown = "fetch.session.unknown";
    /// A session was at another epoch.
    FetchSessionEpoch = "fetch.session.epoch";

    /// A timestamp was looked for.
    ListOffsetsSearched = "list_offsets.searched";
    /// The record with a timestamp was not visible yet.
    ListOffsetsInvisible = "list_offsets.invisible";
    /// A search for a timestamp took longer than the client wanted to wait.
    ListOffsetsTimedOut = "list_offsets.timed_out";

    /// A topic was created.
    ControllerTopicCreated = "controller.topic_created";
    /// A topic that was to be created existed.
    ControllerTopicExists = "controller.topic_exists";
    /// A topic was deleted.
    ControllerTopicDeleted = "controller.topic_deleted";
    /// A topic was given more partitions.
    ControllerPartitionsAdded = "controller.partitions_added";
    /// A configuration was changed.
    ControllerConfigChanged = "controller.config_changed";
    /// Access control entries were created.
    ControllerAclsCreated = "controller.acls_created";
    /// Access control entries were deleted.
    ControllerAclsDeleted = "controller.acls_deleted";
    /// A request named something more than once.
    ControllerNameRepeated = "controller.name_repeated";
    /// A second block of producer ids was reserved.
    ControllerProducerIdsReserved = "controller.producer_ids_reserved";
    /// A broker could not be registered, and tries again.
    BrokerRegistrationRefused = "broker.registration_refused";
    /// The controller was told where replicas lie.
    BrokerDirectoriesTold = "broker.directories_told";
    /// A broker was told that it is not registered as what it takes itself for.
    BrokerEpochStale = "broker.epoch_stale";
    /// A broker was given leave to stop.
    BrokerLeft = "broker.left";
    /// A broker stopped without leave: no controller said anything.
    BrokerLeftUnheard = "broker.left_unheard";
    /// A controller was asked that is the active one no more, or that is silent.
    ControllerLeft = "broker.controller_left";
    /// A partition came to be led elsewhere, or by nobody, while this node led it.
    PartitionLeaderLost = "partition.leader_lost";
    /// A replica was taken from this node.
    PartitionTaken = "partition.taken";
    /// A client's request waits for somebody to be the active controller.
    ForwardWaits = "forward.waits";
    /// A client's request waited too long for that.
    ForwardTimedOut = "forward.timed_out";
    /// A partition was deleted while its log was opened.
    BootDeletedWhileOpening = "boot.deleted_while_opening";

    /// A client went away while its produce request waited.
    ConnectionClosedProducing = "connection.closed_producing";
    /// A client went away while its fetch waited.
    ConnectionClosedFetching = "connection.closed_fetching";
    /// A request came while the node did not serve.
    RequestWhileNotServing = "node.request_while_not_serving";
    /// A fetch was answered early because the node stops.
    StopAnswersFetch = "node.stop_answers_fetch";
    /// A log directory failed and its partitions went offline.
    DirectoryFailed = "storage.directory_failed";
    /// The node could not go on.
    NodeFailed = "node.failed";
}

/// How many words a set of marks has.
const WORDS: usize = 2;

const _: () = assert!(Mark::ALL.len() <= 128 * WORDS, "a mark is a bit of a word");

/// A set of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks([u128; WORDS]);

impl Marks {
    /// None.
    pub const NONE: Self = Self([0; WORDS]);

    /// Adds a mark.
    pub const fn insert(&mut self, mark: Mark) {
        let (word, bit) = place(mark);
        self.0[word] |= bit;
    }

    /// Whether a mark is in it.
    #[must_use]
    pub const fn contains(self, mark: Mark) -> bool {
        let (word, bit) = place(mark);
        self.0[word] & bit != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        matches!(self.0, [0, 0])
    }

    /// The marks of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1]])
    }

    /// Those that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self([self.0[0] & !other.0[0], self.0[1] & !other.0[1]])
    }

    /// Every mark in it, in the order of [`Mark::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.into_iter().filter(move |mark| self.contains(*mark))
    }
}

/// The word of a mark and its bit in that.
const fn place(mark: Mark) -> (usize, u128) {
    let index = mark as u32;
    ((index / u128::BITS) as usize, 1 << (index % u128::BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    #[test]
    fn names_are_unique_and_dotted() {
        let names: BTreeSet<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
        assert_eq!(names.len(), Mark::ALL.len());
        let is_in_form = |name: &str| {
            name.contains('.') && name.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte))
        };
        assert!(names.into_iter().all(is_in_form));
    }

    #[test]
    fn a_set_holds_what_was_put_in() {
        let mut marks = Marks::NONE;
        assert!(marks.is_empty());
        marks.insert(Mark::LogRollSize);
        marks.insert(Mark::NodeFailed);
        marks.insert(Mark::NodeFailed);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [Mark::LogRollSize, Mark::NodeFailed]);
        let mut other = Marks::NONE;
        other.insert(Mark::NodeFailed);
        assert_eq!(marks.without(other).iter().collect::<Vec<_>>(), [Mark::LogRollSize]);
        assert_eq!(marks.without(other).union(other), marks);
    }
}
