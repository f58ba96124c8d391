//! The museum: rules that were believed somewhere and are wrong, each beside the right one, to be switched on in a
//! simulated world that has to notice.
//!
//! An exhibit is one `if museum.has(..)` at the place where its rule lives. Without the feature `museum` a [`Museum`]
//! is empty by its type and `has` is always false, so that no wrong rule is compiled into a broker.

macro_rules! exhibits {
    ($($(#[doc = $story:literal])* $variant:ident = $id:literal, $name:literal;)*) => {
        /// A wrong rule. An A numbers a bug that a system of this kind shipped with, a B a mistake that a log on a disk
        /// invites.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Exhibit {
            $($(#[doc = $story])* $variant,)*
        }

        impl Exhibit {
            /// Every exhibit, in the order of their ids.
            pub const ALL: [Self; [$($id),*].len()] = [$(Self::$variant),*];

            /// The number in the museum: "A42".
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }

            /// The name of the wrong rule: "marker_deleted_after_load".
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What was believed, what happens, and whom it harms.
            #[must_use]
            pub const fn story(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($story),*).trim_ascii_start(),)*
                }
            }

            /// The exhibit of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|exhibit| exhibit.name() == name)
            }
        }
    };
}

exhibits! {
    /// KAFKA-1211, KIP-101: after a restart a replica cuts its log to the high watermark that it last wrote down,
    /// believing that nothing above it can have been committed. The checkpoint is seconds old, so that acknowledged
    /// records are cut off although they are whole on the disk; with several replicas the lost ones are then
    /// overwritten by others.
    A01TruncateToOwnHighWatermark = "A01", "truncate_to_own_hw";
    /// KIP-279, KAFKA-6361: a leader says where the epoch of a follower's last record ended, and not of which epoch it speaks where it
    /// has no such epoch. Two elections in quick succession leave two ends of the log of different epochs, and the follower keeps of
    /// its own what is as long as the leader's: another history below what is committed later.
    A02EpochLookupOneRound = "A02", "epoch_lookup_one_round";
    /// KIP-320, KAFKA-7395: no fetch of a follower says under which epoch it follows, and once it has found out where its log parts
    /// from its leader's, none says of which epoch its last record is. Elections that it has not heard of have given the leader
    /// another log, and the leader counts what the follower has as if it were the same.
    A03NoEpochInFetch = "A03", "no_epoch_in_fetch";
    /// KAFKA-7128: a follower is in sync when it has what the leader takes for committed. A leader that was just elected does not
    /// know how far that is: who lacks what is committed comes in sync, and is elected next.
    A04IsrJoinAtHighWatermarkOnly = "A04", "isr_join_at_hw_only";
    /// KIP-497: while the controller has not answered who is in sync, the leader goes by who was. The controller has answered, the
    /// answer is slow, and records are committed that the new one in sync lacks.
    A05HighWatermarkIgnoresPendingIsr = "A05", "hw_ignores_pending_isr";
    /// KIP-903, KAFKA-14617: what a broker fetched in one life counts for the next. It has lost power and the end of its log, and
    /// what it had asked for before brings it in sync.
    A06IgnoreBrokerEpochInAlterPartition = "A06", "ignore_broker_epoch_in_alter_partition";
    /// KIP-841, KAFKA-13916: the controller takes for in sync whomever the leader names. A broker that it has fenced comes back
    /// in sync because it still fetches, and is elected.
    A07AcceptFencedInIsr = "A07", "accept_fenced_in_isr";
    /// KIP-966, KAFKA-15583: records are committed although fewer are in sync than have to be. The last one commits alone, loses
    /// power, and leads again without what it had committed.
    A08HighWatermarkUnderMinIsr = "A08", "hw_advances_under_min_isr";
    /// KAFKA-14704: a follower that is told that its log parts from its leader's takes the high watermark of the same answer
    /// first. What it is about to cut off counts as committed for a moment, and whoever reads from it reads that.
    A09HighWatermarkBeforeTruncation = "A09", "hw_before_truncate";
    /// KAFKA-9835: how far a fetch may read is decided at one look at the log and how much is sent at another, at its
    /// end. An append between the two is handed out although it is not committed, and a consumer acts on a record
    /// that a crash then takes back.
    A10TwoPhaseFetchBound = "A10", "two_phase_fetch_bound";
    /// KAFKA-7164: a follower that hears of a new epoch of the same leader goes on where its log ends. It has missed an epoch in which
    /// another led and the leader had to cut its own log, and keeps what the leader gave it before.
    A12SkipTruncationIfSameLeader = "A12", "skip_truncate_if_same_leader";
    /// KAFKA-5634: a segment that has expired is deleted even where the high watermark has not passed it. Records go
    /// before anybody could read them, the log begins above what is committed, and readers at its end are sent away
    /// from offsets that were never out of range.
    A13RetentionIgnoresHighWatermark = "A13", "retention_ignores_hw";
    /// KAFKA-10661: a leader that comes back goes on leading its epoch. What it had written and not synced may be with others,
    /// and it gives the same offsets of the same epoch to other records: two histories that nobody can tell apart.
    A14ResumeLeadershipSameEpoch = "A14", "resume_leadership_same_epoch";
    /// KAFKA-10533: a voter fetches on before what it has is synced. The fetch counts as its word that it has it, the leader
    /// commits, and power that is lost on enough nodes takes what was committed.
    A15VoterSkipsFlush = "A15", "voter_skips_flush";
    /// KAFKA-12619, the eighth figure of the Raft paper: what earlier epochs wrote is committed once a majority has it, before
    /// anything of the leader's own epoch is. A node with a later epoch at its end can still win, and replace it.
    A16HighWatermarkAtEpochStart = "A16", "hw_at_epoch_start";
    /// Redpanda 9ff1818afd: a node that steps down forgets whom it voted for, also within the epoch. It votes a second time,
    /// and two nodes win.
    A17ClearVoteOnStepDown = "A17", "clear_vote_on_stepdown";
    /// KAFKA-15489: a leader stays until it hears of another. Cut off with a minority it goes on in office for ever, and whoever
    /// is on its side with it.
    A18NoCheckQuorum = "A18", "no_check_quorum";
    /// The bug of Raft's single-server changes, found in 2015: a leader changes the voters before anything of its own epoch is
    /// committed. The leader before it may have begun another change that it knows nothing of: each of the two has a majority
    /// of its own voters, and the two have no voter in common.
    A19ReconfigWithoutOwnCommit = "A19", "reconfig_without_own_commit";
    /// KAFKA-14077, KIP-853: a voter is the number of its node, whatever disk it has. One that comes back with an empty disk
    /// votes as if it had never voted, and vouches for a log that it has lost: with two disks more, the majority that had
    /// what was committed is one that has not.
    A20VoterIdentityWithoutDirectoryId = "A20", "voter_identity_without_dir_id";
    /// Redpanda #3003: what a leader has durable itself it answers for, though no majority has it. The others elect one that has
    /// not, and what was promised is cut off.
    A21AnswerBeforeMajority = "A21", "answer_before_majority";
    /// KAFKA-13173: two brokers whose sessions end in one moment are fenced each as if the other were there. Who is gone is left
    /// in sync, or made the leader, by what is written about the other.
    A22FenceFromOneImage = "A22", "fence_from_one_image";
    /// KAFKA-14238: the metadata log is subject to the same retention as any other. When time has passed, what no
    /// snapshot covers is deleted, and at the next start topics and their data are unknown.
    A23MetadataLogTimeRetention = "A23", "metadata_log_time_retention";
    /// KAFKA-6082: what a controller decides is written whoever has decided since. One that is in office again goes on with the
    /// cluster as it knew it when it was deposed, and overwrites what its successor has decided: leaders and in-sync replicas
    /// from the past, ids that were handed out meanwhile.
    A24ControllerWriteUnfenced = "A24", "controller_write_unfenced";
    /// KAFKA-15665: a partition has been moved once the replicas that were added are in sync, whatever became of those that were to
    /// stay. The old ones are dropped, and what is left in sync may be one copy of all that was acknowledged.
    A25ReassignDoneOnAddingOnly = "A25", "reassign_done_on_adding_only";
    /// KAFKA-16234, KAFKA-16157: a replica whose log is in no directory that can be read begins anew in another. One of two disks
    /// fails, and what was on it comes back empty and in sync; elected, it takes away all that was acknowledged.
    A26RecreateMissingLog = "A26", "recreate_missing_log";
    /// Redpanda #3039: a batch whose sequence is known is out of order, as if the producer had been fenced. The
    /// client whose answer was lost raises its epoch, begins to count anew and sends again what is in the log
    /// already: duplicates from a producer that was promised none.
    A32DedupeWindowZero = "A32", "dedupe_window_zero";
    /// KAFKA-15552: the metadata log keeps the first producer id of the block just handed out, where it should keep
    /// that of the next. After a restart the block is handed out again, and the records of two producers with one id
    /// are taken for repetitions of each other.
    A37PersistCurrentProducerIdBlock = "A37", "persist_current_pid_block";
    /// KAFKA-10471: the marker of a clean stop is removed some time after loading, when recovery points are first
    /// written down, since until then it says where recovery has to begin. A crash before that leaves it in place,
    /// and the next start believes that everything is whole and durable and skips the recovery that would have cut
    /// off a torn tail.
    A42MarkerDeletedAfterLoad = "A42", "marker_deleted_after_load";
    /// KAFKA-16541: the leader epoch checkpoint is written without a sync, since it can be computed from the log. A
    /// loss of power leaves an empty file, only the segments above the recovery point are looked at, and the epochs
    /// of everything below are forgotten: a replica asks where they ended and is told a lie.
    A43EpochFileNoSync = "A43", "epoch_file_no_fsync";
    /// KAFKA-10432: when leader epochs are computed from the log, 0 is taken for "none". A partition that has only
    /// ever been in its first epoch recovers without any, and its followers fall back to cutting at their high
    /// watermarks.
    A44SkipEpochZero = "A44", "skip_epoch_zero";
    /// KAFKA-6683: what is known of producers is changed before the batch is appended, so that the snapshot taken
    /// when the append opens a segment already contains the batch. After a loss of power the batch is gone and the
    /// snapshot says that it is there: a resent batch is acknowledged as a duplicate and stored nowhere.
    A45MutateStateBeforeAppend = "A45", "mutate_state_before_append";
    /// KAFKA-7866: the log's end moves when the index entry is written, after the records. If the index cannot be
    /// written the append counts as not done and its offsets are given out again, with the records of the first still
    /// in the file.
    A46AdvanceLogEndAfterIndex = "A46", "advance_leo_after_index";
    /// KAFKA-10778: a failed write is somebody else's business, and the log goes on behind it. Acknowledged records are
    /// missing, or half of them is, in the middle of the log.
    A47AppendAfterIoError = "A47", "append_after_io_error";
    /// NATS #7549: wherever a checksum is wrong the log ends. One flipped bit in a segment that was closed and
    /// durable long ago makes recovery throw away everything behind it.
    A48BadCrcIsEndOfLog = "A48", "bad_crc_is_end_of_log";
    /// NATS #7564: a record that is written is as good as one that is synced, although `flush.messages` promises
    /// more. The acknowledgement comes early and a loss of power takes what it vouched for.
    A49AckBeforeFlush = "A49", "ack_before_flush";
    /// The recovery point is written down as the log's end, and not as the end of what was synced. After a crash the
    /// segments below it are not looked at, and what is only in the page cache is taken for durable.
    B01RecoveryPointAheadOfFlush = "B01", "recovery_point_ahead_of_flush";
    /// The recovery point moves with the records, whether or not the indexes of their segment were synced too. After
    /// a loss of power a closed segment below the recovery point is believed together with an index that is torn:
    /// offsets are looked for where they are not.
    B02RecoveryPointIgnoresIndexes = "B02", "recovery_point_ignores_indexes";
    /// Recovery cuts the log and leaves the indexes as they were. Entries for records that are gone stay, point to
    /// where others are written later, and readers are led into the middle of a batch.
    B03IndexNotTruncatedWithLog = "B03", "index_not_truncated_with_log";
    /// The snapshot of the producers' state is believed without looking at its checksum. A flipped bit becomes a
    /// sequence number: what the producer sends next is refused, or what it repeats is appended.
    B04SnapshotNotVerified = "B04", "snapshot_not_verified";
    /// A clean stop writes its marker without having synced the last segment. If power is lost after it, the next start
    /// believes the marker and looks at nothing.
    B05CleanShutdownWithoutFlush = "B05", "clean_shutdown_without_flush";
    /// A sync that has completed vouches for everything below it. It was of one file: the segment before, still being
    /// synced, is lost with the power, and the log has a hole below what it called durable.
    B06LaterFlushVouchesForEarlier = "B06", "later_flush_vouches_for_earlier";
    /// Recovery believes a batch whose header makes sense and does not compute the checksum of the rest. A batch of
    /// which only the first sector reached the disk stays in the log, zeros for records.
    B07RecoverySkipsChecksum = "B07", "recovery_skips_checksum";
    /// Recovery takes every segment that is whole in itself. Where the end of one was lost and the next had been
    /// begun, the log has a hole: offsets that were acknowledged and that nobody will ever write.
    B08HoleBetweenSegments = "B08", "hole_between_segments";
    /// A repeated batch is in the log already, so it is acknowledged at once. The first copy is still on its way to the
    /// disk, and a crash takes a record whose repetition was acknowledged.
    B09DuplicateAckedBeforeWritten = "B09", "duplicate_acked_before_written";
    /// Recovery cuts off a torn tail and does not sync the cut, since nothing was written. If nothing is appended
    /// either, a clean stop has nothing to flush; after a loss of power the tail is back, and the clean start that
    /// follows does not look for one.
    B10CutNotSynced = "B10", "cut_not_synced";
}

/// The exhibits that are switched on in a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Museum {
    /// A bit for each exhibit, by its place in [`Exhibit::ALL`].
    #[cfg(feature = "museum")]
    on: u64,
}

impl Museum {
    /// Every rule is the right one.
    pub const NONE: Self = Self {
        #[cfg(feature = "museum")]
        on: 0,
    };

    /// With one more exhibit switched on.
    #[cfg(feature = "museum")]
    #[must_use]
    pub const fn with(self, exhibit: Exhibit) -> Self {
        Self { on: self.on | 1 << exhibit as u32 }
    }

    /// Whether the wrong rule holds.
    #[cfg(feature = "museum")]
    #[must_use]
    pub const fn has(self, exhibit: Exhibit) -> bool {
        self.on & 1 << exhibit as u32 != 0
    }

    /// Whether the wrong rule holds: never, since the feature `museum` is off.
    #[cfg(not(feature = "museum"))]
    #[must_use]
    pub const fn has(self, _: Exhibit) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn ids_and_names_are_unique_and_in_order() {
        assert!(Exhibit::ALL.iter().map(|exhibit| exhibit.id()).is_sorted());
        let ids: BTreeSet<&str> = Exhibit::ALL.iter().map(|exhibit| exhibit.id()).collect();
        let names: BTreeSet<&str> = Exhibit::ALL.iter().map(|exhibit| exhibit.name()).collect();
        assert_eq!((ids.len(), names.len()), (Exhibit::ALL.len(), Exhibit::ALL.len()));
        for exhibit in Exhibit::ALL {
            assert_eq!(Exhibit::from_name(exhibit.name()), Some(exhibit));
            assert!(
                exhibit.story().len() > 100,
                "{} tells what was believed and whom it harms",
                exhibit.id()
            );
        }
        assert_eq!(Exhibit::from_name("marker_deleted_after"), None);
    }

    #[cfg(feature = "museum")]
    #[test]
    fn switching_one_exhibit_on_leaves_the_others_off() {
        for exhibit in Exhibit::ALL {
            let museum = Museum::NONE.with(exhibit);
            let on: alloc::vec::Vec<Exhibit> =
                Exhibit::ALL.into_iter().filter(|other| museum.has(*other)).collect();
            assert_eq!(on, [exhibit]);
        }
    }

    #[cfg(not(feature = "museum"))]
    #[test]
    fn without_the_feature_a_museum_takes_no_room_and_shows_nothing() {
        assert_eq!(size_of::<Museum>(), 0);
        assert!(Exhibit::ALL.into_iter().all(|exhibit| !Museum::NONE.has(exhibit)));
    }
}
