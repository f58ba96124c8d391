//! A node on a disk that does everything at once: for tests that walk one rule from request to answer. Faults, delays and
//! orders belong to the simulator.

mod client;
pub(crate) mod cluster;

use bytes::Bytes;
use sordini_core::config::broker::{BrokerConfig, Origin};
use sordini_core::format::Beginning;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::museum::Museum;
use sordini_core::node::{Input, Node, NodeConfig, NodeState, Output, RequestBody, RequestContext};
use sordini_core::outbox::Outbox;
use sordini_core::peer::{Channel, PeerFault};
use sordini_core::produce_request::JudgedProduce;
use sordini_core::storage_op::{Completion, DirectoryEntry, StorageFault, StorageOp};
use sordini_core::time::{Instant, Now};
use sordini_protocol::batch::{BatchBuilder, BatchParams};
use sordini_protocol::messages::broker_registration_request::Feature;
use sordini_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use sordini_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use sordini_protocol::messages::update_features_request::FeatureUpdateKey;
use sordini_protocol::messages::{IncrementalAlterConfigsRequest, ProduceRequest, UpdateFeaturesRequest};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, StoredRange, Str};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

/// The features of a broker that can live with every level.
pub(crate) fn features() -> Vec<Feature> {
    let names = [
        "metadata.version",
        "eligible.leader.replicas.version",
        "group.version",
        "share.version",
        "streams.version",
        "transaction.version",
    ];
    let feature = |name| Feature {
        name: Str::from_static(name),
        min_supported_version: 0,
        max_supported_version: i16::MAX,
        ..Feature::default()
    };
    names.map(feature).into()
}

/// Files by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Files that were cut and not synced since: a loss of power may bring back what was cut off.
    pub(crate) unsynced_cuts: BTreeSet<String>,
    /// The next append to a file whose name ends so fails without a trace.
    pub(crate) failing: Option<&'static str>,
}

impl Disk {
    pub(crate) fn run(&mut self, op: StorageOp) -> Result<Completion, StorageFault> {
        match op {
            StorageOp::Append { file, .. }
                if self.failing.is_some_and(|end| file.as_str().ends_with(end)) =>
            {
                self.failing = None;
                Err(StorageFault::Io)
            }
            StorageOp::Append { file, position, bytes } => {
                let contents = self.files.entry(file.to_string()).or_default();
                assert_eq!(contents.len() as u64, position, "{file} is appended to at its end");
                bytes.iter().for_each(|piece| contents.extend_from_slice(piece));
                Ok(Completion::Done)
            }
            StorageOp::Sync { file } => {
                assert!(self.files.contains_key(file.as_str()), "{file} is there to be synced");
                self.unsynced_cuts.remove(file.as_str());
                Ok(Completion::Done)
            }
            StorageOp::Read { file, position, len } => {
                let contents = self.files.get(file.as_str()).ok_or(StorageFault::NotFound)?;
                let from = small(position).min(contents.len());
                let to = (from + len as usize).min(contents.len());
                Ok(Completion::Bytes(Bytes::copy_from_slice(&contents[from..to])))
            }
            StorageOp::Truncate { file, len } => {
                let contents = self.files.get_mut(file.as_str()).ok_or(StorageFault::NotFound)?;
                contents.truncate(small(len));
                self.unsynced_cuts.insert(file.to_string());
                Ok(Completion::Done)
            }
            StorageOp::Replace { file, bytes } => {
                self.files.insert(file.to_string(), bytes.to_vec());
                Ok(Completion::Done)
            }
            StorageOp::Rename { from, to } => {
                for path in self.beneath(from.as_str()) {
                    let contents = self.files.remove(&path).expect("it was just listed");
                    self.files.insert(path.replacen(from.as_str(), to.as_str(), 1), contents);
                }
                Ok(Completion::Done)
            }
            StorageOp::Remove { path } => {
                for path in self.beneath(path.as_str()) {
                    self.files.remove(&path);
                }
                Ok(Completion::Done)
            }
            StorageOp::List { dir } => {
                let mut entries = BTreeMap::new();
                for path in self.beneath(dir.as_str()) {
                    let Some(rest) = path.strip_prefix(&format!("{dir}/")) else { continue };
                    let (name, is_directory) =
                        rest.split_once('/').map_or((rest, false), |(name, _)| (name, true));
                    let len = if is_directory { 0 } else { self.files[&path].len() as u64 };
                    let entry = DirectoryEntry { name: name.into(), len, is_directory, modified_ms: 0 };
                    entries.insert(name.to_owned(), entry);
                }
                Ok(Completion::Entries(entries.into_values().collect()))
            }
        }
    }

    fn beneath(&self, path: &str) -> Vec<String> {
        let dir = format!("{path}/");
        self.files.keys().filter(|other| *other == path || other.starts_with(&dir)).cloned().collect()
    }

    pub(crate) fn read(&self, range: &StoredRange) -> Bytes {
        let from = small(range.position);
        Bytes::copy_from_slice(&self.files[&*range.file][from..from + range.len as usize])
    }
}

/// A node with its disk and its answers.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) disk: Disk,
    pub(crate) now: Now,
    pub(crate) answers: BTreeMap<u64, AnyResponse>,
    pub(crate) closed: BTreeSet<u64>,
    next_request: u64,
    config: BrokerConfig,
    /// What the next start believes.
    pub(crate) museum: Museum,
    /// The disk does not answer appends to files whose names end so.
    pub(crate) silent: Option<&'static str>,
    /// How many lives the process has had.
    lives: u64,
}

impl Host {
    /// A node on a directory that was just formatted, running.
    pub(crate) fn formatted(settings: &[(&str, &str)]) -> Self {
        let base = [
            ("node.id", "1"),
            ("process.roles", "broker,controller"),
            ("listeners", "PLAINTEXT://localhost:9092"),
            ("log.dirs", "data"),
        ];
        let entries = base.iter().chain(settings);
        let entries =
            entries.map(|(key, value)| ((*key).to_owned(), (*value).to_owned(), Origin::CommandLine));
        let (config, _) = BrokerConfig::from_entries(entries).expect("the configuration is right");
        let mut disk = Disk::default();
        for op in sordini_core::format::format(
            &config,
            "5L6g3nShT-eMCtK--X86sw",
            &Beginning::default(),
            7,
            1_000_000,
        ) {
            disk.run(op).expect("formatting works");
        }
        let mut host = Self {
            node: Node::new(NodeConfig { broker: config.clone(), seed: 1, museum: Museum::NONE }),
            disk,
            now: Now { monotonic: Instant(0), wall_ms: 1_000_000 },
            answers: BTreeMap::new(),
            closed: BTreeSet::new(),
            next_request: 0,
            config,
            museum: Museum::NONE,
            silent: None,
            lives: 1,
        };
        host.step(Input::Started);
        assert_eq!(host.node.state(), NodeState::Running);
        host
    }

    /// The process dies, its disk stays, another begins.
    pub(crate) fn restart(&mut self) {
        self.lives += 1;
        let (broker, seed) = (self.config.clone(), self.lives);
        self.node = Node::new(NodeConfig { broker, seed, museum: self.museum });
        self.answers.clear();
        self.step(Input::Started);
        assert_eq!(self.node.state(), NodeState::Running);
    }

    pub(crate) fn stop(&mut self) {
        self.step(Input::StopRequested);
        assert_eq!(self.node.state(), NodeState::Stopped);
    }

    pub(crate) fn advance(&mut self, millis: i64) {
        self.now.wall_ms += millis;
        let end = self.now.monotonic.plus_millis(millis);
        while let Some(at) = self.node.next_deadline().filter(|at| *at <= end) {
            self.now.monotonic = self.now.monotonic.max(at);
            self.step(Input::DeadlinePassed);
        }
        self.now.monotonic = end;
    }

    pub(crate) fn step(&mut self, input: Input) {
        let mut out = Outbox::new();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.node.step(self.now, input, &mut out);
            for output in out.drain() {
                match output {
                    Output::Respond { request, body, .. } => {
                        let before = self.answers.insert(request.0, body);
                        assert!(before.is_none(), "a request is answered once");
                    }
                    Output::NoResponse { .. } => {}
                    // Whoever leads what it follows is not there.
                    Output::Ask { peer, request, .. } if peer.channel == Channel::Replication => {
                        let result = Err(PeerFault::Disconnected);
                        inputs.push_back(Input::PeerAnswered { request, result });
                    }
                    Output::Ask { peer, .. } | Output::HangUp { peer } => {
                        unreachable!("the only voter asks nobody, and not {peer:?}")
                    }
                    Output::Close { connection } => {
                        self.closed.insert(connection.0);
                    }
                    Output::Storage { token, op } => {
                        let is_append = matches!(op, StorageOp::Append { .. });
                        let is_silent =
                            is_append && self.silent.is_some_and(|end| op.path().as_str().ends_with(end));
                        let result = self.disk.run(op);
                        if !is_silent {
                            inputs.push_back(Input::StorageCompleted { token, result });
                        }
                    }
                }
            }
        }
    }

    /// Sends a request on connection 1; answers its number.
    pub(crate) fn send(&mut self, version: i16, body: RequestBody) -> u64 {
        self.send_to("PLAINTEXT", version, body)
    }

    /// As [`Self::send`], to a listener of this name.
    pub(crate) fn send_to(&mut self, listener: &'static str, version: i16, body: RequestBody) -> u64 {
        self.next_request += 1;
        let request = self.next_request;
        let listener = Str::from_static(listener);
        let context = RequestContext {
            api_version: version,
            client_id: None,
            client_address: Ipv4Addr::LOCALHOST.into(),
            listener,
        };
        self.step(Input::Request { connection: ConnectionId(1), request: RequestId(request), context, body });
        request
    }

    pub(crate) fn ask(&mut self, version: i16, request: AnyRequest) -> AnyResponse {
        let id = self.send(version, RequestBody::Other(request));
        self.answers.remove(&id).expect("it is answered at once")
    }

    pub(crate) fn produce(&mut self, topic: &str, batch: Bytes) -> AnyResponse {
        let request = produce_request(topic, 0, -1, batch);
        let id = self.send(9, RequestBody::Produce(JudgedProduce::judge(request, 9)));
        self.answers.remove(&id).expect("it is answered at once")
    }
}

pub(crate) fn produce_request(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData {
        index: partition,
        records: Some(Records::Bytes(batch)),
        ..PartitionProduceData::default()
    };
    let topic = TopicProduceData { name: Str::from(topic), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 1000, topic_data: vec![topic], ..ProduceRequest::default() }
}

/// Raises a feature to a level.
pub(crate) fn raise_feature(feature: &'static str, level: i16) -> UpdateFeaturesRequest {
    let update = FeatureUpdateKey {
        feature: Str::from_static(feature),
        max_version_level: level,
        upgrade_type: 1,
        ..FeatureUpdateKey::default()
    };
    UpdateFeaturesRequest { feature_updates: vec![update], ..UpdateFeaturesRequest::default() }
}

/// Sets a key of one resource.
pub(crate) fn set_config(kind: i8, name: &str, key: &str, value: &str) -> IncrementalAlterConfigsRequest {
    let config =
        AlterableConfig { name: Str::from(key), value: Some(Str::from(value)), ..AlterableConfig::default() };
    let resource = AlterConfigsResource {
        resource_type: kind,
        resource_name: Str::from(name),
        configs: vec![config],
        ..AlterConfigsResource::default()
    };
    IncrementalAlterConfigsRequest { resources: vec![resource], ..IncrementalAlterConfigsRequest::default() }
}

pub(crate) fn batch(timestamp: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchParams::default());
    for value in values {
        builder.append(timestamp, Some(b"k"), Some(value.as_bytes()), &[]);
    }
    builder.build()
}

fn small(number: u64) -> usize {
    usize::try_from(number).expect("files of tests are small")
}
