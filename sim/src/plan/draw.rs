//! Plans by seed: the whole of chance before a run.

use super::{
    AdminDeed, AdminPlan, ClockPlan, Codec, ConsumerPlan, CrashKind, DiskAfter, DiskFault, DiskPlan, End,
    Fault, FaultPlan, FileKind, NetworkPlan, NodePlan, NodeRole, Plan, ProducerPlan, Range,
    RecoveryFaultPlan, SendPlan, Spoiled, TopicPlan, WriteError,
};
use crate::field::mix;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use std::collections::BTreeMap;

/// What decides which nodes crash while they delete: no other plan changes with it.
const DELETION_SALT: u64 = 0x6465_6c65_7465_0001;

/// What draws plans.
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    pub(super) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        let wide = u128::from(self.word()) * u128::from(high - low + 1);
        low + u64::try_from(wide >> 64).expect("the upper half of a product of two words is a word")
    }

    pub(super) fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.between(1, denominator) <= numerator
    }

    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.between(0, len as u64 - 1)).expect("an index")
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.index(choices.len())]
    }

    pub(super) fn i32(&mut self, low: i32, high: i32) -> i32 {
        let low = u64::try_from(low).expect("a range of counts");
        let high = u64::try_from(high).expect("a range of counts");
        i32::try_from(self.between(low, high)).expect("a number between two that fit")
    }

    pub(super) fn u32(&mut self, low: u64, high: u64) -> u32 {
        u32::try_from(self.between(low, high)).expect("a number between two that fit")
    }
}

/// In one plan in so many no broker takes its leave before it stops.
const CURT_STOP_EVERY: u64 = 6;
/// What decides which: nothing else of a plan changes with it.
const CURT_STOP_SALT: u64 = 0x6375_7274_7374_6f70;

/// In one plan in so many topics are young for long, unless nothing breaks in it.
const LONG_YOUTH_EVERY: u64 = 12;
/// What is drawn of that: no other plan changes with it.
const LONG_YOUTH_SALT: u64 = 0x7930_7574_685f_3434;
/// How many batches a producer sends to a node whose topics are.
const SENDS_IN_LONG_YOUTH: usize = 8;

/// What a seed lets exist at all. Leaving kinds out makes the others meet in ways that all together never would.
struct Swarm {
    duration_us: u64,
    nodes: usize,
    /// Which kinds of fault exist, each as often as it stands here.
    faults: Vec<FaultKind>,
    recovery_faults: bool,
    idempotent: bool,
    codecs: Vec<Codec>,
    large_batches: bool,
    bursts: bool,
    /// Whether there is a stretch in which nobody does anything.
    idle: bool,
    retention: bool,
    administration: bool,
    clocks: bool,
}

/// Faults that mean little alone and much when one follows another at the right distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    /// The power goes after a clean stop, and before that after a recovery that had a tail to cut.
    PowerLossAfterStop,
    /// The process dies while it stops.
    KillWhileStopping,
    /// The process dies when its first records are written and the small files of their logs may not be.
    KillWhileYoung,
    /// The power goes again, soon after a recovery.
    PowerLossAfterPowerLoss,
    /// A write goes astray, and the power goes while it is young.
    PowerLossAfterLostWrite,
    /// A sync fails, and the power goes.
    PowerLossAfterFailedSync,
    /// A bit flips while the process is down.
    RotWhileDown,
    /// A bit flips while the machine is off after a clean stop.
    RotWhileStopped,
}

/// Sequels that one replica survives.
const SURVIVABLE_SEQUELS: [Sequel; 5] = [
    Sequel::PowerLossAfterStop,
    Sequel::PowerLossAfterStop,
    Sequel::KillWhileStopping,
    Sequel::KillWhileYoung,
    Sequel::PowerLossAfterPowerLoss,
];

/// Sequels that no single replica survives.
const SEQUELS_BEYOND: [Sequel; 6] = [
    Sequel::PowerLossAfterLostWrite,
    Sequel::PowerLossAfterFailedSync,
    Sequel::RotWhileDown,
    Sequel::RotWhileDown,
    Sequel::RotWhileDown,
    Sequel::RotWhileStopped,
];

/// A kind of fault, of which a plan has several or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultKind {
    PowerLoss,
    Kill,
    Stop,
    OtherDisk,
    Pause,
    PauseClient,
    ClockStep,
    Cut,
    DropRequests,
    DropAnswers,
    Clog,
    Reset,
    Duplicate,
    FailWrites,
    FailReads,
    Full,
    Stall,
    // What no single replica survives.
    EmptyDisk,
    FailSyncs,
    Phantom,
    Misdirected,
    Rot,
}

/// Kinds that one replica survives, with in how many seeds of twelve each exists.
const SURVIVABLE: [(FaultKind, u64); 17] = [
    (FaultKind::PowerLoss, 8),
    (FaultKind::Kill, 7),
    (FaultKind::Stop, 5),
    (FaultKind::OtherDisk, 1),
    (FaultKind::Pause, 3),
    (FaultKind::PauseClient, 3),
    (FaultKind::ClockStep, 3),
    (FaultKind::Cut, 3),
    (FaultKind::DropRequests, 3),
    (FaultKind::DropAnswers, 4),
    (FaultKind::Clog, 3),
    (FaultKind::Reset, 3),
    (FaultKind::Duplicate, 3),
    (FaultKind::FailWrites, 3),
    (FaultKind::FailReads, 2),
    (FaultKind::Full, 2),
    (FaultKind::Stall, 3),
];

/// Kinds that no single replica survives.
const BEYOND: [FaultKind; 6] = [
    FaultKind::EmptyDisk,
    FaultKind::FailSyncs,
    FaultKind::Phantom,
    FaultKind::Misdirected,
    FaultKind::Rot,
    FaultKind::Rot,
];

/// One seed in so many has faults beyond what its configuration promises to survive.
const BEYOND_EVERY: u64 = 8;

impl Swarm {
    fn draw(draw: &mut Draw) -> Self {
        let nodes = if draw.chance(1, 8) { 2 } else { 1 };
        let mut faults = Vec::new();
        for (kind, of_twelve) in SURVIVABLE {
            if draw.chance(of_twelve, 12) {
                faults.push(kind);
            }
        }
        if draw.chance(1, BEYOND_EVERY) {
            let beyond = draw.one_of(&BEYOND);
            faults.extend([beyond, beyond]);
        }
        // A short list makes the few meet often.
        if draw.chance(1, 3) {
            while faults.len() > 3 {
                let gone = draw.index(faults.len());
                faults.swap_remove(gone);
            }
        }
        if draw.chance(1, 16) {
            faults.clear();
        }
        let codecs = [(Codec::Lz4, 4), (Codec::Snappy, 8), (Codec::Gzip, 16), (Codec::Zstd, 16)];
        Self {
            duration_us: draw.between(1_000_000, 20_000_000),
            nodes,
            faults,
            recovery_faults: draw.chance(1, 2),
            idempotent: draw.chance(3, 4),
            codecs: codecs
                .into_iter()
                .filter_map(|(codec, of)| draw.chance(1, of).then_some(codec))
                .collect(),
            large_batches: draw.chance(1, 3),
            bursts: draw.chance(1, 2),
            idle: draw.chance(1, 6),
            retention: draw.chance(1, 4),
            administration: draw.chance(1, 3),
            clocks: draw.chance(1, 2),
        }
    }
}

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        if Self::is_of_a_quorum(seed) {
            return Self::draw_quorum(seed);
        }
        let mut draw = Draw::new(seed);
        let field_seed = draw.word();
        let swarm = Swarm::draw(&mut draw);
        let topics = draw_topics(&mut draw, &swarm);
        let nodes = (0..swarm.nodes).map(|_| draw_node(&mut draw, &swarm)).collect();
        let producers: Vec<ProducerPlan> = (0..draw.between(1, 4))
            .map(|index| draw_producer(&mut draw, &swarm, &topics, 10 + index))
            .collect();
        let consumers: Vec<ConsumerPlan> = (0..draw.between(1, 3))
            .map(|index| draw_consumer(&mut draw, &swarm, &topics, 20 + index))
            .collect();
        let administration = draw_administration(&mut draw, &swarm, &topics);
        let clients: Vec<u64> = producers
            .iter()
            .map(|producer| producer.client)
            .chain(consumers.iter().map(|consumer| consumer.client))
            .collect();
        let faults = draw_faults(&mut draw, &swarm, &clients);
        let mut plan = Self {
            version: Self::VERSION,
            field_seed,
            nodes,
            network: NetworkPlan {
                to_node_us: Range { low: 20, high: draw.one_of(&[60, 500, 20_000]) },
                to_client_us: Range { low: 20, high: draw.one_of(&[60, 500, 20_000]) },
                between_nodes_us: NetworkPlan::near(),
                encoded_per_mille: draw.one_of(&[0, 20, 20, 1_000]),
            },
            faults,
            weather: Vec::new(),
            topics,
            producers,
            consumers,
            configurators: Vec::new(),
            gatekeepers: Vec::new(),
            brokers: Vec::new(),
            first_voters: None,
            operators: Vec::new(),
            administration,
            liveness_bound_us: 120_000_000,
            without_elr: false,
            metadata_version: None,
            museum: Vec::new(),
            mutation: None,
        };
        // Drawn last, so that what a seed had before it has still.
        plan.draw_sequels(&mut draw);
        plan.draw_rare_settings(&mut draw);
        plan.draw_rare_deeds(&mut draw);
        plan.draw_crashes_at_deletions(&mut Draw::new(mix(seed ^ DELETION_SALT)));
        plan.draw_long_youth(&mut Draw::new(seed ^ LONG_YOUTH_SALT));
        if mix(seed ^ CURT_STOP_SALT).is_multiple_of(CURT_STOP_EVERY) {
            for node in &mut plan.nodes {
                node.properties.insert("controlled.shutdown.enable".to_owned(), false.to_string());
            }
        }
        if swarm.idle {
            plan.make_room(draw.between(0, swarm.duration_us), draw.between(60_000_000, 900_000_000));
        }
        plan
    }

    /// Adds faults that follow one another.
    fn draw_sequels(&mut self, draw: &mut Draw) {
        let is_beyond = draw.chance(1, 24);
        if self.faults.is_empty() || !(is_beyond || draw.chance(1, 4)) {
            return;
        }
        let last_us = self.last_us().max(200_000);
        for _ in 0..draw.between(1, 4) {
            let sequel = draw.one_of(if is_beyond { &SEQUELS_BEYOND } else { &SURVIVABLE_SEQUELS });
            let node = draw.index(self.nodes.len());
            let at_us = draw.between(100_000, last_us);
            if sequel == Sequel::KillWhileYoung {
                for send in self.producers.iter_mut().filter_map(|producer| producer.sends.first_mut()) {
                    send.at_us = 0;
                }
            }
            let added = draw_sequel(draw, sequel, node, at_us);
            self.faults.extend(added);
            if matches!(sequel, Sequel::RotWhileDown | Sequel::PowerLossAfterPowerLoss) {
                // There has to be something below the recovery point.
                let properties = &mut self.nodes[node].properties;
                for (key, value) in
                    [("log.initial.task.delay.ms", "1"), ("log.flush.offset.checkpoint.interval.ms", "50")]
                {
                    properties.insert(key.to_owned(), value.to_owned());
                }
            }
        }
        self.faults.sort_by_key(|planned| planned.at_us);
    }

    /// Sets what comes to pass in the length of a run only where it is far from its default.
    fn draw_rare_settings(&mut self, draw: &mut Draw) {
        for node in &mut self.nodes {
            let mut set = |key: &str, value: u64| node.properties.insert(key.to_owned(), value.to_string());
            if draw.chance(1, 10) {
                set("log.index.size.max.bytes", draw.one_of(&[24, 48, 120]));
            }
            if draw.chance(1, 10) {
                set("log.flush.interval.ms", draw.one_of(&[5, 50, 500]));
                set("log.flush.scheduler.interval.ms", draw.one_of(&[5, 100]));
            }
            if draw.chance(1, 16) {
                set("producer.id.expiration.ms", draw.one_of(&[300, 2_000]));
                set("producer.id.expiration.check.interval.ms", draw.one_of(&[50, 500]));
            }
            if draw.chance(1, 24) {
                set("log.retention.ms", draw.one_of(&[500, 5_000]));
                set("log.retention.check.interval.ms", 100);
                set("log.initial.task.delay.ms", 1);
            }
            if draw.chance(1, 16) {
                set("message.max.bytes", draw.one_of(&[200, 700, 3_000]));
            }
        }
    }

    /// Adds what administrators and strangers rarely ask for.
    fn draw_rare_deeds(&mut self, draw: &mut Draw) {
        if !draw.chance(1, 5) {
            return;
        }
        let last_us = self.last_us().max(200_000);
        for _ in 0..draw.between(1, 4) {
            let (at_us, node) = (draw.between(50_000, last_us), draw.index(self.nodes.len()));
            let topic = draw.index(self.topics.len());
            let partition = draw.i32(0, self.topics[topic].partitions - 1);
            let deed = match draw.between(0, 7) {
                0 => AdminDeed::RecreateTopic { topic },
                1 => AdminDeed::AddPartitions { topic, more: draw.i32(1, 3) },
                2 => AdminDeed::NameTopicTwice { topic },
                3 | 4 => AdminDeed::LookUpTime { topic, partition, time_us: draw.between(0, last_us) },
                5 => AdminDeed::FetchOfOtherEpoch {
                    topic,
                    partition,
                    leader_epoch: draw.one_of(&[-1, -1, 7]),
                    last_fetched_epoch: draw.one_of(&[-1, 0, 7]),
                },
                _ => {
                    let spoiled =
                        draw.one_of(&[Spoiled::Flipped, Spoiled::FlippedWithoutAcks, Spoiled::FromTheFuture]);
                    AdminDeed::WriteSpoiled { topic, partition, spoiled }
                }
            };
            self.administration.push(AdminPlan { at_us, node, deed });
        }
        self.administration.sort_by_key(|planned| planned.at_us);
    }

    /// Lets nodes crash while they delete a topic, which takes a moment.
    fn draw_crashes_at_deletions(&mut self, draw: &mut Draw) {
        if self.faults.is_empty() {
            return;
        }
        let is_deletion = |planned: &&AdminPlan| matches!(planned.deed, AdminDeed::RecreateTopic { .. });
        let deletions: Vec<(u64, usize)> = self
            .administration
            .iter()
            .filter(is_deletion)
            .map(|planned| (planned.at_us, planned.node))
            .collect();
        for (at_us, node) in deletions {
            if draw.chance(1, 2) {
                let how = draw.one_of(&[CrashKind::Kill, CrashKind::PowerLoss]);
                let (disk, while_recovering) = (DiskAfter::Same, Vec::new());
                let fault = Fault::Crash { node, how, down_us: 10_000, disk, while_recovering };
                self.faults.push(FaultPlan { at_us: at_us + draw.between(200, 10_000), fault });
            }
        }
        self.faults.sort_by_key(|planned| planned.at_us);
    }

    /// Lets topics be young for long on a node, which is killed again and again meanwhile: where a sync takes long, a log has
    /// its first records some time before it has its small files.
    fn draw_long_youth(&mut self, draw: &mut Draw) {
        if self.faults.is_empty() || !draw.chance(1, LONG_YOUTH_EVERY) {
            return;
        }
        let node = draw.index(self.nodes.len());
        self.nodes[node].disk.sync_us = Range { low: 50_000, high: 200_000 };
        for producer in self.producers.iter_mut().filter(|producer| producer.node == node) {
            // More would take such a disk longer than anybody waits.
            producer.sends.truncate(SENDS_IN_LONG_YOUTH);
            if let Some(send) = producer.sends.first_mut() {
                send.at_us = 0;
            }
        }
        for _ in 0..draw.between(2, 6) {
            let at_us = draw.between(100_000, 2_000_000);
            let (disk, while_recovering) = (DiskAfter::Same, Vec::new());
            let fault = Fault::Crash { node, how: CrashKind::Kill, down_us: 1_000, disk, while_recovering };
            self.faults.push(FaultPlan { at_us, fault });
        }
        self.faults.sort_by_key(|planned| planned.at_us);
    }

    /// Puts a stretch of `len_us` into the plan at `at_us` in which nothing is planned to happen.
    fn make_room(&mut self, at_us: u64, len_us: u64) {
        let later = |time: &mut u64| {
            if *time >= at_us {
                *time += len_us;
            }
        };
        self.producers
            .iter_mut()
            .flat_map(|producer| &mut producer.sends)
            .for_each(|send| later(&mut send.at_us));
        self.consumers.iter_mut().for_each(|consumer| later(&mut consumer.start_us));
        self.administration.iter_mut().for_each(|planned| later(&mut planned.at_us));
        self.faults.iter_mut().for_each(|planned| later(&mut planned.at_us));
    }
}

fn draw_topics(draw: &mut Draw, swarm: &Swarm) -> Vec<TopicPlan> {
    let count = if draw.chance(1, 4) { 2 } else { 1 };
    (0..count)
        .map(|index| TopicPlan {
            name: ["orders", "payments"][index].to_owned(),
            partitions: draw.i32(1, 4),
            replicas: 1,
            min_isr: None,
            flush_messages: match draw.between(0, 3) {
                0 => None,
                1 | 2 => Some(1),
                _ => Some(draw.between(2, 50)),
            },
            segment_bytes: draw.one_of(&[2_048, 8_192, 65_536, 1_048_576]),
            index_interval_bytes: draw.one_of(&[0, 100, 600, 4_096]),
            log_append_time: draw.chance(1, 6),
            retention_ms: (swarm.retention && draw.chance(1, 2))
                .then(|| draw.one_of(&[1_000, 10_000, 3_600_000])),
            retention_bytes: (swarm.retention && draw.chance(1, 2))
                .then(|| draw.one_of(&[0, 4_096, 100_000])),
            segment_ms: (swarm.retention && draw.chance(1, 2)).then(|| draw.one_of(&[500, 5_000])),
            unclean_elections: false,
        })
        .collect()
}

fn draw_node(draw: &mut Draw, swarm: &Swarm) -> NodePlan {
    let mut properties = BTreeMap::new();
    // The intervals at which a node does its housekeeping: Kafka's own would rarely come to pass in so short a life.
    for key in [
        "log.flush.offset.checkpoint.interval.ms",
        "log.flush.start.offset.checkpoint.interval.ms",
        "replica.high.watermark.checkpoint.interval.ms",
    ] {
        if draw.chance(2, 3) {
            properties.insert(key.to_owned(), draw.one_of(&[50, 400, 3_000]).to_string());
        }
    }
    if swarm.retention {
        let interval = draw.one_of(&[100, 1_000, 5_000]).to_string();
        properties.insert("log.retention.check.interval.ms".to_owned(), interval);
        properties
            .insert("log.segment.delete.delay.ms".to_owned(), draw.one_of(&[0, 100, 60_000]).to_string());
    }
    if draw.chance(2, 3) {
        // How long a node waits before its housekeeping begins: Kafka's own 30 s are longer than most runs.
        properties.insert("log.initial.task.delay.ms".to_owned(), draw.one_of(&[1, 50, 400]).to_string());
    }
    if draw.chance(1, 4) {
        properties.insert("max.incremental.fetch.session.cache.slots".to_owned(), "1".to_owned());
    }
    NodePlan {
        role: NodeRole::Standalone,
        log_dirs: 1,
        properties,
        disk: draw_disk(draw),
        clock: if swarm.clocks {
            ClockPlan {
                offset_ms: i64::from(draw.i32(0, 20_000)) - 10_000,
                drift_ppm: draw.i32(0, 2_000) - 1_000,
            }
        } else {
            ClockPlan::default()
        },
    }
}

pub(super) fn draw_disk(draw: &mut Draw) -> DiskPlan {
    let (read_high, write_high, sync_high) =
        draw.one_of(&[(30, 20, 200), (200, 100, 2_000), (9_000, 200, 12_000), (500, 5_000, 50_000)]);
    DiskPlan {
        write_us: Range { low: 2, high: write_high },
        read_us: Range { low: 2, high: read_high },
        sync_us: Range { low: 30, high: sync_high },
        answer_us: Range { low: 0, high: draw.one_of(&[0, 10, 500]) },
    }
}

fn draw_producer(draw: &mut Draw, swarm: &Swarm, topics: &[TopicPlan], client: u64) -> ProducerPlan {
    let is_idempotent = swarm.idempotent && draw.chance(2, 3);
    let acks = if is_idempotent { -1 } else { draw.one_of(&[0, 1, 1, -1, -1]) };
    let mut at_us = draw.between(0, swarm.duration_us / 4);
    let mut sends = Vec::new();
    let gap_high = swarm.duration_us / 20;
    for _ in 0..draw.between(1, 60) {
        if !(swarm.bursts && draw.chance(3, 4)) {
            at_us += draw.between(0, gap_high);
        }
        if at_us > swarm.duration_us {
            break;
        }
        let topic = draw.index(topics.len());
        let is_large = swarm.large_batches && draw.chance(1, 8);
        let records_max = if draw.chance(1, 4) { 30 } else { 4 };
        let value_bytes = if is_large { draw.u32(300, 1_500) } else { draw.u32(8, 120) };
        let is_compressed = !swarm.codecs.is_empty() && draw.chance(1, 2);
        sends.push(SendPlan {
            at_us,
            topic,
            partition: draw.i32(0, topics[topic].partitions - 1),
            records: u16::try_from(draw.between(1, records_max)).expect("few"),
            value_bytes,
            codec: if is_compressed { draw.one_of(&swarm.codecs) } else { Codec::None },
        });
    }
    // A batch must fit into a segment: the smallest would refuse the largest.
    for send in &mut sends {
        let room = topics[send.topic].segment_bytes.min(16_384) - 200;
        let each = send.value_bytes + 30;
        send.records = send.records.min(u16::try_from((room / each).max(1)).expect("few"));
        send.value_bytes = send.value_bytes.min(room - 30);
    }
    ProducerPlan {
        client,
        node: draw.index(swarm.nodes),
        acks,
        is_idempotent,
        in_flight_max: draw.u32(1, 5),
        // From the first with record batches of their present form up to the newest; Zstandard came with 7 (KIP-110).
        api_version: if swarm.codecs.contains(&Codec::Zstd) {
            draw.one_of(&[7, 9, 13])
        } else {
            draw.one_of(&[3, 7, 8, 9, 10, 11, 12, 13, 13])
        },
        request_timeout_us: draw.one_of(&[300_000, 2_000_000, 30_000_000]),
        sends,
    }
}

fn draw_consumer(draw: &mut Draw, swarm: &Swarm, topics: &[TopicPlan], client: u64) -> ConsumerPlan {
    let mut assignment = Vec::new();
    for (index, topic) in topics.iter().enumerate() {
        for partition in 0..topic.partitions {
            if draw.chance(3, 4) {
                assignment.push((index, partition));
            }
        }
    }
    if assignment.is_empty() {
        assignment.push((0, 0));
    }
    // From the first with record batches of their present form up to the newest; Zstandard came with 10 (KIP-110).
    let api_version = if swarm.codecs.contains(&Codec::Zstd) {
        draw.one_of(&[10, 12, 13, 16, 18])
    } else {
        draw.one_of(&[4, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 18])
    };
    ConsumerPlan {
        client,
        node: draw.index(swarm.nodes),
        start_us: draw.between(0, swarm.duration_us),
        assignment,
        api_version,
        // Sessions came with version 7 (KIP-227).
        has_sessions: api_version >= 7 && draw.chance(2, 3),
        max_wait_ms: draw.one_of(&[0, 20, 500]),
        min_bytes: draw.one_of(&[1, 1, 500, 100_000]),
        max_bytes: draw.one_of(&[1, 4_000, 52_428_800]),
        partition_max_bytes: draw.one_of(&[1, 700, 1_048_576]),
        request_timeout_us: draw.one_of(&[500_000, 3_000_000, 30_000_000]),
        rack: None,
    }
}

fn draw_administration(draw: &mut Draw, swarm: &Swarm, topics: &[TopicPlan]) -> Vec<AdminPlan> {
    if !swarm.administration {
        return Vec::new();
    }
    let mut times: Vec<u64> =
        (0..draw.between(1, 6)).map(|_| draw.between(100_000, swarm.duration_us + 500_000)).collect();
    times.sort_unstable();
    let deeds = times.into_iter().map(|at_us| {
        let topic = draw.index(topics.len());
        let deed = if draw.chance(2, 3) {
            AdminDeed::DeleteRecords {
                topic,
                partition: draw.i32(0, topics[topic].partitions - 1),
                per_cent: draw.one_of(&[1, 50, 100]),
            }
        } else {
            let (key, value) = draw.one_of(&[
                ("max.message.bytes", "1048588"),
                ("file.delete.delay.ms", "0"),
                ("segment.jitter.ms", "10"),
                ("retention.ms", "-1"),
            ]);
            AdminDeed::AlterConfig { topic, key: key.to_owned(), value: value.to_owned() }
        };
        AdminPlan { at_us, node: draw.index(swarm.nodes), deed }
    });
    deeds.collect()
}

fn draw_faults(draw: &mut Draw, swarm: &Swarm, clients: &[u64]) -> Vec<FaultPlan> {
    if swarm.faults.is_empty() {
        return Vec::new();
    }
    let mut times: Vec<u64> =
        (0..draw.between(1, 8)).map(|_| draw.between(10_000, swarm.duration_us + 500_000)).collect();
    times.sort_unstable();
    times
        .into_iter()
        .map(|at_us| {
            let kind = draw.one_of(&swarm.faults);
            FaultPlan { at_us, fault: draw_fault(draw, swarm, kind, clients) }
        })
        .collect()
}

fn draw_sequel(draw: &mut Draw, sequel: Sequel, node: usize, at_us: u64) -> Vec<FaultPlan> {
    let crash = |how, down_us| Fault::Crash {
        node,
        how,
        down_us,
        disk: DiskAfter::Same,
        while_recovering: Vec::new(),
    };
    let disk = |how| Fault::Disk { node, how };
    let soon = draw.one_of(&[1_000, 20_000, 200_000]);
    let times = draw.u32(1, 4);
    let of_logs = draw.one_of(&[FileKind::ActiveSegment, FileKind::ActiveSegment, FileKind::Any]);
    let rotten = draw.one_of(&[
        FileKind::ClosedSegment,
        FileKind::ClosedSegment,
        FileKind::Snapshot,
        FileKind::Snapshot,
        FileKind::Checkpoint,
        FileKind::ActiveSegment,
        FileKind::Index,
    ]);
    let faults = match sequel {
        Sequel::PowerLossAfterStop => vec![
            (0, crash(CrashKind::PowerLoss, 1_000)),
            (1_000 + soon, crash(CrashKind::Stop, 2_000_000)),
            (1_500_000, crash(CrashKind::PowerLoss, 1_000)),
        ],
        Sequel::KillWhileStopping => {
            let how = draw.one_of(&[CrashKind::Kill, CrashKind::PowerLoss]);
            let later = draw.one_of(&[50, 400, 3_000, 20_000]);
            vec![(0, crash(CrashKind::Stop, 100_000)), (later, crash(how, 1_000))]
        }
        Sequel::KillWhileYoung => {
            let at_us = draw.between(1_000, 250_000);
            return vec![FaultPlan { at_us, fault: crash(CrashKind::Kill, 1_000) }];
        }
        Sequel::PowerLossAfterPowerLoss => {
            vec![(0, crash(CrashKind::PowerLoss, 1_000)), (1_000 + soon, crash(CrashKind::PowerLoss, 1_000))]
        }
        Sequel::PowerLossAfterLostWrite => {
            let lost = if draw.chance(1, 2) {
                DiskFault::PhantomWrites { files: of_logs, times }
            } else {
                DiskFault::MisdirectedWrites { files: of_logs, times }
            };
            vec![(0, disk(lost)), (soon, crash(CrashKind::PowerLoss, 1_000))]
        }
        Sequel::PowerLossAfterFailedSync => vec![
            (0, disk(DiskFault::FailSyncs { files: of_logs, times })),
            (soon, crash(CrashKind::PowerLoss, 1_000)),
        ],
        Sequel::RotWhileDown => {
            vec![(0, crash(CrashKind::Kill, 200_000)), (100_000, disk(DiskFault::Rot { files: rotten }))]
        }
        Sequel::RotWhileStopped => {
            vec![(0, crash(CrashKind::Stop, 900_000)), (800_000, disk(DiskFault::Rot { files: rotten }))]
        }
    };
    faults.into_iter().map(|(later, fault)| FaultPlan { at_us: at_us + later, fault }).collect()
}

fn draw_fault(draw: &mut Draw, swarm: &Swarm, kind: FaultKind, clients: &[u64]) -> Fault {
    let node = draw.index(swarm.nodes);
    let client = draw.one_of(clients);
    let for_us = draw.one_of(&[1_000, 50_000, 700_000, 5_000_000]);
    let (here, there) = (End::Client(client), End::Node(node));
    let (from, to) = if draw.chance(1, 2) { (here, there) } else { (there, here) };
    let times = draw.u32(1, 3);
    let files = draw.one_of(&[
        FileKind::Any,
        FileKind::ActiveSegment,
        FileKind::ActiveSegment,
        FileKind::Index,
        FileKind::Snapshot,
        FileKind::Checkpoint,
        FileKind::MetadataLog,
    ]);
    let disk = |how| Fault::Disk { node, how };
    let crash = |draw: &mut Draw, how, disk| {
        let recovering = swarm.recovery_faults && draw.chance(1, 2);
        let count = if recovering { draw.between(1, 3) } else { 0 };
        let kinds = [CrashKind::Kill, CrashKind::PowerLoss];
        let while_recovering = (0..count).map(|_| RecoveryFaultPlan {
            after_completions: draw.u32(0, 40),
            how: draw.one_of(&kinds),
            down_us: draw.one_of(&[1_000, 100_000]),
        });
        let while_recovering = while_recovering.collect();
        Fault::Crash { node, how, down_us: draw.one_of(&[1_000, 100_000, 2_000_000]), disk, while_recovering }
    };
    match kind {
        FaultKind::PowerLoss => crash(draw, CrashKind::PowerLoss, DiskAfter::Same),
        FaultKind::Kill => crash(draw, CrashKind::Kill, DiskAfter::Same),
        FaultKind::Stop => crash(draw, CrashKind::Stop, DiskAfter::Same),
        FaultKind::OtherDisk => {
            let other = if swarm.nodes > 1 { DiskAfter::Of(1 - node) } else { DiskAfter::Unformatted };
            let how = draw.one_of(&[CrashKind::Stop, CrashKind::Kill]);
            crash(draw, how, other)
        }
        FaultKind::EmptyDisk => crash(draw, CrashKind::PowerLoss, DiskAfter::Empty),
        FaultKind::Pause => Fault::Pause { node, for_us },
        FaultKind::PauseClient => Fault::PauseClient { client, for_us },
        FaultKind::ClockStep => {
            let by_ms = draw.one_of(&[-3_600_000, -2_000, -1, 40, 5_000, 3_600_000, 86_400_000]);
            Fault::ClockStep { node, by_ms }
        }
        FaultKind::Cut => Fault::Cut { from, to, for_us },
        FaultKind::DropRequests => {
            // Produce, Fetch, ListOffsets, Metadata, CreateTopics, InitProducerId.
            let api = draw.one_of(&[Some(0), Some(1), Some(2), Some(3), Some(19), Some(22), None]);
            Fault::Drop { from: here, to: there, api, for_us }
        }
        FaultKind::DropAnswers => {
            let api = draw.one_of(&[Some(0), Some(0), Some(1), Some(22), None]);
            Fault::Drop { from: there, to: here, api, for_us }
        }
        FaultKind::Clog => Fault::Clog { from, to, by_us: draw.one_of(&[5_000, 200_000, 3_000_000]), for_us },
        FaultKind::Reset => Fault::Reset { client, node },
        FaultKind::Duplicate => {
            let after_us = draw.one_of(&[1_000, 300_000, 4_000_000]);
            Fault::Duplicate { client, node, after_us, for_us }
        }
        FaultKind::FailWrites => {
            let error = draw.one_of(&[WriteError::Io, WriteError::NoSpace]);
            disk(DiskFault::FailWrites { files, times, error })
        }
        FaultKind::FailReads => disk(DiskFault::FailReads { files, times }),
        FaultKind::FailSyncs => disk(DiskFault::FailSyncs { files, times }),
        FaultKind::Full => disk(DiskFault::Full { for_us }),
        FaultKind::Stall => disk(DiskFault::Stall { for_us }),
        FaultKind::Phantom => disk(DiskFault::PhantomWrites { files, times }),
        FaultKind::Misdirected => disk(DiskFault::MisdirectedWrites { files, times }),
        FaultKind::Rot => {
            let files = draw.one_of(&[
                FileKind::ClosedSegment,
                FileKind::ClosedSegment,
                FileKind::ActiveSegment,
                FileKind::Index,
                FileKind::Snapshot,
                FileKind::Checkpoint,
            ]);
            disk(DiskFault::Rot { files })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_other_seeds_have_others() {
        assert_eq!(Plan::draw(1), Plan::draw(1));
        assert_ne!(Plan::draw(1), Plan::draw(2));
    }

    #[test]
    fn a_plan_survives_being_written_down() {
        for seed in 0..200 {
            let plan = Plan::draw(seed);
            let text = serde_json::to_string_pretty(&plan).expect("a plan can be written");
            assert_eq!(serde_json::from_str::<Plan>(&text).expect("and read"), plan);
        }
    }

    #[test]
    fn drawn_plans_can_be_run() {
        for seed in 0..300 {
            let plan = Plan::draw(seed);
            assert_eq!(plan.problem(), None, "seed {seed}");
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at_us), "seed {seed}");
            for producer in &plan.producers {
                for send in &producer.sends {
                    let topic = &plan.topics[send.topic];
                    let bytes = u32::from(send.records) * (send.value_bytes + 30) + 61;
                    assert!(bytes <= topic.segment_bytes, "seed {seed}: {bytes} do not fit");
                }
                assert!(!producer.is_idempotent || producer.acks == -1, "seed {seed}");
            }
        }
        assert_eq!(Plan::reference().problem(), None);
        assert_eq!(Plan::idle().problem(), None);
        assert_eq!(Plan::reference_quorum().problem(), None);
        assert_eq!(Plan::reference_replicated().problem(), None);
    }

    #[test]
    fn every_kind_of_fault_is_drawn_by_some_seed() {
        let names: std::collections::BTreeSet<String> = (0..3_000)
            .map(Plan::draw)
            .flat_map(|plan| plan.faults)
            .map(|planned| {
                let json = serde_json::to_value(&planned).expect("a fault can be written");
                let word = |key: &str| json.get(key).map(|value| value.to_string().replace('"', ""));
                let words = ["fault", "how", "disk"].into_iter().filter_map(word);
                words
                    .map(|word| word.split(':').next().unwrap_or_default().to_owned())
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        let expected = [
            "clock_step",
            "clog",
            "crash kill",
            "crash kill empty",
            "crash kill unformatted",
            "crash kill {of",
            "crash power_loss",
            "crash power_loss empty",
            "crash stop",
            "crash stop unformatted",
            "crash stop {of",
            "cut",
            "disk fail_reads",
            "disk fail_syncs",
            "disk fail_writes",
            "disk full",
            "disk lose_directory",
            "disk misdirected_writes",
            "disk phantom_writes",
            "disk rot",
            "disk stall",
            "drop",
            "duplicate",
            "pause",
            "pause_client",
            "reset",
            "reset_nodes",
        ];
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn most_plans_stay_within_what_their_configuration_survives_and_some_do_not() {
        let beyond = (0..400).filter(|seed| !Plan::draw(*seed).is_within_budget()).count();
        assert!((10..100).contains(&beyond), "{beyond} of 400");
    }
}
