//! Which leader epoch began where: how replicas find the point at which their logs part (KIP-101, KIP-279).

use super::checkpoint::{self, MalformedCheckpoint};
use crate::ids::{LeaderEpoch, Offset};
use alloc::string::String;
use alloc::vec::Vec;

/// Entries of (epoch, first offset written under it), strictly increasing in both columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochCache {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochCache {
    /// Reads a `leader-epoch-checkpoint`.
    pub(crate) fn from_checkpoint(text: &[u8]) -> Result<Self, MalformedCheckpoint> {
        let mut cache = Self::default();
        for line in checkpoint::entries(text)? {
            let [epoch, start] = checkpoint::fields(line)?;
            let epoch = LeaderEpoch(epoch.parse().map_err(|_| MalformedCheckpoint)?);
            let start = Offset(start.parse().map_err(|_| MalformedCheckpoint)?);
            if cache.entries.last().is_some_and(|(last, at)| *last >= epoch || *at >= start) {
                return Err(MalformedCheckpoint);
            }
            cache.entries.push((epoch, start));
        }
        Ok(cache)
    }

    /// The text of a `leader-epoch-checkpoint`.
    pub(crate) fn to_checkpoint(&self) -> String {
        checkpoint::text(self.entries.iter().map(|(epoch, start)| alloc::format!("{epoch} {start}")))
    }

    /// Notes that `epoch` writes from `start` on. Answers whether anything changed. An older epoch is ignored; entries
    /// that begin at or after `start` never came to anything and go.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.entries.last().is_some_and(|(last, _)| *last >= epoch) {
            return false;
        }
        while self.entries.last().is_some_and(|(_, at)| *at >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    /// How many epochs are known.
    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// The oldest epoch, and where it is known to begin.
    pub(crate) fn first(&self) -> Option<(LeaderEpoch, Offset)> {
        self.entries.first().copied()
    }

    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch under which the record at `offset` was written.
    pub(crate) fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].0)
    }

    /// The largest known epoch not above `requested`, and where it ended: at the start of the next, or at `log_end`
    /// for the current one. An epoch older than all that is known ended where the first known one begins. `None` when
    /// `requested` is newer than the current epoch, or none.
    pub(crate) fn end_offset_for(
        &self,
        requested: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let current = self.latest()?;
        if requested > current || requested == LeaderEpoch::UNKNOWN {
            return None;
        }
        if requested == current {
            return Some((current, log_end));
        }
        let after = self.entries.partition_point(|(epoch, _)| *epoch <= requested);
        let epoch = after.checked_sub(1).map_or(requested, |at| self.entries[at].0);
        Some((epoch, self.entries[after].1))
    }

    /// Forgets epochs that began at or after `log_end`. Answers whether any did.
    pub(crate) fn truncate_from_end(&mut self, log_end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < log_end);
        self.entries.len() != before
    }

    /// Forgets epochs that ended below `log_start`; the one that covers it begins there. Answers whether any changed.
    pub(crate) fn truncate_from_start(&mut self, log_start: Offset) -> bool {
        let covering = self.entries.partition_point(|(_, start)| *start <= log_start);
        let Some(first) = covering.checked_sub(1) else { return false };
        if first == 0 && self.entries[0].1 == log_start {
            return false;
        }
        self.entries.drain(..first);
        self.entries[0].1 = log_start;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, i64)]) -> LeaderEpochCache {
        let mut cache = LeaderEpochCache::default();
        for (epoch, start) in entries {
            cache.assign(LeaderEpoch(*epoch), Offset(*start));
        }
        cache
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins_and_the_current_one_at_the_log_end() {
        let cache = cache(&[(1, 0), (3, 10), (7, 25)]);
        let end = |epoch| cache.end_offset_for(LeaderEpoch(epoch), Offset(40)).map(|(e, o)| (e.0, o.0));
        assert_eq!(end(-1), None, "no epoch");
        assert_eq!(end(0), Some((0, 0)), "older than everything: it ended where the first known one begins");
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(end(2), Some((1, 10)), "never written: the largest below it");
        assert_eq!(end(3), Some((3, 25)));
        assert_eq!(end(7), Some((7, 40)));
        assert_eq!(end(8), None, "newer than the current one");
    }

    #[test]
    fn an_epoch_that_wrote_nothing_gives_way_to_one_that_starts_at_the_same_offset() {
        assert_eq!(cache(&[(1, 0), (2, 5), (3, 5)]), cache(&[(1, 0), (3, 5)]));
    }

    #[test]
    fn truncation_keeps_both_columns_increasing() {
        let mut end = cache(&[(1, 0), (3, 10), (7, 25)]);
        assert!(end.truncate_from_end(Offset(25)));
        assert_eq!(end, cache(&[(1, 0), (3, 10)]));
        assert!(!end.truncate_from_end(Offset(25)));
        let mut start = cache(&[(1, 0), (3, 10), (7, 25)]);
        assert!(start.truncate_from_start(Offset(12)));
        assert_eq!(start, cache(&[(3, 12), (7, 25)]));
        assert!(!start.truncate_from_start(Offset(12)));
        assert_eq!(start.epoch_at(Offset(11)), None);
        assert_eq!(start.epoch_at(Offset(30)), Some(LeaderEpoch(7)));
    }

    #[test]
    fn a_checkpoint_reads_back_and_a_damaged_one_is_refused() {
        let cache = cache(&[(1, 0), (3, 10)]);
        let text = cache.to_checkpoint();
        assert_eq!(text, "0\n2\n1 0\n3 10\n");
        assert_eq!(LeaderEpochCache::from_checkpoint(text.as_bytes()), Ok(cache));
        for damaged in [
            "",
            "1\n0\n",
            "0\n2\n1 0\n",
            "0\n1\n1 0\n3 10\n",
            "0\n2\n3 0\n1 10\n",
            "0\n1\n1\n",
            "0\n1\na b\n",
        ] {
            assert_eq!(
                LeaderEpochCache::from_checkpoint(damaged.as_bytes()),
                Err(MalformedCheckpoint),
                "{damaged:?}"
            );
        }
    }
}
