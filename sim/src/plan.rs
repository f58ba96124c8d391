//! What is decided before a run: configuration, client operations, faults and when each happens. A plan is drawn from a
//! seed, or written by hand; a run is a function of its plan.
//!
//! Everything that chance decides while the run is under way is the [`crate::field::Field`] of `field_seed`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A whole run, decided. Times are virtual microseconds from the beginning of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The form of this structure, [`Plan::VERSION`].
    pub version: u32,
    /// Seed of the field.
    pub field_seed: u64,
    /// Entries of `server.properties` beside those that every simulated node has.
    pub broker: BTreeMap<String, String>,
    /// Topics that exist from the beginning.
    pub topics: Vec<TopicPlan>,
    /// The disk.
    pub disk: DiskPlan,
    /// The network.
    pub network: NetworkPlan,
    /// Producers.
    pub producers: Vec<ProducerPlan>,
    /// Consumers.
    pub consumers: Vec<ConsumerPlan>,
    /// Faults, in the order of their times.
    pub faults: Vec<FaultPlan>,
    /// How long after the last restart and the last planned operation every client must have finished.
    pub liveness_bound_us: u64,
    /// A rule of the simulated world that is broken on purpose, so that a check has something to find.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutation: Option<Mutation>,
}

/// A topic and those of its settings that checks have to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: i32,
    /// `flush.messages`; nothing for never.
    pub flush_messages: Option<u64>,
    /// `internal.segment.bytes`.
    pub segment_bytes: u32,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// Whether `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
}

impl TopicPlan {
    /// The settings as CreateTopics takes them.
    #[must_use]
    pub fn configs(&self) -> Vec<(&'static str, String)> {
        let mut configs = vec![
            ("internal.segment.bytes", self.segment_bytes.to_string()),
            ("index.interval.bytes", self.index_interval_bytes.to_string()),
        ];
        if let Some(messages) = self.flush_messages {
            configs.push(("flush.messages", messages.to_string()));
        }
        if self.log_append_time {
            configs.push(("message.timestamp.type", "LogAppendTime".to_owned()));
        }
        configs
    }
}

/// The numbers from `low` to `high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The smallest.
    pub low: u64,
    /// The largest.
    pub high: u64,
}

/// How fast the disk is, in microseconds per operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskPlan {
    /// Appends and truncations.
    pub write_us: Range,
    /// Reads and listings.
    pub read_us: Range,
    /// Syncs, and what syncs: replacements, renames, removals.
    pub sync_us: Range,
    /// From taking effect to the node's hearing of it.
    pub answer_us: Range,
}

/// How fast the network is, in microseconds per message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// From a client to the node.
    pub to_node_us: Range,
    /// From the node to a client.
    pub to_client_us: Range,
}

/// What a producer does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerPlan {
    /// 0, 1, or -1 for all.
    pub acks: i16,
    /// Whether it asks for a producer id and numbers its batches.
    pub is_idempotent: bool,
    /// How many requests it sends without an answer, at most.
    pub in_flight_max: u32,
    /// The version of its produce requests.
    pub api_version: i16,
    /// How long it waits for an answer before it closes the connection.
    pub request_timeout_us: u64,
    /// Its batches, in the order of their times.
    pub sends: Vec<SendPlan>,
}

/// One batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendPlan {
    /// When the application hands it over.
    pub at_us: u64,
    /// Index of its topic in the plan.
    pub topic: usize,
    /// The partition.
    pub partition: i32,
    /// How many records it has.
    pub records: u16,
    /// How long each record's value is, at least 8.
    pub value_bytes: u32,
    /// How it is compressed.
    pub codec: Codec,
}

/// How a batch is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// Not at all.
    None,
    /// As LZ4 frames.
    Lz4,
}

/// What a consumer does: reads its partitions from their beginning to their end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerPlan {
    /// When it starts.
    pub start_us: u64,
    /// What it is assigned: index of a topic in the plan and a partition.
    pub assignment: Vec<(usize, i32)>,
    /// The version of its fetch requests; topics are named by ids from 13 on.
    pub api_version: i16,
    /// Whether it uses fetch sessions.
    pub has_sessions: bool,
    /// `fetch.max.wait.ms`.
    pub max_wait_ms: i32,
    /// `fetch.min.bytes`.
    pub min_bytes: i32,
    /// `fetch.max.bytes`.
    pub max_bytes: i32,
    /// `max.partition.fetch.bytes`.
    pub partition_max_bytes: i32,
    /// How long it waits beyond `max_wait_ms` for an answer before it closes the connection.
    pub request_timeout_us: u64,
}

/// Something that befalls the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultPlan {
    /// When; if the node is not up at that time, only a loss of power means anything.
    pub at_us: u64,
    /// What.
    pub kind: FaultKind,
    /// How long the node stays down.
    pub down_us: u64,
    /// What befalls the node while it comes up again, one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub while_recovering: Vec<RecoveryFaultPlan>,
}

/// Something that befalls a node while it reads its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryFaultPlan {
    /// After how many completed storage operations of that start.
    pub after_completions: u32,
    /// What; a clean stop is a kill here.
    pub kind: FaultKind,
    /// How long the node stays down.
    pub down_us: u64,
}

/// What befalls a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is asked to stop, and stops.
    Stop,
    /// The process dies; the page cache stays.
    Kill,
    /// The machine loses power; what was not synced is lost in part.
    PowerLoss,
}

/// A rule of the world that a run breaks on purpose. Each is found by the check that is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// A loss of power takes up to four sectors of a log that were synced: `acknowledged_data`.
    DiskLosesSynced,
    /// A sync is answered and does nothing: `acknowledged_data`.
    SyncDoesNothing,
    /// Appends to logs are answered before they have taken effect: `truthful_view`.
    AppendsAnsweredEarly,
    /// A loss of power flips a bit in every closed segment: `log_prefix`.
    DiskFlipsClosedSegments,
    /// The entries of offset indexes reach the disk with their last bit flipped: `index_recomputation`.
    IndexEntriesSpoiled,
    /// The entries of time indexes reach the disk with their last bit flipped: `index_recomputation`.
    TimeIndexEntriesSpoiled,
    /// Every seventh fetch answer says a high watermark one lower, where it brings no records: `high_watermark`.
    HighWatermarkFalls,
    /// Fetch answers carry their records with a bit flipped: `consumer_reads`.
    ReadsFlipped,
    /// Resent batches of idempotent producers have lost their producer: `no_duplicates`.
    RetriesForgetTheirSequence,
    /// The tenth completion of the last start is never delivered: `liveness`.
    CompletionSwallowed,
    /// The simulator's process id, and how many runs it has made, decide the delays: found by running twice, in one process
    /// or in two.
    DelaysFromOutside,
    /// An InitProducerId answer is replaced by the first one there was: `producer_ids`.
    ProducerIdHandedOutTwice,
    /// From the second start on, metadata answers say that the first topic is unknown: `topics`.
    TopicForgotten,
}

/// What draws plans: the whole of chance before a run.
struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64) -> Self {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `low` to `high`, both included.
    fn between(&mut self, low: u64, high: u64) -> u64 {
        let wide = u128::from(self.word()) * u128::from(high - low + 1);
        low + u64::try_from(wide >> 64).expect("the upper half of a product of two words is a word")
    }

    fn chance(&mut self, numerator: u64, denominator: u64) -> bool {
        self.between(1, denominator) <= numerator
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.between(0, choices.len() as u64 - 1);
        choices[usize::try_from(index).expect("an index")]
    }

    fn i32(&mut self, low: i32, high: i32) -> i32 {
        let low = u64::try_from(low).expect("a range of counts");
        let high = u64::try_from(high).expect("a range of counts");
        i32::try_from(self.between(low, high)).expect("a number between two that fit")
    }
}

/// What a seed lets exist at all. Leaving kinds out makes the others meet in ways that all together never would.
struct Swarm {
    duration_us: u64,
    power_loss: bool,
    kill: bool,
    stop: bool,
    recovery_faults: bool,
    idempotent: bool,
    compressed: bool,
    large_batches: bool,
    bursts: bool,
}

impl Plan {
    /// The form that this version of the program reads and writes.
    pub const VERSION: u32 = 1;

    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let field_seed = draw.word();
        let swarm = Swarm {
            duration_us: draw.between(1_000_000, 20_000_000),
            power_loss: draw.chance(3, 4),
            kill: draw.chance(2, 3),
            stop: draw.chance(1, 2),
            recovery_faults: draw.chance(1, 2),
            idempotent: draw.chance(3, 4),
            compressed: draw.chance(1, 3),
            large_batches: draw.chance(1, 3),
            bursts: draw.chance(1, 2),
        };
        let topics = draw_topics(&mut draw);
        let producers = (0..draw.between(1, 4)).map(|_| draw_producer(&mut draw, &swarm, &topics)).collect();
        let consumers = (0..draw.between(1, 3)).map(|_| draw_consumer(&mut draw, &swarm, &topics)).collect();
        Self {
            version: Self::VERSION,
            field_seed,
            broker: draw_broker(&mut draw),
            disk: draw_disk(&mut draw),
            network: NetworkPlan {
                to_node_us: Range { low: 20, high: draw.one_of(&[60, 500, 20_000]) },
                to_client_us: Range { low: 20, high: draw.one_of(&[60, 500, 20_000]) },
            },
            faults: draw_faults(&mut draw, &swarm),
            topics,
            producers,
            consumers,
            liveness_bound_us: 120_000_000,
            mutation: None,
        }
    }

    /// The name of the node's only listener.
    pub const LISTENER: &'static str = "PLAINTEXT";

    /// The entries of `server.properties`.
    #[must_use]
    pub fn server_properties(&self) -> Vec<(String, String)> {
        let fixed = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
            ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092"),
            ("controller.listener.names", "CONTROLLER"),
            ("controller.quorum.voters", "1@127.0.0.1:9093"),
            ("log.dirs", "/simulated"),
            ("auto.create.topics.enable", "false"),
        ];
        let drawn = self.broker.iter().map(|(key, value)| (key.clone(), value.clone()));
        fixed.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).chain(drawn).collect()
    }

    /// When the last operation or fault of the plan is due.
    #[must_use]
    pub fn last_us(&self) -> u64 {
        let sends = self.producers.iter().filter_map(|producer| producer.sends.last()).map(|send| send.at_us);
        let consumers = self.consumers.iter().map(|consumer| consumer.start_us);
        let faults = self.faults.iter().map(|fault| {
            let again: u64 = fault.while_recovering.iter().map(|again| again.down_us).sum();
            fault.at_us + fault.down_us + again
        });
        sends.chain(consumers).chain(faults).max().unwrap_or(0)
    }
}

fn draw_topics(draw: &mut Draw) -> Vec<TopicPlan> {
    let count = if draw.chance(1, 4) { 2 } else { 1 };
    (0..count)
        .map(|index| TopicPlan {
            name: ["orders", "payments"][index].to_owned(),
            partitions: draw.i32(1, 4),
            flush_messages: match draw.between(0, 3) {
                0 => None,
                1 | 2 => Some(1),
                _ => Some(draw.between(2, 50)),
            },
            segment_bytes: draw.one_of(&[2_048, 8_192, 65_536, 1_048_576]),
            index_interval_bytes: draw.one_of(&[0, 100, 600, 4_096]),
            log_append_time: draw.chance(1, 6),
        })
        .collect()
}

fn draw_broker(draw: &mut Draw) -> BTreeMap<String, String> {
    let mut broker = BTreeMap::new();
    // The intervals at which a node writes its checkpoints: Kafka's own would rarely come to pass in so short a life.
    for key in [
        "log.flush.offset.checkpoint.interval.ms",
        "log.flush.start.offset.checkpoint.interval.ms",
        "replica.high.watermark.checkpoint.interval.ms",
    ] {
        if draw.chance(2, 3) {
            broker.insert(key.to_owned(), draw.one_of(&[50, 400, 3_000]).to_string());
        }
    }
    if draw.chance(1, 4) {
        broker.insert("max.incremental.fetch.session.cache.slots".to_owned(), "1".to_owned());
    }
    broker
}

fn draw_disk(draw: &mut Draw) -> DiskPlan {
    let (read_high, write_high, sync_high) =
        draw.one_of(&[(30, 20, 200), (200, 100, 2_000), (9_000, 200, 12_000), (500, 5_000, 50_000)]);
    DiskPlan {
        write_us: Range { low: 2, high: write_high },
        read_us: Range { low: 2, high: read_high },
        sync_us: Range { low: 30, high: sync_high },
        answer_us: Range { low: 0, high: draw.one_of(&[0, 10, 500]) },
    }
}

fn draw_producer(draw: &mut Draw, swarm: &Swarm, topics: &[TopicPlan]) -> ProducerPlan {
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
        let topic = usize::try_from(draw.between(0, topics.len() as u64 - 1)).expect("an index");
        let is_large = swarm.large_batches && draw.chance(1, 8);
        let records_max = if draw.chance(1, 4) { 30 } else { 4 };
        sends.push(SendPlan {
            at_us,
            topic,
            partition: draw.i32(0, topics[topic].partitions - 1),
            records: u16::try_from(draw.between(1, records_max)).expect("few"),
            value_bytes: u32::try_from(if is_large {
                draw.between(300, 1_500)
            } else {
                draw.between(8, 120)
            })
            .expect("few"),
            codec: if swarm.compressed && draw.chance(1, 2) { Codec::Lz4 } else { Codec::None },
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
        acks,
        is_idempotent,
        in_flight_max: u32::try_from(draw.between(1, 5)).expect("at most five"),
        api_version: draw.i32(9, 13).try_into().expect("a version"),
        request_timeout_us: draw.one_of(&[300_000, 2_000_000, 30_000_000]),
        sends,
    }
}

fn draw_consumer(draw: &mut Draw, swarm: &Swarm, topics: &[TopicPlan]) -> ConsumerPlan {
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
    ConsumerPlan {
        start_us: draw.between(0, swarm.duration_us),
        assignment,
        api_version: draw.i32(12, 18).try_into().expect("a version"),
        has_sessions: draw.chance(2, 3),
        max_wait_ms: draw.one_of(&[0, 20, 500]),
        min_bytes: draw.one_of(&[1, 1, 500, 100_000]),
        max_bytes: draw.one_of(&[1, 4_000, 52_428_800]),
        partition_max_bytes: draw.one_of(&[1, 700, 1_048_576]),
        request_timeout_us: draw.one_of(&[500_000, 3_000_000, 30_000_000]),
    }
}

fn draw_faults(draw: &mut Draw, swarm: &Swarm) -> Vec<FaultPlan> {
    let kinds: Vec<FaultKind> = [
        (swarm.power_loss, FaultKind::PowerLoss),
        (swarm.kill, FaultKind::Kill),
        (swarm.stop, FaultKind::Stop),
    ]
    .into_iter()
    .filter_map(|(exists, kind)| exists.then_some(kind))
    .collect();
    if kinds.is_empty() {
        return Vec::new();
    }
    let mut times: Vec<u64> =
        (0..draw.between(1, 6)).map(|_| draw.between(10_000, swarm.duration_us + 500_000)).collect();
    times.sort_unstable();
    times
        .into_iter()
        .map(|at_us| FaultPlan {
            at_us,
            kind: draw.one_of(&kinds),
            down_us: draw.one_of(&[1_000, 100_000, 2_000_000]),
            while_recovering: if swarm.recovery_faults && draw.chance(1, 2) {
                (0..draw.between(1, 3))
                    .map(|_| RecoveryFaultPlan {
                        after_completions: u32::try_from(draw.between(0, 40)).expect("few"),
                        kind: draw.one_of(&kinds),
                        down_us: draw.one_of(&[1_000, 100_000]),
                    })
                    .collect()
            } else {
                Vec::new()
            },
        })
        .collect()
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
        for seed in 0..50 {
            let plan = Plan::draw(seed);
            let text = serde_json::to_string_pretty(&plan).expect("a plan can be written");
            assert_eq!(serde_json::from_str::<Plan>(&text).expect("and read"), plan);
        }
    }

    #[test]
    fn drawn_plans_make_sense() {
        for seed in 0..300 {
            let plan = Plan::draw(seed);
            assert!(plan.faults.is_sorted_by_key(|fault| fault.at_us), "seed {seed}");
            for producer in &plan.producers {
                assert!(producer.sends.is_sorted_by_key(|send| send.at_us), "seed {seed}");
                for send in &producer.sends {
                    let topic = &plan.topics[send.topic];
                    assert!((0..topic.partitions).contains(&send.partition), "seed {seed}");
                    assert!(send.records >= 1 && send.value_bytes >= 8, "seed {seed}");
                    let bytes = u32::from(send.records) * (send.value_bytes + 30) + 61;
                    assert!(bytes <= topic.segment_bytes, "seed {seed}: {bytes} do not fit");
                }
                assert!(!producer.is_idempotent || producer.acks == -1, "seed {seed}");
            }
        }
    }

    #[test]
    fn every_kind_of_fault_and_option_is_drawn_by_some_seed() {
        let plans: Vec<Plan> = (0..300).map(Plan::draw).collect();
        for kind in [FaultKind::Stop, FaultKind::Kill, FaultKind::PowerLoss] {
            assert!(plans.iter().any(|plan| plan.faults.iter().any(|fault| fault.kind == kind)));
            let again = |fault: &FaultPlan| fault.while_recovering.iter().any(|again| again.kind == kind);
            assert!(plans.iter().any(|plan| plan.faults.iter().any(again)));
        }
        for acks in [0, 1, -1] {
            assert!(plans.iter().any(|plan| plan.producers.iter().any(|producer| producer.acks == acks)));
        }
        assert!(plans.iter().any(|plan| plan.topics.iter().any(|topic| topic.flush_messages.is_none())));
        assert!(plans.iter().any(|plan| plan.faults.is_empty()), "some seeds have no faults at all");
    }
}
