//! Plans that are not drawn: the loads that the simulator's speed is measured under.

use super::{
    ClockPlan, Codec, ConsumerPlan, CrashKind, DiskAfter, DiskFault, DiskPlan, End, Fault, FaultPlan,
    FileKind, NetworkPlan, NodePlan, NodeRole, Plan, ProducerPlan, Range, RecoveryFaultPlan, SendPlan,
    TopicPlan, WriteError,
};
use std::collections::BTreeMap;

/// How long the reference run lasts, in virtual microseconds.
const REFERENCE_US: u64 = 600_000_000;
/// Between two batches of one producer.
const BATCH_EVERY_US: u64 = 200_000;
/// Between two faults of the reference run.
const FAULT_EVERY_US: u64 = 7_500_000;

const DISK: DiskPlan = DiskPlan {
    write_us: Range { low: 5, high: 40 },
    read_us: Range { low: 20, high: 200 },
    sync_us: Range { low: 200, high: 4_000 },
    answer_us: Range { low: 0, high: 0 },
};

const NETWORK: NetworkPlan = NetworkPlan {
    to_node_us: Range { low: 50, high: 400 },
    to_client_us: Range { low: 50, high: 400 },
    between_nodes_us: NetworkPlan::near(),
    encoded_per_mille: 20,
};

impl Plan {
    /// One node under the reference load, ten minutes of it, with faults: two producers, one idempotent, that each send
    /// a batch of ten records of 100 bytes five times a second to three partitions, and two consumers of all of them, one
    /// with a fetch session. A fault comes every seven and a half seconds.
    #[must_use]
    pub fn reference() -> Self {
        let producer = |client, is_idempotent| ProducerPlan {
            client,
            node: 0,
            acks: if is_idempotent { -1 } else { 1 },
            is_idempotent,
            in_flight_max: 5,
            api_version: 13,
            request_timeout_us: 5_000_000,
            sends: (0..REFERENCE_US / BATCH_EVERY_US)
                .map(|number| SendPlan {
                    at_us: number * BATCH_EVERY_US + client * 1_000,
                    topic: 0,
                    partition: i32::try_from((number + client) % 3).expect("below three"),
                    records: 10,
                    value_bytes: 100,
                    codec: Codec::None,
                })
                .collect(),
        };
        let consumer = |client, has_sessions| ConsumerPlan {
            client,
            node: 0,
            start_us: 0,
            assignment: (0..3).map(|partition| (0, partition)).collect(),
            api_version: 18,
            has_sessions,
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 52_428_800,
            partition_max_bytes: 1_048_576,
            request_timeout_us: 5_000_000,
            rack: None,
        };
        let faults = (1..REFERENCE_US / FAULT_EVERY_US)
            .map(|number| FaultPlan { at_us: number * FAULT_EVERY_US, fault: reference_fault(number) })
            .collect();
        Self {
            version: Self::VERSION,
            field_seed: 1,
            nodes: vec![NodePlan {
                role: NodeRole::Standalone,
                log_dirs: 1,
                properties: BTreeMap::new(),
                disk: DISK,
                clock: ClockPlan::default(),
            }],
            topics: vec![TopicPlan {
                name: "orders".to_owned(),
                partitions: 3,
                replicas: 1,
                min_isr: None,
                flush_messages: Some(10),
                segment_bytes: 262_144,
                index_interval_bytes: 4_096,
                log_append_time: false,
                retention_ms: None,
                retention_bytes: None,
                segment_ms: None,
                unclean_elections: false,
            }],
            network: NETWORK,
            producers: vec![producer(10, true), producer(11, false)],
            consumers: vec![consumer(20, true), consumer(21, false)],
            configurators: Vec::new(),
            gatekeepers: Vec::new(),
            brokers: Vec::new(),
            first_voters: None,
            operators: Vec::new(),
            administration: Vec::new(),
            faults,
            weather: Vec::new(),
            liveness_bound_us: 120_000_000,
            without_elr: false,
            metadata_version: None,
            museum: Vec::new(),
            mutation: None,
        }
    }

    /// One node that nobody talks to, for a day.
    #[must_use]
    pub fn idle() -> Self {
        let reference = Self::reference();
        let a_day = 24 * 3_600 * 1_000_000;
        Self {
            producers: Vec::new(),
            consumers: Vec::new(),
            faults: vec![FaultPlan { at_us: a_day, fault: Fault::ClockStep { node: 0, by_ms: 0 } }],
            ..reference
        }
    }
}

/// The faults of the reference run, in turn.
fn reference_fault(number: u64) -> Fault {
    let crash = |how, while_recovering| Fault::Crash {
        node: 0,
        how,
        down_us: 300_000,
        disk: DiskAfter::Same,
        while_recovering,
    };
    let (client, node) = (End::Client(20), End::Node(0));
    match number % 8 {
        0 => crash(CrashKind::PowerLoss, Vec::new()),
        1 => Fault::Cut { from: client, to: node, for_us: 400_000 },
        2 => crash(CrashKind::Kill, Vec::new()),
        3 => Fault::Reset { client: 10, node: 0 },
        4 => Fault::Disk {
            node: 0,
            how: DiskFault::FailWrites {
                files: FileKind::ActiveSegment,
                times: 1,
                error: WriteError::NoSpace,
            },
        },
        5 => Fault::Drop { from: node, to: End::Client(11), api: None, for_us: 200_000 },
        6 => {
            let again = RecoveryFaultPlan { after_completions: 9, how: CrashKind::Kill, down_us: 100_000 };
            crash(CrashKind::PowerLoss, vec![again])
        }
        _ => Fault::Pause { node: 0, for_us: 500_000 },
    }
}
