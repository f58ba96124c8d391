//! A small world that is moved by hand: one node, its disk and a few clients.
//!
//! Nothing happens by itself. What the node wants of its disk waits until it is completed, what it answers waits until it
//! is delivered or lost, and time stands still until it is advanced.

use crate::clients::{Client, Identity};
use crate::decode::{self, Answer};
use crate::script::{PartitionName, Wrong};
use crate::transcript::Transcript;
use bytes::Bytes;
use sordini_core::config::BrokerConfig;
use sordini_core::config::broker::Origin;
use sordini_core::format::Beginning;
use sordini_core::ids::{ConnectionId, RequestId};
use sordini_core::museum::Museum;
use sordini_core::node::{
    Input, Node, NodeConfig, NodeState, Output, PartitionView, RequestBody, RequestContext,
};
use sordini_core::outbox::Outbox;
use sordini_core::produce_request::JudgedProduce;
use sordini_core::storage_op::{Completion, StorageFault, StorageOp, StoragePath, StorageToken};
use sordini_core::time::{Instant, Now};
use sordini_protocol::request::{AnyRequest, AnyResponse};
use sordini_protocol::wire::{Records, Str};
use sordini_sim::disk::{Disk, Left, must_follow};
use sordini_sim::field::Field;
use sordini_sim::plan::{DiskPlan, Range};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// The wall clock when a scenario begins, in milliseconds since the Unix epoch.
pub(crate) const WALL_MS_AT_START: i64 = 1_760_000_000_000;

/// What `server.properties` says where the script does not.
const PROPERTIES: [(&str, &str); 8] = [
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("listeners", "PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093"),
    ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092"),
    ("controller.listener.names", "CONTROLLER"),
    ("controller.quorum.voters", "1@127.0.0.1:9093"),
    ("log.dirs", "/data"),
    ("auto.create.topics.enable", "false"),
];

/// More steps than this without the world coming to rest are a node that spins.
const STEPS_MAX: usize = 100_000;

/// An operation that the node wants done and the disk has not done.
#[derive(Clone, Debug)]
struct Waiting {
    number: u64,
    token: StorageToken,
    op: StorageOp,
}

/// Which waiting operations are meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice<'a> {
    /// So many of the oldest.
    pub(crate) count: Option<usize>,
    /// Those of this kind, as [`decode::kind`] names them.
    pub(crate) kind: Option<&'a str>,
    /// Those on a path that contains this.
    pub(crate) path: Option<&'a str>,
}

/// What is to happen to the next operation of a kind on a file.
#[derive(Clone, Debug)]
pub(crate) struct NextFault {
    pub(crate) kind: String,
    /// The path contains this.
    pub(crate) path: String,
    pub(crate) fault: StorageFault,
    /// How many bytes of an append are written all the same.
    pub(crate) after_bytes: u64,
}

/// How far a request has come.
#[derive(Clone, Debug)]
pub(crate) enum Progress {
    /// The node has not answered.
    AtNode,
    /// The node was done with it and gives no answer.
    WithoutAnswer,
    /// The answer waits to be delivered.
    Answered(AnyResponse),
    /// The client has the answer.
    Delivered(Answer),
    /// The connection is gone, and with it the answer.
    Lost,
}

/// A request that a client made.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) client: String,
    pub(crate) progress: Progress,
    connection: ConnectionId,
    /// What it asks, in a few words.
    told: String,
}

/// The ends of a partition as they were last written into the transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) log_start: i64,
    pub(crate) high_watermark: i64,
    pub(crate) written: i64,
    pub(crate) durable: i64,
    pub(crate) log_end: i64,
}

impl Ends {
    fn of(view: &PartitionView<'_>) -> Self {
        Self {
            log_start: view.log_start.0,
            high_watermark: view.high_watermark.0,
            written: view.written_end.0,
            durable: view.flushed_end.0,
            log_end: view.log_end.0,
        }
    }

    /// Each of them by the name that scripts and transcripts use.
    pub(crate) const fn named(&self) -> [(&'static str, i64); 5] {
        [
            ("log-start", self.log_start),
            ("high-watermark", self.high_watermark),
            ("written", self.written),
            ("durable", self.durable),
            ("log-end", self.log_end),
        ]
    }
}

impl std::fmt::Display for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named: Vec<String> = self.named().iter().map(|(name, end)| format!("{name} {end}")).collect();
        f.write_str(&named.join(", "))
    }
}

/// The world of one scenario.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) transcript: Transcript,
    now_us: u64,
    properties: BTreeMap<String, String>,
    disk: Disk,
    is_formatted: bool,
    lives: u64,
    node: Option<Node>,
    /// What the node was last seen as; outlives its process.
    state: Option<NodeState>,
    waiting: Vec<Waiting>,
    operations: u64,
    faults: Vec<NextFault>,
    clients: BTreeMap<String, Client>,
    connections: u64,
    requests: Vec<Request>,
    /// Bytes that the node has read of each file since its process started.
    bytes_read: BTreeMap<String, u64>,
    ends: BTreeMap<String, Ends>,
    /// Whether what is done at once is told when it is done and not when it is asked for.
    is_brief: bool,
}

impl World {
    /// A machine with an empty disk, on which no process runs.
    pub(crate) fn new() -> Self {
        let at_once = Range { low: 0, high: 0 };
        let plan = DiskPlan { write_us: at_once, read_us: at_once, sync_us: at_once, answer_us: at_once };
        let properties = PROPERTIES.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Self {
            transcript: Transcript::default(),
            now_us: 0,
            properties: properties.into_iter().collect(),
            disk: Disk::new(Field::new(0), plan, None),
            is_formatted: false,
            lives: 0,
            node: None,
            state: None,
            waiting: Vec::new(),
            operations: 0,
            faults: Vec::new(),
            clients: BTreeMap::new(),
            connections: 0,
            requests: Vec::new(),
            bytes_read: BTreeMap::new(),
            ends: BTreeMap::new(),
            is_brief: false,
        }
    }

    pub(crate) fn tell(&mut self, heading: &str, text: &str) {
        self.transcript.line(self.now_us, heading, text);
    }

    pub(crate) const fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(crate) const fn state(&self) -> Option<&NodeState> {
        self.state.as_ref()
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = &StorageOp> {
        self.waiting.iter().map(|waiting| &waiting.op)
    }

    pub(crate) fn bytes_read(&self, file: &str) -> u64 {
        self.bytes_read.get(file).copied().unwrap_or(0)
    }

    pub(crate) const fn ends(&self) -> &BTreeMap<String, Ends> {
        &self.ends
    }

    /// The newest request of `client`, or of anybody.
    pub(crate) fn newest_request(&self, client: Option<&str>) -> Result<&Request, Wrong> {
        let mut requests = self.requests.iter().rev();
        requests
            .find(|request| client.is_none_or(|name| request.client == name))
            .ok_or_else(|| "nobody has asked anything".to_owned())
    }

    pub(crate) const fn wall_ms(&self) -> i64 {
        WALL_MS_AT_START + self.now_us.cast_signed() / 1_000
    }

    // The node's life.

    /// Sets a property for the lives to come.
    pub(crate) fn configure(&mut self, key: &str, value: &str) -> Result<(), Wrong> {
        if self.node.is_some() {
            return Err("a process reads its configuration when it starts, and one is running".to_owned());
        }
        self.properties.insert(key.to_owned(), value.to_owned());
        self.broker_config().map(|_| ())
    }

    fn broker_config(&self) -> Result<BrokerConfig, Wrong> {
        let entries = self.properties.iter();
        let entries = entries.map(|(key, value)| (key.clone(), value.clone(), Origin::BuiltIn));
        match BrokerConfig::from_entries(entries) {
            Ok((config, _)) => Ok(config),
            Err(problems) => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Err(format!("the configuration is not valid: {}", problems.join("; ")))
            }
        }
    }

    pub(crate) const fn lives(&self) -> u64 {
        self.lives
    }

    /// Starts a process, on a disk that is formatted for it if it is empty.
    pub(crate) fn start(&mut self) -> Result<(), Wrong> {
        if self.node.is_some() {
            return Err("a process is running already".to_owned());
        }
        let config = self.broker_config()?;
        if !self.is_formatted {
            self.is_formatted = true;
            let cluster_id = sordini_core::format::new_cluster_id(1).to_string();
            for op in
                sordini_core::format::format(&config, &cluster_id, &Beginning::default(), 1, self.wall_ms())
            {
                self.apply(op).map_err(|fault| format!("the disk cannot be formatted: {fault}"))?;
            }
        }
        self.lives += 1;
        self.node = Some(Node::new(NodeConfig { broker: config, seed: self.lives, museum: Museum::NONE }));
        self.state = None;
        self.bytes_read.clear();
        self.ends.clear();
        self.tell("node", &format!("process {} starts", self.lives));
        self.step(Input::Started)
    }

    /// Asks the process to end.
    pub(crate) fn stop(&mut self) -> Result<(), Wrong> {
        self.step(Input::StopRequested)
    }

    /// The process dies. What the disk has not done, it never will.
    pub(crate) fn kill(&mut self) -> Result<(), Wrong> {
        if self.node.take().is_none() {
            return Err("no process is running".to_owned());
        }
        self.tell("node", "the process is killed: what was written stays, durable or not");
        self.state = None;
        self.end_process();
        Ok(())
    }

    /// The machine loses power, whether a process runs on it or not.
    pub(crate) fn lose_power(&mut self, left: impl Fn(&str) -> Left) {
        self.tell("node", "the machine loses power");
        if self.node.take().is_some() {
            self.state = None;
            self.end_process();
        }
        let before = self.lengths();
        self.disk.lose_power_leaving(left);
        let after = self.lengths();
        // The indexes of the metadata log are never synced, made anew by every start, and no reader's concern.
        let is_said = |file: &str| !file.contains("__cluster_metadata-0") || file.ends_with(".log");
        for (file, (len, durable)) in before.into_iter().filter(|(file, _)| is_said(file)) {
            let text = match after.get(&file) {
                None => format!("{file} is gone: its name was never synced"),
                Some((left, _)) if durable == len && *left == len => continue,
                Some((left, _)) => {
                    format!("{file} had {len} bytes, {durable} of them durable, and has {left}")
                }
            };
            self.tell("disk", &text);
        }
    }

    /// Length and durable length of every file.
    fn lengths(&self) -> BTreeMap<String, (u64, u64)> {
        let len = |file: &str| self.disk.contents(file).map_or(0, sordini_sim::disk::Contents::len);
        let paths = self.disk.paths();
        paths.map(|file| (file.to_owned(), (len(file), self.disk.durable_len(file)))).collect()
    }

    /// Forgets what belonged to the process: operations under way, connections and what was to be sent on them.
    fn end_process(&mut self) {
        if !self.waiting.is_empty() {
            let count = self.waiting.len();
            let operations = if count == 1 { "one operation" } else { &*format!("{count} operations") };
            self.tell("lost", &format!("{operations} that the disk had not done"));
            self.waiting.clear();
        }
        let clients: Vec<String> = self.clients.keys().cloned().collect();
        for client in clients {
            self.lose_connection(&client);
        }
        self.ends.clear();
    }

    /// The connection of a client ends, and with it everything that was to be answered on it.
    fn lose_connection(&mut self, client: &str) -> Option<ConnectionId> {
        let connection = self.clients.get_mut(client)?.connection.take()?;
        let mut lost = Vec::new();
        for request in self.requests.iter_mut().filter(|request| request.connection == connection) {
            let kind = match request.progress {
                Progress::AtNode => "the request of",
                Progress::Answered(_) => "the answer to",
                Progress::WithoutAnswer | Progress::Delivered(_) | Progress::Lost => continue,
            };
            request.progress = Progress::Lost;
            lost.push(format!("{kind} {client}: {}", request.told));
        }
        for text in lost {
            self.tell("lost", &text);
        }
        Some(connection)
    }

    // Inputs.

    /// Gives the node an input, takes over what it wants done, and tells what has become of it.
    fn step(&mut self, input: Input) -> Result<(), Wrong> {
        let Some(node) = &mut self.node else { return Err("no process is running".to_owned()) };
        let now = Now {
            monotonic: Instant(self.now_us),
            wall_ms: WALL_MS_AT_START + self.now_us.cast_signed() / 1_000,
        };
        let mut outbox = Outbox::new();
        node.step(now, input, &mut outbox);
        for output in outbox.drain() {
            self.take_over(output)?;
        }
        self.tell_changes();
        Ok(())
    }

    /// Writes what is different from before, and lets a process end that is at its end.
    fn tell_changes(&mut self) {
        let Some(node) = &self.node else { return };
        let state = node.state();
        let ends: BTreeMap<String, Ends> = node
            .partitions()
            .map(|view| (format!("{}-{}", view.topic, view.id.partition), Ends::of(&view)))
            .collect();
        let before = std::mem::replace(&mut self.ends, ends.clone());
        for (partition, ends) in &ends {
            let text = match before.get(partition) {
                None => format!("{partition} is open: {ends}"),
                Some(before) if before == ends => continue,
                Some(before) => {
                    let changes = before.named().into_iter().zip(ends.named());
                    let changes = changes.filter(|(before, after)| before != after);
                    let changes =
                        changes.map(|((name, before), (_, after))| format!("{name} {before} -> {after}"));
                    format!("{partition}: {}", changes.collect::<Vec<_>>().join(", "))
                }
            };
            self.tell("node", &text);
        }
        for partition in before.keys().filter(|partition| !ends.contains_key(*partition)) {
            self.tell("node", &format!("{partition} is gone"));
        }
        if self.state.as_ref() == Some(&state) {
            return;
        }
        self.state = Some(state.clone());
        match state {
            NodeState::Starting | NodeState::Joining => {}
            NodeState::Running => self.tell("node", "it runs"),
            NodeState::Stopping => self.tell("node", "it is stopping"),
            NodeState::Stopped => {
                self.tell("node", "it has stopped, and its process ends");
                self.node = None;
                self.end_process();
            }
            NodeState::Failed(why) => {
                self.tell("node", &format!("it gives up, and its process ends: {why}"));
                self.node = None;
                self.end_process();
            }
        }
    }

    /// Moves time on, and has the node do on its way what it has set itself a time for.
    pub(crate) fn advance(&mut self, by_us: u64) -> Result<(), Wrong> {
        let until = self.now_us + by_us;
        for _ in 0..STEPS_MAX {
            let deadline = self.node.as_ref().and_then(Node::next_deadline).filter(|at| at.0 <= until);
            let Some(Instant(at)) = deadline else {
                self.now_us = until;
                return Ok(());
            };
            self.now_us = self.now_us.max(at);
            self.step(Input::DeadlinePassed)?;
        }
        Err("the node sets itself deadlines that never end".to_owned())
    }

    /// Has a client send a request, on a new connection if it has none.
    pub(crate) fn ask(
        &mut self,
        client: &str,
        told: &str,
        version: i16,
        body: AnyRequest,
    ) -> Result<(), Wrong> {
        if self.node.is_none() {
            return Err("no process is running that could be asked".to_owned());
        }
        self.tell("in", &format!("{client}: {told}"));
        let connections = &mut self.connections;
        let asking = self.clients.entry(client.to_owned()).or_default();
        let connection = *asking.connection.get_or_insert_with(|| {
            *connections += 1;
            ConnectionId(*connections)
        });
        let request = RequestId(self.requests.len() as u64);
        self.requests.push(Request {
            client: client.to_owned(),
            connection,
            told: told.to_owned(),
            progress: Progress::AtNode,
        });
        let context = RequestContext {
            api_version: version,
            client_id: None,
            client_address: Ipv4Addr::LOCALHOST.into(),
            listener: Str::from_static("PLAINTEXT"),
        };
        let body = if let AnyRequest::Produce(produce) = body {
            RequestBody::Produce(JudgedProduce::judge(produce, version))
        } else {
            RequestBody::Other(body)
        };
        self.step(Input::Request { connection, request, context, body })
    }

    pub(crate) fn client(&mut self, name: &str) -> &mut Client {
        self.clients.entry(name.to_owned()).or_default()
    }

    // Outputs.

    fn take_over(&mut self, output: Output) -> Result<(), Wrong> {
        match output {
            Output::Storage { token, op } => {
                if decode::is_chore(&op, false) && !self.is_brief {
                    self.transcript.chore(self.now_us, "wants");
                } else if !self.is_brief {
                    self.tell("wants", &decode::operation(&op));
                }
                self.operations += 1;
                self.waiting.push(Waiting { number: self.operations, token, op });
            }
            Output::Respond { request, mut body, .. } => {
                self.read_stored(&mut body)?;
                let request = self.request_mut(request);
                let text = format!("{}: {}", request.client, decode::answer(&body));
                request.progress = Progress::Answered(body);
                if !self.is_brief {
                    self.tell("out", &format!("answer to {text}"));
                }
            }
            Output::Ask { peer, .. } | Output::HangUp { peer } => {
                unreachable!("the only voter asks nobody, and not {peer:?}")
            }
            Output::NoResponse { request, .. } => {
                let request = self.request_mut(request);
                request.progress = Progress::WithoutAnswer;
                let text = format!("no answer to {}: acks=0 asks for none", request.client);
                self.tell("out", &text);
            }
            Output::Close { connection } => {
                let owner = self.clients.iter().find(|(_, client)| client.connection == Some(connection));
                let Some(client) = owner.map(|(name, _)| name.clone()) else { return Ok(()) };
                self.tell("out", &format!("the connection of {client} is closed"));
                self.lose_connection(&client);
            }
        }
        Ok(())
    }

    fn request_mut(&mut self, request: RequestId) -> &mut Request {
        let at = usize::try_from(request.0).expect("requests are counted from 0");
        self.requests.get_mut(at).expect("the node answers what it was asked")
    }

    /// Puts the bytes of files in the place of their ranges, as whoever sends the answer does.
    fn read_stored(&self, body: &mut AnyResponse) -> Result<(), Wrong> {
        let AnyResponse::Fetch(fetch) = body else { return Ok(()) };
        for partition in fetch.responses.iter_mut().flat_map(|topic| &mut topic.partitions) {
            if let Some(Records::Stored(range)) = &partition.records {
                let contents = self.disk.contents(&range.file);
                let bytes = contents.map(|contents| contents.read(range.position, u64::from(range.len)));
                let bytes = bytes.filter(|bytes| bytes.len() == range.len as usize);
                let bytes = bytes.ok_or_else(|| {
                    format!("the answer promises {} bytes of {} that are not there", range.len, range.file)
                })?;
                partition.records = Some(Records::Bytes(bytes));
            }
        }
        Ok(())
    }

    /// Brings answers to their clients, those of one connection in the order in which they were asked for.
    pub(crate) fn deliver(&mut self, client: Option<&str>) -> Result<(), Wrong> {
        let mut held_back = Vec::new();
        let mut delivered = 0;
        for at in 0..self.requests.len() {
            let request = &mut self.requests[at];
            if client.is_some_and(|name| request.client != name) {
                continue;
            }
            match &request.progress {
                Progress::AtNode => held_back.push(request.connection),
                Progress::Answered(body) if !held_back.contains(&request.connection) => {
                    let body = body.clone();
                    let answer = decode::answer(&body);
                    let text = format!("{} hears: {answer}", request.client);
                    request.progress = Progress::Delivered(answer);
                    let name = request.client.clone();
                    self.on_delivered(&name, &body);
                    self.tell("told", &text);
                    delivered += 1;
                }
                Progress::Answered(_) | Progress::WithoutAnswer | Progress::Delivered(_) | Progress::Lost => {
                }
            }
        }
        if delivered == 0 && !self.is_brief {
            return Err("no answer waits to be delivered".to_owned());
        }
        Ok(())
    }

    fn on_delivered(&mut self, client: &str, body: &AnyResponse) {
        if let AnyResponse::InitProducerId(response) = body
            && response.error_code == 0
        {
            let identity = Identity { id: response.producer_id, epoch: response.producer_epoch };
            self.client(client).identity = Some(identity);
        } else if let AnyResponse::JoinGroup(response) = body {
            // Refused or not: who has no id yet is told one to come again with.
            let membership = &mut self.client(client).membership;
            membership.member_id = response.member_id.clone();
            membership.generation = response.generation_id;
        }
    }

    /// Loses the connection of a client, or of everybody for whom an answer waits, and with it all that was to go on it.
    pub(crate) fn lose_answers(&mut self, client: Option<&str>) -> Result<(), Wrong> {
        let has_answer = |name: &str| {
            let mut requests = self.requests.iter().filter(|request| request.client == name);
            requests.any(|request| matches!(request.progress, Progress::Answered(_)))
        };
        let losers: Vec<String> = match client {
            Some(name) => vec![name.to_owned()],
            None => self.clients.keys().filter(|name| has_answer(name)).cloned().collect(),
        };
        if losers.is_empty() {
            return Err("no answer waits that could be lost".to_owned());
        }
        for client in losers {
            let connection = self.lose_connection(&client);
            let connection =
                connection.ok_or_else(|| format!("{client} has no connection that could be lost"))?;
            self.step(Input::ConnectionClosed { connection })?;
        }
        Ok(())
    }

    // The disk.

    /// Plans a fault.
    pub(crate) fn fail_next(&mut self, fault: NextFault) {
        self.faults.push(fault);
    }

    /// Lets the disk do operations that wait, and tells the node.
    pub(crate) fn complete(&mut self, choice: &Choice<'_>) -> Result<(), Wrong> {
        let is_meant = |waiting: &&Waiting| {
            choice.kind.is_none_or(|kind| decode::kind(&waiting.op) == kind)
                && choice.path.is_none_or(|path| waiting.op.path().as_str().contains(path))
        };
        let numbers: Vec<u64> = self.waiting.iter().filter(is_meant).map(|waiting| waiting.number).collect();
        let count = choice.count.unwrap_or(numbers.len());
        if numbers.is_empty() || numbers.len() < count {
            let waiting: Vec<String> = self.waiting().map(decode::operation).collect();
            let waiting = if waiting.is_empty() { "nothing".to_owned() } else { waiting.join("; ") };
            return Err(format!("{} such operations wait; what waits is: {waiting}", numbers.len()));
        }
        for number in &numbers[..count] {
            self.complete_one(*number)?;
        }
        Ok(())
    }

    /// Lets the disk do what waits, the oldest first, until an operation of this kind waits on such a path.
    pub(crate) fn complete_until(&mut self, kind: &str, path: &str) -> Result<(), Wrong> {
        self.is_brief = true;
        let result = self.settle_until(kind, path);
        self.is_brief = false;
        let op = result?;
        self.tell("wants", &op);
        Ok(())
    }

    fn settle_until(&mut self, kind: &str, path: &str) -> Result<String, Wrong> {
        for _ in 0..STEPS_MAX {
            let is_meant = |op: &&StorageOp| decode::kind(op) == kind && op.path().as_str().contains(path);
            if let Some(op) = self.waiting().find(is_meant) {
                return Ok(decode::operation(op));
            }
            let Some(next) = self.waiting.first() else { break };
            self.complete_one(next.number)?;
        }
        Err(format!("everything is done, and there was no {kind} of {path} to wait for"))
    }

    fn complete_one(&mut self, number: u64) -> Result<(), Wrong> {
        // The process may have ended with the operation before.
        let Some(at) = self.waiting.iter().position(|waiting| waiting.number == number) else {
            return Ok(());
        };
        let op = &self.waiting[at].op;
        if let Some(earlier) = self.waiting[..at].iter().find(|earlier| must_follow(op, &earlier.op)) {
            let (op, earlier) = (decode::operation(op), decode::operation(&earlier.op));
            return Err(format!("{op} waits behind {earlier}"));
        }
        let Waiting { token, op, .. } = self.waiting.remove(at);
        let text = decode::operation(&op);
        let is_chore = decode::is_chore(&op, self.is_brief);
        let file = op.path().as_str().to_owned();
        let result = self.apply_or_fail(op);
        let brought = match &result {
            Ok(Completion::Done) => String::new(),
            Ok(Completion::Bytes(bytes)) => {
                *self.bytes_read.entry(file).or_default() += bytes.len() as u64;
                format!(": {} bytes", bytes.len())
            }
            Ok(Completion::Entries(entries)) => format!(": {} entries", entries.len()),
            Err(fault) => format!(": {fault}"),
        };
        if is_chore {
            self.transcript.chore(self.now_us, "disk");
        } else {
            self.tell("disk", &format!("{text}{brought}"));
        }
        self.step(Input::StorageCompleted { token, result })
    }

    fn apply_or_fail(&mut self, op: StorageOp) -> Result<Completion, StorageFault> {
        let is_meant = |fault: &NextFault| {
            fault.kind == decode::kind(&op) && op.path().as_str().contains(fault.path.as_str())
        };
        let Some(at) = self.faults.iter().position(is_meant) else { return self.apply(op) };
        let NextFault { fault, after_bytes, .. } = self.faults.remove(at);
        if let StorageOp::Append { file, position, bytes: [first, second] } = op
            && after_bytes > 0
        {
            let whole = [&first[..], &second[..]].concat();
            let written = usize::try_from(after_bytes).unwrap_or(usize::MAX).min(whole.len());
            let bytes = [Bytes::from(whole).slice(..written), Bytes::new()];
            self.apply(StorageOp::Append { file, position, bytes })?;
        }
        Err(fault)
    }

    /// Does an operation on the disk at once.
    fn apply(&mut self, op: StorageOp) -> Result<Completion, StorageFault> {
        let due = self.disk.submit(0, StorageToken { owner: 0, sequence: 0 }, op);
        let done = self.disk.complete(due.number, due.at, self.wall_ms());
        done.expect("an operation that was just submitted is under way").1
    }

    /// Lets the disk do everything that waits and all that follows from it, and delivers every answer.
    pub(crate) fn stabilize(&mut self, is_quiet: bool) -> Result<(), Wrong> {
        if is_quiet {
            self.transcript.hush();
        }
        self.is_brief = true;
        let result = self.settle();
        self.is_brief = false;
        self.transcript.speak();
        result
    }

    fn settle(&mut self) -> Result<(), Wrong> {
        for _ in 0..STEPS_MAX {
            if let Some(next) = self.waiting.first() {
                self.complete_one(next.number)?;
                continue;
            }
            let is_due = |node: &Node| node.next_deadline().is_some_and(|at| at.0 <= self.now_us);
            if self.node.as_ref().is_some_and(is_due) {
                self.step(Input::DeadlinePassed)?;
                continue;
            }
            return self.deliver(None);
        }
        Err("the node never comes to rest".to_owned())
    }

    /// Does to the disk what no node asked for.
    pub(crate) fn damage(&mut self, op: StorageOp) -> Result<(), Wrong> {
        let text = decode::operation(&op);
        self.apply(op).map(|_| ()).map_err(|fault| format!("{text}: {fault}"))
    }

    /// The one file whose name ends with `name`: `orders-0/3.log` is the segment with base offset 3.
    pub(crate) fn file(&self, name: &str) -> Result<StoragePath, Wrong> {
        let name = decode::padded(name);
        let ends_with = |path: &&str| *path == name || path.ends_with(&format!("/{name}"));
        let found: Vec<&str> = self.disk.paths().filter(ends_with).collect();
        match found[..] {
            [one] => Ok(StoragePath::new(one)),
            [] => Err(format!("there is no file {name}")),
            _ => Err(format!("{name} may be any of {}", found.join(", "))),
        }
    }

    /// The records that a reader gets who begins at the start of the log and stops at the high watermark, or where one
    /// cannot go on. Read from a copy of the world, which stays as it is.
    pub(crate) fn records(&self, partition: &PartitionName) -> Result<Vec<String>, Wrong> {
        let mut copy = self.clone();
        copy.transcript.hush();
        copy.waiting.clear();
        copy.faults.clear();
        let ends =
            *copy.ends.get(&partition.to_string()).ok_or_else(|| format!("{partition} is not open"))?;
        let mut records = Vec::new();
        let mut position = ends.log_start;
        while position < ends.high_watermark {
            let request = crate::clients::fetch(partition, position, 0, 1);
            copy.ask("reader", "fetch", crate::clients::FETCH_VERSION, request)?;
            while !copy.waiting.is_empty() {
                copy.complete(&Choice { count: Some(1), ..Choice::default() })?;
            }
            let Progress::Answered(AnyResponse::Fetch(fetch)) =
                copy.newest_request(Some("reader"))?.progress.clone()
            else {
                return Err(format!("a fetch of {partition} from {position} is not answered"));
            };
            let read = decode::fetched(&fetch, position);
            let before = position;
            position = read.next_offset;
            records.extend(read.values);
            if let Some(why) = read.stopped_by {
                records.push(why);
                break;
            }
            if position == before {
                return Err(format!("a fetch of {partition} from {position} brings nothing"));
            }
        }
        Ok(records)
    }
}
