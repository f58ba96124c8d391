//! Plans that say the same with simpler values: what a failing plan is tried with once nothing more can be left out.
//!
//! A simplification goes one way: a number sinks towards its floor, a range becomes one number, a setting takes the value
//! it has where nobody sets it. So simplifying comes to an end, whatever is accepted on the way.

use super::{
    AdminDeed, ClockPlan, Codec, ConsumerPlan, CrashKind, DiskAfter, DiskFault, DiskPlan, End, Fault, Plan,
    ProducerPlan, Range, SendPlan, TopicPlan, WriteError,
};
use sordini_protocol::api_key::ApiKey;
use std::collections::BTreeSet;

/// `request.timeout.ms` where nobody sets it, in microseconds.
const REQUEST_TIMEOUT_US: u64 = 30_000_000;
/// `fetch.max.wait.ms` where nobody sets it.
const MAX_WAIT_MS: i32 = 500;
/// `fetch.min.bytes` where nobody sets it.
const MIN_BYTES: i32 = 1;
/// `fetch.max.bytes` where nobody sets it.
const MAX_BYTES: i32 = 52_428_800;
/// `max.partition.fetch.bytes` where nobody sets it.
const PARTITION_MAX_BYTES: i32 = 1_048_576;
/// `index.interval.bytes` where nobody sets it.
const INDEX_INTERVAL_BYTES: u32 = 4_096;
/// A segment that hardly any plan fills.
const SEGMENT_BYTES: u32 = 1_048_576;

impl Plan {
    /// What this plan can be replaced by, each time in one respect, the boldest steps first. Every one can be run if this
    /// one can.
    #[must_use]
    pub fn simplifications(&self) -> Vec<Self> {
        let mut simpler = Simpler { plan: self, found: Vec::new() };
        simpler.shape();
        simpler.joins();
        simpler.everything_at_once();
        simpler.times();
        simpler.ranges();
        simpler.topics();
        simpler.producers();
        simpler.consumers();
        simpler.faults();
        simpler.numbers();
        simpler.found
    }

    /// Calls `visit` with every time at which something is planned to begin.
    fn times(&mut self, mut visit: impl FnMut(&mut u64)) {
        self.producers
            .iter_mut()
            .flat_map(|producer| &mut producer.sends)
            .for_each(|send| visit(&mut send.at_us));
        self.consumers.iter_mut().for_each(|consumer| visit(&mut consumer.start_us));
        self.configurators.iter_mut().flat_map(|it| &mut it.sets).for_each(|set| visit(&mut set.at_us));
        self.brokers.iter_mut().flat_map(|it| &mut it.deeds).for_each(|deed| visit(&mut deed.at_us));
        self.gatekeepers.iter_mut().flat_map(|it| &mut it.deeds).for_each(|deed| visit(&mut deed.at_us));
        self.operators.iter_mut().flat_map(|it| &mut it.changes).for_each(|change| visit(&mut change.at_us));
        self.administration.iter_mut().for_each(|planned| visit(&mut planned.at_us));
        self.faults.iter_mut().for_each(|planned| visit(&mut planned.at_us));
        self.weather.iter_mut().for_each(|change| visit(&mut change.at_us));
        // What happens at one time keeps its order.
        self.producers.iter_mut().for_each(|producer| producer.sends.sort_by_key(|send| send.at_us));
        self.configurators.iter_mut().for_each(|it| it.sets.sort_by_key(|set| set.at_us));
        self.brokers.iter_mut().for_each(|it| it.deeds.sort_by_key(|deed| deed.at_us));
        self.gatekeepers.iter_mut().for_each(|it| it.deeds.sort_by_key(|deed| deed.at_us));
        self.operators.iter_mut().for_each(|it| it.changes.sort_by_key(|change| change.at_us));
        self.administration.sort_by_key(|planned| planned.at_us);
        self.faults.sort_by_key(|planned| planned.at_us);
        self.weather.sort_by_key(|change| change.at_us);
    }

    /// Calls `visit` with every duration that the field draws from a range.
    fn ranges(&mut self, mut visit: impl FnMut(&mut Range)) {
        visit(&mut self.network.to_node_us);
        visit(&mut self.network.to_client_us);
        if self.controllers().next().is_some() {
            visit(&mut self.network.between_nodes_us);
        }
        for node in &mut self.nodes {
            let DiskPlan { write_us, read_us, sync_us, answer_us } = &mut node.disk;
            [write_us, read_us, sync_us, answer_us].into_iter().for_each(&mut visit);
        }
    }

    /// Calls `visit` with every number that is the simpler the smaller it is, and with the least that it may be.
    fn numbers(&mut self, mut visit: impl FnMut(&mut dyn Number, u64)) {
        visit(&mut self.network.encoded_per_mille, 0);
        for node in &mut self.nodes {
            visit(&mut node.clock.offset_ms, 0);
            visit(&mut node.clock.drift_ppm, 0);
        }
        for send in self.producers.iter_mut().flat_map(|producer| &mut producer.sends) {
            visit(&mut send.records, 1);
            visit(&mut send.value_bytes, u64::from(SendPlan::VALUE_BYTES_MIN));
        }
        for planned in &mut self.faults {
            planned.fault.numbers(&mut visit);
        }
        self.ranges(|range| {
            if range.low == range.high {
                visit(&mut range.low, 1);
                *range = Range::exactly(range.low);
            }
        });
    }

    /// The earlier batch with the records of the later one too, if a segment has room for them.
    fn join(&self, earlier: &SendPlan, later: &SendPlan) -> Option<SendPlan> {
        let records = earlier.records.checked_add(later.records)?;
        let value_bytes = earlier.value_bytes.max(later.value_bytes);
        let joined = SendPlan { records, value_bytes, ..*earlier };
        (joined.bytes_max() <= u64::from(self.topics[earlier.topic].segment_bytes)).then_some(joined)
    }

    fn sends(&mut self, visit: impl FnMut(&mut SendPlan)) {
        self.producers.iter_mut().flat_map(|producer| &mut producer.sends).for_each(visit);
    }

    /// Calls `visit` with every partition of a topic that the plan names.
    fn places(&mut self, mut visit: impl FnMut(&mut usize, &mut i32)) {
        self.sends(|send| visit(&mut send.topic, &mut send.partition));
        for consumer in &mut self.consumers {
            consumer.assignment.iter_mut().for_each(|(topic, partition)| visit(topic, partition));
            // A partition is assigned once.
            let mut seen = BTreeSet::new();
            consumer.assignment.retain(|place| seen.insert(*place));
        }
        for planned in &mut self.administration {
            let (topic, partition) = planned.deed.place();
            visit(topic, partition.unwrap_or(&mut 0));
            let topic = *topic;
            if let AdminDeed::Reassign { brokers, .. } | AdminDeed::Lead { brokers, .. } = &mut planned.deed
                && brokers.len() < self.topics[topic].min_isr.unwrap_or(1)
            {
                brokers.clear();
            }
        }
    }
}

impl Fault {
    /// Makes the first node the one that it befalls.
    fn befall_the_first_node(&mut self) {
        let first = |end: &mut End| {
            if let End::Node(node) = end {
                *node = 0;
            }
        };
        match self {
            Self::Crash { node, disk, .. } => {
                *node = 0;
                if matches!(disk, DiskAfter::Of(_)) {
                    *disk = DiskAfter::Unformatted;
                }
            }
            Self::Pause { node, .. }
            | Self::ClockStep { node, .. }
            | Self::Reset { node, .. }
            | Self::Duplicate { node, .. }
            | Self::Disk { node, .. } => *node = 0,
            // What befalls a link between two nodes goes with the second of them.
            Self::PauseClient { .. } | Self::ResetNodes { .. } => {}
            Self::Cut { from, to, .. } | Self::Drop { from, to, .. } | Self::Clog { from, to, .. } => {
                first(from);
                first(to);
            }
        }
    }

    fn numbers(&mut self, visit: &mut impl FnMut(&mut dyn Number, u64)) {
        match self {
            Self::Crash { down_us, while_recovering, .. } => {
                visit(down_us, 1);
                for again in while_recovering {
                    visit(&mut again.after_completions, 0);
                    visit(&mut again.down_us, 1);
                }
            }
            Self::Pause { for_us, .. }
            | Self::PauseClient { for_us, .. }
            | Self::Cut { for_us, .. }
            | Self::Drop { for_us, .. }
            | Self::Disk {
                how:
                    DiskFault::Full { for_us }
                    | DiskFault::Stall { for_us }
                    | DiskFault::LoseDirectory { for_us, .. },
                ..
            } => visit(for_us, 1),
            Self::ClockStep { by_ms, .. } => visit(by_ms, 0),
            Self::Clog { by_us: how_much, for_us, .. }
            | Self::Duplicate { after_us: how_much, for_us, .. } => {
                visit(how_much, 1);
                visit(for_us, 1);
            }
            Self::Disk {
                how:
                    DiskFault::FailWrites { times, .. }
                    | DiskFault::FailReads { times, .. }
                    | DiskFault::FailSyncs { times, .. }
                    | DiskFault::PhantomWrites { times, .. }
                    | DiskFault::MisdirectedWrites { times, .. },
                ..
            } => visit(times, 1),
            Self::Reset { .. }
            | Self::ResetNodes { .. }
            | Self::Disk { how: DiskFault::Rot { .. } | DiskFault::Lose { .. }, .. } => {}
        }
    }
}

/// A number of a plan, without its sign.
trait Number {
    fn size(&self) -> u64;
    fn set_size(&mut self, size: u64);
}

macro_rules! number {
    ($($kind:ty: $sign:expr),*) => {$(
        impl Number for $kind {
            #[allow(clippy::unnecessary_fallible_conversions, reason = "fallible for the signed ones")]
            fn size(&self) -> u64 {
                u64::try_from(*self * $sign(*self)).expect("a number times its sign is not negative")
            }

            #[allow(clippy::unnecessary_fallible_conversions, reason = "fallible for the shorter ones")]
            fn set_size(&mut self, size: u64) {
                let sized = Self::try_from(size).expect("a number sinks");
                *self = sized * $sign(*self);
            }
        }
    )*};
}
number!(u16: |_| 1, u32: |_| 1, u64: |_| 1, i32: i32::signum, i64: i64::signum);

/// Smaller numbers that are easier to read, down to `floor`, the smallest first.
fn smaller(value: u64, floor: u64) -> Vec<u64> {
    let Some(digits) = value.checked_ilog10() else { return Vec::new() };
    let leading = 10_u64.pow(digits);
    let second = (leading / 10).max(1);
    // Where nothing can be rounded off, one less in one of the first two digits.
    let mut found = vec![
        floor,
        round(value / 10, 1),
        round(value / 2, 1),
        round(value, 1),
        round(value, 2),
        value - leading,
        value - second,
    ];
    found.retain(|number| (floor..value).contains(number));
    found.sort_unstable();
    found.dedup();
    found
}

/// The number with all digits 0 behind the first few.
const fn round(value: u64, digits: u32) -> u64 {
    match value.checked_ilog10() {
        Some(log) if log >= digits => value - value % 10_u64.pow(log + 1 - digits),
        Some(_) | None => value,
    }
}

/// Gives a consumer the settings of one that sets none.
fn set_nothing(consumer: &mut ConsumerPlan) {
    consumer.api_version = *ApiKey::Fetch.stable_versions().end();
    consumer.has_sessions = false;
    consumer.max_wait_ms = MAX_WAIT_MS;
    consumer.min_bytes = MIN_BYTES;
    consumer.max_bytes = MAX_BYTES;
    consumer.partition_max_bytes = PARTITION_MAX_BYTES;
    consumer.request_timeout_us = REQUEST_TIMEOUT_US;
}

/// The simplifications of one plan, as they are found.
struct Simpler<'a> {
    plan: &'a Plan,
    found: Vec<Plan>,
}

impl Simpler<'_> {
    /// Adds what an edit makes of the plan, unless that is the plan itself.
    fn add(&mut self, edit: impl FnOnce(&mut Plan)) {
        let mut plan = self.plan.clone();
        edit(&mut plan);
        // What cannot be run is left out: a batch of one topic may not fit into the segments of another, and a client of a cluster
        // does not leave its partition for one batch.
        let can_be_run = || plan.every_batch_fits() && plan.judge_clients_of_a_cluster().is_ok();
        if plan != *self.plan && can_be_run() {
            self.found.push(plan);
        }
    }

    /// Fewer nodes, topics and partitions. What was about one that goes is about one that stays.
    fn shape(&mut self) {
        let plan = self.plan;
        // A quorum keeps its voters: of fewer it would be another.
        let can_shrink = plan.nodes.len() > 1 && plan.controllers().next().is_none();
        for kept in (0..plan.nodes.len()).filter(|_| can_shrink) {
            self.add(|plan| {
                plan.nodes = vec![plan.nodes[kept].clone()];
                plan.producers.iter_mut().for_each(|producer| producer.node = 0);
                plan.consumers.iter_mut().for_each(|consumer| consumer.node = 0);
                plan.administration.iter_mut().for_each(|planned| planned.node = 0);
                plan.faults.iter_mut().for_each(|planned| planned.fault.befall_the_first_node());
            });
        }
        for kept in (0..plan.topics.len()).filter(|_| plan.topics.len() > 1) {
            self.add(|plan| {
                plan.topics = vec![plan.topics[kept].clone()];
                let last = plan.topics[0].partitions - 1;
                plan.places(|topic, partition| (*topic, *partition) = (0, (*partition).min(last)));
            });
        }
        for (index, topic) in plan.topics.iter().enumerate() {
            for count in 1..topic.partitions {
                self.add(|plan| {
                    plan.topics[index].partitions = count;
                    plan.places(|topic, partition| {
                        if *topic == index {
                            *partition = (*partition).min(count - 1);
                        }
                    });
                });
            }
        }
    }

    /// The same records from fewer producers and in fewer batches, for what only much data brings about.
    fn joins(&mut self) {
        let plan = self.plan;
        for from in 1..plan.producers.len() {
            for to in 0..from {
                self.add(|plan| {
                    let sends = plan.producers.remove(from).sends;
                    plan.producers[to].sends.extend(sends);
                    plan.producers[to].sends.sort_by_key(|send| send.at_us);
                });
            }
        }
        for (index, producer) in plan.producers.iter().enumerate() {
            for (later, send) in producer.sends.iter().enumerate() {
                let place = (send.topic, send.partition);
                let earlier =
                    producer.sends[..later].iter().rposition(|send| (send.topic, send.partition) == place);
                let Some(earlier) = earlier else { continue };
                let Some(joined) = plan.join(&producer.sends[earlier], send) else { continue };
                self.add(|plan| {
                    plan.producers[index].sends[earlier] = joined;
                    plan.producers[index].sends.remove(later);
                });
            }
        }
    }

    /// What rarely matters, everywhere in one step.
    fn everything_at_once(&mut self) {
        self.add(|plan| plan.sends(|send| send.records = 1));
        self.add(|plan| plan.sends(|send| send.value_bytes = SendPlan::VALUE_BYTES_MIN));
        self.add(|plan| plan.sends(|send| send.codec = Codec::None));
        self.add(|plan| plan.places(|_, partition| *partition = 0));
        self.add(|plan| plan.ranges(|range| *range = Range::exactly(range.low)));
        self.add(|plan| plan.nodes.iter_mut().for_each(|node| node.clock = ClockPlan::default()));
        self.add(|plan| plan.consumers.iter_mut().for_each(set_nothing));
        for divisor in [u64::MAX, 10, 2] {
            self.add(|plan| plan.times(|time| *time /= divisor));
        }
    }

    /// Less time between what happens, then rounder times.
    fn times(&mut self) {
        let mut times = Vec::new();
        self.plan.clone().times(|time| times.push(*time));
        let count = times.len();
        times.sort_unstable();
        times.dedup();
        let mut before = 0;
        for time in times {
            for gap in smaller(time - before, 0) {
                let by = time - before - gap;
                self.add(|plan| {
                    plan.times(|later| *later -= if *later >= time { by } else { 0 });
                });
            }
            before = time;
        }
        for digits in 0..4 {
            for place in 0..count {
                let mut places = 0..;
                self.add(|plan| {
                    plan.times(|time| {
                        if places.next() == Some(place) {
                            *time = if digits == 0 { 0 } else { round(*time, digits) };
                        }
                    });
                });
            }
        }
    }

    /// Durations that are always the same.
    fn ranges(&mut self) {
        let mut count = 0;
        self.plan.clone().ranges(|_| count += 1);
        for place in 0..count {
            let ends: [fn(&Range) -> u64; 2] = [|range| range.low, |range| range.high];
            for end in ends {
                let mut places = 0..;
                self.add(|plan| {
                    plan.ranges(|range| {
                        if places.next() == Some(place) {
                            *range = Range::exactly(end(range));
                        }
                    });
                });
            }
        }
    }

    fn topics(&mut self) {
        let edits: [fn(&mut TopicPlan); 11] = [
            |topic| topic.min_isr = None,
            |topic| topic.replicas = topic.replicas.min(2),
            |topic| topic.replicas = 1,
            |topic| topic.flush_messages = None,
            |topic| topic.flush_messages = topic.flush_messages.and(Some(1)),
            |topic| topic.segment_bytes = topic.segment_bytes.max(SEGMENT_BYTES),
            |topic| topic.index_interval_bytes = INDEX_INTERVAL_BYTES,
            |topic| topic.log_append_time = false,
            |topic| topic.retention_ms = None,
            |topic| topic.retention_bytes = None,
            |topic| topic.segment_ms = None,
        ];
        for index in 0..self.plan.topics.len() {
            edits.iter().for_each(|edit| self.add(|plan| edit(&mut plan.topics[index])));
        }
    }

    fn producers(&mut self) {
        let edits: [fn(&mut ProducerPlan); 5] = [
            |producer| producer.sends.iter_mut().for_each(|send| (send.topic, send.partition) = (0, 0)),
            |producer| producer.is_idempotent = false,
            |producer| producer.in_flight_max = 1,
            |producer| producer.api_version = *ApiKey::Produce.stable_versions().end(),
            |producer| producer.request_timeout_us = REQUEST_TIMEOUT_US,
        ];
        let send_edits: [fn(&mut SendPlan); 3] = [
            |send| send.codec = Codec::None,
            |send| send.partition = 0,
            |send| (send.topic, send.partition) = (0, 0),
        ];
        for (index, producer) in self.plan.producers.iter().enumerate() {
            edits.iter().for_each(|edit| self.add(|plan| edit(&mut plan.producers[index])));
            for place in 0..producer.sends.len() {
                for edit in send_edits {
                    self.add(|plan| edit(&mut plan.producers[index].sends[place]));
                }
            }
        }
    }

    fn consumers(&mut self) {
        let edits: [fn(&mut ConsumerPlan); 9] = [
            set_nothing,
            |consumer| consumer.api_version = *ApiKey::Fetch.stable_versions().end(),
            |consumer| consumer.has_sessions = false,
            |consumer| consumer.max_wait_ms = MAX_WAIT_MS,
            |consumer| consumer.min_bytes = MIN_BYTES,
            |consumer| consumer.max_bytes = MAX_BYTES,
            |consumer| consumer.partition_max_bytes = PARTITION_MAX_BYTES,
            |consumer| consumer.request_timeout_us = REQUEST_TIMEOUT_US,
            |consumer| consumer.rack = None,
        ];
        for (index, consumer) in self.plan.consumers.iter().enumerate() {
            edits.iter().for_each(|edit| self.add(|plan| edit(&mut plan.consumers[index])));
            for place in (0..consumer.assignment.len()).filter(|_| consumer.assignment.len() > 1) {
                self.add(|plan| {
                    plan.consumers[index].assignment.remove(place);
                });
            }
        }
    }

    /// Ends of a process that take less with them, and disks that fail in the usual way.
    fn faults(&mut self) {
        for (index, planned) in self.plan.faults.iter().enumerate() {
            if let Fault::Crash { while_recovering, .. } = &planned.fault {
                for place in 0..=while_recovering.len() {
                    for simpler in [CrashKind::Stop, CrashKind::Kill] {
                        self.add(|plan| {
                            let Fault::Crash { how, while_recovering, .. } = &mut plan.faults[index].fault
                            else {
                                return;
                            };
                            let mut ends = std::iter::once(how)
                                .chain(while_recovering.iter_mut().map(|again| &mut again.how));
                            let how = ends.nth(place).expect("it was counted");
                            *how = milder(*how, simpler);
                        });
                    }
                }
            }
            self.add(|plan| match &mut plan.faults[index].fault {
                Fault::Crash { disk, .. } => *disk = DiskAfter::Same,
                Fault::Disk { how: DiskFault::FailWrites { error, .. }, .. } => *error = WriteError::Io,
                Fault::Pause { .. }
                | Fault::PauseClient { .. }
                | Fault::ClockStep { .. }
                | Fault::Cut { .. }
                | Fault::Drop { .. }
                | Fault::Clog { .. }
                | Fault::Reset { .. }
                | Fault::ResetNodes { .. }
                | Fault::Duplicate { .. }
                | Fault::Disk { .. } => {}
            });
        }
        for index in 0..self.plan.administration.len() {
            self.add(|plan| {
                if let AdminDeed::DeleteRecords { per_cent, .. } = &mut plan.administration[index].deed {
                    *per_cent = 100;
                }
            });
        }
    }

    fn numbers(&mut self) {
        let mut numbers = Vec::new();
        self.plan.clone().numbers(|number, floor| numbers.push((number.size(), floor)));
        for (place, (size, floor)) in numbers.into_iter().enumerate() {
            for less in smaller(size, floor) {
                let mut places = 0..;
                self.add(|plan| {
                    plan.numbers(|number, _| {
                        if places.next() == Some(place) {
                            number.set_size(less);
                        }
                    });
                });
            }
        }
    }
}

/// The one of the two that takes less with it.
const fn milder(how: CrashKind, other: CrashKind) -> CrashKind {
    match (how, other) {
        (CrashKind::Stop, _) | (_, CrashKind::Stop) => CrashKind::Stop,
        (CrashKind::Kill, _) | (_, CrashKind::Kill) => CrashKind::Kill,
        (CrashKind::PowerLoss, CrashKind::PowerLoss) => CrashKind::PowerLoss,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Item, Mutation};
    use super::*;

    /// A plan of the size that is left to be simplified, a few items of every kind.
    fn small_plan(seed: u64) -> Plan {
        let plan = Plan { mutation: Some(Mutation::TopicForgotten), ..Plan::draw(seed) };
        let sparse = plan.items().len() / 12 + 1;
        let is_kept = |(place, item): &(usize, Item)| {
            !matches!(item, Item::Send { .. }) || place.is_multiple_of(sparse)
        };
        let kept = plan.items().into_iter().enumerate().filter(is_kept).map(|(_, item)| item).collect();
        plan.keeping(&kept)
    }

    #[test]
    fn every_simplification_of_a_plan_that_can_be_run_can_be_run() {
        for seed in 0..50 {
            let plan = small_plan(seed);
            for simpler in plan.simplifications() {
                assert_eq!(simpler.problem(), None, "seed {seed}");
                assert_ne!(simpler, plan, "seed {seed}");
                assert_eq!(simpler.mutation, plan.mutation, "seed {seed}: what is broken on purpose stays");
                assert_eq!(simpler.liveness_bound_us, plan.liveness_bound_us, "seed {seed}");
                assert!(simpler.last_us() <= plan.last_us(), "seed {seed}: nothing is simpler later");
            }
        }
    }

    #[test]
    fn simplifying_ends_where_every_value_is_at_its_floor() {
        for seed in 0..20 {
            let mut plan = small_plan(seed);
            let mut steps = 0;
            loop {
                let mut simpler = plan.simplifications();
                if simpler.is_empty() {
                    break;
                }
                // Another respect each time, the boldest steps and the smallest in turn.
                plan = simpler.swap_remove(steps * 7 % simpler.len());
                steps += 1;
                assert!(steps < 20_000, "seed {seed} goes round in circles");
            }
            assert_eq!(plan.last_us(), plan.lasts_at_least_us());
            if plan.controllers().next().is_none() {
                assert_eq!((plan.nodes.len(), plan.topics.len()), (1, 1));
                assert_eq!(plan.topics[0].partitions, 1, "seed {seed}");
            }
            let sets = plan.configurators.iter().flat_map(|configurator| &configurator.sets);
            assert!(sets.into_iter().all(|set| set.at_us == 0), "seed {seed}");
            let sends = plan.producers.iter().flat_map(|producer| &producer.sends);
            for send in sends {
                let floor = SendPlan {
                    at_us: 0,
                    topic: 0,
                    partition: 0,
                    records: 1,
                    value_bytes: 8,
                    codec: Codec::None,
                };
                assert_eq!(*send, floor, "seed {seed}");
            }
            assert!(plan.consumers.iter().all(|consumer| !consumer.has_sessions && consumer.start_us == 0));
            plan.clone().ranges(|range| assert_eq!(range.low, range.high, "seed {seed}"));
        }
    }

    impl Plan {
        /// What durations of a microsecond come to when everything begins at once.
        fn lasts_at_least_us(&self) -> u64 {
            self.faults.iter().map(|planned| planned.fault.lasts_us()).max().unwrap_or(0)
        }
    }

    #[test]
    fn smaller_numbers_are_rounder_and_reach_the_floor() {
        assert_eq!(smaller(734_512, 0), [0, 70_000, 300_000, 634_512, 700_000, 724_512, 730_000]);
        assert_eq!(smaller(300_000, 1), [1, 30_000, 100_000, 200_000, 290_000]);
        assert_eq!(smaller(9, 8), [8]);
        assert_eq!(smaller(1, 1), [0_u64; 0]);
        assert_eq!(smaller(0, 0), [0_u64; 0]);
    }

    #[test]
    fn a_number_keeps_its_sign() {
        let mut number = -3_600_000_i64;
        assert_eq!(number.size(), 3_600_000);
        number.set_size(5);
        assert_eq!(number, -5);
    }
}
