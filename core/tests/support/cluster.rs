//! Nodes and the connections between them, moved by hand.

use super::Disk;
use sordini_core::config::BrokerConfig;
use sordini_core::config::broker::Origin;
use sordini_core::features::FirstLevels;
use sordini_core::format::{Beginning, FirstVoters};
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::museum::Museum;
use sordini_core::node::{
    Input, Node, NodeConfig, NodeState, Output, QuorumRole, QuorumView, RequestBody, RequestContext,
};
use sordini_core::outbox::Outbox;
use sordini_core::peer::{Peer, PeerFault};
use sordini_core::produce_request::JudgedProduce;
use sordini_core::time::{Instant, Now};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;

/// How long a message is on its way.
const DELAY_MS: i64 = 1;

pub(crate) struct Machine {
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    pub(crate) config: BrokerConfig,
    /// The process has had so many lives.
    pub(crate) lives: u64,
    pub(crate) answers: BTreeMap<u64, AnyResponse>,
    pub(crate) closed: BTreeSet<u64>,
}

/// Something on its way.
pub(crate) enum Message {
    Request {
        from: usize,
        life: u64,
        to: usize,
        request: RequestId,
        peer: Peer,
        version: i16,
        body: AnyRequest,
    },
    Answer {
        to: usize,
        life: u64,
        request: RequestId,
        result: Result<AnyResponse, PeerFault>,
    },
}

fn formatted_disk(config: &BrokerConfig, beginning: &Beginning, seed: u64) -> Disk {
    let mut disk = Disk::default();
    for op in sordini_core::format::format(config, "5L6g3nShT-eMCtK--X86sw", beginning, seed, 1_000_000) {
        disk.run(op).expect("formatting works");
    }
    disk
}

/// Nodes that are moved one step at a time.
pub(crate) struct Cluster {
    pub(crate) machines: Vec<Machine>,
    pub(crate) now: Now,
    /// In the order of their times.
    pub(crate) messages: VecDeque<(Instant, Message)>,
    /// Who asked by the connection of this number.
    pub(crate) askers: BTreeMap<u64, (usize, u64, RequestId)>,
    pub(crate) connections: u64,
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// The disk of this machine does not answer operations on files whose names end so.
    pub(crate) slow: Option<(usize, &'static str)>,
    /// Its answers, as they will come.
    pub(crate) held: Vec<Input>,
}

impl Cluster {
    /// So many voters on directories that were just formatted.
    pub(crate) fn formatted(count: usize) -> Self {
        Self::configured(count, &[])
    }

    pub(crate) fn configured(count: usize, more: &[(&'static str, &str)]) -> Self {
        let voters: Vec<String> = (1..=count).map(|id| format!("{id}@h{id}:9093")).collect();
        let voters = voters.join(",");
        let more = [&[("controller.quorum.voters", &*voters)], more].concat();
        Self::of(vec![FirstVoters::Own; count], &more)
    }

    /// Controllers that find each other by their addresses, and whose voters stand in the log.
    pub(crate) fn found(first: Vec<FirstVoters>, more: &[(&'static str, &str)]) -> Self {
        let servers: Vec<String> = (1..=first.len()).map(|id| format!("h{id}:9093")).collect();
        let servers = servers.join(",");
        Self::of(first, &[&[("controller.quorum.bootstrap.servers", &*servers)], more].concat())
    }

    /// Nodes of these roles, each of which knows the voters from its configuration.
    pub(crate) fn of_roles(roles: &[&'static str], more: &[(&'static str, &str)]) -> Self {
        let controllers = (1..).zip(roles).filter(|(_, role)| role.contains("controller"));
        let voters: Vec<String> = controllers.map(|(id, _)| format!("{id}@h{id}:9093")).collect();
        let voters = voters.join(",");
        let nodes = roles.iter().map(|role| (*role, FirstVoters::Own)).collect();
        let more = [&[("controller.quorum.voters", &*voters)], more].concat();
        Self::built(nodes, &FirstLevels::default(), &more)
    }

    /// A node of both roles, of a cluster that begins with the metadata.version of a release.
    pub(crate) fn of_release(release: &str) -> Self {
        let levels = FirstLevels::choose(Some(release), &[], true).expect("a release");
        let node = ("broker,controller", FirstVoters::Own);
        Self::built(vec![node], &levels, &[("controller.quorum.voters", "1@h1:9093")])
    }

    pub(crate) fn of(first: Vec<FirstVoters>, more: &[(&'static str, &str)]) -> Self {
        let nodes = first.into_iter().map(|first| ("controller", first)).collect();
        Self::built(nodes, &FirstLevels::default(), more)
    }

    fn built(
        nodes: Vec<(&'static str, FirstVoters)>,
        levels: &FirstLevels,
        more: &[(&'static str, &str)],
    ) -> Self {
        let count = nodes.len();
        let machines = nodes.into_iter().zip(1..).map(|((roles, first), id)| {
            let (client, peer) = (format!("PLAINTEXT://h{id}:9092"), format!("CONTROLLER://h{id}:9093"));
            let listeners = match (roles.contains("broker"), roles.contains("controller")) {
                (true, true) => format!("{client},{peer}"),
                (true, false) => client,
                (false, _) => peer,
            };
            let entries = [
                ("node.id", id.to_string()),
                ("process.roles", roles.to_owned()),
                ("listeners", listeners),
                ("controller.listener.names", "CONTROLLER".to_owned()),
                ("log.dirs", "data".to_owned()),
            ];
            let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
            let entries = entries.into_iter().chain(more);
            let entries = entries.map(|(key, value)| (key.to_owned(), value, Origin::CommandLine));
            let (config, _) = BrokerConfig::from_entries(entries).expect("the configuration is right");
            let beginning = Beginning { voters: first, levels: levels.clone(), ..Beginning::default() };
            let disk = formatted_disk(&config, &beginning, u64::try_from(id).expect("a few"));
            let (answers, closed) = (BTreeMap::new(), BTreeSet::new());
            Machine { node: None, disk, config, lives: 0, answers, closed }
        });
        let mut cluster = Self {
            machines: machines.collect(),
            now: Now { monotonic: Instant(0), wall_ms: 1_000_000 },
            messages: VecDeque::new(),
            askers: BTreeMap::new(),
            connections: 0,
            cut: BTreeSet::new(),
            slow: None,
            held: Vec::new(),
        };
        for at in 0..count {
            cluster.start(at);
        }
        cluster
    }

    pub(crate) fn start(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.lives += 1;
        let seed = machine.lives * 100 + at as u64;
        let config = NodeConfig { broker: machine.config.clone(), seed, museum: Museum::NONE };
        machine.node = Some(Node::new(config));
        self.step(at, Input::Started);
    }

    /// The machine has an empty disk in the place of its own, formatted anew.
    pub(crate) fn replace_disk(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        machine.disk = formatted_disk(&machine.config, &Beginning::default(), 1_000 + at as u64);
    }

    pub(crate) fn state(&self, at: usize) -> Option<NodeState> {
        self.machines[at].node.as_ref().map(Node::state)
    }

    pub(crate) fn kill(&mut self, at: usize) {
        self.machines[at].node = None;
    }

    /// Nothing goes from or to this machine any more.
    pub(crate) fn isolate(&mut self, at: usize) {
        for other in 0..self.machines.len() {
            self.cut.extend([(at, other), (other, at)]);
        }
    }

    /// The slow disk answers what it was asked, and is slow no more.
    pub(crate) fn answer_held(&mut self) {
        let Some((at, _)) = self.slow.take() else { return };
        for input in std::mem::take(&mut self.held) {
            self.step(at, input);
        }
    }

    pub(crate) fn view(&self, at: usize) -> QuorumView<'_> {
        let node = self.machines[at].node.as_ref().expect("it runs");
        node.quorum().expect("its log is open")
    }

    /// The one machine that leads in the newest epoch.
    pub(crate) fn leader(&self) -> Option<usize> {
        let running = (0..self.machines.len()).filter(|at| self.machines[*at].node.is_some());
        let leaders = running.filter(|at| self.view(*at).role == QuorumRole::Leader);
        leaders.max_by_key(|at| self.view(*at).epoch)
    }

    pub(crate) fn send(&mut self, delay: i64, message: Message) {
        self.messages.push_back((self.now.monotonic.plus_millis(delay), message));
    }

    pub(crate) fn step(&mut self, at: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut out = Outbox::new();
        while let Some(input) = inputs.pop_front() {
            let Some(node) = &mut self.machines[at].node else { return };
            node.step(self.now, input, &mut out);
            for output in out.drain().collect::<Vec<_>>() {
                match output {
                    Output::Storage { token, op } => {
                        let is_slow = self
                            .slow
                            .is_some_and(|(slow, name)| slow == at && op.path().as_str().ends_with(name));
                        let result = self.machines[at].disk.run(op);
                        let answer = Input::StorageCompleted { token, result };
                        if is_slow {
                            self.held.push(answer);
                        } else {
                            inputs.push_back(answer);
                        }
                    }
                    Output::Ask { peer, request, version, body } => {
                        let to = peer.host[1..].parse::<usize>().expect("hosts are numbered") - 1;
                        let life = self.machines[at].lives;
                        if !self.cut.contains(&(at, to)) {
                            self.send(
                                DELAY_MS,
                                Message::Request { from: at, life, to, request, peer, version, body },
                            );
                        }
                    }
                    Output::HangUp { .. } => {}
                    Output::Respond { connection, body, .. } => match self.askers.remove(&connection.0) {
                        Some((to, life, request)) => {
                            let body = self.in_memory(at, body);
                            if !self.cut.contains(&(at, to)) {
                                self.send(DELAY_MS, Message::Answer { to, life, request, result: Ok(body) });
                            }
                        }
                        None => {
                            self.machines[at].answers.insert(connection.0, body);
                        }
                    },
                    Output::Close { connection } => {
                        self.machines[at].closed.insert(connection.0);
                    }
                    Output::NoResponse { .. } => {}
                }
            }
        }
        if let Some(NodeState::Failed(why)) = self.state(at) {
            panic!("node {at}: {why}");
        }
    }

    /// An answer with what it takes from files.
    pub(crate) fn in_memory(&self, at: usize, mut body: AnyResponse) -> AnyResponse {
        let read = |records: &mut Option<Records>| {
            if let Some(Records::Stored(range)) = records {
                *records = Some(Records::Bytes(self.machines[at].disk.read(range)));
            }
        };
        if let AnyResponse::Fetch(response) = &mut body {
            let partitions = response.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|data| read(&mut data.records));
        }
        if let AnyResponse::FetchSnapshot(response) = &mut body {
            let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            partitions.for_each(|data| read(&mut data.unaligned_records));
        }
        body
    }

    /// Sends a request to a controller; answers the connection.
    pub(crate) fn request(&mut self, at: usize, version: i16, body: AnyRequest) -> u64 {
        self.request_by("CONTROLLER", at, version, RequestBody::Other(body))
    }

    /// Sends a request to a broker; answers the connection.
    pub(crate) fn client_request(&mut self, at: usize, version: i16, body: AnyRequest) -> u64 {
        let body = if let AnyRequest::Produce(request) = body {
            RequestBody::Produce(JudgedProduce::judge(request, version))
        } else {
            RequestBody::Other(body)
        };
        self.request_by("PLAINTEXT", at, version, body)
    }

    fn request_by(&mut self, listener: &'static str, at: usize, version: i16, body: RequestBody) -> u64 {
        self.connections += 1;
        let connection = self.connections;
        let listener = Str::from_static(listener);
        let context = RequestContext {
            api_version: version,
            client_id: None,
            client_address: Ipv4Addr::LOCALHOST.into(),
            listener,
        };
        let input =
            Input::Request { connection: ConnectionId(connection), request: RequestId(1), context, body };
        self.step(at, input);
        connection
    }

    pub(crate) fn run_for(&mut self, millis: i64) {
        let end = self.now.monotonic.plus_millis(millis);
        loop {
            let running = (0..self.machines.len()).filter_map(|at| {
                let deadline = self.machines[at].node.as_ref()?.next_deadline()?;
                Some((deadline, at))
            });
            let timer = running.min();
            let message = self.messages.iter().enumerate().min_by_key(|(index, (due, _))| (*due, *index));
            let message = message.map(|(index, (due, _))| (*due, index));
            let next = timer.map(|(due, _)| due).into_iter().chain(message.map(|(due, _)| due)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            let moved = i64::try_from(next.since(self.now.monotonic).as_millis()).expect("tests are short");
            self.now = Now { monotonic: next.max(self.now.monotonic), wall_ms: self.now.wall_ms + moved };
            match message.filter(|(due, _)| *due == next) {
                Some((_, index)) => self.deliver(index),
                None => self.step(timer.expect("one of the two is next").1, Input::DeadlinePassed),
            }
        }
        self.now.monotonic = end;
    }

    pub(crate) fn deliver(&mut self, index: usize) {
        let (_, message) = self.messages.remove(index).expect("it was just there");
        match message {
            Message::Request { from, life, to, request, peer, version, body } => {
                if self.machines[to].node.is_none() {
                    let result = Err(PeerFault::Disconnected);
                    return self.send(DELAY_MS, Message::Answer { to: from, life, request, result });
                }
                self.askers.insert(self.connections + 1, (from, life, request));
                match peer.port {
                    9093 => self.request(to, version, body),
                    _ => self.client_request(to, version, body),
                };
            }
            Message::Answer { to, life, request, result } => {
                if self.machines[to].lives == life {
                    self.step(to, Input::PeerAnswered { request, result });
                }
            }
        }
    }
}
