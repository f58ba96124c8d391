//! How fast replicas that are not in sync are copied (KIP-73). The leader keeps the records of a throttled partition back while
//! it sends more than `leader.replication.throttled.rate`, a follower asks for no more of one while it gets more than
//! `follower.replication.throttled.rate`.
//!
//! What replicas in sync fetch of throttled partitions counts too, and they are never held back: a throttle that makes in-sync
//! replicas fall behind would take from a partition what it needs to be written to. Kafka's follower holds one in sync back
//! that lags behind at the moment; ours does not.
//!
//! Whether a rate is exceeded is looked at before anything is sent, and what was sent counts afterwards: one fetch may exceed it
//! by far, and the next one waits the longer. So no partition stands still for good, however low the rate and large the batches,
//! unless what those in sync fetch alone exceeds the rate for good.

use super::broker::Broker;
use crate::ids::{NodeId, TopicIdPartition};
use crate::partition::Partition;
use crate::time::{Instant, Now};
use alloc::collections::VecDeque;

const MICROS_PER_SECOND: u128 = 1_000_000;

/// What a broker has copied of throttled partitions in the last windows.
#[derive(Clone, Debug)]
pub(super) struct ReplicationQuotas {
    /// Sent as a leader.
    pub(super) leader: ReplicationQuota,
    /// Fetched as a follower.
    pub(super) follower: ReplicationQuota,
}

impl ReplicationQuotas {
    pub(super) const fn new(windows: u32, window_ms: i64) -> Self {
        let leader = ReplicationQuota::new(windows, window_ms);
        let follower = ReplicationQuota::new(windows, window_ms);
        Self { leader, follower }
    }
}

/// Bytes of the last windows, and what rate they make.
#[derive(Clone, Debug)]
pub(super) struct ReplicationQuota {
    windows: u32,
    window_us: u64,
    /// The oldest first; the last may go on. None ends less than a window after it began.
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    began: Instant,
    /// When bytes were last counted to it.
    last: Instant,
    bytes: u64,
}

impl ReplicationQuota {
    pub(super) const fn new(windows: u32, window_ms: i64) -> Self {
        Self { windows, window_us: window_ms.cast_unsigned().saturating_mul(1000), samples: VecDeque::new() }
    }

    pub(super) fn record(&mut self, bytes: u64, now: Instant) {
        while self.samples.front().is_some_and(|oldest| self.expiry(oldest) <= now) {
            self.samples.pop_front();
        }
        let window_end = |sample: &Sample| Instant(sample.began.0.saturating_add(self.window_us));
        match self.samples.back_mut() {
            Some(sample) if now < window_end(sample) => {
                sample.last = now;
                sample.bytes = sample.bytes.saturating_add(bytes);
            }
            Some(_) | None => self.samples.push_back(Sample { began: now, last: now, bytes }),
        }
    }

    /// When the rate will not be above `bytes_per_second` any more, should nothing be counted until then; `None` if it is not now.
    ///
    /// The rate is what was counted in the samples that are not older than all windows together, over the time since the oldest
    /// of them began, or over one window if that is longer.
    pub(super) fn exceeded_until(&self, bytes_per_second: u64, now: Instant) -> Option<Instant> {
        let kept = || self.samples.iter().filter(|sample| self.expiry(sample) > now);
        let mut bytes: u128 = kept().map(|sample| u128::from(sample.bytes)).sum();
        let mut until = now;
        for sample in kept() {
            let takes_us = match u128::from(bytes_per_second) {
                0 => u64::MAX,
                rate => u64::try_from((bytes * MICROS_PER_SECOND).div_ceil(rate)).unwrap_or(u64::MAX),
            };
            let is_low = bytes == 0 || takes_us <= self.window_us;
            let low_from = Instant(sample.began.0.saturating_add(takes_us));
            let at = if is_low { until } else { until.max(low_from) };
            let expiry = self.expiry(sample);
            if at < expiry {
                until = at;
                break;
            }
            // Without it, the others make a rate of their own.
            until = expiry;
            bytes -= u128::from(sample.bytes);
        }
        (until > now).then_some(until)
    }

    /// When a sample counts no more.
    fn expiry(&self, sample: &Sample) -> Instant {
        Instant(sample.last.0.saturating_add(self.window_us.saturating_mul(u64::from(self.windows))))
    }
}

impl Broker {
    /// Whether the records of a partition that is led here are kept from a follower for now.
    pub(super) fn is_kept_from(&self, follower: Option<NodeId>, partition: &Partition, now: Now) -> bool {
        let rate = self.config.leader_replication_throttled_rate;
        follower.is_some_and(|follower| {
            self.is_throttled_leader(partition)
                && !partition.is_in_sync(follower)
                && self.replication_quotas.leader.exceeded_until(rate, now.monotonic).is_some()
        })
    }

    /// Whether what followers are sent of a partition counts.
    pub(super) fn is_throttled_leader(&self, partition: &Partition) -> bool {
        let throttled = &partition.config().leader_throttled_replicas;
        throttled.has(partition.id.partition, self.config.node_id)
    }

    /// Until when the follower's throttle holds. Not longer than a partition is left alone that cannot be fetched: the throttle
    /// may be lifted meanwhile.
    pub(super) fn follower_throttled_until(&self, now: Now) -> Option<Instant> {
        let rate = self.config.follower_replication_throttled_rate;
        let until = self.replication_quotas.follower.exceeded_until(rate, now.monotonic)?;
        Some(until.min(now.monotonic.plus_millis(self.config.replica_fetch_backoff_ms)))
    }

    /// Whether a replica here that is behind its leader is one that the follower's throttle may hold back.
    pub(super) fn may_be_held_back(&self, id: TopicIdPartition, owner: u32) -> bool {
        let own = self.config.node_id;
        let is_in_sync = || self.image.partition(id).is_some_and(|state| state.isr.contains(&own));
        let partition = self.partitions.get(&owner);
        partition.is_some_and(|it| it.config().follower_throttled_replicas.has(id.partition, own))
            && !is_in_sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(millis: u64) -> Instant {
        Instant(millis * 1000)
    }

    fn quota(windows: u32, records: &[(u64, u64)]) -> ReplicationQuota {
        let mut quota = ReplicationQuota::new(windows, 1000);
        for (millis, bytes) in records {
            quota.record(*bytes, at(*millis));
        }
        quota
    }

    #[test]
    fn rate_falls_as_time_passes_and_as_samples_expire() {
        type Row<'a> = (&'a [(u64, u64)], u64, Option<u64>);
        // 100 bytes a second over four windows of one second: what was counted when, the time, and until when it is too much.
        let table: [Row<'_>; 11] = [
            (&[], 0, None),
            (&[(0, 100)], 0, None),
            (&[(0, 101)], 0, Some(1010)),
            (&[(0, 60), (500, 60)], 500, Some(1200)),
            (&[(0, 60), (500, 60)], 1199, Some(1200)),
            (&[(0, 60), (500, 60)], 1200, None),
            (&[(0, 100), (1000, 150)], 1000, Some(2500)),
            // It takes 100 seconds to send so much, and the window is not as long: it is forgotten first.
            (&[(0, 10_000)], 0, Some(4000)),
            // When the first is forgotten, the second is not too much.
            (&[(0, 10_000), (3000, 150)], 3000, Some(4500)),
            (&[(0, 10_000), (3500, 90)], 3500, Some(4000)),
            // An old sample that is still added to is kept whole.
            (&[(0, 300), (900, 300)], 4500, Some(4900)),
        ];
        for (records, millis, expected) in table {
            let until = quota(4, records).exceeded_until(100, at(millis));
            assert_eq!(until, expected.map(at), "{records:?} at {millis} ms");
        }
    }

    #[test]
    fn long_run_is_as_fast_as_the_rate_whatever_the_size_of_a_fetch() {
        for fetch in [10, 1_000, 2_500, 10_000] {
            let mut quota = ReplicationQuota::new(11, 1000);
            let (mut now, mut bytes) = (Instant(77), 0);
            while bytes < 200_000 {
                now = quota.exceeded_until(1_000, now).unwrap_or(Instant(now.0 + 1));
                if quota.exceeded_until(1_000, now).is_none() {
                    quota.record(fetch, now);
                    bytes += fetch;
                }
                assert!(quota.samples.len() <= 12, "{}", quota.samples.len());
            }
            let seconds = now.0 / SECOND;
            assert!((185..=215).contains(&seconds), "{fetch} bytes at a time: {seconds} s");
        }
    }

    #[test]
    fn rate_of_nothing_lets_one_fetch_through_for_each_time_that_all_windows_take() {
        let quota = quota(11, &[(0, 1)]);
        assert_eq!(quota.exceeded_until(0, at(0)), Some(at(11_000)));
        assert_eq!(quota.exceeded_until(0, at(11_000)), None);
    }

    #[test]
    fn no_rate_is_never_exceeded() {
        assert_eq!(quota(1, &[(0, 1 << 60)]).exceeded_until(i64::MAX.cast_unsigned(), at(0)), None);
    }
}
