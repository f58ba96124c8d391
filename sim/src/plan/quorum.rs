//! Plans about a quorum: controllers, clients that set configurations, brokers, partitions that are moved between them, and
//! what breaks.

use super::draw::Draw;
use super::{
    AdminDeed, AdminPlan, BrokerDeed, BrokerDeedPlan, BrokerPlan, ClockPlan, Codec, ConfiguratorPlan,
    ConsumerPlan, CrashKind, Direction, DiskAfter, DiskFault, DiskPlan, End, Fault, FaultPlan, Feature,
    FileKind, GatekeeperDeed, GatekeeperDeedPlan, GatekeeperPlan, MinIsrOf, NetworkPlan, NodePlan, NodeRole,
    OperatorPlan, Plan, PlannedAcl, PlannedFilter, ProducerPlan, QuorumChange, QuorumChangePlan, Range,
    SendPlan, SetPlan, StaleEpoch, TopicPlan, WantedIsr, WriteError,
};
use crate::field::mix;
use std::collections::BTreeMap;

/// One seed in so many is about a quorum.
const QUORUM_EVERY: u64 = 4;
/// What decides which: no other plan changes with it.
const QUORUM_SALT: u64 = 0x6b72_6166_7400_0004;

/// One plan about a quorum in so many has a short log.
const SHORT_LOG_EVERY: u64 = 3;
/// What is drawn of a short log: nothing else of a plan changes with it.
const SHORT_LOG_SALT: u64 = 0x736e_6170_7368_6f74;

/// One plan about a quorum in so many has brokers that are nodes, beside those in name only.
const BROKERS_EVERY: u64 = 2;
/// What is drawn of them: nothing else of a plan changes with it.
const BROKERS_SALT: u64 = 0x6272_6f6b_6572_7331;
/// One plan about a quorum in so many has partitions that nobody may lead who is not in sync.
const WITHOUT_ELR_EVERY: u64 = 2;
/// What decides which.
const WITHOUT_ELR_SALT: u64 = 0x656c_725f_6f66_6631;
/// How long a disk syncs at most under voters that change, in microseconds.
const SYNC_US_MAX: u64 = 12_000;
/// One plan about a quorum with brokers in name only in so many has partitions that are moved.
const MOVES_EVERY: u64 = 2;
/// What is drawn of that: nothing else of a plan changes with it.
const MOVES_SALT: u64 = 0x6d6f_7665_735f_3031;
/// One plan about a quorum with brokers in name only in so many says how many replicas have to be in sync.
const MIN_ISR_EVERY: u64 = 2;
/// What is drawn of that: nothing else of a plan changes with it.
const MIN_ISR_SALT: u64 = 0x6d69_6e5f_6973_7231;
/// `broker.session.timeout.ms` where nobody sets it.
const SESSION_TIMEOUT_MS: u64 = 9_000;

/// One plan about a quorum in so many has its voters in its log.
const LOGGED_VOTERS_EVERY: u64 = 3;
/// What is drawn of them: no plan without them changes with it.
const LOGGED_VOTERS_SALT: u64 = 0x766f_7465_7273_3835;
/// The number of the client that changes them.
const OPERATOR: u64 = 70;
const AUTO_JOIN: &str = "controller.quorum.auto.join.enable";

/// One plan about a quorum in so many has a candidate that nobody hears, unless it has fewer than three voters.
const UNHEARD_CANDIDATE_EVERY: u64 = 12;
/// What is drawn of it: nothing else of a plan changes with it.
const UNHEARD_CANDIDATE_SALT: u64 = 0x756e_6865_6172_6431;
/// One plan about a quorum in so many has gatekeepers, and an authorizer.
const GATEKEEPERS_EVERY: u64 = 3;
/// What is drawn of them: nothing else of a plan changes with it.
const GATEKEEPERS_SALT: u64 = 0x6761_7465_6b65_6570;
/// The number of the first of them.
const GATEKEEPER: u64 = 80;
/// Of four plans with brokers that are nodes, how many have clients that write to replicated partitions.
const REPLICATED_OF_FOUR: u64 = 3;
/// What is drawn of them: nothing else of a plan changes with it.
const REPLICATED_SALT: u64 = 0x7265_706c_6963_6173;
/// Of so many replicated plans whose brokers have one log directory each, one has a topic created again.
const CREATED_AGAIN_EVERY: u64 = 12;
/// What is drawn of that: nothing else of a plan changes with it.
const CREATED_AGAIN_SALT: u64 = 0x616e_6f74_6865_7200;
/// Most replicas of a partition.
const REPLICAS_MAX: usize = 4;
/// The numbers of the first of the clients that write to them, and read.
const REPLICATED_PRODUCER: u64 = 90;
const REPLICATED_CONSUMER: u64 = 95;
/// One plan with replicated partitions in so many has leaders that take turns within moments.
const FLAPPING_EVERY: u64 = 4;
/// What is drawn of them: no other plan changes with it.
const FLAPPING_SALT: u64 = 0x666c_6170_5f30_3538;
/// The number of the client that writes meanwhile, before those that read.
const FLAPPING_PRODUCER: u64 = REPLICATED_PRODUCER + 4;
/// How long it waits at least before it stands, in milliseconds.
const HASTY_MS: u64 = 200;
/// How long the others wait at least.
const PATIENT_MS: u64 = 2_000;
const ELECTION_TIMEOUT: &str = "controller.quorum.election.timeout.ms";

/// One plan about a quorum whose voters are configured in so many has features updated.
const FEATURE_UPDATES_EVERY: u64 = 3;
/// What is drawn of that: nothing else of a plan changes with it.
const FEATURE_UPDATES_SALT: u64 = 0x6665_6174_7572_6573;
/// The newest metadata.version.
const NEWEST_METADATA: i16 = 30;
/// Those that a cluster may begin with: the oldest, and those around which much is different.
const OLD_METADATA: [i16; 7] = [7, 14, 20, 22, 23, 25, 29];

/// How long the reference run lasts, in virtual microseconds.
const REFERENCE_US: u64 = 600_000_000;
/// Between two values of one of its clients.
const SET_EVERY_US: u64 = 200_000;
/// Between two of its faults.
const FAULT_EVERY_US: u64 = 7_500_000;
/// How long a short run of the reference load lasts, in virtual microseconds.
const SEED_US: u64 = 5_000_000;

/// The APIs whose loss voters have to live with: Vote, BeginQuorumEpoch, EndQuorumEpoch, Fetch.
const APIS: [i16; 4] = [52, 53, 54, 1];

/// A kind of fault, of which a plan has several or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    PowerLoss,
    PowerLossOfAll,
    Kill,
    Stop,
    Pause,
    CutOneWay,
    Isolate,
    Depose,
    SlowTruncation,
    Drop,
    Clog,
    Reset,
    ClockStep,
    Disk,
    Client,
}

/// Kinds with in how many seeds of twelve each exists.
const KINDS: [(Kind, u64); 15] = [
    (Kind::PowerLoss, 7),
    (Kind::PowerLossOfAll, 4),
    (Kind::Kill, 6),
    (Kind::Stop, 5),
    (Kind::Pause, 5),
    (Kind::CutOneWay, 6),
    (Kind::Isolate, 6),
    (Kind::Depose, 5),
    (Kind::SlowTruncation, 4),
    (Kind::Drop, 6),
    (Kind::Clog, 4),
    (Kind::Reset, 3),
    (Kind::ClockStep, 2),
    (Kind::Disk, 3),
    (Kind::Client, 2),
];

impl Plan {
    /// Whether the plan of a seed is about a quorum.
    pub(crate) const fn is_of_a_quorum(seed: u64) -> bool {
        mix(seed ^ QUORUM_SALT).is_multiple_of(QUORUM_EVERY)
    }

    /// Whether leaders take turns within moments in the plan of a seed, if it is about a quorum with replicated partitions.
    pub(crate) const fn may_flap(seed: u64) -> bool {
        mix(seed ^ FLAPPING_SALT).is_multiple_of(FLAPPING_EVERY)
    }

    /// The plan of a seed that is about a quorum.
    pub(super) fn draw_quorum(seed: u64) -> Self {
        let mut draw = Draw::new(seed);
        let field_seed = draw.word();
        let nodes = draw.one_of(&[1, 3, 3, 3, 3, 5, 5, 5]);
        let duration_us = draw.between(2_000_000, 20_000_000);
        let brokers = draw.one_of(&[0, 0, 1, 2, 3]);
        let (mut properties, fetch_timeout_us) = draw_properties(&mut draw, brokers > 0);
        let logged = LoggedVoters::draw(seed, nodes, duration_us, &properties, fetch_timeout_us);
        let controllers = nodes + logged.more.len() as u64;
        let short_log = ShortLog::draw(seed, controllers, duration_us);
        properties.extend(short_log.properties);
        let real_brokers = RealBrokers::draw(seed, controllers, duration_us, &properties);
        properties.extend(real_brokers.properties);
        let has_clocks = draw.chance(1, 2);
        let mut nodes: Vec<NodePlan> =
            (0..nodes).map(|_| draw_controller(&mut draw, &properties, has_clocks)).collect();
        nodes.extend(logged.more.into_iter().map(|node| NodePlan { properties: properties.clone(), ..node }));
        if logged.first.is_some() {
            // Of an even number of voters the slowest disk is soon in every majority, and sessions have to outlive it.
            for node in &mut nodes {
                node.disk.sync_us.high = node.disk.sync_us.high.min(SYNC_US_MAX);
                node.disk.write_us.high = node.disk.write_us.high.min(SYNC_US_MAX / 10);
            }
        }
        for node in logged.joining {
            nodes[node].properties.insert(AUTO_JOIN.to_owned(), true.to_string());
        }
        let mut configurators: Vec<ConfiguratorPlan> = (0..draw.between(2, 6))
            .map(|index| draw_configurator(&mut draw, nodes.len(), duration_us, 30 + index))
            .collect();
        let brokers: Vec<BrokerPlan> =
            (0..brokers).map(|index| draw_broker(&mut draw, nodes.len(), duration_us, 50 + index)).collect();
        let of_brokers = brokers.iter().map(|broker| broker.client);
        let clients: Vec<u64> =
            configurators.iter().map(|configurator| configurator.client).chain(of_brokers).collect();
        let swarm = Swarm { nodes: nodes.len(), duration_us, fetch_timeout_us, clients };
        let mut faults = draw_faults(&mut draw, &swarm);
        faults.extend(short_log.faults);
        faults.extend(real_brokers.faults);
        faults.extend(logged.faults);
        for node in real_brokers.both {
            nodes[node].role = NodeRole::Both;
        }
        nodes.extend(
            real_brokers.alone.into_iter().map(|node| NodePlan { properties: properties.clone(), ..node }),
        );
        for (configurator, node) in configurators.iter_mut().zip(real_brokers.asked) {
            configurator.node = node.unwrap_or(configurator.node);
        }
        faults.sort_by_key(|planned| planned.at_us);
        let mut brokers = draw_moves(seed, brokers, duration_us);
        draw_min_isr(seed, &mut nodes, &mut brokers, duration_us);
        let high = draw.one_of(&[60, 500, 20_000]);
        let mut plan = Self {
            field_seed,
            nodes,
            network: NetworkPlan {
                to_node_us: Range { low: 20, high },
                to_client_us: Range { low: 20, high },
                between_nodes_us: Range { low: 20, high: draw.one_of(&[100, 1_000, 30_000]) },
                encoded_per_mille: draw.one_of(&[0, 20, 20, 1_000]),
            },
            configurators,
            brokers,
            first_voters: logged.first,
            operators: logged.changer.into_iter().collect(),
            faults,
            without_elr: mix(seed ^ WITHOUT_ELR_SALT).is_multiple_of(WITHOUT_ELR_EVERY),
            ..Self::of_nobody()
        };
        plan.draw_unheard_candidate(&mut Draw::new(seed ^ UNHEARD_CANDIDATE_SALT));
        plan.draw_gatekeepers(&mut Draw::new(seed ^ GATEKEEPERS_SALT), duration_us);
        plan.draw_feature_updates(&mut Draw::new(seed ^ FEATURE_UPDATES_SALT), duration_us);
        plan.draw_replicated(&mut Draw::new(seed ^ REPLICATED_SALT), duration_us);
        if Self::may_flap(seed) {
            plan.draw_flapping(&mut Draw::new(seed ^ FLAPPING_SALT), duration_us);
        }
        plan.draw_topics_created_again(&mut Draw::new(mix(seed ^ CREATED_AGAIN_SALT)), duration_us);
        plan
    }

    /// Lets an operator update features, and change the voters once they stand in the log.
    fn draw_feature_updates(&mut self, draw: &mut Draw, duration_us: u64) {
        let is_drawn = draw.chance(1, FEATURE_UPDATES_EVERY);
        if !is_drawn || self.first_voters.is_some() || is_restless(&self.nodes[0].properties) {
            return;
        }
        let controllers = self.controllers().count();
        let mut changes = Vec::new();
        let mut plan = |at_us, feature, level, direction| {
            let change = QuorumChange::UpdateFeature { feature, level, direction, is_dry_run: false };
            changes.push(QuorumChangePlan { at_us, change });
        };
        if draw.chance(1, 3) {
            self.metadata_version = Some(draw.one_of(&OLD_METADATA));
            let halfway_us = draw.between(10_000, duration_us);
            if draw.chance(1, 2) {
                let level = draw.one_of(&OLD_METADATA);
                plan(halfway_us, Feature::MetadataVersion, level, Direction::Upgrade);
            }
            let at_us = draw.between(halfway_us, duration_us);
            plan(at_us, Feature::MetadataVersion, NEWEST_METADATA, Direction::Upgrade);
        }
        if draw.chance(1, 2) {
            let mut level = i16::from(self.without_elr);
            let mut times: Vec<u64> =
                (0..draw.between(1, 4)).map(|_| draw.between(10_000, duration_us)).collect();
            times.sort_unstable();
            for at_us in times {
                let falls = draw.one_of(&[Direction::SafeDowngrade, Direction::UnsafeDowngrade]);
                let direction = if level > 0 { Direction::Upgrade } else { falls };
                plan(at_us, Feature::EligibleLeaderReplicas, level, direction);
                level = 1 - level;
            }
        }
        for _ in 0..draw.between(0, 2) {
            let (feature, level, direction) = draw_doubtful_update(draw);
            plan(draw.between(10_000, duration_us), feature, level, direction);
        }
        if draw.chance(2, 3) {
            let raised_us = draw.between(10_000, duration_us);
            plan(raised_us, Feature::KraftVersion, 1, Direction::Upgrade);
            if draw.chance(2, 3) {
                for _ in 0..draw.between(1, 4) {
                    let node = draw.index(controllers);
                    let removed_us = draw.between(raised_us, duration_us + 1_000_000);
                    let added_us = removed_us + draw.one_of(&[1_000, 1_000_000, 5_000_000]);
                    let those =
                        [(removed_us, QuorumChange::Remove { node }), (added_us, QuorumChange::Add { node })];
                    changes.extend(those.map(|(at_us, change)| QuorumChangePlan { at_us, change }));
                }
            }
        }
        for planned in &mut changes {
            if let QuorumChange::UpdateFeature { is_dry_run, .. } = &mut planned.change {
                *is_dry_run = draw.chance(1, 8);
            }
        }
        changes.sort_by_key(|planned| planned.at_us);
        if changes.is_empty() {
            return;
        }
        self.operators.push(OperatorPlan {
            client: OPERATOR,
            node: draw.index(controllers),
            request_timeout_us: draw.one_of(&[300_000, 2_000_000, 6_000_000]),
            changes,
        });
    }

    /// Lets nobody hear the first candidate. It stands long before the others would, and has their word that they would vote for
    /// it; while it writes its vote for itself its disk stalls, and when it asks for theirs it is cut off. It steps down, and
    /// hears who stands next, in the same epoch.
    fn draw_unheard_candidate(&mut self, draw: &mut Draw) {
        let controllers = self.nodes.iter().take_while(|node| node.role != NodeRole::Broker).count();
        let voters = self.first_voters.unwrap_or(controllers);
        let is_drawn = draw.chance(1, UNHEARD_CANDIDATE_EVERY);
        if !is_drawn || voters < 3 || is_restless(&self.nodes[0].properties) {
            return;
        }
        let candidate = draw.index(voters);
        for (index, node) in self.nodes.iter_mut().enumerate() {
            let timeout_ms = if index == candidate { HASTY_MS } else { PATIENT_MS };
            node.properties.insert(ELECTION_TIMEOUT.to_owned(), timeout_ms.to_string());
        }
        let stalls_us = draw.between(HASTY_MS / 2, HASTY_MS) * 1_000;
        let cut_us = draw.between(2 * HASTY_MS, 4 * HASTY_MS) * 1_000;
        let stall = DiskFault::Stall { for_us: cut_us - stalls_us + 10_000 };
        self.faults.push(FaultPlan { at_us: stalls_us, fault: Fault::Disk { node: candidate, how: stall } });
        let for_us = draw.between(PATIENT_MS, 3 * PATIENT_MS) * 1_000;
        let cut = cut_off(controllers, &[candidate], true, false, for_us);
        self.faults.extend(cut.into_iter().map(|(_, fault)| FaultPlan { at_us: cut_us, fault }));
        self.faults.sort_by_key(|planned| planned.at_us);
    }

    /// Has clients create, delete and describe access control entries, all of them the same few.
    fn draw_gatekeepers(&mut self, draw: &mut Draw, duration_us: u64) {
        if !draw.chance(1, GATEKEEPERS_EVERY) {
            return;
        }
        let (key, authorizer) = GatekeeperPlan::AUTHORIZER;
        for node in &mut self.nodes {
            node.properties.insert(key.to_owned(), authorizer.to_owned());
        }
        let nodes = self.nodes.len();
        self.gatekeepers = (0..draw.between(1, 3))
            .map(|index| draw_gatekeeper(draw, nodes, duration_us, GATEKEEPER + index))
            .collect();
    }

    /// Whether somebody takes away what the controller knows of who may lead without being in sync: a partition whose last
    /// replica in sync lost its power before then has no leader until an operator names one.
    fn forgets_who_may_lead(&self) -> bool {
        let changes = self.operators.iter().flat_map(|operator| &operator.changes);
        let is_of_elr = |change: &QuorumChange| {
            matches!(change, QuorumChange::UpdateFeature { feature: Feature::EligibleLeaderReplicas, .. })
        };
        let mut deeds = self.brokers.iter().flat_map(|broker| &broker.deeds);
        let is_of_all =
            |deed: &BrokerDeed| matches!(deed, BrokerDeed::SetMinIsr { of: MinIsrOf::AllBrokers, .. });
        changes.into_iter().any(|planned| is_of_elr(&planned.change))
            || deeds.any(|planned| is_of_all(&planned.deed))
    }

    /// Has clients write to partitions that several brokers have, and read them.
    fn draw_replicated(&mut self, draw: &mut Draw, duration_us: u64) {
        let brokers: Vec<usize> = self.cluster_brokers().collect();
        if brokers.is_empty() || !draw.chance(REPLICATED_OF_FOUR, 4) || self.forgets_who_may_lead() {
            return;
        }
        let replicas_max = brokers.len().min(REPLICAS_MAX) as u64;
        self.topics = (0..draw.between(1, 2))
            .map(|index| {
                let replicas = draw.between(1, replicas_max).max(draw.between(1, replicas_max));
                let deletes = draw.chance(1, 2);
                let limit = |draw: &mut Draw, limits: &[u64]| {
                    (deletes && draw.chance(1, 2)).then(|| draw.one_of(limits).cast_signed())
                };
                TopicPlan {
                    name: format!("replicated-{index}"),
                    partitions: draw.i32(1, 2),
                    replicas: usize::try_from(replicas).expect("a few"),
                    min_isr: Some(usize::try_from(draw.between(1, replicas)).expect("a few")),
                    flush_messages: draw.one_of(&[None, None, None, Some(1)]),
                    segment_bytes: draw.one_of(if deletes {
                        &[1_300, 1_300, 2_000]
                    } else {
                        &[2_000, 20_000, 1_000_000]
                    }),
                    index_interval_bytes: draw.one_of(&[0, 100, 4_096]),
                    log_append_time: draw.chance(1, 4),
                    retention_ms: limit(draw, &[1_000, 20_000]),
                    retention_bytes: deletes.then(|| draw.one_of(&[300, 300, 3_000])),
                    segment_ms: limit(draw, &[500, 5_000]),
                    unclean_elections: false,
                }
            })
            .collect();
        let place = |draw: &mut Draw, topics: &[TopicPlan]| {
            let topic = draw.index(topics.len());
            (topic, draw.i32(0, topics[topic].partitions - 1))
        };
        for client in 0..draw.between(1, 4) {
            let (topic, partition) = place(draw, &self.topics);
            let is_idempotent = draw.chance(1, 2);
            let mut times: Vec<u64> =
                (0..draw.between(1, 40)).map(|_| draw.between(0, duration_us)).collect();
            times.sort_unstable();
            let sends = times.into_iter().map(|at_us| SendPlan {
                at_us,
                topic,
                partition,
                records: u16::try_from(draw.between(1, 5)).expect("few"),
                value_bytes: draw.u32(8, 200),
                codec: Codec::None,
            });
            let sends = sends.collect();
            self.producers.push(ProducerPlan {
                client: REPLICATED_PRODUCER + client,
                node: draw.one_of(&brokers),
                acks: if is_idempotent { -1 } else { draw.one_of(&[0, 1, -1, -1]) },
                is_idempotent,
                in_flight_max: draw.u32(1, 5),
                api_version: draw.one_of(&[3, 9, 12, 13, 13]),
                request_timeout_us: draw.one_of(&[300_000, 2_000_000, 30_000_000]),
                sends,
            });
        }
        for client in 0..draw.between(1, 2) {
            self.consumers.push(ConsumerPlan {
                client: REPLICATED_CONSUMER + client,
                node: draw.one_of(&brokers),
                start_us: draw.between(0, duration_us),
                assignment: vec![place(draw, &self.topics)],
                api_version: draw.one_of(&[4, 11, 12, 13, 18, 18]),
                has_sessions: false,
                max_wait_ms: draw.one_of(&[20, 500]),
                min_bytes: 1,
                max_bytes: draw.one_of(&[4_000, 52_428_800]),
                partition_max_bytes: draw.one_of(&[700, 1_048_576]),
                request_timeout_us: draw.one_of(&[500_000, 3_000_000, 30_000_000]),
                rack: None,
            });
        }
        let interval_ms = draw.one_of(&[100, 1_000]);
        for node in &mut self.nodes {
            node.properties.insert("log.retention.check.interval.ms".to_owned(), interval_ms.to_string());
            node.properties.insert("log.initial.task.delay.ms".to_owned(), interval_ms.to_string());
        }
        if draw.chance(1, 2) {
            self.draw_moves_of_replicated(draw, &brokers, duration_us);
        }
        if draw.chance(1, 2) {
            self.draw_racks(draw);
        }
        // Before that nobody knows in which directory a replica lies.
        let says_directories = self.metadata_version.is_none_or(|level| level >= 17);
        if draw.chance(1, 3) && says_directories {
            self.draw_log_dirs(draw, &brokers, duration_us);
        }
        if draw.chance(1, 2) {
            let lag_ms = draw.one_of(&[600, 1_000, 5_000]);
            for node in &mut self.nodes {
                node.properties.insert("replica.lag.time.max.ms".to_owned(), lag_ms.to_string());
                node.properties.insert("replica.fetch.wait.max.ms".to_owned(), (lag_ms / 3).to_string());
            }
        }
        if draw.chance(1, 4) {
            self.draw_deletions_of_replicated(draw, &brokers, duration_us);
        }
        if self.nodes.iter().any(|node| node.log_dirs > 1) && draw.chance(2, 3) {
            self.draw_moves_between_dirs(draw, duration_us);
        }
    }

    /// Has an administrator move replicas between the log directories of their brokers, and change its mind.
    fn draw_moves_between_dirs(&mut self, draw: &mut Draw, duration_us: u64) {
        let roomy: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].log_dirs > 1).collect();
        for _ in 0..draw.between(1, 10) {
            let (node, at_us) = (roomy[draw.index(roomy.len())], draw.between(0, duration_us));
            let topic = draw.index(self.topics.len());
            let partition = draw.i32(0, self.topics[topic].partitions - 1);
            let dir = draw.index(self.nodes[node].log_dirs);
            let mut order = |at_us, dir| {
                let deed = AdminDeed::MoveReplica { topic, partition, dir };
                self.administration.push(AdminPlan { at_us, node, deed });
            };
            order(at_us, dir);
            if draw.chance(1, 3) {
                let later_us = draw.one_of(&[1_000, 5_000, 20_000, 100_000, 1_000_000]);
                order((at_us + later_us).min(duration_us), 1 - dir.min(1));
            }
            if draw.chance(1, 2) {
                // What it is doing at that moment is half done.
                let within_us = draw.one_of(&[30_000, 300_000]);
                let soon_us = draw.between(0, within_us);
                let how =
                    draw.one_of(&[CrashKind::Kill, CrashKind::Kill, CrashKind::PowerLoss, CrashKind::Stop]);
                let fault = crash(node, how, draw.between(0, 2_000_000));
                self.faults.push(FaultPlan { at_us: (at_us + soon_us).min(duration_us), fault });
            }
        }
        self.faults.sort_by_key(|planned| planned.at_us);
        self.administration.sort_by_key(|planned| planned.at_us);
    }

    /// Has an administrator delete topics that several brokers have, and create them again, while brokers come and go.
    fn draw_topics_created_again(&mut self, draw: &mut Draw, duration_us: u64) {
        let brokers: Vec<usize> = self.cluster_brokers().collect();
        // Of a directory that is lost before the cluster knows what lies in it, nobody says what the new topic's log is.
        let has_several_dirs = self.nodes.iter().any(|node| node.log_dirs > 1);
        if self.topics.is_empty() || has_several_dirs || !draw.chance(1, CREATED_AGAIN_EVERY) {
            return;
        }
        let (topic, mut at_us) = (draw.index(self.topics.len()), draw.between(100_000, duration_us));
        for _ in 0..draw.between(1, 3) {
            let mut order = |deed| self.administration.push(AdminPlan { at_us, node: brokers[0], deed });
            if draw.chance(1, 3) {
                order(AdminDeed::AddPartitions { topic, more: draw.i32(1, 3) });
            }
            order(AdminDeed::RecreateTopic { topic });
            if draw.chance(2, 3) {
                // Of what it is to delete and to begin at that moment, some is done.
                let how = draw.one_of(&[CrashKind::Kill, CrashKind::PowerLoss, CrashKind::Stop]);
                let soon_us = draw.one_of(&[10_000, 100_000, 500_000]);
                let fault = crash(draw.one_of(&brokers), how, draw.between(0, 4_000_000));
                self.faults.push(FaultPlan { at_us: at_us + draw.between(0, soon_us), fault });
            }
            at_us += draw.one_of(&[20_000, 200_000, 2_000_000]);
        }
        self.faults.sort_by_key(|planned| planned.at_us);
        self.administration.sort_by_key(|planned| planned.at_us);
    }

    /// Has an administrator delete records that clients have written.
    fn draw_deletions_of_replicated(&mut self, draw: &mut Draw, brokers: &[usize], duration_us: u64) {
        for _ in 0..draw.between(1, 4) {
            let at_us = draw.between(0, duration_us);
            let topic = draw.index(self.topics.len());
            let partition = draw.i32(0, self.topics[topic].partitions - 1);
            let per_cent = u8::try_from(draw.between(1, 100)).expect("a hundred at most");
            let deed = AdminDeed::DeleteRecords { topic, partition, per_cent };
            self.administration.push(AdminPlan { at_us, node: brokers[0], deed });
        }
        self.administration.sort_by_key(|planned| planned.at_us);
    }

    /// Has some brokers keep their partitions in two directories, of which one may be lost for a while.
    fn draw_log_dirs(&mut self, draw: &mut Draw, brokers: &[usize], duration_us: u64) {
        for node in brokers.iter().copied() {
            if !draw.chance(2, 3) {
                continue;
            }
            self.nodes[node].log_dirs = 2;
            for _ in 0..draw.between(0, 2) {
                let how = DiskFault::LoseDirectory {
                    dir: 1,
                    for_us: draw.one_of(&[50_000, 1_000_000, 20_000_000, 60_000_000]),
                };
                let at_us = draw.between(0, duration_us);
                self.faults.push(FaultPlan { at_us, fault: Fault::Disk { node, how } });
            }
        }
        self.faults.sort_by_key(|planned| planned.at_us);
    }

    /// Has brokers and consumers stand in racks, and leaders send consumers to followers in theirs.
    fn draw_racks(&mut self, draw: &mut Draw) {
        const RACKS: [&str; 2] = ["near", "far"];
        for node in &mut self.nodes {
            node.properties.insert("broker.rack".to_owned(), draw.one_of(&RACKS).to_owned());
            let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
            node.properties.insert("replica.selector.class".to_owned(), selector.to_owned());
        }
        for consumer in &mut self.consumers {
            consumer.rack = Some(draw.one_of(&RACKS).to_owned());
        }
    }

    /// Has one broker lead a partition, another and then the first again, all within moments in which not everybody hears what is
    /// written, or who leads.
    fn draw_flapping(&mut self, draw: &mut Draw, duration_us: u64) {
        let brokers: Vec<usize> = self.cluster_brokers().collect();
        if !self.has_replicas() {
            return;
        }
        let topic = draw.index(self.topics.len());
        let partition = draw.i32(0, self.topics[topic].partitions - 1);
        // A third is there to be late.
        let replicas = brokers.len().min(3).max(self.topics[topic].replicas);
        self.topics[topic].replicas = replicas;
        let first = usize::try_from(partition).expect("an index") % brokers.len();
        let those: Vec<usize> = brokers.iter().cycle().skip(first).take(replicas).copied().collect();
        // Nothing else is asked of it.
        self.administration.retain(|planned| *planned.deed.clone().place().0 != topic);
        let mut sends = Vec::new();
        for _ in 0..draw.between(1, 3) {
            let at_us = draw.between(1_000_000, duration_us.max(2_000_000));
            let gap_us = draw.one_of(&[100_000, 200_000, 500_000]);
            self.draw_flap(draw, (topic, partition), &those, at_us, gap_us);
            let every_us = draw.between(gap_us / 10, gap_us / 3);
            let number = (5 * gap_us / every_us).min(20);
            sends.extend((0..number).map(|number| SendPlan {
                at_us: at_us - gap_us + number * every_us,
                topic,
                partition,
                records: 1,
                value_bytes: 16,
                codec: Codec::None,
            }));
        }
        sends.sort_by_key(|send| send.at_us);
        self.producers.push(ProducerPlan {
            client: FLAPPING_PRODUCER,
            node: draw.one_of(&brokers),
            acks: draw.one_of(&[0, 1, 1, 1, -1]),
            is_idempotent: false,
            in_flight_max: 5,
            api_version: 13,
            request_timeout_us: 300_000,
            sends,
        });
        self.administration.sort_by_key(|planned| planned.at_us);
        self.faults.sort_by_key(|planned| planned.at_us);
    }

    /// Once there and back. The second does not get all that the first writes; the first perhaps not what the second writes, and
    /// somebody else hears late of both.
    fn draw_flap(
        &mut self,
        draw: &mut Draw,
        (topic, partition): (usize, i32),
        replicas: &[usize],
        at_us: u64,
        gap_us: u64,
    ) {
        let mut lead = |at_us, brokers: Vec<usize>| {
            let deed = AdminDeed::Lead { topic, partition, brokers };
            self.administration.push(AdminPlan { at_us, node: replicas[0], deed });
        };
        let first = draw.index(replicas.len());
        let turned = |by: usize| {
            let order = replicas.iter().cycle().skip((first + by) % replicas.len()).take(replicas.len());
            order.copied().collect::<Vec<usize>>()
        };
        lead(at_us.saturating_sub(2 * gap_us), turned(0));
        lead(at_us + gap_us, turned(1));
        lead(at_us + 2 * gap_us, turned(0));
        let (one, other) = (End::Node(turned(0)[0]), End::Node(turned(1)[0]));
        let by_us = draw.between(2, 6) * gap_us;
        let clog = |from, to, for_us| FaultPlan { at_us, fault: Fault::Clog { from, to, by_us, for_us } };
        self.faults.push(clog(one, other, gap_us));
        let Some(third) = turned(0).get(2).copied().filter(|_| draw.chance(2, 3)) else {
            self.faults.push(clog(other, one, 4 * gap_us));
            return;
        };
        let for_us = draw.between(3, 5) * gap_us;
        let late_us = at_us + draw.between(gap_us / 4, gap_us);
        let controllers: Vec<usize> = self.controllers().collect();
        let misses: Vec<Fault> = match draw.between(0, 3) {
            0 => vec![Fault::Pause { node: third, for_us }],
            1 => {
                let deaf = |from| Fault::Clog { from: End::Node(from), to: End::Node(third), by_us, for_us };
                controllers.into_iter().filter(|from| *from != third).map(deaf).collect()
            }
            _ => {
                let (from, api) = (End::Node(third), Some(1));
                let mute = |to| Fault::Drop { from, to: End::Node(to), api, for_us };
                controllers.into_iter().filter(|to| *to != third).map(mute).collect()
            }
        };
        self.faults.extend(misses.into_iter().map(|fault| FaultPlan { at_us: late_us, fault }));
    }

    /// Has an administrator move the partitions that clients write to, and elect their preferred leaders.
    fn draw_moves_of_replicated(&mut self, draw: &mut Draw, brokers: &[usize], duration_us: u64) {
        let mut deeds = Vec::new();
        for _ in 0..draw.between(1, 8) {
            let at_us = draw.between(0, duration_us);
            let topic = draw.index(self.topics.len());
            let partition = draw.i32(0, self.topics[topic].partitions - 1);
            let least = self.topics[topic].min_isr.unwrap_or(1);
            let most = brokers.len().min(REPLICAS_MAX);
            let deed = match draw.between(0, 5) {
                0 => AdminDeed::ElectPreferred { topic, partition },
                1 => AdminDeed::Reassign { topic, partition, brokers: Vec::new() },
                _ => {
                    let count = draw.between(least as u64, most as u64);
                    let mut left = brokers.to_vec();
                    let replicas = (0..count).map(|_| left.remove(draw.index(left.len()))).collect();
                    AdminDeed::Reassign { topic, partition, brokers: replicas }
                }
            };
            deeds.push(AdminPlan { at_us, node: brokers[0], deed });
        }
        deeds.sort_by_key(|planned| planned.at_us);
        self.administration = deeds;
    }

    /// A plan in which there is nothing yet.
    const fn of_nobody() -> Self {
        Self {
            version: Self::VERSION,
            field_seed: 1,
            nodes: Vec::new(),
            topics: Vec::new(),
            network: NetworkPlan {
                to_node_us: Range { low: 50, high: 400 },
                to_client_us: Range { low: 50, high: 400 },
                between_nodes_us: NetworkPlan::near(),
                encoded_per_mille: 20,
            },
            producers: Vec::new(),
            consumers: Vec::new(),
            configurators: Vec::new(),
            gatekeepers: Vec::new(),
            brokers: Vec::new(),
            first_voters: None,
            operators: Vec::new(),
            administration: Vec::new(),
            faults: Vec::new(),
            weather: Vec::new(),
            liveness_bound_us: 120_000_000,
            without_elr: false,
            metadata_version: None,
            museum: Vec::new(),
            mutation: None,
        }
    }

    /// Three controllers and three brokers under the reference load, ten minutes of it, with faults: two clients that each set a
    /// configuration five times a second, one of them through brokers. A fault befalls a controller every seven and a half
    /// seconds.
    #[must_use]
    pub fn reference_quorum() -> Self {
        let node = NodePlan {
            role: NodeRole::Controller,
            log_dirs: 1,
            properties: BTreeMap::new(),
            disk: DiskPlan {
                write_us: Range { low: 5, high: 40 },
                read_us: Range { low: 20, high: 200 },
                sync_us: Range { low: 200, high: 4_000 },
                answer_us: Range::exactly(0),
            },
            clock: ClockPlan::default(),
        };
        let broker = NodePlan { role: NodeRole::Broker, ..node.clone() };
        let configurator = |client, node| ConfiguratorPlan {
            client,
            node,
            request_timeout_us: 5_000_000,
            sets: (0..REFERENCE_US / SET_EVERY_US)
                .map(|number| SetPlan {
                    at_us: number * SET_EVERY_US + client * 1_000,
                    key: usize::try_from(number % ConfiguratorPlan::KEYS.len() as u64).expect("an index"),
                })
                .collect(),
        };
        let faults = (1..REFERENCE_US / FAULT_EVERY_US)
            .map(|number| FaultPlan { at_us: number * FAULT_EVERY_US, fault: reference_fault(number, 3) });
        Self {
            nodes: [vec![node; 3], vec![broker; 3]].concat(),
            configurators: vec![configurator(30, 0), configurator(31, 4)],
            faults: faults.collect(),
            ..Self::of_nobody()
        }
    }

    /// The same cluster under eight clients for as long: six producers, two to each of three partitions that all brokers have,
    /// each with five batches a second that two brokers have to have, and two consumers. The faults befall controllers and brokers in
    /// turn.
    #[must_use]
    pub fn reference_replicated() -> Self {
        let quorum = Self::reference_quorum();
        let brokers: Vec<usize> = quorum.cluster_brokers().collect();
        let place = |client: u64| i32::try_from(client % 3).expect("one of three");
        let producer = |client: u64| ProducerPlan {
            client: REPLICATED_PRODUCER + client,
            node: brokers[0],
            acks: -1,
            is_idempotent: true,
            in_flight_max: 5,
            api_version: 13,
            request_timeout_us: 5_000_000,
            sends: (0..REFERENCE_US / SET_EVERY_US)
                .map(|number| SendPlan {
                    at_us: number * SET_EVERY_US + client * 1_000,
                    topic: 0,
                    partition: place(client),
                    records: 3,
                    value_bytes: 100,
                    codec: Codec::None,
                })
                .collect(),
        };
        let consumer = |client: u64| ConsumerPlan {
            client: REPLICATED_PRODUCER + 6 + client,
            node: brokers[0],
            start_us: 1_000_000,
            assignment: vec![(0, place(client))],
            api_version: 18,
            has_sessions: true,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            partition_max_bytes: 1 << 20,
            request_timeout_us: 5_000_000,
            rack: None,
        };
        let topic = TopicPlan {
            name: "reference".to_owned(),
            partitions: 3,
            replicas: 3,
            min_isr: Some(2),
            flush_messages: None,
            segment_bytes: 1 << 20,
            index_interval_bytes: 4_096,
            log_append_time: false,
            retention_ms: None,
            retention_bytes: None,
            segment_ms: None,
            unclean_elections: false,
        };
        let faults = (1..REFERENCE_US / FAULT_EVERY_US)
            .map(|number| FaultPlan { at_us: number * FAULT_EVERY_US, fault: reference_fault(number, 6) });
        Self {
            configurators: Vec::new(),
            topics: vec![topic],
            producers: (0..6).map(producer).collect(),
            consumers: (0..2).map(consumer).collect(),
            faults: faults.collect(),
            ..quorum
        }
    }

    /// Five seconds of [`Self::reference_replicated`] under the weather of a seed, with one of its faults half-way.
    #[must_use]
    pub fn reference_seed(seed: u64) -> Self {
        let mut plan = Self::reference_replicated();
        plan.field_seed = seed;
        plan.producers.iter_mut().for_each(|producer| producer.sends.retain(|send| send.at_us < SEED_US));
        plan.faults = vec![FaultPlan { at_us: SEED_US / 2, fault: reference_fault(seed, 6) }];
        plan
    }
}

/// An update that is refused in most clusters, and must be in many.
fn draw_doubtful_update(draw: &mut Draw) -> (Feature, i16, Direction) {
    let features =
        [Feature::KraftVersion, Feature::MetadataVersion, Feature::EligibleLeaderReplicas, Feature::Unknown];
    let feature = draw.one_of(&features);
    let levels: &[i16] = match feature {
        Feature::MetadataVersion => &[6, 22, 28, 29, 31],
        Feature::KraftVersion | Feature::EligibleLeaderReplicas | Feature::Unknown => &[0, 0, 1, 2],
    };
    let directions = [Direction::Upgrade, Direction::SafeDowngrade, Direction::UnsafeDowngrade];
    (feature, draw.one_of(levels), draw.one_of(&directions))
}

fn crash(node: usize, how: CrashKind, down_us: u64) -> Fault {
    Fault::Crash { node, how, down_us, disk: DiskAfter::Same, while_recovering: Vec::new() }
}

/// The faults of a reference run, in turn and on each of the first nodes in turn.
fn reference_fault(number: u64, nodes: usize) -> Fault {
    let node = usize::try_from(number).expect("an index") % nodes;
    let (from, to) = (End::Node(node), End::Node((node + 1) % nodes));
    match number % 7 {
        0 => crash(node, CrashKind::PowerLoss, 300_000),
        1 => Fault::Cut { from, to, for_us: 3_000_000 },
        2 => crash(node, CrashKind::Kill, 300_000),
        3 => Fault::Pause { node, for_us: 3_000_000 },
        4 => Fault::Drop { from, to, api: Some(1), for_us: 1_000_000 },
        5 => crash(node, CrashKind::Stop, 300_000),
        _ => Fault::ResetNodes { from: node, to: (node + 1) % nodes },
    }
}

/// Whether leaders depose each other for as long as nothing happens.
fn is_restless(properties: &BTreeMap<String, String>) -> bool {
    properties.get(ELECTION_TIMEOUT).is_some_and(|timeout| timeout == "200")
}

/// What the faults of a plan depend on.
struct Swarm {
    nodes: usize,
    duration_us: u64,
    /// How long a follower waits for its leader.
    fetch_timeout_us: u64,
    clients: Vec<u64>,
}

/// A metadata log of which little is kept: whoever is away for long has to come back through a snapshot.
#[derive(Default)]
struct ShortLog {
    properties: BTreeMap<String, String>,
    faults: Vec<FaultPlan>,
}

impl ShortLog {
    fn draw(seed: u64, nodes: u64, duration_us: u64) -> Self {
        let mut draw = Draw::new(seed ^ SHORT_LOG_SALT);
        let mut short_log = Self::default();
        if !draw.chance(1, SHORT_LOG_EVERY) {
            return short_log;
        }
        let mut set = |key: &str, value: u64| {
            short_log.properties.insert(key.to_owned(), value.to_string());
        };
        // A snapshot that comes in many parts must not be gone before the last of them.
        let comes_in_parts = draw.chance(1, 2);
        let between =
            draw.one_of(if comes_in_parts { &[1_000, 4_000] } else { &[300, 500, 1_000, 4_000][..] });
        set("metadata.log.max.record.bytes.between.snapshots", between);
        set("internal.metadata.log.segment.bytes", draw.between(400, 2_000));
        set("metadata.max.retention.bytes", draw.one_of(&[1, 1_000, 3_000, 8_000]));
        if draw.chance(1, 3) {
            set("metadata.max.retention.ms", draw.one_of(&[0, 500, 5_000]));
        }
        if comes_in_parts {
            let at_a_time = draw.one_of(&[200, 400, 1_000]);
            set("controller.quorum.fetch.max.bytes", at_a_time);
            set("controller.quorum.fetch.snapshot.max.bytes", at_a_time);
        } else if draw.chance(1, 2) {
            set("metadata.log.max.snapshot.interval.ms", draw.one_of(&[200, 1_000, 5_000]));
        }
        if draw.chance(1, 2) {
            set("internal.metadata.delete.delay.millis", draw.one_of(&[1_000, 10_000]));
        }
        if nodes > 1 {
            let node_count = usize::try_from(nodes).expect("a few");
            for _ in 0..draw.between(1, 3) {
                let node = draw.index(node_count);
                let at_us = draw.between(10_000, duration_us);
                let away = draw_absence(&mut draw, node_count, node);
                let planned = |(later, fault)| FaultPlan { at_us: at_us + later, fault };
                short_log.faults.extend(away.into_iter().map(planned));
            }
        }
        short_log
    }
}

/// Voters that stand in the log of their quorum, and change with it.
#[derive(Default)]
struct LoggedVoters {
    /// How many of the controllers vote at first, if the voters are logged.
    first: Option<usize>,
    /// Controllers beside those that every such plan has, whose properties are those of all.
    more: Vec<NodePlan>,
    /// Controllers that ask to be voters when they are none.
    joining: Vec<usize>,
    changer: Option<OperatorPlan>,
    faults: Vec<FaultPlan>,
}

impl LoggedVoters {
    fn draw(
        seed: u64,
        nodes: u64,
        duration_us: u64,
        properties: &BTreeMap<String, String>,
        fetch_timeout_us: u64,
    ) -> Self {
        let mut draw = Draw::new(seed ^ LOGGED_VOTERS_SALT);
        let mut logged = Self::default();
        // Where leaders depose each other for as long as nothing happens, nobody gets as far as to change who votes.
        if !draw.chance(1, LOGGED_VOTERS_EVERY) || is_restless(properties) {
            return logged;
        }
        let more = draw.one_of(if nodes == 1 { &[1, 2, 2][..] } else { &[0, 0, 1, 2] });
        let more = (0..more).map(|_| NodePlan {
            role: NodeRole::Controller,
            log_dirs: 1,
            properties: BTreeMap::new(),
            disk: super::draw::draw_disk(&mut draw),
            clock: ClockPlan::default(),
        });
        logged.more = more.collect();
        let nodes = usize::try_from(nodes).expect("a few");
        let all = nodes + logged.more.len();
        let first = draw.one_of(&[nodes, nodes, nodes, nodes.max(2) - 1, 1]);
        logged.first = Some(first);
        let of_four = draw.one_of(&[0, 0, 2, 4]);
        logged.joining = (0..all).filter(|_| draw.chance(of_four, 4)).collect();
        let mut changes = Vec::new();
        if draw.chance(3, 4) {
            for _ in 0..draw.between(1, 8) {
                let at_us = draw.between(10_000, duration_us);
                let node = draw.index(all);
                let is_addition = draw.chance(1, 2);
                let change =
                    if is_addition { QuorumChange::Add { node } } else { QuorumChange::Remove { node } };
                changes.push(QuorumChangePlan { at_us, change });
                if draw.chance(1, 3) {
                    // If it is the leader that is cut off, it writes a change that nobody has.
                    let (before_us, apart) = (draw.one_of(&[0, 3_000, 50_000]), draw.index(all));
                    let for_us = draw_about(&mut draw, fetch_timeout_us);
                    let at_us = at_us.saturating_sub(before_us);
                    let cut = cut_off(all, &[apart], true, draw.chance(1, 2), for_us);
                    logged.faults.extend(cut.into_iter().map(|(_, fault)| FaultPlan { at_us, fault }));
                }
            }
        }
        if draw.chance(1, 2) {
            for _ in 0..draw.between(1, 3) {
                let (node, at_us) = (draw.index(all), draw.between(10_000, duration_us));
                let how = draw.one_of(&[CrashKind::Kill, CrashKind::PowerLoss]);
                let down_us = draw.one_of(&[1_000, 100_000, 2_000_000]);
                let fault =
                    Fault::Crash { node, how, down_us, disk: DiskAfter::Empty, while_recovering: Vec::new() };
                logged.faults.push(FaultPlan { at_us, fault });
                if draw.chance(3, 4) {
                    let removed_us = at_us + draw.one_of(&[1_000, 200_000, 3_000_000]);
                    let added_us = removed_us + draw.one_of(&[1_000, 3_000_000]);
                    for (at_us, change) in
                        [(removed_us, QuorumChange::Remove { node }), (added_us, QuorumChange::Add { node })]
                    {
                        changes.push(QuorumChangePlan { at_us, change });
                    }
                }
            }
        }
        changes.sort_by_key(|planned| planned.at_us);
        logged.changer = (!changes.is_empty()).then(|| OperatorPlan {
            client: OPERATOR,
            node: draw.index(all),
            request_timeout_us: draw.one_of(&[300_000, 2_000_000, 6_000_000]),
            changes,
        });
        logged
    }
}

/// Brokers of the cluster that are nodes, some of them voters too.
#[derive(Default)]
struct RealBrokers {
    properties: BTreeMap<String, String>,
    /// Voters that are brokers too.
    both: Vec<usize>,
    /// Brokers that have no vote, whose properties are those of all.
    alone: Vec<NodePlan>,
    /// Whom the clients ask that set configurations, if it is not a voter.
    asked: Vec<Option<usize>>,
    faults: Vec<FaultPlan>,
}

impl RealBrokers {
    fn draw(seed: u64, voters: u64, duration_us: u64, properties: &BTreeMap<String, String>) -> Self {
        let mut draw = Draw::new(seed ^ BROKERS_SALT);
        let mut brokers = Self::default();
        // Where leaders depose each other for as long as nothing happens, no broker gets anywhere.
        if !draw.chance(1, BROKERS_EVERY) || is_restless(properties) {
            return brokers;
        }
        let voters = usize::try_from(voters).expect("a few");
        let both_of_four = draw.one_of(&[0, 0, 2, 4]);
        brokers.both = (0..voters).filter(|_| draw.chance(both_of_four, 4)).collect();
        let alone = draw.between(u64::from(brokers.both.is_empty()), 3);
        brokers.alone = (0..alone)
            .map(|_| NodePlan {
                role: NodeRole::Broker,
                log_dirs: 1,
                properties: BTreeMap::new(),
                disk: super::draw::draw_disk(&mut draw),
                clock: ClockPlan::default(),
            })
            .collect();
        let set = properties.get("broker.session.timeout.ms").and_then(|text| text.parse().ok());
        let session_ms: u64 = set.unwrap_or(SESSION_TIMEOUT_MS);
        let mut set = |key: &str, value: String| brokers.properties.insert(key.to_owned(), value);
        set("broker.heartbeat.interval.ms", (session_ms / draw.between(3, 8)).to_string());
        // No process of a plan ends because others are away for long.
        set("initial.broker.registration.timeout.ms", 600_000.to_string());
        if draw.chance(1, 5) {
            set("controlled.shutdown.enable", false.to_string());
        }
        if draw.chance(1, 3) {
            // How long a client waits for somebody to be the active controller.
            set("request.timeout.ms", draw.one_of(&[200, 1_000, 5_000]).to_string());
        }
        let all = voters + brokers.alone.len();
        brokers.asked = (0..6).map(|_| draw.chance(1, 2).then(|| draw.index(all))).collect();
        if !brokers.alone.is_empty() {
            for _ in 0..draw.between(0, 6) {
                let at_us = draw.between(10_000, duration_us + 500_000);
                let fault = draw_broker_fault(&mut draw, voters, all);
                brokers.faults.push(FaultPlan { at_us, fault });
            }
        }
        brokers
    }
}

/// What befalls a broker that has no vote.
fn draw_broker_fault(draw: &mut Draw, voters: usize, all: usize) -> Fault {
    let node = voters + draw.index(all - voters);
    let other = draw.index(voters);
    let for_us = draw.one_of(&[20_000, 400_000, 2_500_000, 6_000_000]);
    let down_us = draw.one_of(&[1_000, 100_000, 2_000_000, 12_000_000]);
    let (broker, voter) = (End::Node(node), End::Node(other));
    match draw.between(0, 8) {
        0 | 1 => crash(node, CrashKind::PowerLoss, down_us),
        2 | 3 => crash(node, CrashKind::Kill, down_us),
        4 | 5 => crash(node, CrashKind::Stop, down_us),
        6 => Fault::Pause { node, for_us },
        7 if draw.chance(1, 2) => Fault::Cut { from: broker, to: voter, for_us },
        7 => Fault::Cut { from: voter, to: broker, for_us },
        _ => Fault::ResetNodes { from: node, to: other },
    }
}

/// A node is away while the others go on, and perhaps once more when it has just come back.
fn draw_absence(draw: &mut Draw, nodes: usize, node: usize) -> Vec<(u64, Fault)> {
    let away_us = draw.one_of(&[1_000_000, 3_000_000, 8_000_000]);
    let mut faults = if draw.chance(1, 2) {
        let how = draw.one_of(&[CrashKind::PowerLoss, CrashKind::Kill]);
        vec![(0, crash(node, how, away_us))]
    } else {
        cut_off(nodes, &[node], true, true, away_us)
    };
    if draw.chance(1, 2) {
        let within_us = draw.one_of(&[20_000, 300_000, 2_000_000]);
        let again_us = away_us + draw.between(0, within_us);
        let down_us = draw.one_of(&[1_000, 100_000]);
        faults.push((again_us, crash(node, CrashKind::PowerLoss, down_us)));
    }
    faults
}

/// Properties of all nodes, and how long a follower waits for its leader with them.
fn draw_properties(draw: &mut Draw, has_brokers: bool) -> (BTreeMap<String, String>, u64) {
    let mut properties = BTreeMap::new();
    let mut fetch_timeout_us = 2_000_000;
    if draw.chance(1, 2) {
        // A fetch that finds nothing is answered after half a second: who waits for less deposes one leader after the other. A
        // broker whose process has ended has a new session with each of them, and could never begin anew.
        let timeout = draw.one_of(if has_brokers { &[500, 3_000][..] } else { &[200, 500, 3_000] });
        fetch_timeout_us = 2_000 * timeout;
        for (key, value) in [
            (ELECTION_TIMEOUT, timeout),
            ("controller.quorum.fetch.timeout.ms", 2 * timeout),
            ("controller.quorum.request.timeout.ms", draw.one_of(&[timeout, 2_000])),
            ("controller.quorum.election.backoff.max.ms", timeout),
        ] {
            properties.insert(key.to_owned(), value.to_string());
        }
    }
    if draw.chance(2, 3) {
        let session_timeout = draw.one_of(&[500, 2_000]);
        properties.insert("broker.session.timeout.ms".to_owned(), session_timeout.to_string());
    }
    (properties, fetch_timeout_us)
}

fn draw_controller(draw: &mut Draw, properties: &BTreeMap<String, String>, has_clock: bool) -> NodePlan {
    let clock = ClockPlan {
        offset_ms: i64::from(draw.i32(0, 20_000)) - 10_000,
        drift_ppm: draw.i32(0, 2_000) - 1_000,
    };
    NodePlan {
        role: NodeRole::Controller,
        log_dirs: 1,
        properties: properties.clone(),
        disk: super::draw::draw_disk(draw),
        clock: if has_clock { clock } else { ClockPlan::default() },
    }
}

fn draw_configurator(draw: &mut Draw, nodes: usize, duration_us: u64, client: u64) -> ConfiguratorPlan {
    let sets = draw.between(1, 40);
    let mut times: Vec<u64> = (0..sets).map(|_| draw.between(0, duration_us)).collect();
    times.sort_unstable();
    let keys = draw.one_of(&[1, 2, ConfiguratorPlan::KEYS.len()]);
    ConfiguratorPlan {
        client,
        node: draw.index(nodes),
        request_timeout_us: draw.one_of(&[300_000, 2_000_000, 30_000_000]),
        sets: times.into_iter().map(|at_us| SetPlan { at_us, key: draw.index(keys) }).collect(),
    }
}

fn draw_gatekeeper(draw: &mut Draw, nodes: usize, duration_us: u64, client: u64) -> GatekeeperPlan {
    let mut times: Vec<u64> = (0..draw.between(1, 30)).map(|_| draw.between(0, duration_us)).collect();
    times.sort_unstable();
    let deeds = times.into_iter().map(|at_us| GatekeeperDeedPlan { at_us, deed: draw_gatekeeper_deed(draw) });
    let deeds = deeds.collect();
    GatekeeperPlan {
        client,
        node: draw.index(nodes),
        request_timeout_us: draw.one_of(&[300_000, 2_000_000, 30_000_000]),
        deeds,
    }
}

fn draw_gatekeeper_deed(draw: &mut Draw) -> GatekeeperDeed {
    // Every other filter matches whatever there is, of one type or of both.
    let filter = |draw: &mut Draw| {
        if draw.chance(1, 2) { draw.between(0, 2) } else { draw.between(0, PlannedFilter::COUNT - 1) }
    };
    match draw.between(0, 7) {
        0..=3 => {
            let count = draw.one_of(&[1, 2, 5, 20]);
            GatekeeperDeed::Create {
                acls: (0..count).map(|_| draw.between(0, PlannedAcl::COUNT - 1)).collect(),
            }
        }
        4 | 5 => GatekeeperDeed::Delete { filter: filter(draw) },
        _ => GatekeeperDeed::Describe { filter: filter(draw) },
    }
}

fn draw_broker(draw: &mut Draw, nodes: usize, duration_us: u64, client: u64) -> BrokerPlan {
    let mut times: Vec<u64> = (0..draw.between(1, 16)).map(|_| draw.between(0, duration_us)).collect();
    times.sort_unstable();
    let deeds = times.into_iter().map(|at_us| BrokerDeedPlan { at_us, deed: draw_broker_deed(draw) });
    let deeds = deeds.collect();
    BrokerPlan {
        client,
        node: draw.index(nodes),
        request_timeout_us: draw.one_of(&[300_000, 2_000_000, 4_500_000]),
        heartbeat_us: draw.one_of(&[100_000, 400_000, 2_000_000]),
        deeds,
    }
}

fn draw_broker_deed(draw: &mut Draw) -> BrokerDeed {
    match draw.between(0, 15) {
        0 | 1 => BrokerDeed::Restart,
        2 => BrokerDeed::FallSilent { for_us: draw.one_of(&[1_000_000, 3_000_000, 12_000_000]) },
        3 => BrokerDeed::Leave,
        4..=6 => BrokerDeed::AllocateProducerIds,
        7..=10 => {
            BrokerDeed::CreateTopic { partitions: draw.i32(1, 4), replicas: draw.one_of(&[1, 1, 2, 3]) }
        }
        11 => BrokerDeed::DeleteTopic,
        12 | 13 => BrokerDeed::AddPartition,
        _ => BrokerDeed::SetTopicConfig,
    }
}

/// Moves partitions about between the brokers of a plan and perhaps some more, if it has any.
fn draw_moves(seed: u64, mut brokers: Vec<BrokerPlan>, duration_us: u64) -> Vec<BrokerPlan> {
    let mut draw = Draw::new(seed ^ MOVES_SALT);
    let Some(first) = brokers.first().filter(|_| draw.chance(1, MOVES_EVERY)).cloned() else {
        return brokers;
    };
    for _ in 0..draw.between(0, 2) {
        let client = first.client + brokers.len() as u64;
        brokers.push(BrokerPlan { client, deeds: Vec::new(), ..first.clone() });
    }
    // In most of these plans no registration is taken away: it takes whole topics out of the others' hands.
    let unregisters = draw.chance(1, 3);
    for broker in &mut brokers {
        let topic =
            BrokerDeed::CreateTopic { partitions: draw.i32(1, 3), replicas: draw.one_of(&[1, 2, 2, 3]) };
        let early_us = draw.between(0, duration_us / 3);
        broker.deeds.push(BrokerDeedPlan { at_us: early_us, deed: topic });
        for _ in 0..draw.between(4, 24) {
            let at_us = draw.between(early_us, duration_us);
            let deed = draw_move(&mut draw, unregisters);
            broker.deeds.push(BrokerDeedPlan { at_us, deed });
        }
        broker.deeds.sort_by_key(|planned| planned.at_us);
    }
    brokers
}

/// Says how many replicas have to be in sync, and says otherwise while brokers come and go.
fn draw_min_isr(seed: u64, nodes: &mut [NodePlan], brokers: &mut [BrokerPlan], duration_us: u64) {
    let mut draw = Draw::new(seed ^ MIN_ISR_SALT);
    if brokers.is_empty() || !draw.chance(1, MIN_ISR_EVERY) {
        return;
    }
    if draw.chance(3, 4) {
        let min_isr = draw.between(1, 3).to_string();
        for node in nodes {
            node.properties.insert(BrokerPlan::MIN_ISR_KEY.to_owned(), min_isr.clone());
        }
    }
    for broker in brokers {
        let early_us = draw.between(0, duration_us / 3);
        let topic = BrokerDeed::CreateTopic { partitions: draw.i32(1, 3), replicas: draw.one_of(&[2, 3, 3]) };
        broker.deeds.push(BrokerDeedPlan { at_us: early_us, deed: topic });
        for _ in 0..draw.between(2, 10) {
            let at_us = draw.between(early_us, duration_us);
            let deed = draw_deed_of_min_isr(&mut draw);
            broker.deeds.push(BrokerDeedPlan { at_us, deed });
            if deed == BrokerDeed::Leave {
                // It comes back, with all that it had.
                let back = BrokerDeedPlan {
                    at_us: at_us + draw.one_of(&[50_000, 1_000_000, 3_000_000]),
                    deed: BrokerDeed::Restart,
                };
                broker.deeds.push(back);
            }
        }
        broker.deeds.sort_by_key(|planned| planned.at_us);
    }
}

fn draw_deed_of_min_isr(draw: &mut Draw) -> BrokerDeed {
    let replicas = draw.one_of(&[Some(1), Some(2), Some(2), Some(3), Some(3), None]);
    match draw.between(0, 11) {
        0 | 1 => BrokerDeed::SetMinIsr { of: MinIsrOf::Topic, replicas },
        2 | 3 => BrokerDeed::SetMinIsr { of: MinIsrOf::AllBrokers, replicas },
        4 => BrokerDeed::SetMinIsr { of: MinIsrOf::Itself, replicas },
        5 => BrokerDeed::Restart,
        6 | 7 => BrokerDeed::Leave,
        8 | 9 => BrokerDeed::FallSilent { for_us: draw.one_of(&[1_000_000, 3_000_000, 12_000_000]) },
        _ => BrokerDeed::AlterIsr { partition: draw.index(3), wanted: WantedIsr::All, stale: None },
    }
}

fn draw_move(draw: &mut Draw, unregisters: bool) -> BrokerDeed {
    let partition = draw.index(3);
    match draw.between(0, 19) {
        0..=4 => {
            BrokerDeed::Reassign { partition, replicas: draw.one_of(&[1, 2, 2, 3]), first: draw.index(6) }
        }
        5 => BrokerDeed::CancelReassignment { partition },
        6 => BrokerDeed::ListReassignments,
        7 => BrokerDeed::ElectLeader { partition, unclean: false },
        8 => BrokerDeed::ElectLeader { partition, unclean: true },
        9 if unregisters => BrokerDeed::UnregisterBroker { broker: draw.index(6) },
        _ => {
            let stale =
                [StaleEpoch::Leader, StaleEpoch::Partition, StaleEpoch::OwnBroker, StaleEpoch::Follower];
            BrokerDeed::AlterIsr {
                partition: draw.one_of(&[0, 0, 1, 2, 3]),
                wanted: draw.one_of(&[
                    WantedIsr::All,
                    WantedIsr::All,
                    WantedIsr::OneMore,
                    WantedIsr::OneMore,
                    WantedIsr::OneLess,
                    WantedIsr::Alone,
                ]),
                stale: draw.chance(1, 6).then(|| draw.one_of(&stale)),
            }
        }
    }
}

fn draw_faults(draw: &mut Draw, swarm: &Swarm) -> Vec<FaultPlan> {
    let mut kinds: Vec<Kind> = KINDS
        .into_iter()
        .filter(|(_, of_twelve)| draw.chance(*of_twelve, 12))
        .map(|(kind, _)| kind)
        .collect();
    // A short list makes the few meet often.
    if draw.chance(1, 3) {
        while kinds.len() > 3 {
            let gone = draw.index(kinds.len());
            kinds.swap_remove(gone);
        }
    }
    if kinds.is_empty() || draw.chance(1, 16) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for _ in 0..draw.between(1, 12) {
        let at_us = draw.between(10_000, swarm.duration_us + 500_000);
        let kind = draw.one_of(&kinds);
        let those = draw_fault(draw, kind, swarm);
        faults.extend(those.into_iter().map(|(later, fault)| FaultPlan { at_us: at_us + later, fault }));
    }
    faults
}

/// What happens, each with how much later.
fn draw_fault(draw: &mut Draw, kind: Kind, swarm: &Swarm) -> Vec<(u64, Fault)> {
    let nodes = swarm.nodes;
    let node = draw.index(nodes);
    let other = (node + 1 + draw.index(nodes.max(2) - 1)) % nodes;
    let for_us = draw.one_of(&[20_000, 400_000, 2_500_000, 6_000_000]);
    let down_us = draw.one_of(&[1_000, 100_000, 2_000_000]);
    let (from, to) = (End::Node(node), End::Node(other));
    let fault = match kind {
        Kind::PowerLoss => crash(node, CrashKind::PowerLoss, down_us),
        Kind::PowerLossOfAll => {
            // One after the other within a moment, as when a room loses its power.
            let spread = draw.one_of(&[0, 500, 50_000]);
            return (0..nodes)
                .map(|node| (draw.between(0, spread), crash(node, CrashKind::PowerLoss, down_us)))
                .collect();
        }
        Kind::Kill => crash(node, CrashKind::Kill, down_us),
        Kind::Stop => crash(node, CrashKind::Stop, down_us),
        Kind::Pause => Fault::Pause { node, for_us },
        Kind::ClockStep => {
            Fault::ClockStep { node, by_ms: draw.one_of(&[-3_600_000, -2_000, 40, 5_000, 86_400_000]) }
        }
        Kind::Disk => {
            let times = draw.u32(1, 3);
            let how = draw.one_of(&[
                DiskFault::Stall { for_us },
                DiskFault::Stall { for_us },
                DiskFault::Full { for_us },
                DiskFault::FailWrites { files: FileKind::MetadataLog, times, error: WriteError::NoSpace },
                DiskFault::FailReads { files: FileKind::MetadataLog, times },
            ]);
            Fault::Disk { node, how }
        }
        Kind::Client => {
            let client = End::Client(draw.one_of(&swarm.clients));
            match draw.between(0, 2) {
                0 => Fault::Cut { from: client, to: from, for_us },
                1 => Fault::Cut { from, to: client, for_us },
                _ => Fault::PauseClient { client: draw.one_of(&swarm.clients), for_us },
            }
        }
        // Alone a voter has no links.
        Kind::CutOneWay
        | Kind::Isolate
        | Kind::Depose
        | Kind::SlowTruncation
        | Kind::Drop
        | Kind::Clog
        | Kind::Reset
            if nodes == 1 =>
        {
            Fault::Pause { node, for_us }
        }
        Kind::CutOneWay => Fault::Cut { from, to, for_us },
        Kind::Isolate => {
            // Of many, one may take another along.
            let apart = if nodes > 3 && draw.chance(1, 2) { vec![node, other] } else { vec![node] };
            // One that is not heard, one that does not hear, or both.
            let ways = draw.between(0, 2);
            return cut_off(nodes, &apart, ways != 1, ways != 0, for_us);
        }
        Kind::Depose => return draw_deposition(draw, swarm, node, other),
        Kind::SlowTruncation => {
            // If it leads it writes on what nobody has, and cuts that off when it is back; in the middle of it whoever may
            // lead in its place is gone too.
            let for_us = draw_about(draw, swarm.fetch_timeout_us);
            let stall = DiskFault::Stall { for_us: draw.one_of(&[30_000, 300_000, 1_500_000]) };
            let mut faults = cut_off(nodes, &[node], true, true, for_us);
            faults.push((for_us + draw.between(0, 50_000), Fault::Disk { node, how: stall }));
            faults.push((for_us + draw.between(5_000, 500_000), crash(other, CrashKind::Kill, down_us)));
            return faults;
        }
        Kind::Drop => Fault::Drop { from, to, api: Some(draw.one_of(&APIS)), for_us },
        Kind::Clog => Fault::Clog { from, to, by_us: draw.one_of(&[5_000, 200_000, 1_500_000]), for_us },
        Kind::Reset => Fault::ResetNodes { from: node, to: other },
    };
    vec![(0, fault)]
}

/// A time in which nodes that hear nothing of their leader give it up, or soon after.
fn draw_about(draw: &mut Draw, fetch_timeout_us: u64) -> u64 {
    draw.between(fetch_timeout_us, 2 * fetch_timeout_us + 1_000_000)
}

/// Those that are apart from the others are not heard by them, do not hear them, or both.
fn cut_off(nodes: usize, apart: &[usize], is_mute: bool, is_deaf: bool, for_us: u64) -> Vec<(u64, Fault)> {
    let others = || (0..nodes).filter(|other| !apart.contains(other));
    let links = apart.iter().flat_map(|node| others().map(move |other| (End::Node(*node), End::Node(other))));
    links
        .flat_map(|(from, to)| {
            let out = is_mute.then_some(Fault::Cut { from, to, for_us });
            let back = is_deaf.then_some(Fault::Cut { from: to, to: from, for_us });
            out.into_iter().chain(back)
        })
        .map(|fault| (0, fault))
        .collect()
}

/// One node is not heard, but by one that hears nobody else. If it leads, the others depose it, and it learns so; what the
/// one that stayed with it has asked waits with a leader that is none any more, and comes to follow another.
fn draw_deposition(draw: &mut Draw, swarm: &Swarm, node: usize, loyal: usize) -> Vec<(u64, Fault)> {
    let silent_us = draw_about(draw, swarm.fetch_timeout_us);
    let apart_us = silent_us + draw.between(0, 2 * swarm.fetch_timeout_us);
    if swarm.nodes < 4 {
        // One that stays with it would leave the others without a majority.
        return cut_off(swarm.nodes, &[node], true, false, silent_us);
    }
    let others = (0..swarm.nodes).filter(|other| ![node, loyal].contains(other));
    others
        .flat_map(|other| {
            let unheard = Fault::Cut { from: End::Node(node), to: End::Node(other), for_us: silent_us };
            let apart = Fault::Cut { from: End::Node(other), to: End::Node(loyal), for_us: apart_us };
            [(0, unheard), (0, apart)]
        })
        .collect()
}
