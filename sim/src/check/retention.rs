//! `retention`: only what may go goes (S6): whole segments from the front, closed, below the high watermark, and expired
//! by the topic's limits or wholly below the start that somebody asked for; whole logs when somebody asked for the
//! topic's deletion. And the log's start moves up, for these two reasons alone, and never beyond the high watermark.

use super::Violation;
use super::truth::{LogTruth, TrueBatch, segments_to_be};
use crate::disk::Disk;
use crate::plan::{NodePlan, TopicPlan};
use sordini_core::node::PartitionView;
use sordini_core::storage_op::StoragePath;
use std::collections::BTreeSet;

/// When segments of a log may be deleted for their age or its size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogLimits {
    /// `retention.ms`; nothing for never.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; nothing for any size.
    pub retention_bytes: Option<u64>,
}

/// `retention.ms` where neither topic nor node has one: Kafka's default, a week.
const RETENTION_MS_DEFAULT: i64 = 604_800_000;

impl LogLimits {
    /// Those of a topic of the plan on a node of the plan.
    #[must_use]
    pub fn of(topic: &TopicPlan, node: &NodePlan) -> Self {
        let of_node = node.properties.get("log.retention.ms").and_then(|text| text.parse().ok());
        Self {
            retention_ms: Some(topic.retention_ms.or(of_node).unwrap_or(RETENTION_MS_DEFAULT)),
            retention_bytes: topic.retention_bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        }
    }
}

fn violation(sentence: String) -> Violation {
    Violation { property: "retention", sentence }
}

/// A log file leaves its name.
pub(super) fn check_segment(
    file: &StoragePath,
    log: &mut LogTruth,
    limits: &LogLimits,
    wall_ms: i64,
    disk: &Disk,
) -> Result<(), Violation> {
    let segments = segments_to_be(file.parent(), disk);
    let first = segments.first();
    if first.is_none_or(|(_, first)| **first != *file.as_str()) {
        return Err(violation(format!("{file} is deleted while the log begins with {first:?}")));
    }
    let Some((end, _)) = segments.get(1) else {
        return Err(violation(format!("{file} is deleted, which is the only segment of its log")));
    };
    let high_watermark = log.high_watermark_bound(disk);
    if *end > high_watermark {
        return Err(violation(format!(
            "{file} is deleted, which ends at offset {end}, above the high watermark {high_watermark}"
        )));
    }
    allow(file.parent(), log, *end, limits, wall_ms, disk)?;
    log.delete_before(*end);
    Ok(())
}

/// The log is to start at `to`: somebody asked for it, or all segments below have expired.
pub(super) fn allow(
    dir: &str,
    log: &mut LogTruth,
    to: i64,
    limits: &LogLimits,
    wall_ms: i64,
    disk: &Disk,
) -> Result<(), Violation> {
    let limit = log.start_limit();
    if to <= limit {
        return Ok(());
    }
    if !segments_to_be(dir, disk).iter().any(|(base, _)| *base == to) {
        return Err(violation(format!(
            "{dir} starts at offset {to}, where no segment begins; {limit} is the most that anybody asked for"
        )));
    }
    let segments: Vec<&[TrueBatch]> = log.kept().chunk_by(|one, next| one.file == next.file).collect();
    let size_of = |segment: &[TrueBatch]| segment.iter().map(TrueBatch::len).sum::<u64>();
    let end_of = |segment: &[TrueBatch]| segment.last().map_or(0, |batch| batch.end_offset);
    let doubtful = segments.iter().filter(|segment| end_of(segment) > limit);
    let mut kept: u64 = doubtful.clone().map(|segment| size_of(segment)).sum();
    for segment in doubtful.take_while(|segment| end_of(segment) <= to) {
        let size = size_of(segment);
        let newest = segment.iter().map(|batch| batch.header.max_timestamp).max().unwrap_or(-1);
        let is_old = limits.retention_ms.is_some_and(|limit| wall_ms.saturating_sub(newest) > limit);
        let is_surplus = limits.retention_bytes.is_some_and(|limit| kept.saturating_sub(limit) >= size);
        if !is_old && !is_surplus {
            return Err(violation(format!(
                "{dir} gives up {} at {wall_ms}, a segment of {size} bytes, its newest record of {newest}, in a log of \
                 {kept} bytes; the limits are {limits:?}, and nobody asked for more than offset {limit}",
                segment[0].file
            )));
        }
        kept -= size;
    }
    log.allow_start(to);
    Ok(())
}

/// The directory of a log leaves its name.
pub(super) fn check_directory(dir: &StoragePath, unwanted: &BTreeSet<String>) -> Result<(), Violation> {
    let topic = dir.name().rsplit_once('-').map(|(topic, _)| topic);
    if topic.is_some_and(|topic| unwanted.contains(topic)) {
        return Ok(());
    }
    Err(violation(format!("{dir} goes, and nobody asked for its topic to be deleted")))
}

/// Somebody asks for all below `offset` to be deleted; -1 stands for the high watermark.
pub(super) fn on_delete_records(log: &mut LogTruth, offset: i64, disk: &Disk) {
    let high_watermark = log.high_watermark_bound(disk);
    let to = if offset == -1 { high_watermark } else { offset };
    if to <= high_watermark {
        log.allow_start(to);
    }
}

/// What the node says of the log's start.
pub(super) fn check_start(
    view: &PartitionView<'_>,
    log: &mut LogTruth,
    limits: impl FnOnce() -> LogLimits,
    wall_ms: i64,
    disk: &Disk,
) -> Result<(), Violation> {
    let (dir, start) = (view.dir, view.log_start.0);
    let before = log.log_start.replace(start);
    if before == Some(start) && start >= log.first_base() {
        return Ok(());
    }
    if let Some(before) = before.filter(|before| *before > start) {
        return Err(violation(format!("{dir} started at {before} and starts at {start} in the same life")));
    }
    if start < log.first_base() {
        return Err(violation(format!(
            "{dir} starts at offset {start}, and everything below {} was deleted",
            log.first_base()
        )));
    }
    allow(dir, log, start, &limits(), wall_ms, disk)
}

#[cfg(test)]
mod tests {
    use crate::check::LogLimits;
    use crate::check::example::{DIR, Life, assert_violates, at, batch, segment};
    use bytes::Bytes;
    use sordini_core::storage_op::{StorageOp, StoragePath};

    /// Three segments of one batch each, at offsets 0, 1 and 2 and times 10, 20 and 30.
    fn life(limits: LogLimits) -> Life {
        let mut life = Life::with_limits(limits);
        for base in 0..3 {
            life.write(&segment(base), batch(at(base), 10 * (base + 1), "a")).expect("a log goes on");
        }
        life.checks.on_clock(130);
        life.view(0, 3).expect("all of it was written");
        life
    }

    fn older_than(limit: i64) -> LogLimits {
        LogLimits { retention_ms: Some(limit), ..LogLimits::default() }
    }

    fn larger_than(limit: u64) -> LogLimits {
        LogLimits { retention_bytes: Some(limit), ..LogLimits::default() }
    }

    #[test]
    fn segments_go_when_they_are_older_than_the_limit() {
        let mut life = life(older_than(109));
        life.delete(0).expect("it is 120 ms old");
        life.delete(1).expect("it is 110 ms old");
        assert_violates(life.delete(2), "retention", "the only segment");
        let mut life = self::life(older_than(110));
        life.delete(0).expect("it is 120 ms old");
        assert_violates(
            life.delete(1),
            "retention",
            "0/orders-0 gives up 0/orders-0/00000000000000000001.log at 130",
        );
    }

    #[test]
    fn segments_go_when_the_log_is_larger_than_the_limit() {
        let each = batch(at(0), 10, "a").len() as u64;
        let mut life = life(larger_than(2 * each));
        life.delete(0).expect("it is more than two");
        assert_violates(life.delete(1), "retention", "gives up");
        let mut life = self::life(larger_than(2 * each + 1));
        assert_violates(life.delete(0), "retention", "gives up");
    }

    #[test]
    fn without_limits_segments_go_only_when_somebody_asks() {
        let mut life = life(LogLimits::default());
        assert_violates(life.delete(0), "retention", "nobody asked for more than offset 0");
        life.checks.on_delete_records(0, 0, 1, &life.disk);
        life.delete(0).expect("somebody asked");
        assert_violates(life.delete(1), "retention", "nobody asked for more than offset 1");
        life.view(1, 3).expect("the log starts where somebody asked");
        assert_violates(life.view(2, 3), "retention", "nobody asked for more than offset 1");
    }

    #[test]
    fn the_start_moves_within_a_segment_only_when_somebody_asks() {
        let mut life = Life::with_limits(older_than(0));
        for offset in 0..2 {
            life.write(&segment(0), batch(at(offset), 10, "a")).expect("a log goes on");
        }
        life.view(0, 2).expect("all of it was written");
        assert_violates(life.view(1, 2), "retention", "where no segment begins");
        let mut life = self::life(LogLimits::default());
        life.checks.on_delete_records(0, 0, 4, &life.disk);
        assert_violates(life.view(3, 3), "retention", "where no segment begins");
        life.checks.on_delete_records(0, 0, -1, &life.disk);
        life.view(3, 3).expect("somebody asked for all of it");
        assert_violates(life.view(2, 3), "retention", "started at 3 and starts at 2 in the same life");
    }

    #[test]
    fn segments_go_from_the_front_below_the_high_watermark() {
        let mut life = life(older_than(0));
        assert_violates(life.delete(1), "retention", "while the log begins with");
        life.checks.logs.get_mut(DIR).expect("it is there").high_watermark = Some(0);
        assert_violates(life.delete(0), "retention", "above the high watermark 0");
        assert_violates(life.view(1, 1).and_then(|()| life.view(0, 1)), "retention", "in the same life");
    }

    #[test]
    fn after_a_crash_a_log_begins_where_it_was_promised_or_before() {
        let mut life = life(LogLimits::default());
        life.replace(&super::super::example::file("leader-epoch-checkpoint"), "0\n1\n1 0\n")
            .expect("one epoch");
        life.checks.on_delete_records(0, 0, 1, &life.disk);
        life.push(StorageOp::Rename { from: segment(0), to: segment(100) }).expect("somebody asked");
        life.lose_power().expect("the name may be one or the other");
        life.settle();
        life.checks.on_running(&life.disk).expect("the log begins at 0 or 1");
        life.push(StorageOp::Remove { path: segment(100) })
            .expect_err("100 is no segment of the log's front");
    }

    #[test]
    fn a_log_that_begins_too_late_after_a_crash_is_found() {
        let mut life = life(LogLimits::default());
        life.lose_power().expect("all is durable");
        life.push(StorageOp::Remove { path: segment(0) }).expect("recovery removes what it cannot use");
        life.settle();
        let running = life.checks.on_running(&life.disk).map(drop);
        assert_violates(
            running,
            "log_prefix",
            "begins at offset 1 after recovery; from 0 on nothing may be missing",
        );
    }

    #[test]
    fn a_log_goes_as_a_whole_when_its_topic_is_unwanted_and_begins_anew() {
        let mut life = life(LogLimits::default());
        let to = StoragePath::new("0/orders-0.0123456789abcdef0123456789abcdef-delete");
        let rename = StorageOp::Rename { from: StoragePath::new(DIR), to };
        assert_violates(life.push(rename.clone()), "retention", "nobody asked for its topic to be deleted");
        life.checks.on_delete_topic("orders");
        life.push(rename).expect("somebody asked");
        // The old directory is still there.
        let bytes = [batch(at(0), 10, "b"), Bytes::new()];
        life.push(StorageOp::Append { file: segment(0), position: 0, bytes }).expect("a log begins at 0");
        let log = life.checks.logs.get_mut(DIR).expect("it is there");
        assert_eq!((log.end(), log.applied_end(&life.disk), log.durable_end(&life.disk)), (1, 0, 0));
        life.settle();
        let log = life.checks.logs.get_mut(DIR).expect("it is there");
        assert_eq!((log.applied_end(&life.disk), log.durable_end(&life.disk)), (1, 0));
    }
}
